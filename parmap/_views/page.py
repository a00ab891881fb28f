"""A page with the picture of a trace that needs nothing from elsewhere; and a notebook's cell."""

from __future__ import annotations

import json
from html import escape
from pkgutil import get_data

from .drawing import drawing
from .figures import figures
from .report import NOTHING, rows, shares, slowest, title
from .verdict import verdict
from .words import count, factor, percent, seconds, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._observers.timeline import Timeline
    from .figures import Reading

TALL, EACH, HIGHEST = 700, 26, 900  # pixels of a cell: without rows, of a row, at most


def page(calls: Sequence[Timeline], text: str, *, in_cell: bool = False) -> str:
    """Return the page on *calls*, whose report is *text*."""
    picture = drawing(calls)
    read = [figures(call) for call in calls]
    main = max(range(len(read)), key=lambda n: read[n].elapsed, default=0)
    told = [drawn | _told(call) for drawn, call in zip(picture["calls"], read, strict=True)]
    caller = next((row for row in picture["rows"] if row["kind"] == "caller"), None)
    lanes = [
        {
            "name": row["name"],
            "kind": row["kind"],
            "main": row is caller,
            "starts": row["starts"],
            "loads": row["loads"],
            "bars": [_packed(bar) for bar in row["bars"]],
        }
        for row in picture["rows"]
    ]
    data = {"span": picture["span"], "rows": lanes, "events": picture["events"], "main": main}
    data |= {"calls": told or [_nothing()], "report": text, "cell": in_cell}
    pieces = {
        "REPORT": escape(text),
        # No text in it can end the element that it stands in.
        "DATA": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "SCRIPT": _read("page.js"),
    }
    whole = _read("page.html")
    for name, piece in pieces.items():
        before, after = whole.split(name, 1) if name != "SCRIPT" else whole.rsplit(name, 1)
        whole = f"{before}{piece}{after}"
    return whole


def cell(calls: Sequence[Timeline], text: str) -> str:
    """Return what a notebook shows: the page in a frame of its own, so that neither styles other.

    Who shows no frames shows the report.
    """
    inner = escape(page(calls, text, in_cell=True), quote=True)
    lanes = len(drawing(calls)["rows"])
    high = min(HIGHEST, TALL + EACH * lanes)
    return (
        f'<iframe srcdoc="{inner}" style="width: 100%; height: {high}px; border: 0" '
        f'title="parmap trace"><pre>{escape(text)}</pre></iframe>'
    )


def _read(name: str) -> str:
    """Return a file that lies beside this one, also if it lies in an archive."""
    assert __package__
    return (get_data(__package__, name) or b"").decode()


def _packed(bar: dict[str, Any]) -> list[Any]:
    """Return *bar* as a list, in the order that the page expects, times as differences."""
    began, ended = bar["began"], bar["ended"]
    before, after = began - bar.get("moved", began), bar.get("back", ended) - ended
    more = [bar.get(name, 0) for name in ("attempts", "sent", "bytes", "failed", "joined")]
    packed = [bar["call"], bar["start"], bar["tasks"], began, ended - began, before, after, *more]
    if "ends" in bar:
        packed.append(_steps(began, bar["ends"]))
        numbers = _steps(0, bar["marks"])
        if set(numbers) != {1}:
            packed.append(numbers)
    return packed


def _steps(first: int, values: list[int]) -> list[int]:
    return [b - a for a, b in zip([first, *values], values, strict=False)]


def _told(call: Reading) -> dict[str, Any]:
    """Return what is said of *call* besides the picture."""
    found = rows(call)
    return {
        "title": title(call),
        "why": f"{call.where}: {call.why}" if call.why else call.where,
        "verdict": verdict(call),
        "tiles": _tiles(call),
        "shares": shares(call) if call.tasks else [],
        "slowest": slowest(call),
        "rows": [row for row in found if row[0] not in ("time", "why")],
    }


def _tiles(call: Reading) -> list[tuple[str, str]]:
    tiles = [(seconds(call.elapsed), "from begin to end")]
    if call.tasks:
        tiles.append((factor(call.gain), f"times as fast as the loop, {seconds(call.loop)}"))
        limit = f"of the {call.limit} that {count(call.workers, 'worker')} can give"
        tiles.append((percent(call.gain, call.limit), limit))
    tiles.append((f"{call.tasks:,}", f"tasks in {count(call.chunks, 'chunk')}"))
    if call.sent or call.received:
        tiles.append((f"{size(call.sent)}", f"to the workers, {size(call.received)} back"))
    if call.peaks:
        tiles.append((size(max(call.peaks.values())), "at most in a worker"))
    if trouble := call.failed or call.crashes or call.timeouts:
        tiles.append((f"{trouble:,}", "failures, timeouts and crashes"))
    return tiles


def _nothing() -> dict[str, Any]:
    empty: dict[str, Any] = {name: [] for name in ("tiles", "shares", "slowest", "rows")}
    text = {"title": "No call of parmap", "why": NOTHING.partition("\n")[2], "verdict": ""}
    return {**empty, **text, "name": "", "began": 0, "ended": 1, "inputs": {}}

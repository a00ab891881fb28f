"""What a picture of a trace shows: a row for the caller and for each worker, with bars in them.

Times are whole microseconds from the begin of the first call.  It is made of lists and dicts, as a
page takes it.
"""

from __future__ import annotations

from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._observers.lanes import Bar, Lane
    from .._observers.timeline import Timeline

KINDS = {"caller": "caller", "process": "worker", "thread": "thread", "slot": "slot"}


def drawing(calls: Sequence[Timeline]) -> dict[str, Any]:
    """Return the picture of *calls*.

    `rows`: each with a `name`, its `kind`, `bars`, `starts` and `loads`; a bar is a dict, and its
    `marks` are where one task ends, or some very short ones, and the next begins: how many tasks
    have run by then, and when.  `calls`: name, begin and end, and inputs by index.  `events`: what
    went wrong.
    """
    zero = min((call.began for call in calls), default=0.0)
    now = perf_counter()
    found: dict[Any, dict[str, Any]] = {}
    events: list[dict[str, Any]] = []
    for number, call in enumerate(calls):
        places: list[dict[str, Any]] = []
        for lane in call.lanes:
            row = _row(found, lane, call)
            places.append(row)
            _fill(row, lane, call, number, zero)
        for index, at, place, text in call.details.failures:
            events.append(_event("failure", number, index, at - zero, places[place], text))
        for index, at, worker, kind, since in call.losses:
            row = next((row for row in places if row["worker"] == worker), _caller(found, call))
            text = f"the worker's process is gone, after {kind}" if worker else kind
            free = [lane.free for lane in call.lanes if lane.worker == worker]  # it had started
            event = _event(kind, number, index, at - zero, row, text)
            events.append(event | {"since": micro(max([since, *free]) - zero)})
        if not number:
            _caller(found, call)
    order = sorted(found.values(), key=lambda row: list(KINDS).index(row["kind"]))
    for kind, word in KINDS.items():
        rows = [row for row in order if row["kind"] == kind]
        for n, row in enumerate(rows, 1):
            pid = f" ({row['worker']})" if kind == "process" else ""
            row["name"] = "caller" if kind == "caller" and n == 1 else f"{word} {n}{pid}"
    for event in events:
        event["row"] = order.index(event["row"])
    ends = [call.ended or now for call in calls]
    return {
        "span": max(1, micro(max(ends, default=zero) - zero)),
        "rows": order,
        "events": events,
        "calls": [
            {
                "name": call.name,
                "began": micro(call.began - zero),
                "ended": micro(end - zero),
                "inputs": call.details.inputs,
            }
            for call, end in zip(calls, ends, strict=True)
        ],
    }


def micro(seconds: float) -> int:
    """Return *seconds* in whole microseconds."""
    return round(1e6 * seconds)


def _caller(found: dict[Any, dict[str, Any]], call: Timeline) -> dict[str, Any]:
    return found.setdefault(("caller", call.thread), _new("caller", call.pid))


def _row(found: dict[Any, dict[str, Any]], lane: Lane, call: Timeline) -> dict[str, Any]:
    """Return the row of *lane*: that of the same worker in other calls, if it was there."""
    if lane.kind == "caller":
        return _caller(found, call)
    key = lane.kind, lane.worker, lane.thread if lane.kind == "thread" else 0
    if lane.kind == "slot":  # the first free one in each call
        others = [other for other in call.lanes if other.kind == "slot"]
        key = lane.kind, lane.worker, others.index(lane)
    return found.setdefault(key, _new(lane.kind, lane.worker))


def _new(kind: str, worker: int) -> dict[str, Any]:
    return {"kind": kind, "worker": worker, "bars": [], "starts": [], "loads": []}


def _fill(row: dict[str, Any], lane: Lane, call: Timeline, number: int, zero: float) -> None:
    if lane.began:
        row["starts"].append([micro(max(lane.began, call.began) - zero), micro(lane.ready - zero)])
    row["loads"] += [[micro(max(0.0, a - zero)), micro(b - zero)] for a, b in lane.loads]
    row["bars"] += [_bar(bar, call, number, zero) for bar in lane.bars]


def _bar(bar: Bar, call: Timeline, number: int, zero: float) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "call": number,
        "start": bar.start,
        "tasks": bar.tasks,
        "began": micro(bar.began - zero),
        "ended": micro(bar.ended - zero),
    }
    if bar.moved < bar.began or bar.ended < bar.back:
        drawn["moved"], drawn["back"] = micro(bar.moved - zero), micro(bar.back - zero)
    for name in ("attempts", "sent", "bytes", "failed"):
        if value := getattr(bar, name):
            drawn[name] = value
    if bar.joined > 1:
        drawn["joined"] = bar.joined
    if bar.marks:
        part = slice(bar.mark, bar.mark + bar.marks)
        drawn["ends"] = [micro(end - zero) for end in call.details.ends[part]]
        drawn["marks"] = list(call.details.positions[part])
    return drawn


def _event(
    kind: str, call: int, index: int, at: float, row: dict[str, Any], text: str
) -> dict[str, Any]:
    return {"kind": kind, "call": call, "index": index, "at": micro(at), "row": row, "text": text}

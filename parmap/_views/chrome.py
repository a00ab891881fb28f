"""A trace as events that Perfetto and `chrome://tracing` open.

The format is described as "Trace Event Format"; all times in it are microseconds.
"""

from __future__ import annotations

import json

from .drawing import drawing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._observers.timeline import Timeline


def chrome(calls: Sequence[Timeline], text: str) -> str:
    """Return *calls* as JSON, with their report as *text*."""
    picture = drawing(calls)
    events: list[dict[str, Any]] = []
    for number, row in enumerate(picture["rows"]):
        at = {"pid": row["worker"], "tid": number}
        for name, value in (("thread_name", {"name": row["name"]}), ("thread_sort_index", None)):
            args = value or {"sort_index": number}
            events.append({"ph": "M", "name": name, "ts": 0, **at, "args": args})
        for name, cat in (("starting", "starts"), ("loading", "loads")):
            events += [_span(name, "worker", begin, end, at, {}) for begin, end in row[cat]]
        for bar in row["bars"]:
            events += _bar(bar, picture["calls"][bar["call"]], at)
    caller = next((n for n, row in enumerate(picture["rows"]) if row["kind"] == "caller"), 0)
    for call in picture["calls"]:
        at = {"pid": picture["rows"][caller]["worker"], "tid": caller}
        events.append(_span(call["name"], "call", call["began"], call["ended"], at, {}))
    for event in picture["events"]:
        row = picture["rows"][event["row"]]
        args = {"task": event["index"], "what": event["text"]}
        if "since" in event:
            at = {"pid": row["worker"], "tid": event["row"]}
            events.append(_span("lost", "trouble", event["since"], event["at"], at, args))
        at = {"pid": row["worker"], "tid": event["row"]}
        mark = {"ph": "i", "s": "t", "name": event["kind"], "cat": "trouble", "ts": event["at"]}
        events.append({**mark, **at, "args": args})
    other = {"report": text}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": other})


def _bar(bar: dict[str, Any], call: dict[str, Any], at: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a chunk: itself, what went before and after, and its tasks."""
    start, began, ended = bar["start"], bar["began"], bar["ended"]
    names = ("start", "tasks", "sent", "bytes", "failed")
    args: dict[str, Any] = {name: bar[name] for name in names if name in bar}
    name = f"chunk {start}" if bar["tasks"] > 1 else f"task {start}"
    if bar["tasks"] == 1 and start in call["inputs"]:
        args["input"] = call["inputs"][start]
    events = [_span(name, "chunk", began, ended, at, args)]
    if "moved" in bar:
        events.append(_span("moving inputs", "moving", bar["moved"], began, at, {}))
        events.append(_span("moving results", "moving", ended, bar["back"], at, {}))
    before, first = began, start
    for end, position in zip(bar.get("ends", ()), bar.get("marks", ()), strict=True):
        last = start + position - 1
        label = f"task {last}" if first == last else f"tasks {first}-{last}"
        text = {"input": call["inputs"][last]} if last in call["inputs"] else {}
        events.append(_span(label, "task", before, end, at, text))
        before, first = end, last + 1
    return events


def _span(
    name: str, cat: str, began: int, ended: int, at: dict[str, Any], args: dict[str, Any]
) -> dict[str, Any]:
    length = max(0, ended - began)
    return {"ph": "X", "name": name, "cat": cat, "ts": began, "dur": length, **at, "args": args}

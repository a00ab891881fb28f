"""A picture that stands still, as rectangles: for SVG and Matplotlib."""

from __future__ import annotations

from .drawing import drawing
from .words import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._observers.timeline import Timeline

    Rectangle = tuple[str, int, int, int]

WIDTH = 800  # parts of the time that can be told apart
MOST_ROWS = 40

COLORS = {
    "task": ("#2a78d6", "#3987e5"),
    "moving": ("#b5b3ac", "#74726c"),
    "starting": ("#eda100", "#c98500"),
    "loading": ("#4a3aa7", "#9085e9"),
    "trouble": ("#d03b3b", "#f07474"),
}
"""What stands for what, in a light and in a dark page."""

NAMES = {"task": "tasks", "moving": "moving data", "trouble": "failure, timeout or crash"}


class Shapes:
    """The *names* of rows, `(what, row, begin, end)`, `(row, at)` of troubles, and ticks.

    Times are microseconds up to *span*.  *hidden*: rows that are not shown.
    """

    def __init__(self, calls: Sequence[Timeline]) -> None:
        picture = drawing(calls)
        rows = picture["rows"]
        # Without tasks of its own the caller's row would be empty.
        shown = [row for row in rows if row["bars"] or row["starts"] or row["loads"]] or rows
        self.hidden = max(0, len(shown) - MOST_ROWS)
        shown = shown[:MOST_ROWS]
        self.span: int = picture["span"]
        self.names = [row["name"] for row in shown]
        self.rectangles: list[Rectangle] = []
        for number, row in enumerate(shown):
            self._add(number, row)
        places = {id(row): n for n, row in enumerate(shown)}
        self.troubles = sorted(
            {
                (places[id(rows[event["row"]])], event["at"])
                for event in picture["events"]
                if id(rows[event["row"]]) in places
            }
        )

    def _add(self, number: int, row: dict[str, Any]) -> None:
        """Add what is in *row*, of which parts that cannot be told apart are one."""
        parts = [("starting", *span) for span in row["starts"]]
        parts += [("loading", *span) for span in row["loads"]]
        for bar in row["bars"]:
            if "moved" in bar:
                parts.append(("moving", bar["moved"], bar["began"]))
                parts.append(("moving", bar["ended"], bar["back"]))
            parts.append(("task", bar["began"], bar["ended"]))
        least = self.span / WIDTH / 2
        last: dict[str, tuple[int, int]] = {}
        for what, begin, end in sorted(parts, key=lambda part: part[1]):
            if what == "moving" and end - begin < least:
                continue
            before = last.get(what)
            if before is not None and begin - before[1] < least:
                last[what] = before[0], max(end, before[1])
                continue
            if before is not None:
                self.rectangles.append((what, number, *before))
            last[what] = begin, end
        self.rectangles += [(what, number, *span) for what, span in last.items()]

    def legend(self) -> list[tuple[str, str]]:
        """Return what is to be seen, and what it is called."""
        there = {what for what, *_ in self.rectangles} | ({"trouble"} if self.troubles else set())
        return [(what, NAMES.get(what, what)) for what in COLORS if what in there]

    def ticks(self) -> list[tuple[int, str]]:
        """Return some moments, and what stands there."""
        step = 1
        while self.span / step > 8:  # 1, 2, 5, 10, 20, ...
            step = step * 5 // 2 if str(step).startswith("2") else step * 2
        return [(at, seconds(at / 1e6) if at else "0") for at in range(0, self.span + 1, step)]

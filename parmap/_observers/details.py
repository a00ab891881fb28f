"""What is kept of single tasks of a call that is traced: the slowest, times, inputs, failures."""

from __future__ import annotations

from heapq import nlargest
from operator import sub
from time import perf_counter

from .._records.errors import short_repr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from typing import Any

    from .._records.events import Reported

BARS, MARKS, INPUTS, EVENTS = 20_000, 200_000, 20_000, 1_000
"""Chunks, moments between tasks, inputs as text, and failures or losses that a trace keeps: some 15
MB in all.  With more chunks, neighbours are drawn as one; of more tasks, the chunk is known."""

SLOWEST = 5
WORTH = 0.001  # seconds of a task from which on its input is kept, too, beside the first ones
FIRST = 100  # tasks whose input is kept however short they are
READING = 0.005  # of the time of the call, what may be spent on the text of inputs
MOMENT = 0.0002  # seconds of it at the begin of a call
WIDEST = 80  # characters of an input
PLAIN = (int, float, str, bool, bytes, type(None))


class Room:
    """What may still be kept, by all calls of a trace."""

    def __init__(self) -> None:
        self.bars, self.marks, self.inputs, self.events = BARS, MARKS, INPUTS, EVENTS


class Details:
    """What is kept of single tasks, as far as there is *room*.

    Attributes:
        slowest: seconds, index, first index of those timed together, and input, of some tasks.
        positions, ends: of each moment between two tasks, how many of its chunk had run, and when.
        inputs: as text, by index.
        failures: index, time, lane and text of some.
    """

    def __init__(self, room: Room) -> None:
        from array import array

        self.slowest: list[tuple[float, int, int, str]] = []
        self.positions: array[int] = array("L")
        self.ends: array[float] = array("d")
        self.inputs: dict[int, str] = {}
        self.failures: list[tuple[int, float, int, str]] = []
        self._room = room
        self._reading = 0.0
        self._began = perf_counter()

    def add(self, event: Reported, lane: int) -> tuple[int, int, float]:
        """Keep what *event* tells of tasks in that *lane*.

        Returns where its marks begin, how many they are, and when the last of its tasks had ended.
        """
        timing, last = event.timing, event.began + event.seconds
        ends, positions = [last], [event.tasks]
        if timing is not None and timing.positions:
            whole = timing.positions[-1] >= event.tasks
            ends = timing.ends if whole else [*timing.ends, max(last, timing.ends[-1])]
            positions = timing.positions if whole else [*timing.positions, event.tasks]
        self._look_at(event, positions, ends)
        mark, marks = len(self.ends), 0
        if len(ends) > 1 and self._room.marks >= len(ends):
            marks = len(ends)
            self._room.marks -= marks
            self.ends.extend(ends)
            self.positions.extend(positions)
        for position, caught in event.caught.items():
            if self._room.events > 0:
                self._room.events -= 1
                at = next((e for p, e in zip(positions, ends, strict=True) if p > position), last)
                index, text = event.start + position, short_repr(caught.exception)[:WIDEST]
                self.failures.append((index, at, lane, text))
                self.inputs.setdefault(index, input_at(event.items, position))
        return mark, marks, ends[-1]

    def _look_at(self, event: Reported, positions: list[int], ends: list[float]) -> None:
        """Keep the slowest tasks, and the inputs of those that may be looked at."""
        begins = [event.began, *ends[:-1]]
        times = list(map(sub, ends, begins))
        least = self.slowest[-1][0] if len(self.slowest) == SLOWEST else 0.0
        if max(times) > least:
            exact = event.timing is not None and event.timing.thread
            for i in nlargest(SLOWEST, range(len(times)), key=times.__getitem__):
                if times[i] > least:
                    last = event.start + positions[i] - 1
                    # In a worker, only the last of those timed together can be long.
                    first = last if exact else event.start + (positions[i - 1] if i else 0)
                    text = input_at(event.items, last - event.start)
                    self.slowest.append((times[i], last, first, text))
            self.slowest = nlargest(SLOWEST, self.slowest)
        began = perf_counter()
        if self._room.inputs <= 0 or self._reading > READING * (began - self._began) + MOMENT:
            return
        if len(self.inputs) < FIRST or max(times) > WORTH:
            few = max(0, FIRST - len(self.inputs))
            for n, (time, position) in enumerate(zip(times, positions, strict=True)):
                if (n < few or time > WORTH) and self._room.inputs > 0:
                    text = input_at(event.items, position - 1)
                    self.inputs[event.start + position - 1] = text
                    self._room.inputs -= 1
            self._reading += perf_counter() - began


def input_at(items: Any, position: int) -> str:
    """Return the input at *position* of *items* as text, "" if it is not there any more."""
    try:
        item = items[position]
    except Exception:  # it became shorter, or is of somebody else's making
        return ""
    if type(item) in PLAIN:
        text = repr(item[: 2 * WIDEST] if isinstance(item, (str, bytes)) else item)
    else:
        text = short_repr(item)
    if len(text) > WIDEST:  # of a path, say, the end tells more than the middle
        half = WIDEST // 2 - 1
        text = f"{text[:half]}..{text[-half:]}"
    return text

"""The executor "auto": the loop it replaces, until measurements say that workers are worth it."""

from __future__ import annotations

import sys

from .chunking import BUDGET
from .executors.serial import Serial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .events import Call, Chunk, Executor, Report
    from .source import Source

COLD_START = 0.1
"""Seconds until worker processes that have to be started have earned their start: 30 ms for an
interpreter and our import, as much for what the function imports, times two cores to share."""

WARM_START = 0.002
"""Seconds until workers that wait for a call have earned the sending of function and tasks."""


class Auto:
    """Serial until the tasks measured so far say that the rest is worth worker processes.

    Whatever cannot be sent to a worker (the function, an item, a result like those seen) runs in
    the caller, as it would in the loop.
    """

    def __init__(self, call: Call, source: Source, workers: int) -> None:
        self.workers = 1
        self.window = 1
        self._call = call
        self._source = source
        self._available = workers
        self._serial = Serial(call, BUDGET)
        self._lanes: Executor | None = None
        self._local = 0  # chunks given to `_serial`
        self._tasks = 0
        self._sample: object = None  # a result
        self._seconds = 0.0
        self._settled = workers == 1 or sys.platform == "win32"

    def submit(self, chunk: Chunk) -> None:
        if not self._settled and self._tasks:
            self._decide(len(chunk))
        if self._lanes is not None:
            from .events import Unsendable

            try:
                self._lanes.submit(chunk)
            except Unsendable:
                if len(chunk) > 1:
                    raise  # it comes again in halves, and only what cannot be sent stays here
            else:
                return
        self._local += 1
        self._serial.submit(chunk)

    def wait(self, block: bool) -> list[Report]:
        if not self._local:
            assert self._lanes is not None
            return self._lanes.wait(block)
        reports = self._serial.wait(block)
        self._local -= len(reports)
        for report in reports:
            self._tasks += len(report.values)
            self._seconds += report.seconds
            if report.values and not self._settled:
                self._sample = report.values[0]
        return reports

    def close(self) -> None:
        if self._lanes is not None:
            self._lanes.close()

    def _decide(self, at_hand: int) -> None:
        """Go over to processes if that ends the call earlier."""
        remaining = self._source.remaining
        if remaining is None:
            rest = self._seconds  # an input of unknown length goes on for as long as it did
        else:
            rest = (remaining + at_hand) * self._seconds / self._tasks
        if rest * (1 - 1 / self._available) < WARM_START:
            return
        from .executors import lanes
        from .transport import dumps, loads

        start = WARM_START if lanes.idle() else COLD_START
        if rest * (1 - 1 / self._available) < start:
            return
        self._settled = True
        try:
            loads(dumps(self._sample))
            self._lanes = lanes.Lanes(self._call, self._available, BUDGET)
        except Exception:
            return  # what the function returns, or itself, cannot be sent
        self.workers, self.window = self._lanes.workers, self._lanes.window

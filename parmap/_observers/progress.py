"""The progress bar: an observer that owns one tqdm bar, and a thread that keeps it moving.

tqdm writes to stderr by itself, and redraws no more often than its `mininterval` says; and only
when something is counted, so that a bar of long tasks would stand still.  The thread redraws it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from threading import Event, Thread
from time import perf_counter

from .._records.events import Done, Lost, Reported, Sent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


TICK = 1.0
"""Seconds without a finished task after which the bar says what it waits for, and from one such
redrawing to the next: what it shows of time has no fractions either."""


class Bar:
    """Counts tasks as they finish; the failed and the retried ones in the postfix.

    *progress* is True, a label, a dict of tqdm arguments, or a class with tqdm's interface.  Unless
    it is a class, or the dict says otherwise (`{"disable": False}`), a bar is drawn only where it
    can be seen: on a terminal, and in a notebook.
    """

    def __init__(self, progress: Any, total: int | None, workers: Callable[[], int]) -> None:
        """Expect *total* tasks, if that is known; *workers* tells how many run at once now."""
        arguments: dict[str, Any] = {"total": total, "unit": "task"}
        kind = progress if isinstance(progress, type) else None
        if kind is None and not type(sys.stderr).__module__.startswith("ipykernel."):
            arguments["disable"] = None  # tqdm's word for: unless that is a terminal
        if isinstance(progress, dict):
            arguments |= progress
        elif isinstance(progress, str):
            arguments["desc"] = progress
        self._bar = (kind or _tqdm())(**arguments)
        self._failed = self._retried = self._done = self._drawn = 0
        self._total = arguments["total"]
        self._workers = workers
        self._sent: dict[int, float] = {}  # when chunks were, by their first tasks
        self._last = perf_counter()  # when something was counted
        self._has_postfix = False
        self._closed = Event()
        self._ticker: Thread | None = None
        if not getattr(self._bar, "disable", False) and hasattr(self._bar, "refresh"):
            self._ticker = Thread(target=self._tick, name="parmap-bar", daemon=True)
            self._ticker.start()

    def __call__(self, event: object) -> None:
        """Count tasks that are done, and those that are under way."""
        if isinstance(event, Sent):
            self._sent[event.start] = event.at
            self._drawn = max(self._drawn, event.start + event.tasks)
            if event.attempts:
                self._retried += event.tasks
        elif isinstance(event, (Reported, Lost)):
            self._sent.pop(event.start, None)
        elif isinstance(event, Done):
            self._failed += event.failed
            self._done += event.tasks
            self._last = event.at
            self._stop_waiting()
            self._bar.update(event.tasks)

    def close(self) -> None:
        """Leave the bar as it stands, but for what it waited for."""
        self._closed.set()
        if self._ticker is not None:
            self._ticker.join(TICK)  # it may be in the middle of writing to somebody slow
        try:
            self._stop_waiting()
        finally:
            self._bar.close()

    def _tick(self) -> None:
        while not self._closed.wait(TICK):
            if perf_counter() - self._last >= TICK:
                shown = self._counts()
                if under_way := list(self._sent.values()):
                    shown["running"] = min(len(under_way), self._workers())  # one of each
                    shown["longest"] = f"{perf_counter() - min(under_way):.0f}s"
                self._has_postfix = True
                with suppress(Exception):  # of a class of the caller's, who hears of it below
                    self._bar.set_postfix(shown, refresh=True)

    def _stop_waiting(self) -> None:
        """Let the postfix say what has happened, and nothing of what the bar waited for."""
        if (counts := self._counts()) or self._has_postfix:
            self._bar.set_postfix(counts, refresh=False)
        self._has_postfix = bool(counts)

    def _counts(self) -> dict[str, Any]:
        counts = {"failed": self._failed, "retried": self._retried}
        if self._total is None and self._drawn != self._done:  # of an input without a length
            counts["drawn"] = self._drawn
        return {name: count for name, count in counts.items() if count}


def _tqdm() -> Any:
    # In a notebook tqdm.auto finds the right bar; elsewhere it would import asyncio for nothing.
    return import_module("tqdm.auto" if "ipykernel" in sys.modules else "tqdm.std").tqdm

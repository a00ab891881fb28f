"""What "auto" does about what cannot be sent to another process: it runs in the caller."""

from __future__ import annotations

from time import perf_counter

from .._engine.chunking import SOLO
from .._records.stack_frames import warn
from .._workers.tasks import run_here
from .serial_or_parallel import MOVING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Call, Report
    from .serial_or_parallel import Facts


FEW = 8
"""Tasks for each that cannot be sent: if there are as many, that one may run in the caller."""

DEAR = 1.0
"""Seconds lost in the caller, because something cannot be sent, that are worth a warning."""

ALONE = 5e-6
"""Seconds that a pickle takes however small it is, 2 to 4 us as measured: those in a chunk share
it."""

SLOWLY = 5 * MOVING
"""Seconds a byte from which on pickling is timed once more: the first time may be untypical."""


class Refusals:
    """Learns what of a *call* cannot be sent, which is one of its *facts*."""

    def __init__(self, call: Call, facts: Facts) -> None:
        self._call = call
        self._facts = facts
        self._refused = 0  # tasks so far that could not be sent, or their results
        self._lost = 0.0  # seconds in the caller since it is known that something cannot be sent

    def try_sending(self, item: object, result: object) -> None:
        """Pickle an input and a result: how large are they, and can they be sent at all?"""
        from .._wire.locks_and_queues import Spawning
        from .._wire.messages import TRIED_BYTES
        from .._wire.pickling import dumps, loads
        from .._wire.refusal import refusal

        moved, seconds, seen = 0, 0.0, self._facts.seen
        names = {"args[0]" if self._call.shape == "item" else "args": item, "result": result}
        for name, part in names.items():
            try:
                with Spawning() as spawning:  # locks and their like travel out, not back
                    reducers = spawning.reducers if name != "result" else None
                    data, spent = _timed(dumps, part, None, reducers)
                    if spent > ALONE + SLOWLY * len(data):  # it may have imported something
                        spent = min(spent, _timed(dumps, part, None, reducers)[1])
                    seconds += 2 * max(0.0, spent - ALONE)
                if name == "result" and len(data) <= TRIED_BYTES:
                    loads(data)
                moved += len(data)
            except Exception as error:
                seen.unsendable = refusal(part, name, error)
                return
        seen.moved, seen.moving = moved, seconds

    def accept(self, report: Report) -> bool:
        """Run here the tasks in the *report* of a pool that could not be sent back.

        False if it is on a single task that could not be sent out: nobody has run that.
        """
        if report.loss is not None and report.loss.kind == "unpicklable" and len(report.chunk) == 1:
            self._note(report.loss.error)
            return False
        for position, caught in list(report.caught.items()):
            if caught.kind == "unpicklable":
                self._note(caught.exception)
                again = run_here(self._call, report.chunk.part(position, position + 1), SOLO)
                del report.caught[position]
                report.values[position] = again.values[0]
                if again.caught:
                    report.caught[position] = again.caught[0]
        return True

    def _note(self, error: BaseException) -> None:
        self._refused += 1
        self._facts.seen.unsendable = str(error)

    def is_hopeless(self) -> bool:
        """Tell whether too much cannot be sent to go on with it."""
        return self._refused > 1 and self._refused * FEW > self._facts.seen.tasks

    def complain(self, seconds: float) -> None:
        """Say once what keeps tasks here, when that costs more than it would to be told.

        One that took *seconds* has just run here.
        """
        if not (why := self._facts.seen.unsendable):
            return
        before = self._lost
        self._lost += seconds * (1 - 1 / self._facts.workers)
        if before < DEAR <= self._lost:
            try:
                warn(f"parmap runs these tasks one after the other: {why}")
            except RuntimeWarning:  # a filter makes it an error, which costs the results
                pass


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    began = perf_counter()
    return function(*arguments), perf_counter() - began

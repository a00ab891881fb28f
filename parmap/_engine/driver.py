"""A call driven by a thread of its own, for who must not wait for it: an event loop.

::

    loop                       thread
      start  ----------------->  begin the run, advance it
      reads  <---- tell ------   lists of results, the end
      wake, stop  ------------>  read on; close the run, which ends the thread

The thread is a daemon: a task that never ends does not keep the program from ending.  At the end of
the program the call is stopped, and its thread waited for, before the workers are ended.
"""

from __future__ import annotations

import atexit
import os
from contextvars import copy_context
from threading import Event, Thread

from .._records.errors import ExecutorUnavailable
from .results import collect, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Batch
    from .interfaces import Feed
    from .scheduler import Run

    Begin = Callable[[], Run]


PATIENCE = 1.0  # seconds a call has to end that was stopped; a task may go on


class Driver:
    """Runs what *begin* returns, in a copy of the caller's context; tells of its end.

    *tell* is called by the thread when there is something new; what it raises ends the call.

    Attributes:
        ended: whether the call is over, and closed.
        value: then, what came of it.
        error: then, what it has raised, if it has.
    """

    def __init__(self, begin: Begin, on_error: Any, tell: Callable[[], object]) -> None:
        self.ended = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._begin = begin
        self._on_error = on_error
        self._tell = tell
        self._run: Run | None = None
        self._stop = False
        self._process = os.getpid()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin.  Raises ExecutorUnavailable if there can be no thread."""
        main = copy_context().run
        self._thread = Thread(target=main, args=(self._main,), name="parmap-call", daemon=True)
        # Registered now, this runs before the exit handlers of the pool that may be below.
        atexit.register(self._end_with_program)
        try:
            self._thread.start()
        except RuntimeError as error:
            atexit.unregister(self._end_with_program)
            self.ended = True
            raise ExecutorUnavailable(f"no thread can be started for the call: {error}") from error

    def stop(self) -> None:
        """Have the call closed soon, with what still runs.  May be called twice."""
        self._stop = True
        if self._run is not None:
            self._run.give_up("the call was cancelled")

    def _stopped(self) -> bool:
        return self._stop  # which another thread sets, at any time

    def _main(self) -> None:
        try:
            if not self._stopped():
                self._run = run = self._begin()
                if self._stopped():
                    run.close()
                else:
                    self.value = self._consume(run)
        except BaseException as error:
            self.error = None if self._stopped() else error
        self.ended = True
        atexit.unregister(self._end_with_program)
        try:
            self._tell()
        except RuntimeError:  # the loop was closed: nobody waits any more
            self.error = None

    def _consume(self, run: Run) -> Any:
        return collect(run, self._on_error)

    def _end_with_program(self) -> None:
        if os.getpid() == self._process and self._thread is not None:
            self.stop()
            self._thread.join(PATIENCE)


class Reading(Driver):
    """Runs ahead of a reader, who takes lists of results with `put` and says what was `read`.

    No more than *buffersize* tasks are drawn that were not read; None: what keeps the workers busy.

    Attributes:
        read: how many results were read; set by the reader.
        due: at how many the reader should say so, with `go_on`.
    """

    def __init__(
        self,
        begin: Begin,
        on_error: Any,
        tell: Callable[[], object],
        put: Callable[[list[Any]], object],
        allow: Callable[[int], object],
        *,
        ordered: bool,
        buffersize: int | None,
    ) -> None:
        """Call *put* with results before *tell*, *allow* with how far the input may be drawn."""
        super().__init__(begin, on_error, tell)
        self.read = 0
        self.due = 1
        self._put = put
        self._allow = allow
        self._ordered = ordered
        self._buffersize = buffersize
        self._more = Event()  # something was read, or the call stopped

    def go_on(self) -> None:
        """Say that results were read, up to `due` at least."""
        if not self._more.is_set() and self._run is not None:
            self._more.set()
            self._run.wake()

    def stop(self) -> None:
        super().stop()
        self._more.set()

    def _consume(self, run: Run) -> None:
        waiting: dict[int, Batch] = {}  # what is finished and not handed over, by its first index
        given = 0
        error: Exception | None = None
        try:
            while not self._stopped():
                self._more.clear()
                if self._stopped():
                    break
                read = self.read
                ahead = self._buffersize or run.horizon(read)
                self.due = read + max(1, ahead // 2)
                self._allow(read + ahead)
                batches = run.advance(read + ahead)
                waiting.update((batch.start, batch) for batch in batches)
                before = given
                while batch := waiting.pop(
                    given if self._ordered else next(iter(waiting), -1), None
                ):
                    values, ended_by = values_of(batch, self._on_error)
                    if values:
                        given += len(values)
                        self._put(values)
                    if isinstance(ended_by, Exception):
                        error = ended_by  # raised when all results are given
                    elif ended_by is not None:
                        ended_by.unwrap()
                if given > before:
                    self._tell()
                elif not batches and not run.woken:
                    if run.source.drawn < read + ahead:  # there is no more to be drawn
                        break
                    if self.read == read:  # else it may not have seen what is due
                        self._more.wait()  # all that may be drawn is done
            if error is not None and not self._stopped():
                raise error
        finally:
            run.close()


def allow_all(_: int) -> None:
    """Let an input be drawn as far as it is."""


def limits(feed: Feed | None) -> Callable[[int], object]:
    """Return what tells *feed* how far it may be drawn, if it wants to know."""
    return getattr(feed, "allow", allow_all)

"""What the engine asks of where tasks run, and of where they come from, and all that it asks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .._records.work import Chunk, Report


class Executor:
    """Where tasks run.  One is made for each call, by `plan`, and closed by the scheduler.

    It knows nothing of order, retries, observers or the input: it runs chunks.

    Attributes:
        workers: how many tasks run at the same time; may change while a call runs.
        window: how many chunks may be out at the same time; may change, too.
    """

    workers: int
    window: int

    @property
    def in_caller(self) -> bool:
        """Whether tasks run in the caller's thread, while `wait` waits."""
        return False

    @property
    def ready(self) -> bool:
        """Whether there is a worker, so that a chunk submitted now does not wait for one."""
        return True

    @property
    def packing(self) -> float:
        """Seconds it took to pickle the function; 0.0 where it is not pickled."""
        return 0.0

    def submit(self, chunk: Chunk) -> None:
        """Take *chunk*; raise `Unsendable` if it cannot be sent.  Never waits for a task."""
        raise NotImplementedError

    def wait(self, seconds: float | None) -> list[Report]:
        """Return the reports that have come.

        While a chunk is out and there is none, wait up to *seconds* for one; None: until there is
        one, or `wake` is called; 0: do not wait.
        """
        raise NotImplementedError

    def wake(self) -> None:
        """Have the `wait` under way, or else the next one, return though nothing has come.

        May be called by any thread, also after `close`.  A wait that runs tasks itself returns when
        it would have, anyway.
        """
        raise NotImplementedError

    def recall(self) -> None:
        """Have what was not begun handed back soon; what runs ends after its task.

        May do nothing: then everything is done as it was submitted.
        """

    def kill_overdue(self, timeout: float | None) -> float | None:  # noqa: ARG002 - not here
        """Kill each worker whose task has taken *timeout* seconds, and report that task as lost.

        Others are not touched; with None, none is.  Returns after how many seconds to look again;
        None: single workers cannot be killed, and nothing was done.
        """
        return None

    def close(self) -> None:
        """Stop what runs, forget what waits, release what this executor owns."""
        raise NotImplementedError


class Around(Executor):
    """An executor around another, *inner*: what it does not say itself, that one does."""

    def __init__(self, inner: Executor) -> None:
        self._executor = inner

    @property
    def workers(self) -> int:  # type: ignore[override]
        """As the inner one has it."""
        return self._executor.workers

    @property
    def window(self) -> int:  # type: ignore[override]
        """As the inner one has it."""
        return self._executor.window

    @property
    def in_caller(self) -> bool:
        """As the inner one has it."""
        return self._executor.in_caller

    @property
    def ready(self) -> bool:
        """As the inner one has it."""
        return self._executor.ready

    @property
    def packing(self) -> float:
        """As the inner one has it."""
        return self._executor.packing

    def submit(self, chunk: Chunk) -> None:
        """Hand *chunk* on."""
        self._executor.submit(chunk)

    def wait(self, seconds: float | None) -> list[Report]:
        """Wait for the inner one."""
        return self._executor.wait(seconds)

    def wake(self) -> None:
        """Wake the inner one."""
        self._executor.wake()

    def recall(self) -> None:
        """Have the inner one recall what it has."""
        self._executor.recall()

    def kill_overdue(self, timeout: float | None) -> float | None:
        """Have the inner one kill what is overdue."""
        return self._executor.kill_overdue(timeout)

    def close(self) -> None:
        """Close the inner one."""
        self._executor.close()


class Feed:
    """Where the tasks of a call come from: a `Source` of iterables, or an `Inbox`.

    Only the thread that advances the `Run` takes from it.

    Attributes:
        drawn: how many items were handed out; the run may correct it.
        total: how many there will be in all; None if that is not known.
        remaining: how many of them are still to come; None if that is not known.
        ended: whether no item comes any more.
        later: whether there may be items after it had none to give, without having ended.
        error: what the input raised; nothing is drawn after it.
        indexed: whether all of it lies in memory, so that to draw ahead of the tasks runs no code
            of the caller's.
        fleeting: whether an item is of no use any more once the next is drawn.
        seconds: how long it took when it was asked last.
        is_slow: whether it takes so long that nothing should wait for it.
        was_slow: whether it may do so again: many inputs give some items at once, and then none.
        spent: how long it took in all, as far as it is no matter of microseconds.
        asked: how long it took in all while tasks ran here, and `is_asked`: at this moment.
        wake: where `later` may be, set by the run, to be called by who has something for it.
    """

    drawn = 0
    total: int | None = None
    remaining: int | None = None
    ended = False
    later = False
    error: Exception | None = None
    indexed = True
    fleeting = False
    seconds = 0.0
    is_slow = was_slow = False
    spent = 0.0
    asked = 0.0
    is_asked = False
    wake: Callable[[], object]

    def take(self, n: int) -> Sequence[Any]:
        """Return up to *n* items for tasks that run elsewhere, none after the end or an error.

        At least one, if one can be had without waiting for other threads.
        """
        raise NotImplementedError

    def here(self, n: int) -> Sequence[Any]:
        """Return up to *n* items for the caller, who runs their tasks itself, in order."""
        return self.take(n)

    def fail(self, error: Exception) -> None:
        """Keep *error*, and end; asked only of an input that comes from the caller's code."""
        raise NotImplementedError

    def wait(self) -> None:
        """Wait until there is an item or the end; asked only while it is `later`."""
        raise NotImplementedError

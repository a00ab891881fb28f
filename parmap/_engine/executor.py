"""What the engine asks of a place where tasks run, and all that it asks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
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

    def close(self) -> None:
        """Stop what runs, forget what waits, release what this executor owns."""
        raise NotImplementedError

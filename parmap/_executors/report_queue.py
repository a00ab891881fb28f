"""Reports that other threads make, for the thread that waits for them."""

from __future__ import annotations

from queue import Empty, SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._records.work import Report


class ReportQueue:
    """Counts the chunks that are `out`, and hands their reports over, as `Executor.wait` says it.

    `put` takes a report, or what the initializer has raised, which `wait` raises, too.
    """

    def __init__(self) -> None:
        self.out = 0
        self._done: SimpleQueue[Report | BaseException | None] = SimpleQueue()  # None: `wake`
        self.put = self._done.put

    def wait(self, seconds: float | None) -> list[Report]:
        reports: list[Report] = []
        while self.out:
            try:
                report = self._done.get(timeout=0 if reports else seconds)
            except Empty:
                break
            if report is None:
                break
            self.out -= 1
            if isinstance(report, BaseException):
                raise report
            reports.append(report)
        return reports

    def wake(self) -> None:
        self.put(None)

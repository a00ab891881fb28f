"""Tasks in threads of this process: for tasks that wait, or that release the GIL.

A thread cannot be killed.  Closing tells the threads to stop after the task they run; they are
daemons, so that a task which never ends does not keep the interpreter from ending.
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from .._engine.interfaces import Executor
from .._records.errors import ExecutorUnavailable
from .._records.work import Report
from .marshalling import InProcess
from .report_queue import ReportQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._records.work import Call, Chunk


class Threads(Executor):
    """Starts a thread for each chunk until there are *workers*."""

    def __init__(self, call: Call, workers: int, budget: float) -> None:
        self.workers = workers
        self.window = 2 * workers  # a queue for all: none waits for the caller, who needs the GIL
        self._marshaller = InProcess(call, budget)
        self._reports = ReportQueue()
        self._started = 0
        self._chunks: SimpleQueue[Chunk | None] = SimpleQueue()

    def submit(self, chunk: Chunk) -> None:
        self._reports.out += 1
        if self._started < min(self._reports.out, self.workers):
            self._started += 1  # before: an interrupt may come when it has started
            try:
                Thread(target=self._serve, name=f"parmap-{self._started}", daemon=True).start()
            except RuntimeError as error:
                self._started -= 1
                if not self._started:
                    raise ExecutorUnavailable(
                        f"executor='threads' cannot start a thread here: {error}; "
                        "executor='serial' needs none"
                    ) from error
                self.workers = self._started  # they do the rest
        self._chunks.put(chunk)

    def wait(self, seconds: float | None) -> list[Report]:
        return self._reports.wait(seconds)

    def wake(self) -> None:
        self._reports.wake()

    def recall(self) -> None:
        self._marshaller.stop()
        with suppress(Empty):
            while True:
                if (chunk := self._chunks.get_nowait()) is not None:
                    self._reports.put(Report(chunk, []))

    def close(self) -> None:
        self.recall()
        for _ in range(self._started):
            self._chunks.put(None)

    def _serve(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            try:
                self._reports.put(self._marshaller.run(chunk))
            except BaseException as error:  # of the initializer: the call raises it
                self._reports.put(error)

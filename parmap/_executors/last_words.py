"""What tasks have written, before an answer brings it: while they run, when their worker dies."""

from __future__ import annotations

from math import inf

from .._records.written import NO_TASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._records.work import Call, Report
    from .._workers.lease import Lease
    from .._workers.process import WorkerProcess

ROUND = 0.05
"""Seconds from one look at what running tasks write to the next: to an eye it is at once."""


class LastWords:
    """Reads it where workers leave it, for the relay of *call*, if that has one."""

    def __init__(self, call: Call) -> None:
        self._relay: Any = call.relay
        self._live = call.relay is not None and call.relay.live
        self._seen: dict[tuple[int, int], int] = {}  # bytes, by worker and task

    def look(self, lease: Lease) -> float:
        """Relay what the tasks in *lease* have written since the last look, if that is wanted.

        Returns after how many seconds to look again.
        """
        if not self._live:
            return inf
        for worker in lease.busy():
            index, row = worker.block.output.read()
            seen = self._seen.get((worker.pid, index), 0)
            if len(row) > seen:
                self._relay.hear(index, row[seen:])
                self._seen[worker.pid, index] = len(row)
        self._relay.write()
        return ROUND

    def answered(self, worker: WorkerProcess, report: Report) -> Report:
        """Take out of *report*, and return it, what was relayed before."""
        if self._seen:
            if rows := report.written:
                seen = {index: self._seen.get((worker.pid, index), 0) for index in rows}
                report.written = {index: row[seen[index] :] for index, row in rows.items()}
            self._forget(worker)
        return report

    def died(self, worker: WorkerProcess, running: float) -> dict[int, bytes] | None:
        """Return what the task *running* when *worker* died had written.

        The others run again, and write again.
        """
        if self._relay is None:
            return None
        index, row = worker.block.output.read()
        row = row[self._seen.get((worker.pid, index), 0) :]
        self._forget(worker)
        if index == NO_TASK:
            self._relay.hear(index, row)
        return {index: row} if index == running else None

    def _forget(self, worker: WorkerProcess) -> None:
        self._seen = {key: size for key, size in self._seen.items() if key[0] != worker.pid}

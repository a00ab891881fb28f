"""Tasks in a Dask cluster, through a `distributed.Client` that is lent to us."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, suppress

from .._records.errors import ExecutorUnavailable
from .._records.machine import imported
from .cluster import Cluster
from .dask_client import DaskClient, Sent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Call

NEEDED = (
    "executor='dask' needs a client of dask.distributed: from distributed import Client; client = "
    "Client() for workers on this machine, Client('tcp://HOST:8786') for a cluster"
)
ANSWER = 30.0  # seconds that the scheduler has to say which workers there are, at first


def default_client() -> Any:
    """Return the client that Dask uses by default; in a task of Dask's, that of its worker.

    Raises ExecutorUnavailable if there is none.
    """
    distributed = imported("distributed")
    try:
        if distributed is not None:
            return distributed.get_client()
    except ValueError as error:
        raise ExecutorUnavailable(NEEDED) from error
    raise ExecutorUnavailable(NEEDED)


class Dask(Cluster):
    """Submits chunks as tasks that are not pure, and gathers their answers as they finish."""

    def __init__(
        self,
        call: Call,
        workers: int | None = None,
        lent: Any = None,
        timeout: float | None = None,
    ) -> None:
        client = default_client() if lent is None else lent
        if client.asynchronous:
            raise TypeError(
                "executor: a distributed.Client with asynchronous=True belongs to its event loop; "
                "pass one without, and await aio.pmap(...)"
            )
        self._client = DaskClient(client)
        super().__init__(call, client, workers, timeout)
        self._left = ExitStack()
        with suppress(ValueError):  # this is no task of Dask's: else another may run meanwhile
            self._left.enter_context(imported("distributed").worker_client())

    @staticmethod
    def accepts(instance: Any) -> bool:
        return isinstance(instance, getattr(imported("distributed"), "Client", ()))

    def _count(self) -> int:
        ours, client = self._client, self._pool
        if ours.threads is None and client.status == "running":
            with suppress(Exception):
                client.sync(ours.look, callback_timeout=ANSWER)
        if ours.threads is None or client.status != "running":
            raise BrokenExecutor(f"Dask's scheduler is out of reach: its client is {client.status}")
        if not ours.looking:
            ours.looking = True
            client.loop.add_callback(ours.look, self._look_soon)
        self._shared = max(ours.threads.values(), default=2) > 1
        return sum(ours.threads.values())

    def _put(self, data: bytes) -> bytes:
        return data  # the first chunk that needs it has it brought to the workers

    def _send(self, task: tuple[Any, ...], done: Callable[[Any], object]) -> Sent:
        sent = Sent(self._pool)
        self._pool.loop.add_callback(self._client.run, sent, task, done)
        return sent

    def _result(self, out: Any) -> Any:
        if not isinstance(out, BaseException):
            return out
        if self._pool.status != "running":
            self._broken = BrokenExecutor(f"Dask's client is {self._pool.status}: {out}")
            raise self._broken from out
        name = type(out).__name__
        if name == "KilledWorker" or "Cancelled" in name:  # not by us: what it needs was lost, say
            raise BrokenExecutor(str(out)) from out
        if isinstance(out, ExecutorUnavailable):
            raise out
        raise ExecutorUnavailable(
            f"Dask cannot run parmap: {name}: {out}; is the same parmap-py installed where its "
            "workers are?"
        ) from out

    def _is_lost(self, handle: Sent) -> bool:
        return bool(handle.address) and handle.address not in self._client.there

    def close(self) -> None:
        super().close()
        self._pool.loop.add_callback(self._client.forget)
        with suppress(Exception):  # in another thread it cannot be undone
            self._left.close()

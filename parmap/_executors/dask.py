"""Tasks in a Dask cluster, through a `distributed.Client` that is lent to us.

Each chunk is for one worker, the one that has the least to do: a chunk that any may run would be
given by the scheduler to the next when its worker dies, and would kill that one, too.  While there
is no worker, chunks are for any, so that an adaptive cluster has a reason to start one.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import BrokenExecutor, CancelledError
from itertools import count
from uuid import uuid4

from .._records.errors import ExecutorUnavailable
from .._records.machine import imported
from .cluster import Cluster
from .marshalling import SHARED, Pickled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Call

NEEDED = (
    "executor='dask' needs a client of dask.distributed: from distributed import Client; client = "
    "Client() for workers on this machine, Client('tcp://HOST:8786') for a cluster"
)


def default_client() -> Any:
    """Return the client that Dask uses by default; raise ExecutorUnavailable if there is none."""
    distributed = imported("distributed")
    try:
        if distributed is not None:
            return distributed.default_client()
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
        self._threads: dict[str, int] = {}  # of each worker, by its address
        self._has: Counter[str] = Counter()  # chunks that each has
        self._name, self._keys = f"parmap-{uuid4().hex}", count()
        super().__init__(call, client, workers, timeout)
        if call.seed is not None and max(self._threads.values(), default=1) > 1:
            raise ValueError(SHARED.format(seed=call.seed))

    @staticmethod
    def accepts(instance: Any) -> bool:
        return isinstance(instance, getattr(imported("distributed"), "Client", ()))

    def _count(self) -> int:
        try:
            self._threads = self._pool.nthreads()
        except Exception as error:
            raise ExecutorUnavailable(f"Dask's scheduler does not answer: {error}") from error
        return sum(self._threads.values())

    def _put(self, data: bytes) -> Any:
        return self._pool.scatter(data, broadcast=True, hash=False)

    def _send(self, task: tuple[Any, ...], done: Callable[[Any], object]) -> _Sent:
        address = min(
            self._threads, key=lambda one: self._has[one] / self._threads[one], default=None
        )
        where = {} if address is None else {"workers": [address], "allow_other_workers": False}
        key = f"{self._name}-{next(self._keys)}"
        future = self._pool.submit(*task, key=key, pure=False, **where)
        sent = _Sent(future, address)
        self._has[sent.address] += 1
        self._pool.loop.add_callback(self._fetch, sent, done)
        return sent

    async def _fetch(self, sent: _Sent, done: Callable[[Any], object]) -> None:
        """In the client's loop: gather the answer, so that nobody waits for its way."""
        out: Any
        try:
            out = await self._pool.gather(sent.future, asynchronous=True)
        except BaseException as error:  # Dask's own CancelledError is none of Exception
            out = error
        self._has[sent.address] -= 1
        done(out)

    def _result(self, out: Any) -> Any:
        if not isinstance(out, BaseException):
            return out
        name = type(out).__name__
        if name == "KilledWorker":
            raise BrokenExecutor(str(out)) from out
        if "Cancelled" in name:
            raise CancelledError from out
        if isinstance(out, ModuleNotFoundError):
            raise ExecutorUnavailable(
                f"a worker of the cluster has no parmap: {out}; install parmap-py there, too"
            ) from out
        raise out

    def _look_after_workers(self, dead: set[Any]) -> None:
        super()._look_after_workers(dead)
        for number, (chunk, sent) in list(self._pending.items()):
            if sent.address and sent.address not in self._threads:
                del self._pending[number]
                sent.cancel()
                if isinstance(self._marshaller, Pickled):
                    self._marshaller.put_again()  # it may have been the only one that had it
                self._lose(chunk, BrokenExecutor(f"{sent.address} is gone"), "requeue")


class _Sent:
    """A chunk that was sent: its future, and the *address* of its worker, "" if any may run it."""

    def __init__(self, future: Any, address: str | None) -> None:
        self.future = future
        self.address = address or ""

    def cancel(self) -> None:
        self.future.cancel()

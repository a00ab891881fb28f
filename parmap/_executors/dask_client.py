"""What is said to Dask's scheduler: all of it in the client's own loop, so that no call waits.

Each chunk is for one worker, the one that has the least to do: a chunk that any may run would be
given by the scheduler to the next when its worker dies, and would kill that one, too.  While there
is no worker, chunks wait, and a task that does nothing has an adaptive cluster start one.
"""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from concurrent.futures import CancelledError
from contextlib import suppress
from uuid import uuid4

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LARGE = 2**20
"""Bytes of a request that goes to its worker before the task does: what goes with the task, the
scheduler keeps; but to send it first takes a message more."""


class DaskClient:
    """Talks to the scheduler of a distributed *client* on behalf of one call.

    Attributes:
        threads: of each worker that takes tasks, by its address; None until they were looked up.
        there: the addresses of all workers, of those that rest or end, too.
        looking: whether they are being looked up.
    """

    def __init__(self, client: Any) -> None:
        self.threads: dict[str, int] | None = None
        self.there: set[str] = set()
        self.looking = False
        self._client = client
        self._has: Counter[str] = Counter()  # how many chunks each worker has
        self._function: tuple[bytes, Any] = b"", None  # one worker has it, and this future tells
        self._copies: dict[str, Any] = {}  # of it, by the address of the worker, for its chunks
        self._lock = asyncio.Lock()

    async def look(self, changed: Callable[[], object] = int) -> None:
        """Look which workers there are; call *changed* if they are others than at the last look."""
        before = self.there, self.threads
        with suppress(Exception):  # the client's status tells what is wrong
            there = await self._client.scheduler.ncores(workers=None)
            running = await self._client.scheduler.ncores_running(workers=None)
            self.there, self.threads = set(there), dict(running)
        self.looking = False
        if before != (self.there, self.threads):
            changed()

    async def run(self, sent: Sent, task: tuple[Any, ...], done: Callable[[Any], object]) -> None:
        """Have a worker run *task*; call *done* with what it returns, or with what was raised."""
        out: Any
        try:
            while not self.threads:
                await sent.result(int)
                await self.look()
            has, threads = self._has, self.threads
            sent.address = min(threads, key=lambda one: has[one] / threads[one])
            has[sent.address] += 1
            perform, request, *function = task
            apart: list[Any] = []  # the function, which goes as what was put
            parts = _Work(perform, request, *map(pickle.PickleBuffer, function))
            work: Any = pickle.dumps(parts, 5, buffer_callback=apart.append)
            put = [await self._function_at(sent.address, data) for data in function]
            if len(work) > LARGE:
                work = await self._scatter(work, workers=[sent.address])
            out = await sent.result(pickle.loads, work, buffers=put)
        except BaseException as error:  # Dask's own CancelledError is none of Exception
            out = error.with_traceback(None)  # its frames have the future, and the client has it
            out.__context__ = None  # the same
        self._has[sent.address] -= 1
        done(out)

    async def forget(self) -> None:
        """Let the workers forget the function."""
        self._function = b"", None
        self._copies.clear()

    async def _function_at(self, address: str, data: bytes) -> Any:
        """Return the future of *data* at one worker, which has it from another.

        Each has a key of its own: where several have the same one, Dask takes it from those who do
        not need it at the moment, and they would fetch it again.
        """
        async with self._lock:
            known, future = self._function
            if known is not data or future.status != "finished":
                self._function = data, await self._scatter(data)
                self._copies.clear()
        copy = self._copies.get(address)
        if copy is None or copy.status in ("cancelled", "error", "lost"):
            key = f"parmap-function-{uuid4().hex}"
            at = {"workers": [address], "key": key, "pure": False}
            copy = self._copies[address] = self._client.submit(bytes, self._function[1], **at)
        return copy

    async def _scatter(self, data: Any, **where: Any) -> Any:
        return await self._client.scatter(data, hash=False, asynchronous=True, **where)


class _Work:
    """What to call, and with what; to unpickle it does so.

    So for Dask a task is `pickle.loads` of bytes: its scheduler need not have parmap, and a worker
    that has not fails its task.  Anything else breaks the worker's connection, and ends it.
    """

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return self._parts[0], self._parts[1:]


class Sent:
    """A chunk under way, to the worker with that *address* once there is one."""

    def __init__(self, client: Any) -> None:
        self.address = ""
        self._client = client
        self._future: Any = None
        self._cancelled = False

    async def result(self, *task: Any, **more: Any) -> Any:
        """Submit *task*, a function and its arguments, and return what it returns."""
        if self._cancelled:
            raise CancelledError
        where = {"workers": [self.address]} if self.address else {}
        key = f"parmap-{uuid4().hex}"
        self._future = self._client.submit(*task, key=key, pure=False, **where, **more)
        try:
            return await self._client.gather(self._future, asynchronous=True)
        finally:
            self._future = None

    def cancel(self) -> None:
        """Have it cancelled; any thread may."""
        self._client.loop.add_callback(self._cancel)

    async def _cancel(self) -> None:
        self._cancelled = True
        if self._future is not None:
            await self._client.cancel(self._future, asynchronous=True)

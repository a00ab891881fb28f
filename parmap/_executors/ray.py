"""Tasks in the Ray cluster that `ray_connection` finds.

A chunk and its answer are bytes that we pickle: for Ray's pickler they would be a dozen objects.
Ray tries no chunk again, and has none in its queue unless others use the cluster, too: what it has
cannot be taken back, as `ray.cancel` of a task that has just begun or ended aborts this process
(seen with Ray 2.60).  A worker waits 3 to 6 ms for its next chunk, of half a second.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError
from functools import cache
from importlib import import_module
from math import inf
from time import monotonic

from .._records.c_modules import pickle
from .._records.errors import ExecutorUnavailable
from .cluster import Cluster
from .marshalling import Pickled
from .queued import ROUND
from .ray_connection import connected, reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Call

DEATHS = "WorkerCrashedError NodeDiedError OutOfMemoryError ObjectLostError RayActorError RpcError"
SHUT_DOWN = "Ray was shut down in the middle of the call; ray.init() before the next one"
GONE = "Ray does not answer ({}); ray.shutdown(), or Ray ends this program, too, in a minute"
PATIENCE = 20.0
"""Seconds without Ray's head until a call is given up.  Longer, and Ray ends the program first;
shorter, and a head that is restarted costs the call."""


class Ray(Cluster):
    """Submits chunks as remote functions, and takes their answers from futures."""

    def __init__(
        self,
        call: Call,
        workers: int | None = None,
        lent: Any = None,  # noqa: ARG002 - none is accepted
        timeout: float | None = None,
    ) -> None:
        ray = connected(workers)
        context = ray.get_runtime_context()
        # By `ray://`, the head is beyond what we can reach.
        self._head = "" if ray.util.client.ray.is_connected() else context.gcs_address
        self._seen = -inf
        self._wait = ray.wait if context.worker.mode == ray.WORKER_MODE else None
        super().__init__(call, ray, workers, timeout)

    @property
    def window(self) -> int:  # type: ignore[override]
        return self.workers

    @staticmethod
    def accepts(instance: Any) -> bool:  # noqa: ARG004 - there is none to lend
        return False

    def _count(self) -> int:
        if not self._pool.is_initialized():
            raise ExecutorUnavailable(SHUT_DOWN)
        try:
            reach(self._head)  # else Ray waits a minute for it, and then ends this process
            cpus = self._pool.cluster_resources().get("CPU", 0)
        except Exception as error:
            if monotonic() > self._seen + PATIENCE:
                raise ExecutorUnavailable(GONE.format(error)) from error
            return self.workers
        self._seen = monotonic()
        return int(cpus)

    def _put(self, data: bytes) -> Any:
        return self._pool.put(pickle.PickleBuffer(data))  # the workers of a node share one copy

    def _send(self, task: tuple[Any, ...], done: Callable[[Any], object]) -> Any:
        if not self._pool.is_initialized():  # it would start anew
            raise ExecutorUnavailable(SHUT_DOWN)
        perform, request, *function = task
        ref = _remote().remote(pickle.dumps((perform, request), 5), *function)
        # Without the future, which holds on to the answer in Ray.
        ref.future().add_done_callback(lambda future: done(future.exception() or future.result()))
        return ref

    def _result(self, out: Any) -> Any:
        if isinstance(out, bytes):
            return pickle.loads(out)
        known = self._pool.exceptions
        if isinstance(out, known.ObjectLostError) and isinstance(self._marshaller, Pickled):
            self._marshaller.put_again()
        if isinstance(out, known.LocalRayletDiedError):  # nothing can be handed out any more
            raise ExecutorUnavailable(GONE.format(out)) from out
        if isinstance(out, known.TaskCancelledError):
            raise CancelledError from out
        deaths: Any = tuple(getattr(known, name) for name in DEATHS.split())
        if isinstance(out, deaths):
            raise BrokenExecutor(f"{type(out).__name__}: {out}") from out
        cause = getattr(out, "cause", out)  # what was raised in the worker, by none of the tasks
        if isinstance(cause, ExecutorUnavailable):
            raise cause
        told = f"{type(cause).__name__}: {cause}"
        raise ExecutorUnavailable(f"Ray does not run the tasks: {told}") from out

    def _next_completed(self, seconds: float | None) -> tuple[int | None, Any]:
        if self._wait is not None and self._completed.empty():
            # A task of Ray's that waits so, lends its CPU to those that it waits for.
            refs = [ref for _, ref in self._pending.values()]
            self._wait(refs, timeout=ROUND if seconds is None else min(ROUND, seconds))
        return super()._next_completed(seconds)

    def close(self) -> None:
        self._pending.clear()
        super().close()


@cache
def _remote() -> Any:
    ray: Any = import_module("ray")
    return ray.remote(num_cpus=1, max_retries=0, retry_exceptions=False)(run_parmap_chunk)


def run_parmap_chunk(task: bytes, *function: Any) -> bytes:
    """In a worker of Ray's: do what *task* says, with the *function* if that was put."""
    perform, request = pickle.loads(task)
    return pickle.dumps(perform(request, *[memoryview(part) for part in function]), 5)

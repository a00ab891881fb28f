"""Tasks in a Ray cluster: the one of this process, one that runs already, or a local one.

A chunk goes as bytes, pickled by us: for Ray that is the shortest way.  A task of Ray runs it with
nothing beside it and is never tried again by Ray.
"""

from __future__ import annotations

import os
import socket
from concurrent.futures import BrokenExecutor
from functools import cache
from math import inf
from threading import Lock
from time import monotonic

from .._records.c_modules import pickle
from .._records.errors import ExecutorUnavailable
from .._records.machine import usable_cpus
from .._records.stack_frames import warn
from .._workers.tasks import nested
from .cluster import Cluster
from .marshalling import Pickled
from .queued import ROUND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Call

DEATHS = """WorkerCrashedError NodeDiedError LocalRayletDiedError OutOfMemoryError ObjectLostError
RayActorError RpcError TaskCancelledError"""
"""What Ray raises when a chunk has no answer for no fault of parmap's.  Cancelled, without our doing,
is a task that the interrupt for the one before it has hit."""
NO_RAY = (
    "executor='ray' cannot connect to Ray: {}; let RAY_ADDRESS be the address of a cluster that runs, "
    "or 'local' for one on this machine"
)
WHY = "no other was there, neither by RAY_ADDRESS nor by `ray start`; it ends with this program"
BESIDE = (
    "executor='ray' in a task that runs in a process beside Ray's worker, as with timeout=: that one "
    "has a CPU, which the tasks of this call may need; without executor= it runs serially there"
)
GONE = (
    "Ray's head at {} does not answer ({}), so that the call is given up; without ray.shutdown() Ray "
    "ends this program, too, after a minute"
)
PATIENCE = 20.0
"""Seconds without Ray's head until a call is given up.  Longer, and Ray ends the program first;
shorter, and a head that is restarted costs the call."""
_connecting = Lock()


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
        inside = ray.get_runtime_context().worker.mode == ray.WORKER_MODE
        self._wait = ray.wait if inside else None
        self._remote = _remote()
        self._seen = -inf  # when Ray's head was there
        super().__init__(call, ray, workers, timeout)

    @staticmethod
    def accepts(instance: Any) -> bool:  # noqa: ARG004 - there is none to lend
        return False

    def _count(self) -> int:
        self._check()
        host, _, port = self._pool.get_runtime_context().gcs_address.rpartition(":")
        try:  # to ask Ray itself takes a minute then, and ends this process
            socket.create_connection((host.strip("[]"), int(port)), 1).close()
        except OSError as error:
            if monotonic() > self._seen + PATIENCE:
                raise ExecutorUnavailable(GONE.format(f"{host}:{port}", error)) from error
            return self.workers
        self._seen = monotonic()
        return int(self._pool.cluster_resources().get("CPU", 0))

    def _check(self) -> None:
        """Raise ExecutorUnavailable if Ray is gone; it would start anew, knowing nothing of us."""
        if not self._pool.is_initialized():
            raise ExecutorUnavailable("Ray was shut down in the middle of the call")

    def _put(self, data: bytes) -> Any:
        return self._pool.put(pickle.PickleBuffer(data))  # the workers of a node share one copy

    def _send(self, task: tuple[Any, ...], done: Callable[[Any], object]) -> Any:
        self._check()
        perform, request, *function = task
        ref = self._remote.remote(pickle.dumps((perform, request), 5), *function)
        ref.future().add_done_callback(done)
        return _Sent(self._pool, ref)

    def _result(self, out: Any) -> Any:
        error = out.exception()
        if error is None:
            return pickle.loads(out.result())
        exceptions = self._pool.exceptions
        if isinstance(error, exceptions.ObjectLostError) and isinstance(self._marshaller, Pickled):
            self._marshaller.put_again()
        if isinstance(error, tuple(getattr(exceptions, name) for name in DEATHS.split())):
            raise BrokenExecutor(f"{type(error).__name__}: {error}") from error
        cause = getattr(error, "cause", error)  # what was raised in the worker, not by its task
        if isinstance(cause, ExecutorUnavailable):
            raise cause
        told = f"{type(cause).__name__}: {cause}"
        raise ExecutorUnavailable(f"Ray does not run the tasks: {told}") from error

    def _next_completed(self, seconds: float | None) -> tuple[int | None, Any]:
        if self._wait is not None and self._pending and self._completed.empty():
            # A task of Ray's that waits, and says so, lends its CPU to those that it waits for.
            refs = [sent.ref for _, sent in self._pending.values()]
            self._wait(refs, timeout=ROUND if seconds is None else min(ROUND, seconds))
        return super()._next_completed(seconds)


class _Sent:
    """A chunk that was sent."""

    def __init__(self, ray: Any, ref: Any) -> None:
        self.ref = ref
        self._ray = ray

    def cancel(self) -> None:
        """Have it not begun; a task that runs is interrupted."""
        if self._ray.is_initialized():
            self._ray.cancel(self.ref)


def connected(workers: int | None) -> Any:
    """Return the module, connected to a cluster.

    That is the one that this process uses; or that of RAY_ADDRESS, or of `ray start` on this
    machine; else one is started with so many *workers*, which ends with the program.
    """
    try:
        import ray
    except ImportError as error:
        raise ExecutorUnavailable(
            f"executor='ray' needs Ray: pip install 'parmap-py[ray]' ({error})"
        ) from error
    with _connecting:
        if not ray.is_initialized():
            if nested.get() and "RAY_RAYLET_PID" in os.environ:
                raise ExecutorUnavailable(BESIDE)
            try:
                started = _connect(ray, workers)
            except Exception as error:
                raise ExecutorUnavailable(NO_RAY.format(error)) from error
            if started:
                cpus = int(ray.cluster_resources()["CPU"])
                warn(f"executor='ray' has started Ray on this machine, with {cpus} CPUs: {WHY}")
    return ray


def _connect(ray: Any, workers: int | None) -> bool:
    """Connect to the cluster that is there, or else start one; tell whether it was started."""
    quiet = {"log_to_driver": False, "logging_level": "WARNING"}  # what tasks print comes by us
    if "://" not in os.environ.get("RAY_ADDRESS", ""):
        try:
            ray.init(num_cpus=workers or usable_cpus(), include_dashboard=False, **quiet)
            return True
        except ValueError:  # a cluster that is there has its CPUs
            pass
    ray.init(**quiet)
    return False


@cache
def _remote() -> Any:
    import ray

    return ray.remote(num_cpus=1, max_retries=0, retry_exceptions=False)(run_parmap_chunk)


def run_parmap_chunk(task: bytes, *function: Any) -> bytes:
    """In a worker of Ray's: do what *task* says, with the bytes of the function if they were put."""
    perform, request = pickle.loads(task)
    return pickle.dumps(perform(request, *map(memoryview, function)), 5)

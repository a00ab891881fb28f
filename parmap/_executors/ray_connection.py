"""Which Ray a call runs in: the one of this process, one that runs already, or a local one.

Guaranteed: one is started only where none is, which is said; it serves all later calls, and Ray
ends it when the program ends.
"""

from __future__ import annotations

import os
import socket
from importlib import import_module
from threading import Lock

from .._records.errors import ExecutorUnavailable
from .._records.machine import usable_cpus
from .._records.stack_frames import warn
from .._workers.tasks import nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NEEDED = "executor='ray' needs Ray: pip install 'parmap-py[ray]' ({})"
STARTED = (
    "executor='ray' has started Ray on this machine, as no other was there, neither by RAY_ADDRESS "
    "nor by `ray start`: with {} CPUs, until this program ends"
)
UNREACHABLE = (
    "executor='ray' cannot connect to Ray: {}; let RAY_ADDRESS be the address of a cluster that "
    "runs, or 'local' to start one on this machine"
)
BESIDE = (
    "executor='ray' in a task that runs in a process beside Ray's worker, as with timeout=: that "
    "worker has a CPU, for which the tasks of this call might wait; without executor= it runs "
    "serially there"
)
_connecting = Lock()


def connected(workers: int | None) -> Any:
    """Return the module, connected to a cluster.

    That is the one that this process uses; or that of RAY_ADDRESS, or of `ray start` on this
    machine; else one is started with so many *workers*, which ends with the program.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise ExecutorUnavailable(NEEDED.format(error)) from error
    with _connecting:
        if not ray.is_initialized():
            if nested.get() and "RAY_RAYLET_PID" in os.environ:
                raise ExecutorUnavailable(BESIDE)
            try:
                started = _connect(ray, workers or usable_cpus())
            except Exception as error:
                raise ExecutorUnavailable(UNREACHABLE.format(error)) from error
            if started:
                warn(STARTED.format(int(ray.cluster_resources()["CPU"])))
    return ray


def _connect(ray: Any, workers: int) -> bool:
    """Connect to the cluster that is there, or else start one; tell whether it was started."""
    quiet = {"log_to_driver": False, "logging_level": "WARNING"}  # what tasks print comes by us
    reach(address := os.environ.get("RAY_ADDRESS", ""))
    if "://" not in address:
        try:
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
            return True
        except ValueError:  # a cluster that is there has its CPUs
            pass
    ray.init(**quiet)
    return False


def reach(address: str) -> None:
    """Raise OSError if nobody listens at *address*, if that names a host and a port."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), 5).close()

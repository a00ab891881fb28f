"""What this machine, and this interpreter, grant to us.  Standard library only."""

from __future__ import annotations

import os
import sys
from functools import cache, partial
from math import ceil

from .errors import ExecutorUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any


def imported(name: str) -> Any:
    """Return the module *name* if the program has imported it, else None: we do not do it.

    Where another thread is in the middle of that, wait for it, so that the module is whole, or
    None if its import failed.  If this very thread is, parts of the module may be missing.
    """
    if sys.modules.get(name) is not None:
        try:
            __import__(name)  # waits for the lock that the other thread has on the module
        except Exception:  # noqa: S110 - its import has failed meanwhile
            pass
    return sys.modules.get(name)


def settings() -> Callable[[], AbstractContextManager[None]]:
    """Return what gives a thread the settings of this one that no context has: scikit-learn's."""
    sklearn = imported("sklearn")
    if not (hasattr(sklearn, "get_config") and hasattr(sklearn, "config_context")):
        return _no_settings
    return partial(sklearn.config_context, **sklearn.get_config())


def _no_settings() -> AbstractContextManager[None]:
    from contextlib import nullcontext

    return nullcontext()


def usable_cpus(root: str = "/") -> int:
    """Return how many CPUs this process may keep busy, at least 1.

    That is the smaller of its affinity and of the CPU quota of its control group (versions 1 and
    2) or of a group above it; containers set those, and `os.cpu_count` ignores both.  *root* is
    where the file system starts, for tests.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        count = os.cpu_count() or 1
    return max(1, min([count, *map(ceil, quotas(root)), *_granted]))


_granted: list[int] = []  # in a worker: its share of the CPUs


def grant(cpus: int) -> None:
    """Let this process, which is a worker, use no more than *cpus* CPUs."""
    _granted[:] = [cpus]


def interpreter() -> str:
    """Return the program to start workers with: a Python.

    Raises ExecutorUnavailable if there is none: a frozen program would start itself again, and a
    program that embeds Python may do anything.
    """
    spawn = imported("multiprocessing.spawn")
    chosen = os.fsdecode(getattr(spawn, "get_executable", str)() or "")
    ours = sys.executable or ""
    if chosen and chosen != ours:
        return chosen
    if getattr(sys, "frozen", False):
        why = "this program is frozen: sys.executable is the program itself"
    elif not _is_python(ours):
        why = f"sys.executable, {ours!r}, is no Python interpreter"
    else:
        return ours
    raise ExecutorUnavailable(
        f"no worker process can be started: {why}; executor='threads' and executor='serial' need "
        "none, and multiprocessing.set_executable() names an interpreter to start"
    )


@cache
def _is_python(path: str) -> bool:
    name = os.path.basename(path).lower()  # python3.11, pypy, hython: not blender, uwsgi
    return ("py" in name or "ython" in name) and os.path.isfile(path) and os.access(path, os.X_OK)


def gil_is_on() -> bool:
    """Tell whether threads take turns: not in a free-threaded build that runs as such."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def above_streams(fd: int) -> int:
    """Return *fd*, moved to a number that no standard stream has, should those be closed."""
    if fd > 2:
        return fd
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


@cache  # eight files, 100 us; what a container may use is set when it starts
def quotas(root: str) -> list[float]:
    """Return the CPU quotas, in CPUs, of the control groups this process is in."""
    quotas = []
    for line in _read(root, "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        levels = group.strip("/").split("/")
        # Inside a container the files of its own group are often mounted at the top.
        for level in ("/".join(levels[:n]) for n in range(len(levels), -1, -1)):
            if not controllers:  # version 2: "max 100000" or "150000 100000"
                quota, _, period = _read(root, f"sys/fs/cgroup/{level}/cpu.max").partition(" ")
            elif "cpu" in controllers.split(","):
                base = f"sys/fs/cgroup/cpu/{level}/cpu.cfs_"
                quota, period = _read(root, base + "quota_us"), _read(root, base + "period_us")
            else:
                break
            try:
                if int(quota) > 0 and int(period) > 0:  # -1: no limit
                    quotas.append(int(quota) / int(period))
            except ValueError:  # "max", or no such file, or an empty one
                continue
    return quotas


def _read(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path)) as file:
            return file.read().strip()
    except OSError:
        return ""

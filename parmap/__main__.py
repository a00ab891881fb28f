"""`python -m parmap`: what to send with a bug report.  It takes a few seconds.

What this machine grants, what parmap found of it, where tasks can run here, and what workers cost:
measured now, so on a busy machine the figures are those of a busy machine.
"""

from __future__ import annotations

import os
import platform
import sys
from argparse import ArgumentParser
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from operator import itemgetter
from statistics import median
from time import perf_counter

from . import __version__, pmap, shutdown
from ._choice.options import EXECUTORS
from ._records.machine import gil_is_on, quotas, usable_cpus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

LIBRARIES = ("cloudpickle", "loky", "joblib", "tqdm", "numpy", "distributed", "ray", "mpi4py")
ELSEWHERE = {"dask": "distributed", "ray": "ray"}  # not started for a report
CALLS = 30
MESSAGES = 200
MEGABYTES = 8
ARRAYS = 10
ONE_WORKER: dict[str, Any] = {"executor": "processes", "workers": 1, "chunksize": 1}


def report() -> Iterator[str]:
    """Yield the report, line by line, as it is found out."""
    yield f"parmap {__version__}, {platform.python_implementation()} {platform.python_version()}"
    yield from _row("system", platform.platform())
    yield from _row("libraries", ", ".join(map(_version, LIBRARIES)))
    yield from _row("CPUs", _cpus())
    yield from _row("GIL", f"{'on' if gil_is_on() else 'off'}, {sys.getswitchinterval()} s a turn")
    yield from _row("start method", _start_method())
    yield from _row("/dev/shm", _shared_memory())
    if sys.dont_write_bytecode:
        yield from _row("bytecode", "is not written: a checkout is compiled anew in each worker")
    yield ""
    yield "Where tasks can run:"
    for name in EXECUTORS:
        yield from _row(name, _availability(name))
    yield ""
    yield f"What workers cost (executor='processes', load {_load()}):"
    shutdown()
    for name, measure in MEASURES.items():
        try:
            yield from _row(name, measure())
        except Exception as error:
            yield from _row(name, f"failed: {type(error).__name__}: {error}")


def _row(name: str, text: str) -> Iterator[str]:
    yield f"  {name:<18}{text}"


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} -"


def _cpus() -> str:
    parts = [f"{os.cpu_count()} in the machine"]
    with suppress(AttributeError):  # not Linux
        parts.append(f"{len(os.sched_getaffinity(0))} by affinity")
    limits = quotas("/")
    parts.append(f"{min(limits):g} by control group" if limits else "no quota of a control group")
    return f"{usable_cpus()} usable: {', '.join(parts)}"


def _start_method() -> str:
    import multiprocessing

    default = multiprocessing.get_all_start_methods()[0]
    method = multiprocessing.get_start_method(allow_none=True)
    return f"of multiprocessing: {method or default + ', by default'}"


def _shared_memory() -> str:
    try:
        room = os.statvfs("/dev/shm")
    except (AttributeError, OSError) as error:
        return f"none: {error}"
    return f"{room.f_bavail * room.f_frsize / 2**20:,.0f} MiB free; parmap does not need it"


def _load() -> str:
    try:
        return f"{os.getloadavg()[0]:.1f}"
    except (AttributeError, OSError):
        return "unknown"


def _availability(name: str) -> str:
    if library := ELSEWHERE.get(name):
        if find_spec(library) is None:
            return f"no: it needs the package {library}: pip install 'parmap-py[{name}]'"
        return f"if there is a cluster: {_version(library)}"
    try:
        options: dict[str, Any] = {"executor": name}
        right = pmap(abs, [-1, -2], **options) == [1, 2]
    except Exception as error:
        return f"no: {type(error).__name__}: {error}"
    return "yes" if right else "no: it gives wrong results"


def _seconds(call: Callable[[], object]) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began


def _empty(tasks: int) -> Callable[[], object]:
    return lambda: pmap(abs, range(tasks), **ONE_WORKER)


def _cold() -> str:
    return f"{1e3 * _seconds(_empty(1)):.1f} ms until the first answer of a new one"


def _warm() -> str:
    return f"{1e3 * median(_seconds(_empty(1)) for _ in range(CALLS)):.2f} ms for one task on it"


def _message() -> str:
    return f"{1e6 * _seconds(_empty(MESSAGES)) / MESSAGES:.0f} us to ask and answer"


def _arrays(task: Any, items: list[Any]) -> str:
    seconds = min(_seconds(lambda: pmap(task, items, **ONE_WORKER)) for _ in range(3))
    return f"{len(items) * MEGABYTES / 1e3 / seconds:.2f} GB/s in arrays of {MEGABYTES} MB"


def _there() -> str:
    return _arrays(itemgetter(0), [_made(MEGABYTES) for _ in range(ARRAYS)])


def _back() -> str:
    return _arrays(_made, [MEGABYTES] * ARRAYS)


def _made(megabytes: int) -> object:
    size = megabytes * 10**6
    try:
        import numpy as np
    except ImportError:
        return bytearray(size)
    return np.zeros(size, np.uint8)


MEASURES = {
    "cold start": _cold,
    "warm call": _warm,
    "a message": _message,
    "to a worker": _there,
    "from a worker": _back,
}


def main() -> None:
    """Print the report."""
    about = "Print what a bug report about parmap should tell of this machine."
    ArgumentParser("python -m parmap", description=about).parse_args()
    for line in report():
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()  # it takes some seconds


if __name__ == "__main__":
    main()

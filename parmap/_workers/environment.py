"""What tasks find around them, whatever process they are in: taken from the caller, set in workers.

Besides its arguments a function may depend on the directory, the path of imports, the environment
and the settings of the interpreter.  The loop has those of the caller; a worker would have others.

Assumed: the names of `State`'s parts with an underscore in other modules are private; they are
looked up so that without them nothing but their own part is missing.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import lru_cache

from .._records.c_modules import pickle
from .._records.machine import grant, imported, usable_cpus
from .._wire.importable import by_value
from .._wire.memmap import PROTOCOL
from .._wire.pickling import dumps, loads
from .tasks import nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Libraries that start a thread for each core would start cores x workers of them.
THREAD_LIMITS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
)
# What `decimal.getcontext()` is unless somebody has changed it.
_DECIMAL = (
    *(28, "ROUND_HALF_EVEN", -999999, 999999, 1, 0),
    ("DivisionByZero", "InvalidOperation", "Overflow"),
)
# Of the hashes of strings, the same in all workers of this process.
_seed = 1 + int.from_bytes(os.urandom(4), "little") % (2**32 - 1)


class TaskEnvironment:
    """Where the tasks of a call shall find themselves.

    Attributes:
        environment: that of the tasks.
        state: all of it, for `enter`.
        tracker: the descriptor that leads to our resource tracker, None if there is none.
    """

    __slots__ = ("environment", "state", "tracker")

    def __init__(self, workers: int, *, limit_threads: bool = False) -> None:
        """Take what is here; each of so many *workers* may use its share of the CPUs.

        With *limit_threads*, libraries use no more, where the environment does not say how many.
        """
        share = max(1, usable_cpus() // workers)
        limits = dict.fromkeys(THREAD_LIMITS, str(share)) if limit_threads else {}
        try:
            directory = os.getcwd()
        except OSError:  # it was deleted
            directory = ""
        self.environment = {**limits, **_environment()}
        self.tracker = tracker()
        path: list[Any] = sys.path
        state = (
            directory,
            [entry or directory for entry in path if isinstance(entry, str)],
            self.environment,
            [word for word in getattr(sys, "argv", ()) if isinstance(word, str)],
            (sys.getrecursionlimit(), sys.get_int_max_str_digits(), _umask()),
            _decimal(),
            _filters(),
            (nested.get() + 1, share, _seed),
            _authkey(),
            None if self.tracker is None else os.fstat(self.tracker).st_ino,
        )
        global _taken
        taken = _taken  # other threads may have others
        if state != taken[0]:
            _taken = taken = state, pickle.dumps(state, PROTOCOL)
        self.state = taken[1]

    def at_start(self) -> dict[str, str]:
        """Return the environment to start a worker with: strings have the same hash in all."""
        return {"PYTHONHASHSEED": str(_seed), **self.environment}


_taken: tuple[Any, bytes] = None, b""  # the state taken last, and its pickle
_decoded: tuple[Any, dict[str, str]] = None, {}  # the environment as bytes, and as text


def _environment() -> dict[str, str]:
    """Return the environment, which takes 20 us to decode, for the first time or if it changed."""
    global _decoded
    data, decoded = getattr(os.environ, "_data", None), _decoded
    if data is None or data != decoded[0]:
        _decoded = decoded = None if data is None else dict(data), dict(os.environ)
    return decoded[1]


def tracker() -> int | None:
    """Return the descriptor of the resource tracker of multiprocessing, if it runs.

    It is started if there may be shared memory later: that of an item which is not drawn yet, say.
    """
    module = imported("multiprocessing.resource_tracker")
    if imported("multiprocessing.shared_memory") is not None:
        with suppress(Exception):  # no process can be started: then a worker starts one of its own
            module.ensure_running()
    fd = getattr(getattr(module, "_resource_tracker", None), "_fd", None)
    try:
        os.fstat(fd)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return None
    return fd


def _umask() -> int:
    # `os.umask` can only set it: what another thread creates at that moment would have another.
    try:
        fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(fd, 256).partition(b"\nUmask:")[2].split(None, 1)[0], 8)
        finally:
            os.close(fd)
    except (OSError, ValueError, IndexError):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


def _decimal() -> tuple[Any, ...] | None:
    module = imported("decimal")
    if (getcontext := getattr(module, "getcontext", None)) is None:
        return None
    now = getcontext()
    numbers = now.prec, now.rounding, now.Emin, now.Emax, now.capitals, now.clamp
    traps = sorted(signal.__name__ for signal, trapped in now.traps.items() if trapped)
    return *numbers, tuple(traps)


_pickled: tuple[list[Any], list[tuple[str, bytes]]] = [], []  # the filters taken last, as taken


def _filters() -> list[tuple[str, bytes]] | None:
    """Return the filters of warnings, as pickles, each with the module of its category."""
    global _pickled
    module = imported("warnings")
    if getattr(module, "filters", None) is None:
        return None
    filters, known = list(filters_of(module)), _pickled
    if filters != known[0]:
        pickles = []
        for entry in filters:
            with suppress(Exception):  # odd as it is, it has no meaning but here
                # Python's own filters speak of the text "__main__", which `dumps` is wary of.
                pickled = (dumps if by_value(entry[2].__module__) else pickle.dumps)(entry)
                pickles.append((entry[2].__module__, pickled))
        _pickled = known = filters, pickles
    return known[1]


def filters_of(warnings: Any) -> list[Any]:
    """Return the filters that hold here: of this thread, where they may be."""
    found: list[Any] = getattr(warnings, "_get_filters", lambda: warnings.filters)()
    return found


def _authkey() -> tuple[bool, bytes] | None:
    """Return the key with which processes of one program know each other; is it sure to be used?"""
    managers = imported("multiprocessing.managers")
    process = imported("multiprocessing.process")
    if process is None or (managers is None and imported("multiprocessing.connection") is None):
        return None
    return managers is not None, bytes(process.current_process().authkey)


# ------------------------------------------------------------------------------------------------
# From here on: what runs in the worker.

_state: Any = None  # what was entered last


def enter(state: bytes, tracker: int | None = None) -> None:
    """Let this process be as *state* says; b"": as it said last, whatever tasks have changed.

    *tracker* is a descriptor for us, which leads to the resource tracker of the caller.
    """
    global _state, _seed
    if state:
        _state = loads(state)
    if tracker is not None:
        _use_tracker(tracker)
    directory, path, environment, argv, limits, decimals, _, share, authkey, _ = _state
    recursion, digits, mask = limits
    with suppress(OSError):  # it was deleted: stay, as the caller does
        os.chdir(directory)
    sys.path[:] = path
    sys.argv = list(argv)
    if _environment() != environment:
        zone = os.environ.get("TZ")
        os.environ.clear()
        os.environ.update(environment)
        if zone != environment.get("TZ"):
            import time

            time.tzset()
    sys.setrecursionlimit(recursion)
    sys.set_int_max_str_digits(digits)
    os.umask(mask)
    level, cpus, _seed = share
    nested.set(level)
    grant(cpus)
    if decimals is not None and (decimals != _DECIMAL or "decimal" in sys.modules):
        import decimal

        *numbers, traps = decimals
        context: Any = decimal.Context
        decimal.setcontext(context(*numbers, [], [getattr(decimal, name) for name in traps]))
    set_filters()
    if authkey is not None and (authkey[0] or "multiprocessing.process" in sys.modules):
        from multiprocessing import process

        process.current_process().authkey = authkey[1]


def has_state() -> bool:
    """Tell whether this process has entered a state: else it is another's, lent to us."""
    return _state is not None


def _use_tracker(fd: int) -> None:
    """Register resources where the caller does: they are to survive this process."""
    from multiprocessing import resource_tracker

    ours, unused = getattr(resource_tracker, "_resource_tracker", None), fd
    if ours is not None:
        unused, ours._fd, ours._pid = ours._fd, fd, None
    if unused is not None:
        os.close(unused)


_entry = lru_cache(256)(loads)  # each worker is told of the same filters again and again
_first: list[Any] | None = None  # those that the interpreter began with


def set_filters() -> None:
    """Set the caller's filters of warnings whose categories are known here, if it has any.

    The others need a module, which is not imported for them: there are no such warnings yet.  A
    caller that has none has those of a fresh interpreter.
    """
    global _first
    if not has_state():
        return
    import warnings

    if _first is None:
        _first = list(filters_of(warnings))
    filters = _first if _state[6] is None else []
    for module, pickled in _state[6] or ():
        if module in sys.modules:
            with suppress(Exception):  # of a category that is not found here
                filters.append(_entry(pickled))
    if filters_of(warnings) != filters:
        filter_by(filters)


def filter_by(filters: list[Any]) -> None:
    """Have these *filters*, and what was said before forgotten."""
    import warnings

    warnings.resetwarnings()
    filters_of(warnings).extend(filters)

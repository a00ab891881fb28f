"""What was measured of functions in earlier calls, and a call that needs no more than that."""

from __future__ import annotations

from functools import lru_cache, partial
from types import BuiltinFunctionType, FunctionType, MethodType

from .._records.callables import Wrapper
from .._records.work import Chunk
from .._workers.tasks import run_here
from .serial_or_parallel import COLD_START, WARM_START, Facts, decide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._engine.chunking import Sizes
    from .._engine.source import Source
    from .._records.work import Call, Report
    from .serial_or_parallel import Measured


INSIDE = 8
"""Wrappers to look into for the function inside: a chain of them may be endless."""

SMALL = 2 * COLD_START
"""Seconds of a known call that is not watched if workers cannot serve it: to start the thread that
does, and to let it look, costs up to 1 ms, and a tenth of tasks of some us.  More is worth a start
on two cores anyway."""

KNOWN = 256
"""Functions whose measurements are remembered."""

_known: dict[Any, Measured] = {}  # what was measured last is at the end
_sizes: dict[Any, Sizes] = {}  # likewise

_inner = {
    partial: "func",
    MethodType: "__func__",
    FunctionType: "__wrapped__",
    type(lru_cache(lambda: None)): "__wrapped__",
}
"""Where a callable of exactly such a type has what it wraps, if anything.  Others are not looked
into: an attribute of a mock or a proxy may be anything, and take any time."""


def recall(fn: Any) -> Measured | None:
    """Return what was measured of *fn* before: of its code, for a lambda is a new one each time.

    Of tasks with a function each, which have none in common (None), nothing is known.
    """
    key = None if fn is None else _key(fn)
    return None if key is None else _known.get(key)


def run_at_once(call: Call, source: Source) -> Report | None:
    """Run all of a call here and now, if an earlier one says that nothing else could be faster.

    Then nothing else needs to be thought of: a map of a few cheap items costs what the loop costs.
    """
    if (known := recall(call.fn)) is None:
        return None
    total = known.length if source.total is None else source.total  # if need be, as the last time
    expected = total * known.cost
    tiny = expected <= WARM_START
    if not tiny and (expected > SMALL or not _stays(known, call, total)):
        return None
    budget = 2 * (WARM_START if tiny else expected)
    # A length is a hint: one item more is asked for, which tells whether the input has ended.
    report = run_here(call, Chunk(0, source.here(total + 1)), budget, with_cpu=False)
    if not tiny:
        known.ran_here(len(report.values), report.seconds)
    known.length = len(report.values)
    return report


def _stays(known: Measured, call: Call, total: int) -> bool:
    """Tell whether *total* tasks stay here, as far as is *known*; then count what that costs."""
    from .._records.machine import gil_is_on, usable_cpus

    facts = Facts(known, usable_cpus(), total)
    if total * known.cost * (1 - 1 / facts.workers) < WARM_START:
        return True
    facts.gil, facts.earlier, facts.modules = gil_is_on(), True, known.modules
    look_out(facts, call.fn)
    if known.waits or decide(facts).where != "serial":
        return False
    forgo(known, facts.workers, total)
    return True


_lost = 0.0
"""Seconds that calls since the last start lost because workers had to be started.  They count
against the next start: many small calls get workers once they have lost what these cost."""


def look_out(facts: Facts, fn: Any) -> None:
    """Complete *facts* by what it takes to have workers for *fn* now."""
    from .._workers import warm
    from .._workers.loading import expected, packages

    needed = packages(fn, facts.modules)
    loading = warm.outlook(needed)
    facts.start = COLD_START if loading is None else WARM_START
    facts.coming = bool(loading)
    facts.loading = expected(needed) if loading is None else loading
    facts.lost = _lost


def forgo(seen: Measured, workers: int, tasks: int) -> None:
    """Count what a call of so many *tasks* has lost in the caller, for want of warm workers."""
    global _lost
    choice = decide(Facts(seen, workers, tasks))
    if choice.where == "processes":
        _lost += max(0.0, tasks * seen.cost * (1 - 1 / workers) - WARM_START)


def start_afresh() -> None:
    """Be told that workers were started, and are warm now."""
    global _lost
    _lost = 0.0


def remember(fn: Any, seen: Measured) -> None:
    """Keep what was measured of *fn*, instead of the oldest if there is too much."""
    _keep(_known, fn, seen)


def last_sizes(fn: Any) -> Sizes | None:
    """Return what sized the chunks of the last call of *fn*, wherever it ran."""
    key = None if fn is None else _key(fn)
    return None if key is None else _sizes.get(key)


def keep_sizes(fn: Any, sizes: Sizes) -> None:
    """Keep *sizes* for the next call of *fn*: by then they have learnt."""
    _keep(_sizes, fn, sizes)


def _keep(found: dict[Any, Any], fn: Any, value: object) -> None:
    if (key := _key(fn)) is not None:
        found.pop(key, None)
        found[key] = value
        for oldest in [*found][:-KNOWN]:
            found.pop(oldest, None)


def _key(fn: Any) -> Any:
    """Return what stands for *fn*: its code, or the kind of callable that it is; None if nothing.

    A class may compare with others in a way of its own, which raises, or have no hash.
    """
    if type(fn) is FunctionType and not fn.__dict__:
        return fn.__code__  # nearly always
    try:
        for _ in range(INSIDE):
            name = "__wrapped__" if issubclass(type(fn), Wrapper) else _inner.get(type(fn))
            if name is None or (inner := getattr(fn, name, None)) is None:
                break
            fn = inner
        if type(fn) is FunctionType:
            return fn.__code__
        key = (type(fn), fn.__qualname__) if type(fn) in (BuiltinFunctionType, type) else type(fn)
        hash(key)
    except Exception:
        return None
    return key

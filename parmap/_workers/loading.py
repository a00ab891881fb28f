"""What it costs a worker to load a function, as far as can be known before it is tried.

A fresh interpreter imports what the function needs; of SciPy, pandas and their like that takes
seconds, while the function itself takes microseconds.  So what counts are the packages: what was
measured for a set of them holds for every function that needs the same, and a worker that has them
has them for good.

Nothing here is exact: a function is looked at, not run, and what a package imports of others is
known only when it was measured.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType, ModuleType

from .._records.callables import function_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Packages = frozenset[str]


PER_MODULE = 0.001
"""Seconds that the import of a module takes: numpy, pandas, scipy.optimize, sympy, networkx and
emcee took 0.6 to 1.4 ms for each of their 140 to 850 modules, and twice as long on two cores that
others used, too: that is told apart, see `Measured.busy`."""

MOST = 32  # functions that are looked at for one

HAD = ("__main__", __name__.partition(".")[0])  # what a worker has anyway

NONE: Packages = frozenset()

_measured: dict[Packages, float] = {}  # seconds, by the packages that were missing
_guessed: tuple[int, dict[Packages, float]] = 0, {}  # the same, with so many modules in the caller
_known: dict[CodeType, Packages] = {}  # by the code of a function


def packages(fn: Any, modules: Packages = NONE) -> Packages:
    """Return the packages that the loading of *fn*, and the import of *modules*, import.

    Those of the standard library apart.
    """
    needed = _packages(fn)
    return needed | {_top(name) for name in modules} if modules else needed


def _packages(fn: Any) -> Packages:
    function = function_of(fn)
    if function is None:
        return frozenset(_package(fn)) - {""}
    code = function.__code__
    if (known := _known.get(code)) is None:
        if len(_known) > 256:
            _known.clear()
        try:
            known = frozenset(_look(function)) - {""}
        except Exception:  # what it refers to may be anything
            known = NONE
        _known[code] = known
    return known


def modules(*items: Any) -> frozenset[str]:
    """Return the modules that *items*, or what is in them, if they are tuples, come from.

    Only those that an interpreter does not have anyway, and can import by name.
    """
    kinds = {type(part) for item in items for part in (item if type(item) is tuple else (item,))}
    homes = {str(kind.__dict__.get("__module__")) for kind in kinds}
    names = {name for name in homes - {"None"} if _top(name)}
    if not names:
        return NONE
    from .._wire.importable import by_value  # nearly no map of a few items needs it

    return frozenset(name for name in names if not by_value(name))


def expected(missing: Packages) -> float:
    """Return how many seconds it takes to import *missing*, as measured, or else as guessed."""
    if not missing:
        return 0.0
    if (known := _measured.get(missing)) is not None:
        return known
    global _guessed
    count, guesses = _guessed
    if count != len(sys.modules):
        _guessed = count, guesses = len(sys.modules), {}
    if missing not in guesses:
        own = sum(name.partition(".")[0] in missing for name in tuple(sys.modules))
        guesses[missing] = PER_MODULE * own
    return guesses[missing]


def learn(missing: Packages, seconds: float) -> None:
    """Keep that a worker without the packages *missing* took *seconds* to load a function."""
    if missing:
        _measured[missing] = seconds


def _look(function: FunctionType) -> Iterator[str]:
    """Yield the packages of *function*: its own, or those of its names if it is of the script."""
    pending, met = [function], {function.__code__}
    for current in pending:
        there = current.__globals__
        if there.get("__name__") == "__main__":
            names = _names(current.__code__)
            found = [there[name] for name in names if name in there]
            found += [cell.cell_contents for cell in current.__closure__ or ()]
        else:
            yield _top(there.get("__name__"))
            found = list(there.values())
        for value in found:
            if type(value) is not FunctionType or value.__module__ != "__main__":
                yield from _package(value)
            elif value.__code__ not in met and len(pending) < MOST:
                met.add(value.__code__)
                pending.append(value)


def _names(code: CodeType) -> set[str]:
    """Return the names that *code*, and functions in it, look up."""
    names = set(code.co_names)
    for const in code.co_consts:
        if type(const) is CodeType:
            names |= _names(const)
    return names


def _package(value: Any) -> Iterator[str]:
    """Yield the packages that *value*, and its class, come from; "" for none."""
    if type(value) is ModuleType:
        yield _top(value.__name__)
        return
    yield _top(getattr(type(value), "__module__", ""))
    if isinstance(value, (type, FunctionType)):
        yield _top(value.__module__)


def _top(name: object) -> str:
    """Return the package that module *name* belongs to; "" if every interpreter has it."""
    top = name.partition(".")[0] if type(name) is str else ""
    return "" if top in sys.stdlib_module_names or top in HAD else top

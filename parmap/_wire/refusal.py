"""Which part of an object cannot be pickled, and why."""

from __future__ import annotations

import functools
from contextlib import suppress
from contextvars import ContextVar
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MethodType,
)

from .pickling import TimeIsUp, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .pickling import Deadline, Reducers


DEEPEST = 20  # parts of parts to look into for the one that refuses; each is pickled again
MOST = 10_000  # parts to look at for one that is known


def refusal(
    obj: object,
    name: str,
    error: BaseException,
    reducers: Reducers = None,
    deadline: Deadline | None = None,
) -> str:
    """Say which part of *obj*, called *name*, caused *error* when it was pickled.

    What holds it is named if the *deadline* comes first, or a part cannot be looked at.
    """
    trail = [(name, obj)]
    with suppress(Exception, TimeIsUp):
        trail.extend(_culprits(obj, name, reducers, deadline))
    path, part = trail[-1]
    kind: Any = type(part)  # its class may compare, and say what it is called, as it likes
    cure = ""
    if kind is GeneratorType:
        cure = f"; {'return' if name == 'result' else 'give'} a list of what it yields"
    elif kind is CoroutineType or kind is AsyncGeneratorType:
        cure = "; the task has to run it, with asyncio.run, and return what comes of it"
    called = type.__dict__["__qualname__"].__get__(kind)
    return f"{path} (of type {called}) cannot be pickled: {error}{cure}"


def _culprits(
    obj: object, path: str, reducers: Reducers, deadline: Deadline | None
) -> Iterator[tuple[str, object]]:
    """Follow the parts of *obj* that cannot be pickled down to one whose parts all can."""
    seen = set()
    for _ in range(DEEPEST):
        yield path, obj
        seen.add(id(obj))
        for label, part in _parts(obj):
            if id(part) not in seen and not pickles(part, reducers, deadline):
                path, obj = path + label, part
                break
        else:
            return


def pickles(part: object, reducers: Reducers = None, deadline: Deadline | None = None) -> bool:
    """Tell whether *part* can be pickled.

    Not whether it can be unpickled: a copy of a connection, for one, would close the descriptor of
    the original when it is thrown away.  Raises TimeIsUp at the *deadline*.
    """
    with suppress(Exception):
        dumps(part, None, reducers, deadline=deadline)
        return True
    return False


def path_to(wanted: object, obj: object, name: str) -> str:
    """Return the path to the part *wanted* of *obj*, called *name*; "" if it is not to be seen."""
    trail: list[tuple[str, object]] = [(name, obj)]
    seen = {id(obj)}
    for path, part in trail:  # which grows: what is near comes first
        if part is wanted:
            return path
        if isinstance(part, BuiltinFunctionType) or type(part).__name__ == METHOD:
            trail.append((f"{path}.__self__", part.__self__))  # type: ignore[attr-defined]
        elif len(trail) < MOST:
            with suppress(Exception):
                for label, inner in _parts(part):
                    if id(inner) not in seen:
                        seen.add(id(inner))
                        trail.append((path + label, inner))
    return ""


METHOD = "cython_function_or_method"  # the type of a method of NumPy's generators


def _parts(obj: Any) -> Iterator[tuple[str, object]]:
    if isinstance(obj, dict):
        yield from ((f"[{key!r}]", value) for key, value in obj.items())
    elif isinstance(obj, (list, tuple, set, frozenset)):
        yield from ((f"[{i}]", value) for i, value in enumerate(obj))
    elif isinstance(obj, functools.partial):
        yield from ((".func", obj.func), (".args", obj.args), (".keywords", obj.keywords))
    elif isinstance(obj, MethodType):
        yield ".__self__", obj.__self__
    elif isinstance(obj, FunctionType):
        for name, cell in zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True):
            with suppress(ValueError):  # the cell is still empty
                yield f".<closure {name}>", cell.cell_contents
        there = obj.__globals__
        named = [name for name in obj.__code__.co_names if name in there]
        yield from ((f".<global {name}>", there[name]) for name in named)
        yield ".__defaults__", obj.__defaults__
    elif type(obj) is ContextVar:
        yield ".<value>", obj.get(None)
    slots = [name for cls in type(obj).__mro__ for name in getattr(cls, "__slots__", ())]
    if not isinstance(obj, (type, FunctionType)):
        names = [*getattr(obj, "__dict__", ()), *slots]
        yield from ((f".{name}", getattr(obj, name)) for name in names if hasattr(obj, name))

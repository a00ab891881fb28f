"""What comes with an object from its caller's process, besides what it is made of.

That is the values of context variables, and what functions look up in the module `__main__`.
"""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar, copy_context
from weakref import WeakKeyDictionary

from .._records.c_modules import pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .channel import Buffer


class Arrived:
    """An object that was loaded here, and what came with it."""

    __slots__ = ("classes", "main", "obj", "token", "values")

    def __init__(self) -> None:
        self.obj: Any = None
        self.values: list[tuple[ContextVar[Any], Any]] = []
        self.main: dict[str, Any] = {}
        self.classes: list[tuple[Any, Callable[..., Any], Any]] = []  # with their contents
        self.token = object()

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call *function* so that it sees what came."""
        _publish(self.main)
        for cls, fill, state in self.classes:
            if _filled.get(cls) is not self.token:  # another call has brought it, too
                fill(cls, state)
                _filled[cls] = self.token
        if not self.values:
            return function(*args)
        context = copy_context()
        for var, value in self.values:
            if var not in context:  # else the initializer has set it
                context.run(var.set, value)
        return context.run(function, *args)


_arriving: ContextVar[Arrived | None] = ContextVar("parmap.arriving", default=None)


def load(data: Buffer, buffers: Sequence[Any] = ()) -> Arrived:
    """Load a pickle, and keep what comes with its objects."""
    arrived = Arrived()
    token = _arriving.set(arrived)
    try:
        arrived.obj = pickle.loads(data, buffers=buffers)
    finally:
        _arriving.reset(token)
    return arrived


def keep_values(var: ContextVar[Any], values: list[Any]) -> None:
    """Keep the value, if any, that *var* has for the caller of what is loaded."""
    if (arrived := _arriving.get()) is not None:
        arrived.values.extend((var, value) for value in values)


def keep_main(main: dict[str, Any]) -> None:
    """Keep names of the caller's `__main__` for what is loaded."""
    if (arrived := _arriving.get()) is not None:
        arrived.main.update(main)


# The tokens of what the classes here were filled from last.
_filled: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def fill_class(cls: Any, fill: Callable[..., Any], state: Any) -> None:
    """Give *cls* its contents by `fill(cls, state)`, and again if another call has changed them."""
    fill(cls, state)
    if (arrived := _arriving.get()) is not None:
        arrived.classes.append((cls, fill, state))
        _filled[cls] = arrived.token


_published: dict[str, Any] = {}


def _publish(main: dict[str, Any]) -> None:
    """Have the names of *main* in the `__main__` of this process."""
    global _published
    if not main or _published is main:
        return
    script = sys.modules["__main__"]
    if getattr(script, "__spec__", None) is None and not hasattr(script, "__file__"):
        from importlib.machinery import ModuleSpec

        # What a task starts with multiprocessing would run the file; of such a name it does not.
        script.__spec__ = ModuleSpec("parmap.__main__", None)
    vars(script).update(main)
    _published = main


_seed = os.urandom(8)


def here() -> tuple[bytes, int]:
    """Return what tells this process from all others, the forks of it included."""
    return _seed, os.getpid()

"""cloudpickle's pickler, taught about what it does not know."""

from __future__ import annotations

import functools
import io
import sys
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import CodeType, FunctionType, ModuleType

from . import reducers
from .by_value import reduce_class, reduce_function
from .importable import by_value, is_importable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pickle
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from .by_value import Reduced


LRU_CACHE = type(functools.cache(len))


@functools.cache
def cloud_pickler() -> type[pickle.Pickler]:
    """Return cloudpickle's pickler, taught about what it does not know."""
    import logging

    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        table: Mapping[type, Callable[[Any], Any]] = {}  # of this pickler; asked first
        file: Callable[[], io.BytesIO] = io.BytesIO  # what it makes files of that are tried

        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)  # not isinstance: objects may say that they are of another
            if (reduce := self.table.get(kind)) is not None:
                return reduce(obj)
            if kind is FunctionType:
                if obj.__code__ is reducers.DISPATCHER.__code__ and not is_importable(obj):
                    return reducers.reduce_dispatching(obj)
                if obj.__code__ is reducers.DISPATCHER.dispatch.__code__:
                    return reducers.reduce_dispatch(obj)
                return reduce_function(obj, self._reduce(obj), self)
            if issubclass(kind, type):
                return reduce_class(obj, self._reduce(obj))
            if issubclass(kind, ModuleType):
                return reducers.reduce_module(obj)
            if kind is LRU_CACHE and not is_importable(obj):
                return reducers.reduce_cache(obj)
            if issubclass(kind, io.TextIOWrapper) and not _is_standard(obj):
                # cloudpickle would send what an open file holds, as another kind of file
                raise TypeError(f"cannot pickle {kind.__name__!r} object")
            if issubclass(kind, functools.cached_property) and "lock" in vars(obj):
                return reducers.reduce_property(obj)
            if issubclass(kind, logging.Handler) and _is_plain(kind):
                return reducers.reduce_handler(obj)
            return super().reducer_override(obj)

        def _reduce(self, obj: Any) -> Any:
            name = getattr(obj, "__module__", None)
            if name == "__main__" or not by_value(name):  # nearly always
                return super().reducer_override(obj)
            with _registered(name):
                return super().reducer_override(obj)

    reduce_code = Pickler.dispatch_table[CodeType]

    def reduced_code(code: CodeType) -> Reduced:
        return reducers.make_code, (code.co_filename, *reduce_code(code))

    ours = {CodeType: reduced_code, ContextVar: reducers.reduce_variable}
    Pickler.dispatch_table = Pickler.dispatch_table.new_child(ours)
    return Pickler


@contextmanager
def _registered(name: Any) -> Iterator[None]:
    """Have cloudpickle send by value what module *name* defines."""
    import cloudpickle

    module = sys.modules.get(name)
    own = getattr(module, "__name__", "")
    known = own in cloudpickle.list_registry_pickle_by_value()
    if module is None or known or sys.modules.get(own) is not module:
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        with suppress(ValueError):  # another thread has done it
            cloudpickle.unregister_pickle_by_value(module)


def _is_standard(stream: object) -> bool:
    return any(stream is standard for standard in (sys.stdin, sys.stdout, sys.stderr))


def _is_plain(kind: type) -> bool:
    """Tell whether objects of *kind* are pickled as any object is, by their attributes."""
    names = ("__reduce_ex__", "__reduce__", "__getstate__")
    return all(getattr(kind, name) is getattr(object, name) for name in names)

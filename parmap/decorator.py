"""The decorator `parallel`: a function that stays what it is, and gains `map` and its kin."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import WRAPPER_ASSIGNMENTS, update_wrapper
from importlib import import_module
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from ._choice.options import check, over
from ._records.callables import ASYNC_GENERATOR, UNMAPPED, Wrapper, asynchronous
from ._records.errors import short_repr
from ._records.stack_frames import shorten
from .api import pimap, pmap, pstarmap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._engine.results import Stream

P = ParamSpec("P")
R = TypeVar("R")


PLAIN = (FunctionType, MethodType, BuiltinFunctionType, staticmethod, classmethod)


class Parallel(Wrapper, Generic[P, R]):
    """A function with the doors of parmap as methods; `parallel` makes it.

    Calling it calls the function, here and now.  It pickles by its name where a fresh interpreter
    finds it under that name, and by value elsewhere (in `__main__`, a notebook, a function); then
    without an executor that is an instance, which belongs to this process.
    """

    __wrapped__: Callable[P, R]
    __qualname__: str

    def __init__(self, fn: Callable[P, R], options: dict[str, Any]) -> None:
        if type(fn) in PLAIN or issubclass(type(fn), type):
            update_wrapper(self, fn)
        else:
            self.__wrapped__ = fn
            for name in WRAPPER_ASSIGNMENTS:
                with suppress(Exception):  # without `getattr`, for which a mock invents attributes
                    setattr(self, name, object.__getattribute__(fn, name))
        self._options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, here and now."""
        return self.__wrapped__(*args, **kwargs)

    def map(self, *iterables: Iterable[Any], **options: Any) -> list[R]:
        """Return `pmap(self, *iterables)` with the decorator's options and *options*."""
        try:
            return pmap(self, *iterables, **over(self._options, options))
        except BaseException as error:
            shorten(error)
            raise

    def starmap(self, iterable: Iterable[Iterable[Any]], **options: Any) -> list[R]:
        """Return `pstarmap(self, iterable)` with the decorator's options and *options*."""
        try:
            return pstarmap(self, iterable, **over(self._options, options))
        except BaseException as error:
            shorten(error)
            raise

    def imap(self, *iterables: Iterable[Any], **options: Any) -> Stream[R]:
        """Return `pimap(self, *iterables)` with the decorator's options and *options*."""
        return pimap(self, *iterables, **over(self._options, options))

    def istarmap(self, iterable: Iterable[Iterable[Any]], **options: Any) -> Stream[R]:
        """Return `pistarmap(self, iterable)` with the decorator's options and *options*."""
        from .lazy import pistarmap

        return pistarmap(self, iterable, **over(self._options, options))

    def __get__(self, instance: object, owner: type | None = None) -> Parallel[..., R]:
        """Bind the function as it would bind itself: to an instance, a class or nothing."""
        bind = getattr(type(self.__wrapped__), "__get__", None)
        bound = self.__wrapped__ if bind is None else bind(self.__wrapped__, instance, owner)
        if bound is self.__wrapped__:
            return self
        return (_Bound if isinstance(bound, MethodType) else Parallel)(bound, self._options)

    def __repr__(self) -> str:
        return f"<parallel {self.__wrapped__!r}>"

    def __reduce__(self) -> Any:
        module, name = self.__module__, getattr(self, "__qualname__", "")
        if module not in ("__main__", "__mp_main__") and module in sys.modules:
            with suppress(Exception):  # of what else has this name
                found = _find(module, name)
                # Not `found is self`: what a static method is wrapped in is made at each access.
                if isinstance(found, Parallel) and found.__wrapped__ is self.__wrapped__:
                    return _find, (module, name)
        # The function may refer to this object: as state, it comes when the object is known.
        return _new, (), (self.__wrapped__, _portable(self._options))

    def __setstate__(self, state: tuple[Callable[P, R], dict[str, Any]]) -> None:
        self.__init__(*state)  # type: ignore[misc]


class _Bound(Parallel[P, R]):
    """A method of an instance: pickles as the instance and, where that finds it, its name."""

    def __reduce__(self) -> Any:
        method: Any = self.__wrapped__
        instance = method.__self__
        with suppress(Exception):  # of what else has this name
            found = getattr(instance, method.__name__)
            if isinstance(found, Parallel) and found.__wrapped__ == method:
                return getattr, (instance, method.__name__)
        return _bind, (method.__func__, instance, _portable(self._options))


def _find(module: str, name: str) -> Any:
    """Return the object called *name* in *module*, None if there is none."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _portable(options: dict[str, Any]) -> dict[str, Any]:
    """Return *options* without an executor that is an instance."""
    return {k: v for k, v in options.items() if k != "executor" or isinstance(v, str)}


def _bind(function: Any, instance: Any, options: dict[str, Any]) -> Parallel[..., Any]:
    return _Bound(MethodType(function, instance), options)


def _new() -> Parallel[..., Any]:
    return Parallel.__new__(Parallel)


def parallel(fn: Any = None, /, **options: Any) -> Any:
    """Decorate a function so that `f.map(xs)` is `pmap(f, xs)`; `f(x)` stays a plain call.

    Works on functions, methods, class methods and static methods, and as `@parallel(...)` with
    default options for the function's maps.

    Args:
        fn: the function, given by Python where the decorator has no parentheses.
        **options: any options of `pmap`; those given to its methods win over them.

    Returns:
        The function, with the methods `map`, `starmap`, `imap` and `istarmap`.

    Raises:
        TypeError: what is decorated is not callable, or an option is unknown.
        ValueError: an option is out of range.

    Example:
        >>> from parmap import parallel
        >>> @parallel(workers=2)
        ... def square(x):
        ...     return x * x
        >>> square(3), square.map([1, 2, 3])
        (9, [1, 4, 9])
    """
    check(options, "parallel", fn)
    if fn is None:
        return lambda function: Parallel(_callable(function), options)
    return Parallel(_callable(fn), options)


def _callable(fn: Any) -> Any:
    if not callable(fn) and not isinstance(fn, classmethod):
        raise TypeError(
            f"parallel decorates functions, got {short_repr(fn)}; options are given by name"
        )
    if asynchronous(fn) == ASYNC_GENERATOR:
        raise TypeError(f"parallel() decorates {short_repr(fn)}; {UNMAPPED}")
    return fn


parallel.__module__ = "parmap"

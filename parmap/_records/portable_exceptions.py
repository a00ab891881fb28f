"""How an exception crosses to another process: as itself, or rebuilt as the nearest to it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from operator import is_
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from .errors import RemoteTraceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Dumps = Callable[[Any], bytes]
    Loads = Callable[[bytes], Any]


NOT_KEPT = ("__dict__", "__weakref__", "exceptions", "obj")  # not what AttributeError is about
LINKS: Any = tuple(
    vars(BaseException)[name] for name in ("__cause__", "__context__", "__suppress_context__")
)
CHAIN = 20  # exceptions of which one was raised while, or because of, the other


def end_chain(error: BaseException, traceback: str) -> None:
    """Let the chain of causes of *error* end with the *traceback* of the worker, once."""
    seen = set()
    last: Any = error
    cause: Any = error
    while cause is not None and type(cause) is not RemoteTraceback and id(cause) not in seen:
        seen.add(id(cause))
        last, (cause, context, suppressed) = cause, _links(cause)
        if cause is None and not suppressed:
            cause = context
    LINKS[0].__set__(last, RemoteTraceback(traceback))


def _links(error: BaseException) -> Any:
    """Return what *error* comes from: cause, context, and whether the context is not to be shown.

    Not what the class may say of them, which may raise.
    """
    return tuple(slot.__get__(error) for slot in LINKS)


def portable(
    error: BaseException,
    dumps: Dumps,
    loads: Loads,
    seen: set[int] | None = None,
    *,
    bare: bool = False,
) -> BaseException:
    """Return what unpickles as *error*, or as the nearest exception to it that can.

    So do its causes and contexts, which pickle would leave out; those *seen* are not told again.
    If *bare*, they lose their tracebacks: with tblib, which Dask imports, these would be pickled.
    """
    seen = set() if seen is None else seen
    chain, links = [error], []
    for member in chain:  # which grows
        seen.add(id(member))
        if bare:
            BaseException.with_traceback(member, None)
        cause, context, suppressed = _links(member)
        for other in (cause, context):
            if other is not None and id(other) not in seen and len(chain) < CHAIN:
                seen.add(id(other))
                chain.append(other)
        links.append((cause, context, suppressed))
    nearest = {id(member): _nearest(member, dumps, loads, seen, bare) for member in chain}
    if len(chain) == 1:
        return nearest[id(error)]
    near = [(nearest.get(id(a)), nearest.get(id(b)), suppressed) for a, b, suppressed in links]
    return _Stand(_chained, [*nearest.values()], near)  # type: ignore[return-value]


def _nearest(
    error: BaseException, dumps: Dumps, loads: Loads, seen: set[int], bare: bool
) -> BaseException:
    """Return *error* without its causes, or the nearest to it that survives `loads(dumps(...))`.

    Pickle rebuilds an exception by calling its class with `args`, which fails for every class
    whose constructor wants something else, or makes something else of them.  So the steps down are:
    the exception itself; one of its class, made without calling the constructor, a group of the
    nearest to its members; one of its nearest built-in base class.
    """

    def survives(value: object) -> bool:
        try:
            loads(dumps(value))
        except BaseException:
            return False
        return True

    whole = True  # all members of a group are themselves
    members: list[BaseException] = []
    if isinstance(error, BaseExceptionGroup):
        with suppress(RecursionError):
            again = partial(portable, dumps=dumps, loads=loads, seen=seen, bare=bare)
            members = [again(member) for member in error.exceptions]
            whole = all(map(is_, members, error.exceptions))

    def near(arg: object) -> object:
        if members and isinstance(arg, (list, tuple)) and len(arg) == len(members):
            return members
        return arg if survives(arg) else safe_str(arg)

    try:
        if whole and _alike(loads(dumps(error)), error):
            return error
    except BaseException:  # noqa: S110 - whatever its __reduce__ raises, there are other ways
        pass
    # Not `error.args` and `vars(error)`: the class may have its own of these, which raise.
    parts: Any = BaseException.__reduce__(error)
    args = tuple(map(near, parts[1]))
    state = {name: value for part in parts[2:] for name, value in part.items() if survives(value)}
    slots = {name: value for name, value in _slots(error) if survives(value)}
    twin: Any = _Stand(_rebuild, type(error), args, state, slots)
    if survives(twin):
        return twin  # type: ignore[no-any-return]
    text = f"{type(error).__qualname__}: {safe_str(error)}"
    try:
        return _builtin(type(error))(text)
    except Exception:  # UnicodeDecodeError and its kind want five arguments
        return RuntimeError(text)


def _alike(copy: BaseException, error: BaseException) -> bool:
    """Tell whether *copy* is what *error* is, as far as plain values say it."""
    get: Any = BaseException.__getattribute__
    kept = {"args": get(copy, "args"), **dict(_slots(copy))}
    mine = {"args": get(error, "args"), **dict(_slots(error))}
    return type(copy).__name__ == type(error).__name__ and all(
        kept.get(name) == value for name, value in mine.items() if _is_plain(value)
    )


def _is_plain(value: object) -> bool:
    if type(value) is tuple:
        return all(map(_is_plain, value))
    return type(value) in (str, bytes, int, float, bool)


def _slots(error: BaseException) -> Iterator[tuple[str, Any]]:
    """Yield name and value of what *error* keeps outside of its `__dict__`.

    So do the built-in classes, `OSError.filename` for one, and `__slots__`.
    """
    kinds = (MemberDescriptorType, GetSetDescriptorType)
    for cls in type(error).__mro__:
        for name, slot in () if cls in (BaseException, object) else vars(cls).items():
            if type(slot) in kinds and name not in NOT_KEPT:
                with suppress(Exception):  # it has no value
                    if (value := slot.__get__(error)) is not None:
                        yield name, value


def _builtin(cls: type[BaseException]) -> type[BaseException]:
    """Return the nearest built-in base of *cls*."""
    return next(base for base in cls.__mro__ if base.__module__ == "builtins")


class _Stand:
    """Stands for an exception, and unpickles as one, by a call of a function."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return self._parts[0], self._parts[1:]


def _rebuild(
    cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any], slots: dict[str, Any]
) -> BaseException:
    """Make an exception of class *cls* without calling its constructor."""
    error = _builtin(cls).__new__(cls, *args)
    BaseException.__setattr__(error, "args", args)  # its class may forbid it
    vars(error).update(state)
    for base in cls.__mro__:
        for name in slots.keys() & vars(base).keys():
            with suppress(Exception):  # it cannot be set
                vars(base)[name].__set__(error, slots[name])
    return error


def _chained(errors: list[BaseException], links: list[tuple[Any, Any, bool]]) -> BaseException:
    """Return the first of *errors*, each of which comes from what its *links* say."""
    for error, values in zip(errors, links, strict=True):
        for slot, value in zip(LINKS, values, strict=True):  # the flag at last: a cause sets it
            slot.__set__(error, value)
    return errors[0]


def safe_str(value: object) -> str:
    """Return `str(value)`, whatever its `__str__` does."""
    try:
        return str(value)
    except BaseException as error:
        return f"<{type(value).__qualname__} whose str raises {type(error).__name__}>"

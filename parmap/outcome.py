"""What can become of a task other than a value.

Responsible for the records that users see when something fails.  Refuses to know how tasks run.
Its imports (dataclasses, typing) take 10 ms: it is imported when something fails.
"""

from __future__ import annotations

import pickle
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import is_
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from .errors import RemoteTraceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = Literal["error", "crash", "timeout", "unpicklable"]

WIDEST = 400  # characters in a line of what is shown
NOT_KEPT = ("__dict__", "__weakref__", "exceptions", "obj")  # not what AttributeError is about
LINKS: Any = tuple(
    vars(BaseException)[name] for name in ("__cause__", "__context__", "__suppress_context__")
)
CHAIN = 20  # exceptions of which one was raised while, or because of, the other


@dataclass(frozen=True, slots=True)
class Caught:
    """What the place where a task ran knows of its failure."""

    exception: BaseException
    traceback: str
    kind: Kind
    seconds: float
    worker: int


@dataclass(frozen=True, slots=True, repr=False)
class Failure:
    """The record of one failed task; it stands in the task's place under `on_error="return"`.

    A Failure is not an exception and is never raised: `unwrap` raises what the task raised.  It
    can be pickled whatever the exception is made of.

    Attributes:
        index: position of the task in the whole input, from 0.
        input: `repr` of the task's input, shortened to a few hundred characters.
        exception: what the task raised, with its causes.  One that cannot be pickled arrives from
            another process rebuilt from its class, its `args` and what can be pickled of its
            attributes.
        traceback: the traceback at the place where the task ran, as text; after a crash or a
            timeout where it stood, most recent call first, "" where that is not known.
        kind: `"error"` (it raised), `"crash"` (its worker process died), `"timeout"` (it took
            longer than `timeout`) or `"unpicklable"` (its input or its result cannot be sent
            between processes).
        attempts: how many times the task was tried, 1 without `retries`; that it ran again because
            of another's crash does not count.
        seconds: duration of the last attempt, 0.0 where it is not known.
        worker: process id of the last attempt, 0 where it is not known.

    Example:
        >>> from parmap import pmap
        >>> one, failure = pmap(lambda x: 1 / x, [1, 0], on_error="return")
        >>> failure.index, failure.kind, failure.exception
        (1, 'error', ZeroDivisionError('division by zero'))
    """

    index: int
    input: str
    exception: BaseException
    traceback: str
    kind: Kind
    attempts: int
    seconds: float
    worker: int

    def unwrap(self) -> NoReturn:
        """Raise the task's exception, with a note that names the task.

        Where the task ran in another process, the worker's traceback ends the chain of its causes.
        """
        error = self._annotated()
        try:
            raise error
        finally:
            # The traceback holds this frame: with them it would be a cycle.  Without the names, it
            # could not be shown with the values of its arguments.
            self = error = None  # type: ignore[assignment] # noqa: PLW0642

    def _annotated(self) -> BaseException:
        """Return the task's exception as `unwrap` raises it."""
        error = self.exception
        note = f"parmap: task {self.index} failed in attempt {self.attempts}, input: {self.input}"
        with suppress(Exception):  # its class may have other ideas of what can be set
            here = BaseException.__getattribute__(error, "__traceback__") is not None
            if not here and self.kind == "error":
                end_chain(error, self.traceback)
            notes = getattr(error, "__notes__", ())
            if note not in notes:
                BaseException.__setattr__(error, "__notes__", [*notes, note])
        return error

    def __repr__(self) -> str:
        lines = [
            f"<Failure of task {self.index}, input: {self.input}",
            f"{type(self.exception).__qualname__}: {_text(self.exception)}",
            *self._place(),
            f"kind {self.kind}, attempt {self.attempts}, {self.seconds:.3g} s, pid {self.worker}>",
        ]
        return "\n  ".join(map(_line, lines))

    def _place(self) -> list[str]:
        """Return the innermost place in the traceback, if there is one."""
        text = self.traceback.split("+-+-", 1)[0]  # what follows is of the members of a group
        places = re.findall(r'^[ |]*File "(.+)", line (\d+),? in (.+)$', text, re.MULTILINE)
        found = places[-1:] if self.kind == "error" else places[:1]
        return [f'File "{file}", line {line}, in {name}' for file, line, name in found]

    def __copy__(self) -> Failure:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        whole = replace(self, exception=portable(self.exception, pickle.dumps, pickle.loads))
        return Failure, tuple(getattr(whole, name) for name in Failure.__slots__)


Failure.__module__ = "parmap"


def _line(text: str) -> str:
    """Return the words of *text* in one line that is not too long."""
    line = " ".join(text[: 2 * WIDEST].split())
    return line if len(line) <= WIDEST else f"{line[:WIDEST]}..."


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


def _links(error: BaseException) -> tuple[Any, Any, bool]:
    """Return what *error* comes from: cause, context, and whether the context is not to be shown.

    Not what the class may say of them, which may raise.
    """
    cause, context, suppressed = (slot.__get__(error) for slot in LINKS)
    return cause, context, suppressed


def portable(
    error: BaseException,
    dumps: Callable[[Any], bytes],
    loads: Callable[[bytes], Any],
    seen: set[int] | None = None,
) -> BaseException:
    """Return what unpickles as *error*, or as the nearest exception to it that can.

    So do its causes and contexts, which pickle would leave out; those *seen* are not told again.
    """
    seen = set() if seen is None else seen
    chain, links = [error], []
    for member in chain:  # which grows
        seen.add(id(member))
        cause, context, suppressed = _links(member)
        for other in (cause, context):
            if other is not None and id(other) not in seen and len(chain) < CHAIN:
                seen.add(id(other))
                chain.append(other)
        places = {id(other): place for place, other in enumerate(chain)}
        links.append((places.get(id(cause)), places.get(id(context)), suppressed))
    nearest = [_nearest(member, dumps, loads, seen) for member in chain]
    if len(chain) == 1:
        return nearest[0]
    return _Stand(_chained, nearest, links)  # type: ignore[return-value]


def _nearest(
    error: BaseException,
    dumps: Callable[[Any], bytes],
    loads: Callable[[bytes], Any],
    seen: set[int],
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
            members = [portable(member, dumps, loads, seen) for member in error.exceptions]
            whole = all(map(is_, members, error.exceptions))

    def near(arg: object) -> object:
        if members and isinstance(arg, (list, tuple)) and len(arg) == len(members):
            return members
        return arg if survives(arg) else _text(arg)

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
    text = f"{type(error).__qualname__}: {_text(error)}"
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
    cls: type[BaseException],
    args: tuple[Any, ...],
    state: dict[str, Any],
    slots: dict[str, Any],
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


def _chained(
    errors: list[BaseException], links: list[tuple[int | None, int | None, bool]]
) -> BaseException:
    """Return the first of *errors*, with what each comes from, by its place in the list."""
    for error, (cause, context, suppressed) in zip(errors, links, strict=True):
        values = (
            None if cause is None else errors[cause],
            None if context is None else errors[context],
            suppressed,  # at last: a cause sets it
        )
        for slot, value in zip(LINKS, values, strict=True):
            slot.__set__(error, value)
    return errors[0]


def _text(value: object) -> str:
    """Return `str(value)`, whatever its `__str__` does."""
    try:
        return str(value)
    except BaseException as error:
        return f"<{type(value).__qualname__} whose str raises {type(error).__name__}>"

"""What can become of a task other than a value.

Responsible for the records that users see when something fails.  Refuses to know how tasks run.
Its imports (dataclasses, typing) take 10 ms: it is imported when something fails.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from .errors import RemoteTraceback

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["error", "crash", "timeout", "unpicklable"]


@dataclass(frozen=True, slots=True)
class Caught:
    """What the place where a task ran knows of its failure."""

    exception: BaseException
    traceback: str
    kind: Kind
    seconds: float
    worker: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The record of one failed task; it stands in the task's place under `on_error="return"`.

    A Failure is not an exception and is never raised: `unwrap` raises what the task raised.  It
    can be pickled whatever the exception is made of.

    Attributes:
        index: position of the task in the whole input, from 0.
        input: `repr` of the task's input, shortened to a few hundred characters.
        exception: what the task raised.  An exception that cannot be pickled arrives from another
            process rebuilt from its class, its `args` and what can be pickled of its attributes.
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

        The traceback of the worker is its cause where the task ran in another process.
        """
        error = self.exception
        note = f"parmap: task {self.index} failed in attempt {self.attempts}, input: {self.input}"
        with suppress(Exception):  # its class may have other ideas of what can be set
            here = BaseException.__getattribute__(error, "__traceback__")
            if here is None and self.kind == "error":
                BaseException.__setattr__(error, "__cause__", RemoteTraceback(self.traceback))
            notes = getattr(error, "__notes__", ())
            if note not in notes:
                BaseException.__setattr__(error, "__notes__", [*notes, note])
        try:
            raise error
        finally:
            del self, error  # the traceback holds this frame: with them it would be a cycle

    def __reduce__(self) -> tuple[Any, ...]:
        whole = replace(self, exception=portable(self.exception, pickle.dumps, pickle.loads))
        return Failure, tuple(getattr(whole, name) for name in Failure.__slots__)


Failure.__module__ = "parmap"


def portable(
    error: BaseException, dumps: Callable[[Any], bytes], loads: Callable[[bytes], Any]
) -> BaseException:
    """Return *error*, or the nearest exception to it that survives `loads(dumps(...))`.

    Pickle rebuilds an exception by calling its class with `args`, which fails for every class
    whose constructor wants something else.  So the steps down are: the exception itself; one of
    its class, made without calling the constructor, a group of the nearest to its members; one of
    its nearest built-in base class.
    """

    def survives(value: object) -> bool:
        try:
            loads(dumps(value))
        except BaseException:
            return False
        return True

    def near(arg: object) -> object:
        if survives(arg):
            return arg
        if isinstance(error, BaseExceptionGroup) and isinstance(arg, (list, tuple)):
            with suppress(RecursionError):
                return [portable(member, dumps, loads) for member in error.exceptions]
        return _text(arg)

    try:
        if type(loads(dumps(error))).__name__ == type(error).__name__:
            return error
    except BaseException:  # noqa: S110 - whatever its __reduce__ raises, there are other ways
        pass
    # Not `error.args` and `vars(error)`: the class may have its own of these, which raise.
    whole: Any = BaseException.__reduce__(error)
    args = tuple(map(near, whole[1]))
    state = {name: value for part in whole[2:] for name, value in part.items() if survives(value)}
    twin: Any = _Twin(type(error), args, state)
    if survives(twin):
        return twin  # type: ignore[no-any-return]
    base = next(cls for cls in type(error).__mro__ if cls.__module__ == "builtins")
    text = f"{type(error).__qualname__}: {_text(error)}"
    try:
        return base(text)  # type: ignore[no-any-return]
    except Exception:  # UnicodeDecodeError and its kind want five arguments
        return RuntimeError(text)


class _Twin:
    """Stands for an exception, and unpickles as one, by a call of `_rebuild`."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, self._parts


def _rebuild(
    cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]
) -> BaseException:
    """Make an exception of class *cls* without calling its constructor."""
    error = cls.__new__(cls, *args)
    BaseException.__setattr__(error, "args", args)  # its class may forbid it
    vars(error).update(state)
    return error


def _text(value: object) -> str:
    """Return `str(value)`, whatever its `__str__` does."""
    try:
        return str(value)
    except BaseException as error:
        return f"<{type(value).__qualname__} whose str raises {type(error).__name__}>"

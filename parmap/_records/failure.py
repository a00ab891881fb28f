"""What can become of a task other than a value.

The records that users see when something fails.  Does not depend on how tasks run.  Its imports
(dataclasses, typing) take 10 ms: it is imported when something fails.
"""

from __future__ import annotations

import pickle
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from .portable_exceptions import end_chain, portable, safe_str
from .stack_frames import traceback_of

Kind = Literal["error", "crash", "timeout", "unpicklable"]
WIDEST = 400  # characters in a line of what is shown


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
            longer than `timeout`, or the call than its `deadline`) or `"unpicklable"` (its input or
            its result cannot be sent between processes).
        attempts: how many times the task was tried, 1 without `retries`; that it ran again because
            of another's crash does not count.  0 if the `deadline` came before its first attempt,
            as far as the call knows.
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
        what = f"failed in attempt {self.attempts}" if self.attempts else "was not begun"
        note = f"parmap: task {self.index} {what}, input: {self.input}"
        with suppress(Exception):  # its class may have other ideas of what can be set
            if self.kind == "error" and traceback_of(error) is None:
                end_chain(error, self.traceback)
            notes = getattr(error, "__notes__", ())
            if note not in notes:
                BaseException.__setattr__(error, "__notes__", [*notes, note])
        return error

    def __repr__(self) -> str:
        lines = [
            f"<Failure of task {self.index}, input: {self.input}",
            f"{type(self.exception).__qualname__}: {safe_str(self.exception)}",
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

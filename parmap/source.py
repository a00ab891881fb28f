"""The input of a call: its items, drawn once, in order, and no earlier than they are needed.

Responsible for pulling.  What the input raises is kept here until the scheduler has a place for
it: it is the caller's error, never a task's.
"""

from __future__ import annotations

import sys
from itertools import count, islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any


class Window:
    """A part of a list or a tuple that is copied only when it is sent."""

    __slots__ = ("_begin", "_end", "_whole")

    def __init__(self, whole: Sequence[Any], begin: int, end: int) -> None:
        self._whole = whole
        self._begin = begin
        self._end = end

    def __len__(self) -> int:
        return self._end - self._begin

    def __iter__(self) -> Iterator[Any]:
        items: Any = iter(self._whole)
        items.__setstate__(self._begin)  # goes there at once; `islice` would step
        return items if self._end == len(self._whole) else islice(items, len(self))

    def __getitem__(self, position: Any) -> Any:
        if not isinstance(position, slice):
            return self._whole[self._begin + position]
        begin, end, _ = position.indices(len(self))
        return Window(self._whole, self._begin + begin, self._begin + end)

    def __reduce__(self) -> tuple[Any, ...]:
        items = self._whole[self._begin : self._end]
        if len(items) < len(self):
            raise RuntimeError("the input became shorter during the call")
        return _itself, (items,)


def _itself(items: Any) -> Any:
    return items


class Source:
    """Hands out the items of *iterables*, tuples of them if there are several.

    Attributes:
        drawn: how many items were handed out.
        total: how many there are in all; None if the input does not say.
        error: what the input raised; nothing is drawn after it.
    """

    __slots__ = ("_items", "_whole", "drawn", "error", "total")

    def __init__(
        self,
        iterables: Sequence[Iterable[Any]],
        check: Callable[[Any, int], Any] | None = None,
    ) -> None:
        """Take items as `check(item, index)` returns them, if there is a *check*."""
        first = iterables[0]
        self.drawn = 0
        self.error: Exception | None = None
        self.total = _shortest(iterables)
        # No item of these is touched here; a slice of a range or an array is sent as such.
        plain = len(iterables) == 1 and check is None
        self._whole: Any = first if plain and type(first) in _sliceable() else None
        self._items = iter(first) if len(iterables) == 1 else zip(*iterables, strict=False)
        if check is not None:
            self._items = map(check, self._items, count())

    @property
    def remaining(self) -> int | None:
        """How many items are still to come; None if the input does not say."""
        return None if self.total is None else max(0, self.total - self.drawn)

    def take(self, n: int) -> Sequence[Any]:
        """Return the next *n* items, fewer at the end, none after it or after an error."""
        items: Sequence[Any]
        if self._whole is not None:
            end = max(self.drawn, min(self.drawn + n, len(self._whole)))
            if type(self._whole) in (list, tuple):
                items = Window(self._whole, self.drawn, end)  # type: ignore[assignment]
            else:
                items = self._whole[self.drawn : end]
        elif self.error is not None:
            items = ()
        else:
            taken: list[Any] = []
            items = taken
            try:
                taken.extend(islice(self._items, n))
            except Exception as error:
                self.error = error  # `taken` holds what came before it
        self.drawn += len(items)
        return items


def _sliceable() -> tuple[type, ...]:
    numpy = sys.modules.get("numpy")
    return (list, range, tuple) if numpy is None else (list, range, tuple, numpy.ndarray)


def _shortest(iterables: Sequence[Iterable[Any]]) -> int | None:
    """Return the length of the shortest, None unless all that end say how long they are."""
    lengths = []
    for iterable in iterables:
        try:
            lengths.append(len(iterable))  # type: ignore[arg-type]
        except Exception:  # it is only a hint
            return None
    return min(lengths)

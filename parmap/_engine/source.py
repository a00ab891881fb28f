"""The input of a call: its items, drawn once, in order, and no earlier than they are needed.

Responsible for pulling.  What the input raises is kept here until the scheduler has a place for
it: it is the caller's error, never a task's.

Guaranteed: what a length says is a hint, the iterator alone says where the input ends; items of an
iterator are drawn ahead only by `take`, one at a time by what `here` returns; a slow iterator
does not hold back what it gave already.
"""

from __future__ import annotations

from itertools import chain, count, groupby, islice
from sys import maxsize
from time import perf_counter

from .._records.machine import imported
from .interfaces import Feed
from .slices import LazyItems, Slice, is_fleeting, length_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any


SLOW = 0.002
"""Seconds after which a chunk is not filled any further, and from which on an input counts as slow:
then it is asked only when there are no results to hand out."""

FADING = 0.9  # of how slow an input was, at each time that it was not


class Source(Feed):
    """Hands out the items of *iterables*, tuples of them if there are several.

    Attributes:
        items: the iterator over what was not drawn yet.
        slowness: how long the input took each time, those before the last counting less and less.
    """

    slowness = 0.0

    def __init__(
        self,
        iterables: Sequence[Iterable[Any]],
        check: Callable[[Any, int], Any] | None = None,
    ) -> None:
        """Take items as `check(item, index)` returns them, if there is a *check*."""
        self._check = check
        self._original: Any = None
        one = len(iterables) == 1
        if one and type(iterables[0]) in _CONTAINERS:
            self._original = iterables[0]
            iterables = [list(iterables[0])]
        self._wholes: Any = iterables
        self.indexed = _is_indexed(iterables[0]) if one else all(map(_is_indexed, iterables))
        if self.indexed:
            self.total = length_of(self._wholes)  # type: ignore[arg-type]
        else:
            self.total = _shortest(iterables)
            self.fleeting = groupby in map(type, iterables)
            self.items: Iterator[Any] = iter(iterables[0]) if one else zip(*iterables, strict=False)
            if check is not None:
                self.items = map(check, self.items, count())

    @property
    def remaining(self) -> int | None:  # type: ignore[override]
        """How many items are still to come, as far as the input says; None if it does not."""
        if self.total is None or self.drawn > self.total:  # it was not true
            return None
        return self.total - self.drawn

    def is_over(self) -> bool:
        """Tell whether no item comes any more."""
        if self.ended or not self.indexed:
            return self.ended
        if self._original is not None and self._has_changed():
            return False
        return self.drawn >= length_of(self._wholes)

    def _has_changed(self) -> bool:
        """Tell whether what was copied has another size now, for which its iterator raises."""
        return len(self._original) != len(self._wholes[0])

    def fail(self, error: Exception) -> None:
        """Keep *error*, which the input has raised, and end."""
        self.error = error
        self.ended = True

    def first(self) -> Any:
        """Return the first item, which is still to be drawn; None if there is none."""
        if self.indexed:
            part = self._part(1)
            return part[0] if len(part) else None
        try:
            for item in self.items:
                self.items = chain((item,), self.items)
                return item
            self.ended = True
        except Exception as error:
            self.fail(error)
        return None

    def here(self, n: int) -> Any:
        if self.indexed or self.ended:
            return self.take(n)
        return LazyItems(self, 1 if self.was_slow else n)

    def took(self, seconds: float) -> None:
        """Learn how long the input took when it was asked last."""
        self.seconds = seconds
        self.slowness = max(seconds, FADING * self.slowness)
        self.is_slow, self.was_slow = seconds > SLOW, self.slowness > SLOW

    def take(self, n: int) -> Any:
        """Return the next *n* items, fewer at the end, none after it or after an error.

        Fewer, too, if the input is slow: at least one, then what comes in a moment.
        """
        if self.ended:
            return ()
        # What is drawn already would wait for the rest of its chunk.
        items = self._part(n) if self.indexed else self._draw(1 if self.was_slow else n)
        self.drawn += len(items)
        return items

    def _part(self, n: int) -> Any:
        if self._original is not None and self._has_changed():
            name = "Set" if type(self._original) is set else "dictionary"  # as Python says it
            self.fail(RuntimeError(f"{name} changed size during iteration"))
            return ()
        end, length = self.drawn + n, length_of(self._wholes)
        if end > length:
            end = max(self.drawn, length)
        if len(self._wholes) == 1 and type(self._wholes[0]) not in (list, tuple):
            part: Any = self._wholes[0][self.drawn : end]  # of a range or an array: sent as such
        else:
            part = Slice(self._wholes, self.drawn, end)
        if self._check is not None:
            for position in range(len(part)):
                try:
                    self._check(part[position], self.drawn + position)
                except Exception as error:
                    self.fail(error)
                    return part[:position]
        return part

    def _draw(self, n: int) -> list[Any]:
        taken: list[Any] = []
        began = now = perf_counter()
        block = 1
        try:
            while len(taken) < n and now - began < SLOW:
                block = min(block, n - len(taken))
                due = len(taken) + block
                taken.extend(islice(self.items, block))  # what came before an error is kept
                if len(taken) < due:
                    self.ended = True
                    break
                if is_fleeting(taken[0]):
                    self.fleeting = True
                    break
                block *= 8
                now = perf_counter()
        except Exception as error:
            self.fail(error)
        spent = perf_counter() - began
        self.spent += spent
        self.took(spent)
        return taken


def _is_indexed(iterable: Any) -> bool:
    """Tell whether all of *iterable* lies in memory, at positions."""
    if type(iterable) in _INDEXED:
        return type(iterable) is not range or not iterable[maxsize:]  # longer than a length can be
    array = getattr(imported("numpy"), "ndarray", None)
    return type(iterable) is array and iterable.ndim > 0


_INDEXED = frozenset((list, tuple, range, str, bytes))

# What lies in memory, too, but has no positions: copied, and looked at for changes.
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_CONTAINERS = (dict, set, frozenset, *_VIEWS)


def _shortest(iterables: Sequence[Iterable[Any]]) -> int | None:
    """Return the length of the shortest, None unless all that end say how long they are."""
    try:
        return min(len(iterable) for iterable in iterables)  # type: ignore[arg-type]
    except Exception:  # it is only a hint
        return None

"""The input of a call: its items, drawn once, in order, and no earlier than they are needed.

Responsible for pulling.  What the input raises is kept here until the scheduler has a place for
it: it is the caller's error, never a task's.

Guaranteed: what a length says is a hint, the iterator alone says where the input ends; items of an
iterator are drawn ahead only by `take`, one at a time by what `here` returns; a slow iterator
does not hold back what it gave already.
"""

from __future__ import annotations

from itertools import chain, count, filterfalse, groupby, islice
from time import perf_counter, thread_time

from .machine import imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

SLOW = 0.002
"""Seconds after which a chunk is not filled any further, and from which on an input counts as slow:
then it is asked only when there are no results to hand out."""

CHEAP = 2e-5  # seconds in which an item is drawn: the others in its chunk are not timed

FADING = 0.9  # of how slow an input was, at each time that it was not

DEEPEST, FIRST = 4, 8  # tuples in tuples, and the first of each, that are looked at for groups

_GROUP = type(next(groupby("a"))[1])


class Window:
    """A part of lists, tuples and their like, item by item or zipped, copied only when sent."""

    __slots__ = ("_begin", "_end", "_wholes")

    def __init__(self, wholes: Sequence[Sequence[Any]], begin: int, end: int) -> None:
        self._wholes = wholes
        self._begin = begin
        self._end = end

    def __len__(self) -> int:
        return self._end - self._begin

    def __iter__(self) -> Iterator[Any]:
        wholes, begin = self._wholes, self._begin
        items = _from(wholes[0], begin)
        if len(wholes) > 1:
            items = zip(items, *(_from(whole, begin) for whole in wholes[1:]), strict=False)
        # Up to the end there is nothing to count; and if a task appends, the loop goes on, too.
        return items if self.ends_at(len(self)) else islice(items, len(self))

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            begin, end, _ = position.indices(len(self))
            return Window(self._wholes, self._begin + begin, self._begin + end)
        item = tuple(whole[self._begin + position] for whole in self._wholes)
        return item[0] if len(item) == 1 else item

    def __reduce__(self) -> tuple[Any, ...]:
        if _length(self._wholes) < self._end:
            raise RuntimeError("the input became shorter during the call")
        parts = [whole[self._begin : self._end] for whole in self._wholes]
        return _itself, (parts[0] if len(parts) == 1 else list(zip(*parts, strict=True)),)

    def ends_at(self, position: int) -> bool:
        """Tell whether the input has, as things stand, no item at *position* of this part."""
        return self._begin + position >= _length(self._wholes)

    def reaching(self, position: int) -> Window:
        """Return the part from the same beginning up to *position*, in a list that has grown."""
        return Window(self._wholes, self._begin, self._begin + position)


def _length(wholes: Sequence[Sequence[Any]]) -> int:
    return len(wholes[0]) if len(wholes) == 1 else min(map(len, wholes))


def _from(whole: Sequence[Any], begin: int) -> Iterator[Any]:
    """Return an iterator over *whole* from position *begin* on."""
    if type(whole) not in (list, tuple):
        return iter(whole[begin:])
    items: Any = iter(whole)
    items.__setstate__(begin)  # goes there at once; `islice` would step
    return items  # type: ignore[no-any-return]


def _itself(items: Any) -> Any:
    return items


class Unread:
    """Up to *size* items that are drawn one by one while their tasks run, as a loop draws them.

    Attributes:
        drawn: the items so far.
        seconds: how long the input took for them, as far as it is no matter of microseconds.
        cpu: seconds of processor time of it.
    """

    __slots__ = ("_longest", "_size", "_source", "cpu", "drawn", "seconds")

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._size = size
        self._longest = 0.0
        self.drawn: list[Any] = []
        self.seconds = self.cpu = 0.0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        # `append` returns None: a filter that lets everything through and keeps it, without a frame
        return filterfalse(self.drawn.append, chain.from_iterable(self._parts()))

    def _parts(self) -> Iterator[Iterator[Any]]:
        timed = self._timed()
        yield timed
        if not self._source.ended:
            yield self._source.items

    def _timed(self) -> Iterator[Any]:
        """Draw items, and look how long that takes, until one comes at once."""
        source, spent = self._source, CHEAP
        while spent >= CHEAP:
            cpu, began = thread_time(), perf_counter()
            source.is_asked = True
            try:
                item = next(source.items)
            except StopIteration:
                source.ended = True
                return
            finally:
                source.is_asked = False
                spent = perf_counter() - began
                self._longest = max(self._longest, spent)
                self.seconds += spent
                self.cpu += thread_time() - cpu
                source.asked += spent
            yield item

    def ends_at(self, position: int) -> bool:
        """Tell whether the input ended when it was asked for the item at *position*."""
        if len(self.drawn) > position:
            return False
        self._source.ended = True
        return True

    def has_raised(self, position: int, error: BaseException) -> bool:
        """Tell whether *error* came from the input, asked for the item at *position*."""
        if len(self.drawn) > position:
            return False
        if not isinstance(error, Exception):
            raise error
        self._source.fail(error)
        return True

    def settle(self) -> list[Any]:
        """Return the items that were drawn, and count them."""
        self._source.drawn += len(self.drawn)
        self._source.took(self._longest)
        if self.drawn and _is_fleeting(self.drawn[0]):
            self._source.fleeting = True
        return self.drawn


class Source:
    """Hands out the items of *iterables*, tuples of them if there are several.

    Attributes:
        items: the iterator over what was not drawn yet.
        drawn: how many items were handed out.
        total: how many there will be in all, as far as the input says; None if it does not.
        ended: whether the input has come to its end.
        error: what the input raised; nothing is drawn after it.
        asked: how long the input took in all while tasks ran here, and `is_asked`: at this moment.
        seconds: how long the input took when it was asked last.
        slowness: the same of all times, those before the last counting less and less.
        fleeting: whether an item is of no use any more once the next is drawn.
        indexed: whether all of it lies in memory, so that to draw ahead of the tasks runs no code
            of the caller's.
    """

    __slots__ = (
        "_check",
        "_original",
        "_wholes",
        "asked",
        "drawn",
        "ended",
        "error",
        "fleeting",
        "indexed",
        "is_asked",
        "items",
        "seconds",
        "slowness",
        "total",
    )

    def __init__(
        self,
        iterables: Sequence[Iterable[Any]],
        check: Callable[[Any, int], Any] | None = None,
    ) -> None:
        """Take items as `check(item, index)` returns them, if there is a *check*."""
        self.drawn = 0
        self.ended = False
        self.error: Exception | None = None
        self.seconds = self.slowness = self.asked = 0.0
        self.is_asked = False
        self.fleeting = any(type(iterable) is groupby for iterable in iterables)
        self._check = check
        self._original: Any = None
        if len(iterables) == 1 and type(iterables[0]) in _CONTAINERS:
            self._original = iterables[0]
            iterables = [list(iterables[0])]
        self.total: int | None
        self._wholes: Any = iterables
        self.indexed = all(map(_is_indexed, iterables))
        if self.indexed:
            self.total = _length(self._wholes)  # type: ignore[arg-type]
        else:
            self.total = _shortest(iterables)
            one = len(iterables) == 1
            items = iter(iterables[0]) if one else zip(*iterables, strict=False)
            self.items: Iterator[Any] = items
            if check is not None:
                self.items = map(check, self.items, count())

    @property
    def remaining(self) -> int | None:
        """How many items are still to come, as far as the input says; None if it does not."""
        if self.total is None or self.drawn > self.total:  # it was not true
            return None
        return self.total - self.drawn

    @property
    def is_slow(self) -> bool:
        """Whether the input takes so long that nothing should wait for it."""
        return self.seconds > SLOW

    @property
    def was_slow(self) -> bool:
        """Whether it may do so again: many inputs give some items at once, and then none."""
        return self.slowness > SLOW

    def is_over(self) -> bool:
        """Tell whether no item comes any more."""
        if self.ended or not self.indexed:
            return self.ended
        return self.drawn >= _length(self._wholes) and not self._has_changed()

    def _has_changed(self) -> bool:
        """Tell whether what was copied has another size now, for which its iterator raises."""
        return self._original is not None and len(self._original) != len(self._wholes[0])

    def fail(self, error: Exception) -> None:
        """Keep *error*, which the input has raised, and end."""
        self.error = error
        self.ended = True

    def here(self, n: int) -> Any:
        """Return up to *n* items for the caller, who runs their tasks itself, in order."""
        return self.take(n) if self.indexed else Unread(self, 1 if self.was_slow else n)

    def took(self, seconds: float) -> None:
        """Learn how long the input took when it was asked last."""
        self.seconds = seconds
        self.slowness = max(seconds, FADING * self.slowness)

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
        if self._has_changed():
            name = "Set" if type(self._original) is set else "dictionary"  # as Python says it
            self.fail(RuntimeError(f"{name} changed size during iteration"))
            return ()
        end = max(self.drawn, min(self.drawn + n, _length(self._wholes)))
        if len(self._wholes) == 1 and type(self._wholes[0]) not in (list, tuple):
            part: Any = self._wholes[0][self.drawn : end]  # of a range or an array: sent as such
        else:
            part = Window(self._wholes, self.drawn, end)
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
                if _is_fleeting(taken[0]):
                    self.fleeting = True
                    break
                block *= 8
                now = perf_counter()
        except Exception as error:
            self.fail(error)
        self.took(perf_counter() - began)
        return taken


def _is_indexed(iterable: Any) -> bool:
    """Tell whether all of *iterable* lies in memory, at positions."""
    if type(iterable) in _INDEXED:
        return True
    array = getattr(imported("numpy"), "ndarray", None)
    return type(iterable) is array and iterable.ndim > 0


_INDEXED = frozenset((list, tuple, range, str, bytes))

# What lies in memory, too, but has no positions: copied, and looked at for changes.
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_CONTAINERS = (dict, set, frozenset, *_VIEWS)


def _is_fleeting(item: Any) -> bool:
    """Tell whether *item* is, or holds, a group of `groupby`: empty when the next is drawn.

    As one of several arguments, with its number, or as that of a task for `pcall`.
    """
    parts = [item]
    for _ in range(DEEPEST):
        if _GROUP in map(type, parts):
            return True
        parts = [part for whole in parts if type(whole) is tuple for part in whole[:FIRST]]
    return False


def _shortest(iterables: Sequence[Iterable[Any]]) -> int | None:
    """Return the length of the shortest, None unless all that end say how long they are."""
    lengths = []
    for iterable in iterables:
        try:
            lengths.append(len(iterable))  # type: ignore[arg-type]
        except Exception:  # it is only a hint
            return None
    return min(lengths)

"""Parts of the input, as chunks hold them: of what lies in memory, or not drawn yet."""

from __future__ import annotations

from itertools import chain, filterfalse, groupby, islice
from time import perf_counter, thread_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from .source import Source


MOMENT = 0.002  # seconds for which items are drawn that nobody will run
CHEAP = 2e-5  # seconds in which an item is drawn: the others in its chunk are not timed
DEEPEST, FIRST = 4, 8  # tuples in tuples, and the first of each, that are looked at for groups
_GROUP = type(next(groupby("a"))[1])


class Slice:
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
        return items if self._end >= length_of(wholes) else islice(items, self._end - begin)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            begin, end, _ = position.indices(len(self))
            return Slice(self._wholes, self._begin + begin, self._begin + end)
        at, wholes = self._begin + position, self._wholes
        return wholes[0][at] if len(wholes) == 1 else tuple(whole[at] for whole in wholes)

    def __reduce__(self) -> tuple[Any, ...]:
        if length_of(self._wholes) < self._end:
            raise RuntimeError("the input became shorter during the call")
        part = slice(self._begin, self._end)
        if len(self._wholes) == 1:
            return _itself, (self._wholes[0][part],)
        return _itself, (list(zip(*(whole[part] for whole in self._wholes), strict=True)),)

    def ends_at(self, position: int) -> bool:
        """Tell whether the input has, as things stand, no item at *position* of this part."""
        return self._begin + position >= length_of(self._wholes)

    def reaching(self, position: int) -> Slice:
        """Return the part from the same beginning up to *position*, in a list that has grown."""
        return Slice(self._wholes, self._begin, self._begin + position)


def length_of(wholes: Sequence[Sequence[Any]]) -> int:
    return len(wholes[0]) if len(wholes) == 1 else min(map(len, wholes))


def _from(whole: Sequence[Any], begin: int) -> Iterator[Any]:
    """Return an iterator over *whole* from position *begin* on."""
    if type(whole) not in (list, tuple):
        return iter(whole[begin:])
    items: Any = iter(whole)
    if begin:
        items.__setstate__(begin)  # goes there at once; `islice` would step
    return items  # type: ignore[no-any-return]


def _itself(items: Any) -> Any:
    return items


class LazyItems:
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

    def draw(self) -> list[Any]:
        """Draw what nobody will run, if it comes in a moment; return the items, and count them."""
        due = perf_counter() + MOMENT
        try:
            for _ in islice(self, self._size):
                if perf_counter() > due:
                    break
            else:
                self.ends_at(self._size - 1)
        except Exception as error:
            self._source.fail(error)
        return self.settle()

    def settle(self) -> list[Any]:
        """Return the items that were drawn, and count them."""
        self._source.drawn += len(self.drawn)
        self._source.took(self._longest)
        self._source.spent += self.seconds
        if self.drawn and is_fleeting(self.drawn[0]):
            self._source.fleeting = True
        return self.drawn


def is_fleeting(item: Any) -> bool:
    """Tell whether *item* is, or holds, a group of `groupby`: empty when the next is drawn.

    As one of several arguments, with its number, or as that of a task for `pcall`.
    """
    parts = [item]
    for _ in range(DEEPEST):
        if _GROUP in map(type, parts):
            return True
        parts = [part for whole in parts if type(whole) is tuple for part in whole[:FIRST]]
    return False

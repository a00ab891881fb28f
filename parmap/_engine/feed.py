"""What the engine asks of where its tasks come from, and all that it asks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class Feed:
    """Where the tasks of a call come from: a `Source` of iterables, or an `Inbox`.

    Only the thread that advances the `Run` takes from it.

    Attributes:
        drawn: how many items were handed out; the run may correct it.
        total: how many there will be in all; None if that is not known.
        remaining: how many of them are still to come; None if that is not known.
        ended: whether no item comes any more.
        later: whether there may be items after it had none to give, without having ended.
        error: what the input raised; nothing is drawn after it.
        indexed: whether all of it lies in memory, so that to draw ahead of the tasks runs no code
            of the caller's.
        fleeting: whether an item is of no use any more once the next is drawn.
        seconds: how long it took when it was asked last.
        is_slow: whether it takes so long that nothing should wait for it.
        was_slow: whether it may do so again: many inputs give some items at once, and then none.
        asked: how long it took in all while tasks ran here, and `is_asked`: at this moment.
        wake: where `later` may be, set by the run, to be called by who has something for it.
    """

    drawn = 0
    total: int | None = None
    remaining: int | None = None
    ended = False
    later = False
    error: Exception | None = None
    indexed = True
    fleeting = False
    seconds = 0.0
    is_slow = was_slow = False
    asked = 0.0
    is_asked = False
    wake: Callable[[], object]

    def take(self, n: int) -> Sequence[Any]:
        """Return up to *n* items for tasks that run elsewhere, none after the end or an error.

        At least one, if one can be had without waiting for other threads.
        """
        raise NotImplementedError

    def here(self, n: int) -> Sequence[Any]:
        """Return up to *n* items for the caller, who runs their tasks itself, in order."""
        return self.take(n)

    def fail(self, error: Exception) -> None:
        """Keep *error*, and end; asked only where items are `fleeting`."""
        raise NotImplementedError

    def wait(self) -> None:
        """Wait until there is an item or the end; asked only while it is `later`."""
        raise NotImplementedError

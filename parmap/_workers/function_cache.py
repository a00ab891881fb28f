"""The functions that a worker has loaded, and how much of them is kept when no call uses them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEPT = 256 * 2**20
"""Bytes of functions that are kept when no call uses them: in all workers together, or in each of
another's pool.  More cost memory, with less they are sent again."""

SMALL = 2**20  # bytes that a function takes at least, whatever its pickle
SWELL = 6  # times the size of its pickle that a function takes: a list of floats 5, as measured
HANDLE = 2**24  # bytes that a descriptor counts for: a process may have 1,024
RESTED = 60.0  # seconds without a task after which a worker keeps nothing


class FunctionCache(dict[bytes, tuple["Any", int]]):
    """The calls that a process has loaded, and their sizes, by digest; last the one used last."""

    def use(self, digest: bytes) -> Any:
        """Return the call with this *digest*, which is the one used last from now on."""
        entry = self[digest] = self.pop(digest)
        return entry[0]

    def drop(self, *digests: bytes) -> None:
        """Let go of the calls with these digests; of all, without."""
        gone = [self.pop(digest, (None, 0))[1] for digest in digests or list(self)]
        if sum(gone) >= SMALL:
            import gc

            gc.collect()  # functions and their globals hold each other

    def trim(self) -> None:
        """Let go of the calls not used for longest, but not of the last, if they take too much."""
        while len(self) > 1 and sum(size for _, size in self.values()) > KEPT:
            self.drop(next(iter(self)))

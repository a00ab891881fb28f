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


class FunctionCache:
    """The calls that a process has loaded, by digest, the one used last at the end."""

    def __init__(self) -> None:
        self._calls: dict[bytes, tuple[Any, int]] = {}

    def __contains__(self, digest: object) -> bool:
        return digest in self._calls

    def __bool__(self) -> bool:
        return bool(self._calls)

    def get(self, digest: bytes) -> Any:
        """Return what is kept for *digest*, which is the one used last from now on."""
        entry = self._calls[digest] = self._calls.pop(digest)
        return entry[0]

    def put(self, digest: bytes, call: Any, size: int) -> None:
        """Keep *call*, which takes so many bytes."""
        self._calls[digest] = call, size

    def drop(self, *digests: bytes) -> None:
        """Let go of the calls with these digests; of all, without."""
        gone = [self._calls.pop(digest, (None, 0))[1] for digest in digests or [*self._calls]]
        if sum(gone) >= SMALL:
            import gc

            gc.collect()  # functions and their globals hold each other

    def trim(self) -> None:
        """Let go of the calls not used for longest, but not of the last, if they take too much."""
        while len(self._calls) > 1 and sum(size for _, size in self._calls.values()) > KEPT:
            self.drop(next(iter(self._calls)))

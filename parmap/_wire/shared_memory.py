"""Large buffers in memory that several processes map."""

from __future__ import annotations

import mmap
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


ALIGNED = 64  # bytes: what vector instructions like, and a line of the cache
BLOCK = 2**16  # bytes to compare at once: they stay in the cache


class Region:
    """Buffers in a file of memory without a name, which it owns: any process may map it."""

    __slots__ = ("__weakref__", "fd", "name", "sizes")

    def __init__(self, buffers: Sequence[memoryview]) -> None:
        """Copy *buffers*; raise OSError, or AttributeError, if there is no such memory here."""
        self.name = os.urandom(16)
        self.sizes = [len(buffer) for buffer in buffers]
        self.fd = os.memfd_create("parmap-region")
        for begin, buffer in zip(_begins(self.sizes), buffers, strict=True):
            done = 0
            while done < len(buffer):
                done += os.pwrite(self.fd, buffer[done:], begin + done)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    def holds(self, buffers: Sequence[memoryview]) -> bool:
        """Tell whether these are *buffers*, byte for byte."""
        with mmap.mmap(self.fd, 0, prot=mmap.PROT_READ) as memory, memoryview(memory) as whole:
            return self.sizes == [len(buffer) for buffer in buffers] and all(
                # of two memoryviews each item would be compared; a bytearray compares memory
                bytearray(whole[begin + i : begin + min(i + BLOCK, len(buffer))])
                == buffer[i : i + BLOCK]
                for begin, buffer in zip(_begins(self.sizes), buffers, strict=True)
                for i in range(0, len(buffer), BLOCK)
            )


def open_region(fd: int, sizes: Sequence[int]) -> list[memoryview]:
    """Map the buffers of a region, for reading, and for writing to copies of its pages."""
    whole = memoryview(mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE))
    os.close(fd)
    begins = _begins(sizes)
    return [whole[begin : begin + size] for begin, size in zip(begins, sizes, strict=True)]


def _begins(sizes: Sequence[int]) -> list[int]:
    """Return where in a region buffers of these *sizes* begin."""
    room = [-(-size // ALIGNED) * ALIGNED for size in sizes]
    return [sum(room[:n]) for n in range(len(room))]

"""What tasks have written, as bytes on the way from a worker to the caller: records in a row.

::

    record   5 bytes: what it is, and the size of what follows
             text, or bytes, or a pickle

A row may end in the middle of a record, for a worker may die while it writes one.
"""

from __future__ import annotations

import os
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

OUT, ERR, LOG, WARNING, CUT = range(5)
"""Text, as UTF-8, for `sys.stdout` and for `sys.stderr`; a record of `logging`; a warning; how many
bytes more a task has written than are kept."""

RECORD = Struct("<BI")
SIZE = Struct("<I")  # the end of that
NO_TASK = -1
"""The index for what no task has written: modules while they are imported, an initializer."""

LIMIT = 2**16
"""Bytes to keep of one task: a screen of text a second for a minute.  More would be held for all
tasks that are finished before their turn; who prints more wants a file."""

UTF8 = "utf-8", "surrogatepass"  # what a task prints need be no valid text

_secret = os.urandom(8)  # another one in each interpreter of this process


def home() -> tuple[int, bytes]:
    """Return what tells this interpreter from all others."""
    return os.getpid(), _secret


def record(kind: int, data: bytes) -> bytes:
    """Return a record of *data*."""
    return RECORD.pack(kind, len(data)) + data


def records(row: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and data of each record, those of the same text in one."""
    position, before, parts = 0, -1, list[bytes]()
    while position + RECORD.size <= len(row):
        kind, size = RECORD.unpack_from(row, position)
        position += RECORD.size
        data = row[position : position + size]
        if kind > ERR and len(data) < size:
            break  # a pickle is of use only if it is whole
        position += size
        if parts and (kind != before or kind > ERR):
            yield before, b"".join(parts)
            parts.clear()
        before = kind
        parts.append(data)
    if parts:
        yield before, b"".join(parts)

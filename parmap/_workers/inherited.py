"""The state of `numpy.random` that a forked process has: that of its parent, and of its siblings.

Python gives `random` a new one in such a process, NumPy does not.  So the workers of a pool that
was forked would all draw the same numbers.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_inherited: bytes | None = None


def _keep() -> None:
    global _inherited
    _inherited = _state()


def _state() -> bytes | None:
    try:
        from pickle import dumps

        return dumps(_generator().state)  # without its lock, which the parent's thread may have had
    except Exception:  # NumPy's is not imported, or not all of it
        return None


def _generator() -> Any:
    return sys.modules["numpy.random.mtrand"].get_bit_generator()


def part_ways() -> None:
    """In a worker of a pool: give `numpy.random` a state of its own, if nobody has done so yet."""
    global _inherited
    inherited, _inherited = _inherited, None
    if inherited is not None and inherited == _state():
        lock = _generator().lock
        if lock.acquire(blocking=False):  # else it was forked in the middle of a draw
            lock.release()
            sys.modules["numpy.random.mtrand"].seed()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep)

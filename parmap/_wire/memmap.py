"""How arrays travel that are files: as the place in the file, not as what stands there.

So tasks that write to such an array write to the file, and nothing of it is read into memory.
Assumed: a map whose content may not be that of its file (copy-on-write, or the file has no name
any more, or another one has it) is sent as any other array.
"""

from __future__ import annotations

import os
from contextlib import suppress
from weakref import WeakKeyDictionary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


PROTOCOL = 5  # of pickle: the first with out-of-band buffers (PEP 574)
_known: WeakKeyDictionary[Any, tuple[int, int]] = WeakKeyDictionary()  # files that maps are of


def of_numpy(numpy: Any) -> dict[type, Callable[[Any], Any]]:
    """Return how arrays are reduced, for a pickler's table."""
    kinds = {numpy.ndarray, numpy.memmap}

    def reduce_array(array: Any) -> Any:
        base = array.base
        if base is not None and (type(base) in kinds or type(array) is numpy.memmap):
            whole = array
            while type(whole.base) in kinds:
                whole = whole.base
            if type(whole) is numpy.memmap and (place := _place(array, whole)):
                return _open, (*place, type(array) is numpy.memmap)
        return array.__reduce_ex__(PROTOCOL)

    return dict.fromkeys(kinds, reduce_array)


def _place(array: Any, whole: Any) -> tuple[Any, ...] | None:
    """Return where the bytes of *array* are, a part of the map *whole*; None if in no file."""
    mode = {"r": "r", "r+": "r+", "w+": "r+"}.get(whole.mode)
    if mode is None or not array.size or array.dtype.hasobject or not _is_file(whole):
        return None
    steps = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
    before = -sum(step for step in steps if step < 0)  # bytes of it that lie before its first item
    first = _address(array) - _address(whole)
    size = before + sum(step for step in steps if step > 0) + array.itemsize
    form = array.dtype, array.shape, array.strides, array.flags.writeable
    return str(whole.filename), mode, whole.offset + first - before, size, before, form


def _open(
    name: str, mode: Any, offset: int, size: int, before: int, form: tuple[Any, ...], is_map: bool
) -> Any:
    import numpy as np

    dtype, shape, strides, writeable = form
    whole = np.memmap(name, np.uint8, mode, offset, size)
    array = np.ndarray(shape, dtype, whole, before, strides)
    if is_map:
        array = array.view(np.memmap)
        vars(array).update(vars(whole))
    if not writeable:
        array.flags.writeable = False
    return array


def _address(array: Any) -> Any:
    return array.__array_interface__["data"][0]


def _is_file(whole: Any) -> bool:
    """Tell whether the map *whole* is of the file that has its name now."""
    try:
        status = os.stat(whole.filename)
        file = status.st_dev, status.st_ino
        if whole.base not in _known:
            if _mapped(_address(whole)) not in (None, os.path.realpath(whole.filename)):
                return False
            _known[whole.base] = file
        return _known[whole.base] == file
    except (OSError, TypeError):  # it has no name, or no longer
        return False


def _mapped(address: int) -> str | None:
    """Return the path of the file that is mapped at *address*; None where no system tells."""
    with suppress(OSError), open("/proc/self/maps") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            begin, _, end = fields[0].partition("-")
            if int(begin, 16) <= address < int(end, 16):
                return fields[5] if len(fields) > 5 else ""
    return None

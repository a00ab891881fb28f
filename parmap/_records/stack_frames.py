"""Which frames of a stack are ours: they say nothing to a user, and are not shown."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, TracebackType
    from typing import Any

PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
"""What the names of our own source files begin with."""


def is_ours(code: CodeType) -> bool:
    """Tell whether *code* is of this package."""
    return code.co_filename.startswith(PACKAGE)


def skip_ours(traceback: TracebackType | None) -> TracebackType | None:
    """Return what is left of *traceback* below our first frames; None if all are ours."""
    while traceback is not None and is_ours(traceback.tb_frame.f_code):
        traceback = traceback.tb_next
    return traceback


def traceback_of(error: BaseException) -> Any:
    """Return the traceback of *error*, whatever its class makes of the attribute."""
    return BaseException.__getattribute__(error, "__traceback__")


def shorten(error: BaseException) -> None:
    """Leave of what *error* came through the frame of the door that calls this, and the task's.

    Ours between them hold the exception in a circle, too.  A fault of our own keeps its frames.
    """
    door = traceback_of(error)
    inner = skip_ours(door)
    if inner is None and not isinstance(error, KeyboardInterrupt):
        last = door
        while last.tb_next is not None:
            last = last.tb_next
        if last.tb_frame.f_code.co_name != "unwrap":
            return
    door.tb_next = inner


def warn(text: str) -> None:
    """Warn the caller of parmap, whose line is shown."""
    from warnings import warn

    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and is_ours(frame.f_code):
        frame, level = frame.f_back, level + 1
    warn(text, RuntimeWarning, stacklevel=level)

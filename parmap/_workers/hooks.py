"""Where records of `logging` and warnings of tasks are caught, in a worker.

Imported only where the caller uses one of them.  Loggers have the levels that the caller's have.  A
handler of the worker's own still handles the records, unless the caller's logger of that name has
one of its kind, which will.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from .._records.c_modules import pickle
from .._records.written import LOG, WARNING
from .._wire.pickling import dumps, loads
from .environment import filter_by, filters_of, has_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger, LogRecord
    from typing import Any

    from .capture import Capture

    Loggers = tuple[dict[str, int], int, dict[str, tuple[str, ...]]]

PLAIN = (str, int, float, bool, type(None))
_NOTHING: Any = {"root": 30}, 0, {}  # as a program begins: only warnings, and no handler

_entered: Any = _NOTHING  # what the caller has said last
_before: Any = None  # the levels of a process that is not ours
_filters: list[Any] | None = None  # and its filters of warnings
_call_handlers: Any = None  # what was there before ours
_showwarning: Any = None
_warned = True  # something was shown, by ours or by others' functions, and would not be again


_current: Callable[[], Capture | None]


def enter(
    loggers: Loggers | None,
    current: Callable[[], Capture | None],
    *,
    with_warnings: bool,
    lent: bool,
) -> None:
    """Let loggers be as the caller's, see `relay`, and warnings be said anew.

    What *current* returns captures them.
    """
    global _before, _current
    _current = current
    if with_warnings or "warnings" in sys.modules:
        _catch_warnings(lent=lent)
    if loggers is None and "logging" not in sys.modules:
        return
    import logging

    _catch_records(logging.Logger)
    if lent and _before is None:
        every = logging.root.manager.loggerDict.copy().items()
        levels = {name: getattr(logger, "level", logging.NOTSET) for name, logger in every}
        _before = {"root": logging.root.level, **levels}, logging.root.manager.disable, {}
    _set(loggers or _NOTHING)


def are_set() -> bool:
    """Tell whether `enter` would change nothing, if the caller said the same again."""
    return (
        not _warned
        and sys.modules["warnings"].showwarning is _relay_warning
        and (_call_handlers is not None or "logging" not in sys.modules)
    )


def leave() -> None:
    """Let loggers and filters of warnings be as they were."""
    global _before, _filters
    if _filters is not None:
        filter_by(_filters)
        _filters = None
    if _before is not None:
        _set(_before)
        _set(_NOTHING, only_remember=True)
        _before = None


def _set(loggers: Any, *, only_remember: bool = False) -> None:
    """Set what differs from what was said last: the rest may have been set by an initializer."""
    global _entered
    import logging

    (levels, disabled, _), (old, was_disabled, _) = loggers, _entered
    if not only_remember:
        for name in levels.keys() | old.keys():
            level = levels.get(name, logging.NOTSET)
            if level != old.get(name, logging.NOTSET):
                logging.getLogger(name if name != "root" else None).setLevel(level)
        if disabled != was_disabled:
            logging.disable(disabled)
    _entered = loggers


def _catch_records(logger: type[Logger]) -> None:
    global _call_handlers
    if _call_handlers is None:  # once: who replaces ours later may call it
        _call_handlers = logger.callHandlers
        logger.callHandlers = _relay_record  # type: ignore[method-assign]


def _relay_record(self: Logger, record: LogRecord) -> None:
    """Do what `Logger.callHandlers` does: with the caller's handlers, and those it has not."""
    if (capture := _current()) is None:
        _call_handlers(self, record)
        return
    served = theirs = False
    logger: Logger | None = self
    while logger is not None:
        kinds = _entered[2].get(logger.name, ())
        theirs = theirs or bool(kinds)
        for handler in logger.handlers:
            if type(handler).__name__ not in (*kinds, "NullHandler"):
                served = True
                if record.levelno >= handler.level:
                    handler.handle(record)
        logger = logger.parent if logger.propagate else None
    if theirs or not served:
        try:
            data = _packed(record)
        except Exception:  # of arguments that do not fit the message, say
            import logging

            logging.Handler().handleError(record)
        else:
            capture.add(LOG, data)


def _packed(record: LogRecord) -> bytes:
    """Return *record* as bytes: what is not plain apart, for it may not arrive."""
    fields = {**vars(record), "msg": record.getMessage(), "args": None, "exc_info": None}
    if record.exc_info and not record.exc_text:
        import logging

        fields["exc_text"] = logging.Formatter().formatException(record.exc_info)
    odd = {name: value for name, value in fields.items() if type(value) not in PLAIN}
    for name, value in odd.items():
        try:
            loads(data := dumps(value))
            fields[name] = data
        except Exception:
            fields[name] = dumps(repr(value))
    return pickle.dumps((fields, list(odd)))


def _catch_warnings(*, lent: bool) -> None:
    """Catch what is shown; and what was said in an earlier call shall be said in this.

    In a process that is lent nothing is filtered meanwhile: the caller does it.  One of a pool of
    ours has the caller's filters.
    """
    global _showwarning, _warned, _filters
    import warnings

    lifts = lent and not has_state()
    lifts_now = lifts and _filters is None
    # One that was set after ours, as by `logging.captureWarnings`, may call ours.
    if _showwarning is None or warnings.showwarning is _showwarning:
        _showwarning = warnings.showwarning
        warnings.showwarning = _relay_warning
    if not lifts_now and not _warned and warnings.showwarning is _relay_warning:
        return  # to change the filters costs more than all else here
    _warned = False
    now = list(filters_of(warnings))
    if lifts_now:
        _filters = now
    filter_by([] if lifts else now)


def _relay_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    global _warned
    _warned = True
    if file is not None or (capture := _current()) is None:
        _showwarning(message, category, filename, lineno, file, line)
        return
    data = b""
    with suppress(Exception):  # then its text is all that arrives
        loads(data := dumps((message, category)))
    told = f"{category.__name__}: {message}", filename, lineno, data
    capture.add(WARNING, pickle.dumps(told))

"""What tasks have written in other processes, written again here: an observer with a memory.

It stands where `Observers` may stand, and tells those, too.

Guaranteed: it writes only in the thread that advances the run, or in one that closes it; each row
of records as a whole; in the order of the tasks if that is asked for, unless more than `HELD` bytes
would have to wait for their turn.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from collections import deque

from .._records.c_modules import pickle
from .._records.machine import imported
from .._records.written import (
    CUT,
    ERR,
    LOG,
    NO_TASK,
    OUT,
    UTF8,
    WARNING,
    home,
    records,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Batch, Chunk, Report
    from .dispatch import Observers

_terms: dict[tuple[Any, ...], bytes] = {}  # pickled, of calls with logging as it is at first

HELD = 2**26
"""Bytes that may wait for their turn.  More keeps the order for longer, less keeps memory free."""


class Relay:
    """Writes what tasks have written; *at_once*, or in the order of the tasks.

    It is told of all that `Observers` are told of, and tells *others*.
    """

    def __init__(self, *, at_once: bool, ordered: bool, others: Observers | None = None) -> None:
        self.live = at_once
        self._ordered = ordered and not at_once
        self._others = others
        self._heard: deque[tuple[int, bytes]] = deque()  # to be written now; from any thread
        self._held: dict[int, bytes] = {}
        self._order: list[int] = []  # of what is held, as a heap
        self._size = 0
        self._next = 0  # all tasks before are done
        self._ends: dict[int, int] = {}  # of others, in runs: from the first to behind the last
        self._thread = get_ident()
        # These are of no interest here; `id` does nothing, quickly.
        self.sent: Callable[[Chunk], object] = id if others is None else others.sent
        self.lost: Callable[..., object] = _ignore if others is None else others.lost

    def terms(self) -> bytes:
        """Return what a worker must know, as bytes, for `capture`."""
        terminals = tuple(_is_terminal(stream) for stream in (sys.stdout, sys.stderr))
        terms = home(), self.live, terminals, imported("warnings") is not None
        if (loggers := _loggers()) is not None:
            return pickle.dumps((*terms, loggers))
        if (known := _terms.get(terms)) is None:
            known = _terms[terms] = pickle.dumps((*terms, None))
        return known

    def hear(self, index: int, row: bytes) -> None:
        """Be told by an executor, in any thread, what is to be written as soon as it can be."""
        if row:
            self._heard.append((index, row))

    def write(self) -> None:
        """Write what was heard, if this is the thread for it: it is the executor that asks."""
        if self._heard and get_ident() == self._thread:
            self._write()

    def reported(self, report: Report) -> None:
        if self.live:
            self._thread = get_ident()
        if self._others is not None:
            self._others.reported(report)
        if report.written:
            for index, row in report.written.items():
                if self._ordered:
                    if index not in self._held:
                        from heapq import heappush

                        heappush(self._order, index)
                    self._held[index] = self._held.get(index, b"") + row
                    self._size += len(row)
                else:
                    self._heard.append((index, row))
            if self._size > HELD:
                self._release(None)
        if self._heard:
            self._write()

    def done(self, batch: Batch) -> None:
        if self._others is not None:
            self._others.done(batch)
        if not self._ordered or batch.error is not None:
            return
        start, end = batch.start, batch.start + len(batch.values)
        if start != self._next:
            self._ends[start] = end
            return
        self._next = end
        while self._ends and (end := self._ends.pop(end, -1)) >= 0:
            self._next = end
        if self._held:
            self._release(self._next)
            self._write()

    def close(self) -> None:
        """Write what is left."""
        try:
            if self._order or self._heard:
                self._release(None)
                self._write()
        finally:
            if self._others is not None:
                self._others.close()

    def _release(self, end: int | None) -> None:
        """Have what waits written, but not that of tasks from *end* on."""
        if self._order:
            from heapq import heappop
        while self._order and (end is None or self._order[0] < end):
            index = heappop(self._order)
            row = self._held.pop(index)
            self._size -= len(row)
            self._heard.append((index, row))

    def _write(self) -> None:
        """Write what was heard, the texts for the same stream at once."""
        kind, texts = -1, list[bytes]()
        with _Aside() as bars:
            while self._heard:
                index, row = self._heard.popleft()
                for now, data in records(row):
                    if now != kind and texts:
                        _write_text(kind, b"".join(texts), whole=False)
                        texts.clear()
                    kind = now
                    if kind <= ERR:
                        texts.append(data)
                    elif kind == LOG:
                        _log(index, data)
                    elif kind == WARNING:
                        _warn(data)
                    elif kind == CUT:
                        _write_text(ERR, _cut(index, int(data)), whole=True)
            if texts:
                _write_text(kind, b"".join(texts), whole=bars.any)


def _ignore(*_: object) -> None:
    pass


def _cut(index: int, size: int) -> bytes:
    whose = "a worker" if index == NO_TASK else f"task {index}"
    return f"parmap: {whose} wrote {size:,} bytes more, which relay=False would show\n".encode()


def _write_text(kind: int, data: bytes, *, whole: bool) -> None:
    """Write *data* to the stream that *kind* means; *whole*: no bar may follow in the line."""
    stream: Any = sys.stdout if kind == OUT else sys.stderr
    if stream is None:
        return
    if whole and not data.endswith(b"\n"):
        data += b"\n"
    try:
        text = data.decode(*UTF8)
    except UnicodeDecodeError:  # no text, or cut
        if (buffer := getattr(stream, "buffer", None)) is not None:
            stream.flush()
            buffer.write(data)
            buffer.flush()
            return
        text = data.decode("utf-8", "replace")
    try:
        stream.write(text)
    except UnicodeEncodeError:  # there is no task any more that it could fail
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


class _Aside:
    """Takes the bars of tqdm away meanwhile, all there are; `any` tells whether there are some."""

    def __enter__(self) -> _Aside:
        tqdm: Any = getattr(imported("tqdm.std"), "tqdm", None)
        self.any = bool(len(getattr(tqdm, "_instances", ())))
        if self.any:
            self._mode: Any = tqdm.external_write_mode(file=sys.stderr)
            self._mode.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.any:
            self._mode.__exit__(*exc_info)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except Exception:  # there is none, or it is closed, or of somebody's own make
        return False


def _loggers() -> Any:
    """Return levels, `logging.disable`, and the kinds of handlers, by logger; None: as at first."""
    logging = imported("logging")
    if getattr(logging, "root", None) is None:
        return None
    root, manager = logging.root, logging.root.manager
    levels, handlers = {"root": root.level}, {}
    every = [("root", root), *manager.loggerDict.copy().items()]
    for name, logger in every:
        if getattr(logger, "level", 0):
            levels[name] = logger.level
        kinds = tuple(type(handler).__name__ for handler in getattr(logger, "handlers", ()))
        if kinds and any(kind != "NullHandler" for kind in kinds):
            handlers[name] = kinds
    if levels == {"root": 30} and not handlers and not manager.disable:
        return None
    return levels, manager.disable, handlers


def _log(index: int, data: bytes) -> None:
    """Hand a record of task *index* to its logger, as if it had been made here."""
    import logging

    fields, odd = pickle.loads(data)
    for name in odd:
        try:
            fields[name] = pickle.loads(fields[name])
        except Exception:  # it can only be had there
            del fields[name]
    made = logging.makeLogRecord(fields)
    made.taskIndex = None if index == NO_TASK else index
    logger = logging.getLogger(made.name if made.name != "root" else None)
    if logger.isEnabledFor(made.levelno):
        logger.handle(made)


_registry: dict[Any, Any] = {}  # of warnings that come from no module that is known here


def _warn(data: bytes) -> None:
    """Warn as its origin would, with the filters that hold here."""
    import warnings

    text, filename, lineno, pickled = pickle.loads(data)
    message: Any
    try:
        message, category = pickle.loads(pickled)
    except Exception:  # it can only be had there
        message, category = text, UserWarning
    module = _module(filename)
    registry = _registry if module is None else vars(module).setdefault("__warningregistry__", {})
    name = None if module is None else module.__name__
    try:
        warnings.warn_explicit(message, category, filename, lineno, name, registry)
    except Warning as error:  # of a worker with filters of its own: it is too late for the task
        if error is not message and not isinstance(error, category):
            raise
        warnings.showwarning(message, category, filename, lineno)


_modules: dict[str, Any] = {}  # by the file


def _module(filename: str) -> Any:
    """Return the module that is defined in *filename*; None if it is not here."""
    if filename not in _modules:
        if filename.startswith("<") or "ipykernel_" in filename:
            return sys.modules.get("__main__")
        for module in list(sys.modules.values()):
            found = getattr(module, "__dict__", {}).get("__file__")
            if isinstance(found, str):
                _modules.setdefault(found, module)
        _modules.setdefault(filename, None)
    return _modules.get(filename)

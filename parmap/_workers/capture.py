"""What tasks write in a worker: kept by task, as it comes, and sent with the answer.

::

    print --> Stream --+
    logging, warnings -+--> Capture --> rows of records, by task --> the answer
                                   +--> the status block: the row of the task that runs

The second copy outlives the worker: what a task wrote before it died is in there.

What is written while nothing is captured (between two requests, in a child that a task forked, and
where the caller does not ask for it) goes to the stream that was there before.
"""

from __future__ import annotations

import io
import os
import sys
from _thread import RLock, get_ident
from contextlib import suppress

from .._records.c_modules import pickle
from .._records.written import (
    CUT,
    ERR,
    NO_TASK,
    OUT,
    UTF8,
    home,
    record,
)
from .status_block import RUNNING, new_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._wire.channel import Message
    from .status_block import Output, Status


class Capture:
    """Keeps what is written while a request is handled, until its `rows` are asked for.

    *status* says which task runs; *output* is where the row of that one is.  If it is *live*, the
    caller reads there meanwhile.

    Attributes:
        task: the first task of the request, or the last that has written.
        ended: whether the tasks have run: what comes now is what *task* has not completed.
    """

    def __init__(self, status: Status, output: Output, *, live: bool) -> None:
        self._status = status
        self._output = output
        self._extend = output.extend
        self._live = live
        self._kind = -1  # of the record at the end of the row, if more may be added to it
        self._index = NO_TASK - 1  # whose row that is: none's
        self.task = NO_TASK
        self.ended = False
        self._rows: dict[int, bytes] = {}  # of the others
        self._cut: dict[int, int] = {}
        self._lock = RLock()
        self._busy = False
        self._late: list[tuple[int, bytes]] = []  # written while we write, by a `__del__`, say

    def add(self, kind: int, data: bytes) -> None:
        """Keep *data*, written by the task that runs."""
        with self._lock:
            if self._busy:
                self._late.append((kind, data))
                return
            self._busy = True
            try:
                more = kind == self._kind and self._status[RUNNING] == self._index
                if not (more and self._extend(data)):
                    self._add(kind, data)
                while self._late:
                    self._add(*self._late.pop(0))
            finally:
                self._busy = False

    def _add(self, kind: int, data: bytes) -> None:
        index = self.task if self.ended else max(int(self._status[RUNNING]), NO_TASK)
        if index != self._index:
            self._turn_to(index)
        if index in self._cut:
            self._cut[index] += len(data)
        elif self._output.append(kind, data):
            self._kind = kind if kind <= ERR and not self._live else -1
        else:
            room = max(0, self._output.room) if kind <= ERR else 0
            while room and data[room] & 0xC0 == 0x80:  # in the middle of a character
                room -= 1
            if room:
                self._output.append(kind, data[:room])
            self._cut[index], self._kind = len(data) - room, -1

    def _turn_to(self, index: int) -> None:
        """Have the row of task *index* where it outlives this process."""
        if self._index >= NO_TASK:
            self._rows[self._index] = self._output.read()[1]
        self._index, self._kind = index, -1
        self.task = max(index, self.task)
        self._output.begin(index, self._rows.get(index, b""))

    def rows(self) -> dict[int, bytes]:
        """Return what was written, by task, with how much was not kept at the end; forget it."""
        if self._index < NO_TASK:
            return {}  # nearly always
        with self._lock:
            self._turn_to(NO_TASK)
            rows = {index: row for index, row in self._rows.items() if row}
            for index, size in self._cut.items():
                rows[index] += record(CUT, str(size).encode())
            self._rows, self._cut, self._index = {}, {}, NO_TASK - 1
            self._output.begin(NO_TASK)
        return rows


class Stream(io.TextIOWrapper):
    """A stream in place of *original*, to whose descriptor it belongs.

    It hands on whole lines.  All languages can be written, whatever the locale.
    """

    def __init__(self, kind: int, original: Any, *, terminal: bool) -> None:
        raw = _Bytes(kind, original)
        super().__init__(raw, *UTF8, newline="\n", line_buffering=True)
        self.mode = "w"  # type: ignore[misc]  # as the interpreter does it
        self.kind = kind
        self.original = original
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal  # whether the caller's is one: there it will be read

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A handler of logging, say, that travels in a result.
        return getattr, (sys, "stdout" if self.kind == OUT else "stderr")


class _Bytes(io.BufferedIOBase):
    """What is `buffer` of a `Stream`."""

    def __init__(self, kind: int, original: Any) -> None:
        self.name = "<stdout>" if kind == OUT else "<stderr>"
        self._kind = kind
        self._original = original

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if type(data) is not bytes:
            data = memoryview(data).tobytes()
        if (capture := _captures.get(get_ident()) or current()) is not None:
            capture.add(self._kind, data)
        elif self._original is not None:
            if (buffer := getattr(self._original, "buffer", None)) is not None:
                buffer.write(data)
            else:
                self._original.write(data.decode("utf-8", "replace"))
            self._original.flush()
        return len(data)

    def fileno(self) -> int:
        if self._original is None:
            raise io.UnsupportedOperation("fileno")
        return int(self._original.fileno())

    def flush(self) -> None:
        """Do nothing: what comes here is written."""


_captures: dict[int, Capture] = {}  # by the thread that handles the request
_streams: dict[str, Stream] = {}
_heard: tuple[bytes, Any] = b"", None  # the terms of the last call
_own: Capture | None = None  # of this call, in a worker of ours: it has one request at a time


def current() -> Capture | None:
    """Return what captures in this thread, or in the process: a task may have threads."""
    found = _captures.get(get_ident())
    if found is None and _captures:
        with suppress(IndexError):  # it ended a moment ago
            return list(_captures.values())[-1]
    return found


def begin(header: tuple[Any, ...], status: Status, output: Output | None = None) -> Capture | None:
    """Capture what this thread, and those of its tasks, write, if the caller wants it.

    The *header* is that of a request.  Without *output* the process is not ours, and `end` leaves
    it as it was.
    """
    global _own
    capture, terms = _own, header[-1]  # None: those of the last request
    if terms is not None:
        capture = None
        with suppress(Exception):  # no descriptor is left, say, to import the hooks
            capture = _prepare(terms, status, output) if terms else None
        if output is not None:
            _own = capture
    if capture is not None:
        capture.task, capture.ended = header[1][0], False
        _captures[get_ident()] = capture
    return capture


def _prepare(terms: bytes, status: Status, output: Output | None) -> Capture | None:
    """Have streams, loggers and warnings lead to the capture that is returned."""
    global _heard
    there = sys.modules.get("parmap._workers.hooks")
    if terms != _heard[0]:
        _heard = terms, pickle.loads(terms)
    elif _own is not None and _leads_here() and (there is None or there.are_set()):
        return _own  # nearly always all is as in the call before
    caller, live, terminals, with_warnings, loggers = _heard[1]
    if caller == home():  # an executor of somebody's own making runs it at once
        return None
    if with_warnings or loggers or there is not None:
        from . import hooks

        hooks.enter(loggers, current, with_warnings=with_warnings, lent=output is None)
    for (name, kind), terminal in zip((("stdout", OUT), ("stderr", ERR)), terminals, strict=True):
        now, ours = getattr(sys, name, None), _streams.get(name)
        if type(now) is Stream:
            now.terminal = terminal
        elif ours is None or output is None:  # else a task has replaced it
            if ours is None or ours.original is not now or ours.closed:
                _streams[name] = ours = Stream(kind, now, terminal=terminal)
            setattr(sys, name, ours)
    return Capture(status, output or new_output(), live=live)


def _leads_here() -> bool:
    return all(type(getattr(sys, name, None)) is Stream for name in ("stdout", "stderr"))


def end(capture: Capture | None, answer: Message, *, lent: bool = False) -> None:
    """Put what was written into *answer*, and capture no more in this thread."""
    if capture is None:
        if not lent:
            _flush()
        return
    capture.ended = True
    _flush()
    _captures.pop(get_ident(), None)
    if rows := capture.rows():
        answer.header = (*answer.header, rows)
    if lent and not _captures:
        if (hooks := sys.modules.get("parmap._workers.hooks")) is not None:
            hooks.leave()
        for name, ours in _streams.items():
            if getattr(sys, name, None) is ours:
                setattr(sys, name, ours.original)


def _flush() -> None:
    """Show what the tasks have printed, if they left us the streams to do so."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S110 - there is none, or it is closed, or of the task's own make
            pass


def _part() -> None:
    """In a child of the worker: nobody asks it for what it writes."""
    _captures.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_part)

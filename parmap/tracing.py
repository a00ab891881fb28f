"""`with trace() as t:` shows what happened in the calls of a block, why, and a picture of it."""

from __future__ import annotations

import os
from threading import Lock
from time import perf_counter

from ._choice.options import tracing
from ._engine import clocked  # noqa: F401 - with what a call needs then, so that none waits for it
from ._observers import dispatch  # noqa: F401 - the same
from ._observers.details import Room
from ._observers.timeline import Timeline
from ._views.figures import figures
from ._views.report import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Token
    from typing import Any, Self

    from ._engine.interfaces import Feed
    from ._records.work import Call
    from ._views.figures import Reading

CALLS = 1_000
"""Calls that a trace keeps; of more it keeps the number."""

SUFFIXES = (".html", ".svg", ".png", ".json")


class trace:  # noqa: N801 - named and used like a function
    """Collect what happens in the calls of parmap in a `with` block.

    `print(t)` is a report of one screen: for the longest call where its tasks ran and why, how much
    faster than the loop that was, where the time went, the slowest tasks with their inputs, and, if
    it gained little, a sentence that says why.  `t.save("trace.html")` writes a page with the
    picture of it.  A notebook shows that by itself.

    All calls in the block's context are seen, from all doors, also those that fail: as with
    `parallel_config`, those in other threads if these have a copy of the context, as those of
    `asyncio.to_thread`, `Pool` and `executor="threads"` have.  Traces nest: the outer one sees what
    the inner one sees.  A call in another process, by a task say, is not seen.

    Each task is timed where it runs, of those that take less than 300 us several together.  That
    costs some per cent of a call of tiny tasks, a call outside of such a block nothing.  A trace
    keeps at most 20,000 chunks, 200,000 moments between tasks, 20,000 inputs as text and 1,000
    calls, some 15 MB; what is more is added up all the same.

    Attributes:
        calls: the figures of each call, in the order in which they began: named tuples with what
            the report says, `tasks`, `elapsed`, `seconds` (of all tasks), `gain`, `moving` and so
            on, in seconds and bytes.

    Example:
        >>> from parmap import pmap, trace
        >>> with trace() as t:
        ...     squares = pmap(lambda x: x * x, range(10))
        >>> t.calls[0].tasks
        10
    """

    __module__ = "parmap"

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        self._calls: list[Timeline] = []
        self._skipped = 0
        self._room = Room()
        self._lock = Lock()
        self._outer: trace | None = None
        self._token: Token[Any] | None = None
        self._process = os.getpid()

    def __enter__(self) -> Self:
        if self.began:
            raise RuntimeError("a trace is of one block: make another with parmap.trace()")
        self._outer, self.began = tracing.get(), perf_counter()
        self._token = tracing.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = perf_counter()
        if self._token is not None:
            tracing.reset(self._token)
        self._token = self._outer = None

    def watch(self, call: Call, source: Feed) -> Timeline | None:
        """Return what is to observe *call*, which begins; None if nothing is: for `launch`."""
        if self.ended or os.getpid() != self._process:  # in a context that was copied
            return None if self._outer is None else self._outer.watch(call, source)
        timeline = None if self._outer is None else self._outer.watch(call, source)
        with self._lock:
            if len(self._calls) >= CALLS:
                self._skipped += 1
                return timeline
            timeline = timeline or Timeline(call, source, self._room)
            self._calls.append(timeline)
        return timeline

    @property
    def calls(self) -> list[Reading]:
        """The figures of each call."""
        return [figures(call) for call in self._calls]

    def __str__(self) -> str:
        return report(self._calls, self._skipped)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from ._views.page import cell

        return cell(self._calls, str(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to the file *path*, as its suffix says.

        `.html`: a page that needs no network, with a row for each worker and a bar for each chunk
        and, when one looks closer, for each task.  `.svg`: the same picture as it stands; `.png`:
        likewise, drawn by Matplotlib.  `.json`: trace events for https://ui.perfetto.dev and
        `chrome://tracing`.

        Raises:
            ValueError: the suffix is another.
            ImportError: Matplotlib is not installed, for `.png`.
        """
        name = os.fspath(path)
        suffix = os.path.splitext(name)[1].lower()
        if suffix not in SUFFIXES:
            known = ", ".join(SUFFIXES)
            raise ValueError(f"a trace is saved as one of {known}, got {name!r}")
        if suffix == ".png":
            from ._views.png import png

            png(self._calls, name)
            return
        if suffix == ".html":
            from ._views.page import page

            whole = page(self._calls, str(self))
        elif suffix == ".svg":
            from ._views.svg import svg

            whole = svg(self._calls, str(self))
        else:
            from ._views.chrome import chrome

            whole = chrome(self._calls, str(self))
        with open(name, "w", encoding="utf-8") as file:
            file.write(whole)

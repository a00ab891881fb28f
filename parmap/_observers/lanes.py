"""What each worker did in a call, in seconds: added up as it comes, and drawn as bars."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._records.events import Reported

Bar = namedtuple(
    "Bar",
    "start tasks attempts moved began ended back sent bytes failed mark marks joined",
)
"""A chunk, or *joined* ones: *mark* is where its marks begin, *marks* how many there are.  From
*moved* to *began* its input was on the way, from *ended* to *back* its results."""

CABLE = 1e-9
"""Seconds that a byte takes at most between two processes: 0.4 ns are usual for large arrays."""

ROUND_TRIP = 2e-4
"""Seconds that a small message and its answer take at most if nobody is busy."""

SLOW_CABLE = 1e-8  # the same of a pool that puts all into one queue, on a busy machine
BOOT = 0.005  # seconds before the first request of a worker of a pool that are taken for its start
LOAD = 2e-4  # seconds from which on what precedes the input is taken for loading


class Lane:
    """One worker in one call: a process, a thread, the caller, or a place on an event loop.

    Attributes:
        kind: `"caller"`, `"process"`, `"thread"` or `"slot"`.
        began, ready: when it was started, and was seen to answer, if that was in this call.
        free: when it had nothing to do any more.
        seconds, cpu: of its tasks, as many as *tasks*; *moving*, *loading*, *starting*: besides.
        loads: when it began and ended to load.
    """

    def __init__(self, kind: str, worker: int, thread: int | None, free: float) -> None:
        self.kind = kind
        self.worker = worker
        self.thread = thread
        self.free = free
        self.began = self.ready = 0.0
        self.tasks = 0
        self.seconds = self.cpu = self.moving = self.loading = self.starting = 0.0
        self.loads: list[tuple[float, float]] = []
        self.bars: list[Bar] = []

    def starts(self, began: float, ready: float) -> None:
        """Be told that it was started by this call."""
        self.began, self.ready = began, ready
        self.starting += ready - began
        self.free = max(self.free, ready)

    def loaded(self, at: float, seconds: float) -> None:
        """Be told that it has loaded the function, before it has tasks."""
        self.loading += seconds
        self.loads.append((at - seconds, at))
        self.free = max(self.free, at)

    def ran(self, event: Reported, sent_at: float, *, pooled: bool) -> tuple[float, float]:
        """Add what *event* tells of tasks that were sent at that time; *pooled*: to a pool.

        Returns since when their input was on the way, and until when their results were.
        """
        timing, ended = event.timing, event.began + event.seconds
        first = not self.tasks
        self.tasks += event.tasks
        self.seconds += event.seconds
        self.cpu += event.cpu
        if timing is None or not timing.received:
            self.free = max(self.free, ended)
            return event.began, ended
        moved = max(self.free, sent_at)
        waited = timing.received - moved
        if pooled and first and waited > BOOT + SLOW_CABLE * timing.sent:
            self.starting += waited  # a pool's, of whose start nobody told
            self.began, self.ready = timing.received - waited, timing.received
            moved = timing.received
        else:
            self.moving += max(0.0, waited)
        loading = timing.loaded - timing.received
        if loading > LOAD:
            self.loading += loading
            self.loads.append((timing.received, timing.loaded))
            moved = max(moved, timing.loaded)
        else:
            self.moving += loading
        self.moving += max(0.0, event.began - timing.loaded) + max(0.0, timing.packed - ended)
        back = min(event.at - timing.packed, timing.unpacking + CABLE * event.bytes + ROUND_TRIP)
        self.moving += max(0.0, back)
        self.free = timing.packed + max(0.0, back)
        return min(moved, event.began), self.free

    def join(self) -> None:
        """Have half as many bars: of two neighbours is made one, without marks."""
        joined = []
        for one, two in zip(self.bars[::2], self.bars[1::2], strict=False):
            joined.append(
                one._replace(
                    tasks=one.tasks + two.tasks,
                    ended=max(one.ended, two.ended),
                    back=max(one.back, two.back),
                    sent=one.sent + two.sent,
                    bytes=one.bytes + two.bytes,
                    failed=one.failed + two.failed,
                    marks=0,
                    joined=one.joined + two.joined,
                )
            )
        self.bars = joined + self.bars[2 * len(joined) :]

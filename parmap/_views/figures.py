"""From what was seen of a call to its figures: where the time went, and what could have been."""

from __future__ import annotations

import os
from collections import namedtuple
from time import perf_counter

from .._records.machine import gil_is_on, usable_cpus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._observers.timeline import Timeline

WAITS = 0.25  # a task with less than this of its time as processor time mostly waits
HELD = 0.75  # of the time of the call, what threads have as processor time that take turns
LONGER = 1.2  # times their processor time, what their tasks take at least then

Figures = namedtuple(
    "Figures",
    "name where why tasks failed total elapsed seconds cpu loop workers cpus lanes chunks shortest "
    "longest moving starting loading waiting input submitting idle sent received slowest tries "
    "crashes timeouts peaks memory own_peak waits held caller error is_over",
)
"""What is known of a call.

name, where, why        of the function; where the tasks ran, and why there
tasks, failed, total    finished for good, those of them that failed, and how many there are or None
elapsed                 seconds from the begin of the call to its end
seconds, cpu, loop      of all tasks: seconds, processor time, and what the loop would have taken
workers, cpus, lanes    tasks at a time, usable CPUs, and workers that ran a task
chunks, shortest, longest   how many, and of how many tasks
moving, starting, loading, waiting   seconds of workers besides tasks
input, submitting, idle seconds of the caller: for the input, to send, and outside of parmap
sent, received          bytes to the workers and back
slowest                 of some tasks: seconds, index, first index of a group, input
tries, crashes, timeouts
peaks, memory, own_peak bytes: at most, by worker process; of this machine, or 0; of this process
waits, held             whether tasks mostly wait; whether threads waited for Python's lock
caller                  whether all ran in the caller
error                   what the call raised before it began
"""


class Reading(Figures):
    """The figures of a call, with what follows from them."""

    __slots__ = ()

    @property
    def gain(self) -> float:
        """How many times as fast as the loop it was."""
        return float(self.loop / self.elapsed) if self.elapsed > 0 else 1.0

    @property
    def limit(self) -> int:
        """How many times as fast as the loop so many workers can be on this machine."""
        return max(1, int(self.workers if self.waits else min(self.workers, self.cpus)))

    @property
    def mean(self) -> float:
        """Seconds of a task."""
        return float(self.seconds / self.tasks) if self.tasks else 0.0

    @property
    def capacity(self) -> float:
        """Seconds that the workers had in all."""
        return float(self.seconds + self.moving + self.starting + self.loading + self.waiting)


def figures(call: Timeline) -> Reading:
    """Return the figures of *call*, which may still go on."""
    elapsed = (call.ended or perf_counter()) - call.began
    lanes = [lane for lane in call.lanes if lane.tasks]
    total = {
        name: sum(getattr(lane, name) for lane in call.lanes)
        for name in ("seconds", "cpu", "moving", "starting", "loading")
    }
    seconds, cpu = total["seconds"], total["cpu"]
    kinds = {lane.kind for lane in lanes}
    caller = kinds <= {"caller"}
    turns = kinds & {"thread"} and gil_is_on() and seconds > LONGER * cpu
    held = bool(turns and cpu > HELD * elapsed)
    busy = sum(total.values()) - cpu
    beside = max(1, len(lanes), min(call.workers, len(call.lanes)))
    if not caller:
        beside = min(beside, max(1, call.workers))
    last = call.choices[-1] if call.choices else None
    return Reading(
        name=call.name,
        where=last.where if last else "",
        why="; then ".join(choice.why for choice in call.choices[-2:]),
        tasks=call.done,
        failed=call.failed,
        total=call.total,
        elapsed=elapsed,
        seconds=seconds,
        cpu=cpu,
        loop=cpu if held else seconds,
        workers=call.workers,
        cpus=usable_cpus(),
        lanes=len(lanes),
        chunks=call.chunks,
        shortest=call.shortest,
        longest=call.longest,
        moving=total["moving"],
        starting=total["starting"],
        loading=total["loading"],
        waiting=max(0.0, beside * elapsed - busy),
        input=call.input,
        submitting=call.submitting,
        idle=max(0.0, elapsed - call.input - call.submitting - call.waiting),
        sent=call.sent,
        received=call.received,
        slowest=call.details.slowest,
        tries=call.tries,
        crashes=call.crashes,
        timeouts=call.timeouts,
        peaks=call.peaks,
        memory=_memory(),
        own_peak=_own_peak(),
        waits=cpu < WAITS * seconds,
        held=held,
        caller=caller,
        error=call.error,
        is_over=bool(call.ended),
    )


def _memory() -> int:
    """Return the bytes of memory of this machine; 0 if it does not say so."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def _own_peak() -> int:
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # not POSIX
        return 0
    import sys

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

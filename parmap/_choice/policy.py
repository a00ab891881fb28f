"""Whether a call is worth workers, and which: arithmetic on what was measured, without clocks.

The question is always which choice ends the call first.  What is compared is an estimate of what
is left to do, in seconds of the caller's loop, with the cost of starting and of moving data.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Where = Literal["serial", "threads", "processes"]


COLD_START = 0.06
"""Seconds until worker processes that have to be started run a task: an interpreter and our import
take 30 ms, side by side with another on two cores, and the caller computes on meanwhile."""
WARM_START = 0.001
"""Seconds it takes to hand a call to workers that wait, and to collect its last results."""
MOVING = 1.5e-9
"""Seconds to pickle, send and unpickle a byte; measured on arrays of 8 MB, in either direction."""
HANDLING = 0.5e-6
"""Seconds a task costs in a chunk besides itself, however small it is: to pickle and unpickle its
input and its result, and to be looked after one by one."""
SEEN = 0.001
"""Seconds of tasks to measure before anything is chosen: the first few are often untypical."""
PACKED = 2.0
"""How often the time to pickle a function is spent: it is also sent to the workers, and loaded."""
WAITING = 0.25
"""A task that uses less than this share of its time as processor time mostly waits."""
FREE = 0.6
"""A task during which another thread gets to run at once this often has released the GIL."""
LOOKS = 4
"""How often another thread must have tried before `FREE` is believed."""


class Measured:
    """What is known of the tasks of a function, from this call or an earlier one.

    Attributes:
        tasks: how many tasks were measured.
        wall: seconds they took.
        cpu: seconds of processor time they took.
        looks: how often another thread tried to run meanwhile; *free*: how often it did at once.
        moved: bytes of one input and one result, pickled.
        packing: seconds it takes to pickle the function with all that it holds.
        unsendable: what cannot be sent to another process, and why; "" as far as is known.
    """

    __slots__ = ("cpu", "free", "looks", "moved", "packing", "tasks", "unsendable", "wall")

    def __init__(self) -> None:
        self.tasks = 0
        self.wall = 0.0
        self.cpu = 0.0
        self.looks = 0
        self.free = 0
        self.moved = 0
        self.packing = 0.0
        self.unsendable = ""

    def again(self) -> Measured:
        """Return what will hold for the next call, too: all but how long its tasks take."""
        new = Measured()
        new.looks, new.free, new.moved = self.looks, self.free, self.moved
        new.packing = self.packing
        return new

    @property
    def cost(self) -> float:
        """Seconds a task takes in the caller."""
        return self.wall / self.tasks if self.tasks else 0.0

    @property
    def waits(self) -> bool:
        """Whether the tasks mostly wait."""
        return self.cpu < WAITING * self.wall

    @property
    def releases_gil(self) -> bool:
        """Whether other threads run freely beside a task, as far as was seen."""
        return self.looks >= LOOKS and self.free >= FREE * self.looks


def left(seen: Measured, remaining: int | None) -> float:
    """Return how many seconds of loop are left.

    An input of unknown length is taken to go on for as long as it did: whatever its end, the choice
    then costs at most twice what the best one would have.
    """
    return seen.wall if remaining is None else remaining * seen.cost


def where(
    seen: Measured,
    remaining: int | None,
    workers: int,
    start: float = WARM_START,
    *,
    gil: bool = True,
) -> tuple[Where, str]:
    """Return where the rest of a call should run, and why.

    *remaining* counts the tasks that are left, None if nobody knows; *start* is what it costs to
    have worker processes, in seconds; *gil* says whether this interpreter has the lock.
    """
    rest = left(seen, remaining)
    if seen.wall < SEEN:
        return "serial", "too little was measured to tell"
    if seen.waits and rest > WARM_START:
        return "threads", f"tasks of {seen.cost:.2g} s mostly wait"
    gain = rest * (1 - 1 / workers)
    if gain < WARM_START:
        return "serial", "what is left is worth less than any start"
    if not gil:
        return "threads", "this interpreter has no GIL"
    if seen.releases_gil:
        return "threads", f"tasks of {seen.cost:.2g} s release the GIL"
    start += PACKED * seen.packing
    if gain < start:
        return "serial", f"{rest:.2g} s are left, less than a start of {start:.2g} s is worth"
    moving = seen.moved * MOVING + HANDLING
    if moving > seen.cost * (1 - 1 / workers):
        return "serial", f"moving {seen.moved} bytes a task costs more than it saves"
    if seen.unsendable:
        return "serial", seen.unsendable
    return "processes", f"{rest:.2g} s are left, in tasks of {seen.cost:.2g} s"


def forgone(seen: Measured, workers: int) -> float:
    """Return the seconds that a call which stayed serial lost for want of workers that wait."""
    choice, _ = where(seen, seen.tasks, workers)
    return seen.wall * (1 - 1 / workers) - WARM_START if choice == "processes" else 0.0

"""Whether a call is worth workers, and which: arithmetic on what was measured, without clocks.

The question is always which choice ends the call first.  What is compared is an estimate of what
is left to do, in seconds of the caller's loop, with the cost of starting and of moving data.
"""

from __future__ import annotations

from .._engine.chunking import SOLO, target

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
        looks: how long another thread looked meanwhile whether it could run, in looks of 1 ms;
            *free*: for how much of that it could at once.
        moved: bytes of one input and one result, pickled.
        packing: seconds it takes to pickle the function with all that it holds.
        unsendable: what cannot be sent to another process, and why; "" as far as is known.
    """

    tasks = moved = 0
    wall = cpu = packing = looks = free = 0.0
    unsendable = ""

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


class Facts:
    """What a choice depends on, as far as is known.

    Attributes:
        seen: what was measured of the tasks.
        workers: how many tasks could run at the same time.
        remaining: how many are left; None if nobody knows.
        start: what it costs now to have worker processes, in seconds.
        gil: whether this interpreter has the lock.
        can_start: whether there is a Python to start worker processes with.
        fleeting: whether an item is of no use any more once the next is drawn.
        earlier: whether *seen* is of an earlier call.
        long: seconds that a task goes on for beyond doubt; 0.0 if none does.
        pool: what was made a pool of; "serial" if nothing was.  Then *seen* says how large the
            function is.
        obstacle: what has shown that the tasks must run in the caller; "" if nothing has.
    """

    start = WARM_START
    gil = can_start = True
    fleeting = earlier = False
    long = 0.0
    pool: Where = "serial"
    obstacle = ""

    def __init__(self, seen: Measured, workers: int, remaining: int | None = None) -> None:
        self.seen = seen
        self.workers = workers
        self.remaining = remaining

    @property
    def doubtful(self) -> bool:
        """Whether tasks seem to wait that were not seen yet: noise looks alike."""
        return self.earlier and self.seen.waits and not self.seen.releases_gil


class Choice:
    """Where the rest of a call should run.

    Attributes:
        where, why: the place, and the reason in words.
        numbers: what the reason rests on, by name.
        final: whether it is the caller for good.
        waits: whether tasks may wait: then more threads than cores are of use.
        budget: seconds until the caller should choose again; 0.0 if nothing is known of that.
    """

    def __init__(self, where: Where, why: str, facts: Facts, numbers: dict[str, float]) -> None:
        self.where = where
        self.why = why
        self.numbers = numbers
        here = facts.obstacle or facts.seen.unsendable or facts.fleeting or facts.workers < 2
        self.final = where == "serial" and bool(here or facts.pool != "serial")
        self.waits = bool(facts.long) or facts.seen.waits
        self.budget = 0.0
        if facts.remaining is not None and facts.seen.wall >= SEEN and not facts.doubtful:
            self.budget = max(target(1), min(SOLO, 2 * numbers["left"]))


def decide(facts: Facts) -> Choice:
    """Return where the rest of a call should run, and why: every choice that "auto" makes.

    An input of unknown length is taken to go on for as long as it did: whatever its end, the choice
    then costs at most twice what the best one would have.
    """
    seen, cost, saved = facts.seen, facts.seen.cost, 1 - 1 / facts.workers
    left = seen.wall if facts.remaining is None else facts.remaining * cost
    gain, start = left * saved, facts.start + PACKED * seen.packing
    moving = seen.moved * MOVING + HANDLING
    numbers = {"workers": facts.workers, "tasks": seen.tasks, "cost": cost, "left": left}
    numbers |= {"start": start, "bytes": seen.moved, "long": facts.long}
    processes: Where = "processes" if facts.can_start else "threads"
    beside: Where = "threads" if seen.releases_gil or not facts.gil else processes
    rules: tuple[tuple[object, Where, str], ...] = (  # the first that holds
        (facts.obstacle, "serial", "{obstacle}"),
        (facts.workers < 2, "serial", "one worker is no faster than the caller"),
        (facts.fleeting, "serial", "items are of no use any more once the next is drawn"),
        (facts.long, beside, "a task takes more than {long:.2g} s"),
        (seen.wall < SEEN, "serial", "too little was measured to tell"),
        (facts.doubtful, "serial", "whether tasks wait, as in an earlier call, is to be seen"),
        (seen.waits and left > WARM_START, "threads", "tasks of {cost:.2g} s mostly wait"),
        (gain < WARM_START, "serial", "what is left is worth less than any start"),
        (not facts.gil, "threads", "this interpreter has no GIL"),
        (seen.releases_gil, "threads", "tasks of {cost:.2g} s release the GIL"),
        (gain < start, "serial", "{left:.2g} s are left, worth less than a start of {start:.2g} s"),
        (moving > cost * saved, "serial", "moving {bytes} bytes a task costs more than it saves"),
        (seen.unsendable, "serial", "{unsendable}"),
        (True, processes, "{left:.2g} s are left, in tasks of {cost:.2g} s"),
    )
    where, why = next((where, why) for holds, where, why in rules if holds)
    why = why.format(obstacle=facts.obstacle, unsendable=seen.unsendable, **numbers)
    return Choice(where, why, facts, numbers)


def forgone(seen: Measured, workers: int) -> float:
    """Return the seconds that a call which stayed serial lost for want of workers that wait."""
    choice = decide(Facts(seen, workers, seen.tasks))
    return seen.wall * (1 - 1 / workers) - WARM_START if choice.where == "processes" else 0.0

"""Whether a call is worth workers, and which: arithmetic on what was measured, without clocks.

The question is always which choice ends the call first.  What is compared is an estimate of what
is left to do, in seconds of the caller's loop, with the cost of starting and of moving data.
"""

from __future__ import annotations

from math import log2

from .._engine.chunking import SOLO, target
from .._records.gil import speed_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from .comparison import Comparison

    Where = Literal["serial", "threads", "processes"]


COLD_START = 0.06
"""Seconds until worker processes that have to be started run a task: an interpreter and our import
take 30 ms, side by side with another on two cores, and the caller computes on meanwhile."""

WARM_START = 0.0015
"""Seconds it takes to hand a call to workers that wait, and to collect its last results: 1.1 to 1.5
ms as measured on two cores, a third of it until they wake up."""

SHARED = 0.3
"""What a second that a worker imports costs the caller: two cores of a rented machine are often
two threads of one, which slow each other down by a third."""

MOVING = 1.5e-9
"""Seconds to pickle, send and unpickle a byte; measured on arrays of 8 MB, in either direction."""

HANDLING = 0.5e-6
"""Seconds a task costs in a chunk besides itself, however small it is: to pickle and unpickle its
input and its result, and to be looked after one by one."""

SEEN = 0.001
"""Seconds of tasks to measure before anything is chosen: the first few are often untypical."""

PACKED = 2.0
"""How often the time to pickle a function is spent: it is also sent to the workers, and loaded."""

PACKING, QUICK = 0.05, 0.01
"""Of what is left, what the function may take to pickle, and seconds that it may take anyway: if it
is given up then, the call is no slower than that."""

WAITING = 0.25
"""A task that uses less than this share of its time as processor time mostly waits."""

FREE, SOME = 0.85, 1.2
"""Of the speed of processes, what threads may give to be chosen anyway, and how many times the
speed of the loop they must give: to hold the GIL for four tenths of the time is 0.86 of two."""

CONTENTION = 6.0
"""How much more a start must be worth for each processor that tasks wait for.  With two busy loops
beside it on two cores a call has two thirds of one, and a half when a worker imports beside it: if
that takes a fifth of the call, it costs a twentieth, which what the worker does then is to earn."""

BESIDE = 0.03
"""Seconds that other tasks would take, if they are as long as the one under way is by now, from
which on workers are started beside it: half of what a start takes, for it goes on meanwhile."""

MOST_DOUBT = 64  # calls for which a place that was slower than the loop is not tried again

LATELY = 0.5  # seconds of tasks in the caller after which those before count half

OLD_LOOKS = 32.0  # milliseconds that what an earlier call has seen of the GIL counts, at most

LOOKED = 0.02
"""Seconds of tasks after which another thread has looked at the GIL as much as it ever will."""

LOOKS = 4
"""Milliseconds for which another thread must have tried to run before it is believed that it can:
it is wrong by a quarter then, and the pool is held against the loop afterwards."""


def magnitude(seconds: float) -> int:
    """Return what *seconds* and others have in common that are up to four times as much."""
    return round(log2(max(seconds, 1e-9)) / 2)


class Measured:
    """What is known of the tasks of a function, from this call or an earlier one.

    Attributes:
        tasks: how many tasks were measured.
        wall: seconds they took.
        cpu: seconds of processor time they took; *delayed*: seconds that no processor was free.
        length: how many tasks the last call had.
        modules: those that items and results come from.
        here: how many tasks were run by the caller lately, and how long that took.
        looks: how long another thread looked meanwhile whether it could run, in looks of 1 ms;
            *free*: for how much of that it could at once.
        moved: bytes of one input and one result, pickled.
        moving: seconds it takes to pickle and unpickle one input and one result.
        packing: seconds it takes to pickle the function with all that it holds.
        unpacked: seconds after which that was given up; 0.0 if it was not.
        comparisons: by place and magnitude, how it did beside the loop.
        doubts: for a place that was slower than the loop, by the `magnitude` of what was left, how
            often in a row, and in how many of the next calls it is not tried again.
        unsendable: what cannot be sent to another process, and why; "" as far as is known.
    """

    tasks = moved = length = 0
    wall = cpu = delayed = moving = packing = unpacked = looks = free = 0.0
    unsendable = ""

    def __init__(self) -> None:
        self.here = 0.0, 0.0
        self.modules: frozenset[str] = frozenset()
        self.doubts: dict[tuple[Where, int], tuple[int, int]] = {}
        self.comparisons: dict[tuple[Where, int], Comparison] = {}

    def again(self) -> Measured:
        """Return what will hold for the next call, too: all but how long its tasks take.

        What was seen of the GIL is to give way to what is seen next: that may be otherwise.
        """
        new = Measured()
        part = min(1.0, OLD_LOOKS / max(self.looks, 1.0))
        new.looks, new.free, new.moved = self.looks * part, self.free * part, self.moved
        new.moving, new.packing, new.unpacked = self.moving, self.packing, self.unpacked
        new.here, new.doubts, new.comparisons = self.here, self.doubts, self.comparisons
        new.modules = self.modules
        return new

    def ran_here(self, tasks: int, seconds: float) -> None:
        """Be told that the caller has run so many *tasks* in *seconds*."""
        fading = 0.5 if self.here[1] > LATELY else 1.0
        self.here = fading * self.here[0] + tasks, fading * self.here[1] + seconds

    @property
    def cost_here(self) -> float:
        """Seconds a task took in the caller lately."""
        return self.here[1] / self.here[0] if self.here[0] else 0.0

    def doubt(self, where: Where, left: float) -> None:
        """Keep that *where* lost when *left* seconds were left: the more often, the longer."""
        at = where, magnitude(left)
        lost = self.doubts.get(at, (0, 0))[0] + 1
        self.doubts[at] = lost, 1 + min(MOST_DOUBT, 2**lost)
        self.comparisons.pop(at, None)

    def end_call(self, well: Where, left: float) -> None:
        """Let a call be over that ended *well* where it was: a doubt of others gets less."""
        rests = {at: (lost, rest - 1) for at, (lost, rest) in self.doubts.items()}
        rests.pop((well, magnitude(left)), None)
        self.doubts = {at: (lost, max(0, rest)) for at, (lost, rest) in rests.items()}

    def is_doubted(self, where: Where, left: float) -> bool:
        """Tell whether *where* is not to be tried in this call: if no more is left than it lost."""
        least = magnitude(left)
        found = self.doubts.items()
        return any(at == where and rest and size >= least for (at, size), (_, rest) in found)

    @property
    def cost(self) -> float:
        """Seconds a task takes in the caller."""
        return self.wall / self.tasks if self.tasks else 0.0

    @property
    def pace(self) -> float:
        """Of a processor, what the tasks had: less than 1 if they wait, or others compute, too."""
        return min(1.0, max(self.cpu / self.wall, 0.05)) if self.wall else 1.0

    @property
    def busy(self) -> float:
        """Of a processor, what the tasks wanted and did not get: others compute, too."""
        return min(1.0, self.delayed / self.wall) if self.wall else 0.0

    @property
    def waits(self) -> bool:
        """Whether the tasks mostly wait."""
        return self.cpu < WAITING * (self.wall - self.delayed)

    def speed_up(self, threads: int) -> float:
        """Return how much faster so many threads would be than one; 1.0 until it was looked at."""
        held = 1 - self.free / self.looks if self.looks >= LOOKS else 1.0
        return speed_up(held, threads)


class Facts:
    """What a choice depends on, as far as is known.

    Attributes:
        seen: what was measured of the tasks.
        workers: how many tasks could run at the same time.
        remaining: how many are left; None if nobody knows.
        start: what it costs now to have worker processes, in seconds.
        loading: how long they are expected to load the function, while the caller computes, and
            *coming*, whether one is at it already.
        lost: seconds that earlier calls have lost for want of workers.
        gil: whether this interpreter has the lock.
        can_start: whether there is a Python to start worker processes with.
        threads: whether threads will do: not for tasks that need a process to themselves.
        watched: whether another thread looks at the tasks while they run here.
        fleeting: whether an item is of no use any more once the next is drawn.
        earlier: whether *seen* is of an earlier call.
        untried: whether no item and result is at hand to see what it costs to move them.
        long: seconds that a task has taken and goes on; 0.0 if none is longer than usual.
        long_cpu: seconds of processor time of these; *long_delayed*: that no processor was free.
        modules: those that items and results come from.
        pool: what was made a pool of; "serial" if nothing was.  Then *seen* says how large the
            function is.
        obstacle: what has shown that the tasks must run in the caller; "" if nothing has.
    """

    start = WARM_START
    gil = can_start = threads = True
    watched = fleeting = earlier = untried = coming = False
    lost = 0.0
    loading = long = long_cpu = long_delayed = 0.0
    modules: frozenset[str] = frozenset()
    pool: Where = "serial"
    obstacle = ""

    def __init__(self, seen: Measured, workers: int, remaining: int | None = None) -> None:
        self.seen = seen
        self.workers = workers
        self.remaining = remaining

    @property
    def long_waits(self) -> bool:
        """Whether the task that is long waits, so far."""
        return self.long_cpu < WAITING * (self.long - self.long_delayed)

    @property
    def busy(self) -> float:
        """Of a processor, what the tasks wanted and did not get."""
        return min(1.0, self.long_delayed / self.long) if self.long else self.seen.busy

    @property
    def looking(self) -> bool:
        """Whether it is not known yet how free the GIL is."""
        return self.watched and self.gil and not self.earlier and self.seen.looks < LOOKS

    @property
    def doubtful(self) -> bool:
        """Whether tasks seem to wait that were not seen yet: noise looks alike."""
        return self.earlier and self.seen.waits and self.seen.speed_up(2) < FREE * 2


class Choice:
    """Where the rest of a call should run.

    Attributes:
        where, why: the place, and the reason in words.
        numbers: what the reason rests on, by name.
        final: whether it is the caller for good.
        waits: whether tasks wait: then more threads than cores are of use.
        modules: those that items and results come from.
        packing: seconds that the function may take to pickle.
        budget: seconds until the caller should choose again; 0.0 if nothing is known of that.
    """

    def __init__(self, where: Where, why: str, facts: Facts, numbers: dict[str, float]) -> None:
        self.where = where
        self.why = why
        self.numbers = numbers
        here = facts.obstacle or facts.seen.unsendable or facts.fleeting or facts.workers < 2
        here = here or facts.pool != "serial" or why in (SLOWER, TOO_LARGE)
        self.final = where == "serial" and bool(here)
        self.packing = numbers["packing"]
        self.modules = facts.modules
        self.waits = facts.long_waits if facts.long else facts.seen.waits
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
    others = facts.long * (1 if facts.remaining is None else facts.remaining)
    start = facts.start + PACKED * seen.packing
    start += SHARED * facts.loading + CONTENTION * facts.busy * (start + facts.loading)
    beside_long = BESIDE + CONTENTION * facts.busy * (start + facts.loading)
    # Calls that went without workers for long enough have paid for them, and those after this will
    # have what it begins.
    paid = facts.lost >= start + facts.loading * saved and not facts.coming
    gain = max(0.0, left - (0.0 if paid else facts.loading)) * saved
    start = max(WARM_START, start - facts.lost)
    moving = max(seen.moving, seen.moved * MOVING + HANDLING)
    numbers = {"workers": facts.workers, "tasks": seen.tasks, "cost": cost, "left": left}
    numbers |= {"start": start, "loading": facts.loading, "moving": moving, "long": facts.long}
    numbers["packing"] = most_packing = max(QUICK, PACKING * max(left, others))
    too_large = most_packing < 2 * seen.unpacked
    instead: Where = "threads" if facts.threads else "serial"
    processes: Where = "processes" if facts.can_start else instead
    threads = seen.speed_up(facts.workers) if facts.gil else float(facts.workers)
    free = threads >= max(SOME, FREE * facts.workers) and not seen.is_doubted("threads", left)
    free, waiting = free and facts.threads, seen.waits and facts.threads
    beside: Where = "threads" if free or (facts.long_waits and facts.threads) else processes
    rules: tuple[tuple[object, Where, str], ...] = (  # the first that holds
        (facts.obstacle, "serial", "{obstacle}"),
        (facts.workers < 2, "serial", "one worker is no faster than the caller"),
        (facts.fleeting, "serial", "items are of no use any more once the next is drawn"),
        (
            others >= beside_long and not (too_large and beside == processes),
            beside,
            "a task takes more than {long:.2g} s",
        ),
        (seen.wall < SEEN, "serial", "too little was measured to tell"),
        (facts.doubtful, "serial", "whether tasks wait, as in an earlier call, is to be seen"),
        (waiting and left > WARM_START, "threads", "tasks of {cost:.2g} s mostly wait"),
        (left * saved < WARM_START, "serial", "what is left is worth less than any start"),
        (free and not facts.gil, "threads", "this interpreter has no GIL"),
        (free, "threads", "tasks of {cost:.2g} s release the GIL"),
        (gain < start, "serial", LITTLE_LEFT if facts.loading < start else TO_LOAD),
        (moving > cost * saved, "serial", "moving its data costs {moving:.2g} s a task"),
        (seen.unsendable, "serial", "{unsendable}"),
        (facts.untried, "serial", "what it costs to move the data is to be seen"),
        (seen.is_doubted("processes", left), "serial", SLOWER),
        (too_large, "serial", TOO_LARGE),
        (
            facts.looking and seen.wall < LOOKED,
            "serial",
            "whether tasks hold the GIL is to be seen",
        ),
        (True, processes, "{left:.2g} s are left, in tasks of {cost:.2g} s"),
    )
    where, why = next((where, why) for holds, where, why in rules if holds)
    choice = Choice(where, why, facts, numbers)
    choice.why = why.format(obstacle=facts.obstacle, unsendable=seen.unsendable, **numbers)
    return choice


TOO_LARGE = "the function takes too long to pickle"
SLOWER = "worker processes were slower than the loop"
LITTLE_LEFT = "{left:.2g} s are left, worth less than a start of {start:.2g} s"
TO_LOAD = "{left:.2g} s are left, and workers need {loading:.2g} s to load the function"

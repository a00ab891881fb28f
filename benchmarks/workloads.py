"""What is mapped: the table of workloads, and what the ideal time of each is.

CPU work is counted in rounds of `tasks.spin`, calibrated once for a whole run, never by a clock
inside a task: a contender that disturbs itself pays for it.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from . import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

SHORT, GIANT = 0.001, 0.300  # seconds of the tasks of a heavy tail
MAP = 64  # tasks of each of many maps
UNEQUAL = 1.1  # seconds of all rows of unequal cost together


class Job(NamedTuple):
    """A function, its input, and another function for the untimed call (None: the same)."""

    function: Callable[[Any], Any]
    items: Iterable[Any]
    before: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Workload:
    """One line of the table.

    *make* takes the number of tasks and the rounds of `spin` in a second.  *kind* is "map", "maps"
    (many in a row), "stream" (a generator, read and thrown away), "script" (a whole process) or
    "import".  *warm*: the pool is open, and one untimed call was made before the timed one; else
    the first call is timed, and the making of the pool with it.  *ideal* names a formula:

    - "share": the loop's time over the cores, or the longest task, or what tasks that cannot be cut
      allow;
    - "loop": the loop's time, there being nothing to share out;
    - "waits": as many waits at a time as a thread pool has threads by default.
    """

    name: str
    title: str
    make: Callable[[int, float], Job]
    size: int
    quick: int
    kind: str = "map"
    warm: bool = True
    ideal: str = "share"
    needs: str = ""  # a package
    seconds: float = 0.0  # of one task, where the formula or the script asks for it
    repeats: int = 1  # timed calls in one process, of which the median counts
    each: int = 0  # tasks of one map, where the number counts maps
    weights: Callable[[int], list[float]] | None = None  # of the tasks; None: all the same

    def number(self, *, quick: bool) -> int:
        """Return the number of tasks, or of maps."""
        return self.quick if quick else self.size


def ideal(workload: Workload, n: int, cores: int, seconds: float, inside: float) -> float:
    """Return the ideal time, given that the loop took *seconds*, *inside* of them in its tasks."""
    if workload.ideal == "loop":
        return seconds
    n = workload.each or n
    if workload.ideal == "waits":
        return math.ceil(n / min(32, cores + 4)) * workload.seconds
    weights = sorted(workload.weights(n) if workload.weights else [1.0] * n, reverse=True)
    bounds = [sum(weights) / cores, weights[0]]
    if n > cores:  # two of the longest are on the same core
        bounds.append(weights[cores - 1] + weights[cores])
    return seconds - inside + inside * max(bounds) / sum(weights)


def _roots(n: int, _rate: float) -> Job:
    return Job(math.sqrt, range(n))


def _spins(seconds: float, n: int, rate: float) -> Job:
    return Job(partial(tasks.spin, round(seconds * rate)), range(n))


def _maps(_n: int, rate: float) -> Job:
    return _spins(SHORT, MAP, rate)


def _stream(seconds: float, n: int, rate: float) -> Job:
    return Job(partial(tasks.spin, round(seconds * rate)), (i for i in range(n)))


def _tail(where: str, n: int) -> list[float]:
    """Return the seconds of *n* tasks, six of them giants (two if there are few)."""
    giants = [GIANT] * (6 if n >= 1000 else 2)
    others = [SHORT] * (n - len(giants))
    if where == "start":
        return giants + others
    seconds = others + giants
    if where == "shuffled":
        random.Random(1).shuffle(seconds)
    return seconds


def _heavy(where: str, n: int, rate: float) -> Job:
    # No two inputs in a row are the same, so that neither are two results.
    counts = [round(s * rate) + i % 64 for i, s in enumerate(_tail(where, n))]
    return Job(tasks.spin_itself, counts)


def _shrinking(n: int) -> list[float]:
    """Return the seconds of *n* rows of a triangle, `UNEQUAL` in all: the first is the longest."""
    return [UNEQUAL * 2 * (n - i) / (n * (n + 1)) for i in range(n)]


def _rows(n: int, rate: float) -> Job:
    return Job(tasks.spin_itself, [round(s * rate) for s in _shrinking(n)])


def _naps(seconds: float, n: int, _rate: float) -> Job:
    return Job(partial(tasks.nap, seconds), range(n))


def _arrays_in(n: int, _rate: float) -> Job:
    import numpy as np

    return Job(tasks.sum_of_squares, [np.full(tasks.ARRAY, i + 0.5) for i in range(n)])


def _arrays_out(n: int, _rate: float) -> Job:
    return Job(tasks.scaled, range(n))


def _closure(n: int, rate: float) -> Job:
    import numpy as np

    table, count = np.arange(12_500_000, dtype=np.float64), round(SHORT * rate)
    return Job(
        partial(tasks.spin_with, table, count),
        range(n),
        partial(tasks.spin_with, table[:n].copy(), count),
    )


def _strings(n: int, _rate: float) -> Job:
    return Job(tasks.tidy, [f"  row number {i} " for i in range(n)])


def _nothing(_n: int, _rate: float) -> Job:
    return Job(tasks.spin_itself, [])


WARM = [
    Workload("sqrt-10k", "10,000 square roots", _roots, 10_000, 10_000, ideal="loop", repeats=20),
    Workload("sqrt-5m", "5,000,000 square roots", _roots, 5_000_000, 200_000, ideal="loop"),
    Workload("cpu-100ms", "32 x 100 ms of CPU", partial(_spins, 0.1), 32, 4),
    Workload("cpu-1ms", "4,000 x 1 ms of CPU", partial(_spins, 0.001), 4_000, 400),
    Workload("cpu-20us", "200,000 x 20 us of CPU", partial(_spins, 20e-6), 200_000, 20_000),
    *(
        Workload(
            f"tail-{where}",
            f"3,000 x 1 ms, six of 300 ms {words}",
            partial(_heavy, where),
            3_006,
            302,
            weights=partial(_tail, where),
        )
        for where, words in (
            ("end", "at the end"),
            ("start", "at the start"),
            ("shuffled", "among them"),
        )
    ),
    Workload(
        "waits",
        "200 waits of 20 ms",
        partial(_naps, 0.02),
        200,
        48,
        ideal="waits",
        seconds=0.02,
    ),
    Workload("arrays-in", "40 arrays of 8 MB in", _arrays_in, 40, 8, needs="numpy", repeats=3),
    Workload("arrays-out", "40 arrays of 8 MB out", _arrays_out, 40, 8, needs="numpy", repeats=3),
    Workload("closure", "a 100 MB closure, 400 x 1 ms", _closure, 400, 200, needs="numpy"),
    Workload("strings", "200,000 short strings", _strings, 200_000, 50_000, repeats=3),
    Workload(
        "maps",
        "100 maps of 64 x 1 ms, one after the other",
        _maps,
        100,
        10,
        kind="maps",
        each=MAP,
    ),
]


def _cold(workload: Workload, **changed: Any) -> Workload:
    """Return *workload* with the making of the pool and the first call timed."""
    title = f"{changed.pop('title', workload.title)}, cold"
    name = f"cold-{workload.name}"
    return replace(workload, name=name, title=title, warm=False, repeats=1, **changed)


_warm = {workload.name: workload for workload in WARM}
COLD = [
    _cold(_warm["cpu-100ms"]),
    Workload("cold-cpu-60ms", "32 x 60 ms of CPU, cold", partial(_spins, 0.06), 32, 4, warm=False),
    _cold(_warm["cpu-1ms"], title="2,000 x 1 ms of CPU", size=2_000),
    _cold(_warm["cpu-20us"]),
    Workload(
        "cold-unequal",
        "300 rows of unequal cost, 1.1 s in all, cold",
        _rows,
        300,
        300,
        warm=False,
        weights=_shrinking,
    ),
    _cold(_warm["closure"]),
    _cold(_warm["arrays-out"]),
    Workload("two-long", "2 x 1 s of CPU", partial(_spins, 1.0), 2, 2, warm=False),
    Workload("three-long", "3 x 1 s of CPU", partial(_spins, 1.0), 3, 3, warm=False),
    Workload(
        "stream",
        "a generator of 2,000,000 x 4 us",
        partial(_stream, 4e-6),
        2_000_000,
        50_000,
        kind="stream",
        warm=False,
    ),
    Workload(
        "script",
        "a script, whole: 200 x 5 ms",
        _nothing,
        200,
        60,
        kind="script",
        warm=False,
        seconds=0.005,
    ),
    Workload(
        "script-2s",
        "a script, whole: 400 x 5 ms",
        _nothing,
        400,
        60,
        kind="script",
        warm=False,
        seconds=0.005,
    ),
    Workload(
        "import",
        "import, beside bare Python",
        _nothing,
        1,
        1,
        kind="import",
        warm=False,
        ideal="loop",
        repeats=10,
    ),
]
WORKLOADS = [*WARM, *COLD]
BY_NAME = {workload.name: workload for workload in WORKLOADS}

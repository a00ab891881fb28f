"""Schedules tried on made-up workers: `python -m benchmarks.simulation`.

No process is started and no clock is read: the costs of all tasks are known here, and events are
computed from them.

::

    parent    handles one message at a time, *dispatch* seconds each: takes a report in, asks the
              policy for a size, sends a chunk
    worker    runs its chunks one after the other, *overhead* seconds each besides the tasks; after
              *budget* seconds it finishes the task it is at and hands the rest back
    rest      goes out again as it is, before anything new

A policy is `next(remaining, workers)` and `learn(tasks, seconds)`, as `parmap.chunking.Sizes` is.
Nothing else of that class is known here.
"""

from __future__ import annotations

import argparse
import math
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from functools import partial
from heapq import heapify, heappop, heappush, heapreplace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from parmap._engine import chunking

from .pages import DOCS, fill, pyplot, save, say, table

if TYPE_CHECKING:
    from collections.abc import Callable

DISPATCH = 50e-6
"""Seconds of the parent for a chunk: 25 to 50 us measured, from one report to the next chunk."""

OVERHEAD = 100e-6
"""Seconds of a worker for a chunk, besides its tasks: waking, unpickling, pickling the report."""

SPAN = 20.0  # seconds of work for each worker
MEAN = 0.020  # seconds of a task, on average
LONGEST = 0.300  # seconds of the longest task: rarer and longer ones would be all that counts


class Policy(Protocol):
    """What decides how many tasks make the next chunk."""

    def next(self, remaining: int, workers: int, /) -> int:
        """Return the size of the next chunk when *remaining* tasks were not sent yet."""

    def learn(self, tasks: int, seconds: float, /) -> None:
        """Take into account that *tasks* tasks took *seconds*."""


class Piece(NamedTuple):
    """What one worker did with one chunk: tasks *start* to *stop*, from *begin* to *end*."""

    worker: int
    begin: float
    end: float
    start: int
    stop: int


class Equal(Sequence[float]):
    """The costs of tasks that are all alike, however many."""

    def __init__(self, tasks: int, seconds: float) -> None:
        self._tasks = tasks
        self._seconds = seconds

    def __len__(self) -> int:
        return self._tasks

    def __getitem__(self, _index: Any) -> Any:
        return self._seconds


class Ends(Equal):
    """When a single worker would have ended each of them."""

    def __len__(self) -> int:
        return self._tasks + 1

    def __getitem__(self, index: Any) -> Any:
        return index * self._seconds


class Outcome(NamedTuple):
    """What came of a schedule."""

    pieces: list[Piece]
    makespan: float
    efficiency: float  # ideal / makespan


def ideal(costs: Sequence[float], workers: int) -> float:
    """Return the seconds that no schedule of *costs* on *workers* can beat."""
    if isinstance(costs, Equal):
        return math.ceil(len(costs) / workers) * costs[0]
    longest = sorted(costs, reverse=True)[: workers + 1]
    bounds = [sum(costs) / workers, longest[0]] if longest else [0.0]
    if len(longest) > workers:  # two of these are on the same worker
        bounds.append(longest[-2] + longest[-1])
    return max(bounds)


def greedy(costs: Sequence[float], workers: int) -> float:
    """Return the efficiency of one task at a time, in order, if messages cost nothing.

    About the best that can be had without knowing the costs.
    """
    free = [0.0] * workers
    heapify(free)
    for cost in costs:
        heapreplace(free, free[0] + cost)
    return _ratio(ideal(costs, workers), max(free))


def simulate(
    costs: Sequence[float],
    workers: int,
    policy: Policy,
    budget: float = math.inf,
    *,
    dispatch: float = DISPATCH,
    overhead: float = OVERHEAD,
    ahead: int = 0,
) -> Outcome:
    """Run tasks that take *costs* seconds; *ahead* chunks wait at a worker while it runs another.

    >>> simulate([1.0] * 4, 2, Fixed(1), dispatch=0.0, overhead=0.0).makespan
    2.0
    """
    until: Sequence[float] = [0.0]  # when a single worker would have ended each task
    until = Ends(len(costs), costs[0]) if isinstance(costs, Equal) else [*until, *accumulate(costs)]
    total, drawn = len(costs), 0
    again: deque[tuple[int, int]] = deque()  # rests
    askers = deque(list(range(workers)) * (1 + ahead))  # who may have another chunk
    free = [0.0] * workers  # when each has done all that was sent to it
    reports: list[tuple[float, int, int, int, int]] = []  # by the time they come
    parent = 0.0
    pieces: list[Piece] = []
    while True:
        while askers and (again or drawn < total):
            if again:
                start, end = again.popleft()
            else:
                size = policy.next(total - drawn, workers)
                assert size >= 1, f"a chunk of {size} tasks"
                start, end = drawn, min(total, drawn + size)
                drawn = end
            worker = askers.popleft()
            parent += dispatch
            begin = max(parent, free[worker])
            stop = bisect_left(until, until[start] + budget, start + 1, end)
            free[worker] = begin + overhead + until[stop] - until[start]
            pieces.append(Piece(worker, begin, free[worker], start, stop))
            heappush(reports, (free[worker], worker, start, stop, end))
        if not reports:
            break
        now, worker, start, stop, end = heappop(reports)
        parent = max(parent, now)
        policy.learn(stop - start, until[stop] - until[start])
        if stop < end:
            again.appendleft((stop, end))
        askers.append(worker)
    makespan = max(free)
    return Outcome(pieces, makespan, _ratio(ideal(costs, workers), makespan))


def _ratio(best: float, makespan: float) -> float:
    return best / makespan if makespan else 1.0


# Policies


class Fixed:
    """The same size always."""

    def __init__(self, size: int) -> None:
        self._size = size

    def next(self, _remaining: int, _workers: int, /) -> int:
        """See `Policy`."""
        return self._size

    def learn(self, tasks: int, seconds: float, /) -> None:
        """Learn nothing."""


class Guided(Fixed):
    """Guided self-scheduling (Polychronopoulos and Kuck, 1987): an equal share of what is left."""

    def __init__(self) -> None:
        super().__init__(1)

    def next(self, remaining: int, workers: int, /) -> int:
        """See `Policy`."""
        return math.ceil(remaining / workers)


class Factoring(Guided):
    """Factoring (Hummel, Schonberg and Flynn, 1992): half of what is left, in equal chunks."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 0  # chunks in this round

    def next(self, remaining: int, workers: int, /) -> int:
        """See `Policy`."""
        if not self._left:
            self._left, self._size = workers, math.ceil(remaining / (2 * workers))
        self._left -= 1
        return self._size


def static(tasks: int, workers: int) -> Policy:
    """Return what `multiprocessing.Pool.map` does: four chunks for each worker."""
    return Fixed(max(1, math.ceil(tasks / (4 * workers))))


SCHEDULES: dict[str, Callable[[int, int], tuple[Policy, float]]] = {
    "static": lambda tasks, workers: (static(tasks, workers), math.inf),
    "guided": lambda _tasks, _workers: (Guided(), math.inf),
    "factoring": lambda _tasks, _workers: (Factoring(), math.inf),
    "parmap": lambda _tasks, workers: (chunking.Sizes(), chunking.budget(workers)),
}
"""From numbers of tasks and workers to a policy and a budget."""


def run(name: str, costs: Sequence[float], workers: int) -> Outcome:
    """Simulate the schedule *name* of `SCHEDULES`."""
    policy, seconds = SCHEDULES[name](len(costs), workers)
    return simulate(costs, workers, policy, seconds)


# Loads


def _uniform(n: int, _workers: int, _rng: random.Random) -> list[float]:
    return [MEAN] * n


def _lognormal(n: int, _workers: int, rng: random.Random) -> list[float]:
    sigma = 1.5
    mu = math.log(MEAN) - sigma**2 / 2
    return [min(LONGEST, rng.lognormvariate(mu, sigma)) for _ in range(n)]


def _pareto(n: int, _workers: int, rng: random.Random) -> list[float]:
    alpha = 1.5
    least = MEAN * (alpha - 1) / alpha
    return [min(LONGEST, least * rng.paretovariate(alpha)) for _ in range(n)]


def _giants(n: int, workers: int, rng: random.Random, where: str) -> list[float]:
    giants = [LONGEST] * (3 * workers)
    others = [MEAN] * max(0, n - round(3 * workers * LONGEST / MEAN))
    if where == "start":
        return giants + others
    costs = others + giants
    if where == "shuffled":
        rng.shuffle(costs)
    return costs


LOADS: dict[str, Callable[[int, int, random.Random], list[float]]] = {
    "uniform": _uniform,
    "lognormal": _lognormal,
    "pareto": _pareto,
    "giants first": partial(_giants, where="start"),
    "giants last": partial(_giants, where="end"),
    "giants shuffled": partial(_giants, where="shuffled"),
}
"""From a number of tasks, of workers, and a source of randomness to the costs of the tasks."""


def load(name: str, workers: int, span: float = SPAN, seed: int = 1) -> list[float]:
    """Return the costs of a load with *span* seconds of work for each worker, on average."""
    return LOADS[name](round(span * workers / MEAN), workers, random.Random(seed))


# The page


def main() -> None:
    """Print the table, write it into the page, draw the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--workers", default="2,8,30,100,300,1000", help="numbers of workers")
    parser.add_argument("--loads", default=",".join(LOADS), help="loads: %(default)s")
    parser.add_argument("--span", type=float, default=SPAN, help="seconds of work per worker")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args()
    crowds = [int(n) for n in options.workers.split(",")]
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name in options.loads.split(","):
        for workers in crowds:
            costs = load(name, workers, options.span)
            row = {schedule: run(schedule, costs, workers).efficiency for schedule in SCHEDULES}
            row["greedy"] = greedy(costs, workers)
            found.setdefault(name, {})[workers] = row
            cells = "  ".join(f"{schedule} {value:.3f}" for schedule, value in row.items())
            say(f"{name:16} {workers:5} workers  {cells}")
    plt = pyplot()
    if plt:
        picture = options.output / "chunking.svg"
        _draw(plt, found, picture)
        say(f"written: {picture}")
    else:
        say("matplotlib is not installed: no picture")
    say(f"written: {fill('chunking.md', _text(found, picture=bool(plt)), options.output)}")


def _text(found: dict[str, dict[int, dict[str, float]]], *, picture: bool) -> str:
    """Return the part of the page that is computed: the picture, and efficiencies in percent."""
    rows = [
        [name, f"{workers:,}", *(f"{100 * value:.1f}" for value in row.values())]
        for name, by_workers in found.items()
        for workers, row in by_workers.items()
    ]
    image = "![Two schedules of the same load, and efficiency by workers](chunking.svg)\n\n"
    return (image if picture else "") + table(["load", "workers", *SCHEDULES, "greedy"], rows)


COLOURS = {
    "static": "#999999",
    "guided": "#56b4e9",
    "factoring": "#009e73",
    "parmap": "#d55e00",
    "greedy": "#000000",
}


def _draw(plt, found: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    curves = list(found)[1:] if len(found) > 1 else list(found)
    columns = max(2, len(curves))
    figure = plt.figure(figsize=(2.1 * columns + 0.5, 5.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.2])
    workers, costs = 4, [0.008] * 200 + [LONGEST] * 4
    outcomes = {name: run(name, costs, workers) for name in ("static", "parmap")}
    last = max(outcome.makespan for outcome in outcomes.values())
    pair = above.subplots(1, 2, sharey=True)
    for axes, (name, outcome) in zip(pair, outcomes.items(), strict=True):
        for worker in range(workers):
            mine = [piece for piece in outcome.pieces if piece.worker == worker]
            axes.broken_barh(
                [(piece.begin, piece.end - piece.begin) for piece in mine],
                (worker + 0.6, 0.8),
                facecolor=COLOURS[name],
                edgecolor="white",
                linewidth=0.4,
            )
        axes.set(xlim=(0, last), yticks=range(1, workers + 1), xlabel="seconds")
        axes.axvline(ideal(costs, workers), color="black", linestyle=":", linewidth=1)
        axes.set_title(f"{name}: {100 * outcome.efficiency:.0f} %", fontsize=9)
    above.supylabel("worker", fontsize=9)
    grid = below.subplots(1, columns, sharey=True, squeeze=False)[0]
    for axes, name in zip(grid, curves, strict=False):
        crowds = list(found[name])
        for schedule, colour in COLOURS.items():
            values = [100 * found[name][n][schedule] for n in crowds]
            style = {"linestyle": ":", "linewidth": 1} if schedule == "greedy" else {"marker": "."}
            axes.plot(crowds, values, color=colour, label=schedule, **style)
        axes.set(xscale="log", ylim=(0, 102), xlabel="workers")
        axes.set_title(name, fontsize=9)
    grid[0].set_ylabel("efficiency, %")
    grid[0].legend(frameon=False, fontsize=7)
    save(figure, path)
    plt.close(figure)


if __name__ == "__main__":
    main()

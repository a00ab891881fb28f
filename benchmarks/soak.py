"""A soak: `python -m benchmarks.soak [--minutes N]` makes as many calls as it can in that time.

Calls of all kinds follow each other in one process, faults among them: tasks that raise, die or
hang, large arguments and results, lazy maps given up half way.  Every outcome is compared with what
the loop would give.  What the process holds is written down on the way: growth would be a leak.
Needs Linux, for `/proc`.
"""

from __future__ import annotations

import argparse
import os
import random
import threading
import time
from collections import Counter
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parmap import Failure, pimap, pmap, warm

from .pages import DOCS, fill, say, table
from .run import megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 2
EXECUTORS = {
    "processes": 80,
    "auto": 12,
    "threads": 5,
    "multiprocessing": 1,
    "futures": 1,
    "joblib": 1,
}
"""Which executor, so many times in a hundred: pools that end with the call are slow to start."""

OWN_WORKERS = ("processes", "auto")
KINDS = {"raise": "error", "die": "crash", "hang": "timeout"}
TIMEOUT = 0.5  # seconds, of calls with a task that hangs
ROWS = 10  # of the table
HELD = ["descriptors", "threads", "processes", "MB", "their MB"]


def task(numbers: Any, item: tuple[str, int]) -> Any:
    """Do what the item says."""
    fault, x = item
    if fault == "die":
        os._exit(3)
    if fault == "hang":
        time.sleep(60)
    if fault == "raise":
        raise ValueError(x)
    return np.full(50_000, x + numbers[0]) if fault == "large" else x + float(numbers[0])


class Soak:
    """The calls, one after the other, and what they did."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()

    def call(self) -> None:
        """Make one call; raise AssertionError if its outcome is not as it should be."""
        chance = self._random.random
        executor = self._random.choices(list(EXECUTORS), list(EXECUTORS.values()))[0]
        items = [("", x) for x in range(self._random.randint(1, 100))]
        options: dict[str, Any] = {"executor": executor, "workers": WORKERS, "on_error": "return"}
        for fault, share in {"raise": 0.1, "large": 0.1, "die": 0.05, "hang": 0.02}.items():
            able = executor in OWN_WORKERS or fault in ("raise", "large")
            if able and chance() < share:
                items[self._random.randrange(len(items))] = (fault, 0)
        if ("hang", 0) in items:
            options["timeout"] = TIMEOUT
        if executor in OWN_WORKERS and chance() < 0.05:
            options["max_tasks_per_worker"] = 20
        size = 200_000 if chance() < 0.05 else 1  # 1.6 MB are shared, not sent
        function = partial(task, np.full(size, chance()))
        half = chance() < 0.05
        run = self._half if half else pmap
        for item, outcome in zip(items, run(function, items, **options), strict=not half):
            self._check(function, item, outcome)
        self.done["calls"] += 1

    def _half(self, function: Any, items: list[Any], **options: Any) -> list[Any]:
        """Read half of a lazy map, and give up the rest."""
        results = pimap(function, items, **options)
        outcomes = list(islice(results, len(items) // 2))
        results.close()
        return outcomes

    def _check(self, function: Any, item: tuple[str, int], outcome: Any) -> None:
        fault = item[0]
        self.done["tasks"] += 1
        if fault in KINDS:
            self.done[fault] += 1
            assert isinstance(outcome, Failure), (item, outcome)
            assert outcome.kind == KINDS[fault], (item, outcome)
        else:
            assert not isinstance(outcome, Failure), (item, outcome)
            assert np.array_equal(outcome, function(item)), (item, outcome)


def held() -> list[int]:
    """Return what this process holds now, in the order of HELD."""
    warm(WORKERS)  # as many as ever, also after a crash
    children = list(_children())
    return [
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        len(children),
        round(megabytes("RssAnon")),  # no file's, and nobody else's
        round(sum(megabytes("RssAnon", pid) for pid in children)),
    ]


def _children() -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == os.getpid():
            yield int(stat.parent.name)


def main() -> None:
    """Parse the command line, soak, and write the table into docs/faults.md or another folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args()
    soak, began, rows = Soak(options.seed), time.monotonic(), []
    while len(rows) <= ROWS:
        minutes = (time.monotonic() - began) / 60
        if minutes >= len(rows) * options.minutes / ROWS:
            done = [soak.done[name] for name in ("calls", "tasks", *KINDS)]
            rows.append([f"{minutes:.1f}", *(f"{n:,}" for n in [*done, *held()])])
            say("  ".join(rows[-1]))
        soak.call()
    fill("faults.md", table(["minute", "calls", "tasks", *KINDS, *HELD], rows), options.output)


if __name__ == "__main__":
    main()

"""What it costs to submit a task: `python -m benchmarks.submitted [--rounds N] [--output DIR]`.

Tasks that do next to nothing are submitted to pools of two workers that are warm; the pools take
turns in each round.  *many*: all are submitted, then all results are read, seconds a task.
*processor*: of that, the processor time of this process.  *one*: each result is read before the
next task.  *maps*: a map of eight tasks of 1 ms.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import parmap
from benchmarks.pages import DOCS, fill, say, table

if TYPE_CHECKING:
    from collections.abc import Callable

MANY, ONE, MAPS = 5_000, 300, 100
MEASURES = ("many", "processor", "one", "maps")


def spin(_: object = None) -> None:
    """Compute for 1 ms."""
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass


def measured(submit: Callable[..., Any], get: str, map_: Callable[..., Any]) -> list[float]:
    """Return the seconds of each of `MEASURES`, for a task or a map."""
    for _ in range(20):
        getattr(submit(abs, -1), get)()
    began, cpu = time.perf_counter(), time.process_time()
    results = [submit(abs, -n) for n in range(MANY)]
    for result in results:
        getattr(result, get)()
    found = [(time.perf_counter() - began) / MANY, (time.process_time() - cpu) / MANY]
    began = time.perf_counter()
    for n in range(ONE):
        getattr(submit(abs, -n), get)()
    found.append((time.perf_counter() - began) / ONE)
    began = time.perf_counter()
    for _ in range(MAPS):
        list(map_(spin, range(8)))
    found.append((time.perf_counter() - began) / MAPS)
    return found


def main() -> None:
    """Measure, and write the table into the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.submitted",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args()
    with ExitStack() as stack:
        ours = stack.enter_context(parmap.Pool(2, executor="processes"))
        futures = stack.enter_context(ProcessPoolExecutor(2))
        forked = stack.enter_context(get_context("fork").Pool(2))

        def apply_async(fn: Callable[..., Any], x: object) -> Any:
            return forked.apply_async(fn, (x,))

        pools: dict[str, tuple[Any, str, Any]] = {
            "parmap.Pool": (ours.submit, "result", ours.map),
            "ProcessPoolExecutor": (futures.submit, "result", futures.map),
            "multiprocessing.Pool (fork)": (apply_async, "get", forked.map),
        }
        rounds: dict[str, list[list[float]]] = {name: [] for name in pools}
        for number in range(options.rounds):
            for name, pool in pools.items():
                rounds[name].append(measured(*pool))
                say(f"round {number + 1} {name}")
    rows = []
    for name, found in rounds.items():
        middle = [median(one) for one in zip(*found, strict=True)]
        rows.append([name, *(f"{seconds * 1e6:,.0f} us" for seconds in middle)])
    load = f"Medians of {options.rounds} rounds; load of the machine: {os.getloadavg()[0]:.1f}."
    text = f"{load}\n\n{table(['pool', *MEASURES], rows)}"
    say(f"{text}\nwritten: {fill('benchmarks.md', text, options.output, 'submitted')}")


if __name__ == "__main__":
    main()

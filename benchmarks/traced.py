"""What a trace costs: the same calls with it and without it, in turn, in one process.

    python -m benchmarks.traced [rounds]

Two figures for each load: the ratio of the medians, and the median of the ratios of neighbours,
which the machine's other work disturbs less.  The last line is of a call outside of any trace, of
which the look at the context variable is a part.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from time import perf_counter
from timeit import timeit
from typing import Any

from parmap import pmap, trace
from parmap._choice.options import tracing

ROUNDS = 21

Load = Callable[[], Any]


def spin(n: int) -> int:
    """Compute for about *n* hundredths of a microsecond."""
    return sum(range(n))


LOADS: dict[str, Load] = {
    "auto, 300 tasks of 1 ms": lambda: pmap(spin, [60_000] * 300, workers=2),
    "processes, 100 tasks of 5 ms": lambda: pmap(
        spin, [300_000] * 100, executor="processes", workers=2
    ),
    "processes, 3,000 tasks of 100 us": lambda: pmap(
        spin, [6_000] * 3_000, executor="processes", workers=2
    ),
    "processes, 100,000 tasks of 5 us": lambda: pmap(
        spin, [300] * 100_000, executor="processes", workers=2
    ),
    "threads, 300 tasks of 1 ms": lambda: pmap(spin, [60_000] * 300, executor="threads", workers=2),
    "serial, 100,000 tasks of 5 us": lambda: pmap(spin, [300] * 100_000, executor="serial"),
}


def seconds(load: Load, *, traced: bool) -> float:
    """Return how long *load* takes."""
    with trace() if traced else nullcontext():
        began = perf_counter()
        load()
        return perf_counter() - began


def compare(load: Load, rounds: int) -> tuple[float, float, float]:
    """Return the median without a trace, the ratio of medians, and the median of ratios."""
    plain: list[float] = []
    traced: list[float] = []
    seconds(load, traced=True)
    for n in range(rounds):
        order = (False, True) if n % 2 else (True, False)
        for is_traced in order:
            (traced if is_traced else plain).append(seconds(load, traced=is_traced))
    ratios = [b / a for a, b in zip(plain, traced, strict=True)]
    return median(plain), median(traced) / median(plain), median(ratios)


def main() -> None:
    """Print the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print(f"{'load':<36}{'plain':>10}{'medians':>10}{'pairs':>8}")  # noqa: T201 - its output
    for name, load in LOADS.items():
        plain, of_medians, of_pairs = compare(load, rounds)
        print(  # noqa: T201
            f"{name:<36}{1e3 * plain:>7.1f} ms{of_medians:>10.3f}{of_pairs:>8.3f}"
        )
    call = min(timeit(lambda: pmap(abs, [1, 2, 3]), number=5000) / 5000 for _ in range(9))
    look = min(timeit(tracing.get, number=100_000) / 100_000 for _ in range(9))
    print(f"{'a call of 3 tasks':<36}{1e6 * call:>7.2f} us, of which")  # noqa: T201
    print(f"{'the look for a trace':<36}{1e6 * look:>7.3f} us")  # noqa: T201


if __name__ == "__main__":
    main()

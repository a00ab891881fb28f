"""How long the event loop waits while tasks run: `python -m benchmarks.event_loop [--tasks N]`.

A task of the loop sleeps for 1 ms again and again; how much later it comes than it should is a gap.
Measured with nothing beside it, then beside N tasks of 1 ms, in several places.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from parmap import aio, pmap, warm

from . import tasks
from .pages import say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TASK = 0.001  # seconds
BEAT = 0.001  # seconds between two looks


async def _gaps(found: list[float]) -> None:
    """Write down how much longer than a beat each beat takes, until this is cancelled."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(BEAT)
        found.append(time.perf_counter() - before - BEAT)


async def measure(work: Awaitable[Any]) -> tuple[float, list[float]]:
    """Return the seconds that *work* takes, and the gaps of the loop meanwhile, sorted."""
    found: list[float] = []
    beating = asyncio.create_task(_gaps(found))
    await asyncio.sleep(0)
    began = time.perf_counter()
    await work
    seconds = time.perf_counter() - began
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
    return seconds, sorted(found)


async def _wait(_: int) -> None:
    await asyncio.sleep(TASK)


def _sleep(_: int) -> None:
    time.sleep(TASK)


async def _read(spin: Callable[[int], int], n: int) -> None:
    async for _ in aio.pimap(spin, range(n), executor="processes"):
        pass


async def _rows(n: int) -> None:
    spin = partial(tasks.spin, round(TASK * tasks.rate()))
    rows: dict[str, Any] = {
        "nothing, for 1 s": lambda: asyncio.sleep(1),
        "aio.pmap, auto, cold": lambda: aio.pmap(spin, range(n)),
        "aio.pmap, auto, warm": lambda: aio.pmap(spin, range(n)),
        "aio.pmap, processes": lambda: aio.pmap(spin, range(n), executor="processes"),
        "aio.pimap, processes": lambda: _read(spin, n),
        "aio.pmap, threads": lambda: aio.pmap(spin, range(n), executor="threads"),
        "aio.pmap, waits": lambda: aio.pmap(_sleep, range(n)),
        "aio.pmap, coroutines": lambda: aio.pmap(_wait, range(n)),
        "to_thread(pmap), processes": lambda: asyncio.to_thread(
            pmap, spin, range(n), executor="processes"
        ),
    }
    say(f"{'':28} {'seconds':>8} {'median':>8} {'99 %':>8} {'longest gap':>12}")
    for name, start in rows.items():
        seconds, gaps = await measure(start())
        median, late, longest = gaps[len(gaps) // 2], gaps[len(gaps) * 99 // 100], gaps[-1]
        shown = f"{1e3 * median:5.2f} ms {1e3 * late:5.2f} ms {1e3 * longest:9.2f} ms"
        say(f"{name:28} {seconds:8.3f} {shown}")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.event_loop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", type=int, default=2_000)
    parser.add_argument("--warm", action="store_true", help="start the workers beforehand")
    options = parser.parse_args()
    if options.warm:
        warm()
    asyncio.run(_rows(options.tasks))


if __name__ == "__main__":
    main()

"""Maps on a cluster of two workers: `python -m benchmarks.clusters [--engines dask,ray]`.

parmap without an option beside what an engine, or joblib on it, offers itself: all on one cluster,
in turns, in the same run.  *time*: seconds for the tasks, in units of the shortest time possible.
What would take longer than a while gets so many tasks fewer, and the time is scaled; so do the
others with the closure.  For that also how many MB crossed the loopback device meanwhile.  *a
chunk*: processor time of the caller, and of Dask's scheduler, for a chunk of one task that does
nothing; with these, a simulation says what many workers would make of it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from parmap import pmap
from parmap._engine import chunking

from .pages import DOCS, fill, say, table
from .simulation import Equal, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Way = Callable[[Callable[[Any], Any], int], object]

WORKERS = 2
LONGEST = 30.0  # seconds that one measurement may take; then it gets fewer tasks
FEW = 8  # tasks of others that get 100 MB each: 400 filled 20 GB of memory, and Dask stood still
TRIAL = 500  # tasks of the call before the first round, which is not measured
LARGE = 100_000_000  # bytes of the large closure
SETTLING = 2.0
"""Seconds before a measurement, after a call that does nothing: joblib's actors take workers of Ray
with them, and Ray starts others, which takes a core of whoever comes next."""
CHUNKS = 2_000  # chunks of one task each, for the cost of a chunk


class Load(NamedTuple):
    """So many tasks, each of so many seconds."""

    title: str
    tasks: int
    seconds: float
    large: bool = False


LOADS = {
    "1ms": Load("20,000 x 1 ms", 20_000, 0.001),
    "20us": Load("200,000 x 20 us", 200_000, 0.000020),
    "closure": Load("a closure of 100 MB, 400 x 1 ms", 400, 0.001, large=True),
}


def spin(seconds: float, _: object) -> None:
    """Compute until so many seconds have passed."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def spin_beside(data: bytes, seconds: float, x: object) -> int:
    """Do the same with large *data* at hand."""
    spin(seconds, x)
    return len(data)


def task_of(load: Load) -> Callable[[Any], Any]:
    """Return the function of a load."""
    if load.large:
        return partial(spin_beside, bytes(LARGE), load.seconds)
    return partial(spin, load.seconds)


# The engines, each with what it offers


@contextmanager
def program(*words: str) -> Iterator[None]:
    """Run Python with *words* until the block ends."""
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        finally:
            process.kill()


@contextmanager
def dask() -> Iterator[tuple[dict[str, Way], Any]]:
    """Yield the ways to map on a cluster of Dask, and what tells the time of its scheduler."""
    import joblib
    from dask import bag
    from distributed import Client

    def plainly(fn: Callable[[Any], Any], n: int) -> object:
        return client.gather(client.map(fn, range(n), pure=False))

    def by_bag(fn: Callable[[Any], Any], n: int) -> object:
        return bag.from_sequence(range(n)).map(fn).compute()

    def by_joblib(fn: Callable[[Any], Any], n: int) -> object:
        with joblib.parallel_config(backend="dask"):
            return joblib.Parallel()(joblib.delayed(fn)(x) for x in range(n))

    with ExitStack() as stack:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        address, here = f"tcp://127.0.0.1:{port}", ("--host", "127.0.0.1", "--no-dashboard")
        stack.enter_context(program("-m", "dask", "scheduler", *here, "--port", str(port)))
        each = ("--nworkers", str(WORKERS), "--nthreads", "1")
        stack.enter_context(program("-m", "dask", "worker", address, *here, *each))
        client = stack.enter_context(Client(address, timeout=60))
        client.wait_for_workers(WORKERS, timeout=60)
        ways: dict[str, Way] = {
            "parmap": lambda fn, n: pmap(fn, range(n), executor="dask"),
            "client.map, gather": plainly,
            "dask.bag": by_bag,
            "joblib": by_joblib,
        }
        yield ways, partial(client.run_on_scheduler, time.process_time)


@contextmanager
def ray() -> Iterator[tuple[dict[str, Way], Any]]:
    """Yield the ways to map on a local Ray."""
    import joblib
    import ray as library
    from ray.util.joblib import register_ray
    from ray.util.multiprocessing import Pool

    library.init(
        num_cpus=2 * WORKERS,  # the actors of the pool keep theirs
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
    )
    try:
        register_ray()
        with Pool(WORKERS) as pool:

            def by_joblib(fn: Callable[[Any], Any], n: int) -> object:
                with joblib.parallel_config(backend="ray", n_jobs=WORKERS):
                    return joblib.Parallel()(joblib.delayed(fn)(x) for x in range(n))

            ways: dict[str, Way] = {
                "parmap": lambda fn, n: pmap(fn, range(n), executor="ray", workers=WORKERS),
                "ray.util Pool": lambda fn, n: pool.map(fn, range(n)),
                "joblib": by_joblib,
            }
            yield ways, None
    finally:
        library.shutdown()


ENGINES = {"dask": (dask, "distributed"), "ray": (ray, "ray")}


# Measuring


def seconds_of(way: Way, fn: Callable[[Any], Any], n: int) -> float:
    """Return how long *way* takes for *n* tasks."""
    began = time.perf_counter()
    way(fn, n)
    return time.perf_counter() - began


def measured(way: Way, load: Load, n: int) -> float:
    """Return the time of *n* tasks of *load*, in units of the shortest possible."""
    return seconds_of(way, task_of(load), n) / (n * load.seconds / WORKERS)


def loopback() -> int:
    """Return how many bytes have crossed the loopback device, whoever sent them; 0: unknown."""
    try:
        lines = Path("/proc/net/dev").read_text("ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.split()[0] == "lo:")


def affordable(name: str, way: Way, load: Load) -> int:
    """Try *way*; return how many tasks of *load* it can do in the longest time allowed."""
    n = min(TRIAL, load.tasks)
    seconds_of(way, abs, n)  # workers are ready then
    if load.large:
        return load.tasks if name == "parmap" else FEW
    a_task = seconds_of(way, task_of(load), n) / n
    return max(n, min(load.tasks, round(LONGEST / a_task)))


def rounds_of(
    ways: dict[str, Way], load: Load, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return times, and MB that crossed, of each way in each round; a way that fails has none."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    crossed: dict[str, list[float]] = {name: [] for name in ways}
    counts = {}
    for name, way in ways.items():
        try:
            counts[name] = affordable(name, way, load)
        except Exception as error:
            say(f"{load.title}: {name}: {type(error).__name__}: {error}")
    for number in range(rounds):
        for name, n in counts.items():
            seconds_of(ways[name], abs, WORKERS)
            time.sleep(SETTLING)
            before = loopback()
            found[name].append(measured(ways[name], load, n))
            crossed[name].append((loopback() - before) / 1e6)
            say(f"{load.title}, round {number + 1}, {name}: {found[name][-1]:.2f} ({n:,} tasks)")
    return found, crossed


def row(load: Load, found: dict[str, list[float]], crossed: dict[str, list[float]]) -> list[str]:
    """Return a row of the table: times, then parmap's over the best other's, round by round."""
    title = load.title
    cells = [f"{median(times):.2f}" if times else "failed" for times in found.values()]
    if load.large:
        moved = [f" ({median(mb):,.0f} MB)" if mb else "" for mb in crossed.values()]
        cells = [cell + more for cell, more in zip(cells, moved, strict=True)]
    ours = found.get("parmap", [])
    others = [times for name, times in found.items() if name != "parmap" and times]
    best = min(others, key=median, default=None)
    if best is None or not ours:
        return [title, *cells, ""]
    return [title, *cells, f"{median(a / b for a, b in zip(ours, best, strict=True)):.2f}"]


def cost_of_a_chunk(executor: str) -> float:
    """Return the seconds of this process for a chunk: where one caller serves all, its limit."""
    options: dict[str, Any] = {"executor": executor, "workers": WORKERS, "chunksize": 1}
    pmap(abs, range(200), **options)
    began = time.process_time()
    pmap(abs, range(CHUNKS), **options)
    return (time.process_time() - began) / CHUNKS


# Simulation

CROWDS = (2, 10, 100, 1000)
TASKS = {"1 ms": 0.001, "10 ms": 0.010, "100 ms": 0.100, "1 s": 1.0}
SPAN = 60.0  # seconds of work for each worker
FAR = getattr(chunking, "FAR", 1.0)  # by how much chunks are longer in a cluster


def efficiency(dispatch: float, workers: int, seconds: float, *, far: bool = False) -> float:
    """Return what part of the time *workers* are busy if a chunk costs the caller *dispatch*."""
    costs = Equal(round(SPAN / seconds) * workers, seconds)
    longer: dict[str, Any] = {"far": FAR} if far and FAR > 1 else {}
    policy, budget = chunking.Sizes(**longer), chunking.budget(workers, **longer)
    # Where the engine has a queue, one more chunk waits for each worker.
    ahead = int(far)
    return simulate(costs, workers, policy, budget, dispatch=dispatch, ahead=ahead).efficiency


def simulated(costs: dict[str, float]) -> str:
    """Return the table of efficiencies, in percent, by the cost of a chunk under each name."""
    head = ["executor", "a chunk", "workers", *(f"tasks of {name}" for name in TASKS)]
    rows = [
        [name, f"{cost * 1e6:,.0f} us", f"{workers:,}"]
        + [f"{100 * efficiency(cost, workers, task, far=far):.0f}" for task in TASKS.values()]
        for name, cost in costs.items()
        for far in (name != "processes",)
        for workers in CROWDS
    ]
    return table(head, rows)


# The page


def versions(*names: str) -> str:
    """Return the versions of packages, as they are installed."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def main() -> None:
    """Measure, simulate, and write the tables into the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.clusters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--engines", default=",".join(ENGINES), help="default: %(default)s")
    parser.add_argument("--loads", default=",".join(LOADS), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", type=float, default=1.0, help="of the tasks of each load")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args()
    loads = [LOADS[name] for name in options.loads.split(",")]
    loads = [load._replace(tasks=max(1, round(load.tasks * options.part))) for load in loads]
    costs = {"processes": cost_of_a_chunk("processes")}
    for name in options.engines.split(","):
        engine, package = ENGINES[name]
        try:
            importlib.import_module(package)
        except ImportError as error:
            text = f"Not measured: {error}."
        else:
            text = measure(name, engine, package, loads, options.rounds, costs)
        say(f"{text}\nwritten: {fill('clusters.md', text, options.output, name)}")
    text = simulated(costs)
    say(f"{text}\nwritten: {fill('clusters.md', text, options.output, 'simulation')}")


def measure(
    name: str,
    engine: Callable[[], Any],
    package: str,
    loads: list[Load],
    rounds: int,
    costs: dict[str, float],
) -> str:
    """Return the text on an engine; add to *costs* what a chunk costs the caller there."""
    with engine() as (ways, scheduler):
        rows = [row(load, *rounds_of(ways, load, rounds)) for load in loads]
        try:
            before = scheduler and scheduler()
            costs[name] = cost_of_a_chunk(name)
            if scheduler:
                costs[f"{name}, its scheduler"] = (scheduler() - before) / (CHUNKS + 200)
        except Exception as error:
            say(f"{name}: {type(error).__name__}: {error}")
        head = ["time", *ways, "parmap over the best other"]
    load = f"load of the machine: {os.getloadavg()[0]:.1f}"
    return f"{versions(package, 'joblib')}; medians of {rounds}; {load}.\n\n{table(head, rows)}"


if __name__ == "__main__":
    main()

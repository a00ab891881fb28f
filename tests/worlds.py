"""A scripted world for "auto": what is measured, how long tasks seem to take, what pools do."""

from collections import OrderedDict

import pytest
from scripted import Scripted

from parmap import shutdown
from parmap._choice import auto, history
from parmap._choice.auto import Auto
from parmap._choice.auto_thread import Companion
from parmap._choice.options import DEFAULTS
from parmap._choice.plan import sizes
from parmap._choice.serial_or_parallel import Facts, Measured
from parmap._engine.scheduler import Run
from parmap._engine.slices import LazyItems
from parmap._engine.source import Source
from parmap._records.work import Call, Report


def seen(cost, tasks=10, cpu=1.0, looks=0, free=0, moved=100, sendable=True):
    """Return measurements of *tasks* tasks of *cost* seconds, *cpu* of it processor time."""
    measured = Measured()
    measured.tasks, measured.wall, measured.cpu = tasks, tasks * cost, tasks * cost * cpu
    measured.looks, measured.free = looks, free
    measured.moved, measured.unsendable = moved, "" if sendable else "no"
    return measured


def facts(measured, remaining=100, workers=2, **others):
    """Return what is known when *measured* was seen, and *others* by name; long tasks compute."""
    known = Facts(measured, workers, remaining)
    vars(known).update({"long_cpu": others.get("long", 0.0), **others})
    return known


@pytest.fixture
def forget(monkeypatch):
    """Let every test meet its functions for the first time, without workers of other tests."""
    shutdown()
    monkeypatch.setattr(history, "_known", OrderedDict())
    monkeypatch.setattr(history, "_sizes", {})
    monkeypatch.setattr(history, "_lost", 0.0)


@pytest.fixture
def slow(monkeypatch):
    """Let the caller's tasks seem to take as many seconds as the returned list says, each."""
    cost = {"wall": 0.1, "cpu": 0.1}
    truly = auto.run_here

    def scripted(call, chunk, budget):
        if isinstance(chunk.items, LazyItems):
            chunk.items._size = 1
            report = truly(call, chunk, 60.0)
            chunk = report.chunk
        else:
            report = truly(call, chunk.part(0, 1), 60.0)
        return Report(
            chunk, report.values, report.caught, cost["wall"], cost["cpu"]
        )  # one task a chunk: the rest is handed back, as if the time was up

    monkeypatch.setattr(auto, "run_here", scripted)
    # Nobody looks beside tasks that only seem to take time: it would see the machine's other work.
    monkeypatch.setattr(Companion, "_look", lambda *_: None)
    return cost


class Pool(Scripted):
    """A pool that remembers what it was made for."""

    ready = True


class World:
    """Makes the pools, and tells which were asked for."""

    def __init__(self, fn, pool=Pool, **options):
        self.asked = []
        self.pools = []
        self.fn = fn
        self.pool = pool
        self.options = options

    def make(self, choice):
        self.waits = choice.waits
        self.asked.append(choice.where)
        self.pools.append(self.pool(self.fn, **self.options))
        return self.pools[-1]


def results(world, items, workers=2, size=None, tell=None):
    source, call = Source((items,)), Call(world.fn, "item")
    executor = Auto(call, source, workers, world.make, tell)
    options = {**DEFAULTS, "chunksize": size or "auto"}
    run = Run(source, executor, sizes(call, options))
    values = {}
    while batches := run.advance():
        for batch in batches:
            assert not batch.failures, batch.failures
            values.update(enumerate(batch.values, batch.start))
    run.close()
    return [values[i] for i in sorted(values)]

"""The iterator of `pimap`, whose results are handed out in blocks, and the loop in the workers."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from itertools import count, islice
from threading import Barrier, Thread

import pytest
import work

from parmap import Failure, pimap
from parmap._engine import results
from parmap._engine.results import FASTER, READ_ON, Stream
from parmap._records.work import Batch, Call, Chunk
from parmap._workers import tasks
from parmap._workers.status_block import RUNNING, SINCE, STOP, new_status
from parmap._workers.tasks import run_chunk


class ScriptedRun:
    """A run whose batches are there at once; it writes down what it is asked for."""

    def __init__(self, batches, horizon=10**6):
        self.batches = batches
        self.asked = []
        self.closed = False
        self.ahead = horizon

    def advance(self, limit=None, *, block=True):
        self.asked.append((limit, block))
        return [self.batches.pop(0)] if block and self.batches else []

    def horizon(self, read):
        return self.ahead

    def close(self):
        self.closed = True


class Clock:
    """A clock that goes on when it is told to, or by *step* each time somebody looks."""

    def __init__(self, step=0.0):
        self.now = 100.0
        self.step = step

    def __call__(self):
        self.now += self.step
        return self.now


def stream(run, *, ordered=True, buffersize=None):
    return Stream(run, "raise", ordered=ordered, buffersize=buffersize)


def test_a_stream_is_its_own_iterator():
    """`iter(stream)` is the stream, also after results were read."""
    read = pimap(work.double, range(9), executor="serial")
    assert iter(read) is read
    assert next(read) == 0
    assert iter(read) is read
    assert [*read] == [*range(2, 17, 2)]


@pytest.mark.parametrize("before", [0, 1, 2, 300])
def test_nothing_is_given_after_close(before):
    """A stream closed in the middle of what it was given gives nothing more."""
    run = ScriptedRun([Batch(0, [*range(1000)])])
    read = stream(run)
    assert [*islice(read, before)] == [*range(before)]
    read.close()
    assert [*read] == []
    assert run.closed


def test_a_stream_that_is_dropped_is_closed():
    """Throwing a stream away in the middle closes its call at once, without a collection."""
    run = ScriptedRun([Batch(0, [*range(1000)])])
    read = stream(run)
    gc.disable()
    try:
        assert [*islice(read, 300)] == [*range(300)]
        gone = weakref.ref(read)
        del read
        assert gone() is None
    finally:
        gc.enable()
    assert run.closed


def test_what_is_handed_out_is_not_read_yet(monkeypatch):
    """No run is ever asked for more than *buffersize* tasks beyond what the reader has."""
    clock = Clock(READ_ON / 3)
    monkeypatch.setattr(results, "monotonic", clock)
    run = ScriptedRun([Batch(start, [*range(start, start + 100)]) for start in range(0, 2000, 100)])
    advance, had = run.advance, [0]

    def check(limit, *, block=True):
        assert limit <= had[0] + 7
        return advance(limit, block=block)

    run.advance = check
    for had[0], value in enumerate(stream(run, buffersize=7), 1):
        assert value == had[0] - 1
    assert had[0] == 2000
    assert any(not block for _, block in run.asked)


def test_workers_are_seen_to_between_any_two_results_of_a_slow_reader(monkeypatch):
    """A reader that takes longer than `READ_ON` for a result has the run go on after each."""
    clock = Clock()
    monkeypatch.setattr(results, "monotonic", clock)
    run = ScriptedRun([Batch(0, [*range(50)])])
    for value in stream(run):
        assert len(run.asked) == 1 + value
        clock.now += 2 * READ_ON


def test_a_reader_who_slows_down_is_given_less(monkeypatch):
    """After a block that took too long, the next holds what is read within `READ_ON`."""
    clock = Clock()
    monkeypatch.setattr(results, "monotonic", clock)
    run = ScriptedRun([Batch(0, [*range(10_000)])])
    read = stream(run)
    given = sum(FASTER**power for power in range(4))  # in blocks that grow
    assert [*islice(read, given)] == [*range(given)]
    for _ in range(FASTER**4):  # the block that was as large as the reader was quick
        next(read)
        clock.now += READ_ON / 4
    assert len(run.asked) == 1
    for _ in range(40):
        next(read)
        clock.now += READ_ON / 4
    assert len(run.asked) >= 8


def test_results_before_a_failure_come_first():
    """What a batch has before its failed task is given, then the error is raised, then nothing."""
    error = KeyError("x")
    failure = Failure(300, "300", error, "", "error", 1, 0.0, 0)
    run = ScriptedRun([Batch(0, [*range(300), None, 301], {300: failure}), Batch(302, [302])])
    read = stream(run)
    assert [*islice(read, 300)] == [*range(300)]
    with pytest.raises(KeyError):
        next(read)
    assert [*read] == []
    assert run.closed


def test_threads_that_share_a_stream_get_every_result_once():
    """Several threads may read one stream: each result goes to one of them, none is lost."""
    run = ScriptedRun([Batch(start, [*range(start, start + 97)]) for start in range(0, 9700, 97)])
    read, together, found = stream(run), Barrier(4), []

    def take():
        together.wait()
        found.append([*read])

    threads = [Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(value for some in found for value in some) == [*range(9700)]


def test_a_task_that_reads_its_own_stream_fails_and_the_stream_goes_on():
    """Such a task has a ValueError; all others have their results."""

    def task(item):
        return next(read) if item == 5 else item

    read = pimap(task, range(20), executor="serial", on_error="return")
    found = [*read]
    assert isinstance(found[5].exception, ValueError)
    assert found[:5] + found[6:] == [*range(5), *range(6, 20)]


@pytest.mark.parametrize("make", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_stream_is_neither_pickled_nor_copied(make):
    """Two streams of one call would take each other's results."""
    with pimap(work.double, count(), executor="serial") as read:
        assert next(read) == 0
        with pytest.raises(TypeError, match="Stream"):
            make(read)


def test_the_status_says_which_task_runs():
    """While a task runs its index stands in the status, however short the tasks are."""
    status = new_status()
    report = run_chunk(
        Call(lambda _: status[RUNNING], "item"), Chunk(40, [None] * 3000), 60.0, status
    )
    assert report.values == [*range(40, 3040)]


def test_the_status_says_when_a_task_with_a_timeout_began(monkeypatch):
    """Under a timeout each task's own beginning stands in the status: none seems older than it."""
    clock, status = Clock(), new_status()
    monkeypatch.setattr(tasks, "perf_counter", clock)

    def task(_):
        assert status[SINCE] == clock.now
        clock.now += 1e-6

    report = run_chunk(Call(task, "item"), Chunk(0, [None] * 50), 60.0, status, timeout=1.0)
    assert len(report.values) == 50
    assert not report.caught


def test_a_loop_that_is_told_to_stop_stops(monkeypatch):
    """After the status says stop, no more tasks begin than half a millisecond holds."""
    clock, status = Clock(), new_status()
    monkeypatch.setattr(tasks, "perf_counter", clock)

    def task(item):
        status[STOP] = item >= 100
        clock.now += tasks.BLOCK / 10

    report = run_chunk(Call(task, "item"), Chunk(0, range(1000)), 60.0, status)
    assert 101 <= len(report.values) <= 111


def test_a_loop_of_short_tasks_ends_with_the_task_that_uses_up_its_time(monkeypatch):
    """A long task after many short ones is the last of its chunk: the clock is read for each."""
    clock = Clock()
    monkeypatch.setattr(tasks, "perf_counter", clock)

    def task(item):
        clock.now += 5.0 if item == 200 else 1e-7

    report = run_chunk(Call(task, "item"), Chunk(0, range(1000)), 1.0, new_status())
    assert len(report.values) == 201

"""What "auto" does when a choice was wrong: the comparison with the loop, and the way back."""

import logging
import math
from fnmatch import fnmatch

import pytest
from worlds import Pool, World, facts, results, seen

from parmap._choice import auto, auto_facts, auto_pool, history
from parmap._choice.comparison import ENOUGH, Comparison
from parmap._choice.serial_or_parallel import LOOKS, MOST_DOUBT, WARM_START, Measured, decide
from parmap._engine.source import Source
from parmap._records.work import Call, Chunk, Report

pytestmark = pytest.mark.usefixtures("forget")


def told(seconds, cpu=None):
    """Return what a worker tells of a task that took *seconds*, all of it processor time."""
    return Report(Chunk(0, [0]), [0], None, seconds, seconds if cpu is None else cpu)


@pytest.mark.parametrize(
    ("where", "measured", "seconds", "cpu", "spent", "speed"),
    [
        # of two workers one report came each 10 ms
        ("processes", seen(0.02), 0.02, 0.02, 0.01, 2.0),  # both are busy all the time
        ("processes", seen(0.02), 0.02, 0.02, 0.05, 0.4),  # moving takes longer than the tasks
        ("processes", seen(0.02), 0.02, 0.005, 0.01, 2.0),  # others took the processors
        ("processes", seen(0.02), 0.01, 0.01, 0.01, 1.0),  # one worker at a time
        ("threads", seen(0.02), 0.02, 0.02, 0.01, 2.0),  # the GIL is free
        ("threads", seen(0.02), 0.02, 0.01, 0.01, 1.0),  # it is not: each waits half of its time
        ("threads", seen(0.02, cpu=0.5), 0.02, 0.005, 0.01, 1.0),  # the loop had half a processor
        ("threads", seen(0.02), 0.03, 0.03, 0.015, 5 / 3),  # these are larger, in part
        ("threads", seen(0.02), 0.04, 0.03, 0.02, 1.0),  # these wait, and take turns for long
    ],
)
def test_a_pool_is_held_against_the_loop(where, measured, seconds, cpu, spent, speed):
    """What counts is how many seconds of the loop's tasks are done in a second of the call."""
    comparison = Comparison(where)
    measured.ran_here(10, 0.2)
    comparison.begin(measured, 2, None)
    for _ in range(10):
        comparison.spend(spent)
        comparison.add(told(seconds, cpu))

    assert comparison.speed == pytest.approx(speed)
    assert comparison.is_lost is (speed < (0.95 if where == "processes" else 1.2))


@pytest.mark.parametrize(
    ("measured", "reports", "spent"),
    [
        (seen(0.02), 2, 1.0),  # as many as there are workers: the next are on their way
        (seen(0.02), 10, ENOUGH["processes"] / 10),
        (seen(0.02, cpu=0.0), 100, 1.0),  # a task that waits takes no longer beside others
    ],
)
def test_nothing_is_said_before_it_can_be_told(measured, reports, spent):
    """A pool is not judged by its start, by less than the noise of a machine, or by waits."""
    comparison = Comparison("processes")
    comparison.begin(measured, 2, None)
    for _ in range(reports):
        comparison.spend(spent)
        comparison.add(told(1e-6))

    assert not comparison.is_lost


@pytest.mark.parametrize("tasks", [1, 2])
def test_first_tasks_in_threads_are_no_measure(tasks):
    """Threads are judged by more than the first task of each, unless that takes long."""
    comparison = Comparison("threads")
    comparison.begin(seen(0.01), 2, 0.0)
    for _ in range(2):
        comparison.spend(0.04)
        comparison.add(Report(Chunk(0, [0] * tasks), [0] * tasks, None, 0.01, 0.005))
    assert comparison.is_lost is (tasks == 2)

    comparison.spend(0.03)
    assert comparison.is_lost


@pytest.mark.parametrize(("alone", "lost"), [(True, False), (False, True)])
def test_threads_give_way_to_processes_that_are_there(alone, lost):
    """Threads that are little better than the loop stay, unless workers have the function."""
    comparison = Comparison("threads")
    comparison.begin(seen(0.02), 2, None, alone=alone)
    for _ in range(100):
        comparison.spend(0.0175)
        comparison.add(told(0.02))

    assert comparison.is_lost is lost


@pytest.mark.parametrize(("cpu", "waits", "speed"), [(0.02, False, 2.0), (0.0, True, math.inf)])
def test_threads_beside_a_first_long_task_have_their_chance(cpu, waits, speed):
    """Where no task of the function has ended here, what theirs take counts; waits never lose."""
    comparison = Comparison("threads")
    comparison.begin(Measured(), 2, 0.0, waits=waits)
    for _ in range(1000):
        comparison.spend(0.01)
        comparison.add(told(0.02, cpu))

    assert comparison.speed == pytest.approx(speed, rel=0.02)
    assert not comparison.is_lost


def test_what_is_under_way_counts_as_long_as_it_matters():
    """A pool that began with nothing is not taken for slow because its first tasks go on."""
    comparison = Comparison("threads")
    comparison.begin(seen(0.02), 2, 0.0)
    comparison.spend(0.049)  # two each, 5 ms apart, and the next are half done
    for _ in range(4):
        comparison.add(told(0.02))
    assert comparison.speed == pytest.approx(0.1 / 0.049)

    for _ in range(40):  # but these have waited for each other
        comparison.spend(0.02)
        comparison.add(told(0.02))
    assert comparison.speed == pytest.approx(1.0, rel=0.1)
    assert comparison.is_lost


@pytest.fixture
def clock(monkeypatch):
    """Let auto live in a time that only passes when it is moved."""
    now = [100.0]
    for module in (auto, auto_facts, auto_pool):
        monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


def useless(clock, cpu):
    """Return a kind of pool in which each chunk takes the time of two, *cpu* of it computing."""

    class Useless(Pool):
        def wait(self, seconds):
            reports = super().wait(None)
            for report in reports:
                report.seconds, report.cpu = 0.1, 0.1 * cpu
                clock[0] += 0.2
            return reports

    return Useless


def test_what_the_caller_does_beside_threads_counts_for_them(clock):
    """The seconds of a long task in the caller, beside which threads were started, are no loss."""
    call, source = Call(abs, "item"), Source((range(100),))
    chooser = auto_facts.Chooser(call, source, 2, None)
    chooser.facts.pool = "threads"
    chooser.compare(0.0)
    with chooser.spending:
        clock[0] += 0.5
    chooser.measure(told(0.5))
    for _ in range(4):
        assert chooser.accept(told(0.01))

    assert chooser.comparison.speed > 1
    assert chooser.reconsider() is None


def test_the_start_of_threads_is_not_held_against_them():
    """A pool of threads is watched from its first report on, one of warm processes at once."""
    assert auto_pool.Pool(Pool(abs), "threads", 2, 0.0).spent is None
    assert auto_pool.Pool(Pool(abs), "processes", 2, 0.0).spent > 0


def test_processes_that_lose_are_left(slow, clock, caplog):
    """Where moving the data takes longer than the tasks, the caller does the rest, all once."""
    ran = []

    def task(x):
        ran.append(x)
        return -x

    world = World(task, useless(clock, 1.0))
    with caplog.at_level(logging.DEBUG, "parmap"):
        assert results(world, range(100), size=1) == [-x for x in range(100)]

    assert sorted(ran) == list(range(100))
    assert world.asked == ["processes"]
    assert world.pools[0].closed == 1
    assert len(world.pools[0].log) < 10
    lines = ["processes: * s are left*", "serial: worker processes were slower than the loop"]
    assert len(caplog.messages) == 2
    assert all(map(fnmatch, caplog.messages, lines)), caplog.messages


def test_threads_that_lose_give_way_to_processes(slow, clock):
    """A GIL that was taken for free is found out by what comes of it, and not believed again."""
    history.remember(str, seen(0.1, looks=2 * LOOKS, free=2 * LOOKS))
    world = World(str, useless(clock, 0.5))
    first = world.make

    def make(choice):
        if choice.where == "processes":
            world.pool = Pool
        return first(choice)

    world.make = make

    assert results(world, range(100), size=1) == [str(x) for x in range(100)]
    assert world.asked == ["threads", "processes"]
    assert [pool.closed for pool in world.pools] == [1, 1]
    again = decide(facts(history.recall(str), start=WARM_START))
    assert again.where == "processes", again.why


def test_no_more_tasks_run_than_there_are_workers_while_a_pool_is_left(slow, clock, monkeypatch):
    """The caller begins with a task of its own when the pool has one less."""
    world = World(str, useless(clock, 1.0))
    truly = auto.run_here

    def beside(*arguments):
        assert not world.pools or len(world.pools[0].out) < 2
        return truly(*arguments)

    monkeypatch.setattr(auto, "run_here", beside)

    assert results(world, range(60), size=1) == [str(x) for x in range(60)]


def test_what_lost_is_tried_again_later_and_less_often(slow, clock):
    """A doubt is for the next calls: two after the first time, then four, and so on."""
    tried = []
    for _ in range(16):
        world = World(str, useless(clock, 1.0))
        results(world, range(100), size=1)
        tried.append(bool(world.asked))

    assert [call for call, was in enumerate(tried) if was] == [0, 3, 8]


def test_a_doubt_ends_when_it_turns_out_well():
    """A place that was slower once, and then was not, is trusted again."""
    measured = seen(0.1)
    measured.doubt("processes", 1.0)
    measured.end_call("serial", 0.0)
    assert measured.is_doubted("processes", 1.0)

    for _ in range(2):
        measured.end_call("serial", 0.0)
    assert not measured.is_doubted("processes", 1.0)
    measured.end_call("processes", 1.0)
    assert measured.doubts == {}


def test_a_doubt_has_bounds():
    """However often a place was slower, some call tries it again."""
    measured = seen(0.1)
    for _ in range(20):
        measured.doubt("threads", 1.0)
    for _ in range(MOST_DOUBT + 1):
        measured.end_call("serial", 0.0)

    assert not measured.is_doubted("threads", 1.0)


def test_what_lost_with_little_may_win_with_much():
    """A doubt is of calls that have no more to do than the one that lost."""
    measured = seen(0.1)
    measured.doubt("processes", 1.0)

    assert [measured.is_doubted("processes", left) for left in (0.01, 1.0, 8.0)] == [1, 1, 0]

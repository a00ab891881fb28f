"""`deadline=`: the arithmetic in a scripted world, and the promise wherever tasks run."""

import asyncio
import itertools
import os
import random
import threading
from functools import partial
from time import monotonic

import pytest
import work
from conftest import SIDE_BY_SIDE
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted

from parmap import (
    Failure,
    Pool,
    TaskTimeout,
    aio,
    delayed,
    parallel,
    parallel_config,
    partition,
    pcall,
    picall,
    pimap,
    pistarmap,
    pmap,
    pstarmap,
)
from parmap._engine import deadline
from parmap._engine.chunking import Sizes
from parmap._engine.deadline import Bounded
from parmap._engine.scheduler import Run
from parmap._engine.source import Source
from parmap._executors.serial import Serial
from parmap._records.work import Call, Loss, Report
from parmap._workers.status_block import new_status
from parmap._workers.tasks import run_chunk

# In a scripted world


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Hanging(Scripted):
    """Takes a second for each task that is not *hung*; of those, chunks are never answered.

    With *kills*, those can be killed.
    """

    def __init__(self, clock, hung=(), kills=True, fn=lambda x: 2 * x, **options):
        super().__init__(fn, **options)
        self.clock, self.hung, self.kills = clock, set(hung), kills
        self.waits = []
        self.dead = []

    def wait(self, seconds):
        assert seconds is not None
        assert not self.closed
        self.waits.append(seconds)
        dead, self.dead = self.dead, []
        able = [chunk for chunk in self.out if not self.hung & set(chunk.items)]
        if dead or seconds == 0:
            return dead
        if not able or sum(map(len, able[:1])) > seconds:
            self.clock.now += seconds
            return []
        self.out.remove(able[0])
        self.clock.now += len(able[0])
        return [run_chunk(self.call, able[0], 60.0, new_status())]

    def kill_overdue(self, timeout):
        for chunk in [*self.out] if self.kills else ():
            if hung := self.hung & set(chunk.items):
                self.out.remove(chunk)
                loss = Loss(TimeoutError(), "timeout", "bisect", min(hung), 7.0, 11, "here")
                self.dead.append(Report(chunk, [], loss=loss))
        return 1.0 if self.kills else None


def bounded(executor, items, seconds=10, size=1, retries=0):
    """Return a run whose deadline is after so many *seconds* of the executor's clock."""
    source = Source((items,))
    until = Bounded(executor, source, seconds, seconds, executor.clock)
    return Run(source, until, Sizes(size), retries)


def outcome(run, limit=None):
    """Return what becomes of each task, by index: a value, or the Failure; errors of the input."""
    done, errors = {}, []
    while batches := run.advance(limit):
        for batch in batches:
            errors += [batch.error] if batch.error else []
            for position, value in enumerate(batch.values):
                assert batch.start + position not in done
                done[batch.start + position] = batch.failures.get(position, value)
    run.close()
    assert sorted(done) == list(range(len(done)))
    return done, errors


def values_of(done):
    return {index: value for index, value in done.items() if not isinstance(value, Failure)}


def failures_of(done):
    return [value for value in done.values() if isinstance(value, Failure)]


def test_a_call_that_ends_in_time_knows_nothing_of_its_deadline():
    """Until the deadline chunks go out as they would without, and the executor is closed once."""
    executor, other = Hanging(Clock()), Scripted(lambda x: 2 * x)
    done, errors = outcome(bounded(executor, range(50), 60, 3))

    assert (done, errors) == outcome(Run(Source((range(50),)), other, Sizes(3)))
    assert executor.log == other.log
    assert executor.closed == 1


def test_no_wait_is_longer_than_what_is_left():
    """The executor is never waited for beyond the deadline, but for the moment after it."""
    executor = Hanging(Clock(), hung={5})
    outcome(bounded(executor, range(20)))

    assert max(executor.waits) <= 10
    assert executor.clock.now <= 10 + deadline.GRACE + deadline.MORE


def test_what_is_not_finished_at_the_deadline_fails():
    """Results that are there are kept; what ran is killed; what had not begun never does."""
    executor = Hanging(Clock(), hung={3})
    done, _ = outcome(bounded(executor, range(20), 6))

    assert values_of(done) == {n: 2 * n for n in (0, 1, 2, 4, 5, 6)}
    assert {failure.kind for failure in failures_of(done)} == {"timeout"}
    assert {type(failure.exception) for failure in failures_of(done)} == {TaskTimeout}
    assert all("deadline of 6 s" in str(failure.exception) for failure in failures_of(done))
    assert [failure.index for failure in failures_of(done) if failure.attempts] == [3]
    assert max(start for start, _ in executor.log) < 9
    assert executor.closed == 1


def test_what_was_killed_says_where_it_stood():
    """The Failure of a task that still ran has its worker's pid, its time and its stack."""
    done, _ = outcome(bounded(Hanging(Clock(), hung={3}), range(5)))

    assert (done[3].worker, done[3].seconds, done[3].traceback) == (11, 7.0, "here")
    assert "killed" in str(done[3].exception)
    assert str(done[3].exception).endswith("here")


def test_where_nothing_can_be_killed_what_is_out_has_been_tried():
    """On an executor that cannot kill, what it has at the deadline counts as an attempt."""
    done, _ = outcome(bounded(Hanging(Clock(), hung={3}, kills=False), range(20), 6))

    assert "had not finished" in str(done[3].exception)
    assert (done[3].attempts, done[19].attempts) == (1, 0)


def test_what_was_in_one_chunk_with_a_killed_task_has_its_result(monkeypatch):
    """Tasks before and after it in the same message run again, and no other does."""
    monkeypatch.setattr(deadline, "MORE", 20.0)  # seconds: one for each of them
    executor = Hanging(Clock(), hung={3, 14})
    done, _ = outcome(bounded(executor, range(25), 9, 5))

    assert values_of(done) == {n: 2 * n for n in range(15) if n not in (3, 14)}
    assert {n: failure.attempts for n, failure in done.items() if n not in values_of(done)} == {
        **dict.fromkeys((3, 14), 1),
        **dict.fromkeys(range(15, 25), 0),
    }
    assert sorted(executor.log) == [(0, 3), (0, 5), (4, 1), (5, 5), (10, 4), (10, 5)]


def test_a_neighbour_that_hangs_as_well_is_not_waited_for():
    """What runs again and does not end in a moment either fails without an attempt of its own."""
    executor = Hanging(Clock(), hung={2, 4})
    done, _ = outcome(bounded(executor, range(5), size=5))

    assert {n: failure.attempts for n, failure in done.items()} == {0: 0, 1: 0, 2: 1, 3: 0, 4: 0}
    assert executor.clock.now <= 10 + deadline.GRACE + deadline.MORE


def test_retries_stop_at_the_deadline():
    """A task that would be tried again after it has failed, and is not; its tries are counted."""

    def fail(x):
        raise ConnectionError

    executor = Hanging(Clock(), fn=fail, workers=1)
    done, _ = outcome(bounded(executor, [0], 5, retries=100))

    assert (done[0].kind, done[0].attempts) == ("timeout", 5)
    assert executor.clock.now <= 5 + deadline.GRACE


def test_an_input_in_memory_comes_to_its_end():
    """However late it is, each task of a list has its place."""
    executor = Hanging(Clock(), fn=lambda x: executor.clock.__setattr__("now", 1000.0))
    done, errors = outcome(bounded(executor, [*range(100)], 3))

    assert (len(done), errors) == (100, [])
    assert len(failures_of(done)) > 90


def test_an_input_that_goes_on_for_ever_is_given_up():
    """An iterator that has not ended when the deadline is over for as long again is an error."""
    executor = Hanging(Clock())

    def endless():
        for n in itertools.count():
            executor.clock.now += 1.0
            yield n

    done, (error,) = outcome(bounded(executor, endless(), 20))

    assert isinstance(error, TaskTimeout)
    assert "the input had not ended" in str(error)
    assert 20 < len(done) < 45
    assert failures_of(done)


def test_an_iterator_that_ends_in_time_has_all_its_places():
    """One that ends before the deadline is over for as long again is drawn to its end."""
    executor = Hanging(Clock(), hung=range(1000))
    done, errors = outcome(bounded(executor, iter(range(500))))

    assert (len(done), errors) == (500, [])


class Watch(Serial):
    """The caller, with a clock that its tasks set forward."""

    def __init__(self, fn):
        super().__init__(Call(fn, "item"), 60.0)
        self.clock = Clock()
        self.log = []

    def wait(self, seconds):
        assert self.clock.now < 3  # else it would run a task
        return super().wait(seconds)


@pytest.mark.parametrize("kind", [list, iter, lambda items: (x for x in items)])
@pytest.mark.parametrize("size", [None, 1, 4])
def test_in_the_caller_no_task_begins_after_the_deadline(kind, size):
    """Between its tasks the caller looks at the clock; an iterator has a place for each item."""
    ran = []

    def task(x):
        ran.append(x)
        executor.clock.now += 1.0
        return 2 * x

    executor = Watch(task)
    done, errors = outcome(bounded(executor, kind(range(20)), 3, size))

    assert errors == []
    assert values_of(done) == {x: 2 * x for x in ran}
    assert len(done) == 20
    if size == 1:
        assert ran == [0, 1, 2]


def test_in_the_caller_groups_have_their_places():
    """Groups of groupby, of which none may be drawn ahead, are gone through all the same."""
    executor = Watch(lambda pair: executor.clock.__setattr__("now", 5.0) or list(pair[1]))
    done, errors = outcome(bounded(executor, itertools.groupby("aabbcc"), 3, 1))

    assert errors == []
    assert done.pop(0) == ["a", "a"]
    assert [done[n].input[:4] for n in sorted(done)] == ["('b'", "('c'"]


def test_what_the_input_raises_after_the_deadline_comes_at_its_place():
    """An error of the input is told as ever, after the tasks before it."""
    executor = Watch(lambda x: executor.clock.__setattr__("now", 5.0))
    error = LookupError("no more")
    done, errors = outcome(bounded(executor, work.broken_source(6, error), 3))

    assert errors == [error]
    assert len(done) == 6


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(0, 40),
    hung=st.sets(st.integers(0, 39), max_size=6),
    size=st.integers(1, 6),
    workers=st.integers(1, 4),
    seconds=st.integers(1, 50),
    kills=st.booleans(),
    listed=st.booleans(),
    retries=st.integers(0, 2),
    seed=st.integers(0, 100),
)
def test_whatever_hangs_every_task_ends_once(
    n, hung, size, workers, seconds, kills, listed, retries, seed
):
    """For any hung tasks, sizes and deadlines: a right value or a Failure for each, none twice."""
    chance = random.Random(seed)
    bad = {x for x in range(n) if chance.random() < 0.1}
    executor = Hanging(Clock(), hung, kills, partial(work.refuse, bad), workers=workers)
    items = list(range(n)) if listed else iter(range(n))
    done, errors = outcome(bounded(executor, items, seconds, size, retries))

    assert (sorted(done), errors) == (list(range(n)), [])
    assert all(value == x for x, value in values_of(done).items())
    assert not values_of(done).keys() & (hung | bad)
    assert all(
        failure.kind == "timeout" or (failure.index in bad and failure.attempts == retries + 1)
        for failure in failures_of(done)
    )
    assert executor.clock.now <= seconds + size + deadline.GRACE + deadline.MORE


# Wherever tasks run.  The time is over as soon as a test says so, and not before.


class Time:
    """Stands still until its *over* says that a deadline of 60 seconds is over."""

    over = staticmethod(lambda: False)
    beyond = 0.0

    def __call__(self):
        return monotonic() + 60 + self.beyond if self.over() else 0.0


@pytest.fixture
def time(monkeypatch):
    """The clock by which deadlines are kept."""
    clock = Time()
    monkeypatch.setattr(deadline, "LONGEST", 0.02)
    monkeypatch.setattr(deadline, "Bounded", partial(Bounded, clock=clock))
    return clock


@pytest.fixture(params=["auto", *SIDE_BY_SIDE])
def beside(request, places):
    """Every place where a task that hangs leaves another worker."""
    return places(request.param)


def hang_at(gate, bad, x):
    """Return *x*, but of those in *bad* only when there is a file at *gate*; see `hangs`."""
    if x in bad:
        gate.with_suffix(".begun").touch()
    return work.wait_for(gate if x in bad else None, x)


def hangs(gate):
    """Tell whether a task waits for *gate*; a thread may take a task long before it begins it."""
    return gate.with_suffix(".begun").exists()


def test_finished_results_are_kept(beside, time, bars, tmp_path):
    """A task that hangs fails with TaskTimeout at the deadline, the others have their values."""
    gate = tmp_path / "gate"
    time.over = lambda: hangs(gate) and bool(bars.made) and bars.made[-1].n == 5
    task = partial(hang_at, gate, {2})

    results = pmap(
        task, range(6), deadline=60, on_error="return", progress=bars, chunksize=1, **beside.options
    )
    gate.touch()

    values, (failure,) = partition(results)
    assert values == [0, 1, 3, 4, 5]
    assert (failure.index, failure.kind, failure.attempts) == (2, "timeout", 1)
    assert type(failure.exception) is TaskTimeout
    assert "deadline of 60 s" in str(failure.exception)
    (bar,) = bars.made
    assert (bar.n, bar.closings) == (6, 1)
    assert "failed=1" in bar.postfix


def test_a_task_without_result_is_raised(beside, time, bars, tmp_path):
    """By default the call raises TaskTimeout at the deadline, with a note that names the task."""
    gate = tmp_path / "gate"
    time.over = lambda: hangs(gate) and bool(bars.made) and bars.made[-1].n == 5
    task = partial(hang_at, gate, {2})

    with pytest.raises(TaskTimeout, match="deadline of 60 s") as caught:
        pmap(task, range(6), deadline=60, progress=bars, chunksize=1, **beside.options)
    gate.touch()

    assert caught.value.__notes__ == ["parmap: task 2 failed in attempt 1, input: 2"]


def begin(folder, gate, x):
    """Leave a file for *x*, and hang."""
    (folder / str(x)).touch()
    return work.wait_for(gate, x)


def test_what_has_not_begun_at_the_deadline_never_does(beside, time, tmp_path):
    """While all workers hang nothing else begins, and after the deadline neither."""
    gate, folder = tmp_path / "gate", tmp_path / "begun"
    folder.mkdir()
    time.over = lambda: {"0", "1"} <= set(os.listdir(folder))

    results = pmap(
        partial(begin, folder, gate),
        range(30),
        deadline=60,
        on_error=lambda failure: failure.kind,
        chunksize=1,
        **beside.options,
    )
    gate.touch()
    pmap(work.double, range(8), **beside.options)  # behind what a lent pool may still have

    assert results == ["timeout"] * 30
    # A pool of another library's has a queue that nobody can take from.
    queued = 4 if beside.name in ("a Pool", "a loky executor", "a joblib.Parallel") else 2
    queued += 4 if beside.name == "a ProcessPoolExecutor" else 0
    assert {int(name) for name in os.listdir(folder)} <= set(range(queued))


def test_only_workers_that_hang_are_killed(time, bars, tmp_path):
    """The other worker serves the next call."""
    gate, folder = tmp_path / "gate", tmp_path / "here"
    folder.mkdir()
    time.over = lambda: hangs(gate) and bool(bars.made) and bars.made[-1].n == 9
    task = lambda x: (hang_at(gate, {0}, x), os.getpid())[1]
    options = {"executor": "processes", "workers": 2}

    first, *others = pmap(
        task, range(10), deadline=60, on_error="return", progress=bars, chunksize=1, **options
    )

    assert first.worker not in others
    assert set(others) <= set(pmap(partial(work.meet, folder, 2), range(2), **options))


def test_neighbours_in_a_message_keep_their_results(time, tmp_path, monkeypatch):
    """In worker processes a task that hangs costs no other its result, in whatever chunk it is."""
    monkeypatch.setattr(deadline, "MORE", 1e12)  # as long as it takes; time stands still till then
    gate, folder = tmp_path / "gate", tmp_path / "begun"
    folder.mkdir()
    time.over = lambda: (folder / "7").exists()

    def task(x):
        return begin(folder, gate, x) if x == 7 else x

    results = pmap(
        task, range(12), executor="processes", deadline=60, on_error=repr, chunksize=12, workers=2
    )

    assert "TaskTimeout" in results.pop(7)
    assert results == [x for x in range(12) if x != 7]


def test_a_worker_that_loads_is_not_waited_for(time, tmp_path):
    """What hangs before the first task, in an initializer say, ends at the deadline, too."""
    gate, here = tmp_path / "gate", tmp_path / "here"
    time.over = here.exists

    def initialize():
        here.touch()
        work.wait_for(gate, None)

    for executor in ("processes", "threads"):
        results = pmap(
            work.double,
            range(5),
            initializer=initialize,
            executor=executor,
            workers=1,
            deadline=60,
            on_error=lambda failure: failure.kind,
        )
        assert results == ["timeout"] * 5
    gate.touch()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", ["serial", "an Executor of one's own"])
def test_in_the_caller_the_clock_is_looked_at_between_tasks(time, places, tmp_path, name, lazy):
    """Where tasks run in the caller's thread none begins after the deadline, and none is lost."""
    time.over = lambda: len(os.listdir(tmp_path)) >= 3

    results = pmap(
        lambda x: (tmp_path / str(x)).touch() or x,
        iter(range(9)) if lazy else range(9),
        deadline=60,
        chunksize=1,
        on_error=lambda failure: (failure.kind, failure.attempts),
        **places(name).options,
    )

    assert {int(name) for name in os.listdir(tmp_path)} == {0, 1, 2}
    assert results == [0, 1, 2] + [("timeout", 0)] * 6


def test_a_task_that_was_not_begun_says_so(time):
    """The note of the exception does not speak of an attempt that there was not."""
    time.over = lambda: True

    with pytest.raises(TaskTimeout) as caught:
        pmap(abs, [-1], executor="serial", deadline=60)

    assert caught.value.__notes__ == ["parmap: task 0 was not begun, input: -1"]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_lazy_map_gives_what_is_finished_and_then_raises(time, tmp_path, ordered):
    """All results before the task without one are given before its exception is raised."""
    gate = tmp_path / "gate"
    task = partial(hang_at, gate, {3})
    given = []
    time.over = lambda: hangs(gate) and len(given) >= 3
    options = {"executor": "processes", "workers": 2, "chunksize": 1, "buffersize": 3}

    with pytest.raises(TaskTimeout, match="deadline") as caught:
        for result in pimap(task, itertools.count(), deadline=60, ordered=ordered, **options):
            given.append(result)
    assert "task 3" in caught.value.__notes__[0]
    assert given == [0, 1, 2] if ordered else 3 not in given


def test_a_lazy_map_of_an_endless_input_ends(time):
    """Failures are given after the deadline until the input is given up, with an error."""
    given = []
    time.over = lambda: len(given) >= 3

    with pytest.raises(TaskTimeout, match="the input had not ended"):
        for result in pimap(
            work.double, itertools.count(), executor="serial", deadline=60, on_error="return"
        ):
            given.append(result)
            if isinstance(result, Failure):
                time.beyond = 61.0

    assert isinstance(given[-1], Failure)
    assert given[:3] == [0, 2, 4]


def test_a_lazy_map_may_be_closed_after_the_deadline(time):
    """Who stops to read after the deadline leaves nothing behind; so does who closes twice."""
    time.over = lambda: True
    results = pimap(work.double, range(9), executor="processes", deadline=60, on_error="return")

    assert next(results).kind == "timeout"
    results.close()
    results.close()


def test_every_door_keeps_it(time):
    """The option is the same at every door, in a block and at a decorated function."""
    time.over = lambda: True
    options = {"executor": "serial", "on_error": lambda failure: failure.kind}
    pairs, tasks = [(1, 2)], [delayed(pow)(2, 3)]

    @parallel(deadline=60)
    def two(x, y=1):
        return x * y

    doors = [
        lambda **more: pmap(pow, [2], [3], **more),
        lambda **more: list(pimap(pow, [2], [3], **more)),
        lambda **more: pstarmap(pow, pairs, **more),
        lambda **more: list(pistarmap(pow, pairs, **more)),
        lambda **more: pcall(tasks, **more),
        lambda **more: list(picall(tasks, **more)),
        lambda **more: two.map([1], **{"deadline": 60} | more),
        lambda **more: two.starmap(pairs, **{"deadline": 60} | more),
        lambda **more: list(two.imap([1], **more)),
        lambda **more: list(two.istarmap(pairs, **more)),
    ]
    for door in doors:
        assert door(deadline=60, **options) == ["timeout"]
    with parallel_config(deadline=60):
        assert [door(**options) for door in doors] == [["timeout"]] * len(doors)
        assert pmap(abs, [-1], deadline=None) == [1]
    assert two.map([1], deadline=None) == [1]


def test_a_pool_keeps_it_for_each_of_its_maps(time):
    """What is submitted to a Pool has no deadline: the pool goes on for as long as it is open."""
    time.over = lambda: True

    with Pool(2, deadline=60, executor="threads") as pool:
        for _ in range(2):
            with pytest.raises(TaskTimeout):
                pool.map(abs, [-1])
            assert pool.submit(abs, -1).result() == 1
            assert pool.apply(abs, (-2,)) == 2


async def wait_at_two(x):
    return await asyncio.sleep(600 if x == 2 else 0, x)


async def awaited(*args, **options):
    return await aio.pmap(*args, **options)


@pytest.mark.parametrize(
    "door", [pmap, lambda *args, **options: asyncio.run(awaited(*args, **options))]
)
def test_coroutines_are_cancelled(door, time, bars):
    """Tasks of a coroutine function are cancelled at the deadline, also of an awaited call."""
    time.over = lambda: bool(bars.made) and bars.made[-1].n == 5

    results = door(wait_at_two, range(6), deadline=60, on_error="return", progress=bars)

    values, (failure,) = partition(results)
    assert values == [0, 1, 3, 4, 5]
    assert (failure.index, failure.kind, failure.attempts) == (2, "timeout", 1)


def test_coroutines_that_wait_for_their_turn_never_begin(time):
    """Of those behind a task that hangs none begins after the deadline."""
    begun = []
    time.over = lambda: bool(begun)

    async def task(x):
        begun.append(x)
        await asyncio.sleep(600)

    kinds = pmap(task, range(9), deadline=60, workers=1, on_error=lambda failure: failure.kind)

    assert kinds == ["timeout"] * 9
    assert begun == [0]


def test_an_endless_asynchronous_input_ends(time):
    """An input that an event loop iterates is given up as any other."""
    drawn = []
    time.over = lambda: len(drawn) > 3

    async def endless():
        for n in itertools.count():
            drawn.append(n)
            yield n

    def instead(_):
        time.beyond = 61.0

    with pytest.raises(TaskTimeout, match="the input had not ended"):
        asyncio.run(awaited(work.double, endless(), deadline=60, on_error=instead, workers=1))


def test_auto_keeps_it_by_running_nothing_in_the_caller():
    """With a deadline "auto" sends all tasks to workers, which can be killed."""
    assert os.getpid() not in pmap(work.pid, range(4), deadline=60)


def test_a_nested_map_keeps_its_own():
    """In a task, a map with a deadline runs in a worker that can be killed, too."""

    def outer(x):
        here = os.getpid()
        return here, pmap(work.pid, range(2), deadline=60)

    ((here, inner),) = pmap(outer, [1], executor="processes", workers=1)

    assert here not in inner


@pytest.mark.parametrize("chunksize", ["auto", 9])
def test_each_task_is_alone_where_chunks_would_be_lost(beside, monkeypatch, chunksize):
    """Where a task that hangs cannot be told from its neighbours, messages hold one task."""
    largest = []

    class Watched(Bounded):
        def submit(self, chunk):
            largest.append(len(chunk))
            super().submit(chunk)

    monkeypatch.setattr(deadline, "Bounded", Watched)
    options = beside.options | {"chunksize": chunksize}

    assert pmap(work.double, range(90), deadline=60, **options) == [2 * x for x in range(90)]
    alone = chunksize == "auto" and beside.name not in ("auto", "processes")
    assert max(largest) == 1 if alone else max(largest) > 1


def test_a_thread_goes_on_unheeded(time, tmp_path):
    """A thread cannot be killed: the call ends, and its task ends by itself."""
    gate, ended = tmp_path / "gate", threading.Event()
    begun = threading.Event()
    time.over = begun.is_set

    def task(x):
        begun.set()
        work.wait_for(gate, x)
        ended.set()

    with pytest.raises(TaskTimeout):
        pmap(task, [0], executor="threads", deadline=60)
    assert not ended.is_set()
    gate.touch()

    assert ended.wait(60)

"""The one loop, in a scripted world: no processes, no clocks, no chance."""

import itertools
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted

from parmap import WorkerCrashed
from parmap._engine.chunking import Sizes
from parmap._engine.scheduler import Run
from parmap._engine.source import Source
from parmap._records.work import Loss, Report, Unsendable


def run(executor, items, size=None, **options):
    return Run(Source((items,)), executor, Sizes(size), **options)


def outcome(run, limit=None):
    """Return what becomes of each task, by index: a value, or the Failure."""
    done = {}
    while batches := run.advance(limit):
        for batch in batches:
            for position, value in enumerate(batch.values):
                assert batch.start + position not in done
                done[batch.start + position] = batch.failures.get(position, value)
    return done


def crash(then, suspect=None):
    return Loss(WorkerCrashed("it died"), "crash", then, suspect, worker=7)


def test_every_task_ends_once_in_any_order_of_answers():
    """Whatever the order in which chunks come back, each task is in exactly one batch."""
    for seed in range(20):
        chance = random.Random(seed)
        executor = Scripted(str, pick=lambda out, c=chance: c.randrange(len(out)), workers=4)

        assert outcome(run(executor, range(100))) == {n: str(n) for n in range(100)}


def test_no_more_chunks_are_out_than_fit():
    """The window of the executor is never exceeded, and is used."""
    executor = Scripted(str, workers=3, window=5)

    outcome(run(executor, range(200), 1))

    assert executor.most_out == 5


def test_what_a_worker_hands_back_runs_before_anything_new():
    """The rest of a chunk whose time was up goes out again, first."""

    def half(chunk):
        return Report(chunk, list(chunk.items[:5])) if len(chunk) == 10 else None

    executor = Scripted(int, half, workers=1)

    assert outcome(run(executor, range(20), 10)) == {n: n for n in range(20)}
    assert executor.log == [(0, 10), (5, 5), (10, 10), (15, 5)]


def test_a_known_suspect_fails_alone_and_the_others_run_again():
    """When the executor says which task ran, that one fails, and only that one."""

    def die(chunk):
        hit = chunk.start <= 7 < chunk.start + len(chunk) and len(chunk) > 1
        return Report(chunk, [], loss=crash("bisect", 7)) if hit else None

    executor = Scripted(int, die)
    done = outcome(run(executor, range(20), 10))

    assert (done[7].kind, done[7].index, done[7].worker) == ("crash", 7, 7)
    assert {n: v for n, v in done.items() if n != 7} == {n: n for n in range(20) if n != 7}
    assert executor.log.count((0, 7)) == 1
    assert executor.log.count((8, 2)) == 1


def test_what_was_not_started_runs_again_as_it_is():
    """A chunk that was lost before its first task is neither split nor blamed."""
    lost = []

    def lose_once(chunk):
        if chunk.start == 10 and not lost:
            lost.append(chunk)
            return Report(chunk, [], loss=crash("requeue"))
        return None

    executor = Scripted(int, lose_once)

    assert outcome(run(executor, range(20), 5)) == {n: n for n in range(20)}
    assert executor.log.count((10, 5)) == 2


@pytest.mark.parametrize("then", ["bisect", "isolate"])
@pytest.mark.parametrize("bad", [{3}, {0, 39}, {5, 6, 21}, set(range(40))])
def test_unknown_culprits_are_found_by_halving(then, bad):
    """Where nobody knows which task it was, halves run until the culprits stand alone."""

    def die(chunk):
        hit = bad & set(range(chunk.start, chunk.start + len(chunk)))
        return Report(chunk, [], loss=crash(then)) if hit else None

    done = outcome(run(Scripted(int, die), range(40), 10))

    assert {n for n, v in done.items() if v != n} == bad
    assert all(done[n].kind == "crash" and done[n].index == n for n in bad)


def test_suspects_run_with_nothing_beside_them():
    """A chunk that may take others down is tried while nothing else is out."""
    beside = []

    def die(chunk):
        if chunk.start <= 13 < chunk.start + len(chunk):
            beside.append((len(chunk), len(executor.out)))
            return Report(chunk, [], loss=crash("isolate"))
        return None

    executor = Scripted(int, die, workers=4)
    outcome(run(executor, range(40), 5))

    assert beside[0][1] > 0
    assert [out for _, out in beside[1:]] == [0] * (len(beside) - 1)


def test_a_retry_of_a_suspect_has_nothing_beside_it_either():
    """Where a death takes others down, each attempt of the culprit is made alone."""
    beside = []

    def die(chunk):
        if 4 in chunk.items:
            beside.append(len(executor.out))
            return Report(chunk, [], loss=crash("isolate"))
        return None

    executor = Scripted(int, die, workers=3)
    done = outcome(run(executor, range(12), 1, retries=2))

    assert beside == [2, 0, 0, 0]  # found out, and then three attempts
    assert done.pop(4).attempts == 3
    assert done == {n: n for n in range(12) if n != 4}


def test_what_must_not_run_again_fails_whole():
    """Tasks lost with a borrowed executor have failed, all of them, once."""
    executor = Scripted(int, lambda chunk: Report(chunk, [], loss=crash("fail")))
    done = outcome(run(executor, range(6), 3, retries=2))

    assert [done[n].index for n in range(6)] == list(range(6))
    assert executor.log == [(0, 3), (3, 3)]


def test_what_cannot_be_sent_is_found_by_halving():
    """An item that cannot be sent fails, as unpicklable, and its neighbours are sent without it."""

    class Picky(Scripted):
        def submit(self, chunk):
            if 5 in chunk.items:
                raise Unsendable("5 is a lock") from TypeError("5 is a lock")
            super().submit(chunk)

    done = outcome(run(Picky(int), range(8), 8))

    assert done.pop(5).kind == "unpicklable"
    assert done == {n: n for n in range(8) if n != 5}


def test_retries_count_attempts():
    """A failing task is tried once and then *retries* times; the Failure tells how often."""
    executor = Scripted(lambda x: 1 // x, workers=1)
    done = outcome(run(executor, [1, 0, 1], 3, retries=2))

    assert (done[0], done[2], done[1].attempts) == (1, 1, 3)
    assert executor.log == [(0, 3), (1, 1), (1, 1)]


@pytest.mark.parametrize("item", [b"x", bytearray(b"x"), "x"])
def test_a_large_input_is_not_written_out_to_be_shortened(item):
    """The record of a failed task makes no text of all of its input, inside a list neither."""
    items = [[item * 10_000_000], item * 10_000_000]
    tracemalloc.start()
    try:
        done = outcome(run(Scripted(lambda x: 1 // 0), items))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert all("xxx" in done[n].input and len(done[n].input) < 1_000 for n in range(2))
    assert most < 1_000_000


class ExitAtRepr:
    def __repr__(self):
        raise SystemExit(3)


def test_an_input_that_cannot_be_shown_is_described():
    """Whatever the repr of an input raises, the task's Failure says so in its place."""
    done = outcome(run(Scripted(lambda x: 1 // 0), [ExitAtRepr()]))

    assert done[0].input == "<ExitAtRepr whose repr raises SystemExit>"


def test_an_input_that_is_gone_is_not_shown():
    """A list that became shorter during the call leaves Failures without the inputs."""
    items = [1, 2]
    done = outcome(run(Scripted(lambda x: items.clear() or 1 // 0), items, 2))

    assert done[0].input == "<gone>"


def test_a_task_that_works_in_the_end_has_not_failed():
    """A retried task that succeeds is a value like any other."""
    tries = itertools.count()
    executor = Scripted(lambda x: 1 // (x or next(tries)), workers=1)

    assert outcome(run(executor, [1, 0, 1], 3, retries=1))[1] == 1


def test_the_limit_bounds_what_is_drawn():
    """No item from the limit on is drawn, however much room there is."""
    source = Source((itertools.count(),))
    one = Run(source, Scripted(int, workers=8), Sizes(3))

    while one.advance(10):
        pass

    assert source.drawn == 10


def test_an_error_of_the_input_comes_at_its_place():
    """What the input raises is a batch of its own, after the items before it."""

    def broken():
        yield from range(7)
        raise LookupError("no more")

    one = run(Scripted(int), broken(), 4)
    errors = {}
    values = {}
    while batches := one.advance():
        for batch in batches:
            values.update(enumerate(batch.values, batch.start))
            if batch.error is not None:
                errors[batch.start] = str(batch.error)

    assert values == {n: n for n in range(7)}
    assert errors == {7: "no more"}


def test_the_executor_is_closed_once():
    """Closing a run twice closes its executor once."""
    executor = Scripted(int)
    one = run(executor, range(3))
    one.close()
    one.close()

    assert executor.closed == 1


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(0, 60),
    bad=st.sets(st.integers(0, 59)),
    size=st.one_of(st.none(), st.integers(1, 20)),
    workers=st.integers(1, 6),
    retries=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_whatever_dies_all_others_arrive(n, bad, size, workers, retries, seed):
    """For any set of killers, any sizes and any order, exactly the killers have failed."""
    chance = random.Random(seed)

    def die(chunk):
        hit = sorted(bad & set(range(chunk.start, chunk.start + len(chunk))))
        if not hit:
            return None
        known = chance.random() < 0.5
        return Report(
            chunk, [], loss=crash(chance.choice(["bisect", "isolate"]), hit[0] if known else None)
        )

    executor = Scripted(int, die, lambda out: chance.randrange(len(out)), workers)
    done = outcome(run(executor, range(n), size, retries=retries))

    assert sorted(done) == list(range(n))
    assert {i for i, v in done.items() if v != i} == {b for b in bad if b < n}
    assert all(done[i].attempts == retries + 1 for i in bad if i < n)

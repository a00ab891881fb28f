"""Equal random numbers: what a seed gives to each task, wherever, whenever and however it runs.

The oracle draws from generators made here, as the documentation says they are made.
"""

import asyncio
import contextlib
import os
import random
import sys
import threading
import time
import warnings
from functools import partial
from itertools import repeat
from random import gauss

import pytest
import work
from conftest import BORROWED, COSTLY, EVERYWHERE, OWN

from parmap import (
    Failure,
    Pool,
    aio,
    delayed,
    parallel,
    parallel_config,
    pcall,
    pimap,
    pmap,
    pstarmap,
    rng,
)
from parmap._choice.auto_facts import Chooser
from parmap._choice.launch import launch
from parmap._choice.options import DEFAULTS
from parmap._choice.serial_or_parallel import Facts, Measured, decide
from parmap._engine.results import collect
from parmap._engine.source import Source
from parmap._records.work import Call
from parmap._wire.messages import SerializedCall

np = pytest.importorskip("numpy", reason="numpy is not installed")

IN_THREADS = ["threads", "a ThreadPoolExecutor", "a ThreadPool"]
APART = [name for name in EVERYWHERE if name not in IN_THREADS]
N = 12
SEED = 20_261_126


@pytest.fixture(params=APART)
def apart(request, places):
    """Every place where a task has `random` and `numpy.random` to itself."""
    return places(request.param)


@pytest.fixture(params=[name for name in APART if name not in COSTLY])
def apart_cheaply(request, places):
    """Those that are there already when a call begins."""
    return places(request.param)


@pytest.fixture(params=["serial", "auto", "processes"])
def ours(request, places):
    """The places of our own: in the caller, and elsewhere."""
    return places(request.param)


def numbers(generator, legacy, python):
    """Return what a task draws, from generators or the modules that have such functions."""
    return (
        python.random(),
        python.gauss(0, 1),  # they keep the second of a pair for the next time
        legacy.random_sample(),
        legacy.standard_normal(),
        generator.random(),
        generator.integers(1000),
    )


def draw(x):
    import numpy.random  # a worker may not have it before

    return x, numbers(rng(), numpy.random, random)


def draw_two(x, y):
    return draw((x, y))


def expected(index, x, seed=SEED):
    """Return what task *index* draws: three generators, made as the documentation says."""
    stream = np.random.SeedSequence(seed, spawn_key=(index,))
    legacy = np.random.SeedSequence(seed, spawn_key=(index, 2**32 - 1)).generate_state(8)
    generators = (
        np.random.default_rng(stream),
        np.random.RandomState(legacy),
        random.Random(f"{seed}/{index}"),
    )
    return x, numbers(*generators)


def all_expected(xs, seed=SEED):
    return [expected(index, x, seed) for index, x in enumerate(xs)]


@contextlib.contextmanager
def untouched():
    """Check that the caller's own numbers go on as if nothing had been between."""
    random.seed(1)
    np.random.seed(1)
    random.gauss(0, 1)  # the second of the pair is kept
    np.random.standard_normal()
    twin = random.Random()
    twin.setstate(random.getstate())
    legacy = np.random.RandomState()
    legacy.set_state(np.random.get_state())
    yield twin, legacy
    assert [random.gauss(0, 1) for _ in range(3)] == [twin.gauss(0, 1) for _ in range(3)]
    assert np.random.standard_normal(3).tolist() == legacy.standard_normal(3).tolist()


# The same numbers


@pytest.mark.parametrize("chunksize", [1, 5, "auto"])
def test_task_i_has_the_same_numbers_everywhere(apart, chunksize):
    """Whatever the executor, the number of workers and the chunks, its index decides."""
    xs = list("abcdefghijkl")
    counts = (1, 2) if apart.name not in COSTLY else (2,)

    for workers in counts if not apart.borrowed else (None,):
        options = apart.options if workers is None else apart.with_workers(workers)
        with untouched():
            got = pmap(draw, xs, seed=SEED, chunksize=chunksize, **options)

        assert got == all_expected(xs)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("chunksize", [1, 3])
def test_numbers_do_not_depend_on_the_order_of_completion(apart_cheaply, ordered, chunksize):
    """A stream, in order or not, from an input that is drawn meanwhile, has them too."""
    options = apart_cheaply.options | {"seed": SEED, "chunksize": chunksize}

    with untouched():
        got = list(pimap(draw, iter(range(N)), ordered=ordered, **options))

    assert (got if ordered else sorted(got)) == all_expected(range(N))


@pytest.mark.parametrize("chunksize", [1, 4])
def test_each_attempt_has_the_same_numbers(apart, chunksize, tmp_path):
    """A task that failed after it had drawn draws the same again, and so do those beside it."""

    def flaky(x):
        random.random()
        tried = tmp_path / str(x)
        if x % 3 == 0 and not tried.exists():
            tried.touch()
            np.random.random(7)
            raise LookupError(x)
        return draw(x)

    with untouched():
        got = pmap(flaky, range(N), seed=SEED, retries=1, chunksize=chunksize, **apart.options)

    for index, (_, drawn) in enumerate(got):
        own = random.Random(f"{SEED}/{index}")
        own.random()
        assert drawn[:2] == (own.random(), own.gauss(0, 1))
        assert drawn[2:] == expected(index, index)[1][2:]


def test_tasks_beside_one_that_crashes_have_the_same_numbers(tmp_path):
    """What runs again after its worker died, draws the same again."""

    def crash(x):
        work.break_down() if x == 3 else None
        return draw(x)

    got = pmap(
        crash, range(N), seed=SEED, on_error="return", executor="processes", workers=2, chunksize=4
    )

    assert isinstance(got[3], Failure)
    assert got[:3] + got[4:] == all_expected(range(N))[:3] + all_expected(range(N))[4:]


def test_every_door_has_a_seed(ours):
    """pstarmap, pcall, the decorator's methods and the defaults give the numbers of pmap."""
    options = ours.options | {"seed": SEED}
    pairs = [(x, -x) for x in range(N)]
    square = parallel(**options)(draw)

    assert pmap(draw_two, range(N), range(0, -N, -1), **options) == all_expected(pairs)
    assert pstarmap(draw_two, pairs, **options) == all_expected(pairs)
    assert pcall([delayed(draw)(x) for x in range(N)], **options) == all_expected(range(N))
    assert square.map(range(N)) == all_expected(range(N))
    assert square.starmap([(x,) for x in range(N)]) == all_expected(range(N))
    assert list(square.imap(range(N))) == all_expected(range(N))
    with parallel_config(**options):
        assert pmap(draw, range(N)) == all_expected(range(N))
        assert pmap(draw, range(2), seed=1) == all_expected(range(2), 1)


@pytest.mark.parametrize("executor", ["auto", "processes"])
def test_a_pool_has_a_seed(executor):
    """Each of its maps has the numbers of pmap; tasks that are submitted go by their order."""
    with untouched(), Pool(2, seed=SEED, executor=executor) as pool:
        assert pool.map(draw, range(N)) == all_expected(range(N))
        assert pool.starmap(draw_two, [(1, 2)]) == all_expected([(1, 2)])
        assert list(pool.imap(draw, range(N), seed=2)) == all_expected(range(N), 2)
        assert pool.map_async(draw, range(N)).get(work.PATIENCE) == all_expected(range(N))
        first = [pool.submit(draw, x) for x in range(5)]
        assert [future.result(work.PATIENCE) for future in first] == all_expected(range(5))
        background = pool._background
        work.wait_until(lambda: background._run is None, "its workers to be given back")
        assert pool.apply(draw, (5,)) == expected(5, 5)


def test_what_is_submitted_to_a_serial_pool_has_no_seed():
    """It runs in a thread beside the caller, and is refused; a map of the same pool is not."""
    with Pool(executor="serial", seed=SEED) as pool:
        refused = pytest.raises(ValueError, match=r"seed=.* share")
        with refused:
            pool.apply(work.break_down)
        with refused:
            pool.map_async(work.break_down, [1]).get(work.PATIENCE)
        assert pool.map(draw, range(3)) == all_expected(range(3))


def test_an_awaited_map_has_a_seed_where_it_can():
    """Plain functions have the numbers of pmap, in workers; coroutines and serial ones share."""

    async def wait(x):
        raise AssertionError("a task ran")

    def run(fn, **options):
        async def main():
            return await aio.pmap(fn, range(N), seed=SEED, **options)

        return asyncio.run(main())

    with untouched():
        assert run(draw) == run(draw, executor="processes") == all_expected(range(N))
    for fn, options in ((wait, {}), (work.break_down, {"executor": "serial"})):
        with pytest.raises(ValueError, match=rf"seed={SEED}.*SeedSequence\({SEED}\)"):
            run(fn, **options)
    with pytest.raises(ValueError, match=f"seed={SEED}"):
        pmap(wait, range(N), seed=SEED)


def test_a_map_in_another_thread_leaves_the_programs_numbers_alone():
    """With auto, no task with a seed runs beside the main thread, which may draw meanwhile."""
    results = []

    def call():
        results.append(pmap(lambda x: (draw(x), work.pid()), range(3), seed=SEED))

    with untouched():
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    ((first, *rest),) = results
    assert [drawn for drawn, _ in (first, *rest)] == all_expected(range(3))
    assert os.getpid() not in {pid for _, pid in (first, *rest)}


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**200, np.int64(7), np.uint8(7)])
def test_any_whole_number_is_a_seed(ours, seed):
    """Large ones and NumPy's count as what they are; others give other numbers."""
    assert pmap(draw, range(3), seed=seed, **ours.options) == all_expected(range(3), int(seed))
    assert pmap(draw, range(3), seed=int(seed) + 1, **ours.options) != pmap(
        draw, range(3), seed=seed, **ours.options
    )


def test_rng_is_one_generator_for_a_task(ours):
    """Asked again in the same task it goes on; its children are nobody else's numbers."""

    def twice(_):
        first = rng()
        return first is rng(), first.random(), rng().random(), first.spawn(1)[0].random()

    streams = np.random.SeedSequence(4).spawn(5)
    drawn = [np.random.default_rng(stream) for stream in streams]

    assert pmap(twice, range(5), seed=4, **ours.options) == [
        (True, one.random(), one.random(), one.spawn(1)[0].random()) for one in drawn
    ]


def test_functions_of_the_modules_mean_those_of_the_worker(ours):
    """`from random import gauss` draws from the task's numbers, as `random.gauss` does."""
    normal = np.random.standard_normal

    got = pmap(lambda _: (gauss(0, 1), normal()), range(6), seed=SEED, **ours.options)
    called = pcall([delayed(gauss)(0, 1)] * 6, seed=SEED, **ours.options)

    own = [random.Random(f"{SEED}/{index}").gauss(0, 1) for index in range(6)]
    assert [python for python, _ in got] == own
    assert len({legacy for _, legacy in got}) == 6
    assert called == own


FIRST_USE = """
import sys, random
import parmap

def task(_):
    import numpy
    return numpy.random.random(), random.random()

def is_there(_):
    return random.random(), {name: name in sys.modules for name in ("numpy", "random")}

drawn = [there for _, there in parmap.pmap(is_there, range(4), seed=5, executor="processes")]
assert drawn == [{"numpy": False, "random": True}] * 4, drawn
assert "numpy" not in sys.modules
elsewhere = parmap.pmap(task, range(6), seed=5, executor="processes", workers=2, chunksize=1)
assert "numpy" not in sys.modules
here = parmap.pmap(task, range(6), seed=5, executor="serial")
assert here == elsewhere == parmap.pmap(task, iter(range(6)), seed=5, executor="serial")
import numpy
parts = [numpy.random.SeedSequence(5, spawn_key=(i, 2**32 - 1)).generate_state(8) for i in range(6)]
assert [x for x, _ in here] == [numpy.random.RandomState(part).random() for part in parts]
assert not any(type(finder).__module__.startswith("parmap") for finder in sys.meta_path)
first, second = numpy.random.random(), parmap.pmap(task, range(6), seed=5, executor="serial")
assert second == here
assert first not in [x for x, _ in here]
print("equal")
"""


def test_numpy_is_seeded_where_a_task_imports_it(script):
    """The first task that imports numpy.random has its numbers; for others it is not imported."""
    assert script(FIRST_USE).stdout == "equal\n"


INNER_FIRST = """
import random
import parmap

def inner(_):
    import numpy.random
    return numpy.random.random()

def outer(x):
    drawn = parmap.pmap(inner, range(2), seed=x)
    import numpy.random
    return drawn, numpy.random.random()

got = [parmap.pmap(outer, range(3), seed=5, executor=name) for name in ("serial", "processes")]
assert got[0] == got[1], got

import numpy
def first(seed, i):
    words = numpy.random.SeedSequence(seed, spawn_key=(i, 2**32 - 1)).generate_state(8)
    return numpy.random.RandomState(words).random_sample()

assert got[0] == [([first(x, 0), first(x, 1)], first(5, x)) for x in range(3)]
print("equal")
"""


def test_numpy_is_seeded_where_a_task_of_a_map_in_a_task_imports_it(script):
    """Both maps have their numbers then, each from its own seed."""
    assert script(INNER_FIRST).stdout == "equal\n"


WITHOUT = """
import random
import parmap

def task(_):
    own = parmap.rng()
    return random.random(), random.gauss(0, 1), own.random(), type(own).__module__

results = [
    parmap.pmap(task, range(5), seed=5, executor=name, workers=2)
    for name in ("serial", "auto", "processes", "futures")
]
assert all(other == results[0] for other in results), results
for i, (x, y, z, module) in enumerate(results[0]):
    twin = random.Random(f"5/{i}")
    assert (x, y) == (twin.random(), twin.gauss(0, 1))
    assert z == random.Random(f"5/{i}/rng").random()
    assert module == "random"
print("equal")
"""


def test_without_numpy_the_modules_numbers_are_the_same(script, tmp_path):
    """Where NumPy cannot be imported, `random` sees what it sees with it, and rng is a Random."""
    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError(name='numpy')", "utf-8")

    assert script(WITHOUT).stdout == "equal\n"


def test_what_is_done_before_a_task_is_undone_after_it():
    """With a seed too, whatever the input: what is called before a task says what ends it."""
    said = []

    def before(index):
        said.append(("before", index))
        return lambda: said.append(("after", index))

    for xs in ([0, 1], iter([0, 1])):
        call = Call(draw, "item", before=before, seed=SEED)
        options = DEFAULTS | {"executor": "serial", "seed": SEED}
        run = launch(call, Source((xs,)), options, asked=True)

        assert collect(run, "raise") == all_expected(range(2))

    assert said == [(word, index) for index in (0, 1) for word in ("before", "after")] * 2


# What is not the task's stays as it is


def test_the_callers_own_numbers_go_on(apart_cheaply):
    """After a map, one whose tasks fail included, the caller draws what it would have drawn."""

    def fail(x):
        random.seed(x)
        np.random.seed(x)
        raise LookupError(x)

    with untouched():
        pmap(draw, range(N), seed=1, **apart_cheaply.options)
        pmap(draw, iter(range(N)), seed=1, **apart_cheaply.options)
        pmap(fail, range(3), seed=1, on_error="return", **apart_cheaply.options)
        with contextlib.suppress(LookupError):
            pmap(fail, iter(range(3)), seed=1, **apart_cheaply.options)


def test_a_reader_of_a_stream_draws_its_own_numbers(apart_cheaply):
    """Between two results of pimap the reader's numbers are the reader's."""
    with untouched() as (twin, legacy):
        stream = pimap(draw, range(N), seed=SEED, chunksize=2, **apart_cheaply.options)
        for index, result in enumerate(stream):
            assert result == expected(index, index)
            assert random.random() == twin.random()
            assert np.random.random_sample() == legacy.random_sample()


def test_an_input_draws_from_the_callers_numbers(apart_cheaply):
    """A generator that draws as it is drawn from has what the loop would give it."""

    def inputs(python, legacy):
        for _ in range(N):
            yield python.random(), legacy.random_sample()

    with untouched() as (twin, legacy):
        got = pmap(draw, inputs(random, np.random), seed=SEED, **apart_cheaply.options)

        assert got == all_expected(inputs(twin, legacy))


def test_another_generator_behind_numpy_random_is_put_back(ours):
    """Who has chosen one for numpy.random has it back; tasks have the usual one."""
    mine = np.random.PCG64(3)
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(mine)
    try:
        for xs in (range(4), iter(range(4))):
            assert pmap(draw, xs, seed=SEED, **ours.options) == all_expected(range(4))
            assert np.random.get_bit_generator() is mine
        assert (
            np.random.random_sample() == np.random.RandomState(np.random.PCG64(3)).random_sample()
        )
    finally:
        np.random.set_bit_generator(before)


def test_workers_do_not_go_on_with_the_numbers_of_a_seed(places):
    """A map without a seed after one with it has no numbers that could be foretold."""

    def unseeded(_):
        return random.random(), np.random.random_sample()

    seen = set()
    for _ in range(3):
        pmap(draw, range(4), seed=SEED, executor="processes", workers=1)
        seen.update(pmap(unseeded, range(4), executor="processes", workers=1))

    assert len(seen) == 12


def test_threads_that_map_at_the_same_time_do_not_mix(places):
    """Two threads of the caller with a map each, in the caller, have the numbers of their maps."""
    results = {}
    start = threading.Barrier(3)

    def call(seed):
        start.wait(work.PATIENCE)
        results[seed] = [
            pmap(draw, range(N), seed=seed, executor="serial", chunksize=1) for _ in range(5)
        ]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=call, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    for seed in range(3):
        assert results[seed] == [all_expected(range(N), seed)] * 5


# Maps in tasks


def outer(x):
    before = random.random(), rng().random()
    inner = pmap(draw, range(3), seed=x)
    return before, inner, random.random(), rng().random()


def test_a_map_in_a_task_has_its_own_numbers(apart_cheaply):
    """After it the outer task goes on where it was."""
    got = pmap(outer, range(4), seed=SEED, **apart_cheaply.options)

    for index, (before, inner, *after) in enumerate(got):
        python = random.Random(f"{SEED}/{index}")
        own = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(index,)))
        assert before == (python.random(), own.random())
        assert inner == all_expected(range(3), index)
        assert after == [python.random(), own.random()]


def test_a_map_without_a_seed_goes_on_with_the_numbers_of_its_task(apart_cheaply):
    """As the loop in the task would, wherever the task runs, and whatever the defaults say."""

    def maps(_):
        return pmap(lambda _: (random.random(), rng().random()), range(3)), random.random()

    with parallel_config(seed=99):
        got = pmap(maps, range(4), seed=SEED, **apart_cheaply.options)

    for index, (inner, after) in enumerate(got):
        python = random.Random(f"{SEED}/{index}")
        own = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(index,)))
        assert inner == [(python.random(), own.random()) for _ in range(3)]
        assert after == python.random()


def test_a_map_in_a_task_runs_where_the_task_does(apart_cheaply):
    """In the caller as in a worker: with workers of its own it would have other numbers there."""

    def maps(_):
        return work.place(), pmap(work.place, range(3), on_error="return")

    for here, inner in pmap(maps, range(4), seed=1, **apart_cheaply.options):
        assert inner == [here] * 3


# What cannot be


@pytest.mark.parametrize("name", IN_THREADS)
def test_tasks_in_threads_have_no_seed(name, places):
    """Where tasks share their process the seed is refused, with the cure, before anything runs."""

    def must_not_be_read():
        raise AssertionError("the input was read")
        yield

    with pytest.raises(ValueError, match=r"seed=1 .*share.*'processes'.*SeedSequence\(1\)"):
        pmap(work.break_down, must_not_be_read(), seed=1, **places(name).options)
    with pytest.raises(ValueError, match="seed=1"):
        pimap(work.break_down, must_not_be_read(), seed=1, **places(name).options)


def test_joblibs_threads_have_no_seed_unless_it_is_the_caller():
    """Its threading backend is refused; with one worker joblib is the caller's loop."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")

    refused = pytest.raises(ValueError, match="seed=1 needs")
    with joblib.parallel_config(backend="threading", n_jobs=2), refused:
        pmap(draw, range(3), seed=1, executor="joblib")
    with joblib.parallel_config(backend="threading", n_jobs=1), untouched():
        assert pmap(draw, range(3), seed=1, executor="joblib") == all_expected(range(3), 1)
    with pytest.raises(ValueError, match="seed=1 needs"):
        pmap(draw, range(3), seed=1, executor=joblib.Parallel(2, backend="threading"))


def test_the_generators_of_threads_are_those_of_rng():
    """The cure for threads, a child of the SeedSequence as an argument, gives the same numbers."""
    streams = np.random.SeedSequence(SEED).spawn(N)

    there = pmap(lambda _: rng().random(), range(N), seed=SEED, executor="serial")

    assert there == pmap(
        lambda stream: np.random.default_rng(stream).random(), streams, executor="threads"
    )


def facts_of(**known):
    """Return facts of a call whose tasks release the GIL, wait, or are long, as *known* says."""
    seen = Measured()
    seen.tasks, seen.wall, seen.cpu, seen.looks, seen.free = 50, 5.0, 5.0, 100.0, 100.0
    facts = Facts(seen, 4, 1000)
    for name, value in known.items():
        setattr(seen if hasattr(seen, name) else facts, name, value)
    return facts


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"cpu": 0.1},
        {"gil": False},
        {"long": 3.0, "long_cpu": 0.0},
        {"long": 3.0, "long_cpu": 3.0},
        {"can_start": False},
        {"can_start": False, "looks": 0.0, "free": 0.0},
        {"can_start": False, "long": 3.0},
    ],
    ids=str,
)
def test_auto_never_chooses_threads_for_a_seed(known):
    """Whatever speaks for threads, tasks with a seed go to processes or stay."""
    with_seed = facts_of(**known)
    with_seed.threads = False

    assert decide(facts_of(**known)).where == "threads"
    assert decide(with_seed).where == ("processes" if with_seed.can_start else "serial")


def test_auto_knows_that_a_call_has_a_seed():
    """The facts that it decides by say so."""
    source = Source((range(3),))

    assert Chooser(Call(draw, "item"), source, 2, None).facts.threads
    assert not Chooser(Call(draw, "item", seed=0), source, 2, None).facts.threads


def test_tasks_that_wait_have_their_numbers_with_auto():
    """Threads would be faster, but would not have them."""

    def nap(x):
        time.sleep(0.02)
        return draw(x)

    for _ in range(2):  # by then it is known that they wait
        with untouched():
            assert pmap(nap, range(20), seed=SEED) == all_expected(range(20))


def test_rng_is_for_tasks_with_a_seed(ours):
    """Elsewhere it is an error that says what to do: in no task, without a seed, in a thread."""

    def in_a_thread(_):
        caught = []

        def ask():
            try:
                rng()
            except RuntimeError as error:
                caught.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        pmap(lambda _: ask(), range(2), executor="threads")
        return caught

    with pytest.raises(RuntimeError, match="seed=0"):
        rng()
    with pytest.raises(RuntimeError, match="seed=0"):
        pmap(lambda _: rng(), range(3), **ours.options)
    for caught in pmap(in_a_thread, range(2), seed=1, **ours.options):
        assert len(caught) == 3
        assert all("other threads" in text for text in caught)


# Generators that travel


class Model:
    """Something with a generator inside."""

    def __init__(self, generator):
        self.parts = {"generator": generator}

    def score(self, x):
        return x, self.parts["generator"].random()


GENERATORS = {
    "Generator": lambda: np.random.default_rng(1),
    "RandomState": lambda: np.random.RandomState(1),
    "Random": lambda: random.Random(1),
}


@pytest.fixture(params=GENERATORS)
def generator(request):
    return GENERATORS[request.param]()


def noticed(call):
    """Return what *call* warned of, and that it was at its line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert {warning.filename for warning in caught} <= {__file__}
    assert {warning.category for warning in caught} <= {RuntimeWarning}
    return [str(warning.message) for warning in caught]


ELSEWHERE = [name for name in EVERYWHERE if name in ("processes", "a loky executor", "a Pool")]


@pytest.fixture(params=ELSEWHERE)
def elsewhere(request, places):
    """Places in other processes, of each kind of messages."""
    return places(request.param).options


def test_a_generator_in_the_function_is_told_of(elsewhere, generator):
    """Each worker has a copy, so that its numbers repeat: one warning says where it is."""

    def paths(fn):
        (text,) = noticed(lambda: pmap(fn, [[1, 2]] * 20, chunksize=1, **elsewhere))
        assert "seed=" in text
        assert "parmap.rng()" in text
        return text.split(" is a random generator")[0]

    def closure(_):
        return generator.random()

    assert paths(closure) == "fn.<closure generator>"
    assert paths(partial(Model.score, Model(generator))) == "fn.args[0].parts['generator']"
    assert paths(Model(generator).score) == "fn.__self__.parts['generator']"
    assert paths(generator.choice) == "fn.__self__"


def test_a_generator_out_of_sight_is_told_of(processes_only, generator):
    """Where the path to it cannot be seen, what holds it is named."""

    class Model:
        hidden = generator

    options = processes_only.options
    (told,) = noticed(lambda: pmap(lambda _: Model.hidden.random(), [1, 2], **options))

    assert told.startswith("fn holds a random generator that each worker has a copy of")


def test_a_generator_that_tasks_share_is_told_of(elsewhere, generator):
    """As an argument of many tasks it is copied with each message."""
    options = elsewhere | {"chunksize": 10}  # two messages are enough
    model = Model(generator)

    (told,) = noticed(lambda: pmap(work.gather, range(20), repeat(generator), **options))
    assert told.startswith("args[1] is")
    (told,) = noticed(lambda: pmap(work.echo, [model] * 20, **options))
    assert told.startswith("args[0].parts['generator'] is")
    (told,) = noticed(lambda: pcall([delayed(model.score)(x) for x in range(20)], **options))
    assert told.startswith("fn.__self__.parts['generator'] is")


def test_a_generator_for_each_task_is_as_it_should_be(elsewhere, generator, tmp_path):
    """Nothing is said of generators that no other task has, when a task is tried again either."""
    own = [GENERATORS[type(generator).__name__]() for _ in range(12)]

    def flaky(x, one):
        tried = tmp_path / str(x)
        if x % 3 == 0 and not tried.exists():
            tried.touch()
            raise LookupError(x)
        return one.random()

    assert not noticed(lambda: pmap(work.gather, range(12), own, chunksize=2, **elsewhere))
    assert not noticed(lambda: pmap(flaky, range(12), own, chunksize=2, retries=2, **elsewhere))


@pytest.mark.parametrize("name", ["serial", "auto", "threads"])
def test_a_generator_that_is_not_copied_is_not_told_of(name, places, generator):
    """In the caller and in threads it is the one that the loop would have."""
    assert not noticed(lambda: pmap(lambda _: generator.random(), range(9), **places(name).options))


def test_auto_tells_of_a_generator_at_the_callers_line():
    """Also where a thread of ours sends the function, beside a task that is long."""
    generator = random.Random(1)

    def long(x):
        work.countdown(x)
        return generator.random()

    (told,) = noticed(lambda: pmap(long, range(40), workers=2))

    assert told.startswith("fn.<closure generator> is")


def test_the_warning_can_be_an_error(places):
    """Under such a filter the call raises it, and the next call is as ever."""
    generator = random.Random(1)

    for xs in ([range(20)], [range(20), repeat(generator)]):
        fn = work.gather if len(xs) > 1 else lambda _: generator.random()
        with pytest.raises(RuntimeWarning, match="random generator"):
            pmap(fn, *xs, executor="processes", workers=2, chunksize=1)
    assert pmap(work.double, range(20), executor="processes", workers=2) == list(range(0, 40, 2))


# No equal states


def unseeded(_):
    import numpy.random

    return random.random(), numpy.random.random_sample()


def test_workers_do_not_begin_with_equal_states(places):
    """Without a seed no two tasks draw the same, whichever workers there are."""
    for name in ("processes", "multiprocessing", "futures", "a loky executor", "a Pool"):
        got = pmap(unseeded, range(40), chunksize=1, **places(name).options)

        assert len({python for python, _ in got}) == 40
        assert len({legacy for _, legacy in got}) == 40


FORKED = """
import multiprocessing, warnings
import numpy.random
import parmap
warnings.simplefilter("ignore")
fork = multiprocessing.get_context("fork")

def begin(barrier):
    multiprocessing.barrier = barrier

def first(_):
    multiprocessing.barrier.wait(60)
    return numpy.random.random()

def seeded(_):
    return numpy.random.random()

with fork.Pool(3, initializer=begin, initargs=(fork.Barrier(3),)) as pool:
    raw = pool.map(first, range(3), chunksize=1)
    assert len(set(raw)) == 1, raw  # what it is about
with fork.Pool(3, initializer=begin, initargs=(fork.Barrier(3),)) as pool:
    drawn = parmap.pmap(first, range(3), executor=pool, chunksize=1)
    assert len(set(drawn)) == 3, drawn
with fork.Pool(1, initializer=numpy.random.seed, initargs=(5,)) as pool:
    (kept,) = parmap.pmap(seeded, [0], executor=pool)
    assert kept == numpy.random.RandomState(5).random_sample()
print("parted")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pools are not forked here")
def test_forked_workers_part_from_each_other(script):
    """What NumPy has inherited from the parent is made anew, unless somebody has seeded it."""
    assert script(FORKED).stdout == "parted\n"


# What it costs


def test_a_function_is_not_sent_again_for_another_seed():
    """The seed travels with the tasks: a worker that has the function has it for all seeds."""
    one, other = (SerializedCall(Call(draw, "item", seed=seed)) for seed in (1, None))

    assert one.digest == other.digest


def test_places_are_all_those_that_there_are():
    """The matrix leaves out nothing but threads."""
    assert set(APART) | set(IN_THREADS) == {*OWN, *BORROWED}

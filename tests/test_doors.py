"""The doors beyond the maps: @parallel, delayed, defaults, partition, warm workers, and clients."""

import asyncio
import collections
import contextlib
import copy
import dataclasses
import functools
import inspect
import os
import pickle
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import work
from conftest import Inline, children, needs_proc

import parmap
from parmap import (
    Failure,
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
    shutdown,
    warm,
)

ITEMS = range(20)


def runs_here(**options):
    return pmap(work.pid, ITEMS, **options) == [os.getpid()] * len(ITEMS)


# @parallel


def test_a_decorated_function_is_called_as_before():
    """A plain call runs here and now, with any arguments."""
    assert work.triple(2) == 6
    assert work.triple(2, plus=1) == work.triple(2, 1) == 7
    assert work.abroad_pid(0) == os.getpid()


def test_a_decorated_function_maps(where_cheaply):
    """`.map`, `.starmap` and `.imap` are pmap, pstarmap and pimap of the function."""
    assert work.triple.map([1, 2, 3], **where_cheaply.options) == [3, 6, 9]
    assert work.triple.map([1, 2], iter([5, 6, 7]), **where_cheaply.options) == [8, 12]
    assert work.triple.starmap([(1,), (2, 9)], **where_cheaply.options) == [3, 15]
    results = work.triple.imap(range(4), buffersize=2, **where_cheaply.options)
    assert next(results) == 0
    assert list(results) == [3, 6, 9]


def test_imap_takes_what_pimap_takes():
    """`.imap` has `ordered` and `buffersize`."""
    results = work.triple.imap(range(9), ordered=False, buffersize=3, executor="threads")

    assert sorted(results) == [3 * x for x in range(9)]


def test_a_decorated_function_keeps_its_face():
    """Name, docstring, signature and module are the function's own."""

    def plain(x: int, *rest: str, k: float = 1.0) -> str:
        """Do a thing."""
        return ""

    for decorated in (parallel(plain), parallel(executor="serial")(plain)):
        assert decorated.__name__ == "plain"
        assert decorated.__qualname__ == plain.__qualname__
        assert decorated.__doc__ == "Do a thing."
        assert decorated.__module__ == __name__
        assert decorated.__wrapped__ is plain
        assert inspect.signature(decorated) == inspect.signature(plain)
        assert inspect.unwrap(decorated) is plain
        assert callable(decorated)
        assert "plain" in repr(decorated)


def test_options_of_the_decorator_are_the_defaults_of_its_maps():
    """`@parallel(**options)` keeps them; an option of the call goes before them."""
    assert work.at_home.map(ITEMS) == [(x, os.getpid()) for x in ITEMS]
    assert os.getpid() not in work.abroad_pid.map(ITEMS)
    assert set(work.abroad_pid.map(ITEMS, executor="serial", workers=None)) == {os.getpid()}


def test_parallel_may_be_called_as_a_function():
    """`parallel(fn)` decorates what was not ours: builtins, partials, callable objects."""
    assert parallel(len).map(["a", "bb"]) == [1, 2]
    assert parallel(partial(work.add, 10)).map([1, 2]) == [11, 12]
    assert parallel(work.Adder(3)).map([1], executor="processes") == [4]
    assert parallel(executor="threads")(abs).map([-1]) == [1]
    assert parallel()(abs).map([-1]) == [1]


def test_parallel_refuses_what_cannot_be_called():
    """A non-callable, or an option by position, is a TypeError."""
    with pytest.raises(TypeError):
        parallel(3)
    with pytest.raises(TypeError):
        parallel("processes")
    with pytest.raises(TypeError):
        parallel(executor="serial")(3)


def test_methods_map_over_their_instance(abroad_cheaply):
    """`thing.method.map(xs)` calls the method of that thing."""
    thing = work.Scale(3)

    assert thing.scaled(2) == 6
    assert thing.scaled(2, y=1) == 7
    assert thing.scaled.map([1, 2], **abroad_cheaply.options) == [3, 6]
    assert thing.scaled.map([1, 2], [10, 20], **abroad_cheaply.options) == [13, 26]
    assert thing.scaled.starmap([(1, 1)], **abroad_cheaply.options) == [4]
    assert list(thing.scaled.imap([5], **abroad_cheaply.options)) == [15]
    assert work.Scale(4).scaled.map([1]) == [4]


def test_methods_map_over_instances_too():
    """Through the class a method is a function of the instance, as always."""
    things = [work.Scale(1), work.Scale(2)]

    assert work.Scale.scaled(things[1], 5) == 10
    assert work.Scale.scaled.map(things, [5, 5], executor="threads") == [5, 10]


def test_methods_keep_the_options_of_the_decorator():
    """A bound method has the decorator's options."""
    assert work.Scale(2).far.map([1, 2]) == [2, 4]


def test_static_and_class_methods_map(abroad_cheaply):
    """They work through class and instance, in a subclass, in either order where Python can."""
    options = abroad_cheaply.options
    for owner in (work.Scale, work.Scale(1)):
        assert owner.static_inside(1) == 2
        assert owner.static_inside.map([1, 2], **options) == [2, 3]
        assert owner.static_outside(1) == 3
        assert owner.static_outside.map([1, 2], **options) == [3, 4]
        assert owner.of_class(2) == 20
        assert owner.of_class.map([1, 2], **options) == [10, 20]
    assert work.SubScale.of_class.map([1, 2], **options) == [100, 200]


def test_decorated_functions_pickle_by_reference():
    """What comes back from pickle is the very same object, so nothing is copied."""
    for fn in (work.triple, work.at_home, work.Scale.scaled, work.Scale.static_inside):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            data = pickle.dumps(fn, protocol)
            assert len(data) < 200
            assert pickle.loads(data) is fn

    bound = pickle.loads(pickle.dumps(work.Scale(3).scaled))
    assert bound(2) == 6
    assert bound.map([1, 2]) == [3, 6]


def test_decorated_methods_travel_under_any_name(abroad_cheaply):
    """A private method, and one whose function has another name, are bound again where they run."""
    one = work.Renamed()

    assert one.hidden().map([1, 2], **abroad_cheaply.options) == [10, 20]
    assert one.other.map([1, 2], **abroad_cheaply.options) == [2, 3]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_local_decorated_functions_can_be_copied(copied):
    """The copy of one that has no name to be found by calls the same function, and maps it."""

    @parallel(executor="threads")
    def local(x):
        return x + 1

    assert copied(local)(1) == 2
    assert copied(local).map([1, 2]) == [2, 3]


def test_decorated_functions_are_tasks(abroad_cheaply):
    """A decorated function can itself be mapped, called inside tasks, and sent as an item."""
    options = abroad_cheaply.options

    assert pmap(work.triple, [1, 2], **options) == [3, 6]
    assert pmap(work.Scale(3).scaled, [1, 2], **options) == [3, 6]
    assert pmap(lambda x: work.triple(x) + 1, [1, 2], **options) == [4, 7]
    assert pmap(lambda x: work.triple.map([x, x]), [1, 2], **options) == [[3, 3], [6, 6]]
    (back,) = pmap(work.echo, [work.triple], **options)
    assert back is work.triple


def test_local_decorated_functions_travel(abroad_cheaply):
    """A closure that is decorated inside a function works, too."""
    offset = 7

    @parallel
    def local(x):
        return x + offset

    @parallel(**abroad_cheaply.options)
    def with_options(x):
        return x - offset

    assert local.map([1, 2], **abroad_cheaply.options) == [8, 9]
    assert with_options.map([1, 2]) == [-6, -5]
    assert pmap(local, [1, 2], **abroad_cheaply.options) == [8, 9]


# pcall and delayed


def test_delayed_writes_a_call_down():
    """`delayed(fn)(*args, **kwargs)` is the tuple of the three, joblib's shape."""
    assert delayed(work.gather)(1, k=2) == (work.gather, (1,), {"k": 2})
    assert delayed(abs)(-3) == (abs, (-3,), {})


def test_pcall_takes_delayed_calls_of_joblib(where_cheaply):
    """What `joblib.delayed` makes is taken as it is, mixed with ours."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    tasks = [
        joblib.delayed(pow)(2, 5),
        delayed(work.gather)(1, a=2),
        joblib.delayed(lambda x, *, y: x - y)(5, y=1),
        (len, ("abc",), {}),
    ]

    expected = [32, ((1,), {"a": 2}), 4, 3]
    assert pcall(iter(tasks), **where_cheaply.options) == expected


def test_pcall_has_the_failures_of_a_map(where_cheaply):
    """Errors, on_error and retries work for calls of different functions."""
    tasks = [delayed(int)("1"), delayed(int)("x"), delayed(len)("abc")]

    one, failure, three = pcall(tasks, on_error="return", **where_cheaply.options)

    assert (one, three) == (1, 3)
    assert failure.index == 1
    assert "'x'" in failure.input
    with pytest.raises(ValueError, match="invalid literal"):
        pcall(tasks, **where_cheaply.options)


# parallel_config


@pytest.fixture
def apply():
    """Return a function that sets defaults of the process, for the time of the test."""
    yield lambda **options: parallel_config(**options).apply()
    parallel_config().apply()


def test_defaults_hold_inside_the_block():
    """Calls inside the block have its options, at every door; calls after it do not."""
    with parallel_config(executor="processes", workers=2, on_error="return"):
        assert not runs_here()
        assert isinstance(pmap(int, ["x"])[0], Failure)
        assert isinstance(pstarmap(int, [("x",)])[0], Failure)
        assert isinstance(next(pimap(int, ["x"])), Failure)
        assert isinstance(pcall([delayed(int)("x")])[0], Failure)
        assert isinstance(parallel(int).map(["x"])[0], Failure)

    assert runs_here()
    with pytest.raises(ValueError):
        pmap(int, ["x"])


def test_the_inner_block_adds_to_the_outer():
    """Blocks nest: the inner one changes what it names and leaves the rest."""
    with parallel_config(on_error="return", executor="processes"):
        with parallel_config(executor="serial"):
            assert runs_here()
            assert isinstance(pmap(int, ["x"])[0], Failure)
        assert not runs_here()


def test_the_nearest_option_wins(apply):
    """An option of the call goes before the decorator's, that before the block's, and so on."""
    one = parallel(on_error=lambda f: "decorator")(int)
    apply(on_error=lambda f: "process")
    assert pmap(int, ["x"]) == ["process"]

    with parallel_config(on_error=lambda f: "block"):
        assert pmap(int, ["x"]) == ["block"]
        assert one.map(["x"]) == ["decorator"]
        assert one.map(["x"], on_error=lambda f: "call") == ["call"]

    assert pmap(int, ["x"]) == ["process"]
    parallel_config().apply()


def test_a_block_ends_with_an_error_as_well():
    """Leaving the block by an exception ends its options, too."""
    with pytest.raises(KeyError), parallel_config(on_error="return"):
        raise KeyError

    with pytest.raises(ValueError):
        pmap(int, ["x"])


def test_a_config_can_be_used_again():
    """The same object may be entered one time after another."""
    config = parallel_config(on_error="return")

    for _ in range(2):
        with config:
            assert isinstance(pmap(int, ["x"])[0], Failure)
    with pytest.raises(ValueError):
        pmap(int, ["x"])


def in_thread(fn, *args):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(fn, *args).result()


def test_threads_do_not_see_each_others_blocks():
    """A block belongs to the thread that entered it."""
    with parallel_config(on_error="return"), pytest.raises(ValueError):
        in_thread(pmap, int, ["x"])


def test_to_thread_carries_the_block():
    """`asyncio.to_thread` takes the block along, as it does for every context variable."""
    with parallel_config(on_error="return"):
        (failure,) = asyncio.run(asyncio.to_thread(pmap, int, ["x"]))

    assert isinstance(failure, Failure)


def test_applied_defaults_hold_for_the_process(apply):
    """`apply()` returns nothing, holds in every thread, and an empty one takes it back."""
    assert apply(on_error="return") is None

    assert isinstance(pmap(int, ["x"])[0], Failure)
    assert isinstance(in_thread(pmap, int, ["x"])[0], Failure)

    parallel_config().apply()
    with pytest.raises(ValueError):
        pmap(int, ["x"])


def test_an_applied_default_replaces_the_one_before(apply):
    """The last `apply()` counts, whole."""
    apply(on_error="return")
    apply(executor="serial")

    with pytest.raises(ValueError):
        pmap(int, ["x"])


def test_a_lazy_map_keeps_the_options_it_was_called_with():
    """What is read after the block has ended still has the block's options."""
    with parallel_config(on_error="return", executor="threads"):
        results = pimap(int, ["1", "x", "3"])

    assert [isinstance(r, Failure) for r in results] == [False, True, False]


def test_an_instance_may_be_a_default():
    """A borrowed executor can be named in a block; an option of a call replaces it."""
    with parallel_config(executor=Inline()):
        assert runs_here()
        assert not runs_here(executor="processes", workers=2)


# Failure and partition


def test_partition_parts_values_from_failures():
    """Values and failures come in the order of the input, as two lists."""
    results = pmap(partial(work.refuse, frozenset({1, 3})), range(5), on_error="return")

    values, failures = partition(results)

    assert values == [0, 2, 4]
    assert [f.index for f in failures] == [1, 3]
    assert type(values) is type(failures) is list
    assert partition(iter(results)) == (values, failures)
    assert partition([]) == ([], [])


def test_a_failure_is_frozen_and_no_exception():
    """A Failure is a record: it cannot be changed, and cannot be raised."""
    (failure,) = pmap(int, ["x"], on_error="return")

    with pytest.raises(dataclasses.FrozenInstanceError):
        failure.index = 5
    assert not isinstance(failure, BaseException)
    assert [field.name for field in dataclasses.fields(Failure)] == [
        "index",
        "input",
        "exception",
        "traceback",
        "kind",
        "attempts",
        "seconds",
        "worker",
    ]


def test_a_failure_can_be_unwrapped_again_and_again():
    """`unwrap` raises the same error each time, with one note."""
    (failure,) = pmap(int, ["x"], on_error="return")

    for _ in range(3):
        with pytest.raises(ValueError) as caught:
            failure.unwrap()
        assert caught.value is failure.exception
    assert len(caught.value.__notes__) == 1


def test_an_error_holds_no_cycle():
    """Catching an error of a map leaves no garbage that only the collector finds."""
    import gc
    import weakref

    class Thing:
        pass

    def fail(x):
        raise ValueError

    thing = Thing()
    gone = weakref.ref(thing)
    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            pmap(fail, [thing], executor="processes", workers=1)
        del thing
        assert gone() is None
    finally:
        gc.enable()


# Warm workers


def meeting(folder, n):
    """Return the processes of *n* workers that were all there at the same time."""
    folder.mkdir()
    task = partial(work.meet, folder, n)
    return set(pmap(task, range(n), chunksize=1, executor="processes", workers=n))


def test_workers_stay_warm(tmp_path):
    """The next call, at whichever door, finds the workers of the one before."""
    shutdown()
    first = meeting(tmp_path / "1", 2)

    options = {"executor": "processes", "workers": 2}
    for pids in (
        pmap(work.pid, ITEMS, **options),
        pstarmap(work.pid, [(1,)], **options),
        list(pimap(work.pid, ITEMS, **options)),
        pcall([delayed(os.getpid)()], **options),
        work.abroad_pid.map(ITEMS),
    ):
        assert set(pids) <= first
    assert meeting(tmp_path / "2", 2) == first


def test_workers_stay_warm_after_errors(tmp_path):
    """A failed call costs no worker."""
    shutdown()
    first = meeting(tmp_path / "1", 2)

    with pytest.raises(ValueError):
        pmap(partial(work.refuse, 0), range(100), executor="processes", workers=2, chunksize=1)
    pmap(partial(work.refuse, 0), ITEMS, executor="processes", workers=2, on_error="return")

    assert meeting(tmp_path / "2", 2) == first


@needs_proc
def test_warm_starts_workers_and_shutdown_ends_them(tmp_path):
    """After `warm(n)` n workers wait, and are used; after `shutdown` they are gone."""
    shutdown()
    before = children()

    assert warm(3) is None

    started = children() - before
    assert len(started) == 3
    assert meeting(tmp_path / "1", 3) == started

    assert shutdown() is None
    work.wait_until(lambda: not started & children(), "the workers to end")
    shutdown()
    assert not meeting(tmp_path / "2", 2) & started


@needs_proc
def test_warm_is_by_default_as_many_as_a_call_takes():
    """`warm()` starts the workers that a call without `workers` takes, and no second time."""
    shutdown()
    before = children()

    warm()
    started = children() - before
    pmap(work.double, ITEMS, executor="processes")
    warm()

    assert started
    assert children() - before == started


def test_warm_refuses_bad_numbers():
    """`warm(0)` is the ValueError that `workers=0` is."""
    with pytest.raises(ValueError, match="workers"):
        warm(0)
    with pytest.raises(TypeError, match="workers"):
        warm("2")


@needs_proc
def test_a_small_map_starts_nothing():
    """Empty and small input starts no process."""
    shutdown()
    before = children()

    pmap(work.double, [])
    pmap(work.double, [], executor="processes")
    pmap(work.double, ITEMS)
    parallel_config(executor="processes")

    assert children() == before


def test_shutdown_spares_the_call_that_runs(tmp_path):
    """Shutting down in the middle of a lazy map does not take its results away."""
    results = pimap(work.double, range(50), buffersize=5, executor="processes", workers=2)
    assert next(results) == 0

    shutdown()

    assert list(results) == [2 * x for x in range(1, 50)]
    assert pmap(work.double, [1], executor="processes") == [2]


# Several callers


def test_calls_from_several_threads_at_once():
    """Threads may call at the same time, with different numbers of workers and executors."""
    jobs = [("processes", 2), ("processes", 3), ("threads", 2), ("processes", 1), ("auto", 2)] * 2

    def job(n, executor, workers):
        found = []
        for _ in range(5):
            fn = partial(work.add, n)
            found.append(pmap(fn, range(200), executor=executor, workers=workers))
        return found == [[n + x for x in range(200)]] * 5

    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(job, n, *args) for n, args in enumerate(jobs)]
        assert all(future.result() for future in futures)


def test_calls_from_several_threads_with_joblib():
    """The pool of joblib, which all threads share, gives right answers as well."""
    pytest.importorskip("joblib", reason="joblib is not installed")

    def job(n):
        return pmap(partial(work.add, n), range(50), executor="joblib", workers=2)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(job, range(3))) == [[n + x for x in range(50)] for n in range(3)]


def test_an_instance_serves_several_threads_at_once(places):
    """A borrowed executor may be used by several calls at the same time."""
    for name in ("a ThreadPoolExecutor", "a ThreadPool", "a Pool", "a ProcessPoolExecutor"):
        options = places(name).options

        with ThreadPoolExecutor(3) as pool:
            futures = [
                pool.submit(pmap, partial(work.add, n), range(60), **options) for n in range(3)
            ]
            for n, future in enumerate(futures):
                assert future.result() == [n + x for x in range(60)]


def test_lazy_maps_interleave(where_cheaply):
    """Two lazy maps may be consumed in turns."""
    one = pimap(work.double, range(20), **where_cheaply.options)
    two = pimap(partial(work.add, 100), range(20), **where_cheaply.options)

    assert list(zip(one, two, strict=True)) == [(2 * x, x + 100) for x in range(20)]


def test_a_lazy_map_may_be_fed_by_another(where_cheaply):
    """The input of a map may be a lazy map."""
    inner = pimap(work.double, range(30), **where_cheaply.options)

    assert pmap(partial(work.add, 1), inner, **where_cheaply.options) == [
        2 * x + 1 for x in range(30)
    ]


def test_a_lazy_map_may_change_threads():
    """What one thread began another may finish."""
    results = pimap(work.double, range(30), executor="processes", workers=2)
    assert next(results) == 0

    assert in_thread(list, results) == [2 * x for x in range(1, 30)]
    assert pmap(work.double, [1], executor="processes") == [2]


# Clients: what libraries and their users hand over


def test_maps_pickle_by_reference():
    """Clients pickle the mapper itself: it comes back as the same function."""
    for fn in (pmap, pstarmap, pimap, pcall, pistarmap, picall, delayed, parallel, partition):
        assert pickle.loads(pickle.dumps(fn)) is fn


def test_a_partial_of_a_map_is_a_mapper(abroad_cheaply):
    """`partial(pmap, ...)` pickles, and a task that holds one runs it in its worker."""
    mapper = partial(pmap, executor="serial")

    assert pickle.loads(pickle.dumps(mapper))(work.double, [1]) == [2]
    minimiser = lambda m, x: m(work.double, [x, x + 1])
    assert pmap(partial(minimiser, mapper), [1, 2], **abroad_cheaply.options) == [[2, 4], [4, 6]]
    assert pmap(partial(minimiser, pmap), [1], **abroad_cheaply.options) == [[2, 4]]


def generator():
    yield from "abc"


INPUTS = {
    "generator": generator,
    "dict": lambda: {"a": 1, "b": 2},
    "dict keys": lambda: {"a": 1, "b": 2}.keys(),
    "dict values": lambda: {"a": 1, "b": 2}.values(),
    "dict items": lambda: {"a": 1, "b": 2}.items(),
    "set": lambda: {3, 1, 2},
    "frozenset": lambda: frozenset("xyz"),
    "string": lambda: "text",
    "bytes": lambda: b"bytes",
    "range": lambda: range(5, 0, -1),
    "deque": lambda: collections.deque([1, 2]),
    "old sequence": work.OldSequence,
    "memoryview": lambda: memoryview(b"abc"),
    "iterator of map": lambda: map(str, range(3)),
    "zip": lambda: zip("ab", [1, 2], strict=True),
    "reversed": lambda: reversed([1, 2, 3]),
    "callable iterator": lambda: iter(iter([1, 2, 3, 0]).__next__, 0),
    "enum class": lambda: work.Colour,
    "named tuple": lambda: work.Pair(1, 2),
    "counter": lambda: collections.Counter("abca"),
}


@pytest.mark.parametrize("name", INPUTS)
def test_anything_iterable_is_input(name, abroad_cheaply):
    """Views, sets, strings, iterators of all sorts: what a loop takes a map takes."""
    expected = list(map(work.echo, INPUTS[name]()))

    assert pmap(work.echo, INPUTS[name](), **abroad_cheaply.options) == expected
    assert pmap(work.echo, INPUTS[name]()) == expected
    assert list(pimap(work.echo, INPUTS[name](), **abroad_cheaply.options)) == expected


def test_file_handles_and_cursors_are_input(where_cheaply, tmp_path):
    """The lines of an open file and the rows of a cursor are read as a loop reads them."""
    path = tmp_path / "lines"
    path.write_text("one\ntwo\nthree\n")
    with path.open() as file:
        assert pmap(str.strip, file, **where_cheaply.options) == ["one", "two", "three"]

    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (a, b)")
        connection.executemany("insert into t values (?, ?)", [(1, "x"), (2, None)])
        assert pmap(work.echo, connection.execute("select * from t"), **where_cheaply.options) == [
            (1, "x"),
            (2, None),
        ]
        rows = connection.execute("select * from t")
        assert pstarmap(work.gather, rows, **where_cheaply.options) == [
            ((1, "x"), {}),
            ((2, None), {}),
        ]


def test_pandas_objects_are_input():
    """A Series, an index, a frame's columns, groups and rows are what iteration says they are."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"k": ["a", "b", "a"], "v": [1, 2, 3]})

    options = {"executor": "processes", "workers": 1}
    assert pmap(work.double, frame["v"], **options) == [2, 4, 6]
    assert pmap(work.echo, frame["k"].index, **options) == [0, 1, 2]
    assert pmap(work.echo, frame, **options) == ["k", "v"]
    assert pstarmap(lambda k, v: k * v, frame.itertuples(index=False), **options) == [
        "a",
        "bb",
        "aaa",
    ]
    sums = pstarmap(lambda key, group: (key, int(group["v"].sum())), frame.groupby("k"), **options)
    assert sums == [("a", 4), ("b", 2)]


def test_starmap_takes_rows_of_any_kind(abroad_cheaply):
    """Rows may be lists, tuples of one, NamedTuples, strings, iterators, arrays."""
    rows = lambda: [[1], (2,), work.Pair(3, 4), "ab", iter([5, 6]), range(3), {"k": 1}, ()]

    expected = [(tuple(row), {}) for row in rows()]
    assert pstarmap(work.gather, rows(), **abroad_cheaply.options) == expected
    assert pstarmap(work.gather, rows()) == expected


def test_results_are_what_clients_do_with_lists():
    """len, index, slice, zip(*r), + and sorting work, for the result is a list."""
    result = pmap(lambda x: (x, -x), range(4))

    assert (len(result), result[-1], result[1:2]) == (4, (3, -3), [(1, -1)])
    assert list(zip(*result, strict=True)) == [(0, 1, 2, 3), (0, -1, -2, -3)]
    assert [*result, 5][-1] == 5


def test_many_calls_on_warm_workers():
    """Hundreds of small calls in a row give the right lists."""
    for n in range(300):
        assert pmap(partial(work.add, n), range(3), executor="processes", workers=2) == [
            n,
            n + 1,
            n + 2,
        ]


def test_functions_with_the_same_name_are_not_mixed_up(abroad_cheaply):
    """Workers that remember functions never take one for another."""
    for n in range(20):

        def fn(x, n=n):
            return x + n

        assert pmap(fn, [1], **abroad_cheaply.options) == [1 + n]
        state = [n]
        assert pmap(lambda x, state=state: x + state[0], [1], **abroad_cheaply.options) == [1 + n]


def test_a_function_that_changes_is_sent_anew(abroad_cheaply):
    """A callable object whose attribute was changed between two calls has its new value."""
    adder = work.Adder(1)
    assert pmap(adder, [1], **abroad_cheaply.options) == [2]

    adder.n = 100

    assert pmap(adder, [1], **abroad_cheaply.options) == [101]


def test_tasks_do_not_change_the_callers_objects(abroad_cheaply):
    """A worker process works on a copy of what it was given."""
    item = [1]

    assert pmap(lambda x: x.append(2) or x, [item], **abroad_cheaply.options) == [[1, 2]]
    assert item == [1]


def test_one_object_in_two_items_is_not_needed_to_be_one():
    """Items are equal to the loop's; within one item an object stays one object."""
    shared = []

    (found,) = pmap(lambda pair: pair[0] is pair[1], [(shared, shared)], executor="processes")

    assert found


def test_the_callers_state_is_left_alone():
    """A call changes no signal handler, no warning filter, no hook and no environment."""
    import signal
    import sys
    import warnings

    def state():
        return (
            signal.getsignal(signal.SIGINT),
            signal.getsignal(signal.SIGCHLD),
            signal.getsignal(signal.SIGTERM),
            list(warnings.filters),
            sys.excepthook,
            dict(os.environ),
            sys.path[:],
            os.getcwd(),
        )

    before = state()
    for executor in ("processes", "threads", "joblib"):
        pmap(work.double, ITEMS, executor=executor, workers=2)

    assert state() == before


def test_sigchld_may_be_ignored():
    """A program that ignores SIGCHLD still gets its results."""
    import signal

    shutdown()
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert pmap(work.double, ITEMS, executor="processes", workers=2) == [2 * x for x in ITEMS]
        shutdown()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_reduce_over_a_map(where_cheaply):
    """Several maps in a row, one feeding the next, give what loops give."""
    squares = pmap(lambda x: x * x, range(10), **where_cheaply.options)

    assert functools.reduce(work.add, pmap(work.double, squares, **where_cheaply.options)) == 570


def test_version_is_there():
    """The package says its version."""
    assert parmap.__version__.startswith("0.1")

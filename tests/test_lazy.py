"""The lazy twins: `pistarmap`, `picall` and `istarmap`, as `pimap` is that of `pmap`."""

import itertools
import os
from contextlib import closing
from functools import partial

import pytest
import work

from parmap import Failure, delayed, parallel, parallel_config, picall, pistarmap

TWINS = {
    "pistarmap": lambda fn, items, **options: pistarmap(fn, ((x,) for x in items), **options),
    "picall": lambda fn, items, **options: picall((delayed(fn)(x) for x in items), **options),
    "istarmap": lambda fn, items, **options: parallel(fn).istarmap(
        ((x,) for x in items), **options
    ),
}


@pytest.fixture(params=TWINS)
def twin(request):
    """Each of the doors, called as `twin(fn, items)`."""
    return TWINS[request.param]


def test_the_lazy_twins_give_what_their_lists_give(where):
    """`pistarmap` and `picall` give what starmap and a loop of calls give, in order."""
    pairs = [(x, x + 1) for x in range(30)]
    calls = [delayed(fn)(x) for x in range(10) for fn in (work.double, lambda x: -x, str)]

    assert list(pistarmap(work.add, pairs, **where.options)) == list(
        itertools.starmap(work.add, pairs)
    )
    assert list(picall(calls, **where.options)) == [f(*a, **k) for f, a, k in calls]


def test_they_read_ahead_no_more_than_their_buffer(twin, where_cheaply):
    """The input, which may be endless, is drawn so far and no further; closing ends it."""
    source = work.Source(itertools.count())

    with closing(twin(work.double, source, buffersize=4, **where_cheaply.options)) as results:
        for n in range(10):
            assert next(results) == 2 * n
            assert source.drawn <= n + 1 + 4
    drawn = source.drawn

    assert list(results) == []
    assert source.drawn == drawn


def test_they_give_the_results_before_a_failure(twin, where_cheaply):
    """What was before the failing task is given first, then its own exception is raised."""
    results = twin(partial(work.refuse, 7), range(20), **where_cheaply.options)
    given = []

    with pytest.raises(ValueError, match="no 7") as caught:
        given.extend(results)

    assert given == list(range(7))
    assert "task 7" in caught.value.__notes__[0]


def test_they_give_results_as_they_come(twin, side_by_side, tmp_path):
    """With `ordered=False` a task that takes longer does not hold up the others."""
    gate = tmp_path / "gate"
    task = lambda x: work.wait_for(gate if x == 0 else None, x)

    with twin(task, range(9), ordered=False, chunksize=1, **side_by_side.options) as results:
        first = [next(results) for _ in range(3)]
        gate.touch()
        rest = list(results)

    assert 0 not in first
    assert sorted(first + rest) == list(range(9))


def test_they_take_the_options_of_a_map(twin):
    """Failures, retries and defaults are what they are for a list."""
    bad = partial(work.refuse, 1)

    assert list(twin(bad, range(3), on_error=lambda failure: failure.kind)) == [0, "error", 2]
    with parallel_config(on_error="return", retries=2):
        zero, one, two = twin(bad, range(3))
    assert (zero, one.attempts, two) == (0, 3, 2)


def test_a_task_of_another_shape_comes_at_its_place(where_cheaply):
    """`picall` gives what is before an item that is no task, then raises TypeError."""
    results = picall(iter([delayed(abs)(-1), delayed(abs)(-2), abs]), **where_cheaply.options)
    given = []

    with pytest.raises(TypeError, match="task 2 must be a tuple"):
        given.extend(results)

    assert given == [1, 2]


async def later(x, y=1):
    return x * y


def test_they_await_coroutine_functions():
    """The tasks of a coroutine function are awaited, one after another as they are read."""
    assert list(pistarmap(later, [(2, 3), (4,)])) == [6, 4]
    assert list(picall(delayed(later)(n, y=n) for n in range(4))) == [0, 1, 4, 9]


def test_istarmap_has_the_options_of_its_decorator():
    """A decorated function, method, class method or static method has `istarmap` as well."""
    here = os.getpid()

    assert list(work.triple.istarmap([(1, 2), (3,)], executor="serial")) == [5, 9]
    assert list(work.at_home.istarmap([(1,)])) == [(1, here)]
    assert here not in list(work.abroad_pid.istarmap([(1,), (2,)]))
    assert list(work.Scale(2).scaled.istarmap([(1, 2), (3, 4)])) == [4, 10]
    assert list(work.SubScale.of_class.istarmap([(2,)])) == [200]
    assert list(work.Scale.static_inside.istarmap([(2,)])) == [3]


def test_they_refuse_what_the_lists_refuse():
    """What cannot be called, iterated or buffered is an error at once, that names the door."""
    for call, words in (
        (lambda: pistarmap(3, []), "pistarmap"),
        (lambda: pistarmap(abs, 3), r"pistarmap\(\) argument 2"),
        (lambda: picall(3), r"picall\(\) argument 1"),
        (lambda: picall([], workerz=3), r"picall\(\) has no option 'workerz'"),
    ):
        with pytest.raises(TypeError, match=words):
            call()
    for call in (lambda n: pistarmap(abs, [], buffersize=n), lambda n: picall([], buffersize=n)):
        with pytest.raises(ValueError, match="buffersize"):
            call(0)


def test_a_failure_stands_in_its_place(twin, where_cheaply):
    """Under `on_error="return"` the results are as many as the tasks."""
    one, failure, three = twin(
        partial(work.refuse, 1), range(3), on_error="return", **where_cheaply.options
    )

    assert (one, three) == (0, 2)
    assert isinstance(failure, Failure)

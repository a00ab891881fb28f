"""The properties: whatever the input, place, chunks and workers, it is what map gives."""

import itertools

import pytest
import work
from conftest import COSTLY, EVERYWHERE
from hypothesis import given, settings
from hypothesis import strategies as st

from parmap import Failure, partition, pcall, pimap, pmap, pstarmap

SETTLED = {"deadline": None, "derandomize": True, "database": None}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=5,
)
inputs = st.lists(values, max_size=40)
shapes = st.sampled_from([list, tuple, iter, lambda xs: (x for x in xs)])
chunksizes = st.one_of(st.just("auto"), st.integers(1, 50))
few_workers = st.sampled_from([None, 1, 2, 3, -1])


def examples(name):
    return 4 if name in COSTLY else 25


def cases(test):
    """Run *test*, a function of a place and of drawn data, in every place."""

    @pytest.mark.parametrize("name", EVERYWHERE)
    def everywhere(places, name):
        where = places(name)

        @settings(max_examples=examples(name), **SETTLED)
        @given(st.data())
        def run(data):
            chunksize = data.draw(chunksizes, "chunksize")
            options = where.options | {"chunksize": chunksize}
            if name in ("auto", "serial", "threads", "processes"):
                options |= {"workers": data.draw(few_workers, "workers")}
            test(data, options)

        run()

    everywhere.__name__ = test.__name__
    everywhere.__doc__ = test.__doc__
    return everywhere


def same(found, expected):
    """Compare by repr, which is exact and takes a NaN for what it is."""
    return list(map(repr, found)) == list(map(repr, expected))


@cases
def test_pmap_is_map(data, options):
    """`pmap` gives what map gives."""
    xs, shape = data.draw(inputs), data.draw(shapes)

    assert same(pmap(work.gather, shape(xs), **options), map(work.gather, xs))


@cases
def test_pmap_is_map_of_several_iterables(data, options):
    """`pmap` of several iterables gives what map gives, and ends with the shortest."""
    xs, ys = data.draw(inputs), data.draw(inputs)

    found = pmap(work.gather, xs, itertools.count(), iter(ys), **options)

    assert same(found, map(work.gather, xs, itertools.count(), ys))


@cases
def test_pimap_is_map(data, options):
    """`pimap` gives what map gives, in its order, whatever the buffer."""
    xs = data.draw(inputs)
    buffersize = data.draw(st.one_of(st.none(), st.integers(1, 60)), "buffersize")

    assert same(pimap(work.echo, iter(xs), buffersize=buffersize, **options), xs)


@cases
def test_unordered_pimap_is_map_in_some_order(data, options):
    """`pimap(ordered=False)` gives what map gives as a multiset."""
    xs = data.draw(inputs)
    buffersize = data.draw(st.one_of(st.none(), st.integers(1, 60)), "buffersize")

    found = pimap(work.echo, xs, ordered=False, buffersize=buffersize, **options)

    assert sorted(map(repr, found)) == sorted(map(repr, xs))


@cases
def test_pstarmap_is_starmap(data, options):
    """`pstarmap` gives what itertools.starmap gives, for tuples and lists of any length."""
    rows = data.draw(st.lists(st.one_of(st.lists(values, max_size=3), st.tuples(values))))

    assert same(pstarmap(work.gather, rows, **options), itertools.starmap(work.gather, rows))


@cases
def test_pcall_is_calling(data, options):
    """`pcall` gives what calling each function with its arguments gives."""
    tasks = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from([work.gather, lambda *a, **k: (k, a)]),
                st.lists(values, max_size=2).map(tuple),
                st.dictionaries(st.sampled_from("abc"), values, max_size=2),
            ),
            max_size=20,
        )
    )

    assert same(pcall(tasks, **options), [fn(*args, **kwargs) for fn, args, kwargs in tasks])


@cases
def test_failures_are_where_the_loop_would_raise(data, options):
    """Exactly the tasks that raise in the loop are Failures; the others have their values."""
    xs = data.draw(st.lists(st.integers(-2, 2), max_size=40))

    results = pmap(lambda x: 1 / x, xs, on_error="return", **options)

    values, failures = partition(results)
    assert values == [1 / x for x in xs if x]
    assert [f.index for f in failures] == [i for i, x in enumerate(xs) if not x]
    assert [isinstance(r, Failure) for r in results] == [x == 0 for x in xs]

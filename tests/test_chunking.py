"""Chunk sizes and parts of the input: arithmetic, tried without running anything."""

import pickle

import pytest

from parmap._engine.chunking import CONTAINED, GROWTH, SOLO, TARGET, Sizes, budget, target
from parmap._engine.source import Source


def learnt(cost, **options):
    """Return sizes that know what a task costs."""
    sizes = Sizes(**options)
    sizes.learn(10**9, 10**9 * cost)
    return sizes


@pytest.mark.parametrize(
    ("sizes", "remaining", "workers", "expected"),
    [
        (Sizes(), 1000, 2, 1),  # nothing is known
        (Sizes(7), 1000, 2, 7),
        (learnt(0.001), 10**6, 2, round(TARGET / 0.001)),
        (learnt(0.001), 10**6, 1, round(SOLO / 0.001)),
        (learnt(0.001), None, 1, round(TARGET / 0.001)),
        (learnt(0.001), 12, 2, 3),
        (learnt(1.0), 10**6, 2, 1),
        (learnt(0.001, contain_failures=True), 10**6, 2, round(CONTAINED / 0.001)),
        (learnt(0.001, contain_failures=True), 10**6, 1, round(CONTAINED / 0.001)),
        (learnt(0.001, most=4), 10**6, 2, 4),
        (Sizes(100, most=3), 10**6, 2, 3),
        (learnt(1e-4), 60, 2, 15),  # no less than a message is worth
        (learnt(1e-4), 12, 2, 6),  # but each worker has some
        (learnt(1e-4, contain_failures=True), 12, 2, 3),  # nor that, if it may be lost
        (Sizes(known=1e-6), 10**6, 2, GROWTH),  # they may be of another kind
    ],
)
def test_the_size_of_a_chunk(sizes, remaining, workers, expected):
    """A chunk is as long as its target, smaller at the end, and never more than is allowed."""
    assert sizes.next(remaining, workers) == expected


@pytest.mark.parametrize("workers", [1, 2, 64, 1000])
def test_a_call_that_contains_failures_hands_back_after_each_target(workers):
    """Where failures are to be contained, no more is at stake than one short target."""
    assert (
        budget(workers, contain_failures=True)
        == target(workers, contain_failures=True)
        <= target(workers)
    )
    assert budget(workers) == 2 * target(workers)


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_window_is_the_slice_it_stands_for(kind):
    """A part of a list or a tuple has its length, items, order, parts and pickle."""
    whole = kind(range(20))
    for begin, end in [(0, 20), (3, 9), (7, 20), (5, 5), (18, 40)]:
        source, part = Source((whole,)), list(whole[begin:end])
        source.take(begin)
        window = source.take(end - begin)

        assert (len(window), list(window)) == (len(part), part)
        assert [window[i] for i in range(len(window))] == part
        assert list(window[1:3]) == part[1:3]
        assert list(window[2:]) == part[2:]
        assert list(pickle.loads(pickle.dumps(window))) == part


def test_a_list_is_not_copied():
    """What is drawn from a list refers to it."""
    items = list(range(10))

    drawn = Source((items,)).take(4)
    items[2] = "changed"

    assert list(drawn) == [0, 1, "changed", 3]


def test_a_list_that_became_shorter_is_not_sent():
    """An input that shrinks during the call is an error when it is sent, and no endless call."""
    items = list(range(10))
    window = Source((items,)).take(8)
    del items[5:]

    with pytest.raises(RuntimeError, match="shorter"):
        pickle.dumps(window)

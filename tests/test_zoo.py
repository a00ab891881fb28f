"""The zoo: each animal fails its own task, costs nobody else anything, and breaks no executor."""

import os
import pickle
import traceback
from collections import Counter
from functools import partial

import pytest
import work
import zoo
from conftest import COSTLY

from parmap import Failure, WorkerCrashed, partition, pimap, pmap

NEIGHBOURS = 12
PLACE = 5

KEPT = {  # What is left of an exception that cannot travel: attributes.
    "TwoArgumentError": {"code": 404, "reason": "not here", "args": ("404: not here",)},
    "KeywordOnlyError": {"code": 5},
    "ErrorWithLock": {"code": 7, "args": (7,)},
    "ErrorWhoseReduceRaises": {"args": ("a", "b")},
    "ErrorWhoseReduceExits": {"args": ("a", "b")},
    "ErrorWhoseUnpicklingRaises": {"args": ("a", "b")},
    "ErrorWhoseUnpicklingExits": {"args": ("a", "b")},
    "ErrorWhoseStrRaises": {"args": ("a",)},
    "ErrorWithoutNotes": {"args": ("a",)},
    "ErrorWithOddNotes": {"args": ("a",)},
    "FrozenError": {"code": 5, "args": (5,)},
    "LocalError": {"args": ("of a function",)},
    "CustomBaseException": {"args": ("base",)},
    "SystemExit": {"code": 3},
    "KeyboardInterrupt": {"args": ("by the task",)},
    "StopIteration": {"value": 11},
    "PicklingError": {"args": ("raised by the task itself",)},
}


def among_neighbours(animal, **options):
    """Map `visit` over ordinary items and one *animal*; return what became of the animal."""
    items = [*range(PLACE), animal, *range(PLACE, NEIGHBOURS)]

    results = pmap(zoo.visit, items, on_error="return", **options)

    failure = results.pop(PLACE)
    assert results == [zoo.visit(x) for x in range(NEIGHBOURS)]
    assert isinstance(failure, Failure)
    assert failure.index == PLACE
    return failure


def check_error(name, failure):
    assert failure.kind == "error"
    assert name in failure.traceback
    if name in KEPT:
        assert type(failure.exception).__name__ == name
        assert {a: getattr(failure.exception, a) for a in KEPT[name]} == KEPT[name]


def check_unpicklable(path, failure):
    assert failure.kind == "unpicklable"
    assert isinstance(failure.exception, Exception)
    if path is not None:
        assert path in str(failure.exception)


def check_input(name, failure):
    if "AtUnpickle" in name:
        assert failure.kind in {"unpicklable", "error"}
    else:
        check_unpicklable(zoo.INPUT_PATHS.get(name), failure)


# One animal at a time


@pytest.mark.parametrize("name", zoo.ERRORS)
def test_an_error_keeps_what_it_can(abroad_cheaply, name):
    """An exception that cannot travel keeps its type, its args and its picklable attributes."""
    failure = among_neighbours(name, **abroad_cheaply.options)

    check_error(name, failure)


@pytest.mark.parametrize("name", zoo.ERRORS)
def test_an_error_comes_out_as_itself(processes_only, name):
    """On "raise" the same exception is raised, with the worker's traceback, and the pool lives."""
    with pytest.raises(BaseException) as caught:
        pmap(zoo.visit, [1, name, 2], **processes_only.options)

    if name in KEPT:
        assert type(caught.value).__name__ == name
    assert name in str(caught.value.__cause__)
    assert pmap(zoo.visit, [1, 2], **processes_only.options) == [2, 4]


def test_a_group_keeps_its_members(abroad_cheaply):
    """Each exception in a group keeps what it can, as one that is raised by itself."""
    error = among_neighbours("GroupOfErrors", **abroad_cheaply.options).exception

    first, (second, third) = error.exceptions[0], error.exceptions[1].exceptions
    assert (error.message, error.exceptions[1].message) == ("two", "inner")
    assert [type(error), type(first), type(second), type(third)] == [
        zoo.GroupOfErrors,
        zoo.TwoArgumentError,
        zoo.ErrorWithLock,
        ValueError,
    ]
    assert (first.reason, second.code, third.args) == ("a", 7, (8,))


@pytest.mark.parametrize("name", zoo.ERRORS)
def test_a_failure_raises_its_own_exception(name):
    """`unwrap` raises what the task raised, whatever becomes of the note on it."""
    (failure,) = pmap(zoo.visit, [name], executor="serial", on_error="return")

    with pytest.raises(BaseException) as caught:
        failure.unwrap()

    assert caught.value is failure.exception


@pytest.mark.parametrize("name", zoo.RESULTS)
def test_a_result_that_cannot_travel_fails_its_task(abroad_cheaply, name):
    """The Failure is of kind "unpicklable" and names the path to the culprit."""
    failure = among_neighbours(name, **abroad_cheaply.options)

    check_unpicklable(zoo.RESULT_PATHS.get(name), failure)


@pytest.mark.parametrize("name", zoo.INPUTS)
def test_an_input_that_cannot_travel_fails_its_task(abroad_cheaply, name):
    """The Failure names the path to the culprit; what fails to load fails its own task, too."""
    failure = among_neighbours(zoo.INPUTS[name](), **abroad_cheaply.options)

    check_input(name, failure)


@pytest.mark.parametrize("name", [*zoo.RESULTS, *zoo.INPUTS])
def test_what_cannot_travel_is_raised_by_default(processes_only, name):
    """On "raise" an ordinary error says the same, and the next call works."""
    animal = name if name in zoo.RESULTS else zoo.INPUTS[name]()
    path = zoo.RESULT_PATHS.get(name) or zoo.INPUT_PATHS.get(name)

    with pytest.raises(BaseException) as caught:
        pmap(zoo.visit, [1, animal, 2], **processes_only.options)

    if path:
        assert isinstance(caught.value, (TypeError, pickle.PicklingError))
        assert path in str(caught.value)
    assert pmap(zoo.visit, [1, 2], **processes_only.options) == [2, 4]


def test_the_second_argument_is_named_by_its_place(processes_only):
    """The path says which of several arguments holds the culprit."""
    (failure,) = pmap(work.add, [1], [zoo.Holder()], on_error="return", **processes_only.options)

    check_unpicklable("args[1].model._lock", failure)


# All of them at once


@pytest.mark.parametrize("chunksize", ["auto", 1, 1000])
def test_the_whole_zoo_in_one_call(abroad, chunksize):
    """Any number of animals in one call fail their own tasks, whoever shares their chunk."""
    if abroad.name in COSTLY and chunksize == 1:
        pytest.skip("a pool of its own for every call: two chunk sizes will do")
    animals = {name: name for name in [*zoo.ERRORS, *zoo.RESULTS]}
    animals |= {name: make() for name, make in zoo.INPUTS.items()}
    items = [x for pair in enumerate(animals.values()) for x in pair]

    results = pmap(zoo.visit, items, on_error="return", chunksize=chunksize, **abroad.options)

    assert results[::2] == [2 * x for x in range(len(animals))]
    for name, failure in zip(animals, results[1::2], strict=True):
        assert isinstance(failure, Failure), name
        if name in zoo.ERRORS:
            check_error(name, failure)
        elif name in zoo.RESULTS:
            check_unpicklable(zoo.RESULT_PATHS.get(name), failure)
        else:
            check_input(name, failure)
    assert pmap(work.double, range(5), **abroad.options) == [0, 2, 4, 6, 8]


def test_a_lazy_map_survives_the_zoo(abroad_cheaply):
    """`pimap` gives the Failures in their places and goes on."""
    animals = [*zoo.ERRORS, *zoo.RESULTS]
    items = [x for pair in enumerate(animals) for x in pair]

    results = list(pimap(zoo.visit, items, on_error="return", **abroad_cheaply.options))

    values, failures = partition(results)
    assert values == [2 * x for x in range(len(items) // 2)]
    assert [f.index for f in failures] == list(range(1, len(items), 2))


@pytest.mark.parametrize("name", zoo.ERRORS)
def test_every_failure_can_be_pickled(name):
    """A Failure pickles whatever its exception is made of."""
    (failure,) = pmap(zoo.visit, [name], executor="serial", on_error="return")

    again = pickle.loads(pickle.dumps(failure))

    assert (again.index, again.kind, again.traceback) == (0, "error", failure.traceback)
    if name in KEPT and name != "LocalError":  # A local class can only be pickled by cloudpickle.
        assert type(again.exception) is type(failure.exception)


def test_errors_are_caught_by_their_local_class(abroad_cheaply):
    """An exception class made in a function is the same class when it comes back."""

    class Mine(Exception):
        pass

    def task(x):
        raise Mine(x)

    with pytest.raises(Mine) as caught:
        pmap(task, [1], **abroad_cheaply.options)

    assert caught.value.args == (1,)
    assert "in task" in "".join(traceback.format_exception(caught.value))


# Crashes: the promise of "processes"


def check_crash(name, failure):
    assert failure.kind == "crash"
    assert isinstance(failure.exception, WorkerCrashed)
    assert any(word in str(failure.exception) for word in zoo.CRASH_WORDS[name])
    assert failure.worker not in (0, os.getpid())
    assert failure.attempts == 1


@pytest.mark.parametrize("chunksize", ["auto", 1, 5, 1000])
@pytest.mark.parametrize("name", zoo.CRASHES)
def test_a_crash_fails_exactly_its_task(processes_only, name, chunksize):
    """A worker that dies costs the task it ran; whatever shared its chunk completes."""
    failure = among_neighbours(name, chunksize=chunksize, **processes_only.options)

    check_crash(name, failure)
    assert repr(name) in failure.input
    assert pmap(work.double, range(5), **processes_only.options) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("chunksize", [1, 5])
def test_a_crash_while_an_input_is_loaded_fails_its_task(processes_only, chunksize):
    """An input that kills the worker on its way in is the one that fails."""
    failure = among_neighbours(zoo.CrashAtUnpickle(), chunksize=chunksize, **processes_only.options)

    assert failure.kind == "crash"
    assert isinstance(failure.exception, WorkerCrashed)


def test_a_crash_is_raised_by_default(processes_only):
    """On "raise" WorkerCrashed comes out and names the task; the next call works."""
    with pytest.raises(WorkerCrashed, match=r"SIGKILL|9") as caught:
        pmap(zoo.visit, [1, 2, "SuicideBySigkill", 3], **processes_only.options)

    (note,) = caught.value.__notes__
    assert "2" in note
    assert "SuicideBySigkill" in note
    assert pmap(work.double, range(5), **processes_only.options) == [0, 2, 4, 6, 8]


def test_many_crashes_fail_exactly_their_tasks(processes_only):
    """Every worker may die, more than once: the others' tasks complete."""
    items = [x if x % 4 else "OsExit" for x in range(24)]

    results = pmap(zoo.visit, items, on_error="return", **processes_only.options)

    values, failures = partition(results)
    assert values == [2 * x for x in items if x != "OsExit"]
    assert [f.index for f in failures] == list(range(0, 24, 4))
    for failure in failures:
        check_crash("OsExit", failure)


def crash_or_log(path, bad, x):
    work.log(path, x)
    if x in bad:
        os._exit(1)
    return x


def test_a_crash_makes_nothing_run_twice(processes_only, tmp_path):
    """A crash does not touch the neighbours: with single tasks each runs exactly once."""
    path, bad = tmp_path / "log", {3, 10, 11}
    task = partial(crash_or_log, path, bad)

    results = pmap(task, range(20), chunksize=1, on_error="return", **processes_only.options)

    assert [f.index for f in partition(results)[1]] == sorted(bad)
    assert set(Counter(path.read_text().split()).values()) == {1}


def crash_first(folder, x):
    if x == 4:
        try:
            work.flaky(folder, 1, x)
        except ConnectionError:
            os._exit(1)
    return x


def test_a_crash_is_retried_like_any_failure(processes_only, tmp_path):
    """With retries a task that killed its worker gets another one."""
    task = partial(crash_first, tmp_path)

    assert pmap(task, range(10), retries=1, **processes_only.options) == list(range(10))


def test_a_crash_that_repeats_is_given_up(processes_only):
    """A task that kills every worker it gets fails after its retries."""
    results = pmap(
        zoo.visit, [1, "OsExit", 2], retries=2, on_error="return", **processes_only.options
    )

    failure = results.pop(1)
    assert results == [2, 4]
    assert (failure.kind, failure.attempts) == ("crash", 3)


def test_a_lazy_map_survives_a_crash(processes_only):
    """`pimap` gives the Failure in its place and goes on."""
    items = [1, 2, "SuicideBySigkill", 3, 4]

    results = list(pimap(zoo.visit, items, on_error="return", **processes_only.options))

    assert results.pop(2).kind == "crash"
    assert results == [2, 4, 6, 8]


def test_auto_lets_no_crash_happen_here():
    """Asked for fault tolerance, "auto" runs the task that dies in a worker."""
    results = pmap(zoo.visit, [1, "SuicideBySigkill", 2], on_error="return")

    assert results.pop(1).kind == "crash"
    assert results == [2, 4]

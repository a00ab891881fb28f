"""Bad options: an immediate error that names the option, the value and the cure."""

import re
import sys
from decimal import Decimal
from fractions import Fraction

import pytest
import work
from conftest import Inline, children, needs_proc

from parmap import (
    ExecutorUnavailable,
    delayed,
    parallel,
    parallel_config,
    pcall,
    picall,
    pimap,
    pistarmap,
    pmap,
    pstarmap,
)


class LooksLikeAnExecutor:
    def submit(self, *args):
        raise AssertionError("must not be called")

    map = submit


# The options, the error, and what its message must say: the option, the value, the cure.
BAD = [
    ({"workers": 0}, ValueError, ["workers", "0", r"None|at least 1|>= 1|positive|-1"]),
    ({"workers": 2.5}, TypeError, ["workers", "2.5", "number"]),
    ({"workers": "2"}, TypeError, ["workers", "'2'", "number"]),
    ({"chunksize": -1}, ValueError, ["chunksize", "-1", r"auto"]),
    ({"chunksize": 0}, ValueError, ["chunksize", "0", r"auto"]),
    ({"chunksize": 1.5}, TypeError, ["chunksize", "1.5", "auto"]),
    ({"chunksize": "big"}, (TypeError, ValueError), ["chunksize", "'big'", "auto"]),
    ({"chunksize": None}, (TypeError, ValueError), ["chunksize", "None", "auto"]),
    ({"executor": "foo"}, ValueError, ["executor", "'foo'", "processes", "threads", "joblib"]),
    ({"executor": "thread"}, ValueError, ["executor", "'thread'", "threads"]),
    ({"executor": "process"}, ValueError, ["executor", "'process'", "processes"]),
    ({"executor": "spark"}, ValueError, ["executor", "'spark'", "processes"]),
    ({"executor": None}, TypeError, ["executor", "None", "name", "instance"]),
    ({"executor": 4}, TypeError, ["executor", "4", "name", "instance"]),
    ({"executor": LooksLikeAnExecutor()}, TypeError, ["executor", "LooksLikeAnExecutor", "Pool"]),
    ({"executor": Inline}, TypeError, ["executor", "Inline", "instance|Executor"]),
    ({"retries": -1}, ValueError, ["retries", "-1", "0"]),
    ({"retries": 1.5}, TypeError, ["retries", "1.5", "number"]),
    ({"retries": None}, TypeError, ["retries", "None", "0"]),
    ({"on_error": "ignore"}, ValueError, ["on_error", "'ignore'", "raise", "return"]),
    ({"on_error": None}, (TypeError, ValueError), ["on_error", "None", "raise", "return"]),
    ({"initializer": 3}, TypeError, ["initializer", "3", "callable|function"]),
    ({"initializer": "setup"}, TypeError, ["initializer", "'setup'", "callable|function"]),
    ({"progress": 3}, TypeError, ["progress", "3", "True"]),
    ({"progress": [1]}, TypeError, ["progress", r"\[1\]", "True"]),
    ({"worker": 2}, TypeError, ["worker", "workers"]),
    ({"max_workers": 2}, TypeError, ["max_workers", "workers"]),
    ({"chunk_size": 2}, TypeError, ["chunk_size", "chunksize"]),
    ({"onerror": "raise"}, TypeError, ["onerror", "on_error"]),
    ({"retry": 2}, TypeError, ["retry", "retries"]),
    ({"excutor": "serial"}, TypeError, ["excutor", "executor"]),
    ({"Progress": True}, TypeError, ["Progress", "progress"]),
    ({"zzz": 1}, TypeError, ["zzz"]),
    ({"timeout": 0}, ValueError, ["timeout", "0", "seconds"]),
    ({"timeout": -1.5}, ValueError, ["timeout", "-1.5", "seconds"]),
    ({"timeout": float("nan")}, ValueError, ["timeout", "nan", "seconds"]),
    ({"timeout": "1"}, TypeError, ["timeout", "'1'", "seconds"]),
    ({"timeout": True}, TypeError, ["timeout", "True", "seconds"]),
    ({"timeout": 1, "executor": "threads"}, ValueError, ["timeout", "'threads'", "'processes'"]),
    ({"timeout": 1, "executor": Inline()}, ValueError, ["timeout", "Inline", "'processes'"]),
    ({"deadline": 0}, ValueError, ["deadline", "0", "seconds", "whole call"]),
    ({"deadline": float("nan")}, ValueError, ["deadline", "nan", "seconds"]),
    ({"deadline": "1"}, TypeError, ["deadline", "'1'", "seconds"]),
    ({"deadline": True}, TypeError, ["deadline", "True", "seconds"]),
    ({"total_timeout": 3}, TypeError, ["total_timeout", "deadline=3"]),
    ({"time_limit": 3}, TypeError, ["time_limit", "timeout=3", "deadline=3"]),
    ({"return_as": "generator"}, TypeError, ["return_as", "pimap", "picall"]),
    ({"seed": -1}, ValueError, ["seed", "-1", "0 or more"]),
    ({"seed": 1.5}, TypeError, ["seed", "1.5", "number"]),
    ({"seed": "x"}, TypeError, ["seed", "'x'", "number"]),
    ({"seed": True}, TypeError, ["seed", "True", "number"]),
    ({"seed": 1, "executor": "threads"}, ValueError, ["seed=1", "'threads'", "'processes'"]),
    ({"random_state": 1}, TypeError, ["random_state", "seed=1", r"parmap\.rng\(\)"]),
    ({"max_tasks_per_worker": 0}, ValueError, ["max_tasks_per_worker", "0", "number"]),
    ({"max_tasks_per_worker": 1.5}, TypeError, ["max_tasks_per_worker", "1.5", "number"]),
    (
        {"max_tasks_per_worker": 1, "executor": "joblib"},
        ValueError,
        ["max_tasks_per_worker", "'joblib'", "'processes'"],
    ),
    ({"workers": 2, "executor": Inline()}, ValueError, ["workers", "2", "Inline|instance"]),
]


def label(options):
    """Name a case in the test's id, without addresses."""
    return ",".join(f"{name}={re.sub(' .*', '', str(value))}" for name, value in options.items())


def must_not_run(*args, **kwargs):
    raise AssertionError("a task ran")


def must_not_be_read():
    raise AssertionError("the input was read")
    yield


KEEPERS = {"parallel", "parallel_config", "apply"}  # They keep options for later calls.


def enter(block):
    with block:
        pass


DOORS = {
    "pmap": lambda options: pmap(must_not_run, must_not_be_read(), **options),
    "pstarmap": lambda options: pstarmap(must_not_run, must_not_be_read(), **options),
    "pimap": lambda options: pimap(must_not_run, must_not_be_read(), **options),
    "pcall": lambda options: pcall(must_not_be_read(), **options),
    "pistarmap": lambda options: pistarmap(must_not_run, must_not_be_read(), **options),
    "picall": lambda options: picall(must_not_be_read(), **options),
    "parallel": lambda options: parallel(**options)(must_not_run),
    "map": lambda options: work.triple.map(must_not_be_read(), **options),
    "starmap": lambda options: work.triple.starmap(must_not_be_read(), **options),
    "imap": lambda options: work.triple.imap(must_not_be_read(), **options),
    "istarmap": lambda options: work.triple.istarmap(must_not_be_read(), **options),
    "parallel_config": lambda options: enter(parallel_config(**options)),
    "apply": lambda options: parallel_config(**options).apply(),
}


@needs_proc
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("options", "kind", "words"), BAD, ids=[label(bad[0]) for bad in BAD])
def test_a_bad_option_is_an_error_at_once(door, options, kind, words):
    """Every door refuses it with the same kind of error, that says what to do, and does nothing."""
    if door in KEEPERS and isinstance(options.get("executor"), Inline | LooksLikeAnExecutor):
        pytest.skip("an instance is looked at when it is used")
    before = children()

    with pytest.raises(kind) as caught:
        DOORS[door](options)

    message = str(caught.value)
    for word in words:
        assert re.search(word, message), message
    assert children() <= before


def test_a_message_says_every_executor_there_is():
    """The error about an unknown executor lists the known ones."""
    with pytest.raises(ValueError) as caught:
        pmap(abs, [1], executor="foo")

    for name in ("auto", "serial", "threads", "processes", "multiprocessing", "futures", "joblib"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("workers", True), ("chunksize", True), ("retries", True)]
)
def test_a_truth_value_is_no_number(name, value):
    """True where a number is wanted is a mistake, not the number 1."""
    with pytest.raises((TypeError, ValueError), match=name):
        pmap(must_not_run, must_not_be_read(), **{name: value})


def test_numpy_integers_are_integers():
    """What counts like an int may be given for one."""
    np = pytest.importorskip("numpy", reason="numpy is not installed")

    options = {"workers": np.int64(2), "chunksize": np.int32(3), "retries": np.uint8(1)}

    assert pmap(work.double, range(10), executor="threads", **options) == [2 * x for x in range(10)]


@pytest.mark.parametrize("option", ["timeout", "deadline"])
@pytest.mark.parametrize("seconds", [60, Fraction(121, 2), Decimal("60.5"), 1e12, float("inf")])
def test_a_time_is_any_number_of_seconds(option, seconds):
    """What counts like a float may be given for one, and more than any clock can wait for."""
    for executor in ("auto", "threads", "futures") if option == "deadline" else ("auto",):
        assert pmap(work.double, [1, 2], executor=executor, **{option: seconds}) == [2, 4]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"buffersize": 0}, ValueError),
        ({"buffersize": -3}, ValueError),
        ({"buffersize": 1.5}, (TypeError, ValueError)),
        ({"buffersize": "all"}, (TypeError, ValueError)),
    ],
)
def test_a_bad_buffersize_is_an_error_at_once(options, kind):
    """`pimap` refuses it when it is called, not when the first result is asked for."""
    (value,) = options.values()

    with pytest.raises(kind, match="buffersize") as caught:
        pimap(must_not_run, must_not_be_read(), **options)

    assert str(value) in str(caught.value)


@pytest.mark.parametrize("option", ["ordered", "buffersize"])
def test_what_only_pimap_takes_is_unknown_elsewhere(option):
    """`ordered` and `buffersize` are options of `pimap` alone."""
    for door in ("pmap", "pstarmap", "pcall", "parallel_config"):
        with pytest.raises(TypeError, match=option):
            DOORS[door]({option: 1})


@pytest.mark.parametrize("fn", [None, 3, "len", [abs], {}])
def test_what_cannot_be_called_is_an_error_at_once(fn):
    """A first argument that is not callable is named as such, before the input is read."""
    for call in (
        lambda: pmap(fn, must_not_be_read()),
        lambda: pstarmap(fn, must_not_be_read()),
        lambda: pimap(fn, must_not_be_read()),
        lambda: delayed(fn),
        lambda: pcall([(fn, (), {})]),
    ):
        with pytest.raises(TypeError, match=r"callable|function"):
            call()


def test_arguments_the_wrong_way_round_are_an_error():
    """`pmap(xs, f)` is a TypeError that says what was expected."""
    with pytest.raises(TypeError, match="callable"):
        pmap([1, 2], abs)


@pytest.mark.parametrize("value", [3, None, 2.5, abs])
def test_what_cannot_be_iterated_is_an_error_at_once(value):
    """An input that is not iterable is a TypeError, at every door, at once."""
    for call in (
        lambda: pmap(must_not_run, value),
        lambda: pmap(must_not_run, [1], value),
        lambda: pstarmap(must_not_run, value),
        lambda: pimap(must_not_run, value),
        lambda: pcall(value),
    ):
        with pytest.raises(TypeError, match="itera"):
            call()


def test_a_chunksize_by_position_is_explained():
    """`pmap(f, xs, 4)`, as a Pool's users write it, is a TypeError that says chunksize=4."""
    for call in (
        lambda: pmap(must_not_run, [1, 2], 4),
        lambda: pimap(must_not_run, [1, 2], 4),
        lambda: work.triple.map([1, 2], 4),
    ):
        with pytest.raises(TypeError, match="chunksize=4"):
            call()


def test_a_map_without_input_is_an_error():
    """`pmap(f)` lacks something, as `map(f)` does."""
    for call in (lambda: pmap(abs), lambda: pimap(abs), lambda: pmap(), lambda: pstarmap(abs)):
        with pytest.raises(TypeError):
            call()


def test_an_instance_sets_aside_the_workers_of_outer_levels():
    """A borrowed executor replaces `workers` of an outer block, a decorator or the process."""
    try:
        parallel_config(workers=2).apply()
        with parallel_config(executor=Inline()):
            assert pmap(abs, [-1]) == [1]
        with parallel_config(workers=4), parallel_config(executor=Inline()):
            assert pmap(abs, [-1]) == [1]
        assert parallel(workers=3)(abs).map([-1], executor=Inline()) == [1]
    finally:
        parallel_config().apply()


def test_options_are_keyword_only():
    """Nothing is taken by position but the function and the input."""
    with pytest.raises(TypeError):
        pstarmap(work.add, [(1, 2)], "serial")
    with pytest.raises(TypeError):
        pcall([], "serial")
    with pytest.raises(TypeError):
        parallel_config("serial")


def test_a_starmap_item_that_is_no_sequence_fails_like_starmap(where_cheaply):
    """`pstarmap` of bare numbers is a TypeError, as `itertools.starmap` says."""
    with pytest.raises(TypeError, match="itera"):
        pstarmap(work.double, [1, 2, 3], **where_cheaply.options)

    assert pstarmap(work.double, [(1,)], **where_cheaply.options) == [2]


@pytest.mark.parametrize("task", [abs, 3, (abs,), (abs, 1, {}), (1, 2, 3, 4)])
def test_a_task_of_another_shape_is_explained(task):
    """`pcall` takes what `delayed` makes, and says so about anything else."""
    with pytest.raises(TypeError, match="delayed"):
        pcall([task], executor="serial")


def test_unknown_options_never_reach_the_task():
    """A keyword is an option of the map, never an argument of the function."""
    with pytest.raises(TypeError, match="plus"):
        pmap(work.triple, [1], plus=1)


def test_a_missing_extra_tells_its_cure(monkeypatch):
    """An executor whose library is absent is ExecutorUnavailable and says what to install."""
    monkeypatch.setitem(sys.modules, "joblib", None)

    with pytest.raises(ExecutorUnavailable, match=r"pip install .*joblib") as caught:
        pmap(must_not_run, must_not_be_read(), executor="joblib")

    assert "executor" in str(caught.value)
    assert isinstance(caught.value, RuntimeError)

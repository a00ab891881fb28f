"""Before each task, where it runs: one place that knows the task's index."""

from threading import current_thread

import pytest

from parmap import delayed
from parmap._choice.arguments import TaskCheck
from parmap._choice.launch import launch
from parmap._choice.options import DEFAULTS
from parmap._engine.results import collect
from parmap._engine.source import Source
from parmap._records.work import Call


def results(call, source, **options):
    """Return the results of *call*, which has something to do before each task."""
    options = DEFAULTS | options
    return collect(launch(call, source, options, asked=True), options["on_error"])


def functions():
    """Return what keeps the index before a task, and a task that returns it; to go by value."""

    def keep(index):
        current_thread().index = index

    def look(*args):
        return current_thread().index, *args

    return keep, look


def call_of(shape, n):
    """Return a call of *shape* and its input, whose tasks return their index and arguments."""
    keep, look = functions()
    if shape == "task":
        tasks = [delayed(look)(-x, x) for x in range(n)]
        return Call(None, shape, before=keep), Source((tasks,), TaskCheck())
    inputs = (range(n),) if shape == "item" else ([-x for x in range(n)], range(n))
    return Call(look, shape, before=keep), Source(inputs)


@pytest.mark.parametrize("chunksize", [1, 7, "auto"])
def test_every_task_sees_its_own_index(where, chunksize):
    """Before each task its index in the whole input is told, whatever the chunks."""
    call, source = call_of("item", 40)

    assert results(call, source, chunksize=chunksize, **where.options) == [
        (n, n) for n in range(40)
    ]


@pytest.mark.parametrize("shape", ["args", "task"])
def test_every_shape_of_task_is_told_its_index(where_cheaply, shape):
    """Rows of arguments and tasks with a function each are called as ever, after it."""
    call, source = call_of(shape, 20)

    assert results(call, source, chunksize=3, **where_cheaply.options) == [
        (n, -n, n) for n in range(20)
    ]


def test_tasks_of_an_iterator_are_told_their_index(where_cheaply):
    """An input that is drawn while its tasks run has the same indices."""
    keep, look = functions()
    call = Call(look, "item", before=keep)

    assert results(call, Source((iter("abcdef"),)), **where_cheaply.options) == list(
        enumerate("abcdef")
    )


def test_each_attempt_is_told_the_index(where, tmp_path):
    """A task that runs again sees the index that it had at first."""
    keep, look = functions()

    def flaky(x):
        tried = tmp_path / str(x)
        if x % 4 == 0 and not tried.exists():
            tried.touch()
            raise LookupError(x)
        return look(x)

    got = results(
        Call(flaky, "item", before=keep), Source((range(20),)), retries=1, **where.options
    )

    assert got == [(n, n) for n in range(20)]


def test_what_is_raised_before_a_task_is_its_failure(where):
    """A task before which something is raised has failed with that, and was not run."""

    def refuse(index):
        if index in (0, 5):
            raise ValueError(f"not {index}")

    def ran(x):
        return x

    got = results(
        Call(ran, "item", before=refuse), Source((range(9),)), on_error="return", **where.options
    )

    assert [x for x in got if isinstance(x, int)] == [1, 2, 3, 4, 6, 7, 8]
    assert [(got[n].index, got[n].kind, str(got[n].exception)) for n in (0, 5)] == [
        (0, "error", "not 0"),
        (5, "error", "not 5"),
    ]
    assert "refuse" in got[0].traceback
    assert "_prepared" not in got[0].traceback

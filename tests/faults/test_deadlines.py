"""Calls with a deadline: what goes on for ever besides the tasks."""

import alone
import pytest
from alone import POOLS, options_of, script
from conftest import needs_proc
from table import HERE

pytestmark = needs_proc

ENDLESS = """\
from itertools import count
import faulty
from parmap import TaskTimeout, pmap
def task(x):
    return faulty.sleeps(x) if x == 3 and HANGS else 2 * x
try:
    pmap(task, count(), deadline=1, **OPTIONS | {"on_error": "return"})
except TaskTimeout as error:
    print(error)
print(pmap(abs, [-1, 2], **OPTIONS))
"""


@pytest.mark.parametrize("executor", [*POOLS, *HERE])
def test_an_endless_input_ends(tmp_path, executor):
    """An endless input beside a task that hangs ends in an error, and the next call finds workers.

    Serially no task may hang.
    """
    hangs = executor != "serial"
    source = script(tmp_path, ENDLESS, OPTIONS=options_of(executor), HANGS=hangs)

    said = alone.run(tmp_path, source).check().stdout.splitlines()

    assert "the input had not ended" in said[0]
    assert said[1:] == ["[1, 2]"]


HANGING = """\
import pathlib, time
if pathlib.Path("hang").exists():
    time.sleep(600)
def task(x):
    return 2 * x
"""
LOADING = """\
import pathlib, hanging
from parmap import pmap
hang = pathlib.Path("hang")
hang.touch()
kinds = lambda failure: (failure.kind, failure.attempts)
print(pmap(hanging.task, range(3), deadline=1, **OPTIONS | {"on_error": kinds}))
hang.unlink()
print(pmap(hanging.task, range(3), **OPTIONS))
"""


@pytest.mark.parametrize("executor", POOLS)
def test_workers_may_load_for_ever(tmp_path, executor):
    """Workers in which the import of the function hangs end at the deadline; new ones come."""
    (tmp_path / "hanging.py").write_text(HANGING, "utf-8")

    said = alone.run(tmp_path, script(tmp_path, LOADING, OPTIONS=options_of(executor))).check()

    first, second = said.stdout.splitlines()
    assert first.count("'timeout'") == 3
    assert second == "[0, 2, 4]"

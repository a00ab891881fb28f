"""Every cell of the table of faults, each in a process of its own."""

import json

import alone
import page
import pytest
from conftest import installed, needs_proc
from table import ABROAD, ASKS, EXECUTORS, FINE, OWN_WORKERS, TABLE

pytestmark = needs_proc

CELLS = [
    pytest.param(name, executor, id=f"{name}-{executor}")
    for name, fault in TABLE.items()
    for executor in EXECUTORS
    if fault.runs_on(executor) and (executor != "joblib" or installed("joblib"))
]


@pytest.mark.parametrize(("name", "executor"), CELLS)
def test_a_fault_costs_its_own_task_at_most(tmp_path, name, executor):
    """The culprit has the outcome of the table, all others their results; nothing is left."""
    fault = TABLE[name]
    outcome = fault.on(executor)

    end = alone.run(tmp_path, str(alone.HERE / "case.py"), name, executor, "answer.json")

    if executor == "joblib" and fault.stood and outcome == "crash":  # loky's own report of a signal
        assert f"in {fault.stood}\n" in end.stderr
        end.check(stderr=end.stderr)
    else:
        end.check()
    assert end.stdout == (fault.prints if fault.outcome == FINE or executor in OWN_WORKERS else "")
    answer = json.loads((tmp_path / "answer.json").read_text())
    values = [2 * x for x in range(fault.tasks)]
    for index in fault.culprits:
        if outcome != FINE:
            values[index] = None
        elif fault.value is not None:
            values[index] = fault.value
    assert answer["values"] == values
    assert answer["places"] == list(range(fault.tasks))
    assert answer["again"] == (executor not in fault.lasting)
    failures = {int(index): failure for index, failure in answer["failures"].items()}
    assert set(failures) == (set() if outcome == FINE else set(fault.culprits))
    for index, failure in failures.items():
        check_blame(fault, executor, index, failure)


def check_blame(fault, executor, index, failure):
    """Check what the Failure of the culprit at *index* says."""
    assert failure["kind"] == fault.on(executor)
    assert failure["attempts"] == fault.attempts
    if fault.item is None:
        assert failure["input"] == str(index)
    if failure["kind"] == "crash":
        assert failure["type"] == "WorkerCrashed"
    if failure["kind"] == "timeout":
        assert failure["type"] == "TaskTimeout"
    if executor in OWN_WORKERS or failure["kind"] not in ("crash", "timeout"):
        assert [word for word in fault.says if word not in failure["text"]] == []
    if executor in OWN_WORKERS and fault.stood:
        assert f" in {fault.stood}" in failure["text"]
        assert f" in {fault.stood}" in failure["traceback"]


def test_the_table_has_a_cell_for_every_fault_and_executor():
    """A fault is run wherever tasks run in other processes; what waits, in workers of our own."""
    for fault in TABLE.values():
        waits = "timeout" in fault.options or ASKS in fault.only.values()
        assert all(fault.runs_on(name) for name in (OWN_WORKERS if waits else ABROAD))
        assert all(fault.cell(name) for name in EXECUTORS)


def test_the_page_shows_the_table():
    """docs/faults.md is what `python tests/faults/page.py` writes."""
    text = page.PAGE.read_text("utf-8")

    assert text == page.page_from(text)

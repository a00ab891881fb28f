"""`python -m parmap`: the report that people paste into an issue."""

import subprocess
import sys

import pytest
from conftest import environment

from parmap import __main__ as report
from parmap import __version__
from parmap._choice.options import EXECUTORS


@pytest.fixture(scope="module")
def printed():
    """What it prints, and by the first word of each row, the rest of it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "parmap"],
        env=environment("report"),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line[2:20].strip(): line[20:] for line in done.stdout.splitlines() if line[:2] == "  "}
    return done.stdout, rows


def test_it_names_versions_and_cpus(printed):
    """It says which parmap, Python, system and libraries, and how many CPUs, found how."""
    text, rows = printed

    assert text.startswith(f"parmap {__version__}, ")
    assert f"tqdm {report.version('tqdm')}" in rows["libraries"]
    assert rows["CPUs"].startswith(f"{report.usable_cpus()} usable: ")
    assert "by affinity" in rows["CPUs"] or not hasattr(report.os, "sched_getaffinity")
    assert rows["start method"].startswith("of multiprocessing: ")


def test_it_tries_every_executor(printed):
    """It says of each executor whether tasks can run there, and if not, why."""
    _, rows = printed

    for name in EXECUTORS:
        assert rows[name] == "yes" or rows[name].startswith(("no: ", "if there is a cluster"))
    assert rows["processes"] == rows["serial"] == "yes"


def test_it_measures_what_workers_cost(printed):
    """It has a figure with its unit for each of what it measures."""
    _, rows = printed

    for name, unit in zip(report.MEASURES, ("ms", "ms", "us", "GB/s", "GB/s"), strict=True):
        figure, found, *_ = rows[name].split()
        assert float(figure) > 0
        assert found == unit


def test_what_fails_is_said_and_the_rest_goes_on(monkeypatch):
    """An executor or a measurement that raises is a row with the reason."""

    def broken(*args, **options):
        raise RuntimeError("no workers today")

    monkeypatch.setattr(report, "pmap", broken)
    lines = list(report.report())

    failed = [line for line in lines if "no workers today" in line]
    assert len(failed) == len(report.MEASURES) + len(set(EXECUTORS) - set(report.ELSEWHERE))


def test_an_engine_that_is_not_installed_is_named_with_the_cure(monkeypatch):
    """A cluster's engine that is missing is said to be, with what to install."""
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    monkeypatch.setattr(report, "ELSEWHERE", {"dask": "distributed"})

    told = report._availability("dask")

    assert told == "no: it needs the package distributed: pip install 'parmap-py[dask]'"


def test_a_quota_is_named(monkeypatch):
    """Where a control group limits the CPUs, the report says to how many."""
    monkeypatch.setattr(report, "quotas", lambda root: [1.5, 4])

    assert "1.5 by control group" in report._cpus()

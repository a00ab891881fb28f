"""The benchmarks: the simulation keeps its books, the policy holds, the command writes its page."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import needs_proc
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import clusters, contenders, fresh, pages, report, simulation, workloads
from benchmarks.programs import __main__ as programs
from benchmarks.programs import report as programs_report

ROOT = Path(__file__).resolve().parents[1]
SETTLED = {"deadline": None, "derandomize": True, "database": None}

costs = st.lists(st.one_of(st.floats(1e-6, 1e-3), st.floats(1e-3, 0.5)), min_size=0, max_size=300)
schedules = st.sampled_from(list(simulation.SCHEDULES))


def outcome(name, load, workers, ahead):
    policy, budget = simulation.SCHEDULES[name](len(load), workers)
    return simulation.simulate(load, workers, policy, budget, ahead=ahead)


@settings(max_examples=200, **SETTLED)
@given(schedules, costs, st.integers(1, 20), st.integers(0, 2))
def test_every_task_runs_exactly_once(name, load, workers, ahead):
    """Whatever the schedule, the load and the number of workers, no task is lost or run twice."""
    pieces = outcome(name, load, workers, ahead).pieces

    ran = [task for piece in pieces for task in range(piece.start, piece.stop)]
    assert sorted(ran) == list(range(len(load)))


@settings(max_examples=200, **SETTLED)
@given(schedules, costs, st.integers(1, 20), st.integers(0, 2))
def test_a_worker_does_one_thing_at_a_time(name, load, workers, ahead):
    """The pieces of a worker do not overlap, and the last of all is the end of the schedule."""
    done = outcome(name, load, workers, ahead)

    for worker in range(workers):
        mine = sorted(piece for piece in done.pieces if piece.worker == worker)
        assert all(one.end <= other.begin for one, other in pairwise(mine))
    assert done.makespan == max((piece.end for piece in done.pieces), default=0.0)
    assert done.makespan >= simulation.ideal(load, workers) * (1 - 1e-9)


@settings(max_examples=100, **SETTLED)
@given(costs, st.integers(1, 8), st.floats(1e-4, 0.1))
def test_a_budget_holds(load, workers, budget):
    """A worker begins no task of a chunk when the time for the chunk is used up."""
    done = simulation.simulate(load, workers, simulation.Fixed(50), budget)

    for piece in done.pieces:
        assert sum(load[piece.start : piece.stop - 1]) <= budget + 1e-9


def test_one_task_at_a_time_is_the_greedy_bound():
    """Chunks of one task and free messages give what the short form of it computes."""
    load = simulation.load("lognormal", 7, span=3.0)
    one = simulation.simulate(load, 7, simulation.Fixed(1), dispatch=0.0, overhead=0.0)

    assert one.efficiency == pytest.approx(simulation.greedy(load, 7))


@pytest.mark.parametrize("name", ["lognormal", "pareto", "giants shuffled"])
def test_a_thousand_workers_are_kept_busy(name):
    """On heavy-tailed loads the policy is 95 % efficient at least, where a static one is not."""
    load = simulation.load(name, 1000)
    static = simulation.run("static", load, 1000).efficiency
    policy = simulation.run("parmap", load, 1000).efficiency

    assert static < 0.95 <= policy


@pytest.mark.parametrize("workers", [2, 8, 30])
@pytest.mark.parametrize("name", simulation.LOADS)
def test_a_few_workers_are_kept_busy(name, workers):
    """On a handful of workers the policy is at least 97 % efficient, whatever the load."""
    load = simulation.load(name, workers)
    policy = simulation.run("parmap", load, workers).efficiency

    assert policy >= 0.97


def test_ideal_knows_what_cannot_be_cut():
    """Three equal tasks on two cores take as long as two of them; a giant, as long as itself."""
    three, tail = workloads.BY_NAME["three-long"], workloads.BY_NAME["tail-end"]
    work = 996 * 0.001 + 6 * 0.3

    assert workloads.ideal(three, 3, 2, 3.0, 3.0) == pytest.approx(2.0)
    assert workloads.ideal(three, 3, 4, 3.0, 3.0) == pytest.approx(1.0)
    assert workloads.ideal(three, 3, 2, 3.5, 3.0) == pytest.approx(2.5), "0.5 s are not tasks"
    assert workloads.ideal(tail, 1002, 2, work, work) == pytest.approx(work / 2)
    assert workloads.ideal(tail, 1002, 64, work, work) == pytest.approx(0.3)


def results(workload="cpu-1ms", **seconds):
    """Return raw results of one workload, the loop taking 2 s on two cores."""
    runs = [
        {"workload": workload, "contender": name, "chunk": None, "n": 4000, "round": 1}
        | (found if isinstance(found, dict) else {"seconds": found, "inside": found, "grown": 0})
        for name, found in ({"loop": 2.0} | seconds).items()
    ]
    machine = {"cpu": "a CPU", "cores": 2, "system": "a system", "python": "Python"}
    data = {"date": "today", "quick": False, "rounds": 1, "machine": machine, "runs": runs}
    return data | {"versions": {"parmap": "1", "mpire": None}}


def test_a_loss_is_shown():
    """Where parmap took longer than the best of the others, the page says so, twice."""
    page = report.text(results(parmap=1.2, Pool=1.1, pebble=1.5), picture=False)

    assert "| 4,000 x 1 ms of CPU | 1.00 s | 2.00 | **1.20** | 1.10 | 1.50 |" in page
    assert "- 4,000 x 1 ms of CPU: 1.09 x Pool: **missed**, at most 1.05" in page
    assert "geometric mean of 1 workloads: **1.09**" in page


def test_short_work_may_lose_more_to_the_making_of_the_pool():
    """A cold call is held to the same bound as a warm one only from 1 s of work on."""
    long = report.text(results("cold-cpu-1ms", parmap=1.2, Pool=1.0), picture=False)
    short = report.text(results("cold-cpu-1ms", loop=0.9, parmap=1.2, Pool=1.0), picture=False)

    assert "1.20 x Pool: **missed**, at most 1.05" in long
    assert "1.20 x Pool: **missed**, at most 1.10" in short


def test_a_win_is_not_bold():
    """Where parmap was the fastest there is nothing to list."""
    page = report.text(results(parmap=1.0, Pool=1.1), picture=False)

    assert "| 2.00 | 1.00 | 1.10 |" in page
    assert "Lost: nothing." in page


def test_the_absent_and_the_failed_are_shown():
    """A library that is not installed, a crash, and a lapse of time are told, not left out."""
    failed, late = {"error": "ValueError: no"}, {"error": "> 30 s"}
    page = report.text(results(parmap=1.0, Pool=failed, pebble=late), picture=False)

    assert "| 1.00 | failed | > 30 s |" in page
    assert "- not installed: mpire" in page
    assert "Pool: `ValueError: no`" in page
    assert "not even the loop: `ValueError: no`" in report.text(results(loop=failed), picture=False)


def test_a_library_that_is_absent_is_noticed():
    """A contender whose module cannot be found has no version."""
    assert contenders.Contender("x", "no_such_module", "", "").version() is None
    assert contenders.Contender("x", "no_such.module", "", "").version() is None


def test_later_results_replace_earlier_ones():
    """Files of several runs are put together, workload by workload."""
    merged = report.merge([results(parmap=1.9, Pool=1.0), results(parmap=1.0)])

    assert [run["contender"] for run in merged["runs"]] == ["loop", "parmap"]


def command(*words):
    """Run `python -m` with *words*; return what it said."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_the_command_writes_its_page(tmp_path):
    """A quick run of one workload measures, compares and writes page and raw results."""
    done = command(
        *("benchmarks", "--quick", "--only", "sqrt-10k"),
        *("--contenders", "parmap,ThreadPoolExecutor", "--output", tmp_path),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert "| workload | ideal | loop | parmap | ThreadPoolExecutor |" in page
    assert "| 10,000 square roots |" in page
    assert "failed" not in page
    (raw,) = tmp_path.glob("*.json")
    runs = json.loads(raw.read_text("utf-8"))["runs"]
    assert {run["contender"] for run in runs} == {"loop", "parmap", "ThreadPoolExecutor"}
    assert len({run["digest"] for run in runs}) == 1


def measured(busy=0, **seconds):
    """Return raw numbers of programs: of each the first and the second time of each way."""
    runs = [
        {"program": program, "way": way, "round": 1, "load": 0.5}
        | (found if isinstance(found, dict) else {"seconds": found})
        for program, ways in seconds.items()
        for way, found in ways.items()
    ]
    machine = {"cpu": "a CPU", "cores": 2, "system": "a system", "python": "Python"}
    data = {"date": "today", "rounds": 1, "busy": busy, "machine": machine, "parmap": "1"}
    return data | {"loads": [0.25], "runs": runs}


FAST = {"loop": [2.0, 1.0], "auto": [1.0, 0.5], "processes": [2.0, 0.5], "threads": [2.0, 1.0]}
SLOW = {"loop": [1.0, 1.0], "auto": [1.1, 1.0], "processes": [2.0, 0.5], "threads": [2.0, 1.0]}


def test_the_slowest_program_comes_first():
    """The page of the programs shows speeds in units of the loop's, and the losses on top."""
    page = programs_report.text(measured(json_lines=FAST, hash_files=SLOW))
    worst, best = (line for line in page.splitlines() if line.startswith(("| hash", "| json")))

    assert worst.endswith("| 1.00 s | **0.91** | **1.00** | 2.00 | 1.00 | 0.5 |")
    assert best.endswith("| 2.00 s | 2.00 | 2.00 | 2.00 | 1.00 | 0.5 |")
    assert "Load of the machine before each round: 0.2." in page
    assert "first calls: median **1.45** (bound: 1.1); 1 of 2 below 0.95" in page
    assert "second calls: median **1.50** (bound: 1.6); 1 of 2 below 0.95" in page


def test_a_busy_machine_has_its_own_bound():
    """Beside busy loops a first call may lose a little more before it is called a loss."""
    page = programs_report.text(measured(busy=2, hash_files=SLOW))

    assert "| 1.00 s | 0.91 | **1.00** |" in page
    assert "medians of 1, beside 2 busy loops, today" in page


def test_a_program_that_failed_is_shown():
    """Neither a missing library nor an executor that failed disappears from the page."""
    no = {"error": "No module named 'x'"}
    threads, loop = FAST | {"threads": no}, {"loop": no}
    page = programs_report.text(measured(json_lines=threads, hash_files=loop))

    assert "| 2.00 s | 2.00 | 2.00 | 2.00 | failed | 0.5 |" in page
    assert "- json_lines: threads: `No module named 'x'`" in page
    assert "- hash_files: loop: `No module named 'x'`" in page


LIAR = """\
from benchmarks.programs.measure import loop, measure

measure(lambda turn: range(turn), lambda map_, numbers: map_ is loop)
"""


def test_a_program_with_other_results_failed(tmp_path):
    """What does not give the loop's results has no time at all."""
    script = tmp_path / "liar.py"
    script.write_text(LIAR)

    loop, *others = programs.one_round(script, 1, 0)

    assert len(loop["seconds"]) == 2
    assert {run["error"] for run in others} == {"its results are not those of the loop"}


def test_a_missing_library_is_the_answer():
    """A process that cannot import what it needs leaves the reason."""
    found = fresh.answer(["-c", "import no_such_module"], 60.0)

    assert found["error"].endswith("No module named 'no_such_module'")


def test_every_program_says_what_it_does():
    """Each script has a line for the table."""
    assert len(programs.SCRIPTS) >= 14
    assert all(programs_report.title(name) for name in programs.SCRIPTS)


def test_the_programs_write_their_page(tmp_path):
    """One round of a program, beside a busy loop, measures, compares and writes its page."""
    done = command(
        *("benchmarks.programs", "--only", "json_*", "--rounds", 1, "--load", 1),
        *("--output", tmp_path, "--json", tmp_path / "raw.json"),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "| json_lines: pure Python text" in (tmp_path / "benchmarks.md").read_text("utf-8")
    runs = json.loads((tmp_path / "raw.json").read_text("utf-8"))["runs"]
    assert runs[0]["way"] == "loop"
    assert {run["way"] for run in runs} == {"loop", "auto", "processes", "threads"}
    assert len({tuple(run["digests"]) for run in runs}) == 1


def test_names_may_be_patterns():
    """What was asked for comes in the order of the table, each once."""
    table = {"cold-a": 1, "cold-b": 2, "c": 3}

    assert pages.chosen(table, None) == [1, 2, 3]
    assert pages.chosen(table, "c,cold-*,cold-a") == [1, 2, 3]
    assert pages.chosen(table, "cold-*") == [1, 2]


def test_an_unknown_name_is_told(tmp_path):
    """A workload that does not exist ends the command with the names of those that do."""
    done = command("benchmarks", "--only", "sqrt", "--output", tmp_path)

    assert done.returncode == 1
    assert "'sqrt' is none of sqrt-10k, " in done.stderr


def test_a_soak_meets_every_kind_of_fault():
    """Its calls end as the loop says, with tasks among them that raise, die and hang."""
    pytest.importorskip("numpy")
    from benchmarks.soak import KINDS, Soak

    soak = Soak(seed=0)
    for _ in range(60):
        soak.call()

    assert soak.done["calls"] == 60
    assert all(soak.done[kind] for kind in KINDS)


@needs_proc
def test_a_soak_writes_its_table(tmp_path):
    """The command writes down what the process holds, from the beginning to the end."""
    pytest.importorskip("numpy")
    done = command("benchmarks.soak", "--minutes", "0.02", "--output", tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in (tmp_path / "faults.md").read_text().splitlines() if "| 0.0 |" in line]
    assert len(rows) == 11
    assert all(int(cell) > 0 for row in rows for cell in row.split("|")[7:12])


def test_a_caller_that_costs_more_feeds_fewer_workers():
    """The simulation of clusters falls with the cost of a chunk and the number of workers."""
    few, many = (clusters.efficiency(0.02, workers, 0.1, far=True) for workers in (2, 60))
    cheap = clusters.efficiency(0.00005, 60, 0.1, far=True)

    assert many < few <= 1
    assert many < cheap <= 1


def test_tasks_that_are_alike_need_no_list():
    """A load of equal tasks is simulated as the list of its costs is."""
    for n, workers in ((1000, 7), (5, 8), (1, 1)):
        alike, listed = simulation.Equal(n, 0.25), [0.25] * n

        one, other = (simulation.run("parmap", load, workers) for load in (alike, listed))
        assert one.makespan == pytest.approx(other.makespan)
        assert [piece[3:] for piece in one.pieces] == [piece[3:] for piece in other.pieces]


def test_the_ratio_of_a_cluster_is_taken_round_by_round():
    """A row shows medians, what failed, and parmap's time over that of the best other."""
    load = clusters.LOADS["1ms"]
    found = {"parmap": [1.0, 3.0, 1.1], "a": [2.0, 2.0, 2.0], "b": [5.0, 1.5, 5.0], "c": []}

    assert clusters.row(load, found, {}) == [load.title, "1.10", "2.00", "5.00", "failed", "0.55"]


def test_an_engine_that_is_absent_is_told(tmp_path, monkeypatch):
    """The page says which engine was not measured, and why, and has its simulation."""
    monkeypatch.setitem(clusters.ENGINES, "ray", (None, "no_such_module"))
    monkeypatch.setattr(clusters, "CROWDS", (2,))
    monkeypatch.setattr(clusters, "CHUNKS", 20)
    words = ["clusters", "--engines", "ray", "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)

    clusters.main()

    page = (tmp_path / "clusters.md").read_text("utf-8")
    assert "Not measured: No module named 'no_such_module'." in page
    assert "| processes | " in page

"""Measure real programs: `python -m benchmarks.programs [--only NAMES] [--rounds N] [--load N]`.

In each round every program runs as a script of its own, in a fresh process each time: first with
the loop, then with pmap as it is, with processes and with threads.  Each process runs its program
twice, on other inputs the second time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import parmap
from benchmarks import fresh
from benchmarks.pages import DOCS, ROOT, chosen, say
from parmap._records.machine import usable_cpus

from . import report
from .report import LOOP, WAYS

SCRIPTS = {path.stem: path for path in sorted(Path(__file__).with_name("scripts").glob("*_*.py"))}
RESULTS = ROOT / "benchmarks" / "results"
LIMIT = (30, 10)
"""Time limit of a process: so many seconds, and so many times as long as the loop's process."""

BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


def measured(options: argparse.Namespace, file: Path) -> dict[str, Any]:
    """Measure what was asked for; the raw numbers are in *file* after each program."""
    scripts = chosen(SCRIPTS, options.only)
    data: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "rounds": options.rounds,
        "busy": options.load,
        "machine": fresh.machine(usable_cpus()),
        "parmap": parmap.__version__,
        "loads": [],
        "runs": [],
    }
    for number in range(1, options.rounds + 1):
        data["loads"].append(round(os.getloadavg()[0], 2))
        for script in scripts:
            data["runs"] += one_round(script, number, options.load)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(data, indent=1), "utf-8")
    return data


def one_round(script: Path, number: int, busy: int) -> list[dict[str, Any]]:
    """Run a program once in each way, the loop first, the others in turn."""
    runs = [_run(script, LOOP, number, busy, LIMIT[0] * 2)]
    loop = runs[0]
    if "error" in loop:
        return runs
    others = [way for way in WAYS if way != LOOP]
    turn = number % len(others)
    for way in (*others[turn:], *others[:turn]):
        run = _run(script, way, number, busy, LIMIT[0] + LIMIT[1] * loop["wall"])
        if "error" not in run and run["digests"] != loop["digests"]:
            run["error"] = "its results are not those of the loop"
        runs.append(run)
    return runs


def _run(script: Path, way: str, number: int, busy: int, limit: float) -> dict[str, Any]:
    """Run a program in a fresh process, in an empty folder, beside *busy* busy loops."""
    load = round(os.getloadavg()[0], 2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for _ in range(busy):
            stack.callback(_end, _busy_loop())
        began = time.perf_counter()
        found = fresh.answer([str(script), way], limit, folder)
        wall = round(time.perf_counter() - began, 3)
    shown = found.get("error") or ", then ".join(f"{s:.3f} s" for s in found["seconds"])
    say(f"round {number} {script.stem:20} {way:10} {shown}")
    known = {"program": script.stem, "way": way, "round": number, "load": load, "wall": wall}
    return known | found


def _busy_loop() -> subprocess.Popen[bytes]:
    """Start a process that computes until it is ended, or until this one is gone."""
    return subprocess.Popen([sys.executable, "-S", "-c", BUSY], stdin=subprocess.DEVNULL)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def main() -> None:
    """Run what the command line asks for, then write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.programs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"programs: {', '.join(SCRIPTS)}",
    )
    parser.add_argument("--only", metavar="NAMES", help="programs: emcee_sampler,scipy_*")
    parser.add_argument("--rounds", type=int, default=5, help="5 unless told")
    parser.add_argument("--load", type=int, default=0, help="so many busy loops beside")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the raw numbers go")
    parser.add_argument("--output", type=Path, help="folder of the page; docs/ after a full run")
    options = parser.parse_args()
    file = options.json or RESULTS / f"programs-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    say(f"raw results: {file}")
    data = measured(options, file)
    say(report.text(data))
    whole = not options.only and options.rounds >= 3
    report.write(data, options.output or (DOCS if whole else RESULTS))


if __name__ == "__main__":
    main()

"""Run the benchmarks: `python -m benchmarks [--quick] [--only NAMES] [--rounds N] ...`.

First a sweep: every contender once at each of a few chunk sizes, to find its best.  Then rounds: in
each every workload, and for it every contender at its default and at its best, one after the other,
each in a fresh process.  The loop goes first in every round: the others are told in units of it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import parmap
from parmap._records.machine import usable_cpus

from . import contenders, fresh, report, tasks, workloads
from .contenders import LOOP, OURS, QUICK, Contender
from .pages import DOCS, chosen, say

if TYPE_CHECKING:
    from .workloads import Workload

RESULTS = Path(__file__).parent / "results"
LIMIT, SWEEP_LIMIT = (20, 15), (5, 3)
"""Time limits of a process: so many seconds, and so many times as long as the loop's process."""

BEATEN = 3.0
"""What took so many times as long as the best in the first round is not measured again."""


class Setting(NamedTuple):
    """A contender and its chunk size; None: its default."""

    contender: Contender
    chunk: int | None


class Bench:
    """A run: what was asked, and what was measured so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._quick = options.quick
        self._rounds = options.rounds
        self._timeout = options.timeout
        self._workloads = chosen(workloads.BY_NAME, options.only)
        default = QUICK if options.quick else list(contenders.BY_NAME)
        asked = chosen(contenders.BY_NAME, options.contenders or ",".join(default))
        versions = {(c.package or c.name): c.version() for c in asked} | {OURS: parmap.__version__}
        self._contenders = [c for c in asked if c.name != LOOP and c.version() is not None]
        self._loop = Setting(contenders.BY_NAME[LOOP], None)
        self._cores = usable_cpus()
        self._file = (options.output or RESULTS) / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
        self._walls: dict[str, float] = {}  # of the loop's process, by workload
        self._digests: dict[str, str] = {}
        self._failed: set[tuple[str, Setting]] = set()
        self._first: dict[tuple[str, Setting], float] = {}  # seconds in the first round
        self._measured = 0
        self.data: dict[str, Any] = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "quick": options.quick,
            "rounds": options.rounds,
            "machine": fresh.machine(self._cores),
            "versions": versions,
            "rate": tasks.rate(),
            "runs": [],
        }

    def run(self) -> Path:
        """Measure everything; return the file with the raw results."""
        say(f"raw results: {self._file}")
        settings = {}
        for workload in self._workloads:
            best = {} if self._quick else self._sweep(workload)
            settings[workload.name] = [
                Setting(contender, chunk)
                for contender in self._contenders
                if contender.takes(workload.kind)
                for chunk in dict.fromkeys((None, best.get(contender.name)))
            ]
        for number in range(1, self._rounds + 1):
            for workload in self._workloads:
                theirs = settings[workload.name]
                turn = number * max(1, len(theirs) // self._rounds) % max(1, len(theirs))
                self._measure(workload, self._loop, number)
                for setting in theirs[turn:] + theirs[:turn]:
                    self._measure(workload, setting, number)
        return self._file

    def _sweep(self, workload: Workload) -> dict[str, int]:
        """Return the best chunk size of each contender that has one."""
        times: dict[str, dict[int, float]] = {}
        chunks = _chunks(workload, self._cores)
        if chunks:
            self._measure(workload, self._loop, 0)
        for chunk in chunks:
            for contender in self._contenders:
                if contender.chunk and contender.takes(workload.kind):
                    seconds = self._measure(workload, Setting(contender, chunk), 0)
                    times.setdefault(contender.name, {})[chunk] = seconds
        best = {name: min(found, key=lambda c: found[c]) for name, found in times.items()}
        return {name: c for name, c in best.items() if math.isfinite(times[name][c])}

    def _measure(self, workload: Workload, setting: Setting, number: int) -> float:
        """Measure in round *number* (0: the sweep); return the seconds, infinite if it failed."""
        if number and ((workload.name, setting) in self._failed or self._beaten(workload, setting)):
            return math.inf
        n = workload.number(quick=self._quick)
        spec = {
            "workload": workload.name,
            "contender": setting.contender.name,
            "chunk": setting.chunk,
            "n": n,
            "rate": self.data["rate"],
        }
        absent = workload.needs and not contenders.installed(workload.needs)
        began = time.perf_counter()
        if absent:
            answer = {"error": f"{workload.needs} is not installed"}
        else:
            words = ["-m", "benchmarks.run", json.dumps(spec)]
            answer = fresh.answer(words, self._limit(workload, number))
        if setting is self._loop and "error" not in answer:
            self._walls[workload.name] = time.perf_counter() - began
            self._digests.setdefault(workload.name, answer["digest"])
        elif "error" not in answer and answer["digest"] != self._digests.get(workload.name):
            answer = {"error": "its results are not those of the loop"}
        if "error" in answer and number:
            self._failed.add((workload.name, setting))
        self.data["runs"].append(spec | {"round": number} | answer)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self.data, indent=1), "utf-8")
        self._measured += 1
        if number == 1:
            self._first[workload.name, setting] = answer.get("seconds", math.inf)
        shown = answer.get("error") or f"{answer['seconds']:.4g} s"
        chunk = f" [{setting.chunk}]" if setting.chunk else ""
        phase = f"round {number}" if number else "sweep"
        who = f"{workload.name:14} {setting.contender.name}{chunk}"
        say(f"{self._measured:5} {phase} {who}: {shown}")
        return answer.get("seconds", math.inf)

    def _beaten(self, workload: Workload, setting: Setting) -> bool:
        """Tell whether *setting* was far from the best of the first round."""
        if setting is self._loop or setting.contender.name == OURS:
            return False
        times = {s: t for (name, s), t in self._first.items() if name == workload.name}
        return times.get(setting, 0.0) > BEATEN * min(times.values(), default=math.inf)

    def _limit(self, workload: Workload, number: int) -> float:
        if self._timeout:
            return self._timeout
        base, factor = LIMIT if number else SWEEP_LIMIT
        return base + factor * self._walls.get(workload.name, 10.0)


def _chunks(workload: Workload, cores: int) -> list[int]:
    """Return the chunk sizes to try."""
    if workload.kind == "import":
        return []
    n = workload.each or workload.size
    return sorted({max(1, n // (cores * parts)) for parts in (2, 16)})


def main() -> None:
    """Run what the command line asks for, then write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"workloads: {', '.join(workloads.BY_NAME)}\n"
        f"contenders: {', '.join(contenders.BY_NAME)}",
    )
    parser.add_argument("--quick", action="store_true", help="small, one round, in two minutes")
    parser.add_argument("--only", metavar="NAMES", help="workloads: two-long,cold-*")
    parser.add_argument("--contenders", metavar="NAMES", help="contenders, with commas")
    parser.add_argument("--rounds", type=int, help="3 unless --quick")
    parser.add_argument("--timeout", type=float, help="seconds a process may take")
    parser.add_argument("--output", type=Path, help="folder of the page; docs/ after a full run")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    whole = not (options.quick or options.only or options.contenders)
    bench = Bench(options)
    bench.run()
    report.write(bench.data, options.output or (DOCS if whole else RESULTS))


if __name__ == "__main__":
    main()

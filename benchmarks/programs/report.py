"""From raw numbers to the page: `python -m benchmarks.programs.report FILE ... [--output DIR]`."""

from __future__ import annotations

import argparse
import ast
import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.pages import DOCS, fill, say, table

LOOP, AUTO = "loop", "auto"
WAYS = [LOOP, AUTO, "processes", "threads"]
NAMED = WAYS[2:]  # the executors that are asked for by name

FIRST, FIRST_BUSY, AGAIN = 0.95, 0.90, 0.95
"""Bounds: the first call over the loop, the same on a busy machine, and the second call over the
better of processes and threads."""
FIRST_MEDIAN, AGAIN_MEDIAN = 1.1, 1.6  # bounds of the medians, on two cores that are quiet

LEGEND = """\
Speed in units of the loop's: 2 is twice as fast, below 1 the loop was faster. *First* is the first
call of the script, `import parmap` and the start of workers included; *again* is the next one, in
the same process on other inputs. Medians over the rounds of ratios within a round; the worst first
call comes first, and what misses its bound is in bold."""

Data = dict[str, Any]


@dataclass
class Line:
    """What was found for one program: medians over the rounds."""

    name: str
    loop: float  # seconds of its first time
    load: float  # of the machine before its rounds
    speeds: dict[str, tuple[float, float]]  # of each way: first and again, in units of the loop's
    errors: dict[str, str]

    @property
    def first(self) -> float:
        """Speed of the first call; 0 if it failed."""
        return self.speeds.get(AUTO, (0.0, 0.0))[0]

    @property
    def again(self) -> float:
        """Speed of the second call; 0 if it failed."""
        return self.speeds.get(AUTO, (0.0, 0.0))[1]

    @property
    def named(self) -> float:
        """The better of the second calls with an executor's name; 0 if all of them failed."""
        return max((self.speeds[way][1] for way in NAMED if way in self.speeds), default=0.0)


def lines(data: Data) -> list[Line]:
    """Return what was found, the slowest first call first."""
    found = []
    for name in dict.fromkeys(run["program"] for run in data["runs"]):
        runs = [run for run in data["runs"] if run["program"] == name]
        errors = {run["way"]: run["error"] for run in runs if "error" in run}
        loops = {r["round"]: r["seconds"] for r in runs if r["way"] == LOOP and "error" not in r}
        speeds = {}
        for way in WAYS:
            mine = [r for r in runs if r["way"] == way and r["round"] in loops]
            if mine and way not in errors:
                first, again = (
                    median(loops[r["round"]][turn] / r["seconds"][turn] for r in mine)
                    for turn in (0, 1)
                )
                speeds[way] = (first, again)
        seconds = median(s[0] for s in loops.values()) if loops else math.nan
        load = median(run["load"] for run in runs)
        found.append(Line(name, seconds, load, speeds, errors))
    return sorted(found, key=lambda line: line.first)


def text(data: Data) -> str:
    """Return the part of the page that is measured."""
    found = lines(data)
    compared = [line for line in found if LOOP not in line.errors]
    bound = FIRST_BUSY if data["busy"] else FIRST
    rows = [
        [
            f"{line.name}: {title(line.name)}",
            f"{line.loop:.2f} s",
            _bold(line.first, line.first < bound),
            _bold(line.again, line.again < AGAIN * line.named),
            *(f"{line.speeds[w][1]:.2f}" if w in line.speeds else "failed" for w in NAMED),
            f"{line.load:.1f}",
        ]
        for line in compared
    ]
    head = ["program", "loop", "first", "again", *(f"{way} again" for way in NAMED), "load"]
    parts = [_machine(data), LEGEND, table(head, rows), _verdict(compared, bound)]
    failed = [f"- {line.name}: {way}: `{e}`" for line in found for way, e in line.errors.items()]
    if failed:
        parts.append("Absent or failed:\n\n" + "\n".join(failed))
    return "\n\n".join(parts)


def _machine(data: Data) -> str:
    machine = data["machine"]
    beside = f", beside {data['busy']} busy loops" if data["busy"] else ""
    loads = ", ".join(f"{load:.1f}" for load in data["loads"])
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, {machine['python']}; "
        f"parmap {data['parmap']}; medians of {data['rounds']}{beside}, {data['date']}. "
        f"Load of the machine before each round: {loads}."
    )


def title(name: str) -> str:
    """Return what the script says of itself."""
    script = Path(__file__).with_name("scripts") / f"{name}.py"
    return (ast.get_docstring(ast.parse(script.read_text("utf-8"))) or "").partition("\n")[0]


def _bold(speed: float, lost: bool) -> str:
    shown = f"{speed:.2f}" if speed else "failed"
    return f"**{shown}**" if lost else shown


def _verdict(found: list[Line], bound: float) -> str:
    if not found:
        return "Nothing was measured."
    firsts, agains = [line.first for line in found], [line.again for line in found]
    slow = sum(first < bound for first in firsts)
    behind = sum(line.again < AGAIN * line.named for line in found)
    return "\n".join(
        [
            (
                f"- first calls: median **{median(firsts):.2f}** (bound: {FIRST_MEDIAN}); "
                f"{slow} of {len(found)} below {bound:.2f}"
            ),
            (
                f"- second calls: median **{median(agains):.2f}** (bound: {AGAIN_MEDIAN}); "
                f"{behind} of {len(found)} below {AGAIN:.2f} of the better of {' and '.join(NAMED)}"
            ),
        ]
    )


def write(data: Data, folder: Path = DOCS) -> None:
    """Write the page into *folder*."""
    part = "programs beside busy loops" if data["busy"] else "programs"
    say(f"written: {fill('benchmarks.md', text(data), folder, part)}")


def main() -> None:
    """Write the page from the files that were named: a quiet one, a busy one, or both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.programs.report")
    parser.add_argument("results", nargs="+", type=Path, help="files that a run has written")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args()
    for path in options.results:
        write(json.loads(path.read_text("utf-8")), options.output)


if __name__ == "__main__":
    main()

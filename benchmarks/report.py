"""From raw results to the page: `python -m benchmarks.report RESULTS.json ... [--output DIR]`.

Several files are put together: what was measured again in a later one counts from there.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean, median
from typing import TYPE_CHECKING, Any, NamedTuple

from .contenders import CONTENDERS, LOOP, OURS
from .pages import DOCS, fill, pyplot, save, say, table
from .workloads import WORKLOADS, Workload, ideal

if TYPE_CHECKING:
    from collections.abc import Iterable

BOUND, SHORT_BOUND = 1.05, 1.10
"""At most so many times as long as the best of the others is what parmap has to reach: the second
where the pool is made in the time and the loop takes less than a second."""
LOOP_BOUND = 1.10  # and so many times as long as the loop

LEGEND = """\
Time in units of the ideal time: of each contender the best setting, and in brackets the chunk size
that gave it, unless it was the default. parmap has no setting; it is in bold where it took longer
than the best of the others."""

WARM = "Warm: the pool is open, and one call was made."
COLD = "Cold: the first call, with the making of the pool; scripts and imports as whole processes."

Data = dict[str, Any]


class Entry(NamedTuple):
    """One contender with one setting: medians over the rounds, or why there are none."""

    chunk: int | None
    ratio: float = math.inf  # to the ideal time
    to_loop: float = math.inf
    seconds: float = math.inf
    grown: float = 0.0
    error: str = ""

    @property
    def setting(self) -> str:
        """How the setting is shown: nothing if it is the default."""
        return f" [{self.chunk:,}]" if self.chunk else ""


@dataclass
class Line:
    """What was found for one workload."""

    workload: Workload
    title: str
    ideal: float
    entries: dict[str, list[Entry]] = field(default_factory=dict)  # the default first

    def best(self, name: str) -> Entry | None:
        """Return the best setting of the contender *name*; None if it was not measured."""
        return min(self.entries.get(name, ()), key=lambda entry: entry.ratio, default=None)

    def best_other(self) -> tuple[str, Entry] | None:
        """Return the best that is neither the loop nor parmap."""
        others = {name: self.best(name) for name in self.entries if name not in (LOOP, OURS)}
        found = {name: entry for name, entry in others.items() if entry and not entry.error}
        if not found:
            return None
        name = min(found, key=lambda name: found[name].ratio)
        return name, found[name]

    def against_best(self) -> float | None:
        """Return by how many times parmap takes as long as the best of the others."""
        ours, other = self.best(OURS), self.best_other()
        if ours is None or other is None:
            return None
        return ours.ratio / other[1].ratio

    @property
    def bound(self) -> float:
        """What `against_best` is to reach."""
        loop = self.best(LOOP)
        short = loop is not None and loop.seconds < 1.0
        return SHORT_BOUND if short and not self.workload.warm else BOUND


def merge(files: Iterable[Data]) -> Data:
    """Put results of several runs together."""
    runs: dict[str, list[Data]] = {}
    merged: Data = {}
    for data in files:
        versions = merged.get("versions", {}) | data["versions"]
        merged |= data | {"versions": versions}
        fresh: dict[str, list[Data]] = {}
        for run in data["runs"]:
            fresh.setdefault(run["workload"], []).append(run)
        runs |= fresh
    merged["runs"] = [run for group in runs.values() for run in group]
    return merged


def lines(data: Data) -> list[Line]:
    """Return what was found, in the order of the workloads."""
    found = []
    for workload in WORKLOADS:
        runs = [r for r in data["runs"] if r["workload"] == workload.name and r["round"]]
        loops = {r["round"]: r for r in runs if r["contender"] == LOOP and not r.get("error")}
        ideals = {
            number: ideal(workload, r["n"], data["machine"]["cores"], r["seconds"], r["inside"])
            for number, r in loops.items()
        }
        if not ideals:
            continue
        n = next(iter(loops.values()))["n"]
        title = workload.title + (f" (here {n:,})" if n != workload.size else "")
        line = Line(workload, title, median(ideals.values()))
        for contender in CONTENDERS:
            mine = [r for r in runs if r["contender"] == contender.name and r["round"] in ideals]
            for chunk in sorted({r["chunk"] for r in mine}, key=lambda c: c or 0):
                of_one = [r for r in mine if r["chunk"] == chunk]
                entry = _entry(chunk, of_one, ideals, loops)
                line.entries.setdefault(contender.name, []).append(entry)
        found.append(line)
    return found


def _entry(
    chunk: int | None, runs: list[Data], ideals: dict[int, float], loops: dict[int, Data]
) -> Entry:
    for run in runs:
        if run.get("error"):
            return Entry(chunk, error=run["error"])
    return Entry(
        chunk,
        median(r["seconds"] / ideals[r["round"]] for r in runs),
        median(r["seconds"] / loops[r["round"]]["seconds"] for r in runs),
        median(r["seconds"] for r in runs),
        max(r["grown"] for r in runs),
    )


def text(data: Data, *, picture: bool) -> str:
    """Return the part of the page that is measured."""
    found = lines(data)
    names = [c.name for c in CONTENDERS if any(c.name in line.entries for line in found)]
    parts = [_machine(data)]
    if picture:
        parts.append("![Time of each contender, in units of the ideal time](benchmarks.svg)")
    parts += [_verdict(found), LEGEND, *_tables(found, names, best=True)]
    if any(len(entries) > 1 for line in found for entries in line.entries.values()):
        parts += ["The same at default settings.", *_tables(found, names, best=False)]
    parts += [_memory(found), _imports(found), _missing(data, found)]
    return "\n\n".join(part for part in parts if part)


def _machine(data: Data) -> str:
    machine = data["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in data["versions"].items() if number)
    mode = "Quick run, too small to conclude from. " if data["quick"] else ""
    return (
        f"{mode}{machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"{machine['python']}; {versions}; medians of {data['rounds']}, {data['date']}."
    )


def _tables(found: list[Line], names: list[str], *, best: bool) -> list[str]:
    """Return the tables of warm and of cold workloads, each with what parmap lost most first."""
    parts = []
    worst = sorted(found, key=lambda line: -(line.against_best() or 0.0))
    for warm, title in ((True, WARM), (False, COLD)):
        of_these = [line for line in worst if line.workload.warm == warm]
        if of_these:
            parts += [title, _ratios(of_these, names, best=best)]
    return parts


def _ratios(found: list[Line], names: list[str], *, best: bool) -> str:
    rows = []
    for line in found:
        row = [line.title, _time(line.ideal)]
        for name in names:
            entry = line.best(name) if best else next(iter(line.entries.get(name, ())), None)
            row.append(_cell(line, name, entry))
        rows.append(row)
    return table(["workload", "ideal", *names], rows)


def _cell(line: Line, name: str, entry: Entry | None) -> str:
    if entry is None:
        return ""
    if entry.error:
        return entry.error if entry.error.startswith(">") else "failed"
    shown = f"{entry.ratio:.2f}{entry.setting}"
    lost = name == OURS and (line.against_best() or 0.0) > 1.0
    return f"**{shown}**" if lost else shown


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _verdict(found: list[Line]) -> str:
    """List what parmap lost, and say how it stands in the mean."""
    compared = [
        (line, against)
        for line in found
        if line.workload.kind != "import" and (against := line.against_best()) is not None
    ]
    items = []
    for line, against in sorted(compared, key=lambda pair: -pair[1]):
        if against > 1.0:
            name, entry = line.best_other() or ("", Entry(None))
            missed = f": **missed**, at most {line.bound:.2f}" if against > line.bound else ""
            items.append(f"- {line.title}: {against:.2f} x {name}{entry.setting}{missed}")
    for line in found:
        ours = line.best(OURS)
        if ours and line.workload.ideal == "loop" and line.workload.kind == "map":
            missed = f": **missed**, at most {LOOP_BOUND:.2f}"
            if ours.to_loop > LOOP_BOUND:
                items.append(f"- {line.title}: {ours.to_loop:.2f} x the loop{missed}")
        if ours and ours.error:
            items.append(f"- {line.title}: **failed**: {ours.error}")
    parts = []
    values = [(line, against) for line, against in compared if math.isfinite(against)]
    if values:
        means = [f"**{_mean(values):.2f}**"]
        for warm, word in ((True, "warm"), (False, "cold")):
            of_these = [pair for pair in values if pair[0].workload.warm == warm]
            if 0 < len(of_these) < len(values):
                means.append(f"of the {len(of_these)} {word} ones {_mean(of_these):.2f}")
        parts.append(
            f"Time of parmap over that of the best other, geometric mean of {len(values)} "
            f"workloads: {', '.join(means)}."
        )
    if compared or items:
        parts.append("Lost:\n\n" + "\n".join(items) if items else "Lost: nothing.")
    return "\n\n".join(parts)


def _mean(pairs: list[tuple[Line, float]]) -> float:
    return geometric_mean(against for _, against in pairs)


def _memory(found: list[Line]) -> str:
    rows = []
    for line in found:
        if line.workload.kind == "stream":
            grown = {n: e for n in line.entries if (e := line.best(n)) and not e.error}
            rows += [[f"{name}{e.setting}", f"{e.grown:.1f}"] for name, e in grown.items()]
    title = "By how many MB the caller grew while it read the stream:\n\n"
    return title + table(["contender", "MB"], rows) if rows else ""


def _imports(found: list[Line]) -> str:
    rows = []
    for line in found:
        loop = line.best(LOOP)
        if line.workload.kind == "import" and loop:
            above = {n: e for n in line.entries if (e := line.best(n)) and not e.error}
            rows += [
                [name, f"{1000 * (e.seconds - loop.seconds):.1f}"]
                for name, e in above.items()
                if name != LOOP
            ]
    title = "Milliseconds that the import takes, above bare Python:\n\n"
    return title + table(["contender", "ms"], rows) if rows else ""


def _missing(data: Data, found: list[Line]) -> str:
    absent = [name for name, number in data["versions"].items() if number is None]
    items = [f"- not installed: {', '.join(absent)}"] if absent else []
    without = {
        run["workload"]: run["error"]
        for run in data["runs"]
        if run["contender"] == LOOP and run.get("error")
    }
    items += [f"- {name}: not even the loop: {_plain(error)}" for name, error in without.items()]
    for line in found:
        for name, entries in line.entries.items():
            items += [
                f"- {line.title}: {name}{entry.setting}: {_plain(entry.error)}"
                for entry in entries
                if entry.error
            ]
    title = "Absent, failed, or given up after the time shown:\n\n"
    return title + "\n".join(items) if items else ""


def _plain(error: str) -> str:
    """Return *error* as one line that Markdown leaves alone."""
    return "`" + " ".join(error.split()).replace("`", "'")[:160] + "`"


COLOURS = ["#000000", "#d55e00", "#0072b2", "#56b4e9", "#009e73", "#cc79a7"]
COLOURS += ["#e69f00", "#999999", "#7f5f3f", "#5fbf9f", "#8f6fdf"]


def draw(plt: Any, data: Data, path: Path) -> None:
    """Draw the table: a row for each workload, a dot for each contender."""
    found = [line for line in lines(data) if line.workload.kind != "import"]
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(found) + 1.2), layout="constrained")
    for contender, colour in zip(CONTENDERS, COLOURS, strict=True):
        dots = [
            (entry.ratio, len(found) - row)
            for row, line in enumerate(found)
            if (entry := line.best(contender.name)) and not entry.error
        ]
        if dots:
            ours = contender.name == OURS
            style = {"marker": "D" if ours else "o", "s": 40 if ours else 16}
            xs, ys = zip(*dots, strict=True)
            axes.scatter(xs, ys, color=colour, label=contender.name, zorder=2 + ours, **style)
    axes.axvline(1.0, color="black", linestyle=":", linewidth=1)
    axes.set(xscale="log", xlabel="time / ideal time", xlim=(0.4, None))
    axes.set_yticks([len(found) - row for row in range(len(found))], [line.title for line in found])
    axes.grid(axis="y", linewidth=0.3)
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)
    plt.close(figure)


def write(data: Data, folder: Path = DOCS) -> None:
    """Write the page and the picture into *folder*."""
    plt = pyplot()
    if plt:
        draw(plt, data, folder / "benchmarks.svg")
        say(f"written: {folder / 'benchmarks.svg'}")
    else:
        say("matplotlib is not installed: no picture")
    say(f"written: {fill('benchmarks.md', text(data, picture=bool(plt)), folder)}")


def main() -> None:
    """Write the page from the files that were named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("results", nargs="+", type=Path, help="files that a run has written")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args()
    write(merge(json.loads(path.read_text("utf-8")) for path in options.results), options.output)


if __name__ == "__main__":
    main()

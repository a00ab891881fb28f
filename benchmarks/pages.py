"""The pages that benchmarks write into: text between two marks, the rest is left alone."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def fill(name: str, text: str, folder: Path = DOCS, part: str = "results") -> Path:
    """Put *text* between the marks of a *part* of the page *name*; return the page, in *folder*.

    A page that is not in *folder* yet starts as a copy of the one in `docs/`.
    """
    page = folder / name
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    source = page if page.exists() else DOCS / name
    before, found, rest = source.read_text("utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{source.name} has no marks {begin} and {end}")
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", "utf-8")
    return page


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def chosen(things: dict[str, Any], names: str | None) -> list[Any]:
    """Return those whose name fits one of the *names*, which stand with commas; None: all."""
    patterns = names.split(",") if names else ["*"]
    for pattern in patterns:
        if not fnmatch.filter(things, pattern):
            raise SystemExit(f"{pattern!r} is none of {', '.join(things)}")
    return [t for name, t in things.items() if any(fnmatch.fnmatch(name, p) for p in patterns)]


def say(text: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def pyplot():
    """Return matplotlib's pyplot, set to draw small files that are the same each time.

    None if matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        return None
    mpl.use("svg")
    mpl.rcParams.update(
        {
            "axes.spines.right": False,
            "axes.spines.top": False,
            "font.size": 9,
            "svg.fonttype": "none",
            "svg.hashsalt": "parmap",
        }
    )
    from matplotlib import pyplot as plt

    return plt


def save(figure, path: Path) -> None:
    """Write *figure* as SVG, without a date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(path, format="svg", metadata=nothing, facecolor="white", bbox_inches="tight")

"""What a page of the documentation consists of, and how its code is run.

The ``python`` blocks of a page are run in order as one script in a fresh process, so that its
functions are ``__main__``'s and it has no main guard, as in a reader's own file. Every line of the
script stands where it stands in the page, so a traceback shows the page's line numbers. A line

    x + 1  # -> 3

is turned into a check that the repr of its value is the text after the arrow, where ``...`` stands
for anything. A check that is never reached fails, too.

A block whose title ends in ``.py`` is a file beside the script. A line

    <!-- needs: fastapi, httpx -->

before a block, or two columns, says what it, or the first of them, imports that may be absent: then
it is left out, and the test says so.
Two blocks in a ``<div class="grid" markdown>`` are two ways to write the same: each is run in a
script with all blocks that stand alone, and both must give the same ``results``.
"""

import ast
import importlib.util
import os
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import parmap

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in DOCS.rglob("*.md"))]

ARROW = re.compile(r"#\s*->\s*(.+?)\s*$")
FENCE = re.compile(r'( *)(```+|~~~+)\s*(\w*)(?:.*\btitle="([^"]+)")?')
NEEDS = re.compile(r"<!-- needs: (.+) -->")
GRID = '<div class="grid" markdown>'

CHECKER = """
import pickle
import re

reached, wrong, results = set(), [], {}

def check(value, expected, line):
    reached.add(line)
    pattern = ".*".join(map(re.escape, expected.split("...")))
    if not re.fullmatch(pattern, repr(value), re.DOTALL):
        wrong.append(f"line {line}: expected {expected}, got {value!r}")

def record(line, value):
    results[line] = value

def complaints(lines):
    return wrong + [f"line {line}: the check was never reached" for line in lines - reached]

def finish(lines):
    with open("results.pickle", "wb") as file:
        pickle.dump(results, file)
    raise SystemExit("\\n".join(complaints(lines)) or 0)
"""

GUARDED = """
if __name__ == "__main__":
    with open("page.py") as file:
        exec(compile(file.read(), "page.py", "exec"))
"""


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        line: the number of its opening fence, from 1.
        language: what follows that.
        title: its title, "" if it has none.
        grid: the number of the line where the grid begins that it is in, 0 if it is in none.
        column: which of the blocks in that grid it is, from 0.
        needs: the modules that it imports and that may be absent.
        code: its lines, dedented.
    """

    line: int
    language: str
    title: str
    grid: int
    column: int
    needs: tuple[str, ...]
    code: tuple[str, ...] = ()

    @property
    def absent(self) -> list[str]:
        """Return what it needs and this interpreter does not find."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    @property
    def runs(self) -> bool:
        """Tell whether it is code that is run here."""
        return self.language == "python" and not self.title.endswith(".py") and not self.absent


def blocks_of(text: str) -> list[Block]:
    """Return the code blocks of a page."""
    found: list[Block] = []
    fence, code = None, []
    grid, column, needs = 0, 0, ()
    for number, line in enumerate(text.splitlines(), 1):
        if fence is not None:
            if line.strip() == fence[2]:
                found[-1] = replace(found[-1], code=tuple(code))
                fence, code = None, []
            else:
                code.append(line.removeprefix(fence[1]))
        elif fence := FENCE.match(line):
            own = () if grid and column else needs  # the second column is ours
            found.append(Block(number, fence[3], fence[4] or "", grid, column, own))
            column += 1
            needs = needs if grid else ()
        elif marked := NEEDS.match(line.strip()):
            needs = tuple(marked[1].split(", "))
        elif line.strip() == GRID:
            grid, column = number, 0
        elif line.strip() == "</div>":
            grid, needs = 0, ()
    assert fence is None, "a code fence is not closed"
    return found


def lines_of(text: str, blocks: list[Block], column: int = 0) -> list[str]:
    """Return the page with everything blank but *blocks* that are run; of grids one *column*."""
    lines = [""] * len(text.splitlines())
    for block in blocks:
        if block.runs and (not block.grid or block.column == column):
            lines[block.line : block.line + len(block.code)] = block.code
            if block.grid:
                lines[block.line + len(block.code)] = f"_doc.record({block.grid}, results)"
    return lines


def script_of(lines: list[str], end: str = "_doc.finish({lines})") -> str:
    """Turn the lines of a page into a script in which every arrow is a check."""
    arrows = {n: m[1] for n, line in enumerate(lines, 1) if (m := ARROW.search(line))}
    encoded = [line.encode() for line in lines]
    checked = set()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Expr) and node.end_lineno in arrows:
            value = node.value
            last, call = value.end_lineno, f"), {arrows[node.end_lineno]!r}, {value.end_lineno})"
            checked.add(last)
            encoded[last - 1] = encoded[last - 1][: value.end_col_offset] + call.encode()
            first = encoded[value.lineno - 1]
            encoded[value.lineno - 1] = (
                first[: value.col_offset] + b"_doc.check((" + first[value.col_offset :]
            )
    assert checked == set(arrows), f"no expression ends at the arrows of {set(arrows) - checked}"
    body = [line.decode() for line in encoded]
    assert not body[0], "the first line of a page is its title"
    return "\n".join(["import _doc", *body[1:], end.format(lines=checked or "set()"), ""])


def prepare(text: str, folder: Path) -> None:
    """Write what the code of the page *text* finds beside itself into *folder*."""
    (folder / "_doc.py").write_text(CHECKER, "utf-8")
    for block in blocks_of(text):
        if block.title.endswith(".py"):
            (folder / block.title).write_text("\n".join([*block.code, ""]), "utf-8")


def python_path() -> str:
    """Return a PYTHONPATH on which the parmap under test is."""
    where = [str(Path(parmap.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(filter(None, where))


def run(text: str, folder: Path, column: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the code of the page *text* in *folder*; of its grids, one *column*.

    The first of two columns, another library's, has a main guard and may warn.
    """
    blocks = blocks_of(text)
    guarded = column == 0 and any(block.grid for block in blocks)
    prepare(text, folder)
    (folder / "page.py").write_text(script_of(lines_of(text, blocks, column)), "utf-8")
    (folder / "guarded.py").write_text(GUARDED, "utf-8")
    return subprocess.run(
        [sys.executable, *(["guarded.py"] if guarded else ["-W", "error", "page.py"])],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": python_path()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def results_in(folder: Path) -> dict[int, object]:
    """Return what the columns of the page that was run in *folder* gave, by line of their grid."""
    return pickle.loads((folder / "results.pickle").read_bytes())


def prose_of(text: str) -> str:
    """Return the page *text* without its code, comments, marks of grids and targets of links."""
    lines = text.splitlines()
    for block in blocks_of(text):
        lines[block.line - 1 : block.line + len(block.code) + 1] = [""] * (len(block.code) + 2)
    prose = re.sub(r"<!--.*?-->|</?div.*?>", "", "\n".join(lines), flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)", "]", prose)


def words_in(prose: str) -> list[str]:
    """Return the words of *prose*: what has a letter; a cell of numbers is looked at, not read."""
    return [word for word in prose.split() if re.search(r"[^\W\d_]", word)]

"""What README.md, docs/ and the docstrings say is run, and must be so.

The ``python`` blocks of a page are run in order as one script in a fresh process, so that its
functions are ``__main__``'s and it has no main guard, as in a reader's own file. Every line of the
script stands where it stands in the page, so a traceback shows the page's line numbers. A line

    x + 1  # -> 3

is turned into a check that the repr of its value is the text after the arrow, where ``...`` stands
for anything. A check that is never reached fails, too.
"""

import ast
import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import parmap

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
PAGES_THAT_TEACH = (
    *("tutorial", "errors", "executors", "workers", "shared", "pool", "asyncio"),
    "random-numbers",
)
TEACHING = {"README.md", *(f"docs/{name}.md" for name in PAGES_THAT_TEACH)}
MODULES = ["parmap", *(m.name for m in pkgutil.walk_packages(parmap.__path__, "parmap."))]

ARROW = re.compile(r"#\s*->\s*(.+?)\s*$")

CHECKER = """
import re

reached, wrong = set(), []

def check(value, expected, line):
    reached.add(line)
    pattern = ".*".join(map(re.escape, expected.split("...")))
    if not re.fullmatch(pattern, repr(value), re.DOTALL):
        wrong.append(f"line {line}: expected {expected}, got {value!r}")

def finish(lines):
    wrong.extend(f"line {line}: the check was never reached" for line in lines - reached)
    raise SystemExit("\\n".join(wrong) or 0)
"""


def blocks(text: str) -> list[str]:
    """Return the page with everything blank but the lines inside ``python`` fences, dedented."""
    lines, fence = [], None
    for line in text.splitlines():
        opening = re.match(r"( *)(```+|~~~+)\s*(\w*)", line)
        if fence is None and opening:
            fence = opening.groups()
            lines.append("")
        elif fence and line.strip() == fence[1]:
            fence = None
            lines.append("")
        else:
            inside = fence is not None and fence[2] == "python"
            lines.append(line.removeprefix(fence[0]) if fence and inside else "")
    assert fence is None, "a code fence is not closed"
    return lines


def script_of(lines: list[str]) -> str:
    """Turn the lines of a page into a script in which every arrow is a check."""
    arrows = {n: m[1] for n, line in enumerate(lines, 1) if (m := ARROW.search(line))}
    encoded = [line.encode() for line in lines]
    checked = set()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Expr) and node.end_lineno in arrows:
            value = node.value
            end, call = value.end_lineno, f"), {arrows[node.end_lineno]!r}, {value.end_lineno})"
            checked.add(end)
            encoded[end - 1] = encoded[end - 1][: value.end_col_offset] + call.encode()
            first = encoded[value.lineno - 1]
            encoded[value.lineno - 1] = (
                first[: value.col_offset] + b"_doc.check((" + first[value.col_offset :]
            )
    assert checked == set(arrows), f"no expression ends at the arrows of {set(arrows) - checked}"
    body = [line.decode() for line in encoded]
    assert not body[0], "the first line of a page is its title"
    return "\n".join(["import _doc", *body[1:], f"_doc.finish({checked or set()!r})", ""])


PROGRAMS = {name: blocks((ROOT / name).read_text("utf-8")) for name in PAGES}


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "_doc.py").write_text(CHECKER, "utf-8")
    (folder / "page.py").write_text(program, "utf-8")
    where = [str(Path(parmap.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-W", "error", "page.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, where))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("name", [name for name in PAGES if any(PROGRAMS[name])])
def test_page_runs_and_shows_what_it_says(name, tmp_path):
    """The code blocks of a page run in order, as one script, and give the values that it shows."""
    done = run(script_of(PROGRAMS[name]), tmp_path)

    assert done.returncode == 0, f"{name}\n{done.stdout}\n{done.stderr}"


def test_the_teaching_pages_have_code():
    """The pages that teach hold code that is run, so the collection above has not gone blind."""
    silent = {name for name in TEACHING if not any(PROGRAMS.get(name, ()))}

    assert not silent


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("1 + 1  # -> 3", "line 3: expected 3, got 2"),
        ("if False:\n    1  # -> 1", "line 4: the check was never reached"),
        ("{}['missing']", "KeyError"),
    ],
)
def test_a_page_that_is_wrong_fails(block, complaint, tmp_path):
    """A page whose code raises, or shows a value that is not so, is found out."""
    page = f"# title\n```python\n{block}\n```\n"

    done = run(script_of(blocks(page)), tmp_path)

    assert done.returncode == 1
    assert complaint in done.stderr


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    """The examples in the docstrings of a module give what they show."""
    module = importlib.import_module(name)

    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)

    assert failed == 0

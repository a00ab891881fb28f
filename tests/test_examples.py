"""The programs in examples/: CI runs them; here is held that a reader can find and install them."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}


def libraries(tree):
    """Return the names of the distributions that a program imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return {DISTRIBUTIONS.get(name, name) for name in found - sys.stdlib_module_names - {"parmap"}}


def test_the_page_lists_every_example():
    """The table of docs/examples.md has one row for each program of examples/, and no other."""
    page = (ROOT / "docs" / "examples.md").read_text("utf-8")

    listed = re.findall(r"^\| `(\w+\.py)` \|", page, re.MULTILINE)

    assert sorted(listed) == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_to_run_it(path):
    """The docstring of an example shows the command that runs it, and the extra has its imports."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        extra = tomllib.load(file)["project"]["optional-dependencies"]["examples"]
    tree = ast.parse(path.read_text("utf-8"))

    needed = libraries(tree)

    assert f"\n    python examples/{path.name}" in ast.get_docstring(tree)
    assert needed <= {re.split("[><=]", requirement)[0] for requirement in extra}

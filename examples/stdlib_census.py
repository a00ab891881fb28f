"""Take a census of the standard library: parse every file of it, in a loop and with pmap.

Every ``.py`` file of the running interpreter's standard library, its test suite included, is
parsed with ``ast``. Functions, classes, branches and the longest function are counted per file,
and the ten most complex modules are printed. Files that cannot be parsed (the test suite holds
some on purpose) come back as Failures and are listed. The loop and pmap must agree on all of it.

    python examples/stdlib_census.py
    python examples/stdlib_census.py --executor joblib --workers 2
"""

import argparse
import ast
import sys
import sysconfig
import time
import warnings
from pathlib import Path
from typing import NamedTuple

from parmap import Failure, partition, pmap

BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.BoolOp,
    ast.Assert,
    ast.comprehension,
    ast.match_case,
)


class Census(NamedTuple):
    """What is counted in one file."""

    path: str
    functions: int
    classes: int
    branches: int
    longest: str
    longest_lines: int

    @property
    def complexity(self) -> int:
        """The paths through the file: one for each function and one for each branch."""
        return self.functions + self.branches


def standard_library() -> list[str]:
    """List the Python files of the running interpreter's standard library, sorted."""
    root = Path(sysconfig.get_path("stdlib"))
    outside = {"site-packages", "dist-packages", "__pycache__"}
    return sorted(
        str(path)
        for path in root.rglob("*.py")
        if path.is_file() and outside.isdisjoint(path.relative_to(root).parts)
    )


def census(path: str) -> Census:
    """Parse the file at *path* and count; a file that cannot be parsed raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Old escapes and the like: not our business here.
        tree = ast.parse(Path(path).read_bytes(), filename=path)
    functions = classes = branches = longest_lines = 0
    longest = ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions += 1
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > longest_lines:
                longest, longest_lines = node.name, lines
        elif isinstance(node, ast.ClassDef):
            classes += 1
        elif isinstance(node, BRANCHES):
            branches += 1
    return Census(path, functions, classes, branches, longest, longest_lines)


def census_or_error(path: str) -> Census | Exception:
    """Do in a loop what ``on_error="return"`` does in a map."""
    try:
        return census(path)
    except Exception as error:
        return error


def comparable(result: Census | Exception | Failure) -> object:
    """Reduce an error, from the loop or from pmap, to its type and its text."""
    if isinstance(result, Census):
        return result
    error = result.exception if isinstance(result, Failure) else result
    return type(error).__name__, str(error)


def main() -> int:
    """Run the census twice, print what was found, and return 1 if the two runs differ."""
    parser = argparse.ArgumentParser(description="A census of the standard library.")
    parser.add_argument("--executor", default="auto", help="where the tasks run (auto)")
    parser.add_argument("--workers", type=int, help="how many workers (all usable CPUs)")
    options = parser.parse_args()

    paths = standard_library()
    size = sum(len(Path(path).read_bytes()) for path in paths)  # Now both runs find a warm cache.
    print(f"{len(paths)} files, {size / 1e6:.1f} MB, Python {sys.version.split()[0]}")

    start = time.perf_counter()
    expected = [census_or_error(path) for path in paths]
    serial = time.perf_counter() - start

    start = time.perf_counter()
    results = pmap(
        census, paths, on_error="return", executor=options.executor, workers=options.workers
    )
    parallel = time.perf_counter() - start

    counted, failures = partition(results)
    root = Path(sysconfig.get_path("stdlib"))
    print(f"\n{'module':<44}{'functions':>10}{'classes':>9}{'branches':>10}  longest function")
    for row in sorted(counted, key=lambda row: (-row.complexity, row.path))[:10]:
        module = str(Path(row.path).relative_to(root))
        print(
            f"{module:<44}{row.functions:>10,}{row.classes:>9,}{row.branches:>10,}"
            f"  {row.longest} ({row.longest_lines} lines)"
        )

    print(f"\n{len(counted)} files counted, {len(failures)} could not be parsed:")
    for failure in failures:
        name = Path(paths[failure.index]).relative_to(root)
        print(f"  {name}: {type(failure.exception).__name__}: {failure.exception}")

    identical = list(map(comparable, expected)) == list(map(comparable, results))
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())

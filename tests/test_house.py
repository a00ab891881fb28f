"""The house: its floors, its walls, its front, its weight."""

import ast
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import parmap

TESTS = Path(__file__).parent
HOUSE = Path(parmap.__file__).parent
MODULES = {
    ".".join(path.relative_to(HOUSE).with_suffix("").parts): path
    for path in HOUSE.rglob("*.py")
    if "__pycache__" not in path.parts
}

PICTURES = ["CONTRIBUTING.md", "docs/design.md", "parmap/__init__.py"]
LONGEST_FILE = 350  # lines, all of them
LONGEST_CLASS = 200

# From the roof down: a module imports from the folders below its own, and from its own as long as
# there is no circle.
FLOORS = [
    "",  # the doors, which lie in the package itself
    "_choice",
    "_executors",
    "_workers",
    "_wire",
    "_engine",
    "_observers",
    "_records",
]

PUBLIC = [
    "ExecutorUnavailable",
    "Failure",
    "Pool",
    "TaskTimeout",
    "WorkerCrashed",
    "delayed",
    "parallel",
    "parallel_config",
    "partition",
    "pcall",
    "picall",
    "pimap",
    "pistarmap",
    "pmap",
    "pstarmap",
    "rng",
    "shutdown",
    "warm",
]


def floor_of(module):
    """Return the number of the floor of *module*, from the roof down."""
    return FLOORS.index(module.rpartition(".")[0])


def is_for_typing(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(module, at_the_top=False):
    """Yield what *module* imports when it runs, as ("parmap", name) or (package, None).

    With *at_the_top* only what is imported together with the module, not inside its functions.
    """
    pending = list(ast.parse(MODULES[module].read_text("utf-8")).body)
    package = module.split(".")[:-1]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0], None
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                inner = ".".join([*base, alias.name])
                yield "parmap", inner if inner in MODULES else ".".join(base) or "__init__"
        elif is_for_typing(node):
            pending += node.orelse
        elif at_the_top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        else:
            pending += ast.iter_child_nodes(node)


def inner_imports(module):
    return {name for package, name in imports(module) if package == "parmap"} - {module}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    """A module imports only from its own folder and those below, inside functions too."""
    for other in inner_imports(module):
        assert floor_of(module) <= floor_of(other), f"{module} imports {other}"


def test_there_are_no_circles():
    """No module is reached again by following its imports."""
    graph = {module: inner_imports(module) for module in MODULES}
    done = set()

    def visit(module, trail):
        assert module not in trail, " -> ".join([*trail, module])
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])


@pytest.mark.parametrize("module", MODULES)
def test_private_names_stay_in_their_module(module):
    """No module imports a name with an underscore from another."""
    private = [
        f"from {'.' * node.level}{node.module or ''} import {alias.name}"
        for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level and node.module
        for alias in node.names
        if alias.name.startswith("_")
    ]

    assert not private


def test_the_folders_of_the_package_are_private():
    """Each folder in the package has an underscore, and a floor; none lies deeper."""
    assert {module.rpartition(".")[0] for module in MODULES} == set(FLOORS)
    assert all(floor.startswith("_") for floor in FLOORS if floor)


def picture_in(name):
    """Return the picture of the house in the file *name*: its block, from "parmap/" on."""
    lines = (TESTS.parent / name).read_text("utf-8").splitlines()
    begin = next(n for n, line in enumerate(lines) if line.lstrip().startswith("parmap/ "))
    end = next(n for n, line in enumerate(lines) if n > begin and not line.strip("` "))
    return textwrap.dedent("\n".join(lines[begin:end]))


def tree_of(picture):
    """Return the folders of *picture*, each with its modules.

    A line names a folder, with a slash, and says what it is for; those without a slash, up to the
    next folder, name the modules in it.
    """
    tree = {}
    for line in picture.splitlines():
        folder, slash, _ = line.partition("/ ")
        if slash:
            modules = tree["" if folder == "parmap" else folder] = []
        else:
            modules += line.split()
    return tree


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_the_tree(name):
    """Where the house is drawn, it has the floors, from the roof down, and all modules."""
    tree = tree_of(picture_in(name))

    drawn = [f"{folder}.{module}".strip(".") for folder in tree for module in tree[folder]]
    assert list(tree) == FLOORS
    assert sorted(drawn) == sorted(name for name in MODULES if not name.endswith("__init__"))


def test_there_is_one_picture():
    """It is the same wherever the house is drawn."""
    assert len({picture_in(name) for name in PICTURES}) == 1


@pytest.mark.parametrize("module", MODULES)
def test_third_parties_are_imported_where_they_are_used(module):
    """Nothing but the standard library is imported at the top of a module."""
    packages = {name for name, inner in imports(module, at_the_top=True) if inner is None}

    assert packages <= sys.stdlib_module_names


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("_records.")])
def test_the_ground_is_the_standard_library(module):
    """The ground floor knows no third party at all."""
    assert {name for name, inner in imports(module) if not inner} <= sys.stdlib_module_names


def test_the_engine_names_no_executor_and_no_option():
    """The scheduling loop has no word of executors, options or bars in it."""
    tree = ast.parse(MODULES["_engine.scheduler"].read_text("utf-8"))
    words = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    assert not words & {
        *("auto", "serial", "threads", "processes", "multiprocessing", "futures", "joblib"),
        *("executor", "workers", "chunksize", "on_error", "progress", "initializer"),
        *("raise", "return", "tqdm"),
    }


def test_policy_is_arithmetic():
    """Chunk sizes are computed without clocks, threads or anything else that cannot be replayed."""
    assert {name for name, _ in imports("_engine.chunking")} <= {
        "__future__",
        "math",
        "dataclasses",
    }


@pytest.mark.parametrize("module", MODULES)
def test_files_are_short(module):
    """No file is longer than a reader can keep in mind."""
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("module", MODULES)
def test_classes_are_short(module):
    """No class is, either."""
    lengths = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    }

    assert not {name: length for name, length in lengths.items() if length > LONGEST_CLASS}


def test_the_house_is_small():
    """All of parmap/ is at most 9,950 lines of code: blank lines, comments, docstrings apart."""
    lines = sum(
        sum(1 for line in path.read_text("utf-8").splitlines() if line.strip()) - prose(path)
        for path in MODULES.values()
    )

    assert lines <= 9_950


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def prose(path):
    """Return how many lines of *path* are comments or in docstrings."""
    text = path.read_text("utf-8")
    comments = sum(1 for line in text.splitlines() if line.lstrip().startswith("#"))
    docstrings = 0
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node):
            lines = text.splitlines()[node.body[0].lineno - 1 : node.body[0].end_lineno]
            docstrings += sum(1 for line in lines if line.strip())
    return comments + docstrings


def test_types_are_shipped():
    """The marker that tells type checkers to look inside is there."""
    assert (HOUSE / "py.typed").exists()


def test_the_public_surface_is_this_and_no_more():
    """`__all__` is sorted, complete, and exactly what the issue lists."""
    found = {
        name
        for name, value in vars(parmap).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert list(parmap.__all__) == sorted(parmap.__all__)
    assert list(parmap.__all__) == PUBLIC
    assert all(hasattr(parmap, name) for name in PUBLIC)
    assert found - {"annotations", "TYPE_CHECKING"} <= set(PUBLIC)
    assert set(PUBLIC) <= set(dir(parmap))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_say_where_they_are_public(name):
    """Tracebacks and reprs say parmap.Failure, whatever file it lives in; each has a docstring."""
    thing = getattr(parmap, name)

    assert thing.__module__ == "parmap"
    assert thing.__name__ == name
    assert inspect.getdoc(thing)


def test_an_unknown_name_is_an_attribute_error():
    """A name that is not there is the usual error."""
    with pytest.raises(AttributeError, match="pmapp"):
        parmap.pmapp  # noqa: B018 - asking is the test


HEAVY = [
    "asyncio",
    "cloudpickle",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "contextlib",
    "joblib",
    "logging",
    "loky",
    "multiprocessing.pool",
    "numpy",
    "pandas",
    "tqdm",
]


def loaded_by(source):
    """Return the names of all modules that a fresh interpreter has after *source*."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{source}\nprint(*sys.modules)"],
        cwd=HOUSE.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


def test_the_import_is_light():
    """The import of a door loads nothing that is heavy; that waits until it is used."""
    heavy = {*HEAVY, "parmap._choice.plan"}

    assert not loaded_by("from parmap import pmap") & (heavy - loaded_by(""))


def test_a_small_map_is_light():
    """A map that stays in the caller loads nothing heavy either."""
    source = "import parmap\nassert parmap.pmap(abs, [-1, 2]) == [1, 2]"

    assert not loaded_by(source) & (set(HEAVY) - loaded_by(""))


def test_a_first_call_in_workers_is_light():
    """Neither the caller nor a worker loads more for a function of the script than it needs."""
    source = (
        "import parmap\n"
        "def names(_): return set(__import__('sys').modules)\n"
        "(worker,) = parmap.pmap(names, [0], executor='processes')\n"
        "print(*worker)\n"
    )
    heavy = {"cloudpickle", "enum", "hashlib", "inspect", "pickle", "re", "socket", "subprocess"}

    assert not loaded_by(source) & (heavy - loaded_by(""))


def test_types_are_as_promised():
    """The strict mypy agrees with every type, and every mistake, in typing_api.py."""
    pytest.importorskip("mypy", reason="mypy is not installed")

    done = subprocess.run(
        [sys.executable, "-m", "mypy", str(TESTS / "typing_api.py")],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def promises_of(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


@pytest.mark.parametrize("path", sorted(TESTS.glob("test_*.py")), ids=lambda path: path.stem)
def test_every_test_states_its_promise(path):
    """Each test has one sentence that says what it promises, and a name of its own."""
    names = [node.name for node in promises_of(path)]
    sentences = {node.name: ast.get_docstring(node) or "" for node in promises_of(path)}

    assert not [name for name, text in sentences.items() if not text.strip()]
    assert not [name for name, text in sentences.items() if "\n" in text]
    assert len(names) == len(set(names))

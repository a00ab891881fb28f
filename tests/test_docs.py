"""What README.md, docs/ and the docstrings say is run, and must be so; see `documents`."""

import doctest
import importlib
import pkgutil

import documents
import pytest
from documents import DOCS, PAGES, ROOT, blocks_of

import parmap

PAGES_THAT_TEACH = (
    *("tutorial", "errors", "executors", "workers", "shared", "pool", "asyncio"),
    *("random-numbers", "logging", "large-data", "cpus", "memory", "debugging", "resuming"),
    "notebooks",
)
TEACHING = {"README.md", *(f"docs/{name}.md" for name in PAGES_THAT_TEACH)}
MODULES = ["parmap", *(m.name for m in pkgutil.walk_packages(parmap.__path__, "parmap."))]
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in PAGES}
NOTEBOOK = "<!-- runs in a notebook -->"


def has_code(name, *, grids=False):
    blocks = blocks_of(TEXTS[name])
    return any(b.language == "python" and (grids or not b.grid) for b in blocks)


IN_GRIDS = [name for name in PAGES if any(block.grid for block in blocks_of(TEXTS[name]))]
IN_NOTEBOOKS = [name for name in PAGES if NOTEBOOK in TEXTS[name]]
SCRIPTS = [name for name in PAGES if has_code(name) and name not in (*IN_GRIDS, *IN_NOTEBOOKS)]
PAIRS = {
    f"{name}:{block.grid}": (name, block.grid, block)
    for name in IN_GRIDS
    for block in blocks_of(TEXTS[name])
    if block.grid and block.column == 0
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_page_runs_and_shows_what_it_says(name, tmp_path):
    """The code blocks of a page run in order, as one script, and give the values that it shows."""
    done = documents.run(TEXTS[name], tmp_path)

    assert done.returncode == 0, f"{name}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    ("name", "line"),
    [(n, block.line) for n in SCRIPTS for block in blocks_of(TEXTS[n]) if block.needs],
)
def test_page_has_what_it_needs(name, line):
    """A block that needs a library which may be absent is run where it is there."""
    blocks = blocks_of(TEXTS[name])
    (block,) = (block for block in blocks if block.line == line)
    if block.absent:
        pytest.skip(f"not installed: {', '.join(block.absent)}")

    assert block.code[0] in documents.lines_of(TEXTS[name], blocks)


@pytest.mark.parametrize("name", IN_NOTEBOOKS)
def test_page_runs_in_a_notebook(name, tmp_path, monkeypatch):
    """The code blocks of a page about notebooks run as the cells of one, and give its values."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    monkeypatch.setenv("PYTHONPATH", documents.python_path())
    text = TEXTS[name]
    documents.prepare(text, tmp_path)
    end = "assert not (found := _doc.complaints({lines})), found"
    book = nbformat.v4.new_notebook()
    for block in blocks_of(text):
        if block.runs:
            cell = documents.script_of(documents.lines_of(text, [block]), end)
            book.cells.append(nbformat.v4.new_code_cell(cell))

    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=60, kernel_name="python3", resources=where).execute()

    assert len(book.cells) > 3


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    """Return what gives the results of a column of a page, which is run once."""
    known = {}

    def results(name, column):
        if (name, column) not in known:
            folder = tmp_path_factory.mktemp("page")
            known[name, column] = documents.run(TEXTS[name], folder, column), folder
        done, folder = known[name, column]
        assert done.returncode == 0, f"{name}\n{done.stdout}\n{done.stderr}"
        return documents.results_in(folder)

    return results


@pytest.mark.parametrize("pair", PAIRS)
def test_two_columns_give_the_same(pair, columns):
    """Of two columns, how it was and how it is with parmap, both run and give equal results."""
    name, grid, block = PAIRS[pair]
    if block.absent:
        pytest.skip(f"not installed: {', '.join(block.absent)}")

    before, after = (columns(name, column)[grid] for column in (0, 1))

    assert before == after


@pytest.mark.parametrize("name", IN_GRIDS)
def test_columns_come_in_pairs(name):
    """A grid has two blocks of Python, so that none of them is left out of the comparison."""
    grids = {}
    for block in blocks_of(TEXTS[name]):
        grids.setdefault(block.grid, []).append(block)

    assert TEXTS[name].count('<div class="grid"') == len(grids.keys() - {0})
    for grid in grids.keys() - {0}:
        assert [block.language for block in grids[grid]] == ["python", "python"]


def test_the_teaching_pages_have_code():
    """The pages that teach hold code that is run, so the collection above has not gone blind."""
    pages = TEACHING | {name for name in PAGES if name.startswith("docs/coming-from/")}

    assert not {name for name in pages if name not in TEXTS or not has_code(name, grids=True)}
    assert (DOCS / "coming-from").is_dir()


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
    done = documents.run(f"# title\n```python\n{block}\n```\n", tmp_path)

    assert done.returncode == 1
    assert complaint in done.stderr


def test_columns_are_run_apart(tmp_path):
    """What one column defines the other does not see, and each gives its own results."""
    code = "\n```python\nresults = globals().get('seen', {})\nseen = {}\n```\n"
    page = f"# title\n\n{documents.GRID}\n{code}{code.replace('{}', '{1}')}\n</div>\n"

    for column, result in ((0, {}), (1, {1})):
        assert documents.run(page, tmp_path, column).returncode == 0
        assert documents.results_in(tmp_path) == {3: result}


def test_what_is_absent_is_left_out():
    """A block that needs a module which is not installed is not run, and says what it lacks."""
    page = "# title\n<!-- needs: json, no_such_module -->\n```python\nimport no_such_module\n```\n"
    (block,) = blocks_of(page)

    assert block.absent == ["no_such_module"]
    assert not any(documents.lines_of(page, [block]))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    """The examples in the docstrings of a module give what they show."""
    module = importlib.import_module(name)

    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)

    assert failed == 0

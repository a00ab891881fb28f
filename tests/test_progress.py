"""The bar: it counts tasks as they finish, on every executor, and goes to stderr alone."""

import contextlib
import os
import subprocess
import sys
import threading
import types
from contextlib import closing
from functools import partial

import pytest
import work
from conftest import environment, outputs_of

from parmap import pcall, pimap, pmap, pstarmap
from parmap._observers import progress


def only(bars):
    """Return the one bar that was made."""
    (bar,) = bars.made
    return bar


def test_every_task_is_counted(where, bars):
    """When the call returns the bar stands at the number of tasks, and is closed."""
    pmap(work.double, range(137), progress=bars, **where.options)

    bar = only(bars)
    assert bar.n == 137
    assert bar.total == 137
    assert bar.closings
    assert not bar.postfix


def test_failures_are_counted_and_shown(where, bars):
    """Failed tasks count as finished and their number stands in the postfix."""
    bad = partial(work.refuse, frozenset(range(0, 60, 2)))

    pmap(bad, range(60), on_error="return", progress=bars, **where.options)

    bar = only(bars)
    assert bar.n == 60
    assert "fail" in bar.postfix
    assert "30" in bar.postfix
    assert bar.closings


def test_attempts_are_not_tasks(bars, tmp_path):
    """A task that is retried counts once, is said to be so, and is no failure if it ends well."""
    pmap(
        partial(work.flaky, tmp_path, 1),
        range(5),
        retries=2,
        progress=bars,
        executor="processes",
        workers=2,
    )

    assert only(bars).n == 5
    assert only(bars).postfix == "retried=5"


def test_the_bar_is_closed_on_an_error(where_cheaply, bars):
    """A call that raises leaves no bar behind."""
    with pytest.raises(ValueError):
        pmap(partial(work.refuse, 3), range(10), progress=bars, **where_cheaply.options)

    assert only(bars).closings
    assert only(bars).n <= 10


def test_the_bar_is_closed_on_an_input_error(bars):
    """A call whose input raises leaves no bar behind."""
    source = work.broken_source(5, work.BrokenInput("boom"))
    with pytest.raises(work.BrokenInput):
        pmap(work.double, source, progress=bars, executor="threads")

    assert only(bars).closings


def test_a_task_counts_when_it_finishes_not_when_it_is_sent(side_by_side, bars, tmp_path):
    """While a task is held the bar shows those that are done, not those that were handed out."""
    gate = tmp_path / "gate"
    seen = []

    class Watching(bars):
        made = []

        def update(self, n=1):
            done = super().update(n)
            seen.append(self.n)
            gate.touch()  # Something was counted while the first task was held.
            return done

    pmap(
        lambda path: work.wait_for(path, 1),
        [gate, None, None, None, None],
        progress=Watching,
        chunksize=1,
        **side_by_side.options,
    )

    assert 1 <= seen[0] <= 4
    assert seen[-1] == 5


def test_the_total_is_known_for_what_has_a_length(bars):
    """The total is the length of the shortest sized input; a generator has none."""
    pmap(work.add, range(9), iter(range(20)), progress=bars, executor="serial")
    pmap(work.double, iter(range(9)), progress=bars, executor="serial")
    pmap(work.add, range(9), [1, 2], progress=bars, executor="serial")
    pstarmap(work.add, [(1, 2)] * 4, progress=bars, executor="serial")
    pcall([(abs, (1,), {})] * 3, progress=bars, executor="serial")

    assert [bar.n for bar in bars.made] == [9, 9, 2, 4, 3]
    assert [bar.total for bar in bars.made][1:] == [None, 2, 4, 3]
    assert bars.made[0].total in (9, None)


def test_a_lazy_map_counts_too(where_cheaply, bars):
    """`pimap` counts as it goes, and its end, or close(), closes the bar."""
    assert len(list(pimap(work.double, range(30), progress=bars, **where_cheaply.options))) == 30
    assert only(bars).n == 30
    assert only(bars).closings

    with closing(pimap(work.double, range(30), progress=bars, **where_cheaply.options)) as results:
        next(results)
    assert bars.made[-1].closings


def test_empty_input_leaves_no_open_bar(bars):
    """Without tasks there is nothing to count; a bar that was opened is closed."""
    assert pmap(work.double, [], progress=bars) == []

    assert all(bar.closings for bar in bars.made)


@pytest.fixture
def auto(bars, monkeypatch):
    """Put the recording class where tqdm has the one for terminals and the one that chooses."""
    import tqdm.auto
    import tqdm.std

    monkeypatch.setattr(tqdm.auto, "tqdm", bars)
    monkeypatch.setattr(tqdm.std, "tqdm", bars)
    monkeypatch.setattr(tqdm, "tqdm", bars)
    return bars


def test_true_means_a_bar(auto):
    """`progress=True` takes tqdm's own class."""
    pmap(work.double, range(5), progress=True)

    assert only(auto).n == 5


def test_a_notebook_gets_its_own_bar(bars, monkeypatch):
    """In a notebook's kernel it is `tqdm.auto` that chooses."""
    import tqdm.auto

    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setattr(tqdm.auto, "tqdm", bars)

    pmap(work.double, range(5), progress=True)

    assert only(bars).n == 5


def test_a_string_is_the_label(auto):
    """`progress="label"` writes the label before the bar."""
    pmap(work.double, range(5), progress="squares of things")

    assert only(auto).n == 5
    assert "squares of things" in only(auto).desc


def test_a_dict_is_for_tqdm(auto):
    """`progress={...}` hands its entries to tqdm, over what we would have said."""
    pmap(
        work.double,
        iter(range(5)),
        progress={"desc": "files", "unit": "file", "total": 77, "leave": False},
    )

    bar = only(auto)
    assert (bar.n, bar.desc.strip(": "), bar.unit, bar.total, bar.leave) == (
        5,
        "files",
        "file",
        77,
        False,
    )


def test_no_bar_is_no_bar(auto):
    """`progress=False`, the default, makes none."""
    pmap(work.double, range(5), progress=False)
    pmap(work.double, range(5))

    assert auto.made == []


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_a_bar_goes_to_stderr_alone(executor, capfd):
    """Nothing of it appears on stdout."""
    pytest.importorskip("tqdm", reason="tqdm is not installed")

    asked = {"desc": "label", "disable": False}
    pmap(work.double, range(50), progress=asked, executor=executor)

    out, err = capfd.readouterr()
    assert out == ""
    assert "label" in err
    assert "50/50" in err


def test_without_a_bar_nothing_is_printed(where_cheaply, capfd):
    """A map prints nothing of its own."""
    pmap(work.double, range(50), **where_cheaply.options)

    assert capfd.readouterr() == ("", "")


def test_a_bar_of_ones_own_needs_nothing_but_the_interface(where_cheaply):
    """A class that is no tqdm but behaves like one will do."""

    class Counter:
        made = []

        def __init__(self, *args, total=None, **kwargs):
            self.n, self.total, self.closed = 0, total, False
            Counter.made.append(self)

        def update(self, n=1):
            self.n += n

        def set_postfix(self, *args, **kwargs):
            pass

        set_postfix_str = set_description = refresh = set_postfix

        def close(self):
            self.closed = True

    pmap(work.double, range(20), progress=Counter, **where_cheaply.options)

    (bar,) = Counter.made
    assert (bar.n, bar.closed) == (20, True)


def test_a_bar_that_breaks_is_the_callers_error(where_cheaply):
    """What a bar raises comes out of the call, and the next call works."""

    class Broken:
        def __init__(self, *args, **kwargs):
            pass

        def update(self, n=1):
            raise KeyError("a broken bar")

        def set_postfix(self, *args, **kwargs):
            pass

        set_postfix_str = refresh = set_postfix

        def close(self):
            pass

    with pytest.raises(KeyError, match="a broken bar"):
        pmap(work.double, range(20), progress=Broken, **where_cheaply.options)

    assert pmap(work.double, range(5), **where_cheaply.options) == [0, 2, 4, 6, 8]


def test_tqdm_is_not_loaded_for_nothing(script):
    """A map without a bar imports no tqdm."""
    done = script(
        "import sys\nfrom parmap import pmap\n"
        "pmap(abs, range(9), executor='processes', workers=2)\n"
        "print('tqdm' in sys.modules)"
    )

    assert done.stdout == "False\n"


def test_a_bar_moves_while_no_task_ends(side_by_side, bars, tmp_path, monkeypatch):
    """While all tasks take long the bar says how many are under way, and for how long."""
    monkeypatch.setattr(progress, "TICK", 0.01)
    gate = tmp_path / "gate"
    said = []

    class Watching(bars):
        made = []

        def set_postfix(self, shown, refresh=True):
            super().set_postfix(shown, refresh=refresh)
            if refresh:
                said.append(dict(shown))
                if shown.get("running") == 2:
                    gate.touch()  # Only now the tasks may end.

    held = [gate] * 2
    options = side_by_side.options | {"chunksize": 1}
    pmap(partial(work.wait_for, x=1), held, progress=Watching, **options)

    assert {"running", "longest"} == set().union(*said)
    assert not only(Watching).postfix  # It waits for nothing any more.
    assert "parmap-bar" not in {thread.name for thread in threading.enumerate()}


def test_an_input_without_a_length_shows_what_was_drawn(bars):
    """Where there is no total, the postfix tells how many items are under way; at the end none."""
    with closing(pimap(abs, iter(range(10**6)), progress=bars, executor="threads")) as results:
        assert any("drawn=" in only(bars).postfix for _ in results)
        assert only(bars).total is None

    bars.made.clear()
    pmap(abs, iter(range(100)), progress=bars, executor="threads")
    assert not only(bars).postfix


@pytest.mark.parametrize("progress", [True, "label", {"desc": "label"}])
def test_without_a_terminal_there_is_no_bar(progress, capfd, monkeypatch):
    """A bar that nobody asked to see in a file is not written to one, whatever is imported."""
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))

    assert pmap(abs, range(-5, 0), progress=progress) == [5, 4, 3, 2, 1]

    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_the_bar_is_there(tmp_path):
    """Where stderr is a terminal `progress=True` draws on it, to the end, with the relayed text."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    termios = pytest.importorskip("termios", reason="there are no terminals here")
    program = "from parmap import pmap\ndef f(x):\n    print('task', x)\n    return x\n"
    program += "pmap(f, range(5), executor='processes', workers=2, progress=True)\n"
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with open(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=theirs, stderr=theirs, env=environment("pty")
        )
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # The end of a terminal is an error on Linux.
            while part := terminal.read(4096):
                seen += part
        assert process.wait(60) == 0

    text = seen.decode()
    assert "5/5" in text
    for x in range(5):
        assert f"task {x}\r\n" in text


@pytest.mark.filterwarnings("ignore:rich is experimental")
def test_rich_draws_it_through_its_class(capfd):
    """Tqdm's class for rich is a class as any other."""
    pytest.importorskip("rich", reason="rich is not installed")
    from tqdm.rich import tqdm

    assert pmap(abs, range(-50, 0), progress=tqdm, workers=2) == list(range(50, 0, -1))

    assert "50/50" in "".join(capfd.readouterr())


def test_a_notebook_shows_the_bar_and_what_tasks_print(tmp_path):
    """In a notebook both are in the output of the cell, whole."""
    cell = (
        "import warnings\nwarnings.simplefilter('ignore')  # tqdm would like ipywidgets\n"
        "from parmap import pmap\n"
        "def task(x):\n    print('task', x)\n"
        "pmap(task, range(4), executor='processes', workers=2, progress=True);\n"
    )
    text = "".join(output.get("text", str(output)) for output in outputs_of(cell))

    assert "4/4" in text
    assert [f"task {x}" for x in range(4) if f"task {x}\n" not in text] == []

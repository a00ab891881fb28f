"""The bar: it counts tasks as they finish, on every executor, and goes to stderr alone."""

import sys
import types
from contextlib import closing
from functools import partial

import pytest
import work

from parmap import pcall, pimap, pmap, pstarmap


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
    """A task that is retried counts once, and is no failure if it ends well."""
    pmap(
        partial(work.flaky, tmp_path, 1),
        range(5),
        retries=2,
        progress=bars,
        executor="processes",
        workers=2,
    )

    assert only(bars).n == 5
    assert not only(bars).postfix


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

    pmap(work.double, range(50), progress="label", executor=executor)

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

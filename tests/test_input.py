"""The input, and what stands around a task: as the loop has them, whatever they are."""

import contextvars
import decimal
import itertools
import logging
import sys
import threading
import time
import warnings
from pathlib import Path
from unittest import mock

import pytest
import work
from scripted import Scripted

import parmap
from parmap import pimap, pmap, pstarmap
from parmap._choice import history
from parmap._choice.auto_thread import FasterSwitching
from parmap._choice.serial_or_parallel import Facts, Measured, decide
from parmap._engine.chunking import Sizes
from parmap._engine.scheduler import Run
from parmap._engine.source import Source

HERE = ["serial", "auto"]
AHEAD = ["threads", "processes", "multiprocessing", "futures", "joblib"]


# Lengths are hints


class Lying:
    """An iterable of *n* items that says it has *length*."""

    def __init__(self, n, length):
        self.n = n
        self.length = length

    def __len__(self):
        return self.length

    def __iter__(self):
        return iter(range(self.n))


class Old:
    """The old sequence protocol, with a length that is not true."""

    def __init__(self, n, length):
        self.n = n
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= self.n:
            raise IndexError(index)
        return index


@pytest.mark.parametrize("kind", [Lying, Old])
@pytest.mark.parametrize("length", [0, 1, 12, 20, 1000])
def test_a_length_is_a_hint(where_cheaply, kind, length):
    """What an input says of its length changes no result, in the first call or a later one."""
    expected = list(map(work.double, kind(20, length)))

    for _ in range(3):
        assert pmap(work.double, kind(20, length), **where_cheaply.options) == expected
        assert list(pimap(work.double, kind(20, length), **where_cheaply.options)) == expected


@pytest.mark.parametrize("kind", [Lying, Old])
@pytest.mark.parametrize("length", [0, 1, 12, 20, 1000])
def test_a_length_is_a_hint_in_the_quickest_calls(kind, length):
    """A call without options, of a function known to take no time, believes no length either."""
    fn = lambda x: 2 * x

    for _ in range(3):
        assert pmap(fn, kind(20, length)) == list(range(0, 40, 2))
        assert pmap(lambda x, y: x + y, kind(20, length), range(20)) == list(range(0, 40, 2))


def test_a_range_may_be_longer_than_a_length_can_be(where_cheaply):
    """It is read from like any input without an end."""
    with pimap(str, range(10**20), **where_cheaply.options) as results:
        assert [next(results), next(results)] == ["0", "1"]


def test_a_chunk_may_be_larger_than_a_length_can_be(where_cheaply):
    """An absurd `chunksize` means all at once."""
    assert pmap(str, iter([1, 2]), chunksize=10**20, **where_cheaply.options) == ["1", "2"]


@pytest.mark.parametrize("lengths", [(20, 12), (12, 20), (0, 20), (20, 1000)])
def test_one_of_two_lengths_may_be_wrong(where_cheaply, lengths):
    """Two inputs of which one says a wrong length end with the shorter."""
    inputs = lambda: (Lying(20, lengths[0]), Lying(18, lengths[1]))
    expected = list(map(work.add, *inputs()))

    for _ in range(3):
        assert pmap(work.add, *inputs(), **where_cheaply.options) == expected


# Lists that change


@pytest.mark.parametrize("executor", HERE)
@pytest.mark.parametrize("n", [4, 300])
def test_a_list_that_grows_under_way(executor, n):
    """A task that appends to the list it is mapped over gives the map one more task."""

    def loop(mapped):
        xs = list(range(n))

        def task(x):
            if x == n - 1:
                xs.append(-1)
            if x == -1:
                xs.append(-2)
            return x

        return mapped(task, xs), xs

    expected = loop(lambda task, xs: [task(x) for x in xs])

    for _ in range(3):
        assert loop(lambda task, xs: pmap(task, xs, executor=executor)) == expected


@pytest.mark.parametrize("executor", HERE)
@pytest.mark.parametrize("n", [4, 300])
def test_a_list_that_shrinks_under_way(executor, n):
    """A task that takes items from the end of the list takes their tasks away."""

    def loop(mapped):
        xs = list(range(n))

        def task(x):
            xs.pop()
            return x

        return mapped(task, xs), xs

    expected = loop(lambda task, xs: [task(x) for x in xs])

    for _ in range(3):
        assert loop(lambda task, xs: pmap(task, xs, executor=executor)) == expected


@pytest.mark.parametrize("executor", HERE)
def test_a_list_that_changes_under_way(executor):
    """A task sees what an earlier one has put into the list."""

    def loop(mapped):
        xs = list(range(300))

        def task(x):
            if xs[-1] != -1:
                xs[xs.index(x) + 1 :] = [*xs[xs.index(x) + 1 : -1], -1]
                xs[x + 1] = 1000 + x
            return x

        return mapped(task, xs), xs

    expected = loop(lambda task, xs: [task(x) for x in xs])

    assert loop(lambda task, xs: pmap(task, xs, executor=executor)) == expected


@pytest.mark.parametrize("executor", HERE)
def test_two_lists_that_grow_under_way(executor):
    """Lists that are mapped over together grow together."""

    def loop(mapped):
        xs, ys = list(range(50)), list(range(50))

        def task(x, y):
            if x == 49:
                xs.append(7)
                ys.append(8)
            return x, y

        return mapped(task, xs, ys)

    expected = loop(lambda task, xs, ys: list(map(task, xs, ys)))

    assert loop(lambda task, xs, ys: pmap(task, xs, ys, executor=executor)) == expected


def test_a_dictionary_that_changes_under_way_is_an_error():
    """A dict that grows is the loop's RuntimeError, not a result."""
    table = dict.fromkeys(range(300))

    def task(key):
        table[-key - 1] = None
        time.sleep(0.0001)

    with pytest.raises(RuntimeError, match="dictionary changed size during iteration"):
        pmap(task, table, chunksize=1)


# Iterators are drawn as the loop draws them


@pytest.mark.parametrize("executor", HERE)
@pytest.mark.parametrize("shape", [pmap, pstarmap])
def test_in_the_caller_an_iterator_is_drawn_one_by_one(executor, shape):
    """Between two items of an iterator there is the task of the first, nothing else."""
    log = []

    def source(n):
        for x in range(n):
            log.append(("item", x))
            yield x if shape is pmap else (x,)

    def task(x):
        log.append(("task", x))
        return x

    for _ in range(2):
        log.clear()
        assert shape(task, source(300), executor=executor) == list(range(300))
        assert log == [(what, x) for x in range(300) for what in ("item", "task")]


@pytest.mark.parametrize("executor", HERE)
def test_an_error_ends_the_drawing_where_it_ends_the_loop(executor):
    """When a task raises, no further item was drawn, and the failure names the one that was."""
    drawn = []

    def source():
        for x in range(100):
            drawn.append(x)
            yield x

    with pytest.raises(ValueError, match="no 5") as caught:
        pmap(lambda x: work.refuse(5, x), source(), executor=executor)

    assert drawn == [0, 1, 2, 3, 4, 5]
    assert caught.value.__notes__ == ["parmap: task 5 failed in attempt 1, input: 5"]


@pytest.mark.parametrize("executor", HERE)
@pytest.mark.parametrize("error", [OSError, StopIteration, RuntimeError])
def test_who_raised_is_told_apart(executor, error):
    """What the iterator raises is its own; what a task raises is the task's, StopIteration too."""

    class Source:
        def __init__(self, n):
            self.left = n

        def __iter__(self):
            return self

        def __next__(self):
            self.left -= 1
            if self.left < 0:
                raise error("the source")
            return self.left

    def task(x):
        if x == 3:
            raise error("the task")
        return x

    if error is StopIteration:
        assert pmap(work.double, Source(5), executor=executor) == [8, 6, 4, 2, 0]
    else:
        with pytest.raises(error, match="the source"):
            pmap(work.double, Source(5), executor=executor, on_error="raise")
    with pytest.raises(error) as caught:
        pmap(task, Source(9), executor=executor)
    assert "task 5 failed" in str(caught.value.__notes__)


@pytest.mark.parametrize("executor", HERE)
def test_groups_are_whole_in_the_caller(executor):
    """Groups of itertools.groupby are read by their own task before the next is drawn."""
    groups = lambda: itertools.groupby(range(400), key=lambda x: x // 4)
    total = lambda pair: (pair[0], sum(pair[1]))
    expected = list(map(total, groups()))

    for _ in range(3):
        assert pmap(total, groups(), executor=executor) == expected
        assert pmap(sum, (group for _, group in groups()), executor=executor) == [
            value for _, value in expected
        ]


def test_groups_stay_in_the_caller_though_long_tasks_go_elsewhere(monkeypatch):
    """What auto knows of a function does not lead it to draw groups ahead."""
    total = lambda pair: (pair[0], sum(pair[1]))
    groups = lambda: itertools.groupby(range(80), key=lambda x: x // 4)
    seen = Measured()
    seen.tasks, seen.wall, seen.cpu, seen.moved = 10, 10.0, 10.0, 100
    history.remember(total, seen)

    assert pmap(total, groups()) == list(map(total, groups()))
    history.remember(total, seen)
    assert pmap(total, (pair for pair in groups())) == list(map(total, groups()))


@pytest.mark.parametrize("executor", AHEAD)
@pytest.mark.parametrize("wrapped", [False, True])
def test_groups_that_would_be_drawn_ahead_are_an_error(executor, wrapped):
    """Where items are drawn ahead, groups are a TypeError that names the cure."""
    groups = itertools.groupby(range(80), key=lambda x: x // 4)

    with pytest.raises(TypeError, match=r"\(key, list\(group\)\)"):
        pmap(lambda pair: sum(pair[1]), iter(groups) if wrapped else groups, executor=executor)


# A slow source, a slow reader


class Slow:
    """An iterator that takes its time, by a clock that the test turns."""

    def __init__(self, items, monkeypatch, seconds):
        self.items = iter(items)
        self.now = 0.0
        self.seconds = seconds
        self.log = []
        monkeypatch.setattr("parmap._engine.source.perf_counter", lambda: self.now)

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.items)
        self.log.append(item)
        self.now += self.seconds
        return item


def test_results_are_handed_out_before_a_slow_source_is_asked_again(monkeypatch):
    """With a slow source, what is finished is there before the next item is drawn."""
    source = Slow(range(20), monkeypatch, 0.5)
    run = Run(Source((source,)), Scripted(str, workers=2), Sizes())

    run.advance()
    for n in range(1, 20):
        assert source.log == list(range(n))
        assert [value for batch in run.advance() for value in batch.values]


def test_a_chunk_is_not_held_back_by_a_slow_source(monkeypatch):
    """A chunk has the items that come in a moment, and does not wait for more."""
    source = Slow(range(100), monkeypatch, 0.5)
    executor = Scripted(str, workers=2)
    run = Run(Source((source,)), executor, Sizes(10))
    while run.advance():
        pass

    assert {size for _, size in executor.log} == {1}


@pytest.mark.parametrize("executor", ["threads", "processes", "auto"])
def test_a_reader_who_takes_little_has_little_drawn(executor):
    """What is drawn for a reader is a small multiple of what was read."""
    drawn = itertools.count()
    stream = pimap(work.double, (next(drawn) for _ in itertools.count()), executor=executor)

    for n in range(200):
        assert next(stream) == 2 * n
        time.sleep(0.0001)
    stream.close()

    assert next(drawn) < 1500


# Context


VARIABLE = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("executor", ["auto", "threads", "serial"])
def test_tasks_in_threads_run_in_the_callers_context(executor, tmp_path):
    """Context variables and the decimal context are the caller's in every thread."""
    VARIABLE.set("set")
    gate = tmp_path / "gate"

    def task(x):
        if x == 0 and executor == "auto":  # waits until another thread runs the others
            work.wait_for(gate, x)
        else:
            gate.touch()
        return VARIABLE.get(), decimal.getcontext().prec

    def attempt():
        with decimal.localcontext() as context:
            context.prec = 5
            return pmap(task, range(4), executor=executor)

    if executor == "auto":
        seen = Measured()
        seen.looks, seen.free = 100, 100
        history.remember(task, seen)
    assert contextvars.copy_context().run(attempt) == [("set", 5)] * 4


SKLEARN = """
import sklearn
from parmap import pmap
def work(x):
    return sklearn.get_config()["working_memory"]
with sklearn.config_context(working_memory=77):
    print(pmap(work, range(3), executor="threads"))
print(pmap(work, range(3), executor="threads") == [sklearn.get_config()["working_memory"]] * 3)
"""


def test_tasks_in_threads_have_the_settings_of_scikit_learn(script, tmp_path):
    """What sklearn.config_context says in the caller holds in threads, though no context has it."""
    (tmp_path / "sklearn.py").write_text(STANDIN)  # keeps its settings the way scikit-learn does

    assert script(SKLEARN).stdout == "[77, 77, 77]\nTrue\n"


STANDIN = """
import threading
from contextlib import contextmanager
_local = threading.local()
def get_config():
    return dict(vars(_local).setdefault("config", {"working_memory": 1024, "display": "text"}))
@contextmanager
def config_context(*, working_memory, display="text"):
    before = get_config()
    _local.config = {"working_memory": working_memory, "display": display}
    try:
        yield
    finally:
        _local.config = before
"""


# Opaque callables


class Proxy:
    """A remote procedure: every attribute is another, and asking may fail in any way."""

    __getattr__ = dict.__getitem__  # TypeError for what is no dict

    def __call__(self, x):
        return x + 1


class Fluent:
    """An object that makes up attributes without end."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Fluent()

    def __call__(self, x):
        return x + 1


class Table(dict):
    __getattr__ = dict.__getitem__

    def __call__(self, x):
        return x + 1


@pytest.mark.parametrize("executor", ["auto", "serial", "threads"])
@pytest.mark.parametrize("kind", [mock.Mock, mock.MagicMock, Proxy, Fluent, Table])
def test_a_callable_is_opaque(executor, kind):
    """Whatever attributes a callable makes up, and whatever asking for them raises."""
    fn = kind(return_value=1) if kind in (mock.Mock, mock.MagicMock) else kind()
    expected = list(map(fn, [1, 2]))

    assert pmap(fn, [1, 2], executor=executor) == expected
    assert list(pimap(fn, [1, 2], executor=executor)) == expected


def test_a_chain_of_wrappers_may_be_endless():
    """A function that says to wrap itself is a function."""

    def fn(x):
        return x

    fn.__wrapped__ = fn

    assert pmap(fn, [1, 2]) == [1, 2]


# Several threads


def test_the_switch_interval_is_the_programs():
    """Whoever hurries, however many at once, leaves the interval as the program had set it."""
    before = sys.getswitchinterval()
    haste = FasterSwitching()

    with haste:
        with haste:
            pass
        assert sys.getswitchinterval() < 0.001
    assert sys.getswitchinterval() == pytest.approx(before)

    haste.__enter__()
    sys.setswitchinterval(0.007)  # by the program, meanwhile
    haste.__exit__()
    assert sys.getswitchinterval() == pytest.approx(0.007)
    sys.setswitchinterval(before)


def test_what_was_learnt_may_be_kept_by_several_threads():
    """More functions than are remembered, from threads that do not know of each other."""
    errors = []

    def keep(n):
        try:
            for i in range(2000):
                exec(f"def fn(x): return {n * 10_000 + i}", names := {})
                history.remember(names["fn"], Measured())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=keep, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors


FIRST = """
import sys, threading
sys.setswitchinterval(1e-5)
from parmap import pmap
def work(x):
    return sum(range(3000)) + x
expected = [work(x) for x in range(200)]
errors, barrier = [], threading.Barrier(8)
def first():
    barrier.wait()
    try:
        assert pmap(work, range(200)) == expected
    except BaseException as error:
        errors.append(repr(error))
threads = [threading.Thread(target=first) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(errors)
"""


HALF = """
import importlib.abc, importlib.machinery, sys, threading
from parmap._records.machine import imported
begun, go = threading.Event(), threading.Event()
class Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module):
        begun.set()
        go.wait(60)
        super().exec_module(module)
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "colorsys":
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            spec.loader = Loader(name, spec.origin)
            return spec
sys.meta_path.insert(0, Finder())
errors = []
def ask():
    try:
        imported("colorsys").rgb_to_hsv
    except BaseException as error:
        errors.append(repr(error))
importing = threading.Thread(target=__import__, args=("colorsys",))
importing.start()
begun.wait(60)
asking = threading.Thread(target=ask)
asking.start()
asking.join(0.2)
go.set()
asking.join()
importing.join()
print(errors)
"""


def test_a_module_is_not_looked_up_half_made(script):
    """Who asks for what another thread is importing waits for it."""
    assert script(HALF).stdout == "[]\n"


@pytest.mark.parametrize("attempt", range(3))
def test_the_first_action_of_eight_threads_is_a_map(script, attempt):
    """No thread sees a module of ours that another is in the middle of importing."""
    assert script(FIRST).stdout == "[]\n"


# A build without the GIL


def test_without_a_gil_threads_are_chosen_because_of_that():
    """Where there is no GIL, threads are chosen without a measurement, and the reason says so."""
    seen = Measured()
    seen.tasks, seen.wall, seen.cpu = 10, 1.0, 1.0

    facts = Facts(seen, 2, 100)

    assert decide(facts).where == "processes"
    facts.gil = False
    choice = decide(facts)
    assert (choice.where, choice.why) == ("threads", "this interpreter has no GIL")


# Nothing that the loop does not raise


class Unrebuildable:
    """Can be pickled, but not loaded elsewhere."""

    def __init__(self, x):
        self.x = x

    def __reduce__(self):
        return _only_in, (work.pid(), self.x)


def _only_in(pid, x):
    if work.pid() != pid:
        raise RuntimeError("only at home")
    return Unrebuildable(x)


def _spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.fixture
def long_tasks():
    """Return what makes a function known to auto as one whose tasks are long."""

    def make(fn):
        seen = Measured()
        seen.tasks, seen.wall, seen.cpu, seen.moved = 10, 10.0, 10.0, 100
        history.remember(fn, seen)
        return fn

    return make


def test_a_function_that_no_worker_can_load(long_tasks, caplog):
    """Under auto a function that cannot be loaded elsewhere is called here; the log says why."""
    thing = Unrebuildable(1)
    fn = long_tasks(lambda x: x + thing.x)
    told = "serial: fn cannot be loaded in another process: RuntimeError: only"
    until_told = itertools.takewhile(lambda x: told not in caplog.text, itertools.count())

    with caplog.at_level(logging.DEBUG, "parmap"):
        results = pmap(fn, until_told)
    assert results == [x + 1 for x in range(len(results))]
    assert told in caplog.text


def test_items_that_no_worker_can_load(long_tasks):
    """Under auto an item that cannot be loaded elsewhere has its task here."""
    fn = long_tasks(lambda thing: thing.x + 1)
    items = [Unrebuildable(x) for x in range(50)]

    assert pmap(fn, items) == list(range(1, 51))


@pytest.mark.parametrize("every", [1, 20])
def test_results_that_cannot_be_sent(long_tasks, every):
    """Under auto a result that cannot be sent is computed here."""
    fn = long_tasks(lambda x: (y for y in [x]) if x % every == 0 else x)

    results = pmap(fn, range(100))

    values = [x if x % every else next(results[x]) for x in range(100)]
    assert values == list(range(100))
    assert [x for x in range(100) if x % every] == [r for r in results if isinstance(r, int)]


def test_errors_of_tasks_whose_results_cannot_be_sent(long_tasks):
    """What such a task raises when it runs again is raised, as by the loop."""
    fn = long_tasks(lambda x: work.refuse(7, x) if x == 7 else (y for y in [x]))

    with pytest.raises(ValueError, match="no 7"):
        pmap(fn, range(100))


def test_what_makes_a_map_serial_is_said_once_when_it_costs(monkeypatch):
    """A map that loses a second because something cannot be sent warns, naming the part."""
    lock = threading.Lock()
    monkeypatch.setattr("parmap._choice.refusals.DEAR", 0.02)

    def fn(x):
        with lock:
            _spin(0.01)
        return x

    with pytest.warns(RuntimeWarning, match=r"fn\.<closure lock> \(of type lock\)") as caught:
        assert pmap(fn, range(40), workers=2) == list(range(40))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_warning_that_is_an_error_costs_no_results(monkeypatch):
    """Under a filter that makes warnings errors, the map completes all the same."""
    lock = threading.Lock()
    monkeypatch.setattr("parmap._choice.refusals.DEAR", 0.02)

    def fn(x):
        with lock:
            _spin(0.01)
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pmap(fn, range(40), workers=2) == list(range(40))


def test_a_map_that_loses_little_says_nothing(recwarn):
    """A short map with a lock says nothing: the loop was right."""
    lock = threading.Lock()

    def fn(x):
        with lock:
            _spin(0.01)
        return x

    assert pmap(fn, range(20), workers=2) == list(range(20))
    assert not recwarn


# Tracebacks


@pytest.mark.parametrize("door", ["pmap", "pstarmap", "pcall", "pimap"])
def test_a_traceback_shows_one_frame_of_ours(where_cheaply, door):
    """The caller's line, one frame of parmap, then the task's: nothing of how it was done."""
    items = {"pstarmap": [(1,), (0,)], "pcall": [parmap.delayed(invert)(x) for x in (1, 0)]}

    with pytest.raises(ZeroDivisionError) as caught:
        args = (items[door],) if door == "pcall" else (invert, items.get(door, [1, 0]))
        list(getattr(parmap, door)(*args, **where_cheaply.options))

    names = [(entry.path, entry.name) for entry in caught.traceback]
    ours = [name for path, name in names if Path(parmap.__file__).parent in path.parents]
    assert names[0][0].name == "test_input.py"
    assert len(ours) == 1, names
    assert len(names) <= 3, names


def test_a_traceback_of_a_decorated_function_shows_one_frame_of_ours():
    """The methods that the decorator adds are one frame, too."""
    with pytest.raises(ZeroDivisionError) as caught:
        parmap.parallel(invert).map([1, 0])

    assert [entry.name for entry in caught.traceback][1:] == ["map", "invert"]


def invert(x):
    return 1 / x


def test_a_fault_of_ours_keeps_its_frames(monkeypatch):
    """What goes wrong in parmap itself is shown where it does."""
    monkeypatch.setattr(Run, "advance", lambda self: [].missing)

    with pytest.raises(AttributeError) as caught:
        pmap(invert, [1], executor="threads")

    assert len(caught.traceback) > 2

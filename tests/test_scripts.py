"""Whole programs, run as users run them: without a guard, from everywhere, to their very end."""

import os
import signal
import subprocess
import sys
import uuid

import pytest
from conftest import COSTLY, environment, installed, is_alive, needs_proc, with_token
from work import wait_until

pytestmark = needs_proc

EXECUTORS = ["auto", "processes", "multiprocessing", "futures", "joblib"]
LOCAL = ["serial", "threads", *EXECUTORS]


def options_of(executor):
    """Return the options for *executor*, as text; "auto" is made to leave the caller."""
    away = ', "on_error": "return"' if executor == "auto" else ""
    return f'{{"executor": {executor!r}, "workers": 2{away}}}'


FIVE_LINES = """\
from parmap import pmap
class Box:
    def __init__(self, x): self.x = x
boxes = pmap(lambda box: Box(box.x * 2), [Box(i) for i in range(5)], **OPTIONS)
print([box.x for box in boxes], {type(box) is Box for box in boxes})
"""


@pytest.mark.parametrize("how", ["file", "-c", "stdin", "cells"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_five_lines_without_a_guard(script, executor, how):
    """A lambda and a class of a script work without a guard, wherever the script comes from."""
    done = script(FIVE_LINES.replace("OPTIONS", options_of(executor)), how)

    assert done.stdout == "[0, 2, 4, 6, 8] {True}\n"
    assert done.stderr == ""


def test_five_lines_in_ipython(script):
    """The same lines work in IPython."""
    pytest.importorskip("IPython", reason="IPython is not installed")

    done = script(FIVE_LINES.replace("OPTIONS", options_of("processes")), "ipython")

    assert "[0, 2, 4, 6, 8] {True}\n" in done.stdout
    assert "Traceback" not in done.stderr


REDEFINED = """\
from parmap import parallel, pmap
@parallel
def f(x): return Thing(x)
class Thing:
    def __init__(self, x): self.x = x
    def value(self): return self.x + 1
options = OPTIONS
print([type(t) is Thing and t.value() for t in f.map([1, 2], **options)])
# %%
class Thing:
    def __init__(self, x): self.x = x
    def value(self): return self.x + 100
print([type(t) is Thing and t.value() for t in f.map([1, 2], **options)])
# %%
offset = 1000
def f(x): return x + offset
print(pmap(f, [1, 2], **options))
# %%
offset = 2000
print(pmap(f, [1, 2], **options))
"""


@pytest.mark.parametrize("executor", ["processes", "joblib"])
def test_redefinitions_in_a_notebook_count(script, executor):
    """A cell that defines a class, a function or a global anew changes the next call."""
    done = script(REDEFINED.replace("OPTIONS", options_of(executor)), "cells")

    assert done.stdout == "[2, 3]\n[101, 102]\n[1001, 1002]\n[2001, 2002]\n"
    assert done.stderr == ""


CASES = {
    "cache": """
import functools

@functools.cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

@functools.lru_cache(maxsize=None)
def square(n):
    return n * n

print(pmap(fib, range(10), **options) == list(map(fib, range(10))))
print(pmap(lambda n: fib(n) + square(n), range(5), **options) == [0, 2, 5, 11, 19])
""",
    "cached method": """
import functools

class Table:
    @functools.cache
    def row(self, n):
        return n + 1

print(pmap(Table().row, range(3), **options) == [1, 2, 3])
""",
    "dataclass": """
import dataclasses

@dataclasses.dataclass
class Plain:
    x: int

@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Slotted:
    x: int = 0
    y: list = dataclasses.field(default_factory=list)

plain = pmap(lambda p: Plain(p.x + 1), [Plain(1)], **options)
print(plain == [Plain(2)] and type(plain[0]) is Plain)
slotted = pmap(lambda p: dataclasses.replace(p, x=p.x + 1), [Slotted(1)], **options)
print(slotted == [Slotted(2)] and isinstance(slotted[0], Slotted))
print(pmap(Plain, [3], **options) == [Plain(3)])
""",
    "enum": """
import enum

class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"
    def other(self):
        return Colour.BLUE if self is Colour.RED else Colour.RED

class Bits(enum.IntFlag):
    A = 1
    B = 2

back = pmap(lambda c: c.other(), [Colour.RED, Colour.BLUE], **options)
print(back[0] is Colour.BLUE and back[1] is Colour.RED)
print(pmap(Colour, ["red"], **options)[0] is Colour.RED)
print(pmap(lambda b: b | Bits.B, [Bits.A], **options) == [Bits.A | Bits.B])
""",
    "namedtuple": """
import collections
import typing

class Pair(typing.NamedTuple):
    left: int
    right: int = 2

Old = collections.namedtuple("Old", "a b")
pairs = pmap(lambda p: p._replace(left=p.right), [Pair(1)], **options)
print(pairs == [Pair(2, 2)] and type(pairs[0]) is Pair)
print(type(pmap(Old._make, [(1, 2)], **options)[0]) is Old)
print(pstarmap(lambda left, right: left * right, [Pair(3, 4)], **options) == [12])
""",
    "classes": """
import abc

class Base(abc.ABC):
    made = []
    @abc.abstractmethod
    def area(self): ...
    @property
    def twice(self): return 2 * self.area()

class Square(Base):
    __slots__ = ("side",)
    def __init__(self, side): self.side = side
    def area(self): return self.side ** 2
    def __call__(self, k): return super().twice * k
    @classmethod
    def unit(cls, k): return cls(k)
    @staticmethod
    def half(x): return x / 2

print(pmap(Square(3), [1, 2], **options) == [18, 36])
print(pmap(Square.area, [Square(2)], **options) == [4])
print(pmap(Square.half, [4], **options) == [2])
(unit,) = pmap(Square.unit, [5], **options)
print(type(unit) is Square and isinstance(unit, Base) and unit.twice == 50)
""",
    "error": """
class Mine(Exception):
    def __init__(self, code, *, why):
        super().__init__(code)
        self.why = why

def fail(x):
    raise Mine(x, why="because")

try:
    pmap(fail, [1], **options | {"on_error": "raise"})
except Mine as error:
    print(error.args == (1,) and error.why == "because" and "in fail" in TEXT(error))
(failure,) = pmap(fail, [1], **options | {"on_error": "return"})
print(type(failure.exception) is Mine)
""",
    "parallel": """
@parallel
def area(w, h=1):
    return w * h

class Scale:
    def __init__(self, k): self.k = k
    @parallel
    def scaled(self, x): return self.k * x
    @staticmethod
    @parallel
    def halved(x): return x / 2

print(area(2, 3) == 6)
print(area.map([1, 2], [3, 4], **options) == [3, 8])
print(area.starmap([(1, 2)], **options) == [2])
print(list(area.imap([1, 2], **options)) == [1, 2])
print(pmap(area, [1, 2], **options) == [1, 2])
print(pmap(lambda x: area(x, 2), [1, 2], **options) == [2, 4])
print(Scale(3).scaled(2) == 6 and Scale(3).scaled.map([1, 2], **options) == [3, 6])
print(Scale.halved(2) == 1 and Scale.halved.map([2, 4], **options) == [1, 2])
""",
    "initializer": """
def load(name):
    global model
    model = name

def use(x):
    return model + str(x)

for name in ["first", "second"]:
    found = pmap(use, range(20), chunksize=1, initializer=functools.partial(load, name), **options)
    print(found == [name + str(x) for x in range(20)])
""",
    "nested": """
def inner(x):
    return x + 1, os.getpid()

def outer(n):
    return pmap(inner, range(n)), os.getpid()

for got, pid in pmap(outer, [2, 3], **options):
    print({p for _, p in got} == {pid} and [x for x, _ in got] == list(range(1, len(got) + 1)))
""",
    "attrs": """
import attrs

@attrs.define
class Thing:
    x: int = attrs.field(validator=attrs.validators.ge(0))

(back,) = pmap(lambda t: attrs.evolve(t, x=t.x + 1), [Thing(1)], **options)
print(back == Thing(2) and type(back) is Thing)
(failure,) = pmap(Thing, [-1], **options | {"on_error": "return"})
print(type(failure.exception) is ValueError)
""",
    "pydantic": """
import pydantic

class Order(pydantic.BaseModel):
    n: int
    tags: list[str] = []

    @pydantic.field_validator("n")
    @classmethod
    def positive(cls, value):
        if value < 0:
            raise ValueError("must not be negative")
        return value

class Outer(pydantic.BaseModel):
    order: Order

def make(n):
    return Outer(order=Order(n=n, tags=["t"]))

(back,) = pmap(make, ["4"], **options)
print(back == make(4) and type(back.order) is Order)
print(pmap(lambda o: o.order.n, [make(5)], **options) == [5])
(failure,) = pmap(make, [-1], **options | {"on_error": "return"})
print("must not be negative" in failure.traceback)
""",
}
HEAD = """\
import functools
import os
import traceback
from parmap import parallel, pmap, pstarmap
TEXT = lambda error: "".join(traceback.format_exception(error))
options = {}
"""
EXTRAS = {"attrs", "pydantic"}


def printed(case):
    """Return how many lines *case* prints: two for what is in its loop."""
    return case.count("print(") + ("\nfor " in case)


@pytest.mark.parametrize("how", ["file", "-c"])
@pytest.mark.parametrize("case", CASES)
def test_what_main_defines_works_in_processes(script, case, how):
    """Functions and classes of `__main__` work in our workers and come back as they were."""
    if case in EXTRAS:
        pytest.importorskip(case, reason=f"{case} is not installed")

    done = script(HEAD.format(options_of("processes")) + CASES[case], how)

    assert done.stdout == "True\n" * printed(CASES[case])
    assert done.stderr == ""


@pytest.mark.parametrize("executor", [name for name in LOCAL if name != "processes"])
def test_what_main_defines_works_everywhere(script, executor):
    """The same functions and classes of one script work on every executor."""
    cases = [text for case, text in CASES.items() if case not in EXTRAS or installed(case)]
    if executor == "serial":  # Nothing is nested in the caller.
        cases.remove(CASES["nested"])
    source = HEAD.format(options_of(executor)) + "".join(cases)

    done = script(source)

    assert done.stdout == "True\n" * sum(map(printed, cases))
    assert done.stderr == ""


HARD = """
import functools
from pickle import PicklingError
from parmap import pmap

@functools.singledispatch
def kind(x):
    return "object"

@kind.register
def _(x: int):
    return "int"

class Table:
    @functools.cached_property
    def size(self):
        return 7

for fn, items in [(kind, [1, "a"]), (lambda x: kind(x), [1]), (lambda t: t.size, [Table()])]:
    try:
        print(pmap(fn, items, executor="EXECUTOR", workers=2) == list(map(fn, items)))
    except (PicklingError, TypeError) as error:
        print("cannot be pickled" in str(error) and ("fn" in str(error) or "args" in str(error)))
    print(pmap(abs, [-1], executor="EXECUTOR", workers=2) == [1])
"""


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_cloudpickle_cannot_send_works_or_is_a_clear_error(script, executor):
    """A dispatching function or a cached property: the right answer, or the path to the culprit."""
    done = script(HARD.replace("EXECUTOR", executor))

    assert done.stdout == "True\n" * 6
    assert done.stderr == ""


HALF = """\
import itertools
from parmap import pimap
results = pimap(lambda x: x + 1, itertools.count(), executor="EXECUTOR", workers=2)
print(next(results), next(results))
"""


@pytest.mark.parametrize("executor", LOCAL)
def test_a_program_may_end_in_the_middle_of_a_lazy_map(script, executor):
    """With a half consumed pimap the interpreter ends: silent, and alone."""
    done = script(HALF.replace("EXECUTOR", executor))

    assert done.stdout == "1 2\n"
    assert done.stderr == ""


LOST = """\
import gc, itertools, sys
from parmap import pimap, pmap, shutdown
options = {"executor": "EXECUTOR", "workers": 2}
class Lost: pass
def lose():
    lost = Lost()
    lost.itself = lost
    lost.results = pimap(abs, itertools.count(), **options)
    return next(lost.results)
gc.disable()
events = {"subprocess.Popen", "_thread.start_new_thread", "socket.__new__", "os.posix_spawn"}
sys.addaudithook(lambda event, args: event in events and gc.collect())
for n in range(ROUNDS):
    if n % 2:
        gc.set_threshold(10 * n, 1, 1)
        gc.enable()
    assert lose() == 0
    assert pmap(abs, range(50), chunksize=1, **options) == list(range(50))
    gc.disable()
    shutdown()
print("done")
"""


@pytest.mark.parametrize("executor", LOCAL)
def test_the_collector_may_close_a_lazy_map_in_the_middle_of_a_call(script, executor):
    """A map lost in a reference cycle does not disturb the call during which it is found."""
    rounds = 2 if executor in COSTLY else 10

    done = script(LOST.replace("EXECUTOR", executor).replace("ROUNDS", str(rounds)))

    assert done.stdout == "done\n"
    assert done.stderr == ""


UNCAUGHT = """\
from parmap import pmap
def broken(x):
    return [][x]
pmap(broken, range(100), executor="EXECUTOR", workers=2)
"""


@pytest.mark.parametrize("executor", LOCAL)
def test_an_uncaught_error_ends_a_program_with_its_traceback(script, executor):
    """The traceback shows the worker's line and the task, once; no process is left."""
    done = script(UNCAUGHT.replace("EXECUTOR", executor), check=False)

    assert done.returncode == 1
    assert not done.left
    assert "in broken" in done.stderr
    assert done.stderr.count("return [][x]") == 1
    assert "IndexError: list index out of range" in done.stderr.splitlines()
    assert done.stdout == ""


FORK = """\
import os, sys
from parmap import pmap
def square(x): return x * x
expected = [0, 1, 4, 9]
assert pmap(square, range(4), executor="processes", workers=2) == expected
pid = os.fork()
if not pid:
    right = pmap(square, range(4), executor="processes", workers=2) == expected
    sys.exit(0 if right else 1)
status = os.waitpid(pid, 0)[1]
again = pmap(square, range(4), executor="processes", workers=2) == expected
print(os.waitstatus_to_exitcode(status), again)
"""


def test_a_forked_child_has_workers_of_its_own(script):
    """After os.fork() the child forgets the warm workers, the parent keeps them."""
    done = script(FORK)

    assert done.stdout == "0 True\n"
    assert done.stderr == ""


AT_EXIT = """\
import atexit
atexit.register(lambda: print(pmap(lambda x: x + 1, range(3), executor="processes", workers=2)))
from parmap import pmap
pmap(abs, range(3), executor="processes", workers=2)
"""


def test_a_map_works_at_exit(script):
    """A call from an atexit function works, even one that runs after ours."""
    done = script(AT_EXIT)

    assert done.stdout == "[1, 2, 3]\n"
    assert done.stderr == ""


DAEMON = """\
import multiprocessing
from parmap import pmap
def work(queue):
    queue.put(pmap(lambda x: x + 1, range(3), executor="processes", workers=2))
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=work, args=(queue,), daemon=True)
    process.start()
    print(queue.get())
    process.join()
    print(process.exitcode)
"""


def test_a_map_works_in_a_daemon(script):
    """A daemonic process, which may have no children by the rules, has its map."""
    done = script(DAEMON)

    assert done.stdout == "[1, 2, 3]\n0\n"
    assert done.stderr == ""


INSIDE = """\
import joblib
from concurrent.futures import ThreadPoolExecutor
from parmap import pmap
def double(x): return 2 * x
def theirs(n):
    with ThreadPoolExecutor(2) as pool:
        return joblib.Parallel(n_jobs=2)(joblib.delayed(double)(x) for x in range(n)), list(
            pool.map(double, range(n)))
print(pmap(theirs, [2, 3], executor="EXECUTOR", workers=2))
"""


@pytest.mark.parametrize("executor", ["processes", "joblib"])
def test_pools_inside_tasks_work_and_the_program_ends(script, executor):
    """Pools of joblib and threads inside our workers work, and nothing keeps the process."""
    done = script(INSIDE.replace("EXECUTOR", executor))

    assert done.stdout == "[([0, 2], [0, 2]), ([0, 2, 4], [0, 2, 4])]\n"


PRINTING = """\
import sys
from parmap import pmap
def task(x):
    print("out", x)
    print("err", x, file=sys.stderr)
    if x == 2:
        import os
        os._exit(1)
pmap(task, range(3), executor="processes", workers=1, chunksize=1, on_error="return")
"""


def test_what_tasks_print_is_not_lost(script):
    """What a task prints appears, even if its worker dies right afterwards."""
    done = script(PRINTING)

    lines = done.stdout.splitlines()
    assert lines[:2] == ["out 0", "out 1"]
    assert lines[2:] in ([], ["out 2"])  # What os._exit found in the buffer is the task's own loss.
    assert done.stderr.splitlines() == ["err 0", "err 1", "err 2"]


ORPHANS = """\
import sys
from functools import partial
sys.path.insert(0, TESTS)
import work
from parmap import pmap
pids = pmap(partial(work.meet, FOLDER, 2), range(2), executor="processes", workers=2, chunksize=1)
print(*pids, flush=True)
sys.stdin.read()
"""


def test_workers_die_with_their_parent(tmp_path):
    """When the parent is killed its workers end by themselves."""
    token = uuid.uuid4().hex
    (tmp_path / "meet").mkdir()
    source = ORPHANS.replace("TESTS", repr(os.path.dirname(__file__)))
    source = source.replace("FOLDER", repr(str(tmp_path / "meet")))
    with subprocess.Popen(
        [sys.executable, "-c", source],
        env=environment(token),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            pids = [int(pid) for pid in process.stdout.readline().split()]
            assert len(pids) == 2
            assert all(map(is_alive, pids))
        finally:
            process.send_signal(signal.SIGKILL)

    wait_until(lambda: not with_token(token), "the workers to follow their parent", 30)


PATHS = """\
import os, pathlib, sys
from parmap import pmap
options = {"executor": "EXECUTOR", "workers": 2}
print(pmap(abs, [-1], **options))
for name in ("one", "two"):
    pathlib.Path(name).mkdir()
pathlib.Path("one/from_path.py").write_text("def f(x): return x + 1")
pathlib.Path("two/file.txt").write_text("found")
sys.path.insert(0, os.path.abspath("one"))
import from_path
print(pmap(from_path.f, [1], **options))
os.chdir("two")
print(pmap(lambda name: open(name).read(), ["file.txt"], **options))
"""


@pytest.mark.parametrize("executor", ["processes", "multiprocessing", "futures"])
def test_workers_follow_the_path_and_the_folder_of_the_caller(script, executor):
    """A change of sys.path or of the working directory counts for the next call, as in a loop."""
    done = script(PATHS.replace("EXECUTOR", executor))

    assert done.stdout == "[1]\n[2]\n['found']\n"

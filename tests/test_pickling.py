"""What the tasks of other processes are made of: code, classes, modules, context, files."""

import contextvars
import copyreg
import dataclasses
import functools
import importlib.util
import io
import logging
import pickle
import sys
import tempfile
import types
from functools import partial
from pickle import PicklingError

import numpy as np
import pytest
import work
from conftest import needs_proc

from parmap import pmap
from parmap._wire.pickling import dumps

OPTIONS = 'options = [{"executor": name, "workers": 2} for name in EXECUTORS]\n'
AUTO = 'options.append({"executor": "auto", "workers": 2, "on_error": "return"})\n'
NAMES = ["processes", "multiprocessing", "futures", "joblib"]
HEAD = OPTIONS.replace("EXECUTORS", repr(NAMES)) + AUTO


# Programs whose functions are not where their module says


CHILD = (
    """\
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from parmap import pmap

class Box:
    def __init__(self, x): self.x = x

class Mine(Exception):
    pass

def double(box):
    if box.x == 3:
        raise Mine("three")
    return Box(2 * box.x)

def work(options):
    boxes = pmap(double, [Box(n) for n in range(3)], **options)
    right = [box.x for box in boxes] == [0, 2, 4] and {type(box) for box in boxes} == {Box}
    (failure,) = pmap(double, [Box(3)], **options | {"on_error": "return"})
    lambdas = pmap(lambda n: Box(n).x, [5], **options) == [5]
    if options["executor"] == "joblib":  # its idle workers keep a child of multiprocessing alive
        from joblib.externals.loky import get_reusable_executor
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
    return right, type(failure.exception) is Mine, lambdas

def tell(options):
    for each in options:
        print(*work(each), flush=True)

"""
    + HEAD
    + """
if __name__ == "__main__":
    context = multiprocessing.get_context("METHOD")
"""
)
AS_PROCESS = """\
    process = context.Process(target=tell, args=(options,))
    process.start()
    process.join()
"""
AS_TASK = """\
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        for each in options:
            print(*pool.submit(work, each).result())
"""


@pytest.mark.parametrize("how", [AS_PROCESS, AS_TASK], ids=["process", "task"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@needs_proc
def test_a_child_of_the_script_maps_what_the_script_defines(script, method, how):
    """In every child of multiprocessing, the script's functions and classes work as in its main."""
    done = script(CHILD.replace("METHOD", method) + how)

    assert done.stdout == "True True True\n" * 5


PACKAGE = """\
import os, sys
from parmap import pmap
class Box:
    def __init__(self, x): self.x = x
def double(box): return Box(2 * box.x)
def run(options):
    boxes = pmap(double, [Box(1)], **options)
    return [(box.x, type(box) is Box) for box in boxes]
"""
STARTS = {
    "python -m package": """\
import pathlib, subprocess, sys
pathlib.Path("package").mkdir()
pathlib.Path("package/__main__.py").write_text(SOURCE)
subprocess.run([sys.executable, "-m", "package"])
""",
    "runpy.run_path": """\
import pathlib, runpy
pathlib.Path("other.py").write_text(SOURCE)
runpy.run_path("other.py")
""",
    "runpy.run_path as a name": """\
import pathlib, runpy
pathlib.Path("other.py").write_text(SOURCE)
runpy.run_path("other.py", run_name="somebody")
""",
    "runpy.run_path as main": """\
import pathlib, runpy
pathlib.Path("other.py").write_text(SOURCE)
runpy.run_path("other.py", run_name="__main__")
""",
}


@pytest.mark.parametrize("start", STARTS)
@needs_proc
def test_whatever_stands_for_the_script_travels(script, start):
    """A program that is run as a package, or by another program, maps what it defines."""
    source = PACKAGE + HEAD + "for each in options: print(run(each), flush=True)\n"

    done = script(STARTS[start].replace("SOURCE", repr(source)))

    assert done.stdout == "[(2, True)]\n" * 5
    assert done.stderr == ""


# Tracebacks


WHERE = """\
from parmap import pmap
def broken(x):
    return [][x]
for each in options:
    (failure,) = pmap(broken, [1], **each | {"on_error": "return"})
    code = pmap(lambda f: f.__code__.co_filename, [broken], **each)
    print("script.py" in failure.traceback, "return [][x]" in failure.traceback, code[0][-9:])
"""


@needs_proc
def test_functions_of_the_script_say_where_they_stand(script):
    """A traceback of a worker names the script's file, and shows its line."""
    done = script(HEAD + WHERE)

    assert done.stdout == "True True script.py\n" * 5


# Modules that cannot be imported


SOURCE = """\
import enum
FACTOR = 10
class Thing:
    made = 0
    def __init__(self, x): self.x = x
    def value(self): return FACTOR * self.x
class Colour(enum.Enum):
    RED = 1
class Mine(Exception):
    pass
def grow(thing):
    if thing.x < 0:
        raise Mine(thing.x)
    return Thing(thing.x + 1)
def value(x): return FACTOR * x
def red(x): return Colour.RED
"""


def by_path(folder, name):
    """Load the source as a plugin is loaded: from a folder that is on no path."""
    (folder / f"{name}.py").write_text(SOURCE)
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_hand(folder, name):
    """Make a module of the source, with no file behind it."""
    module = sys.modules[name] = types.ModuleType(name)
    exec(SOURCE, vars(module))
    return module


def in_package(folder, name):
    """Load the source as pytest's importlib mode does: below packages that are no packages."""
    sys.modules[f"{name}_tests"] = types.ModuleType(f"{name}_tests")
    return by_path(folder, f"{name}_tests.{name}")


def deleted(folder, name):
    """Import the source as a package, and delete that."""
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(f"{name}.inner")
    finally:
        sys.path.remove(str(folder))
    for file in package.glob("*.py"):
        file.unlink()
    return module


def off_the_path(folder, name):
    """Import the source from a folder that is on the path only meanwhile."""
    (folder / f"{name}.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def shadowed(folder, name):
    """Load the source by path, while there is another module of that name on the path."""
    other = folder / "other"
    other.mkdir()
    (other / f"{name}.py").write_text("class Thing: pass\ndef grow(thing): return 'wrong'\n")
    sys.path.insert(0, str(other))
    return by_path(folder, name)


HOMELESS = [by_path, by_hand, in_package, deleted, off_the_path, shadowed]


@pytest.fixture(params=HOMELESS, ids=lambda make: make.__name__)
def homeless(request, tmp_path, monkeypatch):
    """A module that no fresh interpreter can import by its name."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    name = f"homeless_{request.param.__name__}"
    yield request.param(tmp_path, name)
    for added in set(sys.modules) - before:
        if added.startswith("homeless_"):
            del sys.modules[added]


def test_functions_of_a_module_that_cannot_be_imported_travel(homeless, abroad):
    """Its functions run, and results and errors come back as objects of its own classes."""
    things = pmap(homeless.grow, [homeless.Thing(n) for n in range(3)], **abroad.options)

    assert [thing.value() for thing in things] == [10, 20, 30]
    assert {type(thing) for thing in things} == {homeless.Thing}
    assert pmap(homeless.red, [1], **abroad.options)[0] is homeless.Colour.RED
    with pytest.raises(homeless.Mine):
        pmap(homeless.grow, [homeless.Thing(-1)], **abroad.options)


def test_items_of_a_module_that_cannot_be_imported_travel(homeless, abroad_cheaply):
    """A function of elsewhere gets its objects, deep inside the items too, and returns them."""
    thing = homeless.Thing(1)
    items = [thing, {"deep": [thing]}, homeless.Thing]

    results = pmap(work.echo, items, **abroad_cheaply.options)

    assert type(results[0]) is homeless.Thing
    assert type(results[1]["deep"][0]) is homeless.Thing
    assert results[2] is homeless.Thing


def test_a_module_that_cannot_be_imported_travels_inside_a_function(homeless, abroad_cheaply):
    """A function that uses it, as a module or by its names, finds it."""
    grow = homeless.grow

    assert pmap(lambda x: homeless.value(x), [2], **abroad_cheaply.options) == [20]
    (thing,) = pmap(lambda x: grow(homeless.Thing(x)), [2], **abroad_cheaply.options)
    assert type(thing) is homeless.Thing


def test_the_name_of_a_module_that_cannot_be_imported_need_not_be_ascii(
    tmp_path, monkeypatch, abroad_cheaply
):
    """Its objects travel too if the name is longer in bytes than in letters."""
    monkeypatch.setitem(sys.modules, "obdachl\xf6s", None)
    module = by_hand(tmp_path, "obdachl\xf6s")

    (thing,) = pmap(work.echo, [module.Thing(1)], **abroad_cheaply.options)

    assert type(thing) is module.Thing


def test_what_cannot_be_told_is_learnt_from_the_worker(abroad):
    """Where only a worker can tell that a module cannot be imported, the map works as well."""

    class Own(types.ModuleType):
        pass

    name = f"odd_{abs(hash(abroad.name))}"
    module = sys.modules[name] = Own(name)
    exec(SOURCE, vars(module))
    try:
        results = pmap(work.echo, [[module.Thing(1)]], **abroad.options)
        assert type(results[0][0]) is module.Thing
        (thing,) = pmap(module.grow, [module.Thing(1)], **abroad.options)
        assert type(thing) is module.Thing
    finally:
        del sys.modules[name]


def test_a_class_that_comes_back_is_as_it_was(homeless, abroad_cheaply):
    """The caller's class keeps its own methods and attributes when results of it come back."""
    copyreg._slotnames(homeless.Thing)  # else pickle leaves a mark
    before = dict(vars(homeless.Thing))
    value = homeless.Thing.value

    pmap(homeless.grow, [homeless.Thing(1)], **abroad_cheaply.options)

    assert homeless.Thing.value is value
    assert dict(vars(homeless.Thing)) == before


def test_a_changed_class_travels_as_it_is(abroad_cheaply):
    """An attribute of a class that travels by value is seen by the next call, whatever it was."""

    class Counter:
        step = 1

        def add(self, x):
            return x + self.step

    counter = Counter()
    for step in (1, 100, 1):
        Counter.step = step
        assert pmap(counter.add, [1], **abroad_cheaply.options) == [1 + step]


def test_what_the_user_registers_travels_by_value(abroad_cheaply):
    """A module given to cloudpickle's `register_pickle_by_value` is sent whole, and stays there."""
    cloudpickle = pytest.importorskip("cloudpickle")
    here = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(here)
    try:
        assert pmap(where_made, [1], **abroad_cheaply.options) == [False]
        assert cloudpickle.list_registry_pickle_by_value() == {__name__}
    finally:
        cloudpickle.unregister_pickle_by_value(here)
    assert not cloudpickle.list_registry_pickle_by_value()


# Functions that need no cloudpickle


PLAIN = """\
import concurrent, concurrent.futures, functools, math, os.path, sys
from parmap import pmap

COUNT = 0
FACTOR = 2
DATA = list(range(3))

def outer(f):
    @functools.wraps(f)
    def inner(*args): return f(*args)
    inner.mark = "marked"
    return inner

def factorial(n): return n * factorial(n - 1) if n else 1  # its global is itself

def count():
    global COUNT
    COUNT += 1
    return COUNT

@outer
def told(n: int, *, far: "str" = "away") -> list:
    "What it says."
    return n, far

def closed():
    later = None
    def even(n): return n == 0 or odd(n - 1)  # cells that hold each other
    def odd(n): return n != 0 and even(n - 1)
    def empty():
        return missing
    if later:
        missing = 1
    return lambda n: (even(n), odd(n), empty.__closure__[0] == type(empty.__closure__[0])())

def task(n):
    pool = concurrent.futures.ThreadPoolExecutor.__name__
    about = told.__name__, told.__doc__, told.__annotations__, told.mark, told.__wrapped__(n)
    return count(), count(), COUNT, factorial(n), math.floor(FACTOR * n), DATA[n], pool, about

def loaded(n): return "cloudpickle" in sys.modules

options = {"executor": "EXECUTOR", "workers": 1}
(one,) = pmap(task, [2], **options)
assert one == (1, 2, 2, 2, 4, 2, "ThreadPoolExecutor", (
    "told", "What it says.", {"n": int, "far": "str", "return": list}, "marked", (2, "away"))), one
assert pmap(closed(), [3], **options) == [(False, True, True)]
assert pmap(lambda n: (n, told(n)), [3], **options) == [(3, (3, "away"))]
if "EXECUTOR" == "processes":
    assert pmap(loaded, [0], **options) == [loaded(0)] == [False]
print("done")
"""


@pytest.mark.parametrize("executor", NAMES)
def test_plain_functions_of_the_script_are_what_they_were(script, executor):
    """They find globals, cells, attributes and submodules; our own workers need no cloudpickle."""
    assert script(PLAIN.replace("EXECUTOR", executor)).stdout == "done\n"


@pytest.mark.parametrize("name", ["argparse", "dataclasses", "inspect", "tarfile", "typing"])
def test_the_globals_of_a_function_are_found_as_cloudpickle_does(name):
    """In whatever code, the names are those that cloudpickle finds, in its order."""
    from cloudpickle.cloudpickle import _extract_code_globals

    from parmap._wire.plain_functions import _global_names

    many = "def f():\n" + "".join(f"    a{n}.b = c{n}(d, e=f)\n    del g{n}\n" for n in range(300))
    names = " global " + ", ".join(f"g{n}" for n in range(300))
    codes = [
        importlib.import_module(name).__spec__.loader.get_code(name),
        compile(many.replace("\n", f"\n   {names}\n", 1), "many", "exec"),
    ]
    for code in codes:  # which grows
        assert list(_global_names(code)) == list(_extract_code_globals(code))
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    assert len(codes) > 50


def test_what_is_not_plain_is_left_to_cloudpickle():
    """A function that holds what pickle takes for something else travels as cloudpickle does it."""
    from parmap._wire.plain_functions import FunctionPickler

    class Local: ...

    field = dataclasses.field()
    kind_of = functools.singledispatch(lambda n: "object")
    bound = types.MethodType(lambda self, n: (self, n), 5)
    for held in (Local, Local(), bound, field, types.MappingProxyType({}), {}.keys(), kind_of):
        with pytest.raises((TypeError, PicklingError)):
            FunctionPickler(io.BytesIO(), None, {}).dump(lambda held=held: held)
    assert pmap(lambda n: bound(n), [1, 2], executor="processes", workers=1) == [(5, 1), (5, 2)]


def where_made(_):
    """Tell whether this function is the one that its module has."""
    return getattr(sys.modules.get(__name__), "where_made", None) is where_made


def test_what_can_be_imported_travels_by_name():
    """Functions and classes of installed modules, of packages and of these tests are not copied."""
    import email.mime.text
    import json.decoder

    for thing in (work.double, np.sum, np.linalg.norm, email.mime.text.MIMEText, pmap, abs):
        assert len(dumps(thing)) < 100
    assert len(dumps(lambda: (work.double, np.linalg, json.decoder))) < 2000


# What cloudpickle refuses


REFUSED = """\
import contextvars, functools, logging, sys
from parmap import parallel, pmap

class Table:
    def __init__(self, n): self.n = n
    @functools.cached_property
    def size(self): return 7 * self.n

@functools.singledispatch
def kind(x): return "object"
@kind.register
def _(x: int): return "int"
@kind.register(Table)
def _(x): return "table" + kind(x.n)
kind.extra = 5

class Shape:
    @functools.singledispatchmethod
    def area(self, x): return "object"
    @area.register
    def _(self, x: int): return "int" + self.area("s")

var = contextvars.ContextVar("var", default="default")
unset = contextvars.ContextVar("unset")
log = logging.getLogger("some.logger")
last = logging.lastResort
named = logging.NullHandler()
named.name = "a name"

def get(_):
    try:
        unset.get()
    except LookupError:
        return var.get()

def fall(_): return logging.lastResort is last, last.level, log.name

for each in options:
    print(
        pmap(lambda t: t.size, [Table(1), Table(2)], **each) == [7, 14],
        pmap(kind, [1, "a", Table(1)], **each) == ["int", "object", "tableint"],
        pmap(lambda x: (kind(x), kind.extra, kind.__name__), [1], **each) == [("int", 5, "kind")],
        pmap(Shape().area, [1, "a"], **each) == ["intobject", "object"],
        pmap(fall, [1], **each) == [(True, logging.WARNING, "some.logger")],
        pmap(get, [1], **each) == ["default"],
        flush=True,
    )
    for value in ("A", "B", "A", [1], "B"):
        token = var.set(value)
        assert pmap(get, [1, 2], **each) == [value] * 2, (each, value)
        var.reset(token)
    assert pmap(get, [1], **each) == ["default"]
    print(type(pmap(lambda t: t, [Table(1)], **each)[0]) is Table)
"""


@needs_proc
def test_what_cloudpickle_refuses_of_the_script_is_sent(script):
    """Cached properties, dispatching functions, context variables and handlers just work."""
    done = script(HEAD + REFUSED)

    assert done.stdout == ("True " * 5 + "True\nTrue\n") * 5
    assert done.stderr == ""


def test_a_variable_of_a_module_is_that_of_the_module(abroad_cheaply):
    """A context variable of a module is the one it has, and has the caller's value."""
    var = work.VARIABLE

    def look(_):
        return var is importlib.import_module("work").VARIABLE, var.get(None)

    for value in ("A", "B", "A"):
        token = work.VARIABLE.set(value)
        try:
            assert pmap(look, [1], **abroad_cheaply.options) == [(True, value)]
        finally:
            work.VARIABLE.reset(token)
    assert pmap(look, [1], **abroad_cheaply.options) == [(True, None)]


def test_an_initializer_may_set_a_variable():
    """What the initializer sets is what the tasks see, and a value that cannot be sent is named."""
    var = contextvars.ContextVar("var")
    var.set("caller")

    assert pmap(lambda _: var.get(), [1], executor="processes", initializer=lambda: var.set(2)) == [
        2
    ]
    var.set(lambda: sys._getframe())
    var.set(sys._getframe())
    with pytest.raises(PicklingError, match=r"fn\.<closure var>\.<value>"):
        pmap(lambda _: var.get(), [1], executor="processes")


# The module of the script, looked up


LOOKED_UP = """\
import __main__, os, sys
from parmap import pmap
X = 1
class Box: pass
def by_name(_):
    import __main__
    return __main__.X
def by_global(_): return __main__.X, os.path.basename(__main__.__file__)
def by_modules(_): return sys.modules["__main__"].Box is Box, sys.modules["__main__"] is __main__
for each in options:
    for X in (1, 2, 1):
        assert pmap(by_name, [0], **each) == [X], each
        assert pmap(by_global, [0], **each) == [(X, "script.py")], each
    print(*pmap(by_modules, [0], **each)[0], flush=True)
"""


@needs_proc
def test_the_main_module_in_a_task_is_the_callers(script):
    """What a task looks up in `__main__` is what the caller has there, at each call."""
    done = script(HEAD + LOOKED_UP)

    assert done.stdout == "True True\n" * 5
    assert done.stderr == ""


NESTED = """\
import __main__, multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
import joblib
from parmap import pmap
print("the script runs", flush=True)
def nested(how):
    file = __main__.__file__
    if how == "joblib":
        return joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(x) for x in [-1, -2])
    context = multiprocessing.get_context(how)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        first = list(pool.map(abs, [-1, -2]))
    with context.Pool(2) as pool:
        return first if first == pool.map(abs, [-1, -2]) else None
for each in options:
    print(pmap(nested, ["spawn", "forkserver", "joblib"], **each, chunksize=1), flush=True)
"""


@needs_proc
def test_a_pool_in_a_task_does_not_run_the_script_again(script):
    """Neither multiprocessing nor joblib, used inside a task, imports the caller's script."""
    done = script('options = [{"executor": "processes", "workers": 2}]\n' + NESTED)

    assert done.stdout == "the script runs\n[[1, 2], [1, 2], [1, 2]]\n"


# Arrays that are files


def file_of(folder, shape=(20, 10), mode="w+", **options):
    array = np.memmap(folder / "array.dat", np.int32, "w+", shape=shape, **options)
    array[...] = np.arange(array.size).reshape(shape)
    array.flush()
    if mode == "w+":
        return array
    return np.memmap(folder / "array.dat", np.int32, mode, shape=shape, **options)


VIEWS = {
    "itself": lambda a: a,
    "a slice": lambda a: a[3:9],
    "every other": lambda a: a[::2, ::3],
    "backwards": lambda a: a[::-1, 1:],
    "reshaped": lambda a: a.reshape(10, 20, order="A"),
    "transposed": lambda a: a.T,
    "an array": np.asarray,
    "a part of an array": lambda a: np.asarray(a)[5:].T[2:],
    "of another type": lambda a: a.view(np.int32).view(np.uint32)[1:].view(np.int32),
}


def put(array, value):
    array.flat[0] = value
    return type(array).__name__, array.shape, array.dtype.str, array.flags.writeable


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("options", [{}, {"order": "F", "offset": 4100}], ids=["C", "F"])
def test_writing_to_an_array_that_is_a_file_reaches_the_file(tmp_path, view, options, places):
    """Whatever part of the file a task gets, as an item or in its function, it writes to that."""
    whole = file_of(tmp_path, **options)
    part = VIEWS[view](whole)
    there = file_of(tmp_path, mode="r", **options)
    for name in ("processes", "joblib"):
        before = np.array(whole)
        (kind,) = pmap(partial(put, value=-1), [part], **places(name).options)
        assert kind == (type(part).__name__, part.shape, part.dtype.str, True)
        assert part.flat[0] == -1
        assert pmap(lambda x: put(part, x)[0], [-2], **places(name).options) == [kind[0]]
        assert part.flat[0] == -2
        part.flat[0] = VIEWS[view](before).flat[0]
        assert (np.asarray(whole) == before).all()
        assert (there == before).all()


def test_writing_everywhere(tmp_path, abroad):
    """A hundred tasks fill a hundred places of a file, on every executor."""
    out = file_of(tmp_path, (100,), "r+")

    def fill(i):
        out[i] = -i

    pmap(fill, range(100), **abroad.options)

    assert out.tolist() == [-i for i in range(100)]
    rows = pmap(np.sum, [out[i : i + 2] for i in range(0, 100, 2)], **abroad.options)
    assert rows == [-(4 * i + 1) for i in range(50)]


def test_an_array_that_is_a_file_is_not_copied(tmp_path):
    """Its pickle is small, and that it may be only read is kept."""
    array = file_of(tmp_path, (1000, 1000), "r")

    assert len(dumps(array)) < 1000
    assert len(dumps(lambda: array)) < 2000
    arrived = pickle.loads(dumps(array[10:]))
    assert type(arrived) is np.memmap
    assert arrived.mode == "r"
    assert not arrived.flags.writeable
    assert len(dumps(arrived[5:])) < 1000
    assert (pickle.loads(dumps(arrived[5:])) == array[15:]).all()


@pytest.mark.parametrize("fate", ["copy-on-write", "deleted", "replaced", "unnamed", "empty"])
def test_a_map_that_is_not_what_the_file_holds_travels_by_value(tmp_path, fate):
    """The tasks get the content that the caller sees, whatever became of the file."""
    array = file_of(tmp_path, mode="c" if fate == "copy-on-write" else "r+")
    path = tmp_path / "array.dat"
    if fate == "copy-on-write":
        array[0] = -5
    elif fate == "deleted":
        path.unlink()
    elif fate == "replaced":
        dumps(array)  # it may be remembered what it was
        (tmp_path / "new").write_bytes(bytes(array.nbytes))
        (tmp_path / "new").rename(path)
    elif fate == "unnamed":
        with tempfile.TemporaryFile() as file:
            array = np.memmap(file, np.int32, "w+", shape=(20, 10))
            array[...] = 3
    else:
        array = array[:0]
    before = np.array(array)

    (arrived,) = pmap(np.array, [array], executor="processes")

    assert (arrived == before).all()
    assert arrived.shape == before.shape


def test_a_library_in_the_middle_of_its_import_is_left_alone(script):
    """Two threads pickle while a third imports numpy, and nothing of it is looked up half-made."""
    done = script(HALF_MADE)

    assert done.stdout == "done\n"
    assert done.stderr == ""


HALF_MADE = """\
import sys, threading
from parmap._wire.pickling import dumps
stop = False
def pickle():
    while not stop:
        dumps([1, {"a": (2,)}])
threads = [threading.Thread(target=pickle) for _ in range(2)]
for thread in threads: thread.start()
sys.setswitchinterval(1e-5)
import numpy
stop = True
for thread in threads: thread.join()
dumps(numpy.arange(3))
print("done")
"""


# For whoever adds to it


class Odd:
    """Refuses to be pickled."""

    def __reduce__(self):
        raise TypeError("odd")


@pytest.mark.parametrize("more", [[], [lambda: None]], ids=["plain", "cloud"])
def test_a_reducer_for_a_call_is_asked_first(more):
    """Reducers given to `dumps` are asked by whichever pickler does the work."""
    data = dumps([Odd(), *more], reducers={Odd: lambda odd: (str, ("even",))})

    assert pickle.loads(data)[0] == "even"


def test_what_is_used_of_others_is_there():
    """The private names of libraries that pickling relies on are where they were."""
    import cloudpickle

    assert types.CodeType in cloudpickle.Pickler.dispatch_table
    assert "registry" in functools.singledispatch(len).dispatch.__code__.co_freevars
    assert hasattr(logging, "_handlers")
    assert hasattr(importlib.util.find_spec("json"), "_initializing")
    plain = cloudpickle.Pickler(io.BytesIO()).reducer_override
    for thing in (lambda: None, type("Local", (), {})):
        assert len(plain(thing)) == 6

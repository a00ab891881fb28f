"""Functions that travel without cloudpickle arrive as with it."""

import io
import pickle
import sys
from types import FunctionType

import pytest

from parmap._wire.plain_functions import FunctionPickler

COMPARE = """\
import collections, concurrent.futures, contextlib, functools, io, json, math, os.path
import pickle, re, types, warnings
from parmap._wire.cloud_pickler import cloud_pickler
from parmap._wire.plain_functions import FunctionPickler

warnings.simplefilter("ignore")  # coroutines that nobody awaits
COUNT, DATA = 0, [1]
ATTRIBUTES = (
    *("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__"),
    *("__annotations__", "__dict__", "__closure__", "__globals__", "__code__", "__type_params__"),
    *("__annotate__", "__builtins__"),
)

def picture(value, known):
    "Say what *value* is made of, and which parts of it are the same."
    if value is None or isinstance(value, (str, int, bytes)):
        return repr(value)
    if id(value) in known:
        return f"<{known[id(value)][0]}>"
    known[id(value)] = len(known), value
    if isinstance(value, types.FunctionType):
        parts = [(name, getattr(value, name, None)) for name in ATTRIBUTES]
        return "function", [(name, picture(part, known)) for name, part in parts]
    if isinstance(value, dict) and "len" not in value:  # the builtins are what they are everywhere
        keys = sorted(value.keys() - {"__builtins__"}, key=str)
        return [(picture(key, known), picture(value[key], known)) for key in keys]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [picture(part, known) for part in value]
    if isinstance(value, types.CellType):
        try:
            return "cell", picture(value.cell_contents, known)
        except ValueError:
            return "empty"
    if isinstance(value, types.CodeType):
        return value.co_filename, value.co_qualname, hash(value), list(value.co_positions())
    if isinstance(value, functools.partial):
        return picture([value.func, value.args, value.keywords, vars(value)], known)
    text = type(value).__name__ if isinstance(value, dict) else repr(value)
    return re.sub("0x[0-9a-f]+", "", text)

def fact(n): return n * fact(n - 1) if n else 1
def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)
def count(n):
    global COUNT, NEW
    COUNT += n
    NEW = COUNT
    DATA.append(n)
    return NEW, DATA
def forget(n):
    global DATA
    del DATA
    return "DATA" in globals(), globals().get("COUNT")
def cells():
    n = 0
    def add():
        nonlocal n
        n += 1
        return n
    def get(unused): return n, add()
    def empty(): return missing
    if n:
        missing = 1
    return get, add, empty
def shown(f):
    @functools.wraps(f)
    def inner(*args, **kwargs): return f(*args, **kwargs)
    inner.me = [inner]
    return inner
@shown
def told(n: int, *, far: "str" = "away") -> "list[Nowhere]":
    "What it says."
    return n, far
@functools.wraps(json.dumps)
def like_another(n): return n
def generate(n): yield n
async def wait(n): return n
def default(n, f=lambda n: n + COUNT, *, g=fact): return f(n), g(n)
def itself(n, me=None): return me is itself
itself.__defaults__ = itself,
def shadow(n): return max(n)
def max(n): return "mine", n
def builtin(n): return type(__builtins__).__name__, abs(-n)
def submodule(n): return concurrent.futures.ThreadPoolExecutor.__name__, os.path.join("a", str(n))
def scopes(n): return [(k, m := k + n, COUNT) for k in range(2) if k not in {5, 6}], m
def match(n):
    match [n, {"a": n}]:
        case [int(k), {"a": math.pi | 3 as m}]: return k, m, DATA
def inner_class(n):
    class Inner:
        two = 2
        def m(self): return __class__.two, super().__repr__()[:1], COUNT
    return Inner().m()
def lost(n): return n
lost.__module__, lost.__name__, lost.__qualname__ = "nowhere", "found", "K.found"
exec("def many(n):\\n" + "".join(f" n += A{n}\\n" for n in range(600)) + " return n")
globals().update({f"A{n}": n for n in range(600)})
no_cells = types.FunctionType((lambda n: n).__code__, globals(), closure=())
keyed = {}
def key(n): return [k is key for k in keyed]
keyed[key] = key

functions = [
    fact, even, count, forget, cells()[0], told, like_another, generate, wait, default, itself,
    shadow, builtin, submodule, scopes, match, inner_class, lost, many, no_cells, key, json.dumps,
    functools.partial(told, far=3), lambda n: (lambda: (n, COUNT))(),
    contextlib.contextmanager(generate),
]
groups = [
    [even, odd], [count, forget, DATA], list(cells()), [fact, fact], [key, keyed], [builtin, max],
    [{fact: fact}, collections.deque([lambda: COUNT])],
]
for sent in (*functions, *groups):
    files = io.BytesIO(), io.BytesIO()
    FunctionPickler(files[0], None, {}).dump(sent)
    assert b"_main__" not in files[0].getvalue(), sent
    cloud_pickler()(files[1], protocol=5).dump(sent)
    pictures, results = [], []
    for file in files:
        arrived = pickle.loads(file.getvalue())
        pictures.append(picture(arrived, {}))
        if callable(sent):
            results.append(picture([arrived(3) for _ in range(1 + (sent is not forget))], {}))
    assert pictures[0] == pictures[1], pictures
    assert results[:1] == results[1:], results
print("done")
"""


def test_a_plain_function_is_what_cloudpickle_makes_of_it(script):
    """It has the same attributes, globals and cells, shares the same, and returns the same."""
    assert script(COMPARE).stdout == "done\n"


def test_a_function_without_a_module_is_left_to_cloudpickle():
    """That looks for it in all modules."""
    alone = FunctionType((lambda: 0).__code__, globals(), "alone")
    alone.__module__ = None

    with pytest.raises(pickle.PicklingError):
        FunctionPickler(io.BytesIO(), None, {}).dump(alone)


def test_a_function_has_the_same_bytes_whenever_it_is_sent(script):
    """Workers know by them what they have loaded; that it has run, and fast, changes nothing."""
    source = """\
import io, math
from parmap._wire.plain_functions import FunctionPickler
def f(n: int, *, far=lambda n: math.floor(n)): return [far(k) for k in range(n)], f.__annotations__
def sent():
    FunctionPickler(file := io.BytesIO(), None, {}).dump(f)
    return file.getvalue()
before = sent()
for _ in range(1000): f(100)
assert before == sent()
print("done")
"""
    assert script(source).stdout == "done\n"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated at once")
def test_annotations_that_only_a_type_checker_can_evaluate_travel(script):
    """They are sent as they are: the task runs, and who asks for them is told what is missing."""
    source = """\
from annotationlib import Format, get_annotations
from parmap import pmap
def f(n: Nowhere, m: list[Nowhere] = 1) -> int: return n
def task(n): return f(n), get_annotations(f, format=Format.STRING)
print(*pmap(task, [1], executor="processes", workers=1), *pmap(f, [2], executor="processes"))
"""
    names = {"n": "Nowhere", "m": "list[Nowhere]", "return": "int"}

    assert script(source).stdout == f"{(1, names)} 2\n"

"""What programs do with a map that other tests do not: kinds of input, of objects, of endings."""

import os
from types import SimpleNamespace

import pytest

from parmap import pimap, pmap
from parmap._executors import pool_workers

SLOTTED = """
from parmap import pmap

class One:
    __slots__ = ("a", "__mine")
    def __init__(self, a): self.a, self.__mine = a, 2 * a

class Two(One):
    __slots__ = "b"
    def __init__(self, a): super().__init__(a); self.b = a

class Open:
    __slots__ = {"a": "a word on it", "__dict__": "", "__weakref__": ""}
    def __init__(self, a): self.a = self.more = a

def look(x, kind=None):
    x = kind(x) if kind else x
    names = [name for cls in type(x).__mro__ for name in vars(cls) if not name.startswith("__")]
    return x, hasattr(x, "__dict__"), {n: getattr(x, n) for n in names if hasattr(x, n)}

for kind in One, Two, Open:
    for args in ([1, 2], [kind] * 2), ([kind(1), kind(2)],):
        rows = [list(map(look, *args)), pmap(look, *args, executor="EXECUTOR", workers=2)]
        kinds = {type(x) for row in rows for x, *_ in row}
        again = [[look(x)[1:] for x, *_ in row] for row in rows]
        print(rows[0][0][1:] == rows[1][0][1:], again[0] == again[1], kinds == {kind})
"""


@pytest.mark.parametrize(
    "items",
    [range(5), range(1, 6), [[1, 2], [3, 4]], list("abc"), [{}, None], [False]],
    ids=str,
)
def test_an_array_is_input_item_by_item(where, items):
    """Arrays of any length and kind are mapped as the loop goes over them."""
    np = pytest.importorskip("numpy", reason="numpy is not installed")
    array = np.array(items)
    expected = [repr(x) for x in array]
    assert pmap(repr, array, **where.options) == expected
    assert list(pimap(repr, array, **where.options)) == expected


@pytest.mark.parametrize("name", ["processes", "futures"])
def test_classes_with_slots_keep_them(script, name):
    """Objects of a script's classes with `__slots__` are the same in tasks and in results."""
    out = script(SLOTTED.replace("EXECUTOR", name)).stdout.splitlines()
    assert out == ["True True True"] * 6


NESTED = """
import dataclasses
from typing import Generic, NamedTuple, TypeVar
from parmap import pmap

class Outer:
    @dataclasses.dataclass
    class Inner:
        x: int

def local(x):
    @dataclasses.dataclass
    class Local:
        x: int
    return repr(Local(x))

T = TypeVar("T")

class Pair(NamedTuple, Generic[T]):
    a: T
    b: int = 2

class Table:
    class Row(NamedTuple):
        a: int

def pair(x):
    return repr([Pair(x), Table.Row(x), Table.Row.__qualname__, hasattr(Pair(x), "__dict__")])

for f in lambda x: repr(Outer.Inner(x)), lambda x: Outer.Inner.__qualname__, local, pair:
    print(pmap(f, [1, 2], executor="EXECUTOR", workers=2) == [f(1), f(2)])
print(*{type(x) is Outer.Inner for x in pmap(Outer.Inner, [1], executor="EXECUTOR", workers=2)})
"""


@pytest.mark.parametrize("name", ["processes", "futures"])
def test_classes_keep_their_full_name(script, name):
    """A class inside of a class has its full name in tasks, as the repr of dataclasses shows."""
    assert script(NESTED.replace("EXECUTOR", name)).stdout.split() == ["True"] * 5


class Closed:
    """Says nothing about itself."""

    def __getattribute__(self, name):
        raise RuntimeError(name)


def test_an_item_that_answers_no_question_stays_here():
    """What raises when asked for its class is refused by pickle and is nobody's failure."""

    def slow(_):
        return sum(range(300_000))

    items = [Closed() for _ in range(60)]
    assert pmap(slow, items, workers=2) == [slow(None)] * 60
    (failure,) = pmap(slow, items[:1], workers=2, executor="processes", on_error="return")
    assert failure.kind == "unpicklable"


def test_workers_are_killed_while_their_executor_closes():
    """To kill workers closes the end of their pipe once, though the executor's thread does too."""
    from multiprocessing import Pipe

    reader, writer = Pipe(duplex=False)

    class Process:
        _parent_pid = os.getpid()

        def is_alive(self):  # here the thread wakes up, and is in the middle of `close`
            if writer._handle is not None:
                os.close(writer._handle)
            return False

    queue = SimpleNamespace(_writer=writer)
    pool_workers.kill_workers(SimpleNamespace(_processes={1: Process()}, _result_queue=queue))
    with pytest.raises(EOFError):
        reader.recv()
    writer.close()
    reader.close()


@pytest.mark.parametrize("name", ["auto", "serial"])
@pytest.mark.parametrize("make", [set, dict.fromkeys])
def test_a_container_that_grows_fails_as_in_the_loop(name, make):
    """A dictionary or set that a task makes grow ends the map with the loop's own error."""

    def outcome(run):
        items = make([1, 2])
        whole = items

        def grow(_):
            whole.update({3: 3, 4: 4})

        with pytest.raises(RuntimeError) as caught:
            run(grow, items)
        return str(caught.value)

    assert outcome(lambda f, xs: pmap(f, xs, executor=name)) == outcome(
        lambda f, xs: [f(x) for x in xs]
    )

"""What the tests map: functions and classes that a worker process finds by their names.

Standard library and parmap only, for every worker of every test imports this module.  Whatever has
to wait does so for a file of the test's own folder, and gives up with an error, never in silence.
"""

import contextvars
import dataclasses
import enum
import os
import threading
import time
import typing
from pathlib import Path

from parmap import parallel, pmap

PATIENCE = 60.0
MARKS: set[str] = set()
VARIABLE: contextvars.ContextVar[object] = contextvars.ContextVar("VARIABLE")


def double(x):
    return 2 * x


def add(x, y):
    return x + y


def echo(x):
    return x


def gather(*args, **kwargs):
    return args, kwargs


def place(_=None):
    """Return where this runs: the process and the thread."""
    return os.getpid(), threading.get_ident()


def pid(_=None):
    return os.getpid()


def nested(n):
    """Return where this runs, and where the tasks of a map made here run."""
    return place(), pmap(place, range(n))


def refuse(bad, x):
    """Raise ValueError for *x* if it is *bad*, or among them."""
    if x in bad if isinstance(bad, (set, frozenset)) else x == bad:
        raise ValueError(f"no {x}")
    return x


def raise_from(x):
    try:
        {}["inner-key"]
    except KeyError as inner:
        raise ValueError(f"outer-{x}") from inner


def countdown(x):
    """Burn enough processor time for a pool to be worth it."""
    n = 1_000_000
    while n:
        n -= 1
    return x, os.getpid()


# Files as signals: the same on every executor.


def log(path, line):
    """Append *line* to the file at *path*, whole even if others do so at the same time."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)
    return line


def log_and_refuse(path, bad, x):
    log(path, x)
    return refuse(bad, x)


def wait_until(condition, what, patience=PATIENCE):
    """Return as soon as *condition* holds; fail if it does not hold for a long time."""
    give_up = time.monotonic() + patience
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.002)


def wait_for(path, x):
    """Return *x* once there is a file at *path*; at once if *path* is None."""
    if path is not None:
        wait_until(Path(path).exists, path)
    return x


def meet(folder, parties, x):
    """Return the process id once *parties* tasks are in here at the same time."""
    Path(folder, str(x)).touch()
    wait_until(lambda: len(os.listdir(folder)) >= parties, f"{parties} tasks in {folder}")
    return os.getpid()


def flaky(folder, failures, x):
    """Raise in the first *failures* attempts for *x*, then return the number of the attempt."""
    attempt = sum(name.startswith(f"{x}-") for name in os.listdir(folder)) + 1
    Path(folder, f"{x}-{attempt}").touch()
    if attempt <= failures:
        raise ConnectionError(f"attempt {attempt} of {x}")
    return attempt


def mark(path):
    """Remember in this process that *path* was marked, and leave a line about it."""
    log(path, os.getpid())
    MARKS.add(str(path))


def marked(path, _):
    return str(path) in MARKS, os.getpid()


def mark_thread(path, local, _=None):
    log(path, threading.get_ident())
    local.ready = True


def break_down():
    raise LookupError("the initializer is broken")


# Values that have to come back as they went.


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: float = 0.5


class Pair(typing.NamedTuple):
    left: int
    right: int


class Adder:
    """A callable object with a method."""

    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return x + self.n

    def times(self, x):
        return x * self.n

    @classmethod
    def name(cls, x):
        return cls.__name__, x

    @staticmethod
    def negative(x):
        return -x


class CountsPickling:
    """A function that counts how often it is pickled, and logs where it is loaded."""

    pickled = 0

    def __init__(self, path):
        self.path = path

    def __call__(self, x):
        return -x

    def __getstate__(self):
        type(self).pickled += 1
        return {"path": self.path}

    def __setstate__(self, state):
        self.path = state["path"]
        log(self.path, os.getpid())


class BadRepr:
    def __repr__(self):
        raise RuntimeError("no repr today")


class OldSequence:
    """Iterable by __getitem__ alone."""

    def __getitem__(self, i):
        if i < 4:
            return i
        raise IndexError


class Source:
    """An iterable that counts how often it is asked for an iterator and for an item."""

    def __init__(self, items):
        self.items = items
        self.opened = 0
        self.drawn = 0

    def __iter__(self):
        self.opened += 1
        for item in self.items:
            self.drawn += 1
            yield item


class BrokenInput(Exception):
    """What the source of a test raises."""


def broken_source(n, error):
    yield from range(n)
    raise error


# Decorated functions.


@parallel
def triple(x, plus=0):
    """Return three times *x*."""
    return 3 * x + plus


@parallel(executor="serial")
def at_home(x):
    return x, os.getpid()


@parallel(executor="processes", workers=2)
def abroad_pid(x):
    return os.getpid()


class Renamed:
    """Decorated methods that the instance does not have under the names of their functions."""

    @parallel
    def __hidden(self, x):
        return x * 10

    def hidden(self):
        return self.__hidden

    other = parallel(lambda self, x: x + 1)


class Scale:
    """Decorated methods of all kinds."""

    factor = 10

    def __init__(self, k):
        self.k = k

    @parallel
    def scaled(self, x, y=0):
        return self.k * x + y

    @parallel(executor="processes", workers=2)
    def far(self, x):
        return self.k * x

    @staticmethod
    @parallel
    def static_inside(x):
        return x + 1

    @parallel
    @staticmethod
    def static_outside(x):
        return x + 2

    @parallel
    @classmethod
    def of_class(cls, x):
        return cls.factor * x


class SubScale(Scale):
    factor = 100

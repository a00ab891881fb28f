"""What a second reading has found: small inputs, each with what the loop does."""

from __future__ import annotations

import multiprocessing
import os
from contextlib import suppress
from itertools import groupby
from time import perf_counter

import pytest
from scripted import Scripted

from parmap import delayed, pcall, pmap
from parmap._engine.chunking import Sizes
from parmap._engine.scheduler import Run
from parmap._engine.source import Source
from parmap._records.work import Call, Chunk
from parmap._workers.tasks import run_here

ELSEWHERE = ("threads", "processes")


def _descriptors(_):
    return len(os.listdir("/proc/self/fd"))


def _refuse():
    raise ValueError("not prepared")


def _one(_):
    return 1


def test_descriptors_of_items_are_closed_when_the_worker_cannot_begin():
    """A worker whose initializer fails keeps none of the descriptors that came with the items."""
    ends = [multiprocessing.get_context("spawn").Pipe() for _ in range(6)]
    options = {"executor": "processes", "workers": 1}
    before = pmap(_descriptors, [0], **options)
    for _ in range(3):
        with pytest.raises(ValueError, match="not prepared"):
            pmap(_one, [end for end, _ in ends], chunksize=6, initializer=_refuse, **options)
    assert pmap(_descriptors, [0], **options) == before


MAKES_SHARED = """
from multiprocessing.shared_memory import SharedMemory
from parmap import pmap, shutdown

made = []

def names():
    for number in range(2):
        made.append(SharedMemory(create=True, size=8))
        made[-1].buf[0] = number + 1
        yield made[-1].name

def first(name):
    memory = SharedMemory(name)
    value = memory.buf[0]
    memory.close()
    return value

print(pmap(first, names(), executor="processes"))
shutdown()
print([first(memory.name) for memory in made])
for memory in made:
    memory.close()
    memory.unlink()
"""


def test_shared_memory_that_the_input_makes_survives_the_workers(script):
    """Shared memory made while the input is drawn is there when the workers are gone."""
    run = script(MAKES_SHARED)
    assert (run.stdout, run.stderr) == ("[1, 2]\n[1, 2]\n", "")


def test_a_task_that_fails_in_the_grown_part_of_a_list_is_tried_again():
    """A retry finds an item that another task has appended."""
    items, failed = [0, 1, 2, 3], []

    def task(item):
        if item == 3:
            items.extend([9, 8])
        if item == 9 and not failed:
            failed.append(item)
            raise ValueError(item)
        return item

    assert pmap(task, items, executor="serial", retries=1) == [0, 1, 2, 3, 9, 8]


def _of_pair(pair, _):
    return pair[0], list(pair[1])


def _of_numbered(numbered):
    return numbered[1][0], list(numbered[1][1])


def _of_group(key, group):
    return key, list(group)


HIDDEN = {
    "first": lambda **o: pmap(_of_pair, groupby("aabbcc"), "123", **o),
    "second": lambda **o: pmap(lambda n, p: _of_pair(p, n), "123", groupby("aabbcc"), **o),
    "numbered": lambda **o: pmap(_of_numbered, enumerate(groupby("aabbcc")), **o),
    "tasks": lambda **o: pcall((delayed(_of_group)(*p) for p in groupby("aabbcc")), **o),
}


@pytest.mark.parametrize("door", HIDDEN)
def test_groups_are_found_wherever_they_are(door):
    """Groups of groupby among several arguments, numbered or in tasks are never empty ones."""
    expected = [("a", ["a", "a"]), ("b", ["b", "b"]), ("c", ["c", "c"])]
    assert HIDDEN[door]() == expected
    assert HIDDEN[door](executor="serial") == expected
    for executor in ELSEWHERE:
        with pytest.raises(TypeError, match="groupby"):
            HIDDEN[door](executor=executor)


def test_a_dict_that_the_last_task_changes_is_an_error_each_time():
    """A dict that grows under way raises RuntimeError in later calls of the function, too."""
    grows = [True]

    def task(key):
        if key == 2 and grows[0]:
            numbers[len(numbers) + 50] = 0
        return key

    for _ in range(3):
        numbers = {1: 1, 2: 2}
        grows[0] = False
        with suppress(RuntimeError):
            pmap(task, numbers)
        grows[0] = True
        with pytest.raises(RuntimeError, match="changed size"):
            pmap(task, numbers)


class _Incomparable(type):
    def __eq__(cls, other):
        raise KeyError(other)


class _Compared(metaclass=_Incomparable):
    def __call__(self, item):
        return _busy(item)


class _Closed:
    def __call__(self, item):
        return _busy(item)

    def __getattribute__(self, name):
        raise KeyError(name)


def _busy(item):
    end = perf_counter() + 0.02
    while perf_counter() < end:
        pass
    return item


@pytest.mark.parametrize("kind", [_Compared, _Closed])
def test_a_callable_that_answers_nothing_is_only_called(kind):
    """A callable whose class has no hash, or which raises at each attribute, is mapped as any."""
    for _ in range(2):
        assert pmap(kind(), range(10)) == list(range(10))


ENDS_WORKERS = """
from time import perf_counter
import os, sys

if os.environ.setdefault("THE_CALLER", str(os.getpid())) != str(os.getpid()):
    sys.exit(3)

def busy(item):
    end = perf_counter() + 0.02
    while perf_counter() < end:
        pass
    return item
"""


def test_a_module_that_ends_the_worker_does_not_end_the_caller(script, tmp_path):
    """A function whose module calls sys.exit in workers runs in the caller, or raises an error."""
    (tmp_path / "module_that_ends.py").write_text(ENDS_WORKERS)
    run = script(
        "from module_that_ends import busy\n"
        "from parmap import pmap\n"
        "print(pmap(busy, range(20)) == list(range(20)))\n"
        "try:\n"
        "    pmap(busy, range(2), executor='processes')\n"
        "except RuntimeError as error:\n"
        "    print('SystemExit' in str(error))\n"
    )
    assert run.stdout == "True\nTrue\n"


class _Slow:
    """A clock, and an iterator that turns it on by some seconds for each item."""

    def __init__(self, seconds, monkeypatch):
        self.now = 0.0
        self.seconds = iter(seconds)
        monkeypatch.setattr("parmap._engine.source.perf_counter", lambda: self.now)
        monkeypatch.setattr("parmap._engine.slices.perf_counter", lambda: self.now)
        monkeypatch.setattr("parmap._workers.tasks.perf_counter", lambda: self.now)

    def __iter__(self):
        return self

    def __next__(self):
        seconds = next(self.seconds)
        self.now += seconds
        return seconds


def test_what_the_input_takes_is_not_taken_for_the_tasks_time(monkeypatch):
    """The seconds of a chunk in the caller are those of its tasks, and a slow input ends it."""
    source = Source((_Slow([0.5] * 3, monkeypatch),))

    report = run_here(Call(str, "item"), Chunk(0, source.here(3)), 10.0)

    assert report.values == ["0.5"]
    assert report.seconds == 0
    assert source.is_slow


def test_a_reader_with_results_in_hand_does_not_wait_for_a_source_of_bursts(monkeypatch):
    """A source that was slow a moment ago is asked only by a reader who has nothing to read."""
    source = Source((_Slow([0.5] + [0.0] * 9, monkeypatch),))
    run = Run(source, Scripted(str, workers=1), Sizes())

    assert run.advance()
    drawn = source.drawn
    run.advance(block=False)
    assert source.drawn == drawn
    run.advance()
    assert source.drawn > drawn


STANDS_FOR_SKLEARN = """
import threading
from contextlib import contextmanager

here = threading.local()

def get_config():
    return {"assume_finite": getattr(here, "value", False)}

@contextmanager
def config_context(assume_finite):
    before, here.value = get_config()["assume_finite"], assume_finite
    try:
        yield
    finally:
        here.value = before
"""


def test_long_tasks_have_the_callers_settings_in_every_thread(script, tmp_path):
    """Settings of the caller's thread hold where auto starts threads beside a long task, too."""
    (tmp_path / "sklearn.py").write_text(STANDS_FOR_SKLEARN)
    run = script(
        "from time import sleep\n"
        "import sklearn\n"
        "from parmap import pmap\n"
        "def task(_):\n"
        "    sleep(0.2)\n"
        "    return sklearn.get_config()['assume_finite']\n"
        "with sklearn.config_context(assume_finite=True):\n"
        "    print(pmap(task, range(6), workers=2))\n"
    )
    assert run.stdout == f"{[True] * 6}\n"


def test_a_function_that_knows_its_module_is_sent_without_what_only_has_the_same_name(script):
    """A function that mentions `__main__` needs no global that is called like an attribute."""
    run = script(
        "import threading\n"
        "from parmap import pmap\n"
        "lock = threading.Lock()\n"
        "offset = 1\n"
        "class Thing:\n"
        "    pass\n"
        "Thing.lock = 5\n"
        "def task(x):\n"
        "    import __main__\n"
        "    return __name__ == '__main__', Thing.lock + x + __main__.offset\n"
        "print(pmap(task, [1, 2], executor='processes'))\n"
    )
    assert run.stdout == "[(True, 7), (True, 8)]\n"

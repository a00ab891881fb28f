"""Observers: what they are told is enough to draw a timeline, and costs nothing without them."""

import os
from collections import Counter
from itertools import pairwise
from time import perf_counter
from types import SimpleNamespace

import pytest
from scripted import Scripted

from parmap import WorkerCrashed
from parmap._choice.launch import launch
from parmap._choice.options import DEFAULTS
from parmap._engine.chunking import Sizes
from parmap._engine.results import collect
from parmap._engine.scheduler import Run
from parmap._engine.source import Source
from parmap._observers.dispatch import Observers
from parmap._records.events import Done, Lost, Reported, Sent
from parmap._records.work import Batch, Call, Loss, Report


class Log(list):
    """An observer that keeps what it is told, and how often it was closed."""

    closed = 0

    def __call__(self, event):
        assert not self.closed
        self.append(event)

    def of(self, kind):
        return [event for event in self if isinstance(event, kind)]

    def close(self):
        self.closed += 1


def drawn(log):
    """Return the picture of a call: for each worker, when which tasks ran, in order."""
    lanes = {}
    for event in log.of(Reported):
        lanes.setdefault(event.worker, []).append(event)
    for lane in lanes.values():
        lane.sort(key=lambda event: event.began)
        for event, after in pairwise(lane):
            assert event.began + event.seconds <= after.began
    return lanes


def check(log, n):
    """Check what holds for every call of *n* tasks that went to its end."""
    done = Counter(n for event in log.of(Done) for n in tasks_of(event))
    assert done == dict.fromkeys(range(n), 1)
    sent = {}
    for event in log:
        if isinstance(event, Sent):
            sent[event.start] = event
        elif isinstance(event, Reported) and event.tasks:
            assert sent[event.start].at <= event.began <= event.began + event.seconds <= event.at
    times = [event.at for event in log]
    assert times == sorted(times)
    assert log.closed == 1


def tasks_of(event):
    return range(event.start, event.start + event.tasks)


def scripted(executor, n, size, log, **options):
    run = Run(Source((range(n),)), executor, Sizes(size), observers=Observers([log]), **options)
    collect(run, "return")
    return log


def test_a_scripted_call_can_be_drawn():
    """Each task is done once; losses, retries and the rests of chunks are to be seen."""

    def answer(chunk):
        if chunk.start == 10 and len(chunk) == 5:
            loss = Loss(WorkerCrashed("it died"), "crash", "bisect", 12, worker=77)
            return Report(chunk, [], loss=loss)
        if chunk.start == 20:
            return Report(chunk, list(chunk.items[:2]), began=perf_counter())
        return None

    log = scripted(Scripted(lambda x: 1 // (x - 3), answer), 30, 5, Log(), retries=1)

    check(log, 30)
    assert list(drawn(log)) == [os.getpid()]
    (lost,) = log.of(Lost)
    assert lost[1:] == (10, 5, "crash", "bisect", 12, 77)
    assert [(event.start, event.tasks) for event in log.of(Sent) if event.attempts] == [
        (3, 1),
        (12, 1),
    ]
    assert [(event.tasks, event.failed) for event in log.of(Reported) if event.start == 3] == [
        (1, 1)
    ]
    assert sum(event.failed for event in log.of(Done)) == 1
    assert (22, 3) in [(event.start, event.tasks) for event in log.of(Sent)]


def test_a_call_with_processes_can_be_drawn(tmp_path):
    """What worker processes did is there with their pids, their times and the bytes they sent."""

    def task(x):
        tried = tmp_path / str(x)
        if x in (30, 60) and not tried.exists():
            tried.touch()
            if x == 60:
                os._exit(3)
            raise LookupError(x)
        return x

    log = Log()
    options = DEFAULTS | {"executor": "processes", "workers": 2, "retries": 1}
    source = Source((range(100),))
    run = launch(Call(task, "item"), source, options, asked=True, observers=Observers([log]))

    assert collect(run, "raise") == list(range(100))
    check(log, 100)
    assert os.getpid() not in drawn(log)
    assert all(event.bytes > 0 and event.cpu >= 0 for event in log.of(Reported))
    (lost,) = log.of(Lost)
    assert (lost.kind, lost.suspect) == ("crash", 60)
    assert {n for event in log.of(Sent) if event.attempts for n in tasks_of(event)} == {30, 60}


@pytest.mark.parametrize("executor", ["auto", "serial", "threads"])
def test_a_call_in_this_process_can_be_drawn(executor):
    """Where nothing is sent, the worker is this process, and there are no bytes."""
    log = Log()
    options = DEFAULTS | {"executor": executor, "workers": 1}
    source = Source((iter(range(100)),))
    run = launch(Call(str, "item"), source, options, asked=True, observers=Observers([log]))

    assert collect(run, "raise") == list(map(str, range(100)))
    check(log, 100)
    assert list(drawn(log)) == [os.getpid()]
    assert {event.bytes for event in log.of(Reported)} == {0}


def test_events_are_frozen():
    """No observer can change what the next one is told."""
    log = scripted(Scripted(str), 3, 1, Log())

    for event in log:
        with pytest.raises(AttributeError):
            event.start = 5


@pytest.mark.parametrize("kind", [Sent, Reported, Lost, Done])
def test_an_observer_that_raises_ends_the_call(kind):
    """What an observer raises comes out of the call, and executor and observers are closed."""

    class Broken(Log):
        def __call__(self, event):
            super().__call__(event)
            if isinstance(event, kind):
                raise KeyError(kind.__name__)

    def die(chunk):
        if chunk.start == 2:
            return Report(chunk, [], loss=Loss(WorkerCrashed("it died"), "crash", "bisect"))
        return None

    executor, log = Scripted(str, die), Broken()
    with pytest.raises(KeyError, match=kind.__name__):
        scripted(executor, 4, 1, log)

    assert executor.closed == log.closed == 1


def test_all_observers_are_closed():
    """An observer that cannot be closed keeps no other from being closed."""

    class Stuck(Log):
        def close(self):
            super().close()
            raise KeyError("stuck")

    logs = [Stuck(), Log(), Stuck()]
    with pytest.raises(KeyError, match="stuck"):
        Observers(logs).close()

    assert [log.closed for log in logs] == [1, 1, 1]


@pytest.mark.parametrize("on_error", ["return", lambda failure: failure.index])
def test_a_batch_stays_as_it_was_handed_out(on_error):
    """What stands in for failures is put into a list of its own."""
    failure = SimpleNamespace(index=5)
    batch = Batch(5, [None, 6], {0: failure})
    batches = [[batch], []]
    run = SimpleNamespace(advance=lambda: batches.pop(0), close=lambda: None)

    assert collect(run, on_error) == [failure if on_error == "return" else 5, 6]
    assert batch.values == [None, 6]


def test_without_observers_there_are_no_events(script):
    """A call that nobody observes does not even load what they are made of."""
    done = script(
        "import sys\nfrom parmap import pmap\n"
        "for executor in ('auto', 'serial', 'threads', 'processes'):\n"
        "    pmap(abs, range(9), executor=executor, workers=2, retries=1)\n"
        "print([name for name in sys.modules if name in ('parmap._observers.dispatch',\n"
        "    'parmap._observers.progress', 'parmap._records.events')])"
    )

    assert done.stdout == "[]\n"

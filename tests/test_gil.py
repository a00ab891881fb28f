"""How free the GIL is while a task runs, in a scripted world, and a limit to what packing takes."""

import importlib.machinery
import sys
import threading
from functools import partial
from pickle import PicklingError

import pytest

from parmap._choice import auto_thread
from parmap._choice.auto_thread import BREAK, Companion
from parmap._choice.serial_or_parallel import Measured
from parmap._records import gil
from parmap._records.gil import LOOK, Probe, found_free, speed_up
from parmap._records.work import Call, PackingTooSlow
from parmap._wire import messages
from parmap._wire.messages import SerializedCall
from parmap._wire.pickling import Deadline, TimeIsUp, dumps, loads


class World:
    """A clock that only sleeps and waits move, and a GIL with its queue.

    *waits* says for each look how long the thread waits for a processor, and how long for the GIL.
    """

    def __init__(self, *waits):
        self.waits = list(waits)
        self.pauses = []
        self.now = 100.0
        self.given_up = 7

    def clock(self):
        return self.now

    def switches(self):
        return self.given_up

    def pause(self, seconds):
        self.pauses.append(seconds)
        processor, lock = self.waits.pop(0)
        self.given_up += 1 + (lock > 0)
        self.now += seconds + processor + lock

    def probe(self, counts=True):
        return Probe(self.clock, self.pause, self.switches if counts else lambda: 0)


@pytest.mark.parametrize("interval", [1e-6, 1e-4, 0.005, 0.1, 5.0])
@pytest.mark.parametrize("processor", [0.0, 0.0001, 0.003, 0.03])
def test_waiting_for_a_processor_is_not_waiting_for_the_gil(interval, processor):
    """Where the system counts, neither load nor interval changes what is seen of the GIL."""
    assert found_free(1, processor, interval)
    assert found_free(2, processor, interval) is False


@pytest.mark.parametrize(
    ("late", "interval", "free"),
    [
        (0.0001, 0.005, True),
        (0.0024, 0.005, True),
        (0.0026, 0.005, False),
        (0.006, 0.005, False),
        (0.0026, 0.1, False),  # a task that gives it up every 3 ms, though it need not
        (0.0011, 0.002, False),
        (0.0, 0.0019, None),  # shorter than what a machine is late by itself
        (0.1, 0.0001, None),
    ],
)
def test_where_nobody_counts_lateness_has_to_do(late, interval, free):
    """Without a count, a look that had to wait is half an interval late, unless that is short."""
    assert found_free(0, late, interval) is free


def test_a_look_tells_how_long_it_took():
    """All of it, in which the GIL was held or free: looks that wait are few, and count for more."""
    world = World((0.0, 0.0), (0.002, 0.0), (0.0, 0.005), (0.002, 0.005))
    probe = world.probe()

    looks = [probe.look() for _ in range(4)]

    assert [free for _, free in looks] == [True, True, False, False]
    waited = [lasted - pause for (lasted, _), pause in zip(looks, world.pauses, strict=True)]
    assert waited == pytest.approx([0.0, 0.002, 0.005, 0.007])


def test_looks_do_not_keep_pace_with_a_task():
    """Pauses fall evenly between half a look and one and a half."""
    world = World(*[(0.0, 0.0)] * 100)
    probe = world.probe()
    for _ in range(100):
        probe.look()

    tenths = [sum(0.5 + n / 10 <= p / LOOK < 0.6 + n / 10 for p in world.pauses) for n in range(10)]
    assert sum(tenths) == 100
    assert min(tenths) >= 8
    assert sum(world.pauses) == pytest.approx(100 * LOOK, rel=0.02)


def test_a_probe_without_a_count_looks_at_the_clock():
    """A system whose count stands still is not believed."""
    world = World((0.0, 0.0), (0.0, 0.004))
    probe = world.probe(counts=False)

    assert [probe.look()[1] for _ in range(2)] == [True, False]


def test_this_system_counts():
    """Where there is a count it grows while a thread sleeps, which is what it is believed for."""
    count = gil._counter()
    if count is None:
        pytest.skip("nobody counts here")
    before = count()

    _, free = Probe().look()

    assert count() > before
    assert free is not None


@pytest.mark.parametrize("origin", ["/home/me/resource.py", None])
def test_a_module_of_the_program_is_left_alone(monkeypatch, origin):
    """A script called resource.py is not run again for want of the standard module."""

    class Finder:
        @staticmethod
        def find_spec(name, path, target=None):
            return importlib.machinery.ModuleSpec(name, None, origin=origin)

    monkeypatch.setattr(sys, "meta_path", [Finder])
    monkeypatch.delitem(sys.modules, "resource", raising=False)

    assert gil._counter.__wrapped__() is None
    assert "resource" not in sys.modules


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("501209 2500000000 2\n", 2.5), ("0 0 0\n", 0.0), ("", 0.0), ("7\n", 0.0), ("a b c", 0.0)],
)
def test_waiting_for_a_processor_is_told_apart(tmp_path, text, seconds):
    """The system's count of it is taken where there is one, and believed where it makes sense."""
    (tmp_path / "thread-self").mkdir()
    (tmp_path / "thread-self/schedstat").write_text(text)

    assert gil.delay(root=str(tmp_path)) == seconds
    assert gil.delay(str(tmp_path / "none")) == 0.0
    assert gil.delay() >= 0.0


@pytest.mark.parametrize(
    ("held", "threads", "expected"),
    [
        (1.0, 2, 1.0),
        (1.0, 64, 1.0),
        (0.0, 2, 2.0),
        (0.0, 64, 64.0),
        (0.5, 2, 1.6),
        (0.25, 64, 4.0),
    ],
)
def test_threads_queue_for_the_gil(held, threads, expected):
    """With a share held, one over that many threads are of use, and each a little less than one."""
    assert speed_up(held, threads) == pytest.approx(expected)


class Looks:
    """Looks as a script says: *steps* are called with the companion while it sleeps."""

    def __init__(self, companion, *steps):
        self.companion = companion
        self.steps = list(steps)

    def look(self):
        answer = self.steps.pop(0)(self.companion)
        self.companion.settled = not self.steps
        return answer


class Input:
    """A source that nobody asks."""

    asked = 0.0
    is_asked = False


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(auto_thread, "perf_counter", lambda: now[0])
    return now


def watch(clock, *steps):
    """Return what a companion has seen that looks while *steps* happen, and its caller."""
    companion, seen = Companion(Input()), Measured()
    companion._started = True
    caller = Caller(companion, seen, clock)
    companion._look(seen, caller.help_out, Looks(companion, *(step(caller) for step in steps)))
    return seen


class Caller:
    """The thread that runs chunks."""

    def __init__(self, companion, seen, clock):
        self.companion = companion
        self.seen = seen
        self.clock = clock

    def help_out(self, seconds, cpu):
        return False

    def begin(self):
        self.companion.begin(self.seen, 1.0, self.help_out)

    def take(self, seconds, free, between=None):
        self.clock[0] += seconds / 2
        if between is not None:
            self.companion.end()
            self.clock[0] += between
            self.begin()
        self.clock[0] += seconds / 2
        return seconds, free


def begins(caller):
    def step(_):
        caller.begin()
        return caller.take(LOOK, free=True)  # it ran for a part of it

    return step


def looks(seconds, free, between=None):
    return lambda caller: lambda _: caller.take(seconds, free, between)


def test_looks_count_for_as_long_as_they_take(clock):
    """A task that holds the GIL nine parts of ten is seen to, though most looks find it free."""
    seen = watch(clock, begins, *[looks(LOOK, free=True)] * 4, *[looks(18 * LOOK, free=False)] * 2)

    assert (seen.looks, seen.free) == (pytest.approx(40), pytest.approx(4))


def test_a_look_that_began_before_the_chunk_says_nothing(clock):
    """Nor does one during which the scheduler was busy for long; a moment between chunks does."""
    seen = watch(
        clock,
        begins,
        looks(LOOK, free=True, between=2 * BREAK),
        looks(LOOK, free=False, between=BREAK / 2),
    )

    assert (seen.looks, seen.free) == (pytest.approx(1), 0)


def test_a_look_that_lasts_longer_than_the_tasks_is_a_held_one(clock):
    """Who waits for the GIL until all is over was kept from it by the tasks, up to their end."""

    def too_late(caller):
        def step(_):
            caller.clock[0] += 2 * LOOK
            caller.companion.end()
            caller.clock[0] += 3 * LOOK  # the program goes on
            return 5 * LOOK, False

        return step

    seen = watch(clock, begins, looks(LOOK, free=True), too_late)

    assert (seen.looks, seen.free) == (pytest.approx(3), pytest.approx(1))


def test_a_look_that_cannot_tell_says_nothing(clock):
    """Where neither count nor lateness tells, nothing is measured."""
    seen = watch(clock, begins, looks(LOOK, free=None))

    assert (seen.looks, seen.free) == (0, 0)


def test_a_task_that_imports_modules_says_nothing(clock, monkeypatch):
    """The first task is often the one that imports: what it does with the GIL, others do not."""

    def imports(caller):
        def step(_):
            monkeypatch.setitem(sys.modules, "parmap_test_imported", None)
            return caller.take(LOOK, free=True)

        return step

    seen = watch(clock, begins, imports, looks(LOOK, free=False))

    assert (seen.looks, seen.free) == (pytest.approx(1), 0)


# A limit to what packing takes


class Ticking:
    """A clock that goes one second further each time somebody looks at it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def deadline(seconds):
    return Deadline(seconds, Ticking())


MANY = 200_000  # texts that fill some 40 frames


def many():
    return [f"text {n:06}" for n in range(MANY)]


def closure(held, *more):
    return lambda x: (held, more, x)


@pytest.fixture
def ticking(monkeypatch):
    """Let packing have a clock that counts frames."""
    monkeypatch.setattr(messages, "Deadline", deadline)


def test_packing_is_given_up_at_a_frame():
    """A pickle of many frames ends with the first that comes too late, not with the last."""
    clock = Ticking()

    with pytest.raises(TimeIsUp):
        dumps(many(), deadline=Deadline(10, clock))

    assert clock.now == 12.0


@pytest.mark.parametrize("obj", [None, many(), closure(many()), [bytes(2**20), many()]])
def test_what_is_in_time_is_the_same_pickle(obj):
    """A limit that is not met changes no byte."""
    assert dumps(obj, deadline=deadline(1e6)) == dumps(obj)


def test_large_bytes_are_one_write():
    """What is copied at once is not taken for work that goes on."""
    assert loads(dumps(bytes(2**24), deadline=deadline(5))) == bytes(2**24)


@pytest.mark.parametrize("fn", [partial(max, many()), closure(many())])
def test_a_call_that_takes_too_long_to_pack(fn, ticking):
    """It says how long it had, whichever pickler was at it."""
    with pytest.raises(PackingTooSlow) as caught:
        SerializedCall(Call(fn, "item"), seconds=10)

    assert caught.value.args == (10,)
    assert SerializedCall(Call(fn, "item"), seconds=1e6).data
    assert SerializedCall(Call(fn, "item")).data


def test_the_time_is_for_all_of_the_call(ticking):
    """What one pickler has spent before it refuses, the other has not; nor has the initializer."""
    fn, other = closure(many()), partial(max, many())  # some 40 frames each time
    assert SerializedCall(Call(fn, "item"), seconds=100).data
    with pytest.raises(PackingTooSlow):
        SerializedCall(Call(fn, "item", other), seconds=100)


def test_what_main_has_is_part_of_it(monkeypatch, ticking):
    """A function that mentions `__main__` is sent with what it finds there, after a trial of it."""
    script = sys.modules["__main__"]
    monkeypatch.setattr(script, "texts", many(), raising=False)

    def task(x):
        import __main__

        return __main__.texts[x]

    with pytest.raises(PackingTooSlow):
        SerializedCall(Call(task, "item"), seconds=10)


def test_a_refusal_stays_one(ticking):
    """It is not taken for slowness, though the search for what refuses meets the limit."""
    texts = many()

    def task(x, lock=threading.Lock()):  # noqa: B008 - defaults are pickled before the closure
        return texts[x], lock

    with pytest.raises(PicklingError, match=r"^fn \(of type function\) cannot be pickled: .*lock"):
        SerializedCall(Call(task, "item"), seconds=10)
    with pytest.raises(PicklingError, match=r"^fn.__defaults__\[0\]"):
        SerializedCall(Call(task, "item"), seconds=1e6)


def test_buffers_are_not_copied_if_that_takes_too_long(monkeypatch, ticking):
    """How long the memory that workers map takes to fill is known before any of it is filled."""
    monkeypatch.setattr(messages, "COPYING", 100 / 2**21)
    monkeypatch.setattr(messages, "MOST_COPYING", 1.0)
    numpy = pytest.importorskip("numpy")
    fn = partial(max, numpy.arange(2**18))  # 2 MiB: 100 seconds
    known = dict(messages._regions)

    with pytest.raises(PackingTooSlow):
        SerializedCall(Call(fn, "item"), shared=True, seconds=99)
    assert dict(messages._regions) == known
    assert SerializedCall(Call(fn, "item"), shared=True, seconds=101).data


def test_the_import_of_cloudpickle_does_not_count():
    """What is paid once is no reason not to pack."""
    clock = Ticking()
    limit = Deadline(5, clock)

    def slow():
        clock.now += 1000
        return "made"

    assert limit.without(slow) == "made"
    limit.check()

"""What "auto" decides: the arithmetic on given measurements, the executor in a scripted world."""

import itertools
import logging
import threading
from contextvars import copy_context
from fnmatch import fnmatch
from pickle import PicklingError

import pytest
from worlds import Pool, World, facts, results, seen

from parmap import ExecutorUnavailable, pcall, pmap
from parmap._choice import history
from parmap._choice.auto import Auto
from parmap._choice.options import DEFAULTS
from parmap._choice.plan import choose
from parmap._choice.serial_or_parallel import (
    COLD_START,
    LOOKS,
    WARM_START,
    Measured,
    decide,
)
from parmap._engine.chunking import Sizes
from parmap._engine.scheduler import Run
from parmap._engine.source import Source
from parmap._executors.serial import Serial
from parmap._records.work import Call, Unsendable
from parmap._workers.tasks import loading, nested

pytestmark = pytest.mark.usefixtures("forget")


@pytest.mark.parametrize(
    ("measured", "remaining", "workers", "warm", "choice"),
    [
        (seen(1e-7), 10_000, 2, True, "serial"),
        (seen(1e-7), 10_000_000, 2, True, "serial"),
        (seen(1e-3), 3, 2, False, "serial"),
        (seen(1e-3), 64, 2, True, "processes"),
        (seen(1e-3), 64, 2, False, "serial"),
        (seen(1e-3), 4000, 2, False, "processes"),
        (seen(1.0, tasks=1), 1, 2, False, "processes"),
        (seen(1.0, tasks=1), None, 2, False, "processes"),
        (seen(1e-6, tasks=100), None, 2, False, "serial"),
        (seen(0.02, cpu=0.01), 100, 2, True, "threads"),
        (seen(0.02, cpu=0.01), 0, 2, True, "serial"),
        (seen(0.008, looks=LOOKS, free=LOOKS), 40, 2, True, "threads"),
        (seen(0.008, looks=LOOKS, free=1), 40, 2, True, "processes"),
        (seen(0.008, looks=LOOKS - 1, free=LOOKS - 1), 40, 2, True, "processes"),
        (seen(0.008, moved=16_000_000), 40, 2, True, "serial"),
        (seen(0.008, sendable=False), 40, 2, True, "serial"),
    ],
)
def test_the_choice_is_what_ends_the_call_first(measured, remaining, workers, warm, choice):
    """The place is chosen by what is left, what a start costs, what is moved, what the tasks do."""
    start = WARM_START if warm else COLD_START

    assert decide(facts(measured, remaining, workers, start=start)).where == choice


OLD = {"earlier": True}


@pytest.mark.parametrize(
    ("known", "where", "why", "final"),
    [
        (facts(Measured()), "serial", "too little was measured to tell", False),
        (facts(seen(1e-6, 10**4)), "serial", "what is left is worth less than any start", False),
        (facts(seen(0.1), 0), "serial", "what is left is worth less than any start", False),
        (facts(seen(0.001), start=0.06), "serial", "worth less than a start of 0.06 s", False),
        (facts(seen(0.1, moved=10**9)), "serial", "moving its data costs 1.5 s a task", False),
        (facts(seen(0.1)), "processes", "10 s are left, in tasks of 0.1 s", False),
        (facts(seen(0.1), None), "processes", "1 s are left, in tasks of 0.1 s", False),
        (facts(seen(0.1), can_start=False), "threads", "10 s are left, in tasks of 0.1 s", False),
        (facts(seen(0.1), gil=False), "threads", "this interpreter has no GIL", False),
        (facts(seen(0.1, looks=9, free=9)), "threads", "tasks of 0.1 s release the GIL", False),
        (facts(seen(0.1, cpu=0)), "threads", "tasks of 0.1 s mostly wait", False),
        (facts(seen(0.001), start=0.001, watched=True), "serial", "hold the GIL is to be", False),
        (facts(seen(0.1), watched=True), "processes", "10 s are left", False),
        # what an earlier call has measured
        (facts(seen(0.1), **OLD), "processes", "10 s are left", False),
        (facts(seen(0.1, cpu=0), **OLD), "serial", "whether tasks wait, as in an earlier", False),
        (facts(seen(0.1, 10, 0, 9, 9), **OLD), "threads", "tasks of 0.1 s mostly wait", False),
        (facts(seen(0.1), untried=True, **OLD), "serial", "what it costs to move the data", False),
        # a task that is long now
        (facts(Measured(), long=0.03), "processes", "a task takes more than 0.03 s", False),
        (facts(Measured(), long=0.03, gil=False), "threads", "a task takes more than", False),
        (facts(Measured(), long=0.03, can_start=False), "threads", "a task takes more", False),
        (facts(seen(0.1, looks=9, free=9), long=0.03), "threads", "a task takes more", False),
        # nothing else is possible, or worth it any more
        (facts(seen(0.1), workers=1), "serial", "one worker is no faster than the caller", True),
        (facts(seen(0.1), fleeting=True), "serial", "items are of no use any more", True),
        (facts(seen(0.1, sendable=False)), "serial", "no", True),
        (facts(seen(0.1), start=99.0, pool="processes"), "serial", "less than a start of", True),
        (facts(seen(0.1), obstacle="no processes here"), "serial", "no processes here", True),
        (facts(seen(0.1), long=1.0, obstacle="fn is a lock"), "serial", "fn is a lock", True),
    ],
)
def test_every_choice_has_its_reason(known, where, why, final):
    """Each choice that auto can make says why, and whether it is the last."""
    choice = decide(known)

    assert (choice.where, choice.final) == (where, final)
    assert why in choice.why
    assert {type(number) for number in choice.numbers.values()} <= {int, float}


@pytest.mark.parametrize(
    ("known", "waits"),
    [
        (facts(seen(0.1, cpu=0)), True),
        (facts(seen(0.1, looks=9, free=9)), False),
        (facts(seen(0.1, looks=9, free=9), long=0.03), False),
        (facts(seen(0.1), long=0.03, long_cpu=0.001), True),
    ],
)
def test_threads_for_what_may_wait_are_more_than_the_cores(known, waits):
    """A choice says whether its tasks wait, as far as is seen of one that is not over yet."""
    assert decide(known).where == "threads"
    assert decide(known).waits is waits


@pytest.mark.parametrize(
    ("known", "budget"),
    [
        (facts(Measured()), 0.0),
        (facts(seen(0.001), None, start=0.06), 0.0),
        (facts(seen(0.001), 10, start=0.06), 0.02),
        (facts(seen(0.001), 100, start=0.06), 0.2),
        (facts(seen(0.001), 1000, start=9.0), 0.5),
        (facts(seen(0.001, cpu=0), 100, **OLD), 0.0),
    ],
)
def test_the_caller_chooses_again_when_what_is_left_may_be_over(known, budget):
    """The caller computes on for twice what is left, within bounds, if that is known."""
    assert decide(known).budget == pytest.approx(budget)


def test_an_endless_input_costs_at_most_twice_the_best():
    """Without a known end, workers are started once as much was spent as a start costs."""
    spent = COLD_START * 2.1

    assert decide(facts(seen(spent / 10), None, start=COLD_START)).where == "processes"
    assert decide(facts(seen(spent / 20), None, start=COLD_START)).where == "serial"


def test_what_was_learnt_gives_way_to_what_is_seen(slow):
    """A function known to be cheap goes to workers as soon as its tasks turn out to be long."""
    slow["wall"] = slow["cpu"] = 1e-7
    results(World(str), range(20_000))
    slow["wall"] = slow["cpu"] = 1.0
    world = World(str)

    assert results(world, [*range(40)]) == [str(n) for n in range(40)]
    assert world.asked == ["processes"]
    assert sum(size for _, size in world.pools[0].log) >= 38


def test_a_small_map_stays_with_the_caller():
    """Nothing is started for tasks that take no time."""
    world = World(str)

    assert results(world, range(1000)) == [str(n) for n in range(1000)]
    assert world.asked == []


def test_work_goes_to_processes(slow):
    """Tasks that compute for long go to processes, after the first few."""
    world = World(str)

    assert results(world, range(100)) == [str(n) for n in range(100)]
    assert world.asked == ["processes"]
    assert len(world.pools[0].log) > 1


def test_waiting_goes_to_threads(slow):
    """Tasks that use no processor go to threads, more of them than there are cores."""
    slow["cpu"] = 0.0
    world = World(str)

    assert results(world, range(100)) == [str(n) for n in range(100)]
    assert world.asked == ["threads"]
    assert world.waits


def test_work_without_the_gil_goes_to_threads(slow):
    """Tasks that compute and let other threads run go to threads, one for each core."""
    history.remember(str, seen(0.01, looks=LOOKS, free=LOOKS))
    world = World(str)

    assert results(world, range(100)) == [str(n) for n in range(100)]
    assert world.asked == ["threads"]
    assert not world.waits


def test_endless_work_goes_to_processes(slow):
    """An input that does not say how long it is goes to workers when it turns out to be long."""
    world = World(str)

    assert results(world, (n for n in range(50))) == [str(n) for n in range(50)]
    assert world.asked == ["processes"]


def test_what_was_learnt_serves_the_next_call(slow):
    """A function known to be slow goes to workers at once: the caller runs none of its tasks."""

    def task(x):
        return x

    slow["wall"] = slow["cpu"] = 1.0
    results(World(task), range(50))
    slow["wall"] = None  # a task in the caller would fail
    second = World(task)

    assert results(second, range(50)) == list(range(50))
    assert second.asked == ["processes"]


def test_chunks_are_for_all_workers_as_soon_as_they_are_chosen(slow):
    """A call known to be worth workers gives none of them everything, though they still boot."""

    class Booting(Pool):
        ready = property(lambda self: len(self.log) > 1)

    slow["wall"] = slow["cpu"] = 0.01
    results(World(str), range(60))
    second = World(str, Booting)

    assert results(second, range(60)) == [str(n) for n in range(60)]
    assert max(size for _, size in second.pools[0].log) <= 15


def test_the_caller_computes_while_workers_boot(slow):
    """Until the pool is there, the caller goes on, with one task fewer in the pool."""

    class Booting(Pool):
        ready = False

        def wait(self, seconds):
            assert len(self.out) <= 1
            return []

    world = World(str, Booting)
    source = Source((range(6),))
    executor = Auto(Call(str, "item"), source, 2, world.make)
    run = Run(source, executor, Sizes(1))

    values = {}
    for _ in range(5):
        for batch in run.advance():
            values.update(enumerate(batch.values, batch.start))

    assert len(values) == 5
    assert len(world.pools[0].out) == 1


def test_a_long_first_task_does_not_delay_the_others():
    """While the caller is busy with a long task, the next one is given to a pool beside it."""
    given = threading.Event()

    class Beside(Pool):
        def submit(self, chunk):
            super().submit(chunk)
            given.set()

    def task(x):
        if x == 0:
            assert given.wait(30)
        return x

    world = World(task, Beside)

    assert results(world, [0, 1]) == [0, 1]
    assert len(world.asked) == 1


def test_what_cannot_be_sent_runs_in_the_caller(slow):
    """An item that refuses to be pickled is no error under auto: the loop would have run it."""

    class Picky(Pool):
        def submit(self, chunk):
            if 13 in chunk.items:
                raise Unsendable("13 is a lock")
            super().submit(chunk)

    world = World(str, Picky)

    assert results(world, list(range(40))) == [str(n) for n in range(40)]
    assert world.asked == ["processes"]


def test_what_cannot_be_sent_while_workers_boot_runs_in_the_caller(slow):
    """The same for chunks of several tasks that are given away before the pool is there."""

    class Picky(Pool):
        looks = 0

        @property
        def ready(self):
            self.looks += 1
            return self.looks > 3

        def submit(self, chunk):
            if any(x % 2 for x in chunk.items):
                raise Unsendable("odd ones are locks")
            super().submit(chunk)

    world = World(str, Picky)

    assert results(world, range(40), 4, size=3) == [str(n) for n in range(40)]
    assert world.asked == ["processes"]


def test_no_more_is_given_away_than_a_booting_pool_takes(slow):
    """A pool that turns out to be smaller than was wanted gets as much as it has room for."""

    class Small(Pool):
        ready = False
        window = property(lambda self: 1, lambda self, value: None)

        def wait(self, seconds):
            assert len(self.out) <= 1
            return super().wait(seconds)

    world = World(str, Small)

    assert results(world, range(40), 4, size=1) == [str(n) for n in range(40)]
    assert world.pools[0].log


def test_a_pool_that_breaks_leaves_everything_to_the_caller(slow):
    """If no worker can be started any more, what the pool had runs here, with one warning."""
    world = World(str, Breaking)

    with pytest.warns(RuntimeWarning, match="parmap runs serially: no more processes"):
        assert results(world, range(40)) == [str(n) for n in range(40)]


def test_without_threads_nobody_helps(monkeypatch):
    """Where no thread can be started, at the end of the program for one, the caller goes on."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert pmap(lambda x: x + 1, range(10)) == list(range(1, 11))


def test_a_function_that_cannot_be_sent_runs_in_the_caller(slow):
    """A closure over a lock is no error under auto, and is tried once."""
    world = World(str)

    def refuse(choice):
        world.asked.append(choice.where)
        raise PicklingError("fn is a lock")

    world.make = refuse

    with pytest.warns(RuntimeWarning, match="fn is a lock"):
        assert results(world, range(40)) == [str(n) for n in range(40)]
    assert world.asked == ["processes"]


def test_results_that_cannot_be_sent_stay(slow):
    """If the first results refuse to be pickled, no pool is made."""
    world = World(lambda x: threading.Lock())

    assert len(results(world, range(10))) == 10
    assert world.asked == []


def test_without_workers_the_call_is_serial_with_one_warning(slow):
    """Where no worker can be started, the list arrives all the same."""
    world = World(str)

    def refuse(choice):
        raise ExecutorUnavailable("no processes here")

    world.make = refuse

    with pytest.warns(RuntimeWarning, match="parmap runs serially: no processes here") as caught:
        assert results(world, range(40)) == [str(n) for n in range(40)]
    assert len(caught) == 1


def test_many_small_calls_get_workers(slow):
    """What small calls lose for want of workers adds up, until it is worth a start."""
    slow["wall"] = slow["cpu"] = 0.01
    gain = 8 * 0.01 / 2 - WARM_START
    enough = int((COLD_START - gain) / gain) + 1
    worlds = [World(str) for _ in range(enough + 2)]

    for world in worlds:
        assert results(world, range(8)) == [str(n) for n in range(8)]
    chosen = [world.asked for world in worlds]

    assert chosen[:enough] == [[]] * enough
    assert ["processes"] in chosen[enough:]
    assert worlds[chosen.index(["processes"])].pools[0].log


def test_a_known_function_is_not_sent_out_before_its_data_was_weighed(slow):
    """Where an earlier call has sent nothing, the next one runs a task before it sends any."""
    items = [bytes(10**8) for _ in range(4)]
    world = World(len)
    known = Measured()
    known.tasks, known.wall, known.cpu, known.length = 10, 1.0, 1.0, 10
    history.remember(len, known)
    slow["wall"] = 0.05

    assert results(world, items) == [10**8] * 4
    assert world.asked == []


def test_what_the_items_need_is_known_to_the_next_call(slow):
    """Workers that are chosen before any task of this call has run load the modules of the last."""
    world = World(lambda x: x)
    items = [type("Item", (), {"__module__": "made.inner"})() for _ in range(40)]
    needed = []
    first = world.make

    def make(choice):
        needed.append(choice.modules)
        return first(choice)

    world.make = make
    results(world, items)
    results(world, items)

    assert needed == [frozenset(["made.inner"])] * 2


def test_a_call_known_to_be_brief_is_the_loop(monkeypatch):
    """A few cheap tasks of a known function run without an executor; errors are as ever."""
    assert pmap(int, ["1", "2", "3"]) == [1, 2, 3]
    monkeypatch.setattr("parmap._choice.launch.choose", None)

    assert pmap(int, ["4", "5"]) == [4, 5]
    assert pmap(int, []) == []

    monkeypatch.undo()
    with pytest.raises(ValueError, match="invalid literal") as caught:
        pmap(int, ["6", "x", "7"])
    assert "task 1" in caught.value.__notes__[0]


def test_a_brief_call_that_is_not_brief_goes_on_elsewhere():
    """What a known function turns out not to do at once is left to whoever is chosen."""
    begun = []

    def task(seconds):
        begun.append(threading.get_ident())
        return threading.Event().wait(seconds)

    pmap(task, [0.0, 0.0])
    begun.clear()

    assert pmap(task, [0.0, 0.05, 0.05, 0.05]) == [False] * 4
    assert begun[0] == threading.get_ident()


@pytest.mark.parametrize("kind", [list, tuple, iter, range])
def test_a_brief_call_that_is_not_brief_is_whole(kind):
    """What a known function turns out not to do at once is done all the same."""

    def task(x):
        threading.Event().wait(pause)
        return x

    pause = 0.0
    pmap(task, range(4))
    pause = 0.003

    assert pmap(task, range(4) if kind is range else kind([0, 1, 2, 3])) == [0, 1, 2, 3]


def test_tasks_of_many_functions_are_not_known(slow):
    """What one list of calls has cost says nothing of another."""
    pcall([(int, ("1",), {})] * 4)

    assert history.recall(None) is None


def test_a_function_too_large_to_send_stays(slow):
    """Where pickling the function took longer than workers would save, the caller does the rest."""
    world = World(str, Heavy)

    assert results(world, range(40)) == [str(n) for n in range(40)]
    assert world.asked == ["processes"]
    assert world.pools[0].log == []
    assert world.pools[0].closed == 1


def test_the_choice_is_logged(slow, caplog):
    """A debug line of the logger parmap says what was chosen, and why."""
    caplog.set_level(logging.DEBUG, "parmap")

    results(World(str), range(40))

    assert [r.name for r in caplog.records] == ["parmap"]
    assert "processes: " in caplog.text
    assert "s are left, in tasks of 0.1 s" in caplog.text


class Breaking(Pool):
    """A pool that takes two chunks."""

    def submit(self, chunk):
        if len(self.log) > 1:
            raise ExecutorUnavailable("no more processes")
        super().submit(chunk)


class Heavy(Pool):
    """A pool whose function took long to pickle."""

    packing = 1000.0


class Bare(Pool):
    """A pool whose workers cannot load the function."""

    def wait(self, seconds):
        raise ImportError("no module named x")


def refusing(error):
    """Return what stands for a pool that cannot be made."""

    def refuse(*_, **__):
        raise error

    return refuse


def lock(x):
    return threading.Lock()


FAR = "processes: * s are left, in tasks of * s"
STORIES = {
    "all is done at once": (1e-9, [str], {}, ["serial: too little was measured to tell"]),
    "little is left": (0.01, [str], {"items": range(4)}, ["serial: *less than a start of 0.06 s*"]),
    "one worker": (0.1, [str], {"workers": 1}, ["serial: one worker is no faster than the caller"]),
    "groups": (
        *(0.1, [lambda pair: sum(pair[1])]),
        {"items": (pair for pair in itertools.groupby(range(9)))},
        ["serial: items are of no use any more once the next is drawn"],
    ),
    "work": (0.1, [str], {}, [FAR]),
    "a large function": (0.1, [str, Heavy], {}, [FAR, "serial: *less than a start of *"]),
    "a result that stays": (0.1, [lock], {}, ["serial: *lock*"]),
    "a function that stays": (0.1, [str, refusing(PicklingError("fn"))], {}, ["serial: fn"]),
    "no worker": (0.1, [str, refusing(ExecutorUnavailable("none"))], {}, ["serial: none"]),
    "no worker any more": (0.1, [str, Breaking], {}, [FAR, "serial: no more processes"]),
    "no such module": (0.1, [str, Bare], {}, [FAR, "serial: fn cannot be loaded *: no module*"]),
}


@pytest.mark.filterwarnings("ignore:parmap runs")
@pytest.mark.parametrize("story", STORIES)
def test_what_is_chosen_is_told_as_it_is_logged(slow, caplog, story):
    """Log and observers have each choice with its reason, staying in the caller included."""
    cost, world, options, lines = STORIES[story]
    slow.update(wall=cost, cpu=cost)
    told = []

    with caplog.at_level(logging.DEBUG, "parmap"):
        results(World(*world), **{"items": range(40), "tell": told.append, **options})

    assert [f"{event.where}: {event.why}" for event in told] == caplog.messages
    assert len(told) == len(lines)
    assert all(map(fnmatch, caplog.messages, lines)), caplog.messages
    for event in told:
        assert {type(number) for number in event.facts.values()} <= {int, float}


def test_a_long_task_is_told_of_by_the_callers_thread():
    """Observers hear of a choice of the companion when the caller is at it again."""
    given = threading.Event()

    class Beside(Pool):
        def submit(self, chunk):
            super().submit(chunk)
            given.set()

    told = []
    results(
        World(lambda x: x or given.wait(30), Beside),
        [0, 1],
        tell=lambda event: told.append((event.why, threading.current_thread())),
    )

    assert [thread for _, thread in told] == [threading.current_thread()]
    assert told[0][0].startswith("a task takes more than ")


def test_a_map_that_takes_no_time_logs_nothing(caplog):
    """A few cheap tasks of a known function run without a choice that could be told."""
    pmap(int, ["1", "2", "3"])

    with caplog.at_level(logging.DEBUG, "parmap"):
        assert pmap(int, ["4", "5"]) == [4, 5]
    assert not caplog.messages


class Waking(Pool):
    """A pool that counts how often it was woken."""

    woken = 0

    def wake(self):
        self.woken += 1


def test_who_wakes_auto_wakes_its_pool(slow):
    """A wake reaches the pool, if there is one, also when that is closed."""
    history.remember(str, seen(1.0))
    world = World(str, Waking)
    executor = Auto(Call(str, "item"), Source((range(40),)), 2, world.make)

    executor.wake()
    executor.close()
    executor.wake()

    assert world.pools[0].woken == 2


def test_without_a_pool_nobody_need_be_woken():
    """Where the caller runs all, a wake is nothing to anybody."""
    executor = Auto(Call(str, "item"), Source((range(40),)), 2, World(str).make)

    executor.wake()

    assert executor.wait(None) == []
    executor.close()


# What else is chosen, and told


@pytest.mark.parametrize(
    ("options", "asked", "where", "why"),
    [
        ({"executor": "serial"}, True, "serial", "asked for by executor="),
        ({"executor": "threads", "workers": 3}, True, "threads", "asked for by executor="),
        ({"executor": "processes"}, True, "processes", "asked for by executor="),
        ({"timeout": 9.0}, False, "processes", "asked for by timeout="),
        ({"max_tasks_per_worker": 9}, False, "processes", "asked for by max_tasks_per_worker="),
        ({"retries": 1}, False, "processes", "failures are to be contained"),
        ({"initializer": list}, False, "processes", "workers are to be initialized"),
    ],
)
def test_every_executor_is_told_with_its_reason(options, asked, where, why):
    """An executor that is not chosen by measurements is told at once, with the reason."""
    told = []
    call = Call(str, "item", options.get("initializer"))

    choose(call, Source(([],)), {**DEFAULTS, **options}, asked=asked, tell=told.append).close()

    assert [(event.where, event.why) for event in told] == [(where, why)]
    assert told[0].facts["workers"] >= 1


@pytest.mark.parametrize(
    ("variable", "why"), [(nested, "nested in a worker"), (loading, "a worker is loading")]
)
def test_inside_a_worker_the_reason_is_told(variable, why):
    """A call in a worker runs serially, and observers learn why."""
    told = []

    def inside():
        variable.set(1)
        choose(Call(str, "item"), Source(([],)), DEFAULTS, asked=False, tell=told.append).close()

    copy_context().run(inside)

    assert [(event.where, event.why) for event in told] == [("serial", why)]


def test_an_observer_that_raises_leaves_no_executor_behind(monkeypatch):
    """What an observer raises when it is told of an executor closes that."""
    closed = []
    monkeypatch.setattr(Serial, "close", lambda self: closed.append(self))
    options = {**DEFAULTS, "executor": "serial"}

    with pytest.raises(ZeroDivisionError):
        choose(*(Call(str, "item"), Source(([],)), options), asked=True, tell=lambda event: 1 / 0)
    assert len(closed) == 1


def test_an_error_in_the_caller_is_the_callers_own():
    """The first tasks, which run here, raise with their own traceback and a note."""
    with pytest.raises(ZeroDivisionError) as caught:
        pmap(lambda x: 1 / x, itertools.chain([1, 0], itertools.repeat(1)))

    assert "task 1" in caught.value.__notes__[0]

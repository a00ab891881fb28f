"""Tasks that come while the call runs: none is missed, and nobody turns in circles meanwhile."""

from queue import SimpleQueue
from threading import Event, Thread

import pytest
import work
from scripted import Patient, Scripted

from parmap._choice.launch import launch
from parmap._choice.options import DEFAULTS
from parmap._choice.plan import choose
from parmap._engine.chunking import Sizes
from parmap._engine.inbox import Inbox
from parmap._engine.results import collect
from parmap._engine.scheduler import Run
from parmap._records.work import Call

PATIENCE = 60


class Watched(Inbox):
    """An inbox that says when it is waited for; *put_late* is put when it is too late to see it."""

    def __init__(self, put_late=()):
        super().__init__()
        self.waits = SimpleQueue()
        self.put_late = list(put_late)

    def wait(self):
        self.waits.put(None)
        if self.put_late:
            self.put(self.put_late.pop(0))
        super().wait()


def start(run):
    """Collect the results of *run* in a thread; return a function that waits for them."""
    found = []
    thread = Thread(target=lambda: found.append(collect(run, "return")), daemon=True)
    thread.start()

    def results():
        thread.join(PATIENCE)
        return found[0]

    return results


def test_tasks_put_while_the_call_runs_are_done_in_order():
    """Each item that is put becomes a task, and the results are in the order of the puts."""
    inbox = Watched()
    results = start(Run(inbox, Scripted(str, workers=3), Sizes()))

    for n in range(10):
        inbox.waits.get(timeout=PATIENCE)  # all of those before are done
        assert inbox.put(n) == n
    for n in range(10, 300):
        inbox.put(n)
    inbox.close()

    assert results() == list(map(str, range(300)))


def test_many_threads_may_put():
    """Items of several threads are all done, at the indices that `put` has returned."""
    inbox = Inbox()
    places = {}
    results = start(Run(inbox, Scripted(str), Sizes()))

    def put(who):
        for n in range(100):
            places[inbox.put(f"{who}-{n}")] = f"{who}-{n}"

    threads = [Thread(target=put, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    inbox.close()

    assert results() == [places[index] for index in range(400)]


def test_a_task_put_during_a_wait_is_sent_at_once():
    """While the executor is waited for, a put wakes it, and the task goes where there is room."""
    inbox, executor = Inbox(), Patient(str, workers=2)
    inbox.put("a")
    results = start(Run(inbox, executor, Sizes(1)))

    executor.waits.get(timeout=PATIENCE)
    inbox.put("b")
    executor.waits.get(timeout=PATIENCE)
    assert executor.log == [(0, 1), (1, 1)]
    executor.finish()
    executor.finish()
    executor.waits.get(timeout=PATIENCE)
    inbox.close()

    assert results() == ["a", "b"]


def test_nothing_turns_in_circles_meanwhile():
    """A call that has nothing to do waits once for each thing that happens."""
    inbox, executor = Watched(), Patient(str)
    results = start(Run(inbox, executor, Sizes(1)))

    inbox.waits.get(timeout=PATIENCE)
    inbox.put("a")
    executor.waits.get(timeout=PATIENCE)
    executor.finish()
    inbox.waits.get(timeout=PATIENCE)
    inbox.close()

    assert results() == ["a"]
    assert inbox.waits.empty()
    assert executor.waits.qsize() <= 1  # the put may have woken it for nothing


def test_a_put_just_before_the_inbox_is_waited_for_is_not_missed():
    """What comes between the look that found nothing and the wait ends the wait."""
    inbox = Watched(put_late=["a", "b"])
    run = Run(inbox, Scripted(str), Sizes())

    assert [batch.values for batch in run.advance()] == [["a"]]
    assert [batch.values for batch in run.advance()] == [["b"]]
    inbox.close()
    assert run.advance() == []


def test_a_put_just_before_the_executor_is_waited_for_is_not_missed():
    """What comes between the look that found nothing and the wait wakes the executor."""

    class Late(Patient):
        def wait(self, seconds):
            if self.out and not inbox.drawn > 1:
                inbox.put("b")
            elif len(self.out) == 2:
                self.finish()
            return super().wait(seconds)

    inbox, executor = Inbox(), Late(str)
    inbox.put("a")
    run = Run(inbox, executor, Sizes(1))

    assert [batch.values for batch in run.advance()] == [["a"]]
    assert executor.log == [(0, 1), (1, 1)]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_closed_inbox_ends_the_call_when_all_is_done(n):
    """Closing takes nothing back: what was put before is done; then the call ends."""
    inbox = Inbox()
    for item in range(n):
        inbox.put(item)
    inbox.close()
    inbox.close()

    assert collect(Run(inbox, Scripted(str), Sizes()), "return") == list(map(str, range(n)))
    with pytest.raises(ValueError, match="closed"):
        inbox.put(n)


def test_closing_ends_a_wait():
    """A call that waits for a task ends when the inbox is closed instead."""
    inbox = Watched()
    results = start(Run(inbox, Scripted(str), Sizes()))

    inbox.waits.get(timeout=PATIENCE)
    inbox.close()

    assert results() == []


def test_who_may_not_block_does_not_wait_for_tasks():
    """With nothing put, there is no batch, and the call has not ended."""
    inbox = Inbox()
    run = Run(inbox, Scripted(str), Sizes())

    assert run.advance(block=False) == []
    inbox.put("a")
    assert [batch.values for batch in run.advance()] == [["a"]]


def test_the_limit_holds_for_an_inbox():
    """What was put and is beyond the limit is neither drawn nor waited for."""
    inbox = Inbox()
    for item in "abc":
        inbox.put(item)
    run = Run(inbox, Scripted(str), Sizes())

    assert [batch.values for batch in run.advance(1)] == [["a"]]
    assert run.advance(1) == []
    assert inbox.drawn == 1


def test_every_executor_takes_tasks_from_an_inbox(where_cheaply):
    """Where tasks come from makes no difference to where they run."""
    inbox = Inbox()
    for n in range(50):
        inbox.put(n)
    inbox.close()
    run = launch(Call(work.double, "item"), inbox, DEFAULTS | where_cheaply.options, asked=True)

    assert collect(run, "raise") == [2 * n for n in range(50)]


def test_every_executor_is_woken(side_by_side, tmp_path):
    """While a task runs, one that is put meanwhile runs beside it, though nothing has come back."""

    def task(gate):
        if gate is None:
            (tmp_path / "gate").touch()
        else:
            work.wait_for(gate, None)
        return gate

    inbox, waits = Inbox(), Event()
    executor = choose(Call(task, "item"), inbox, DEFAULTS | side_by_side.options, asked=True)
    wait = executor.wait

    def watched(seconds):
        waits.set()
        return wait(seconds)

    executor.wait = watched
    inbox.put(tmp_path / "gate")
    results = start(Run(inbox, executor, Sizes(1)))
    assert waits.wait(PATIENCE)
    inbox.put(None)
    inbox.close()

    assert results() == [tmp_path / "gate", None]

"""What multiprocessing shares between processes is shared with the tasks of a map."""

import io
import multiprocessing
import os
import pickle
import socket
from functools import partial

import pytest

from parmap import pmap, shutdown

N = 6
CONTEXTS = [
    name for name in ("spawn", "forkserver") if name in multiprocessing.get_all_start_methods()
]


def count(value, x):
    with value.get_lock():
        value.value += x


def put_into_array(array, x):
    array[x] = 2 * x


def put_into_raw(pair, x):
    value, array = pair
    value.value = 7
    array[x] = 2 * x


def guarded(pair, x):
    lock, value = pair
    with lock:
        value.value += x


def release(semaphore, x):
    if x:
        semaphore.release()


def take(semaphore, _):
    semaphore.acquire()


def notify(pair, x):
    condition, value = pair
    with condition:
        value.value += x
        condition.notify_all()


def set_event(event, _):
    event.set()


def put(queue, x):
    queue.put(x)


def put_and_done(queue, x):
    queue.put(x)
    queue.get()
    queue.task_done()


def meet_nobody(barrier, _):
    assert barrier.wait(60) == 0


def send(connection, x):
    connection.send(x)


def receive_each(queue):
    return sorted(queue.get() for _ in range(N)) == [*range(N)]


# How to make it, what a task does with it, and what is true in the caller then.
OBJECTS = {
    "Value": (lambda c: c.Value("i", 0), count, lambda value: value.value == sum(range(N))),
    "Array": (
        lambda c: c.Array("i", N),
        put_into_array,
        lambda array: array[:] == [2 * x for x in range(N)],
    ),
    "RawValue and RawArray": (
        lambda c: (c.RawValue("i", 0), c.RawArray("i", N)),
        put_into_raw,
        lambda pair: pair[0].value == 7 and pair[1][:] == [2 * x for x in range(N)],
    ),
    "Lock": (
        lambda c: (c.Lock(), c.RawValue("i", 0)),
        guarded,
        lambda pair: pair[1].value == sum(range(N)),
    ),
    "RLock": (
        lambda c: (c.RLock(), c.RawValue("i", 0)),
        guarded,
        lambda pair: pair[1].value == sum(range(N)),
    ),
    "Semaphore": (
        lambda c: c.Semaphore(0),
        release,
        lambda semaphore: semaphore.get_value() == N - 1,
    ),
    "BoundedSemaphore": (
        lambda c: c.BoundedSemaphore(N),
        take,
        lambda semaphore: semaphore.get_value() == 0,
    ),
    "Condition": (
        lambda c: (c.Condition(), c.RawValue("i", 0)),
        notify,
        lambda pair: pair[1].value == sum(range(N)),
    ),
    "Event": (lambda c: c.Event(), set_event, lambda event: event.is_set()),
    "Barrier": (lambda c: c.Barrier(1), meet_nobody, lambda barrier: not barrier.broken),
    "Queue": (lambda c: c.Queue(), put, receive_each),
    "JoinableQueue": (
        lambda c: c.JoinableQueue(),
        put_and_done,
        lambda queue: queue.join() is None and queue.empty(),
    ),
    "SimpleQueue": (lambda c: c.SimpleQueue(), put, receive_each),
}


@pytest.fixture(params=["processes", "auto"])
def options(request):
    """The executors that share: without a word about it, and by name."""
    # Asked to contain failures, auto runs no task in the caller.
    more = {"executor": "processes"} if request.param == "processes" else {"retries": 1}
    return {"workers": 2, **more}


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", OBJECTS)
def test_shared_objects_work_in_closures(name, context, options):
    """A task uses what the function holds, and the caller and the other tasks see it."""
    make, use, holds = OBJECTS[name]
    shared = make(multiprocessing.get_context(context))

    pmap(lambda x: use(shared, x), range(N), **options)

    assert holds(shared)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", OBJECTS)
def test_shared_objects_work_as_arguments(name, context, options):
    """The same for what comes with each task."""
    make, use, holds = OBJECTS[name]
    shared = make(multiprocessing.get_context(context))

    pmap(use, [shared] * N, range(N), **options)

    assert holds(shared)


def test_ends_of_a_pipe_work_in_closures_and_as_arguments(options):
    """What tasks send through a pipe arrives in the caller, and the other way round."""
    reader, writer = multiprocessing.Pipe(duplex=False)

    pmap(lambda x: writer.send(x), range(N), **options)
    pmap(send, [writer] * N, range(N), **options)
    got = sorted(reader.recv() for _ in range(2 * N))
    for x in range(N):
        writer.send(x)

    assert got == sorted([*range(N), *range(N)])
    assert pmap(lambda end: end.recv(), [reader], **options) == [0]
    assert reader.recv() == 1


def test_auto_sends_shared_objects_where_it_is_faster():
    """Without options, too, long tasks with a Value run in processes, and all of them count."""
    value = multiprocessing.get_context("spawn").Value("i", 0)

    def task(x):
        n = 300_000
        while n:
            n -= 1
        count(value, x)

    pmap(task, range(40), workers=2)

    assert value.value == sum(range(40))


def test_two_objects_that_look_alike_are_two(options):
    """A function that differs from the one before by the object it holds alone uses its own."""
    context = multiprocessing.get_context("spawn")
    values = [context.RawValue("i", 0) for _ in range(2)]
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(3)]

    for value in values:
        pmap(partial(put_one, value), range(2), **options)
    for _, writer in pipes:
        pmap(partial(send, writer), [1], **options)

    assert [value.value for value in values] == [1, 1]
    assert [reader.poll(60) and reader.recv() for reader, _ in pipes] == [1, 1, 1]


def put_one(value, _):
    value.value = 1


def test_no_descriptor_is_left_by_what_is_shared():
    """Many calls with a Value and a Pipe leave no descriptors, neither here nor in the workers."""
    value = multiprocessing.get_context("spawn").RawValue("i", 0)
    reader, writer = multiprocessing.Pipe()

    def descriptors(_):
        return len(os.listdir("/proc/self/fd"))

    def once(n):
        """Return how many there are, once in the caller and once in the worker."""
        pmap(lambda *_: n, [value], [writer], executor="processes", workers=1)
        pmap(lambda _: len((value, writer, n)), [1], executor="processes", workers=1)
        (there,) = pmap(descriptors, [1], executor="processes", workers=1)
        return descriptors(1), there

    before = [once(n) for n in range(10)][-1]
    after = [once(n) for n in range(50)][-1]
    reader.close()

    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 2
    shutdown()


def test_what_a_fork_context_made_is_refused_with_the_cure():
    """A lock for forked processes cannot be sent; the error names the context that can."""
    lock = multiprocessing.get_context("fork").Lock()

    for call in (
        lambda: pmap(abs, [lock], executor="processes"),
        lambda: pmap(lambda x: lock and x, [1], executor="processes"),
    ):
        with pytest.raises(pickle.PicklingError, match=r"get_context\('spawn'\)"):
            call()


def test_a_connection_that_is_returned_is_refused():
    """A result that is an end of a pipe would be the wrong descriptor in the caller."""
    here, there = multiprocessing.get_context("spawn").Pipe()

    (failure,) = pmap(lambda x: there, [1], on_error="return", executor="processes")

    assert failure.kind == "unpicklable"
    assert "give it to tasks" in str(failure.exception)
    here.close()
    there.close()


def test_a_socket_is_refused_as_ever():
    """What multiprocessing would send while it starts a process, though it is not its own."""
    with socket.socket() as line, pytest.raises(pickle.PicklingError, match="socket"):
        pmap(abs, [line], executor="processes")


def test_the_caller_may_start_processes_as_before():
    """Nothing is left behind in the caller's thread of how shared objects were pickled."""
    lock = multiprocessing.get_context("spawn").Lock()
    pmap(lambda x: lock and x, range(2), executor="processes")

    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(lock)


MANAGER = """
import sys
from multiprocessing import Manager
from parmap import pmap, warm

def work(x, shared, lock):
    with lock:
        shared["sum"] = shared.get("sum", 0) + x
    return x

if __name__ == "__main__":
    options = {options}
    warm(2)  # before there is a key to share
    with Manager() as manager:
        shared, lock, queue = manager.dict(), manager.Lock(), manager.Queue()
        n = 8
        assert pmap(work, range(n), [shared] * n, [lock] * n, **options) == [*range(n)]
        assert shared["sum"] == sum(range(n))

        def closure(x):
            with lock:
                shared["sum"] += x
            queue.put(x)

        pmap(closure, range(n), **options)
        assert shared["sum"] == 2 * sum(range(n))
        assert sorted(queue.get(timeout=60) for _ in range(n)) == [*range(n)]

        def nested(x):  # a proxy got from a proxy has no key of its own
            shared["inner"] = queue
            shared["inner"].put(x)

        pmap(nested, [5], **options)
        assert queue.get(timeout=60) == 5
    print("done")
"""


@pytest.mark.parametrize("options", [{"executor": "processes"}, {"retries": 1}, {}], ids=str)
def test_managers_work_in_arguments_and_closures(script, options):
    """Proxies of a Manager find it from the tasks: these know its key."""
    done = script(MANAGER.replace("{options}", repr(options)))

    assert (done.stdout, done.stderr) == ("done\n", "")


SHARED_MEMORY = """
from multiprocessing.shared_memory import SharedMemory
import parmap
from parmap import pmap, warm

def fill(x):
    memory = SharedMemory(name)
    memory.buf[x] = x
    memory.close()
    return x

def make(x):
    memory = SharedMemory(create=True, size=10)
    memory.buf[0] = x
    memory.close()
    return memory.name

{early}
memory = SharedMemory(create=True, size=100)
name = memory.name
assert pmap(fill, range(8), **{options}) == [*range(8)]
made = pmap(make, [3], **{options})
parmap.shutdown()
again = SharedMemory(name)  # it is still there, when all workers have gone
assert bytes(again.buf[:8]) == bytes(range(8))
again.close()
memory.close()
memory.unlink()
for name in made:
    other = SharedMemory(name)
    assert other.buf[0] == 3
    other.close()
    other.unlink()
print("done")
"""


@pytest.mark.parametrize("early", ["warm(2)", ""], ids=["tracker later", "tracker first"])
@pytest.mark.parametrize("options", [{"executor": "processes"}, {"retries": 1}], ids=str)
def test_shared_memory_survives_the_workers(script, options, early):
    """A block that tasks attach to, or make, is there until somebody unlinks it, without noise."""
    source = SHARED_MEMORY.replace("{options}", repr(options)).replace("{early}", early)
    done = script(source)

    assert (done.stdout, done.stderr) == ("done\n", "")


def test_what_we_use_of_multiprocessing_is_there():
    """The names that no documentation promises: if a release moves one, this says so."""
    from multiprocessing import connection, context, heap, process, reduction, resource_tracker

    resource_tracker.ensure_running()
    tracker = resource_tracker._resource_tracker
    table = reduction.ForkingPickler(io.BytesIO()).dispatch_table

    assert tracker.getfd() == tracker._fd
    assert hasattr(tracker, "_pid")
    assert context.get_spawning_popen() is None
    assert callable(context.set_spawning_popen)
    assert table[connection.Connection] is connection.reduce_connection
    assert table[heap.Arena] is heap.reduce_arena
    assert isinstance(process.current_process().authkey, bytes)

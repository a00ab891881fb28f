"""What travels between processes besides plain pickles: buffers, descriptors, whole messages."""

import errno
import os
import pickle
import socket
import threading
from functools import partial

import numpy as np
import pytest

from parmap import pmap, shutdown, warm
from parmap._records.work import Call, Chunk
from parmap._wire.channel import PAGES, PARTS, PREFIX, Channel, Message, Watched
from parmap._wire.locks_and_queues import Spawning
from parmap._wire.messages import SerializedCall
from parmap._wire.pickling import APART, dumps, loads
from parmap._wire.shared_memory import Region, open_region

needs_shared_memory = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="memory without a name is Linux's"
)


def table(first=0):
    """Return an array that is large enough to be shared."""
    return np.arange(first, first + APART, dtype=np.uint8)


def change_and_sum(array, index):
    """Write to a part of *array*; return what it holds."""
    array[index] += 1
    return int(array.sum())


def serialized(array):
    return SerializedCall(Call(partial(change_and_sum, array), "item"), shared=True)


def test_only_large_buffers_are_taken_out():
    """A large array leaves the pickle, a small one stays; both arrive."""
    small, large, apart = np.arange(10), table(), []

    data = dumps([small, large], apart)

    assert [len(buffer) for buffer in apart] == [APART]
    assert len(data) < 10_000
    arrived = loads(data, buffers=apart)
    assert all((a == b).all() for a, b in zip(arrived, [small, large], strict=True))


def test_what_is_in_two_pieces_stays():
    """An array that is not contiguous is pickled as ever."""
    apart = []

    data = dumps(np.arange(2 * APART, dtype=np.uint8)[::2], apart)

    assert loads(data, buffers=apart).shape == (APART,)


@pytest.fixture
def ends():
    """Both ends of a channel: that of a worker, and that of its parent."""
    ours, theirs = socket.socketpair()
    channels = Channel(theirs.detach()), Watched(ours, -1)
    yield channels
    for channel in channels:
        channel.close()


def send_beside(channel, message):
    """Send *message* in a thread: the other end reads it meanwhile."""
    thread = threading.Thread(target=channel.send, args=(message,))
    thread.start()
    return thread


@pytest.mark.parametrize("sender", [0, 1])
def test_either_end_sends_buffers_and_descriptors(ends, sender):
    """What one end sends, header, body, buffers of any size, and files, the other receives."""
    buffers = [b"x" * size for size in (0, 1, 100_000, PAGES + 1, *([70_000] * (PARTS + 3)))]
    read, write = os.pipe()
    thread = send_beside(ends[sender], Message(7, (1, "a", None), b"body", buffers, [write]))

    message = ends[1 - sender].receive()
    fd = ends[1 - sender].receive_fd()
    thread.join()
    os.write(fd, b"through the pipe")

    assert (message.kind, message.header, message.body) == (7, (1, "a", None), b"body")
    assert [bytes(buffer) for buffer in message.buffers] == buffers
    assert len(message.fds) == 1
    assert os.read(read, 100) == b"through the pipe"
    for each in (read, write, fd):
        os.close(each)


def test_a_message_has_any_number_of_buffers_and_descriptors(ends):
    """A chunk of many arrays is sent, and a function with many queues in it."""
    read, write = os.pipe()
    thread = send_beside(ends[0], Message(1, (), b"", [b""] * 70_000, [write] * 300))

    message = ends[1].receive()
    for _ in message.fds:
        os.close(ends[1].receive_fd())
    thread.join()

    assert (len(message.buffers), len(message.fds)) == (70_000, 300)
    os.close(read)
    os.close(write)


def test_messages_of_any_size_follow_each_other(ends):
    """Messages come one by one as they were sent, whatever their sizes."""
    bodies = [b"", b"a", bytes(3_000_000), b"b" * 65_536]

    for body in bodies:
        thread = send_beside(ends[0], Message(1, (), body))
        assert bytes(ends[1].receive().body) == body
        thread.join()


def test_an_end_in_the_middle_of_a_message_is_an_end_of_file(ends):
    """Half a message is none."""
    os.write(ends[0].fd, PREFIX.pack(1, 0, 0, 100, 100) + b"half of it")
    ends[0].close()

    with pytest.raises(EOFError):
        ends[1].receive()
    assert not ends[1].whole


def test_a_buffer_without_room_is_the_end_of_its_channel(ends, monkeypatch):
    """Where the system has no memory for a large result, its worker is lost, and not the call."""

    def refuse(*_):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("parmap._wire.channel.mmap.mmap", refuse)
    os.write(ends[0].fd, PREFIX.pack(1, 0, 1, 0, 0) + PAGES.to_bytes(8, "little"))

    with pytest.raises(EOFError):
        ends[1].receive()
    assert not ends[1].whole


def test_an_array_is_copied_twice_on_its_way(ends):
    """Into the pipe and out of it: what is sent is its memory, what arrives the memory of it."""
    array = np.arange(2**17, dtype=np.uint8)
    with Spawning() as handles:
        request = SerializedCall(Call(abs, "item")).request(Chunk(0, [array]), 1.0, handles=handles)
    thread = send_beside(ends[1], request)
    message = ends[0].receive()
    thread.join()
    (arrived,) = loads(message.body, buffers=message.buffers[1:])

    assert np.shares_memory(np.frombuffer(request.buffers[1], np.uint8), array)
    assert len(request.body) < 1000
    assert np.shares_memory(np.frombuffer(message.buffers[1], np.uint8), arrived)
    assert (arrived == array).all()
    assert arrived.flags.writeable


@pytest.mark.parametrize("size", [10, 2**16, 2**21])
def test_arrays_arrive_as_they_were_sent(size):
    """Arrays of any size come and go by value: what a task does to its own changes no other."""
    arrays = [np.full(size, n, dtype=np.uint8) for n in range(3)]

    def change(array):
        array += 1
        return array

    results = pmap(change, arrays, executor="processes", workers=2)

    assert all((array == n).all() for n, array in enumerate(arrays))
    assert all((result == n + 1).all() for n, result in enumerate(results))
    assert all(result.flags.writeable for result in results)


class Counted:
    """Counts in its array how often it was unpickled."""

    def __init__(self, size):
        self.array = np.zeros(size, dtype=np.uint8)

    def __setstate__(self, state):
        self.array = state["array"]
        self.array += 1


@pytest.mark.parametrize("size", [2**16, 2**21])
def test_a_result_that_changes_its_array_when_unpickled_does_so_once(size):
    """What a worker does to see whether a result can be sent does not show in the result."""
    results = pmap(Counted, [size] * 3, executor="processes", workers=2)

    assert [int(result.array.max()) for result in results] == [1, 1, 1]


class Sharing:
    """Hands its bytes to pickle as a buffer."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Sharing, (pickle.PickleBuffer(self.data),)


@pytest.mark.parametrize("size", [10, 2**16, 2**21])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_that_a_class_shares_arrive_as_bytes(kind, size):
    """What a class gives to pickle as a buffer has its type where it arrives, whatever its size."""
    (result,) = pmap(lambda item: item, [Sharing(kind(size))], executor="processes")

    assert result.data == kind(size)
    assert type(result.data) is kind


@needs_shared_memory
def test_a_region_holds_what_was_put_into_it():
    """Buffers of any length come back from a region, each on its own, and are told from others."""
    parts = [b"a" * 100_001, b"", b"b" * 65_536]
    buffers = [memoryview(part) for part in parts]
    region = Region(buffers)

    opened = open_region(os.dup(region.fd), region.sizes)

    assert [bytes(part) for part in opened] == parts
    assert region.holds(buffers)
    assert not region.holds(buffers[:2])
    assert not region.holds([memoryview(b"a" * 100_000 + b"b"), *buffers[1:]])


@needs_shared_memory
def test_equal_functions_share_a_region():
    """A function whose buffers are there already is not put there again; another one is."""
    first, same, other = serialized(table()), serialized(table()), serialized(table(1))

    assert first.region is same.region
    assert first.digest == same.digest
    assert other.region is not first.region
    assert other.digest != first.digest


@needs_shared_memory
def test_a_region_nobody_uses_is_closed():
    """The memory is given back when neither a call nor a worker holds it."""
    call = serialized(table())
    fd = call.region.fd
    os.fstat(fd)

    del call

    with pytest.raises(OSError):
        os.fstat(fd)


def test_a_large_array_of_the_function_is_each_workers_own():
    """Tasks may write to an array that came with the function: nobody else sees it."""
    array = table()
    before = int(array.sum())

    results = pmap(partial(change_and_sum, array), range(4), executor="processes", workers=2)

    assert int(array.sum()) == before
    assert all(before < result <= before + 4 for result in results)


def test_a_large_function_is_sent_again_after_a_change():
    """What the workers have is what the array holds when the call is made."""
    array = table()
    take = partial(np.take, array)

    assert pmap(take, [3], executor="processes") == [3]
    array[3] = 77
    assert pmap(take, [3], executor="processes") == [77]


def test_without_shared_memory_the_function_is_copied(monkeypatch):
    """Where there is no memory to share, a large function arrives all the same."""

    def refuse(buffers):
        raise OSError("no memory")

    monkeypatch.setattr("parmap._wire.messages.Region", refuse)

    assert pmap(partial(np.take, table(5)), [3], executor="processes") == [8]


def test_an_interrupt_in_the_middle_of_a_message_spoils_no_worker(monkeypatch):
    """A worker that has got half a request when Ctrl-C comes is not lent to the next call."""

    def interrupted(channel, message):
        channel.whole = False
        os.write(channel.fd, PREFIX.pack(message.kind, 0, 0, 100, 100) + b"half of it")
        raise KeyboardInterrupt

    warm(2)
    with monkeypatch.context() as patch:
        patch.setattr(Channel, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pmap(abs, [-1, -2], executor="processes")

    assert pmap(abs, range(-9, 0), executor="processes") == [*range(9, 0, -1)]


def test_a_default_timeout_that_a_task_sets_changes_nothing():
    """Nor has a task that sets one set it for its worker."""
    shutdown()
    pmap(socket.setdefaulttimeout, [0.001] * 4, executor="processes", workers=2)

    array = table()

    def answer(x):
        return x + bytes(len(array))

    results = pmap(answer, [b"x"] * 8, executor="processes", workers=2)

    assert results == [b"x" + bytes(APART)] * 8
    shutdown()


def test_a_default_timeout_of_sockets_changes_nothing():
    """A program that sets a timeout for its sockets has not set one for its workers."""
    before = socket.getdefaulttimeout()
    shutdown()  # the workers are started under that timeout
    socket.setdefaulttimeout(0.001)
    try:
        items = [bytes(3_000_000), b"x"]
        assert pmap(partial(np.take, table()), [3], executor="processes") == [3]
        assert pmap(len, items, executor="processes", chunksize=2) == [3_000_000, 1]
    finally:
        socket.setdefaulttimeout(before)
        shutdown()

"""What crosses a process border besides plain pickles: buffers, descriptors, whole messages."""

import os
import socket
from functools import partial

import numpy as np
import pytest

from parmap import pmap, shutdown, warm
from parmap.events import Call
from parmap.pickling import APART, dumps, loads
from parmap.transport import Channel, Region, open_region
from parmap.worker import Packed

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


def packed(array):
    return Packed(Call(partial(change_and_sum, array), "item"), shared=True)


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
    first, same, other = packed(table()), packed(table()), packed(table(1))

    assert first.region is same.region
    assert first.digest == same.digest
    assert other.region is not first.region
    assert other.digest != first.digest


@needs_shared_memory
def test_a_region_nobody_uses_is_closed():
    """The memory is given back when neither a call nor a worker holds it."""
    call = packed(table())
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

    monkeypatch.setattr("parmap.worker.Region", refuse)

    assert pmap(partial(np.take, table(5)), [3], executor="processes") == [8]


def test_an_interrupt_in_the_middle_of_a_message_spoils_no_worker(monkeypatch):
    """A worker that has got half a parcel when Ctrl-C comes is not lent to the next call."""

    def interrupted(channel, data):
        channel.whole = False
        os.write(channel.fd, len(data).to_bytes(8, "little") + data[: len(data) // 2])
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

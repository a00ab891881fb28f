"""What type checkers must make of the API: checked by mypy and pyright, both strict, never run.

A line marked as an error must be one: both complain about marks that nothing needs.
"""

import multiprocessing
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any, Literal, assert_type

from parmap import (
    Failure,
    aio,
    delayed,
    parallel,
    parallel_config,
    partition,
    pcall,
    picall,
    pimap,
    pistarmap,
    pmap,
    pstarmap,
    rng,
    shutdown,
    trace,
    warm,
)


def half(x: int) -> float:
    return x / 2


def join(a: int, b: str) -> bytes:
    return b.encode() * a


def three(a: int, b: str, c: float) -> str:
    return f"{a}{b}{c}"


def four(a: int, b: str, c: float, d: bytes) -> complex:
    return a + c * 1j


def five(a: int, b: str, c: float, d: bytes, e: bool) -> list[int]:
    return [a]


ints = [1, 2]
strings = {"a", "b"}
floats = (1.0, 2.0)
blobs = {b"k": 1}
truths = iter([True])

# One to five iterables

assert_type(pmap(half, ints), list[float])
assert_type(pmap(join, ints, strings), list[bytes])
assert_type(pmap(three, ints, strings, floats), list[str])
assert_type(pmap(four, ints, strings, floats, blobs), list[complex])
assert_type(pmap(five, ints, strings, floats, blobs, truths), list[list[int]])
assert_type(pmap(lambda x: str(x), ints), list[str])
assert_type(pmap(str, range(3)), list[str])
assert_type(
    pmap(half, ints, executor="processes", workers=2, chunksize="auto", retries=1), list[float]
)
assert_type(pmap(half, ints, progress="label", initializer=shutdown), list[float])
assert_type(pmap(half, ints, progress={"unit": "file"}, chunksize=3), list[float])
assert_type(pmap(half, ints, executor="dask", timeout=1.5), list[float])
assert_type(pmap(half, ints, executor="ray"), list[float])

# on_error

assert_type(pmap(half, ints, on_error="raise"), list[float])
assert_type(pmap(half, ints, on_error="return"), list[float | Failure])
assert_type(pmap(join, ints, strings, on_error="return"), list[bytes | Failure])
assert_type(
    pmap(five, ints, strings, floats, blobs, truths, on_error="return"), list[list[int] | Failure]
)
assert_type(pmap(three, ints, strings, floats, on_error="return"), list[str | Failure])
assert_type(pmap(four, ints, strings, floats, blobs, on_error="return"), list[complex | Failure])
assert_type(pmap(partial(int, base=2), ["1"], on_error="return"), list[int | Failure])


def instead(failure: Failure) -> None:
    return None


assert_type(pmap(half, ints, on_error=instead), list[float | None])
assert_type(pmap(join, ints, strings, on_error=instead), list[bytes | None])
assert_type(pmap(lambda x: str(x), ints, on_error=lambda failure: 0.5), list[str | float])

# executor


class OfJoblib:
    """What `joblib.Parallel` has, which ships no types."""

    n_jobs = 2

    def __call__(self, iterable: Any) -> Any:
        return iterable


def run_on(executor: Executor, name: Literal["threads", "processes"]) -> None:
    assert_type(pmap(half, ints, executor=executor), list[float])
    assert_type(pmap(half, ints, executor=name), list[float])


pmap(half, ints, executor=ThreadPoolExecutor(2))
pmap(half, ints, executor=ProcessPoolExecutor(2))
pmap(half, ints, executor=ThreadPool(2), on_error="return")
pmap(half, ints, executor=multiprocessing.Pool(2))
pmap(half, ints, executor=multiprocessing.get_context("spawn").Pool(2))
pmap(half, ints, executor=OfJoblib())

# pimap

results = pimap(half, ints)
lazy: Iterator[float] = results
assert_type(next(results), float)
results.close()
assert_type(list(pimap(half, ints, ordered=False, buffersize=4)), list[float])
assert_type(next(pimap(join, ints, strings)), bytes)
assert_type(next(pimap(half, ints, on_error="return")), float | Failure)
assert_type(next(pimap(half, ints, on_error=instead)), float | None)

# pstarmap, pcall, delayed

pairs = [(1, "a")]
assert_type(pstarmap(join, pairs), list[bytes])
assert_type(pstarmap(join, pairs, on_error="return"), list[bytes | Failure])
assert_type(pstarmap(join, pairs, on_error=instead), list[bytes | None])
assert_type(pcall([delayed(half)(1), delayed(half)(x=2)]), list[float])
assert_type(pcall([delayed(half)(1)], on_error="return"), list[float | Failure])
assert_type(pcall([delayed(half)(1)], on_error=instead), list[float | None])
assert_type(pcall((delayed(join)(n, "a") for n in ints), workers=2), list[bytes])
assert_type(pcall((half, (n,), {}) for n in ints), list[float])
assert_type(next(pistarmap(join, pairs)), bytes)
assert_type(next(pistarmap(join, pairs, ordered=False, buffersize=2)), bytes)
assert_type(next(pistarmap(join, pairs, on_error="return")), bytes | Failure)
assert_type(next(pistarmap(join, pairs, on_error=instead)), bytes | None)
assert_type(next(picall([delayed(half)(1), delayed(half)(x=2)])), float)
assert_type(next(picall([delayed(half)(1)], on_error="return", deadline=2.5)), float | Failure)
assert_type(next(picall([delayed(half)(1)], on_error=instead)), float | None)
assert_type(delayed(sorted)("bca", reverse=True)[1:], tuple[tuple[Any, ...], dict[str, Any]])
mixed: list[object] = pcall([delayed(max)(3, 8), delayed(sorted)("bca", reverse=True)])
numbers: list[float] = pcall([delayed(pow)(2, 3), delayed(round)(2.567, ndigits=1)])

# @parallel


@parallel
def bare(a: int, b: str = "") -> bytes:
    return b.encode() * a


@parallel(executor="threads", workers=2)
def with_options(a: int) -> float:
    return a / 2


@parallel()
def with_none(a: int) -> float:
    return a / 2


assert_type(bare(1), bytes)
assert_type(bare(1, b="x"), bytes)
assert_type(bare.map(ints), list[bytes])
assert_type(bare.map(ints, strings), list[bytes])
assert_type(bare.map(ints, executor="serial", on_error="return"), list[bytes | Failure])
assert_type(bare.map(ints, on_error=instead), list[bytes | None])
assert_type(bare.starmap(pairs), list[bytes])
assert_type(bare.starmap(pairs, on_error="return"), list[bytes | Failure])
assert_type(next(bare.imap(ints)), bytes)
assert_type(next(bare.imap(ints, on_error="return", ordered=False)), bytes | Failure)
assert_type(next(bare.istarmap(pairs)), bytes)
assert_type(next(bare.istarmap(pairs, on_error="return", ordered=False)), bytes | Failure)
assert_type(with_options(1), float)
assert_type(with_options.map(ints), list[float])
assert_type(with_none.map(ints), list[float])
plain: Callable[[int], bytes] = bare


class Scale:
    def __init__(self, k: int) -> None:
        self.k = k

    @parallel
    def scaled(self, x: int) -> float:
        return self.k * x / 2

    @staticmethod
    @parallel
    def halved(x: int) -> float:
        return x / 2


assert_type(Scale(2).scaled(1), float)
assert_type(Scale(2).scaled.map(ints), list[float])
assert_type(Scale.halved(1), float)
assert_type(Scale.halved.map(ints), list[float])

# Coroutine functions


async def later(x: int) -> float:
    return x / 2


async def joined(a: int, b: str) -> bytes:
    return b.encode() * a


@parallel(workers=3)
async def decorated(x: int) -> float:
    return x / 2


assert_type(pmap(later, ints), list[float])
assert_type(pmap(later, ints, on_error="return"), list[float | Failure])
assert_type(pmap(joined, ints, strings, on_error=instead), list[bytes | None])
assert_type(next(pimap(later, ints, ordered=False)), float)
assert_type(pstarmap(joined, pairs), list[bytes])
assert_type(pcall([delayed(later)(1)]), list[float])
assert_type(decorated.map(ints), list[float])
assert_type(next(decorated.imap(ints, on_error="return")), float | Failure)

# aio


async def lines() -> AsyncIterator[str]:
    yield "a"


async def awaited() -> None:
    assert_type(await aio.pmap(half, ints), list[float])
    assert_type(await aio.pmap(later, ints), list[float])
    assert_type(await aio.pmap(joined, ints, lines(), on_error="return"), list[bytes | Failure])
    assert_type(await aio.pmap(join, ints, lines(), on_error=instead), list[bytes | None])
    assert_type(await aio.pstarmap(join, pairs, workers=2), list[bytes])
    assert_type(await aio.pstarmap(joined, pairs), list[bytes])
    async with aio.pimap(later, ints, buffersize=3) as stream:
        assert_type([result async for result in stream], list[float])
    halves = aio.pimap(half, ints, on_error="return")
    assert_type(await anext(halves), float | Failure)
    await halves.aclose()
    await aio.pmap(half, lines())  # type: ignore[arg-type]
    await aio.pmap(later, strings)  # type: ignore[arg-type]
    await aio.pmap(half, ints, worker=2)  # type: ignore[call-overload]
    await aio.pmap(half, 3)  # type: ignore[call-overload]


# The rest

values, failures = partition(pmap(half, ints, on_error="return"))
assert_type(values, list[float])
assert_type(failures, list[Failure])
with parallel_config(executor="serial", on_error="return"):
    pass
parallel_config(workers=-1).apply()
warm()
warm(2)
shutdown()
assert_type(rng(), Any)
with trace() as t:
    assert_type(t, trace)
assert_type(t.calls[0].gain, float)
t.save("trace.html")
assert_type(pmap(half, ints, seed=1), list[float])
pmap(half, ints, seed="1")  # type: ignore[call-overload]


def about(failure: Failure) -> tuple[int, str, BaseException, str, str, int, float, int]:
    return (
        failure.index,
        failure.input,
        failure.exception,
        failure.traceback,
        failure.kind,
        failure.attempts,
        failure.seconds,
        failure.worker,
    )


def never(failure: Failure) -> int:
    failure.unwrap()
    return "unreachable"  # type: ignore[unreachable]


# Mistakes

pmap(half, strings)  # type: ignore[arg-type]
pmap(half, ints, strings)  # type: ignore[arg-type]
pmap(half, 3)  # type: ignore[call-overload]
pmap(half, ints, 4)  # type: ignore[call-overload]
pmap(half)  # type: ignore[call-overload]
pmap(half, ints, worker=2)  # type: ignore[call-overload]
pmap(half, ints, workers="2")  # type: ignore[call-overload]
pmap(half, ints, on_error="ignore")  # type: ignore[call-overload]
pmap(half, ints, timeout="3")  # type: ignore[call-overload]
pmap(half, ints, ordered=False)  # type: ignore[call-overload]
pimap(half, ints, buffersize="2")  # type: ignore[call-overload]
pstarmap(half, 3)  # type: ignore[call-overload]
pistarmap(half, 3)  # type: ignore[call-overload]
picall([half, half])  # type: ignore[arg-type]
pmap(half, ints, deadline="3")  # type: ignore[call-overload]
delayed(half)("a")  # type: ignore[arg-type]
delayed(half)()  # type: ignore[call-arg]
bare("a")  # type: ignore[arg-type]
bare(1, "b", 2)  # type: ignore[call-arg]
with_options(b=1)  # type: ignore[call-arg]
parallel_config(worker=2)  # type: ignore[call-arg]
partition(3)  # type: ignore[arg-type]
pmap(half, strings, on_error="return")  # type: ignore[call-overload]
pmap(half, ints, strings, on_error="return")  # type: ignore[call-overload]
pmap(join, ints, on_error="return")  # type: ignore[call-overload]
pmap(half, strings, on_error=instead)  # type: ignore[arg-type]
pimap(half, strings, on_error="return")  # type: ignore[call-overload]
pimap(five, ints, strings, floats, blobs, ints, on_error="return")  # type: ignore[call-overload]
pmap(half, ints, executor="process")  # type: ignore[call-overload]
pimap(half, ints, executor="thread")  # type: ignore[call-overload]
pstarmap(half, pairs, executor="Threads")  # type: ignore[call-overload]
pcall([delayed(half)(1)], executor="fork")  # type: ignore[call-overload]
bare.map(ints, executor="processs")  # type: ignore[call-overload]
parallel(executor="loky")  # type: ignore[call-overload]
parallel_config(executor="process")  # type: ignore[arg-type]
pmap(half, ints, executor=4)  # type: ignore[call-overload]
parallel_config(on_error="ignore")  # type: ignore[arg-type]
pcall([half, half])  # type: ignore[arg-type]

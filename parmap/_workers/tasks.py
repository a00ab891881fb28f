"""The one loop that runs tasks, wherever they run: in the caller, a thread, a worker process.

Guaranteed: whatever a task raises, `BaseException` included, is that task's failure and ends
nothing else; the loop stops after the task during which its time runs out, or the status says stop.
"""

from __future__ import annotations

import os
from _thread import get_ident
from contextvars import ContextVar
from itertools import islice
from time import perf_counter, thread_time

from .._engine.slices import LazyItems, Slice
from .._engine.source import SLOW
from .._records.callables import advise
from .._records.errors import TaskTimeout
from .._records.stack_frames import skip_ours, traceback_of
from .._records.work import Call, Chunk, Report, Timing
from .status_block import MOVING, RUNNING, SINCE, STOP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._records.failure import Caught, Kind
    from .status_block import Status


BLOCK = 0.0005  # seconds that tasks without a look at the clock, or at the status, should take
GRAIN = 0.0003  # the same of a traced call: what is shorter is timed together, for 1 to 2 % more
GROWTH = 4  # times the tasks of the last such block: they may be of another kind than the first

nested: ContextVar[int] = ContextVar("parmap.nested", default=0)
"""How deep this task is among workers, 0 outside: calls made in one run serially."""

loading: ContextVar[bool] = ContextVar("parmap.loading", default=False)
"""True while a worker loads a function or runs an initializer."""


def run_chunk(
    call: Call,
    chunk: Chunk,
    budget: float,
    status: Status,
    timeout: float | None = None,
    timed: bool = False,
) -> Report:
    """Run the tasks of *chunk* for about *budget* seconds; return what became of them.

    A task that takes longer than *timeout* seconds has failed, if nobody has killed it before.  If
    they are *timed*, the report has a `Timing`.

    To look at the clock and to say which task runs takes 0.1 us.  When it began, and whether to
    stop, takes as long again: that is for each task only if it has a *timeout*.
    """
    if call.seed is not None:
        return _with_numbers(run_chunk, call, chunk, budget, status, timeout, timed)
    values: list[object] = []
    caught: dict[int, Caught] = {}
    keep, results = values.append, call.results(chunk.items, chunk.start)
    cpu_before = thread_time()
    began = now = perf_counter()
    deadline = began + (budget if timeout is None else min(budget, timeout))
    status[SINCE] = look = now
    pause = 0.0 if timeout is not None else GRAIN if timed else BLOCK
    timing = Timing(get_ident(), [], []) if timed else None
    for index in range(chunk.start, chunk.start + len(chunk.items)):
        status[RUNNING] = index
        try:
            keep(next(results))
        except BaseException as error:
            if is_interrupt(error):
                raise
            advise(call.fn, call.shape, chunk.items, len(values), error)
            caught[len(values)] = catch(error, "error", perf_counter() - now)
            keep(None)
        now = perf_counter()
        if now >= look:
            if timing is not None:
                timing.positions.append(len(values))
                timing.ends.append(now)
            if now >= deadline or status[STOP]:
                break
            status[SINCE] = now
            look = min(deadline, now + pause)
    if timeout is not None and now - status[SINCE] > timeout:  # beyond the deadline: the last one
        late = TaskTimeout(f"the task took longer than {timeout} s")
        caught[len(values) - 1] = catch(late, "timeout", now - status[SINCE])
        values[-1] = None
    status[SINCE] = now
    status[RUNNING] = MOVING
    cpu = thread_time() - cpu_before
    report = Report(chunk, values, caught, now - began, cpu, None, began, os.getpid())
    report.timing = timing
    return report


def run_here(call: Call, chunk: Chunk, budget: float, *, with_cpu: bool = True) -> Report:
    """Do the same as `run_chunk` in the caller's thread, at the speed of the loop it replaces.

    Tasks that are much shorter than a look at the clock run in blocks, without one.  The report is
    on what was there: items are drawn as their tasks run, and a task may change the list of them.
    To ask for the processor time takes 1 us: only *with_cpu*.
    """
    if call.seed is not None:
        return _with_numbers(run_here, call, chunk, budget, with_cpu=with_cpu)
    values: list[object] = []
    caught: dict[int, Caught] = {}
    items: Any = chunk.items
    results, size = call.results(items, chunk.start), len(items)
    unread = items if type(items) is LazyItems else None
    cpu_before = thread_time() if with_cpu else 0.0
    began = before = now = perf_counter()
    deadline, block = began + budget, 1
    timing = Timing(0, [], []) if call.watch is not None else None
    pause = BLOCK if timing is None else GRAIN
    while now < deadline and (done := len(values)) < size:
        if done:
            block = min(GROWTH * block, 1 + int(block * pause / (now - before + 1e-9)))
            if timing is not None:
                timing.positions.append(done)
                timing.ends.append(now)
        before, end = now, min(done + block, size)
        try:
            # what came before an error is kept
            bounded = end < size or unread is not None
            values.extend(islice(results, end - done) if bounded else results)
            if len(values) < end:  # of the input, or to `extend`, which has lost an exception
                if type(items) in (Slice, LazyItems) and items.ends_at(len(values)):
                    break
                raise StopIteration
        except BaseException as error:
            if is_interrupt(error):
                raise
            if unread is not None and unread.has_raised(len(values), error):
                break
            now = perf_counter()
            drawn = items if unread is None else unread.drawn
            advise(call.fn, call.shape, drawn, len(values), error)
            caught[len(values)] = catch(error, "error", now - before)
            values.append(None)
            break  # the loop would end here: whether to go on is not for us to say
        now = perf_counter()
        if unread is not None and unread.seconds > SLOW:
            break  # what is finished does not wait for it
    seconds, cpu = now - began, thread_time() - cpu_before if with_cpu else 0.0
    done = len(values)
    if unread is not None:
        seconds, cpu = max(0.0, seconds - unread.seconds), max(0.0, cpu - unread.cpu)
        chunk = Chunk(chunk.start, unread.settle(), chunk.attempts)
    elif type(items) is Slice and (done > size or (done < size and items.ends_at(done))):
        items = items.reaching(done)
        chunk = Chunk(chunk.start, items, chunk.attempts)
    report = Report(chunk, values, caught, seconds, cpu, None, began)
    report.timing = timing
    return report


def _with_numbers(run: Any, call: Call, chunk: Chunk, *args: Any, **options: Any) -> Report:
    """Do what *run* does, each task with the random numbers that its seed gives it.

    Maps in its tasks are as in a worker, also here: with workers of their own, whose tasks have no
    such numbers, they would depend on where this runs.
    """
    from .random_numbers import seeded

    token = nested.set(nested.get() or 1)
    try:
        return seeded(run, call, chunk, *args, **options)
    finally:
        nested.reset(token)


def catch(error: BaseException, kind: Kind, seconds: float) -> Caught:
    """Record *error*, raised by a task that ran here for *seconds*, without our own frames."""
    from traceback import format_exception, format_tb

    from .._records.failure import Caught

    frame = skip_ours(traceback_of(error))
    BaseException.with_traceback(error, frame)
    try:
        text = "".join(format_exception(error))
    except BaseException as other:  # of what the exception defines, which may be anything
        if is_interrupt(other):
            raise
        text = "".join([*format_tb(frame), type(error).__qualname__])
    return Caught(error, text, kind, seconds, os.getpid())


def is_interrupt(error: BaseException) -> bool:
    """Tell whether *error* is Ctrl-C, which is for the caller, and none that the task raised.

    The signal reaches the main thread, but not in workers: ours ignore it, and those of others
    cannot pass it on.  It comes between two instructions, and from no `raise` statement but the one
    with which `asyncio.run` passes it on.
    """
    if not issubclass(type(error), KeyboardInterrupt):
        return False
    from multiprocessing import parent_process
    from opcode import opmap
    from signal import SIG_IGN, SIGINT, getsignal
    from threading import current_thread, main_thread

    worker = getsignal(SIGINT) is SIG_IGN or (nested.get() and parent_process())
    if worker or current_thread() is not main_thread():
        return False
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    return (
        last is None
        or last.tb_frame.f_code.co_code[last.tb_lasti] != opmap["RAISE_VARARGS"]
        or last.tb_frame.f_globals.get("__name__") == "asyncio.runners"
    )

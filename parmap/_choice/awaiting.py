"""What is particular to a call whose tasks are awaited: that of a coroutine function."""

from __future__ import annotations

from .._records.errors import short_repr
from .._records.machine import imported
from .options import is_named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._executors.coroutines import Coroutines
    from .._records.work import Call

IN_THIS_PROCESS = ("auto", "serial")


def check_awaited(door: str, call: Call, options: dict[str, Any]) -> None:
    """Note that *call* is of coroutine functions; raise ValueError if *options* do not fit that.

    One whose tasks have a function each becomes one of a function that awaits them.
    """
    if not is_named(options["executor"], *IN_THIS_PROCESS):
        raise ValueError(
            f"executor={short_repr(options['executor'])} cannot run a coroutine function, whose "
            "tasks take turns in one event loop: leave executor= away, or map a function that "
            "runs a loop of its own, lambda x: asyncio.run(fn(x))"
        )
    if options["seed"] is not None:
        raise ValueError(
            f"seed={options['seed']} cannot be had by coroutine functions, whose tasks take turns "
            "in one thread, with one state of random and of numpy.random: give each a generator of "
            "its own as an argument, made from one of "
            f"numpy.random.SeedSequence({options['seed']}).spawn(len(xs))"
        )
    if options["max_tasks_per_worker"] is not None:
        raise ValueError(
            f"max_tasks_per_worker={options['max_tasks_per_worker']!r} needs worker processes; the "
            f"tasks of a coroutine function run in this one: {door}() cannot honour it"
        )
    call.awaited = True
    if call.shape == "task":
        call.fn, call.shape = _apply, "args"


async def _apply(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return await fn(*args, **kwargs)


def coroutines(call: Call, workers: int, options: dict[str, Any], loop: Any) -> Coroutines:
    """Return the executor for *call*: on *loop*, or else on a loop of its own in this thread.

    Raises RuntimeError if this thread has a running loop, which would have to wait for another.
    """
    from .._executors.coroutines import Lent, Own

    limit = None if options["timeout"] is None else float(options["timeout"])
    if loop is not None:
        return Lent(call, workers, limit, loop)
    asyncio = imported("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "a coroutine function cannot be mapped by who would keep the running event loop from "
            "running it: write `await aio.pmap(...)`, with `from parmap import aio`"
        )
    return Own(call, workers, limit)

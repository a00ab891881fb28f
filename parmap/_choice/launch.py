"""From checked input and options to a call under way: choice, observers, run."""

from __future__ import annotations

from functools import partial
from time import monotonic

from .._engine.scheduler import Run
from .options import is_named, tracing
from .plan import choose, sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._engine.interfaces import Executor, Feed
    from .._observers.dispatch import Observers
    from .._observers.relay import Relay
    from .._records.work import Call, Report


def launch(
    call: Call,
    source: Feed,
    options: dict[str, Any],
    *,
    asked: bool,
    ordered: bool = True,
    first: Report | None = None,
    observers: Observers | None = None,
    loop: Any = None,
) -> Run:
    """Return a run of *call*, of which *first* was done already; it closes *observers*.

    *asked*: the call itself named its executor.  *ordered*: its results are wanted in order.
    *loop*: see `choose`.
    """
    how: Any = {"asked": asked, "ordered": ordered, "first": first, "loop": loop}
    if (trace := tracing.get()) is None or (watch := trace.watch(call, source)) is None:
        return _launch(call, source, options, observers=observers, **how)
    from .._observers.dispatch import Observers

    call.watch = watch
    observers = Observers([*(observers or ()), watch])
    try:
        return _launch(call, source, options, observers=observers, **how)
    except BaseException as error:  # none has begun
        watch.refuse(error)
        raise


def _launch(
    call: Call,
    source: Feed,
    options: dict[str, Any],
    *,
    asked: bool,
    ordered: bool,
    first: Report | None,
    observers: Observers | None,
    loop: Any,
) -> Run:
    seconds = options["deadline"]
    end = 0.0 if seconds is None else monotonic() + float(seconds)  # to choose takes time, too
    if options["seed"] is not None:
        call.seed = int(options["seed"])
    if options["progress"] is not False and observers is None:
        from .._observers.dispatch import Observers

        observers = Observers()
    tell = None if observers is None else observers.tell
    watching: Observers | Relay | None = observers
    if options["relay"] and not is_named(options["executor"], "serial", "threads"):
        from .._observers.relay import Relay

        at_once = options["relay"] == "at_once"
        watching = call.relay = Relay(at_once=at_once, ordered=ordered, others=observers)
    executor: Executor = choose(call, source, options, asked=asked, tell=tell, loop=loop)
    if seconds is not None:
        from .._engine.deadline import Bounded

        executor = bounded = Bounded(executor, source, float(seconds), end)
        if bounded.is_coarse and options["chunksize"] == "auto":
            options = {**options, "chunksize": 1}  # which costs 50 to 300 us a task
    if call.watch is not None:
        from .._engine.clocked import Clocked

        executor = Clocked(executor, call.watch)
    cut = sizes(call, options)
    run = Run(source, executor, cut, int(options["retries"]), watching, first)
    if options["progress"] is not False and observers is not None:
        from .._observers.progress import Bar

        try:
            workers = partial(getattr, executor, "workers")
            observers.append(Bar(options["progress"], source.total, workers))
        except BaseException:  # of a class or arguments of the caller's
            run.close()
            raise
    return run

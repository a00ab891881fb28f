"""From what a door was given to a call under way: checks, choice, observers, run."""

from __future__ import annotations

from .._engine.chunking import Sizes
from .._engine.results import collect
from .._engine.scheduler import Run
from .._engine.source import Source
from .arguments import check_callable, check_iterables, check_task
from .auto import run_at_once
from .options import DEFAULTS, resolve
from .plan import choose, contain_failures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .._engine.executor import Executor
    from .._observers.observers import Observer, Observers
    from .._records.work import Call, Report


def shape_of(iterables: tuple[object, ...]) -> str:
    """Return the shape of the items of a map over *iterables*, as a `Call` has it."""
    return "item" if len(iterables) == 1 else "args"


def run_all(
    door: str, call: Call, iterables: tuple[Iterable[Any], ...], given: dict[str, Any]
) -> list[Any]:
    """Return the results of a call of *door*."""
    source, options = _check(door, call, iterables, given)
    first = run_at_once(call, source) if options is DEFAULTS else None
    if first is not None and source.is_over() and not first.caught and source.error is None:
        return first.values
    run = launch(call, source, options, asked="executor" in given, first=first)
    return collect(run, options["on_error"])


def start(
    door: str, call: Call, iterables: tuple[Iterable[Any], ...], given: dict[str, Any]
) -> tuple[Run, Any]:
    """Return a call of *door* under way, and what becomes of its failures."""
    source, options = _check(door, call, iterables, given)
    return launch(call, source, options, asked="executor" in given), options["on_error"]


def _check(
    door: str, call: Call, iterables: tuple[Iterable[Any], ...], given: dict[str, Any]
) -> tuple[Source, dict[str, Any]]:
    """Check everything that can be checked; return the input and all options."""
    options = resolve(given, door, call.fn)
    if call.shape != "task":
        check_callable(call.fn, door)
    check_iterables(iterables, door)
    call.initializer = options["initializer"]
    return Source(iterables, check_task if call.shape == "task" else None), options


def launch(
    call: Call,
    source: Source,
    options: dict[str, Any],
    *,
    asked: bool,
    first: Report | None = None,
    observed_by: tuple[Observer, ...] = (),
) -> Run:
    """Return a run of *call*, of which *first* was done already.

    *asked*: the call itself named its executor.  The run closes those that it is *observed_by*.
    """
    observers: Observers | None = None
    executor: Executor | None = None
    try:
        if observed_by or options["progress"] is not False:
            from .._observers.observers import Observers

            observers = Observers(*observed_by)
        tell = observers.tell if observers else None
        executor = choose(call, source, options, asked=asked, tell=tell)
        if observers is not None and options["progress"] is not False:
            from .._observers.progress import Bar

            observers.add(Bar(options["progress"], source.total))
    except BaseException:  # also of a class or arguments of the caller's
        for opened in (executor, observers):
            if opened is not None:
                opened.close()
        raise
    size = options["chunksize"]
    sizes = Sizes(
        None if size == "auto" else int(size),
        getattr(executor, "known", None),
        contain_failures=contain_failures(options),
        most=options["max_tasks_per_worker"],
    )
    return Run(source, executor, sizes, int(options["retries"]), observers, first)

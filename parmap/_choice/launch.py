"""From what a door was given to a call under way: checks, choice, observers, run.

What a map of a few cheap items does not need is imported when it is needed.
"""

from __future__ import annotations

from .._engine.source import Source
from .arguments import check_callable, check_iterables, check_task
from .known import run_at_once
from .options import DEFAULTS, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .._engine.scheduler import Run
    from .._observers.observers import Observers
    from .._records.work import Call, Report


def run_all(
    door: str, call: Call, iterables: tuple[Iterable[Any], ...], given: dict[str, Any]
) -> list[Any]:
    """Return the results of a call of *door*."""
    source, options = check_all(door, call, iterables, given)
    first = run_at_once(call, source) if options is DEFAULTS else None
    if first is not None and source.is_over() and not first.caught and source.error is None:
        return first.values
    from .._engine.results import collect

    run = launch(call, source, options, asked="executor" in given, first=first)
    return collect(run, options["on_error"])


def check_all(
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
    observers: Observers | None = None,
) -> Run:
    """Return a run of *call*, of which *first* was done already; it closes *observers*.

    *asked*: the call itself named its executor.
    """
    from .._engine.scheduler import Run
    from .plan import choose, sizes

    if options["progress"] is not False and observers is None:
        from .._observers.observers import Observers

        observers = Observers()
    tell = None if observers is None else observers.tell
    executor = choose(call, source, options, asked=asked, tell=tell)
    cut = sizes(call, executor, options)
    run = Run(source, executor, cut, int(options["retries"]), observers, first)
    if options["progress"] is not False and observers is not None:
        from .._observers.progress import Bar

        try:
            observers.append(Bar(options["progress"], source.total))
        except BaseException:  # of a class or arguments of the caller's
            run.close()
            raise
    return run

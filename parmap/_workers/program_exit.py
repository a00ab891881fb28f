"""The order of endings, when the program ends while calls are under way."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress
from threading import Thread, current_thread, get_ident, main_thread
from time import monotonic, sleep
from weakref import WeakSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Finishing(Protocol):
        """Who has something to finish when the program ends."""

        def finish(self) -> None: ...


PATIENCE = 1.0  # seconds for what is being started at the end of the program
_callers: WeakSet[Thread] = WeakSet()  # the threads that have started workers
_starting: set[int] = set()  # the threads that do it at this moment

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_starting.clear)
_over = False  # the program has come to its end
_finishing: WeakSet[Finishing] = WeakSet()
_hooks: set[tuple[Callable[[], None], int]] = set()


def first_at_exit(hook: Callable[[], None]) -> None:
    """Have *hook* called at the end of the program before a library waits there for its tasks.

    The hook registered last runs first: so call this when that library was imported.  In a fork of
    this process it does nothing: what it ends is not there.
    """
    here = os.getpid()
    if (hook, here) not in _hooks:
        _hooks.add((hook, here))
        register = getattr(threading, "_register_atexit", atexit.register)
        with suppress(RuntimeError):  # the program is ending already
            register(lambda: hook() if os.getpid() == here else None)


def finish_first(who: Finishing) -> None:
    """Have *who* finish what it does at the end of the program, before the libraries end."""
    _finishing.add(who)
    first_at_exit(finish_threads)


def finish_threads() -> None:
    """At the end of the program, wait for the threads with calls that Python waits for later.

    Then the libraries take no more tasks.  From here on daemon threads halt in `halt_daemon`.
    """
    global _over
    for who in list(_finishing):
        who.finish()
    # Those of a ThreadPoolExecutor wait to be told.
    pooled = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", ())
    for thread in list(_callers):
        if not (thread.daemon or thread is main_thread() or thread in pooled):
            thread.join()
    _over = True
    end = monotonic() + PATIENCE
    while _starting and monotonic() < end:
        sleep(0.01)


def begin_start() -> None:
    """Say that this thread starts workers: until `end_start`, the end of the program waits."""
    _callers.add(current_thread())
    _starting.add(get_ident())
    halt_daemon()


def end_start() -> None:
    """Say that it has started them, or has failed."""
    _starting.discard(get_ident())


def halt_daemon() -> None:
    """Go no further in a daemon thread at the end of the program: what it did would be left."""
    while _over and current_thread().daemon:
        _starting.discard(get_ident())
        sleep(60)


def at_the_end() -> bool:
    """Tell whether the program has come to what it registered for its end."""
    return _over or not main_thread().is_alive()

"""The life of a worker process, from the inside: it handles requests until its channel ends.

Guaranteed:

- results and exceptions are pickled here, and tried for unpickling: what cannot cross is the
  failure of its own task, all else is sent;
- a message that cannot be loaded is answered, and the worker lives on;
- the worker ends when the other end of its channel is closed, within two seconds if it is idle.

Assumed: a task may do anything to its process, even end it.  The parent then reads from the status
block, memory shared with it, which task it was.
"""

from __future__ import annotations

import io
import os
import select
import sys
from _thread import RLock
from contextlib import nullcontext, suppress
from functools import partial
from time import perf_counter
from types import FunctionType, MethodType

from .._records.c_modules import pickle, signal
from .._records.work import Chunk, Report
from .._wire import messages
from .._wire.channel import Channel, Message
from .._wire.locks_and_queues import handed
from .._wire.pickling import dumps, loads
from .._wire.refusal import refusal
from .._wire.shared_memory import open_region
from .._wire.unpickling import load
from .capture import begin, end
from .edited_modules import are_edited, watch_modules
from .environment import enter, set_filters
from .function_cache import RESTED, SWELL, FunctionCache
from .inherited import part_ways
from .parent_death import die_with_parent
from .status_block import LEAVING, LOADING, MOVING, RUNNING, SINCE, StatusBlock, new_status
from .tasks import catch, loading, nested, run_chunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.failure import Caught
    from .status_block import Status

    resource: Any
else:
    try:
        import resource
    except ImportError:  # not POSIX
        resource = None

LIMITED = [
    getattr(resource, f"RLIMIT_{name}", 0) for name in ("AS", "CPU", "DATA", "FSIZE", "NOFILE")
]
STACK_GLOBAL = b"\x93"  # the opcode before which a pickle names a class or a function

# What this process has loaded, be it a worker of ours or of another pool, and by which initializers
# it was prepared: by their digests, with the globals that each has set.
_calls = FunctionCache()
_loading = RLock()  # those of other pools may have several threads
_nothing = nullcontext()
_initialized: dict[bytes, dict[str, Any]] = {}
_granted: list[tuple[int, int]] | None = None  # the limits of this process, once initialized


def handle_request(
    request: Message, status: Status, receive_fd: Callable[[], int] | None = None
) -> Message:
    """Run the chunk in *request*; return the answer for `SerializedCall.report`.

    *receive_fd* is asked for the descriptors that come with it, if there are any.
    """
    status[RUNNING] = LOADING
    began = perf_counter()
    function, (start, budget, timeout, seed, timed), enters, has_tracker, _ = request.header
    size = len(request) if timed else 0
    digest, has_function, initializer, sizes, number = function
    buffers = request.buffers
    state = buffers.pop(0) if enters == messages.NEW_STATE else b""
    packed = buffers.pop(0) if has_function else None
    tracker, regions, handles = None, [], []
    if receive_fd and request.fds:
        try:
            if has_tracker:
                tracker = receive_fd()
            regions = open_region(receive_fd(), sizes) if sizes else []
            handles = [receive_fd() for _ in range(len(request.fds) - has_tracker - bool(sizes))]
        except OSError as error:  # no descriptor or no memory is left; and the channel is at odds
            return Message(messages.UNFIT, (f"{type(error).__name__}: {error}",))
    if enters and are_edited():
        return Message(messages.STALE)
    where = "the change of directory"
    is_loading = loading.set(True)
    try:
        if enters:
            enter(state, tracker)
        where = messages.LOADING_FUNCTION
        with _loading:
            number = number if has_function else 0
            if digest in _calls:  # a pool sends it always
                call, fresh = _calls.use(digest), False
            elif packed is None:
                return Message(messages.LACKING)
            else:
                with handed(handles[:number]):
                    call, fresh = load(packed, regions), True
                _calls[digest] = call, SWELL * len(packed) + sum(sizes)
                set_filters()  # it may have imported categories of warnings
            where = "the initializer"
            if initializer is not None:
                _initialize(call.obj.initializer, initializer, fresh)
        loaded = perf_counter()
        if start != messages.LOAD:
            status[SINCE] = loaded
            status[RUNNING] = MOVING
        where = ""
        with handed(handles[number:]) if handles else _nothing:
            arrived = load(request.body, buffers)
            chunk = Chunk(start, arrived.obj)
        if start == messages.LOAD:
            return _import(chunk, began)
    except BaseException as error:
        if not where:
            text = f"input arrived, but cannot be unpickled: {type(error).__qualname__}: {error}"
            return Message(messages.UNREADABLE, (text, _missing(error)))
        caught = catch(error, "error", 0.0)
        told = dumps((_portable(caught).exception, caught.traceback))
        return Message(messages.REFUSED, (digest, _missing(error), where), told)
    finally:
        loading.reset(is_loading)
        for fd in handles:  # whether they were needed or not
            os.close(fd)
    global _granted
    _granted = _granted or _limits()
    # Both may have brought values of context variables.
    tasks = call.obj if seed is None else call.obj.with_seed(seed)
    report = call.run(arrived.run, run_chunk, tasks, chunk, budget, status, timeout, timed)
    if _limits() != _granted:  # the next task shall not have them
        status[RUNNING] = LEAVING
    answer = _pack_report(report, [] if receive_fd else None)
    if (timing := report.timing) is not None:
        marks = timing.thread, timing.positions, timing.ends
        answer.header = (*answer.header, (*marks, began, loaded, perf_counter(), _peak(), size))
    return answer


def _import(chunk: Chunk, began: float) -> Message:
    """Import the modules that items will need, as far as they can be had; the function is loaded.

    Who needs one that cannot says so.
    """
    for name in chunk.items:
        with suppress(Exception):
            __import__(name)
    return _pack_report(Report(chunk, [], None, perf_counter() - began), None)


def _missing(error: BaseException) -> str | None:
    """Return the name of the module that could not be imported, "" if not all of it is there."""
    if isinstance(error, ModuleNotFoundError):
        return error.name
    return "" if isinstance(error, (AttributeError, ImportError)) else None


def _initialize(initializer: Any, digest: bytes, loaded: bool) -> None:
    """Run *initializer*, or let a call just *loaded* find what it has set before."""
    global _granted
    function = initializer
    while type(function) in (partial, MethodType):  # others may make up attributes
        function = function.func if type(function) is partial else function.__func__
    names = function.__globals__ if type(function) is FunctionType else {}
    if digest not in _initialized:
        before = dict(names)
        initializer()
        _granted = None
        _initialized[digest] = {
            name: value for name, value in names.items() if before.get(name, _calls) is not value
        }
    elif loaded and names is not vars(sys.modules.get(names.get("__name__", ""), _calls)):
        names.update(_initialized[digest])  # not those of a module, which has them


def handle_in_pool(
    request: Message,
    level: int,
    line: tuple[int, int] | None = None,
    path: list[str] | None = None,
    more_path: tuple[str, ...] = (),
) -> Message:
    """Do the same as `handle_request`, for an executor that is not ours and may run us anywhere.

    *level* is how deep that is among workers.  Modules are looked for on the *path*; or where they
    always are there, and then on *more_path*.
    """
    if line is not None:
        die_with_parent(*line)
    if path is not None:
        sys.path[:] = path
    look_in(more_path)
    part_ways()
    token = nested.set(level)
    worker, status = os.getpid(), new_status()
    capture = begin(request.header, status)
    try:
        answer = handle_request(request, status)
        end(capture, answer, lent=True)
        return answer
    finally:
        with _loading:
            _calls.trim()
        nested.reset(token)
        if os.getpid() != worker:  # a child that a task has forked is no worker
            os._exit(1)


def look_in(folders: tuple[str, ...]) -> None:
    """Look for modules in these *folders*, too, behind all others."""
    sys.path.extend(entry for entry in folders if entry not in sys.path)


def _pack_report(report: Report, apart: list[Any] | None) -> Message:
    """Return the answer with *report*; large buffers are put into *apart*, if that can be sent."""
    values, caught = report.values, report.caught
    try:
        body = dumps(values, apart, least=messages.COPIED)
        # With buffers apart it is large, and a class that writes to its array would do it to ours.
        if not apart and len(body) <= messages.TRIED_BYTES and STACK_GLOBAL in body:
            loads(body)
    except BaseException:
        for position, value in enumerate(values):
            try:
                loads(dumps(value))
            except BaseException as error:
                text = refusal(value, "result", error)
                values[position] = None
                caught[position] = catch(pickle.PicklingError(text), "unpicklable", report.seconds)
        apart = apart and []
        body = dumps(values, apart, least=messages.COPIED)
    buffers = apart or []
    if caught:
        buffers = [dumps({position: _portable(c) for position, c in caught.items()}), *buffers]
    header = report.seconds, report.cpu, report.began, report.worker, bool(caught)
    return Message(messages.DONE, header, body, buffers)


def _portable(caught: Caught) -> Caught:
    from dataclasses import replace

    from .._records.portable_exceptions import portable

    return replace(caught, exception=portable(caught.exception, dumps, loads, bare=True))


def main(channel: int, block: int, line: int) -> None:
    """Be a worker: answer the messages of *channel* until it ends.

    *channel* is the descriptor of a socket, *block* that of the file of a `StatusBlock`; *line* is
    the end of the `parent_pipe`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends us if need be
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # what was printed survives a crash
    nested.set(1)
    for fd in (channel, block, line):
        os.set_inheritable(fd, False)
    shared = StatusBlock(block)
    shared.dump_stack_when_killed(block)
    status = shared.status
    die_with_parent("self", line)
    pipe = Channel(channel)
    worker = os.getpid()
    # A child that a task has forked is no worker, even if it comes back from the task: without the
    # status the loop stumbles that runs the tasks.
    os.register_at_fork(after_in_child=pipe.close)
    os.register_at_fork(after_in_child=shared.part)
    watch = select.poll()
    watch.register(pipe.fd, select.POLLIN)
    try:
        pipe.send(Message(messages.READY))
        while status[RUNNING] != LEAVING:
            request = _next(pipe, watch)
            capture = begin(request.header, status, shared.output)
            try:
                answer = handle_request(request, status, pipe.receive_fd)
            except Exception as error:  # no memory, say, to pickle the results
                text = f"the tasks have no outcome: {type(error).__qualname__}: {error}"
                answer = Message(messages.UNREADABLE, (text, None))
            end(capture, answer)
            watch_modules()  # before the answer: whoever has that may edit them
            pipe.send(answer)
            del request, answer  # not to be held while we wait
    except (EOFError, OSError, MemoryError):
        pass  # the parent closed the channel, or is dead, or a task closed it; or it takes too much
    finally:
        if os.getpid() != worker:
            os._exit(1)
        # What the tasks left behind (threads that do not end, slow exit handlers) must not keep us:
        # the alarm ends us.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2)


def _next(pipe: Channel, watch: select.poll) -> Message:
    """Return the next request; forget meanwhile what is not needed."""
    while True:
        if _calls and not watch.poll(1000 * RESTED):
            _calls.drop()
        message = pipe.receive()
        if message.kind != messages.FORGET:
            return message
        _calls.drop(*message.header)


def _peak() -> int:
    """Return how much memory this process has had at most, in bytes; 0 where nobody says it."""
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    peak: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return unit * peak


def _limits() -> list[tuple[int, int]]:
    """Return what this process may have of what tasks may limit for themselves."""
    return list(map(resource.getrlimit, LIMITED)) if resource is not None else []

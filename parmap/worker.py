"""The life of a worker process, and what crosses its border.

Guaranteed:

- results and exceptions are pickled here, and tried for unpickling: what cannot cross is the
  failure of its own task, all else is sent;
- a message that cannot be loaded is answered, and the worker lives on;
- the worker ends when the other end of its channel is closed, within two seconds if it is idle.

Assumed: a task may do anything to its process, even end it.  The parent then reads from the note,
a page of memory shared with it, which task it was.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
from _thread import RLock
from contextlib import suppress
from functools import partial
from time import perf_counter
from weakref import WeakValueDictionary

from .events import Call, Chunk, Loss, Report
from .lifeline import hold
from .note import LEAVING, LOADING, MOVING, RUNNING, SINCE, Page, be_silent, new_note, speak
from .tasks import catch, nested, run_chunk
from .transport import Channel, Region, dumps, loads, open_region, pickles, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .note import Note
    from .outcome import Caught

    Place = tuple[str, list[str], dict[str, str]]

READY = b"ready"  # a worker's first message
STALE = b"stale"  # its answer to a call that comes after modules it has imported were edited
STACK_GLOBAL = b"\x93"  # the opcode before which a pickle names a class or a function
CACHED_CALLS = 8  # functions a worker keeps loaded: more cost memory, fewer are sent again
TRIED_BYTES = 65536  # larger results are not unpickled on trial: it would cost as much as the task


class Recent:
    """The calls used last, by digest: kept alike by a worker and by whoever feeds it."""

    def __init__(self) -> None:
        self._calls: dict[bytes, Any] = {}

    def __contains__(self, digest: object) -> bool:
        return digest in self._calls

    def get(self, digest: bytes) -> Any:
        """Return what is kept for *digest*, which is the most recent one from now on."""
        call = self._calls[digest] = self._calls.pop(digest)
        return call

    def put(self, digest: bytes, call: Any) -> None:
        """Keep *call*, instead of the one not used for longest if there are too many."""
        self._calls[digest] = call
        if len(self._calls) > CACHED_CALLS:
            del self._calls[next(iter(self._calls))]


class Packed:
    """A call as bytes, made once and sent to each worker at most once.

    If it may be *shared*, its large buffers lie in a `region` that all workers map.

    Raises PicklingError, naming the part, if the function or the initializer cannot be pickled.
    """

    def __init__(self, call: Call, *, shared: bool = False) -> None:
        self.shape = call.shape
        measured = "cloudpickle" in sys.modules  # else its import would count
        began = perf_counter()
        buffers: list[memoryview] = []
        try:
            # In one pickle, so that functions of `__main__` share their globals: what the
            # initializer sets there, the function finds.
            self.call = dumps(call, buffers if shared else None)
            self.region = self._share(call, buffers) if buffers else None
        except Exception as error:
            name = "initializer" if call.initializer and pickles(call.fn) else "fn"
            raise pickle.PicklingError(refusal(getattr(call, name), name, error)) from error
        self.seconds = perf_counter() - began if measured else 0.0
        self.digest = _digest(self.call + (self.region.name if self.region else b""))
        initializer = call.initializer
        self.initializer = None if initializer is None else _digest(dumps(initializer))

    def _share(self, call: Call, buffers: list[memoryview]) -> Region | None:
        """Find *buffers* in the region of an earlier call, or put them into a new one."""
        skeleton = _digest(self.call)
        known = _regions.get(skeleton)
        if known is not None and known.holds(buffers):
            return known
        try:
            region = _regions[skeleton] = Region(buffers)
        except (AttributeError, OSError):
            self.call = dumps(call)
            return None
        return region

    def parcel(
        self,
        chunk: Chunk,
        budget: float,
        timeout: float | None = None,
        *,
        known: bool = False,
        place: Place | None = None,
    ) -> bytes:
        """Return a message with which `perform` runs *chunk* for *budget* seconds.

        The function is left out if it is *known* to the worker.  Raises PicklingError, naming the
        part, if the items cannot be pickled.
        """
        items = self._pickle_items(chunk)
        sizes = self.region.sizes if self.region and not known else []
        shared = self.digest, None if known else self.call, self.initializer, sizes
        return pickle.dumps((shared, (chunk.start, items, budget, timeout), place))

    def _pickle_items(self, chunk: Chunk) -> bytes:
        try:
            return dumps(chunk.items)
        except Exception as error:
            if len(chunk) > 1:  # the scheduler will come again with less
                raise pickle.PicklingError(str(error)) from error
            item = chunk.items[0]
            if self.shape == "task":
                parts = dict(zip(("fn", "args", "kwargs"), item, strict=True))
            else:
                parts = {"args": item if self.shape == "args" else (item,)}
            name = next((name for name, part in parts.items() if not pickles(part)), "args")
            raise pickle.PicklingError(refusal(parts[name], name, error)) from error


# By the pickle without them, the buffers that some worker still keeps.
_regions: WeakValueDictionary[bytes, Region] = WeakValueDictionary()


def here() -> Place:
    """Return what tasks may depend on besides their arguments: directory, path, environment."""
    try:
        directory = os.getcwd()
    except OSError:  # it was deleted
        directory = ""
    return directory, [entry or directory for entry in sys.path], dict(os.environ)


def _digest(data: bytes) -> bytes:
    from hashlib import blake2b

    return blake2b(data, digest_size=16).digest()


def unpack(chunk: Chunk, answer: bytes | bytearray) -> Report:
    """Return the report on *chunk* in an *answer* of `perform`.

    Raises what the initializer raised, or the loading of the function.
    """
    kind, *rest = loads(answer)
    if kind == "refused":
        from .outcome import end_chain

        error, where, text = rest
        with suppress(Exception):  # its class may forbid it
            error.add_note(f"parmap: raised in a worker, before its first task, by {where}")
        end_chain(error, text)
        raise error
    if kind == "unloadable":
        return Report(chunk, [], loss=Loss(pickle.PicklingError(rest[0]), "unpicklable", "split"))
    body, caught, seconds, cpu = rest
    try:
        return Report(chunk, loads(body), loads(caught), seconds, cpu)
    except Exception as error:
        text = f"result arrived, but cannot be unpickled: {type(error).__qualname__}: {error}"
        return Report(chunk, [], loss=Loss(pickle.PicklingError(text), "unpicklable", "split"))


# ------------------------------------------------------------------------------------------------
# From here on: what runs in the worker.

# What this process has loaded, be it a lane or the worker of another pool, and by which
# initializers it was prepared: by their digests, with the globals that each has set.
_calls = Recent()
_loading = RLock()  # those of other pools may have several threads
_initialized: dict[bytes, dict[str, Any]] = {}
_granted: list[tuple[int, int]] | None = None  # the limits of this process, once initialized


def perform(
    parcel: bytes | bytearray, note: Note, receive_fd: Callable[[], int] | None = None
) -> bytes:
    """Run the chunk in *parcel*; return the answer for `unpack`.

    Raises nothing but what *receive_fd* does, which is asked for a region if there is one.
    """
    note[RUNNING] = LOADING
    (digest, packed, initializer, sizes), (start, items, budget, timeout), place = loads(parcel)
    buffers = open_region(receive_fd(), sizes) if sizes and receive_fd else []
    if place is not None and _edited():
        return STALE
    where = "the change of directory"
    try:
        if place is not None:
            _move(place)
        where = "the loading of the function"
        with _loading:
            if packed is not None:
                _calls.put(digest, (packed, buffers))
            call = _calls.get(digest)
            loaded = isinstance(call, tuple)
            if loaded:
                packed, buffers = call
                call = loads(packed, buffers=buffers)
                _calls.put(digest, call)
            where = "the initializer"
            if initializer is not None:
                _initialize(call, initializer, loaded)
    except BaseException as error:
        caught = catch(error, "error", 0.0)
        return dumps(("refused", _portable(caught).exception, where, caught.traceback))
    note[SINCE] = perf_counter()
    note[RUNNING] = MOVING
    try:
        chunk = Chunk(start, loads(items))
    except BaseException as error:
        text = f"input arrived, but cannot be unpickled: {type(error).__qualname__}: {error}"
        return dumps(("unloadable", text))
    global _granted
    _granted = _granted or _limits()
    report = run_chunk(call, chunk, budget, note, timeout)
    if _limits() != _granted:  # the next task shall not have them
        note[RUNNING] = LEAVING
    return _pack_report(report)


def _initialize(call: Call, digest: bytes, loaded: bool) -> None:
    """Run the initializer of *call*, or let a call just *loaded* find what it has set before."""
    global _granted
    function: Any = call.initializer
    while isinstance(function, partial):
        function = function.func
    names = getattr(function, "__globals__", {})
    if digest not in _initialized:
        before = dict(names)
        assert call.initializer is not None
        call.initializer()
        _granted = None
        _initialized[digest] = {
            name: value for name, value in names.items() if before.get(name, _calls) is not value
        }
    elif loaded and names is not vars(sys.modules.get(names.get("__name__", ""), _calls)):
        names.update(_initialized[digest])  # not those of a module, which has them


def perform_in_pool(parcel: bytes, line: tuple[int, int] | None = None) -> bytes:
    """Do the same as `perform`, for an executor that is not ours and may run us anywhere."""
    if line is not None:
        hold(*line)
    token = nested.set(True)
    worker = os.getpid()
    try:
        return perform(parcel, new_note())
    finally:
        nested.reset(token)
        if os.getpid() != worker:  # a child that a task has forked is no worker
            os._exit(1)


def _pack_report(report: Report) -> bytes:
    values, caught = report.values, report.caught
    try:
        body = dumps(values)
        if len(body) <= TRIED_BYTES and STACK_GLOBAL in body:
            loads(body)
    except BaseException:
        for position, value in enumerate(values):
            try:
                loads(dumps(value))
            except BaseException as error:
                text = refusal(value, "result", error)
                values[position] = None
                caught[position] = catch(pickle.PicklingError(text), "unpicklable", report.seconds)
        body = dumps(values)
    crossing = {position: _portable(c) for position, c in caught.items()}
    return dumps(("report", body, dumps(crossing), report.seconds, report.cpu))


def _portable(caught: Caught) -> Caught:
    from dataclasses import replace

    from .outcome import portable

    return replace(caught, exception=portable(caught.exception, dumps, loads))


def _move(place: Place) -> None:
    directory, path, environment = place
    try:
        os.chdir(directory)
    except OSError:
        pass  # it was deleted: stay, as the caller does
    sys.path[:] = path
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)


def main(channel: int, page: int, line: int) -> None:
    """Be a worker: answer the messages of *channel* until it ends.

    *channel* is the descriptor of a socket, *page* that of the file of a `Page`; *line* is what the
    parent offers for `lifeline.hold`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends us if need be
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # what was printed survives a crash
    nested.set(True)
    for fd in (channel, page, line):
        os.set_inheritable(fd, False)
    note = Page(page).note
    speak(page)
    hold("self", line)
    pipe = Channel(channel)
    worker = os.getpid()
    os.register_at_fork(after_in_child=partial(_part, pipe, note))
    try:
        pipe.send(READY)
        while note[RUNNING] != LEAVING:
            parcel = pipe.receive()
            try:
                answer = perform(parcel, note, pipe.receive_fd)
            except Exception as error:  # no memory, say, to pickle the results
                text = f"the tasks have no outcome: {type(error).__qualname__}: {error}"
                answer = dumps(("unloadable", text))
            _flush()
            _watch_modules()  # before the answer: whoever has that may edit them
            pipe.send(answer)
    except (EOFError, OSError, MemoryError):
        pass  # the parent closed the channel, or is dead, or a task closed it; or it takes too much
    finally:
        if os.getpid() != worker:
            os._exit(1)
        # What the tasks left behind (threads that do not end, slow exit handlers) must not keep us:
        # the alarm ends us.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2)


def _part(pipe: Channel, note: Any) -> None:
    """In a child that a task has forked: it is no worker, even if it comes back from the task."""
    pipe.close()
    note.release()  # this makes the loop stumble that runs the tasks
    be_silent()


def _limits() -> list[tuple[int, int]]:
    """Return what this process may have of what tasks may limit for themselves."""
    try:
        import resource
    except ImportError:  # not POSIX
        return []
    names = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE")
    return [resource.getrlimit(getattr(resource, name)) for name in names]


def _flush() -> None:
    """Show what the tasks have printed, if they left us the streams to do so."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S110 - there is none, or it is closed, or of the task's own make
            pass


_modules = 0  # how many were imported when they were last looked at
_sources: dict[str, tuple[int, int]] = {}  # of the user's modules: when changed, how large


def _watch_modules() -> None:
    """Remember the files of the modules that were imported by the last tasks."""
    global _modules
    if len(sys.modules) == _modules:
        return
    _modules = len(sys.modules)
    for module in list(sys.modules.values()):
        try:
            path = getattr(module, "__file__", None)
        except Exception:  # noqa: S112 - of a module that is imported when it is looked at
            continue
        if isinstance(path, str) and path not in _sources and not _installed(path):
            _sources[path] = _stamp(path)


def _edited() -> bool:
    """Tell whether a module that was imported here has changed since."""
    return any(_stamp(path) != stamp for path, stamp in _sources.items())


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _installed(path: str) -> bool:
    """Tell whether nobody edits *path* and expects a running program to notice."""
    return path.startswith(os.path.dirname(os.__file__)) or "-packages" in path

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
import select
import signal
import sys
from _thread import RLock
from contextlib import nullcontext, suppress
from functools import partial
from time import perf_counter
from types import FunctionType, MethodType
from weakref import WeakValueDictionary

from .arrival import load
from .environment import enter, set_filters
from .events import Call, Chunk, Loss, Report
from .importable import learn, look
from .lifeline import hold
from .note import LEAVING, LOADING, MOVING, RUNNING, SINCE, Page, be_silent, new_note, speak
from .pickling import dumps, loads, pickles, refusal
from .shared import Spawning, cure, handed
from .tasks import catch, loading, nested, run_chunk
from .transport import Channel, Region, open_region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .note import Note
    from .outcome import Caught

READY = b"ready"  # a worker's first message
LOADED = "the loading of the function"
DIGEST = 16  # bytes
STALE = b"stale"  # its answer to a call that comes after modules it has imported were edited
STACK_GLOBAL = b"\x93"  # the opcode before which a pickle names a class or a function
FORGET = b"forget"  # before digests, in a message that needs no answer: these calls are over
LACKING = b"lacking"  # its answer to a call that it has not, or not any more: send it again
UNFIT = b"unfit"  # before the reason why it cannot have what belongs to a parcel: take another

KEPT = 256 * 2**20
"""Bytes of functions that are kept when no call uses them: in all workers together, or in each of
another's pool.  More cost memory, with less they are sent again."""

SMALL = 2**20  # bytes that a function takes at least, whatever its pickle
SWELL = 6  # times the size of its pickle that a function takes: a list of floats 5, as measured
HANDLE = 2**24  # bytes that a descriptor counts for: a process may have 1,024
RESTED = 60.0  # seconds without a task after which a worker keeps nothing
PLAIN = {int, float, str, bytes, bool, type(None)}  # no module of theirs needs to be found
TRIED_BYTES = 65536  # larger results are not unpickled on trial: it would cost as much as the task


class Loaded:
    """The calls that a process has loaded, by digest, the one used last at the end."""

    def __init__(self) -> None:
        self._calls: dict[bytes, tuple[Any, int]] = {}

    def __contains__(self, digest: object) -> bool:
        return digest in self._calls

    def __bool__(self) -> bool:
        return bool(self._calls)

    def get(self, digest: bytes) -> Any:
        """Return what is kept for *digest*, which is the one used last from now on."""
        entry = self._calls[digest] = self._calls.pop(digest)
        return entry[0]

    def put(self, digest: bytes, call: Any, size: int) -> None:
        """Keep *call*, which takes so many bytes."""
        self._calls[digest] = call, size

    def drop(self, *digests: bytes) -> None:
        """Let go of the calls with these digests; of all, without."""
        gone = [self._calls.pop(digest, (None, 0))[1] for digest in digests or [*self._calls]]
        if sum(gone) >= SMALL:
            import gc

            gc.collect()  # functions and their globals hold each other

    def trim(self) -> None:
        """Let go of the calls not used for longest, but not of the last, if they take too much."""
        while len(self._calls) > 1 and sum(size for _, size in self._calls.values()) > KEPT:
            self.drop(next(iter(self._calls)))


class Packed:
    """A call as bytes, made once and sent to each worker at most once.

    If it may be *shared*, its large buffers lie in a `region` that all workers map, and there may
    be shared objects of multiprocessing in it, the descriptors of which are in `handles`.

    Raises PicklingError, naming the part, if the function or the initializer cannot be pickled.
    """

    def __init__(self, call: Call, *, shared: bool = False) -> None:
        self.shape = call.shape
        self._call = call
        self._shared = shared
        look(call.fn)
        look(call.initializer)
        self._pack()

    def _pack(self) -> None:
        call, shared = self._call, self._shared
        measured = "cloudpickle" in sys.modules  # else its import would count
        began = perf_counter()
        buffers: list[memoryview] = []
        self._handles = Spawning()
        with self._handles if shared else nullcontext():
            reducers = self._handles.reducers
            try:
                # In one pickle, so that functions of `__main__` share their globals: what the
                # initializer sets there, the function finds.
                self.call = dumps(call, buffers if shared else None, reducers)
                self.region = self._share(call, buffers) if buffers else None
                initializer = call.initializer and dumps(call.initializer, None, reducers)
            except Exception as error:
                only = call.initializer and pickles(call.fn, reducers)
                name = "initializer" if only else "fn"
                text = refusal(getattr(call, name), name, cure(error), reducers)
                raise pickle.PicklingError(text) from error
        self.seconds = perf_counter() - began if measured else 0.0
        self.digest = _digest(
            self.call + (self.region.name if self.region else b"") + self._handles.identity()
        )
        self.initializer = _digest(initializer) if initializer else None

    def _share(self, call: Call, buffers: list[memoryview]) -> Region | None:
        """Find *buffers* in the region of an earlier call, or put them into a new one."""
        skeleton = _digest(self.call)
        known = _regions.get(skeleton)
        if known is not None and known.holds(buffers):
            return known
        try:
            region = _regions[skeleton] = Region(buffers)
        except (AttributeError, OSError):
            self.call = dumps(call, None, self._handles.reducers)
            return None
        return region

    def size(self, workers: int) -> int:
        """Return how many bytes this may take in so many *workers*, and in the region."""
        shared = sum(self.region.sizes) if self.region else 0
        handles = len(self._handles.fds) * HANDLE
        return max(SMALL, workers * SWELL * len(self.call) + shared + handles)

    def fds(self, *, known: bool) -> list[int]:
        """Return the descriptors to send after a parcel."""
        if known:
            return []
        return [*([self.region.fd] if self.region else ()), *self._handles.fds]

    def parcel(
        self,
        chunk: Chunk,
        budget: float,
        timeout: float | None = None,
        *,
        known: bool = False,
        place: tuple[bytes, bool] | None = None,
        handles: Spawning | None = None,
    ) -> bytes:
        """Return a message with which `perform` runs *chunk* for *budget* seconds.

        The function is left out if it is *known* to the worker.  *place* is what it is to enter,
        and whether a descriptor comes with that.  Descriptors that come with the items are put into
        *handles*.  Raises PicklingError, naming the part, if the items cannot be pickled.
        """
        items = self._pickle_items(chunk, handles.reducers if handles else None)
        sizes = self.region.sizes if self.region and not known else []
        numbers = len(self._handles.fds) if not known else 0, len(handles.fds) if handles else 0
        function = self.digest, None if known else self.call, self.initializer, sizes
        return pickle.dumps((function, (chunk.start, items, budget, timeout), place, numbers))

    def _pickle_items(self, chunk: Chunk, reducers: Any) -> bytes:
        try:
            if len(chunk) and type(item := chunk.items[0]) not in PLAIN:
                look(item)
            return dumps(chunk.items, None, reducers)
        except Exception as error:
            if len(chunk) > 1:  # the scheduler will come again with less
                raise pickle.PicklingError(str(error)) from error
            item = chunk.items[0]
            if self.shape == "task":
                parts = dict(zip(("fn", "args", "kwargs"), item, strict=True))
            else:
                parts = {"args": item if self.shape == "args" else (item,)}
            bad = (name for name, part in parts.items() if not pickles(part, reducers))
            name = next(bad, "args")
            text = refusal(parts[name], name, cure(error), reducers)
            raise pickle.PicklingError(text) from error

    def unpack(self, chunk: Chunk, answer: bytes | bytearray) -> Report:
        """Return the report on *chunk* in an *answer* of `perform`.

        If the worker could not import what the function or the items refer to by name, they are
        reported as not tried, and travel by value from then on.  Raises what the initializer
        raised, or the loading of the function.
        """
        kind, *rest = loads(answer)
        if kind == "refused":
            from .outcome import end_chain

            digest, missing, error, where, text = rest
            if digest != self.digest:  # it had an older one
                return Report(chunk, [])
            if where == LOADED and missing is not None and learn(self.call, missing):
                with suppress(pickle.PicklingError):  # then the worker's error says more
                    self._pack()
                    return Report(chunk, [])
            if where == LOADED and not isinstance(error, Exception):
                # A module that ends the worker which imports it is not to end the caller.
                told = f"fn cannot be loaded in a worker: {type(error).__name__}: {error}"
                error = RuntimeError(told)
            with suppress(Exception):  # its class may forbid it
                error.add_note(f"parmap: raised in a worker, before its first task, by {where}")
            end_chain(error, text)
            raise error
        if kind == "unloadable":
            text, missing = rest
            with suppress(pickle.PicklingError), Spawning() as spawning:
                items = self._pickle_items(chunk, spawning.reducers)
                if missing is not None and learn(items, missing):
                    return Report(chunk, [])
            loss = Loss(pickle.PicklingError(text), "unpicklable", "split")
            return Report(chunk, [], loss=loss)
        body, caught, seconds, cpu = rest
        try:
            return Report(chunk, loads(body), loads(caught), seconds, cpu)
        except Exception as error:
            text = f"result arrived, but cannot be unpickled: {type(error).__qualname__}: {error}"
            loss = Loss(pickle.PicklingError(text), "unpicklable", "split")
            return Report(chunk, [], loss=loss)


# By the pickle without them, the buffers that some worker still keeps.
_regions: WeakValueDictionary[bytes, Region] = WeakValueDictionary()


def _digest(data: bytes) -> bytes:
    from hashlib import blake2b

    return blake2b(data, digest_size=DIGEST).digest()


# ------------------------------------------------------------------------------------------------
# From here on: what runs in the worker.

# What this process has loaded, be it a lane or the worker of another pool, and by which
# initializers it was prepared: by their digests, with the globals that each has set.
_calls = Loaded()
_loading = RLock()  # those of other pools may have several threads
_initialized: dict[bytes, dict[str, Any]] = {}
_granted: list[tuple[int, int]] | None = None  # the limits of this process, once initialized


def perform(
    parcel: bytes | bytearray, note: Note, receive_fd: Callable[[], int] | None = None
) -> bytes:
    """Run the chunk in *parcel*; return the answer for `unpack`.

    *receive_fd* is asked for the descriptors that come with it, if there are any.
    """
    note[RUNNING] = LOADING
    function, (start, items, budget, timeout), place, numbers = loads(parcel)
    digest, packed, initializer, sizes = function
    tracker, buffers, handles = None, [], []
    if receive_fd:
        try:
            if place and place[1]:
                tracker = receive_fd()
            buffers = open_region(receive_fd(), sizes) if sizes else []
            handles = [receive_fd() for _ in range(sum(numbers))]
        except OSError as error:  # no descriptor or no memory is left; and the channel is at odds
            return UNFIT + f": {type(error).__name__}: {error}".encode()
    if place is not None and _edited():
        return STALE
    where = "the change of directory"
    is_loading = loading.set(True)
    try:
        if place is not None:
            enter(place[0], tracker)
        where = LOADED
        with _loading:
            if packed is None and digest not in _calls:
                return LACKING
            if packed is None or digest in _calls:  # the latter: of a pool, which sends it always
                call, fresh = _calls.get(digest), False
            else:
                with handed(handles[: numbers[0]]):
                    call, fresh = load(packed, buffers), True
                _calls.put(digest, call, SWELL * len(packed) + sum(sizes))
                set_filters()  # it may have imported categories of warnings
            where = "the initializer"
            if initializer is not None:
                _initialize(call.obj, initializer, fresh)
        note[SINCE] = perf_counter()
        note[RUNNING] = MOVING
        where = ""
        with handed(handles[numbers[0] :]) if handles else nullcontext():
            arrived = load(items)
            chunk = Chunk(start, arrived.obj)
    except BaseException as error:
        if not where:
            text = f"input arrived, but cannot be unpickled: {type(error).__qualname__}: {error}"
            return dumps(("unloadable", text, _missing(error)))
        caught = catch(error, "error", 0.0)
        told = _missing(error), _portable(caught).exception, where, caught.traceback
        return dumps(("refused", digest, *told))
    finally:
        loading.reset(is_loading)
        for fd in handles:  # whether they were needed or not
            os.close(fd)
    global _granted
    _granted = _granted or _limits()
    # Both may have brought values of context variables.
    report = call.run(arrived.run, run_chunk, call.obj, chunk, budget, note, timeout)
    if _limits() != _granted:  # the next task shall not have them
        note[RUNNING] = LEAVING
    return _pack_report(report)


def _missing(error: BaseException) -> str | None:
    """Return the name of the module that could not be imported, "" if not all of it is there."""
    if isinstance(error, ModuleNotFoundError):
        return error.name
    return "" if isinstance(error, (AttributeError, ImportError)) else None


def _initialize(call: Call, digest: bytes, loaded: bool) -> None:
    """Run the initializer of *call*, or let a call just *loaded* find what it has set before."""
    global _granted
    function: Any = call.initializer
    while type(function) in (partial, MethodType):  # others may make up attributes
        function = function.func if type(function) is partial else function.__func__
    names = function.__globals__ if type(function) is FunctionType else {}
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


def perform_in_pool(
    parcel: bytes,
    line: tuple[int, int] | None = None,
    path: list[str] | None = None,
    level: int = 1,
) -> bytes:
    """Do the same as `perform`, for an executor that is not ours and may run us anywhere.

    *level* is how deep that is among workers.
    """
    if line is not None:
        hold(*line)
    if path is not None:
        sys.path[:] = path
    token = nested.set(level)
    worker = os.getpid()
    try:
        return perform(parcel, new_note())
    finally:
        with _loading:
            _calls.trim()
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


def main(channel: int, page: int, line: int) -> None:
    """Be a worker: answer the messages of *channel* until it ends.

    *channel* is the descriptor of a socket, *page* that of the file of a `Page`; *line* is what the
    parent offers for `lifeline.hold`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends us if need be
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # what was printed survives a crash
    nested.set(1)
    for fd in (channel, page, line):
        os.set_inheritable(fd, False)
    note = Page(page).note
    speak(page)
    hold("self", line)
    pipe = Channel(channel)
    worker = os.getpid()
    os.register_at_fork(after_in_child=partial(_part, pipe, note))
    watch = select.poll()
    watch.register(pipe.fd, select.POLLIN)
    try:
        pipe.send(READY)
        while note[RUNNING] != LEAVING:
            parcel = _next(pipe, watch)
            try:
                answer = perform(parcel, note, pipe.receive_fd)
            except Exception as error:  # no memory, say, to pickle the results
                text = f"the tasks have no outcome: {type(error).__qualname__}: {error}"
                answer = dumps(("unloadable", text, None))
            _flush()
            _watch_modules()  # before the answer: whoever has that may edit them
            pipe.send(answer)
            del parcel, answer  # not to be held while we wait
    except (EOFError, OSError, MemoryError):
        pass  # the parent closed the channel, or is dead, or a task closed it; or it takes too much
    finally:
        if os.getpid() != worker:
            os._exit(1)
        # What the tasks left behind (threads that do not end, slow exit handlers) must not keep us:
        # the alarm ends us.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2)


def _next(pipe: Channel, watch: select.poll) -> bytearray:
    """Return the next parcel; forget meanwhile what is not needed."""
    while True:
        if _calls and not watch.poll(1000 * RESTED):
            _calls.drop()
        parcel = pipe.receive()
        if not parcel.startswith(FORGET):
            return parcel
        digests = bytes(parcel[len(FORGET) :])
        _calls.drop(*(digests[n : n + DIGEST] for n in range(0, len(digests), DIGEST)))


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

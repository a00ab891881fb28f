"""Tasks in worker processes of our own, each on a channel of its own: the executor "processes".

::

    Lanes (one a call)      lends lanes, gives each a chunk, polls all their descriptors at once
      Lane (one a worker)   owns a process, the channel to it, its note, and a pidfd
        worker.main         answers parcels until the channel ends

Guaranteed:

- the caller knows which chunk each worker has, and from its page which task of it: blame is exact,
  and what happens to one worker touches no other;
- a task that takes longer than the timeout is killed, with its worker, whatever it is doing, while
  the call waits for results; one that ends late while it does not has failed all the same;
- a lane serves one call at a time; between calls it waits, warm, in `_idle`;
- every lane is in exactly one place, leased by one `Lanes` or in `_idle`, and whoever takes it out
  of there for good ends it: `Lane.end` closes the descriptors and reaps the process;
- a message is sent only to a worker that waits for one, so that sending never blocks for longer
  than the worker needs to read it; and none is waited for that is dead, or does not move.

Assumed: POSIX (sockets by descriptor, poll).  The death of a worker shows as the end of its channel
or, where the system has them, on its pidfd: a grandchild may hold the channel open.
"""

from __future__ import annotations

import atexit
import os
import pickle
import select
import socket
import subprocess
from contextlib import suppress
from math import inf
from signal import SIGKILL, Signals
from time import monotonic, perf_counter, sleep

from ..environment import Place
from ..errors import ExecutorUnavailable, TaskTimeout, WorkerCrashed
from ..events import Loss, Report, Unsendable
from ..lifeline import offer
from ..machine import above_streams, interpreter, usable_cpus
from ..note import IDLE, LEAVING, LOADING, RUNNING, SINCE, STOP, Page, asking, shared_file
from ..shared import Spawning
from ..transport import STALLED, Watched
from ..worker import FORGET, KEPT, LACKING, READY, RESTED, STALE, UNFIT, Packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..events import Call, Chunk
    from ..outcome import Kind
    from ..transport import Region

GRACE = 0.1  # seconds a task may go on after its call was given up; then its worker is killed
PATIENCE = 1.0  # seconds a worker has to end by itself; then it is killed
LAST_WORDS = 0.05  # seconds a worker that will be killed has to say where its task stands
ABORTIVE = 3  # workers in a row that die before they begin: then something is wrong
BEGUN = 5.0  # seconds a ready worker has to begin with its chunk, at least, if there is a timeout
LONGEST = 86400.0  # seconds to wait at once: the system takes no number, however large

# Libraries that start a thread for each core would start cores x workers of them.
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

# The worker takes parmap from where the caller has it, whatever else may be on its path; and with
# "-P" the current directory shadows nothing.  The caller's path comes with the first parcel.
_BOOT = """\
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
spec = PathFinder.find_spec("parmap", [{root!r}])
sys.modules["parmap"] = parmap = module_from_spec(spec)
spec.loader.exec_module(parmap)
from parmap.worker import main
main({})
"""


class Lane:
    """One worker process, and all that belongs to it."""

    def __init__(self, place: Place) -> None:
        """Start the process; raise OSError if there cannot be one.  Does not wait for it."""
        self.known: set[bytes] = set()  # the digests of the calls that it has
        self.state = b""  # what it entered last
        self.chunk: Chunk | None = None
        self.served = 0  # tasks, so far
        self.user: Lanes | None = None  # whom it told where it is
        self.ready = False
        self.over = False  # ended at the exit of the program
        self._pidfd = -1
        ours, theirs = (
            socket.socket(fileno=above_streams(line.detach())) for line in socket.socketpair()
        )
        with ours, theirs, shared_file() as page:
            numbers = theirs.fileno(), page.fileno(), offer()[1]
            root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
            self.process = subprocess.Popen(
                [
                    interpreter(),
                    *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
                    *("-P", "-c", _BOOT.format(", ".join(map(str, numbers)), root=root)),
                ],
                pass_fds=numbers,
                # A group, see `kill`; and no terminal: a task that asked there would be stopped.
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=_stream(1),
                stderr=_stream(2),
                env=place.at_start(),
            )
            self.page = Page(page.fileno())
            self.note = self.page.note
            try:
                self._pidfd = above_streams(os.pidfd_open(self.process.pid))
            except (AttributeError, OSError):  # not Linux
                pass
            self.channel = Watched(socket.socket(fileno=ours.detach()), self._pidfd)

    def fds(self) -> list[int]:
        """Return the descriptors on which news of this lane comes, the channel first."""
        return [fd for fd in (self.channel.fd, self._pidfd) if fd >= 0]

    def readable(self, seconds: float) -> bool:
        """Wait up to *seconds* until there is a message to read, or the end of the channel."""
        return _poll([self.channel.fd], seconds) != []

    def is_dead(self) -> bool:
        """Tell whether the process has ended, as far as the system tells it."""
        return self._pidfd >= 0 and _poll([self._pidfd], 0) != []

    def ask(self) -> str:
        """Return where its task stands, if it can say so in time."""
        words = ""
        end = monotonic() + LAST_WORDS
        self.process.send_signal(asking())
        while monotonic() < end and (not words or words != self.page.words()):
            words = self.page.words()
            sleep(0.001)
        self.page.clear()
        return words

    def kill(self) -> None:
        """Kill the process and those that its tasks have started: it has a group of its own."""
        if self.process.returncode is None:  # else the number may be somebody else's by now
            for kill in (os.killpg, os.kill):  # a task may have left the group
                with suppress(ProcessLookupError, PermissionError):
                    kill(self.process.pid, SIGKILL)

    def end(self, patience: float) -> int | None:
        """Close the channel, wait *patience* seconds for the process, kill it; say how it ended."""
        try:
            self.channel.close()
            if self._pidfd >= 0:
                _poll([self._pidfd], patience)
                patience = 0.0
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        finally:
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
        return self.process.returncode

    def forget(self) -> None:
        """Let go of it without a sign: it is the worker of the process that we were forked from."""
        self.process.returncode = 0  # keeps Popen from warning that it still runs
        self.channel.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _stream(fd: int) -> int | None:
    """Return what a worker has for the standard stream *fd*: ours (None), or nothing."""
    try:
        os.fstat(fd)
    except OSError:
        return subprocess.DEVNULL
    return None


def _place(workers: int) -> Place:
    """Return where tasks should find themselves: here, with few enough threads in each worker."""
    share = max(1, usable_cpus() // workers)
    return Place(share, dict.fromkeys(THREAD_LIMITS, str(share)))


def _poll(fds: list[int], seconds: float) -> list[int]:
    """Return those of *fds* that have news, waiting up to *seconds* for the first."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(_milliseconds(seconds))]


def _milliseconds(seconds: float) -> float:
    return 1000 * min(max(seconds, 0.0), LONGEST)


def _ending(lane: Lane, code: int | None) -> str:
    """Say how the worker of *lane* ended."""
    if code is None or code >= 0:
        return f"worker {lane.process.pid} ended with exit code {code}"
    try:
        name = Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"worker {lane.process.pid} was killed by {name}"


# No lock guards these: the collector may close a lost call, which gives its lanes back, at any
# moment and in any thread, also in one that would hold the lock.  Single operations need none.
_idle: list[Lane] = []
_lent: set[Lane] = set()


def _take(number: int) -> list[Lane]:
    """Take up to *number* lanes out of those that wait."""
    taken: list[Lane] = []
    try:
        while len(taken) < number:
            taken.append(_idle.pop())
    except IndexError:
        pass
    return taken


def _lease(place: Place) -> Lane:
    """Take a warm lane, or start one; raise OSError if there cannot be one."""
    lane = _living() or Lane(place)
    _lent.add(lane)
    return lane


def _living() -> Lane | None:
    """Take a warm lane whose worker lives, if there is one."""
    while taken := _take(1):
        lane = taken[0]
        if lane.process.poll() is None and not lane.is_dead():
            return lane
        lane.end(0.0)  # it died while it was idle
    return None


def _give_back(lane: Lane) -> None:
    lane.chunk = lane.user = None
    tidy = _tidy(lane)
    lane.channel.patience = STALLED
    _lent.discard(lane)
    if tidy:
        _idle.append(lane)
    else:  # it died meanwhile
        lane.kill()
        lane.end(PATIENCE)


# The functions that workers keep between calls, by digest, the one used last at the end: how many
# bytes they take, the region if there is one, and when they were used.
_kept: dict[bytes, tuple[int, Region | None, float]] = {}


def _keep(packed: Packed, workers: int) -> None:
    """Keep the function of a call that ends; give up what is too old, or too much with it."""
    size, now = packed.size(workers), monotonic()
    _kept.pop(packed.digest, None)
    if size <= KEPT:  # else it is given up itself
        _kept[packed.digest] = size, packed.region, now
    every = list(_kept.items())
    total = sum(size for _, (size, _, _) in every)
    gone = False
    for digest, (size, _, used) in every:
        if total <= KEPT and used > now - RESTED:
            break
        total -= size
        gone = _kept.pop(digest, None) is not None
    for lane in list(_idle) if gone else ():
        with suppress(ValueError):  # lent meanwhile: it is told later
            _idle.remove(lane)
            _give_back(lane)


def _tidy(lane: Lane) -> bool:
    """Have a worker that waits forget what is not kept; tell whether it lives."""
    if gone := lane.known - _kept.keys():
        lane.known -= gone
        try:
            lane.channel.send(FORGET + b"".join(gone))
        except OSError:
            return False
    return True


def warm(workers: int) -> None:
    """Start workers until *workers* wait for a call, and wait until they do."""
    lanes: list[Lane] = []
    try:
        while len(lanes) < workers:
            lanes.append(_living() or Lane(_place(workers)))
        for lane in lanes:
            if not lane.ready:
                lane.readable(STALLED)
                lane.ready = lane.channel.receive() == READY
    except (OSError, EOFError) as error:
        raise ExecutorUnavailable(f"no worker process can be started: {error!r}") from error
    finally:
        for lane in lanes:
            if lane.channel.whole:
                _idle.append(lane)
            else:  # it died, or cannot be waited for
                lane.kill()
                lane.end(PATIENCE)


def idle() -> int:
    """Return how many workers wait for a call."""
    return len(_idle)


def shutdown() -> None:
    """End the workers that wait for a call; those of a call under way end with `Lanes.close`."""
    ending = _take(len(_idle))
    _kept.clear()
    for lane in ending:
        lane.channel.close()  # all of them first: they end side by side
    for lane in ending:
        lane.end(PATIENCE)


def _forget() -> None:
    """In a forked child: the workers are the parent's."""
    for lane in (*_idle, *_lent):
        lane.forget()
    _idle.clear()
    _lent.clear()
    _kept.clear()


class Lanes:
    """The lanes of one call."""

    in_caller = False

    def __init__(
        self,
        call: Call,
        workers: int,
        budget: float,
        *,
        timeout: float | None = None,
        most: int | None = None,
        at_once: int = 0,
    ) -> None:
        """Start *at_once* workers; raise PicklingError if the function cannot be sent.

        A task has *timeout* seconds, a worker does at *most* so many tasks.
        """
        self.workers = workers
        self.window = workers
        self._budget = budget
        self._timeout = timeout
        self._most = most
        self._place = _place(workers)
        self._free: list[Lane] = []
        self._lanes: dict[int, Lane] = {}  # by each of their descriptors
        self._poll = select.poll()
        self._news: list[Report] = []
        self._abortive = 0
        self._unbegun: set[int] = set()  # where chunks start that a worker has died of unseen
        try:
            while len(self._free) < at_once and (lane := self._hire()):
                self._free.append(lane)
            self._packed = Packed(call, shared=True)  # while they boot
        except BaseException:
            self.close()
            raise

    @property
    def packing(self) -> float:
        """Seconds it took to pickle the function."""
        return self._packed.seconds

    @property
    def ready(self) -> bool:
        """Whether workers are there: all of those wanted, or one of those that were started."""
        return len(_idle) >= self.workers or any(lane.ready for lane in self._lanes.values())

    def submit(self, chunk: Chunk) -> None:
        lane = self._choose(len(chunk))
        if lane is None:
            self._return(chunk, "there is no worker for it")
            return
        digest = self._packed.digest
        known = digest in lane.known
        place, fds = self._news_of_place(lane)
        handles = Spawning()
        try:
            with handles:
                parcel = self._packed.parcel(
                    *(chunk, self._budget, self._timeout),
                    known=known,
                    place=place,
                    handles=handles,
                )
        except pickle.PicklingError as error:
            self._free.append(lane)
            raise Unsendable(str(error)) from error
        lane.chunk = chunk  # before it is sent: who is interrupted meanwhile must not lend it again
        lane.note[SINCE] = perf_counter()
        lane.note[RUNNING] = IDLE
        try:
            lane.channel.send(parcel)
            for fd in (*fds, *self._packed.fds(known=known), *handles.fds):
                lane.channel.send_fd(fd)
        except OSError:  # it is dead, or stuck
            self._mourn(lane, "crash")
            return
        lane.user = self
        lane.state = self._place.state
        lane.known.add(digest)

    def _news_of_place(self, lane: Lane) -> tuple[tuple[bytes, bool] | None, list[int]]:
        """Return what a worker is to enter before its next chunk, and the descriptors for it."""
        if lane.user is self:
            return None, []
        if lane.state == self._place.state:
            return (b"", False), []  # but what other tasks have changed
        tracker = self._place.tracker
        return (self._place.state, tracker is not None), [] if tracker is None else [tracker]

    def wait(self, seconds: float | None) -> list[Report]:
        end = inf if seconds is None else monotonic() + seconds
        while any(lane.chunk for lane in self._lanes.values()):
            left = 0.0 if self._news else end - monotonic()
            events = self._poll.poll(_milliseconds(min(self._expire(), left)))
            for fd, _ in events:
                lane = self._lanes.get(fd)
                if lane is not None:  # else dropped a moment ago
                    self._hear(lane, died=fd != lane.channel.fd)
            if self._news or (left <= 0 and not events):
                break
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        # Those that are not lent any more are those of the process that this one was forked from.
        lanes = {lane for lane in self._lanes.values() if lane in _lent}
        for lane in lanes:
            lane.channel.patience = GRACE
            lane.note[STOP] = 1 if lane.chunk else 0
        end = monotonic() + GRACE
        try:
            if (packed := self.__dict__.pop("_packed", None)) is not None:
                _keep(packed, self.workers)
                del packed
            for lane in list(lanes):
                with suppress(EOFError):
                    while lane.chunk and lane.channel.whole and lane.readable(end - monotonic()):
                        if lane.channel.receive() == READY:
                            lane.ready = True
                        else:
                            lane.chunk = None
                if not lane.chunk and lane.note[RUNNING] != LEAVING:
                    lanes.discard(lane)
                    lane.note[STOP] = 0
                    _give_back(lane)
        finally:  # also if Ctrl-C comes once more
            for lane in lanes:
                lane.kill()
                _lent.discard(lane)
                lane.end(PATIENCE)
            self._lanes.clear()
            self._free.clear()

    def _choose(self, tasks: int) -> Lane | None:
        """Return a lane that may do so many *tasks* more; None if there cannot be one."""
        while lane := self._free.pop() if self._free else self._hire():
            if self._most is None or lane.served + tasks <= self._most:
                break
            self._bury(lane, GRACE)
        return lane

    def _expire(self) -> float:
        """Kill what has taken too long; return after how many seconds to look again."""
        if self._timeout is None:
            return inf
        wait = self._timeout
        for lane in {lane for lane in self._lanes.values() if lane.chunk}:
            running, since = doing = lane.note[RUNNING], lane.note[SINCE]
            limit = max(self._timeout, BEGUN) if running == IDLE else self._timeout
            left = since + limit - perf_counter()
            if running == LOADING or not lane.ready:
                continue
            if left > 0:
                wait = min(wait, left)
            elif not lane.readable(0):  # else it has made it
                words = lane.ask()
                if doing != (lane.note[RUNNING], lane.note[SINCE]):
                    wait = 0.0  # it has made it meanwhile, and is at another
                elif lane.is_dead() or not lane.readable(0):
                    self._mourn(lane, "timeout", words)
        return wait

    def _hire(self) -> Lane | None:
        try:
            lane = _lease(self._place)
        except OSError as error:
            if not self._lanes:
                raise ExecutorUnavailable(
                    f"no worker process can be started: {error}; "
                    "executor='threads' and executor='serial' need none"
                ) from error
            self.workers = self.window = len(set(self._lanes.values()))
            return None
        for fd in lane.fds():
            self._lanes[fd] = lane
            self._poll.register(fd, select.POLLIN)
        return lane

    def _return(self, chunk: Chunk, why: str) -> None:
        self._news.append(Report(chunk, [], loss=Loss(WorkerCrashed(why), "crash", "again")))

    def _hear(self, lane: Lane, *, died: bool) -> None:
        """Take the message of *lane*, or learn of its end."""
        if died and not lane.readable(0):  # what it sent before it died counts
            self._mourn(lane, "crash")
            return
        try:
            message = lane.channel.receive()
        except (EOFError, MemoryError):
            self._mourn(lane, "crash")
            return
        chunk = lane.chunk
        if message == READY:
            lane.ready = True
        elif message == STALE and chunk:
            self._bury(lane)
            self._return(chunk, "modules that the worker had imported were edited")
        elif message == LACKING and chunk:
            lane.known.discard(self._packed.digest)
            lane.chunk = None
            self._free.append(lane)
            self._return(chunk, "the worker has not kept the function")
        elif message.startswith(UNFIT) and chunk:
            self._bury(lane)
            self._abortive += 1
            why = message[len(UNFIT) :].decode()
            if self._abortive == ABORTIVE:
                raise ExecutorUnavailable(f"no worker process can map the function's memory{why}")
            self._return(chunk, "the worker cannot have what belongs to the chunk" + why)
        elif chunk:
            lane.chunk = None
            self._abortive = 0
            report = self._packed.unpack(chunk, message)
            lane.served += len(report.values)
            self._news.append(report)
            if lane.note[RUNNING] == LEAVING:
                self._bury(lane, GRACE)
            else:
                self._free.append(lane)

    def _mourn(self, lane: Lane, kind: Kind, words: str = "") -> None:
        """Report what a dead lane was doing; its last *words* say where."""
        chunk, running, seconds = lane.chunk, lane.note[RUNNING], perf_counter() - lane.note[SINCE]
        lane.kill()  # it may only have closed its channel
        if not lane.ready and lane.readable(0):
            with suppress(EOFError):
                lane.ready = lane.channel.receive() == READY
        words = words or lane.page.words()
        ending = self._bury(lane)
        again = not lane.ready or running == LOADING
        if again:
            self._abortive += 1
            if self._abortive == ABORTIVE and lane.ready:
                raise WorkerCrashed(f"{ending} while it loaded the function or was initialized")
            if self._abortive == ABORTIVE:
                raise ExecutorUnavailable(f"worker processes die before their first task: {ending}")
        if chunk is None:
            return
        if running == IDLE and chunk.start not in self._unbegun:
            self._unbegun.add(chunk.start)
            again = True
        if again:
            self._return(chunk, ending)
            return
        suspect = int(running) if running >= 0 else None
        at = f", at (most recent call first)\n{words}" if words else ""
        error: Exception
        if kind == "timeout":
            doing = "the task" if suspect is not None else "the pickling of its input or result"
            error = TaskTimeout(f"{doing} took longer than {self._timeout} s and was killed{at}")
        else:
            when = "before or after it ran the task" if suspect is None else "while it ran the task"
            error = WorkerCrashed(f"{ending} {when}{at}")
        loss = Loss(error, kind, "split", suspect, seconds, lane.process.pid, words)
        self._news.append(Report(chunk, [], loss=loss))

    def _bury(self, lane: Lane, patience: float = PATIENCE) -> str:
        """Take a lane out, end it, and say how it ended."""
        while lane.over:
            sleep(60)  # this is a daemon thread, and the program is at its end
        for fd in lane.fds():
            self._poll.unregister(fd)
            del self._lanes[fd]
        if lane in self._free:
            self._free.remove(lane)
        _lent.discard(lane)
        return _ending(lane, lane.end(patience))


def _at_exit() -> None:
    """End all workers: the generators that might still give theirs back never will."""
    for lane in list(_lent):
        lane.over = True  # its descriptors stay: a daemon thread may be waiting for them
        lane.kill()
        lane.process.wait()
    shutdown()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_forget)

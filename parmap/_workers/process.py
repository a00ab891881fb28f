"""One worker process and all that belongs to it: how it is started, asked, killed and ended.

Guaranteed: `end`, `end_abruptly` or `disown` is the last thing done with a worker, and leaves
neither a process nor a descriptor behind.

Assumed: POSIX (sockets by descriptor, poll).  The death of a worker shows as the end of its channel
or, where the system has them, on its pidfd: a grandchild may hold the channel open.
"""

from __future__ import annotations

import os
import select
from contextlib import closing, suppress
from time import monotonic, perf_counter, sleep

from .._records.c_modules import signal
from .._records.machine import above_streams, interpreter
from .._records.stack_frames import PACKAGE
from .._wire.channel import STALLED, Message, Watched
from .._wire.locks_and_queues import spawning
from .._wire.messages import (
    DONE,
    FORGET,
    LAST_STATE,
    LOAD,
    NEW_STATE,
    NO_CHANGE,
    READY,
    SerializedCall,
)
from .loading import NONE, expected, learn
from .parent_death import parent_pipe
from .program import Program, options
from .status_block import IDLE, RUNNING, SINCE, StatusBlock, dump_signal, status_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from .._records.work import Chunk
    from .environment import TaskEnvironment
    from .loading import Packages
else:
    try:
        import _socket as socket  # what `socket` adds, thousands of names, costs 3 ms
    except ImportError:  # not CPython
        import socket

HANGING = 300.0  # seconds that a worker may load a function which no call waits for any more
DUMPING = 0.05  # seconds a worker that will be killed has to say where its task stands
LONGEST = 86400.0  # seconds to wait at once: the system takes no number, however large

# The worker takes parmap from where the caller has it, whatever else may be on its path; and with
# "-P" the current directory shadows nothing.  The caller's path comes with the first request.
_BOOT = """\
import sys
from _frozen_importlib import module_from_spec
from _frozen_importlib_external import PathFinder
spec = PathFinder.find_spec("parmap", [{root!r}])
sys.modules["parmap"] = parmap = module_from_spec(spec)
spec.loader.exec_module(parmap)
from parmap._workers.child import main
main({})
"""


class WorkerProcess:
    """A process that runs chunks, the channel to it, its status block, and a pidfd.

    Attributes:
        functions: the digests of the calls that it has loaded.
        state: the environment that it entered last, as bytes.
        environment: where its call wants its tasks to find themselves, and *told*, whether the
            worker has been told so.
        block: its status block, and *status* the status in there.
        chunk: the chunk it works at; None if it waits.
        served: how many tasks it has run.
        ready: whether it has begun to answer; *began*: when it was started, by `perf_counter`.
        packages: what it is known to have imported, see `loading`, and *missing*, what it had not
            when it was asked last.
        ended_abruptly: whether it was killed because the program is at its end.
    """

    def __init__(self, environment: TaskEnvironment) -> None:
        """Start the process; raise OSError if there cannot be one.  Does not wait for it."""
        self.functions: set[bytes] = set()
        self.state, self.began = b"", perf_counter()
        self.environment = environment
        self.told = False
        self.chunk: Chunk | None = None
        self.served = 0
        self.ready = False
        self.packages: Packages = NONE
        self.missing: Packages = NONE
        self.ended_abruptly = False
        self._pidfd = -1
        ours, theirs = (
            socket.socket(fileno=above_streams(line.detach())) for line in socket.socketpair()
        )
        with closing(ours), closing(theirs), status_file() as file:
            numbers = theirs.fileno(), file.fileno(), parent_pipe()[1]
            boot = _BOOT.format(", ".join(map(str, numbers)), root=os.path.abspath(PACKAGE + ".."))
            words = [interpreter(), *options(), "-P", "-c", boot]
            self._process = Program(words, numbers, environment.at_start())
            self.block = StatusBlock(file.fileno())
            self.status = self.block.status
            with suppress(AttributeError, OSError):  # not Linux
                self._pidfd = above_streams(os.pidfd_open(self.pid))
            self.channel = Watched(socket.socket(fileno=ours.detach()), self._pidfd)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_loading(self) -> bool:
        """Whether it was asked for nothing but to load a function, and has not answered yet."""
        return self.chunk is not None and self.chunk.start == LOAD

    def has_loaded(self, seconds: float | None) -> None:
        """Be told that it has the function, and in how many *seconds* it was loaded, if known."""
        if seconds is not None:
            learn(self.missing, seconds)
        self.packages |= self.missing

    def until_loaded(self, packages: Packages) -> float:
        """Return in how many seconds it can have imported *packages*, while no call has it."""
        coming = self.missing if self.is_loading else NONE
        left = max(0.0, expected(coming) - perf_counter() + self.status[SINCE])
        return left + expected(packages - self.packages - coming)

    def hear(self) -> None:
        """Take what it has said while no call has it: that it runs, and what it has loaded."""
        try:
            while self.is_loading and self.readable(0):
                if (message := self.channel.receive()).kind == READY:
                    self.ready = True
                    continue
                self.chunk = None
                if message.kind == DONE:
                    self.has_loaded(message.header[0])
                else:  # it could not: who needs the function will hear of it
                    self.functions.clear()
            if self.is_loading and perf_counter() - self.status[SINCE] > HANGING:
                self.kill()
        except (EOFError, MemoryError):
            self.kill()

    def fds(self) -> list[int]:
        """Return the descriptors on which news of this worker comes, the channel first."""
        return [fd for fd in (self.channel.fd, self._pidfd) if fd >= 0]

    def readable(self, seconds: float) -> bool:
        """Wait up to *seconds* until there is a message to read, or the end of the channel."""
        return _poll(self.channel.fd, seconds)

    def is_dead(self) -> bool:
        """Tell whether the process has ended, as far as the system tells it."""
        return self._pidfd >= 0 and _poll(self._pidfd, 0)

    def is_alive(self) -> bool:
        """Tell whether the process has not ended, also where the system has no pidfd."""
        return self._process.poll() is None and not self.is_dead()

    def ask(self, call: SerializedCall, chunk: Chunk, budget: float, timeout: float | None) -> None:
        """Have it run *chunk*, for *budget* seconds; the answer is a message.

        Raises PicklingError if the items cannot be pickled, then nothing was sent, and OSError if
        the worker is dead, or does not move.
        """
        environment, enter, tracker = self.environment, NO_CHANGE, None
        if not self.told:
            enter = LAST_STATE  # but for what other tasks have changed
            if self.state != environment.state:
                enter, tracker = NEW_STATE, environment.tracker
        with spawning() as handles:
            request = call.request(
                chunk,
                budget,
                timeout,
                send_function=call.digest not in self.functions,
                enter=enter,
                state=environment.state,
                tracker=tracker,
                handles=handles,
            )
        self.chunk = chunk  # before it is sent: who is interrupted meanwhile must not lend it
        self.status[SINCE] = perf_counter()
        self.status[RUNNING] = IDLE
        self.channel.send(request)
        self.told, self.state = True, environment.state
        self.functions.add(call.digest)

    def request_stack_dump(self) -> str:
        """Return where its task stands, if it can say so in time."""
        dump = ""
        end = monotonic() + DUMPING
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, dump_signal())
        while monotonic() < end and (not dump or dump != self.block.stack_dump()):
            dump = self.block.stack_dump()
            sleep(0.001)
        self.block.clear()
        return dump

    def reset(self) -> None:
        """Be as a worker that no call has yet; it may go on to load a function."""
        if not self.is_loading:
            self.chunk = None
        self.told = False
        self.channel.patience = STALLED

    def forget_functions(self, digests: set[bytes]) -> None:
        """Have it forget these calls, while it waits; raise OSError if it is dead."""
        if digests:
            self.functions -= digests
            self.channel.send(Message(FORGET, tuple(digests)))

    def kill(self) -> None:
        """Kill the process and those that its tasks have started: it has a group of its own."""
        if self._process.returncode is None:  # else the number may be somebody else's by now
            for kill in (os.killpg, os.kill):  # a task may have left the group
                with suppress(ProcessLookupError, PermissionError):
                    kill(self.pid, signal.SIGKILL)

    def end(self, patience: float) -> str:
        """Close the channel, wait *patience* seconds for the process, kill it; say how it ended."""
        try:
            self.channel.close()
            if self._pidfd >= 0:
                _poll(self._pidfd, patience)
                patience = 0.0
            if not self._process.wait(patience):
                self.kill()
                self._process.wait()
        finally:
            self._close_pidfd()
        code = self._process.returncode
        if code is None or code >= 0:
            return f"worker {self.pid} ended with exit code {code}"
        from signal import Signals  # with names, which are slow to import

        try:
            name = Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"worker {self.pid} was killed by {name}"

    def end_abruptly(self) -> None:
        """Kill it at the end of the program, but keep the descriptors: a thread may wait there."""
        self.ended_abruptly = True
        self.kill()
        self._process.wait()

    def disown(self) -> None:
        """Let go of it without a sign: it is the worker of the process that we were forked from."""
        self._process.returncode = 0  # nobody here waits for it
        self.channel.close()
        self._close_pidfd()

    def _close_pidfd(self) -> None:
        fd, self._pidfd = self._pidfd, -1
        if fd >= 0:
            os.close(fd)


def _poll(fd: int, seconds: float) -> bool:
    """Wait up to *seconds* for news on *fd*; tell whether there is any."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return poll.poll(milliseconds(seconds)) != []


def milliseconds(seconds: float) -> float:
    """Return what `poll` waits for *seconds*, which may be infinite."""
    return 1000 * min(max(seconds, 0.0), LONGEST)

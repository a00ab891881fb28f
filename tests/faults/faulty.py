"""What tasks do that they should not; each function is the task of one fault.

Standard library only, for every worker of every case imports this module.  What survives its
fault returns `2 * x`, as an ordinary task does.
"""

import contextlib
import ctypes
import faulthandler
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

FOR_EVER = 600  # seconds: far beyond the limit of a case

# Deaths


def exits_at_once(x):
    os._exit(3)


def is_killed(x):
    os.kill(os.getpid(), signal.SIGKILL)


def segfaults(x):
    ctypes.string_at(0)


def overflows_the_stack(x):
    faulthandler._stack_overflow()


def aborts(x):
    os.abort()


class DiesAtPickle:
    def __reduce__(self):
        os._exit(3)


def dies_at_pickle(x):
    return DiesAtPickle()


class RaisesAtUnpickle:
    """An input that is well where it was made, as good as a 7, and cannot be made elsewhere."""

    def __init__(self):
        self.home = os.getpid()

    def __rmul__(self, x):
        return x * 7

    def __reduce__(self):
        return _raise_elsewhere, (self.home,)


def _raise_elsewhere(home):
    if os.getpid() != home:
        raise LookupError("only at home")
    return RaisesAtUnpickle()


def asks_on_the_terminal(x):
    with open("/dev/tty"):
        return 2 * x


def maps_itself(x):
    from parmap import pmap

    return pmap(maps_itself, [x], executor="processes", workers=1)[0]


class DiesAtUnpickle:
    """An input that is well where it was made, and kills the process that unpickles it."""

    def __init__(self):
        self.home = os.getpid()

    def __reduce__(self):
        return _die_elsewhere, (self.home,)


def _die_elsewhere(home):
    if os.getpid() != home:
        os._exit(3)


def dies_beside_a_child(x):
    """Die, and leave a child that has all our descriptors, the worker's pipe among them."""
    if not os.fork():
        for fd in (1, 2):  # the case would wait for whoever holds its pipes
            os.close(fd)
        time.sleep(1)
        os._exit(0)
    os._exit(3)


def dies_once(x):
    """Die in the first attempt for *x*, in the current folder."""
    if _is_first(x):
        os._exit(3)
    return 2 * x


def _is_first(x):
    try:
        Path(f"{x}.was-here").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def closes_everything(x):
    os.closerange(0, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return 2 * x


# Errors


class TwoArguments(Exception):
    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code


def calls_sys_exit(x):
    sys.exit(3)


def raises_keyboard_interrupt(x):
    raise KeyboardInterrupt("by the task")


def raises_two_arguments(x):
    raise TwoArguments(404, "not here")


def recurses(x):
    return recurses(x)


def exhausts_its_memory(x):
    """Ask for more memory than the limit that was set a moment ago."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, hard))
    return len(bytearray(2**32))


def returns_a_lock(x):
    return threading.Lock()


# What is survived


def closes_the_standard_streams(x):
    for fd in range(3):
        os.close(fd)
    return 2 * x


def changes_its_process(x):
    os.chdir("/")
    os.environ.clear()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return 2 * x


def leaves_threads(x):
    for daemon in (True, False):
        threading.Thread(target=time.sleep, args=(FOR_EVER,), daemon=daemon).start()
    return 2 * x


def leaves_a_child(x):
    """Leave a child that ends by itself; it holds none of the case's pipes."""
    subprocess.Popen(
        ["sleep", "1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ).returncode = 0  # the task has forgotten it; the warning that it still runs is not the matter
    return 2 * x


def comes_back_twice(x):
    """Return in a child, too."""
    os.fork()
    return 2 * x


def ignores_signals(x):
    _handle_all(signal.SIG_IGN)
    return 2 * x


def _handle_all(handler):
    """Let *handler* take every signal that can be handled."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, handler)
        except OSError:  # one that the system keeps for itself
            pass


def prints(x):
    print("no newline", end="")
    return 2 * x


def is_killed_while_it_prints(x):
    print("last words", end="", flush=True)
    is_killed(x)


# Hangs


def loops(x):
    while True:
        pass


def sleeps(x):
    time.sleep(FOR_EVER)


def reads_for_ever(x):
    end, other = os.pipe()
    os.read(end, 1)
    os.close(other)


def is_stuck_in_c(x):
    """Match a regular expression that takes years, in a C function that holds the GIL."""
    return re.match(r"(a+)+$", "a" * 40 + "b")


def waits_for_a_child(x):
    subprocess.run(
        ["sleep", str(FOR_EVER)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


class HangsAtPickle:
    def __reduce__(self):
        time.sleep(FOR_EVER)
        return int, ()


def hangs_at_pickle(x):
    return HangsAtPickle()


def hangs_with_blocked_signals(x):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(FOR_EVER)


def hangs_with_default_handlers(x):
    """Hang where any signal would kill, as after a library has reset them."""
    _handle_all(signal.SIG_DFL)
    time.sleep(FOR_EVER)


def hangs_in_another_group(x):
    with contextlib.suppress(PermissionError):  # a worker leads a session, and stays in it
        os.setpgid(0, os.getpgid(os.getppid()))
    time.sleep(FOR_EVER)


def hangs_once(x):
    if _is_first(x):
        time.sleep(FOR_EVER)
    return 2 * x

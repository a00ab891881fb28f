"""What the tests of the relay map: tasks that print, log and warn.

Imported by workers, so: standard library and parmap only.
"""

import contextlib
import io
import logging
import os
import signal
import sys
import time
import warnings

import work

from parmap import pmap


def both(x):
    """Write lines of several kinds to both streams."""
    print("out", x)
    print("err", x, file=sys.stderr)
    print("a line", end=" ")
    print(f"in two parts {x}\nand another")
    return x


def partial_line(x):
    """Write what is no line."""
    print(x, end=",")
    return x


def log(x):
    """Log to several loggers, at several levels."""
    for name in ("chatter", "chatter.quiet", "elsewhere"):
        logger = logging.getLogger(name)
        logger.debug("debug %d", x)
        logger.info("info %d", x, extra={"colour": ("red", x)})
        logger.warning("warning %d", x)
    return x


def log_error(x):
    try:
        work.refuse(x, x)
    except ValueError:
        logging.getLogger("chatter").exception("failed on %s", x)


def log_badly(x):
    logging.getLogger("chatter").warning("%d", "no number")
    return x


def warn(x):
    warnings.warn("never mind", UserWarning, stacklevel=1)
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    return x


def flood(size, x):
    """Print *size* characters in lines of 100, and one more."""
    for _ in range(size // 100):
        print("x" * 99)
    print("the end of", x)
    return x


def one_line(size, x):
    sys.stdout.write("é" * size)
    return x


def raw(x):
    """Write bytes that are no text."""
    sys.stdout.buffer.write(b"\xff\x00")
    return x


def surrogate(x):
    print("a\udc80b", "ж")
    return x


def properties(_):
    """Return what a task can know of its streams."""
    out = sys.stdout
    out.reconfigure(line_buffering=True)
    with contextlib.suppress(ValueError):
        out.seek(0)
    return (
        (out.fileno(), sys.stderr.fileno()),
        out.isatty(),
        out.encoding,
        out.writable(),
        out.readable(),
        out.closed,
        out.buffer.fileno(),
        out.name,
        out.write("four"),
    )


def redirected(x):
    """Return what the task catches itself."""
    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):
        print("mine", x)
    print("yours", x)
    return caught.getvalue()


def crash_after_printing(culprit, x):
    """Print, and end the process in the middle of a line if *x* is the culprit."""
    print("begin", x)
    if x == culprit:
        print("last words", x, flush=True, end="")
        print("the streams are flushed", x, file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)
    print("end", x)
    return x


def print_for_ever(culprit, x):
    """Print without end if *x* is the culprit."""
    print("begin", x)
    while x == culprit:
        print("and on", x)
        time.sleep(0)
    return x


def print_then_wait(folder, x):
    """Print, and wait until that was seen."""
    print("seen", x)
    work.wait_until(lambda: (folder / f"seen {x}").exists(), "the caller to see it")
    print("done", x)
    return x


def nested(x):
    pmap(both, [x], executor="processes", workers=1)
    return x


def forks(x):
    """Print in a child, too, which nobody asks for what it has written."""
    pid = os.fork()
    if pid == 0:
        print("child")
        os._exit(0)
    os.waitpid(pid, 0)
    print("parent", x)
    return x


def stream_type(_=None):
    """Return what stands for stdout, and how warnings and loggers are, in a worker."""
    return type(sys.stdout).__module__, logging.getLogger("chatter").level, logging.root.level


def wrap(x):
    """Stand in the way of logging and of warnings, as libraries do that watch both."""
    call_handlers = logging.Logger.callHandlers

    def watched(self, record):
        return call_handlers(self, record)

    logging.Logger.callHandlers = watched
    logging.captureWarnings(capture=True)
    return x


def announce(word):
    print("initialized", word)


def announce_and_die():
    print("initialized and dead")
    os.kill(os.getpid(), signal.SIGKILL)


def log_to(path):
    """Have a handler of the worker's own."""
    logging.getLogger("chatter").addHandler(logging.FileHandler(path))


def log_to_stderr():
    logging.basicConfig(level=logging.INFO, format="worker %(message)s")

"""What workers keep, what they find around them, and that they never multiply."""

import _posixsubprocess
import decimal
import errno
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import work
from conftest import needs_proc

import parmap
from parmap import ExecutorUnavailable, pmap, shutdown, warm
from parmap._records.machine import usable_cpus
from parmap._workers import process, program
from parmap._workers import warm as warm_workers
from parmap._workers.program import Program

MIB = 2**20
ONE = {"executor": "processes", "workers": 1}
TWO = {"executor": "processes", "workers": 2}
KEEPERS = ["processes", "multiprocessing", "futures"]


def memory(pid, field="VmRSS"):
    """Return the MiB that a process has of something, as /proc says."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", text)[1]) / 1024


def regions():
    """Return the MiB in all our regions of shared memory."""
    total = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if "parmap-region" in os.readlink(entry):
                total += os.stat(entry).st_size
    return total / MIB


def workers():
    return [worker.pid for worker in warm_workers.idle]


# How they are started


def children():
    lists = Path("/proc/self/task").glob("*/children")
    return {child for path in lists for child in path.read_text().split()}


@pytest.fixture(params=["fork_exec", "Popen"])
def way(request, monkeypatch):
    """Both ways to start a program: that of the Pythons we know, and that of all others."""
    if request.param == "Popen":
        monkeypatch.setattr(program, "NEWEST", (3, 0))


@needs_proc
def test_a_start_that_fails_leaves_nothing(way):
    """The error says why; no process and no descriptor is left."""
    before = os.listdir("/proc/self/fd"), children()

    with pytest.raises(FileNotFoundError, match="no-such-python"):
        Program(["/no-such-python"], (), {})

    assert (os.listdir("/proc/self/fd"), children()) == before


def test_a_start_that_fails_says_why(monkeypatch):
    """Where the system tells nobody of children, and in however many pieces the reason comes."""
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, _: read(fd, 1))
    handler = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(FileNotFoundError):
            Program(["/no-such-python"], (), {})
    finally:
        signal.signal(signal.SIGCHLD, handler)


@needs_proc
def test_a_start_without_descriptors_leaves_nothing(way):
    """However few there are for it: it fails, or not, and what it has opened is closed."""
    before = os.listdir("/proc/self/fd"), children()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = os.open(os.devnull, os.O_RDONLY)
    os.close(first)
    errors = []
    for limit in range(first, limits[0]):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limits[1]))
        try:
            started = Program(["/bin/sh", "-c", ":"], (), {})
            break
        except OSError as error:
            errors.append(error.errno)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    started.wait()

    assert set(errors) == {errno.EMFILE}
    assert len(errors) > 1
    assert (os.listdir("/proc/self/fd"), children()) == before


class Interrupt(Exception):
    pass


@needs_proc
def test_an_interrupted_start_leaves_nothing():
    """Whatever a handler of a signal raises, and when: no process and no descriptor is left."""

    def interrupt(*_):
        raise Interrupt

    before = os.listdir("/proc/self/fd"), children()
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for n in range(1, 41):
            started = None
            try:
                signal.setitimer(
                    signal.ITIMER_REAL, n / 20_000
                )  # up to 2 ms: about as a start takes
                started = Program(["/bin/sh", "-c", ":"], (), {})
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupt:
                pass
            if started is not None:
                started.wait()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    ended = [left.wait() for left in program._left]  # whom the interrupt has hit on their way here

    assert all(ended)
    assert (os.listdir("/proc/self/fd"), children()) == before


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_start_does_not_wait_for_what_another_thread_forks(monkeypatch):
    """A child forked in the middle of a start may live on; the start ends."""
    waiting, go = os.pipe()
    forked = []
    fork_exec = _posixsubprocess.fork_exec

    def fork_before(*arguments):
        pid = os.fork()
        if not pid:
            os.close(go)
            told = select.select([waiting], [], [], work.PATIENCE)[0]
            os._exit(0 if told else 1)
        forked.append(pid)
        return fork_exec(*arguments)

    monkeypatch.setattr(_posixsubprocess, "fork_exec", fork_before)
    Program(["/bin/sh", "-c", ":"], (), {}).wait()
    os.close(go)
    os.close(waiting)

    assert [os.waitpid(pid, 0)[1] for pid in forked] == [0]


@pytest.mark.parametrize("ending", [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)])
def test_the_end_of_a_program_is_told_to_all_who_wait(way, ending):
    """Exit code or signal, to several threads at once."""
    source, code = ending
    started = Program([sys.executable, "-c", f"import os, sys; {source}"], (), os.environ)
    told = []
    threads = [threading.Thread(target=lambda: told.append(started.wait())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told == [True] * 3
    assert started.returncode == started.poll() == code


@needs_proc
def test_a_program_is_found_on_the_path_and_has_nothing_but_its_own(way, tmp_path):
    """It is looked for in PATH; of our descriptors it has those that it was given, and streams."""
    kept, lost = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    os.set_inheritable(lost, True)
    (tmp_path / "named").symlink_to("/bin/sh")
    place = tmp_path / "list"
    try:
        started = Program(
            ["named", "-c", f"ls -l /proc/self/fd > {place}"],
            (kept,),
            {"PATH": f"/nowhere:{tmp_path}:{os.environ['PATH']}"},
        )
        started.wait()
    finally:
        os.close(kept)
        os.close(lost)

    text = place.read_text()
    assert f" {kept} -> " in text
    assert f" {lost} -> " not in text


FLAGS = ["", "-O", "-OO -B -q", "-I", "-E -s", "-S -v", "-W error", "-X dev", "-b", "-X utf8=1"]


@pytest.mark.parametrize("flags", FLAGS)
def test_a_worker_is_started_with_the_options_of_the_caller(flags):
    """They are those that the standard library gives to an interpreter that it starts."""
    root = str(Path(parmap.__file__).parents[1])
    source = f"""\
import subprocess, sys
sys.path.insert(0, {root!r})
from parmap._workers.program import options
theirs = subprocess._args_from_interpreter_flags()
print(sys.flags.isolated and options() == ["-I", "-E", "-s"] or options() == theirs)
"""
    command = [sys.executable, *flags.split(), "-c", source]

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "True\n"


# What workers keep


def test_a_function_that_a_worker_has_lost_is_sent_again():
    """Whatever became of the function in the worker, the call is completed with it."""

    def lose(_):
        kept = parmap._workers.child._calls
        for digest in list(kept):
            del kept[digest]

    shutdown()
    function = partial(divmod, 7)
    first = pmap(function, [2], **ONE)
    pmap(lose, [None], **ONE)

    assert first == pmap(function, [2], **ONE) == pmap(function, [2], **ONE) == [(3, 1)]


@needs_proc
def test_a_worker_without_descriptors_costs_no_call():
    """If a worker cannot map what a function holds, another does; and in the call after, too."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    hoard = []

    def take_all(_):
        with suppress(OSError):
            while True:
                hoard.append(os.open(os.devnull, os.O_RDONLY))
        parmap.hoard = hoard  # where it stays

    shutdown()
    arrays = [numpy.full(MIB, float(n)) for n in range(3)]
    for array in arrays:
        pmap(take_all, [None], **ONE)

        assert pmap(lambda x: array[x], [0, 1], **ONE) == [array[0]] * 2  # noqa: B023
        assert pmap(lambda x: array[x], [0, 1], **ONE) == [array[0]] * 2  # noqa: B023
    shutdown()


def test_what_no_worker_can_map_is_an_error():
    """If no worker can, the call ends with an error that says why."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")

    array = numpy.ones(MIB)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    shutdown()
    try:
        with pytest.MonkeyPatch.context() as patch:
            truly = process.WorkerProcess

            def start(environment):
                worker = truly(environment)
                work.wait_until(lambda: worker.readable(1), "the worker")
                resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (3, hard))
                return worker

            patch.setattr(process, "WorkerProcess", start)
            with pytest.raises(ExecutorUnavailable, match="map"):
                pmap(lambda x: array[x], [0, 1], **ONE)
    finally:
        shutdown()


@needs_proc
def test_large_arrays_of_functions_do_not_pile_up():
    """Calls with a fresh array leave shared memory up to a bound, one larger than that none."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")

    shutdown()
    for n in range(8):
        array = numpy.full(8 * MIB, float(n))
        assert pmap(lambda x: array[x], [0, 1], **TWO) == [n, n]  # noqa: B023
    several = regions()
    array = numpy.full(38 * MIB, 1.0)
    assert pmap(lambda x: array[x], [0, 1], **TWO) == [1, 1]
    with_large = regions()
    work.wait_until(lambda: sum(memory(pid, "RssShmem") for pid in workers()) < 10, "the workers")
    shutdown()

    assert several <= 256
    assert with_large <= several
    assert regions() == 0


@needs_proc
def test_large_objects_of_functions_do_not_pile_up():
    """Calls with a fresh list leave no more memory in the workers than a bound."""
    shutdown()
    warm(2)
    pmap(abs, [1, 2], **TWO)
    before = sum(map(memory, workers()))
    for n in range(10):
        numbers = [float(n)] + [0.5 + x for x in range(MIB)]
        assert pmap(lambda x: numbers[x], [0, 0], **TWO) == [n, n]  # noqa: B023

    work.wait_until(lambda: sum(map(memory, workers())) < before + 256, "them to forget", 10)
    shutdown()


@needs_proc
def test_a_worker_that_waits_holds_neither_input_nor_result():
    """After a large argument and a large result a worker is as small as before."""
    shutdown()
    pmap(abs, [1], **ONE)
    (pid,) = workers()
    before = memory(pid)

    assert len(pmap(bytes, [100 * MIB], **ONE)[0]) == 100 * MIB
    assert pmap(len, [bytes(100 * MIB)], **ONE) == [100 * MIB]
    work.wait_until(lambda: memory(pid) < before + 20, "the worker to let go")


@needs_proc
def test_a_worker_without_work_keeps_nothing():
    """A worker that was idle for long lets go of its functions, and gets them again."""
    numbers = [0.5 + x for x in range(2 * MIB)]

    def task(x):
        parmap._workers.child.RESTED = 0.05
        return numbers[x]

    shutdown()
    pmap(abs, [1], **ONE)
    (pid,) = workers()
    before = memory(pid)

    assert pmap(task, [0], **ONE) == [0.5]
    work.wait_until(lambda: memory(pid) < before + 30, "the worker to forget")
    assert pmap(task, [1], **ONE) == [1.5]
    assert workers() == [pid]
    shutdown()


# They never multiply


# Should it be imported, or called, without end, that ends it.
GUARD = """
def guard():
    import os
    fd = os.open("count", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(fd, b"1")
    os.close(fd)
    if os.path.getsize("count") > 40:
        os._exit(1)
"""

MODULE = """
from parmap import parallel, pmap

guard()

def square(x):
    return x * x

@parallel(executor="processes", workers=2)
def cube(x):
    return x ** 3

{at_the_top}
"""

AT_THE_TOP = {
    "executor": 'TABLE = pmap(square, range(4), executor="processes", workers=2)',
    "timeout": "TABLE = pmap(square, range(4), timeout=60, workers=2)",
    "futures": 'TABLE = pmap(square, range(4), executor="futures", workers=2)',
    "decorator": "TABLE = [x * x for x in map(int, cube.map(range(2)))] + [4, 9]",
    "an item": 'TABLE = pmap(square, range(4), executor="processes", workers=2)',
    "initializer": 'TABLE = pmap(square, range(4), executor="processes", workers=2)',
}


@pytest.mark.parametrize("how", AT_THE_TOP)
def test_a_module_that_maps_when_it_is_imported(script, tmp_path, how):
    """Workers import such a module without starting workers of their own."""
    text = GUARD + MODULE.replace("{at_the_top}", AT_THE_TOP[how])
    (tmp_path / "maps_at_import.py").write_text(text + "\nclass Number(int): pass\n")
    mapped = {
        "an item": "pmap(abs, [module.Number(3)] * 4, executor='processes', workers=2)",
        "initializer": "pmap(abs, [3] * 4, executor='processes', workers=2, initializer=prepare)",
    }.get(how, "pmap(module.square, [3] * 4, executor='processes', workers=2)")
    done = script(f"""
import maps_at_import as module
from parmap import pmap, pimap

def prepare():
    pmap(abs, range(4), executor="processes", workers=2)

print(module.TABLE[:4], {mapped})
from parmap._workers import warm
print(len(warm.idle))
""")

    expected = "[0, 1, 4, 9] [9, 9, 9, 9]" if "abs" not in mapped else "[0, 1, 4, 9] [3, 3, 3, 3]"
    assert done.stdout == f"{expected}\n2\n"


def test_a_function_that_maps_itself_ends_with_an_error(script):
    """Recursion through a map of its own does not fill the machine: the error names the bound."""
    done = script(f"""{GUARD}
from parmap import ExecutorUnavailable, parallel

@parallel(executor="processes", workers=2)
def f(n):
    guard()
    return sum(f.map([n, n]))

try:
    f.map([1, 2])
except ExecutorUnavailable as error:
    print("at most 3 deep" in str(error), "serially" in str(error))
""")

    assert done.stdout == "True True\n"


@pytest.mark.parametrize("executor", ["processes", "futures"])
def test_workers_may_be_nested_when_asked_for(executor):
    """Down to the bound, a call in a task that names its executor gets workers of its own."""

    def deep(n):
        from parmap._workers.tasks import nested

        if n == 1:
            return [(nested.get(), os.getpid())]
        inner = {"executor": "processes", "workers": 1}
        return [(nested.get(), os.getpid()), *pmap(deep, [n - 1], **inner)[0]]

    (levels,) = pmap(deep, [3], executor=executor, workers=1)

    assert [level for level, _ in levels] == [1, 2, 3]
    assert len({pid for _, pid in levels} | {os.getpid()}) == 4


@pytest.mark.parametrize("executor", KEEPERS)
def test_nested_workers_share_the_machine(executor):
    """Without workers=, a call in a task has the share of its worker, not the whole machine."""

    def share(_):
        return usable_cpus()

    mine = usable_cpus()

    assert set(pmap(share, range(4), executor=executor, workers=2)) == {max(1, mine // 2)}
    assert set(pmap(share, range(4), executor=executor, workers=1)) == {mine}
    assert usable_cpus() == mine


# No Python to start them with

NO_PYTHON = {
    "frozen": "sys.frozen = True",
    "embedded": "sys.executable = ''",
    "unknown": "sys.executable = None",
    "missing": "sys.executable = '/nowhere/python3'",
    "another": "sys.executable = '/bin/sh'",
}


@pytest.mark.parametrize("how", NO_PYTHON)
def test_a_program_that_is_no_python_is_not_started_as_a_worker(script, how):
    """Frozen or embedded, executors with processes say what works, and auto uses that silently."""
    done = script(f"""
import sys, time, warnings
warnings.simplefilter("error")
from parmap import ExecutorUnavailable, pmap
{NO_PYTHON[how]}
names = "processes", "multiprocessing", "futures", "joblib"
for name in names:
    try:
        pmap(abs, [-1, 2], executor=name, workers=2)
    except ExecutorUnavailable as error:
        assert "threads" in str(error) and "set_executable" in str(error), error
    else:
        assert False, name
try:
    pmap(abs, [-1, 2], timeout=9)
except ExecutorUnavailable:
    pass
else:
    assert False

def burn(x):
    n = 200_000
    while n:
        n -= 1
    return x

for task in burn, lambda x: time.sleep(0.03) or x:
    assert pmap(task, range(30), workers=2) == [*range(30)]
    assert pmap(task, range(3), workers=2, on_error="return") == [*range(3)]
from parmap._workers import warm
print(len(warm.idle))
""")

    assert (done.stdout, done.stderr) == ("0\n", "")


def test_the_interpreter_that_was_set_is_started(script, tmp_path):
    """What multiprocessing.set_executable names is used, also by a program that is frozen."""
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nWRAPPED=yes exec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    done = script(f"""
import multiprocessing, os, sys
from parmap import pmap
multiprocessing.set_executable({str(wrapper)!r})
sys.frozen = True
pid = pmap(lambda _: os.getpid(), [1], executor="processes", workers=1)[0]
print(b"WRAPPED=yes" in open(f"/proc/{{pid}}/environ", "rb").read())
""")

    assert done.stdout == "True\n"


# No terminal

ASKS = """
import getpass, os, pty, subprocess, sys, time

def ask(x):
    with open("/dev/tty") as terminal:
        return terminal.readline()

def shell(x):
    return subprocess.run(["sh", "-c", "read answer < /dev/tty"]).returncode

def write(x):
    os.write(1, b"written\\n")
    return x

def main():
    from parmap import pmap
    options = {"executor": "processes", "workers": 2, "timeout": 30}
    subprocess.run(["stty", "tostop"], check=True)
    print([type(f.exception).__name__ for f in pmap(ask, [1, 2], on_error="return", **options)])
    print([code != 0 for code in pmap(shell, [1, 2], **options)])
    print(pmap(write, [1, 2], **options))
    print(pmap(lambda x: os.getsid(0) == os.getpid() == os.getpgrp(), [1], **options))
    print("the end")

child, terminal = pty.fork()
if not child:
    main()
    sys.stdout.flush()
    os._exit(0)
text = b""
try:
    while part := os.read(terminal, 4096):
        text += part
except OSError:
    pass
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(text.decode().replace("\\r", ""), code)
"""


def test_a_task_that_asks_on_the_terminal_fails_at_once(script):
    """Workers have no terminal: a question there is an error of the task, and nobody hangs."""
    lines = script(ASKS).stdout.splitlines()

    assert "['OSError', 'OSError']" in lines
    assert "[True, True]" in lines
    assert lines.count("written") == 2
    assert "[True]" in lines
    assert lines[-2:] == ["the end", " 0"]


# What tasks find around them


class Fussy(UserWarning):
    """A category of warnings of this module."""


def recursion(_):
    return sys.getrecursionlimit()


def digits(_):
    return sys.get_int_max_str_digits()


def precision(_):
    context = decimal.getcontext()
    return context.prec, context.rounding, context.traps[decimal.Inexact]


def warn(_):
    try:
        warnings.warn("fussy", Fussy, stacklevel=1)
    except Fussy:
        return "raised"
    return "shown"


def arguments(_):
    return list(sys.argv)


def mask(_):
    before = os.umask(0)
    os.umask(before)
    return before


def zone(_):
    return time.localtime(0).tm_hour


def change_recursion(monkeypatch):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 77)
    return partial(sys.setrecursionlimit, before)


def change_digits(monkeypatch):
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(before + 77)
    return partial(sys.set_int_max_str_digits, before)


def change_precision(monkeypatch):
    before = decimal.getcontext()
    decimal.setcontext(decimal.Context(11, decimal.ROUND_UP, traps=[decimal.Inexact]))
    return partial(decimal.setcontext, before)


def change_filters(monkeypatch):
    before = warnings.filters[:]
    warnings.filterwarnings("ignore", "fussy", category=Fussy)  # else an error, as pytest is set

    def restore():
        warnings.resetwarnings()
        warnings.filters.extend(before)

    return restore


def change_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", "--option", "värde"])
    return monkeypatch.undo


def change_mask(monkeypatch):
    return partial(os.umask, os.umask(0o137))


def change_zone(monkeypatch):
    monkeypatch.setenv("TZ", "XYZ-7")
    time.tzset()

    def restore():
        monkeypatch.undo()
        time.tzset()

    return restore


STATE = [
    (recursion, change_recursion),
    (digits, change_digits),
    (precision, change_precision),
    (warn, change_filters),
    (arguments, change_arguments),
    (mask, change_mask),
    (zone, change_zone),
]


@pytest.mark.parametrize("executor", KEEPERS)
@pytest.mark.parametrize(("look", "change"), STATE, ids=[look.__name__ for look, _ in STATE])
def test_tasks_find_the_state_of_the_caller(look, change, executor, monkeypatch):
    """What the caller has set of its interpreter holds in tasks, in warm workers too, and ends."""
    options = {"executor": executor, "workers": 2}
    items = range(4)
    plain = [*map(look, items)]
    first = pmap(look, items, **options)
    restore = change(monkeypatch)
    try:
        changed = [*map(look, items)]
        second = pmap(look, items, **options)
    finally:
        restore()

    assert first == plain
    assert second == changed != plain
    assert pmap(look, items, **options) == plain


def test_what_a_task_changes_ends_with_its_call():
    """The next call finds the caller's state again, though nothing has changed in the caller."""

    def change(x):
        os.chdir("/")
        os.umask(0o177)
        os.environ["CHANGED"] = "yes"
        sys.argv[:] = ["changed"]
        sys.setrecursionlimit(5_000)
        sys.path.clear()
        decimal.getcontext().prec = 3
        return x

    def look(_):
        names = os.getcwd(), os.environ.get("CHANGED"), sys.argv, sys.getrecursionlimit(), sys.path
        return *names, decimal.getcontext().prec, mask(None)

    for _ in range(2):
        assert pmap(change, [1, 2], **ONE) == [1, 2]
        assert pmap(look, [1], **ONE) == [look(1)]


def test_an_odd_category_of_warnings_costs_only_its_filter(monkeypatch):
    """A filter that cannot be sent is left out; the others hold."""

    class Odd(UserWarning):
        lock = threading.Lock()

    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=Fussy)
        warnings.filterwarnings("error", category=Odd)

        assert pmap(warn, [1, 2], **TWO) == ["raised"] * 2


def test_filters_import_nothing(tmp_path, monkeypatch):
    """A filter for the warnings of a module that the task does not need does not import it."""
    (tmp_path / "dear_to_import.py").write_text("class DearWarning(UserWarning): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import dear_to_import

    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=dear_to_import.DearWarning)

        assert pmap(lambda _: "dear_to_import" in sys.modules, [1], **TWO) == [False]


def test_a_program_without_filters_has_none_set(script):
    """Where the caller has not imported warnings, calls begin with the interpreter's filters."""
    done = script("""
import parmap
def count(_):
    import warnings
    found = len(warnings.filters)
    warnings.simplefilter("error", BytesWarning)
    return found
for _ in range(2):
    print(*parmap.pmap(count, [0], executor="processes", workers=1))
print(count(0))
""")

    assert len(set(done.stdout.split())) == 1, done.stdout


@pytest.mark.parametrize("executor", ["processes", "futures", "multiprocessing"])
def test_each_message_meets_the_callers_filters(executor):
    """A worker has the caller's filters for each chunk that it gets, not only for the first."""
    options = {"executor": executor, "workers": 1, "chunksize": 1}

    assert pmap(warn, range(4), **options) == [warn(x) for x in range(4)]


def test_filters_of_joblibs_workers_are_left_alone():
    """In workers of joblib a call sets no filters but to relay, and then for itself alone."""
    joblib = pytest.importorskip("joblib")

    def filters(_):
        return [entry[0] for entry in warnings.filters]

    def without():
        return joblib.Parallel(2)(map(joblib.delayed(filters), [0, 1]))

    before = without()

    assert pmap(filters, [0, 1], executor="joblib", workers=2) == [[], []]
    assert without() == before
    assert pmap(filters, [0, 1], executor="joblib", workers=2, relay=False) == before


def test_strings_have_the_same_hash_in_all_workers(script):
    """hash(str) agrees among the workers, and what they start does not inherit how."""
    done = script("""
import os, sys
from parmap import pmap, shutdown
options = {"executor": "processes", "workers": 2, "chunksize": 1}
hashes = set()
for _ in range(3):
    hashes.update(pmap(lambda x: hash("a string"), range(8), **options))
    shutdown()
inner = pmap(lambda x: pmap(hash, ["a string"], executor="processes")[0], range(2), **options)
print(len(hashes), set(inner) == hashes)
print(pmap(lambda x: os.environ.get("PYTHONHASHSEED"), [1], **options))
""")

    assert done.stdout == "1 True\n[None]\n"


def test_a_hash_seed_of_the_program_is_the_workers(script, monkeypatch):
    """With PYTHONHASHSEED set, strings have the caller's hash everywhere."""
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    done = script("""
from parmap import pmap
print(pmap(hash, ["a string"] * 4, executor="processes") == [hash("a string")] * 4)
""")

    assert done.stdout == "True\n"


def test_what_we_use_of_the_interpreter_is_there():
    """The names that no documentation promises: if a release moves one, this says so."""
    data = os.environ._data

    assert {os.environ.decodevalue(key): os.environ[os.environ.decodevalue(key)] for key in data}
    assert dict(data) == dict(os.environb)
    assert isinstance(warnings.filters, list)
    assert sys.version_info < (3, 14) or isinstance(warnings._get_filters(), list)

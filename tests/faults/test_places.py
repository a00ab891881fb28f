"""Awkward places to call a map from, each in a process of its own; one task crashes in most."""

import shutil
import subprocess

import alone
import pytest
from alone import POOLS, options_of, script
from conftest import needs_proc
from table import ABROAD, OWN_WORKERS

pytestmark = needs_proc


HEAD = """\
import os, pathlib, signal, sys, threading, time
import faulty
from parmap import ExecutorUnavailable, Failure, pmap
options = OPTIONS
def task(x):
    return faulty.exits_at_once(x) if x == 5 else 2 * x
def right():
    results = pmap(task, range(12), **options | {"on_error": lambda failure: failure.kind})
    return results == [0, 2, 4, 6, 8, "crash", 12, 14, 16, 18, 20, 22]
said = pathlib.Path("said").absolute()
def say(*words):
    said.write_text(" ".join(map(str, words)))
"""


def run(folder, source, executor="processes", workers=2, **more):
    """Run *source* after HEAD; check its end, and return what it has said."""
    options = options_of(executor) | {"workers": workers}
    alone.run(folder, script(folder, HEAD + source, OPTIONS=options), **more).check()
    return (folder / "said").read_text()


def wrapped(*commands):
    """Return a shell that does *commands*, then becomes the program."""
    return ["sh", "-c", "; ".join([*commands[:-1], f'exec "$0" "$@" {commands[-1]}'])]


TRYING = """\
try:
    say(right())
except ExecutorUnavailable:
    say("refused")
"""


def check_refusal(said, executor):
    """Check that our own workers do it, and that other pools do or say that they cannot."""
    assert said == "True" or (said == "refused" and executor not in OWN_WORKERS)


DAEMONIC = """\
import multiprocessing
def inside():
    say(right())
process = multiprocessing.get_context("fork").Process(target=inside, daemon=True)
process.start()
process.join()
assert process.exitcode == 0
"""


@pytest.mark.parametrize("executor", OWN_WORKERS)
def test_in_a_daemonic_process(tmp_path, executor):
    """A daemonic process of multiprocessing, which ends without its exit handlers, can map."""
    assert run(tmp_path, DAEMONIC, executor) == "True"


FORKED = """\
before = {p for p in pmap(lambda _: (time.sleep(0.01), os.getpid())[1], range(20), **options)}
child = os.fork()
if not child:
    os._exit(0 if right() else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
after = {p for p in pmap(lambda _: (time.sleep(0.01), os.getpid())[1], range(20), **options)}
say(status, after == before, len(after), right())
"""


@pytest.mark.parametrize("executor", OWN_WORKERS)
def test_after_a_fork(tmp_path, executor):
    """A forked child has workers of its own; those of the parent stay, and are the same ones."""
    assert run(tmp_path, FORKED, executor) == "0 True 2 True"


THREADS = """\
found = []
threads = [threading.Thread(target=lambda: found.append(right())) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
say(found)
"""


@pytest.mark.parametrize("executor", [name for name in POOLS if name != "joblib"])
def test_in_four_threads_at_once(tmp_path, executor):
    """Four threads map at the same time; a crash in each costs no other anything."""
    assert run(tmp_path, THREADS, executor) == "[True, True, True, True]"


PIPES = """\
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
for pid in set(pmap(lambda _: (time.sleep(0.01), os.getpid())[1], range(20), **options)):
    os.kill(pid, signal.SIGKILL)
say(right())
"""


@pytest.mark.parametrize("executor", OWN_WORKERS)
def test_where_a_broken_pipe_kills(tmp_path, executor):
    """A program that ends at SIGPIPE, as filters do, survives the death of its idle workers."""
    assert run(tmp_path, PIPES, executor) == "True"


ASYNC = """\
import asyncio
async def main():
    found = await asyncio.gather(*(asyncio.to_thread(right) for _ in range(3)))
    say(*found, right())
asyncio.run(main())
"""


@pytest.mark.parametrize("executor", OWN_WORKERS)
def test_in_an_event_loop(tmp_path, executor):
    """A map works inside asyncio: in threads beside the loop, and in the loop itself."""
    assert run(tmp_path, ASYNC, executor) == "True True True True"


CANCELLED = """\
import asyncio, itertools
from parmap import aio
def work(x):
    pathlib.Path("begun").touch()
    return x
def hang(x):
    pathlib.Path("hangs").touch()
    threading.Event().wait()
async def cancel(fn, name):
    call = asyncio.create_task(aio.pmap(fn, itertools.count(), **options))
    while not pathlib.Path(name).exists():
        await asyncio.sleep(0.001)
    call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        return True
async def main():
    good = [await cancel(work, "begun") and await cancel(hang, "hangs") for _ in range(3)]
    say(*good, await asyncio.to_thread(right))
asyncio.run(main())
"""


@pytest.mark.parametrize("executor", OWN_WORKERS)
def test_cancelled_in_an_event_loop(tmp_path, executor):
    """Awaited calls that are cancelled under load, tasks that hang among them, leave nothing."""
    assert run(tmp_path, CANCELLED, executor) == "True True True True"


SERVER = """\
assert right()
def serve(number):
    assert right()
    pathlib.Path(f"serving-{number}").touch()
    while True:
        right()
children = []
for number in range(3):
    child = os.fork()
    if not child:
        try:
            serve(number)
        finally:
            os._exit(1)
    children.append(child)
while not all(pathlib.Path(f"serving-{number}").exists() for number in range(3)):
    time.sleep(0.01)
for child in children:
    os.kill(child, signal.SIGTERM)
ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
say(*ends, right())
"""


def test_under_a_server_that_forks(tmp_path):
    """A parent with warm workers forks children that map and are terminated: nothing is left."""
    assert run(tmp_path, SERVER) == "-15 -15 -15 True"


PRINTING = """\
def task(x):
    print("out", x)
    print("err", x, file=sys.stderr)
    return faulty.exits_at_once(x) if x == 5 else 2 * x
"""


@pytest.mark.parametrize("closed", [">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("executor", POOLS)
def test_with_closed_streams(tmp_path, executor, closed):
    """In a program without stdout and stderr tasks may print; other pools may refuse to start."""
    check_refusal(run(tmp_path, PRINTING + TRYING, executor, around=wrapped(closed)), executor)


DELETED = """\
os.mkdir("gone")
os.chdir("gone")
os.rmdir("../gone")
"""


@pytest.mark.parametrize("executor", POOLS)
def test_in_a_folder_that_was_deleted(tmp_path, executor):
    """A map works when the current directory is gone; other pools may refuse to start."""
    check_refusal(run(tmp_path, DELETED + TRYING, executor), executor)


@pytest.mark.parametrize("executor", POOLS)
def test_with_few_file_descriptors(tmp_path, executor):
    """With `ulimit -n 64` two workers run as usual."""
    assert run(tmp_path, "say(right())", executor, around=wrapped("ulimit -n 64", "")) == "True"


@pytest.mark.parametrize("executor", OWN_WORKERS)
def test_with_fewer_file_descriptors_than_workers_need(tmp_path, executor):
    """With `ulimit -n 64` and 40 workers wanted, those that can be started do it."""
    around = wrapped("ulimit -n 64", "")

    assert run(tmp_path, "say(right())", executor, workers=40, around=around) == "True"


@pytest.mark.parametrize("executor", POOLS)
def test_without_a_folder_for_temporary_files(tmp_path, executor):
    """A map works when TMPDIR names a folder that does not exist."""
    missing = str(tmp_path / "missing")

    assert run(tmp_path, "say(right())", executor, env={"TMPDIR": missing}) == "True"


LIMITED = """\
import resource
from parmap import shutdown
pmap(task, range(5), **options)  # imports what is needed here
shutdown()
try:
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    words = [pmap(task, range(5), **options) == [0, 2, 4, 6, 8]]
except (ExecutorUnavailable, MemoryError, OSError) as error:
    words = ["refused:", type(error).__name__]
say(*words)
"""


@pytest.mark.parametrize(
    ("executor", "megabytes"),
    [
        *(("processes", megabytes) for megabytes in (4, 12, 14, 16, 20, 32)),
        *((executor, 16) for executor in ABROAD if executor not in ("processes", "joblib")),
    ],
)
def test_without_the_memory_to_start_workers(tmp_path, executor, megabytes):
    """Under an RLIMIT_AS in which workers cannot start, a map gives results or a clear error."""
    words = {"BYTES": megabytes << 20, "OPTIONS": options_of(executor)}

    end = alone.run(tmp_path, script(tmp_path, HEAD + LIMITED, **words))

    end.check(stderr=end.stderr)  # the interpreters that do not start say so
    said = (tmp_path / "said").read_text()
    assert said.startswith(("True", "refused: "))
    assert executor != "processes" or "OSError" not in said


def may_mount():
    """Tell whether we may have a file system of our own."""
    if shutil.which("unshare") is None or not alone.SHARED.is_dir():
        return False
    command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=4k none /dev/shm"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("full", [True, False], ids=["full", "tiny"])
@pytest.mark.parametrize("executor", [name for name in POOLS if name != "joblib"])
def test_without_shared_memory(tmp_path, executor, full):
    """With /dev/shm full or tiny our own workers do it; other pools do, or say why not."""
    # joblib warns and runs the tasks in the caller, where the crash would end the program
    if not may_mount():
        pytest.skip("no file system may be mounted here")
    fill = ["head -c 64k /dev/zero > /dev/shm/full 2> /dev/null"] if full else []
    mount = "mount -t tmpfs -o size=4k none /dev/shm"

    around = ["unshare", "-m", *wrapped(mount, *fill, "")]

    check_refusal(run(tmp_path, TRYING, executor, around=around), executor)


LARGE = """\
import array
big = array.array("d", bytes(8 << 20))
results = pmap(lambda x: x + len(big), range(4), **options)
say(results == [x + (1 << 20) for x in range(4)])
"""


@pytest.mark.parametrize("executor", OWN_WORKERS)
def test_a_large_function_without_shared_memory(tmp_path, executor):
    """A function with a buffer that is usually shared is sent, however small /dev/shm is."""
    if not may_mount():
        pytest.skip("no file system may be mounted here")
    mount = "mount -t tmpfs -o size=4k none /dev/shm"

    around = ["unshare", "-m", *wrapped(mount, "")]

    assert run(tmp_path, LARGE, executor, around=around) == "True"

"""Programs that run alone: each in a session of its own, with a limit, and watched to its end."""

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

from conftest import environment, installed, with_token
from table import ABROAD
from work import wait_until

HERE = Path(__file__).parent
POOLS = [name for name in ABROAD if name != "joblib" or installed("joblib")]
LIMIT = 30.0  # seconds a program may take; what takes longer hangs
GONE = 5.0  # seconds after the end of a program until nothing of it may be left
SHARED = Path("/dev/shm")
KEPT_THERE = ("parmap", "loky", "joblib", "psm", "sem.")
UNWANTED = ("PYTHONFAULTHANDLER", "JOBLIB_TEMP_FOLDER")  # they change what is said and where

# What joblib's own tracker says, now and then, when a worker of its own pool has died.
JOBLIBS = re.compile(
    r"^.*joblib/externals/loky/backend/resource_tracker.*\n  warnings.warn.*\n", re.M
)

# Undoes what a shell does for programs in the background: it lets them ignore Ctrl-C.
HEED = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclasses.dataclass(frozen=True)
class End:
    """How a program ended, what it said, and what is left of it."""

    code: int
    stdout: str
    stderr: str
    left: list

    def check(self, *, code=0, stderr=""):
        """Fail unless the program ended with *code*, said *stderr*, and left nothing behind."""
        assert self.code == code, f"it ended with {self.code}:\n{self.stdout}\n{self.stderr}"
        assert self.stderr == stderr, f"it said:\n{self.stderr}"
        assert not self.left, "\n".join(["it left:", *self.left])
        return self


class Program:
    """A program under way.  Killed, with all its processes, when the `with` block is left.

    What it writes goes to files: nobody waits for a process that holds the end of a pipe.
    """

    def __init__(self, folder, *command, env=None, around=()):
        """Start Python with the arguments *command*, by the program *around* if there is one."""
        self.folder = folder
        self.token = uuid.uuid4().hex
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self._shared_before = _shared()
        variables = environment(self.token) | {"TMPDIR": str(self.temporary)} | (env or {})
        paths = os.pathsep.join([str(HERE), str(folder), variables["PYTHONPATH"]])
        with (folder / "stdout").open("w") as stdout, (folder / "stderr").open("w") as stderr:
            self.process = subprocess.Popen(
                [*around, sys.executable, "-I", "-S", "-c", HEED, sys.executable, *command],
                cwd=folder,
                env={name: variables[name] for name in variables if name not in UNWANTED}
                | {"PYTHONPATH": paths},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for pid in with_token(self.token):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for name in _shared() - self._shared_before:  # its trackers were killed, too
            if _owner(name) == self.process.pid:
                shutil.rmtree(SHARED / name, ignore_errors=True)
                (SHARED / name).unlink(missing_ok=True)

    def wait_for(self, *names):
        """Wait until the files *names* are in the program's folder; fail if it ends before."""

        def there():
            assert self.process.poll() is None, self._said("stderr")
            return all((self.folder / name).exists() for name in names)

        wait_until(there, f"the files {names}", LIMIT)

    def end(self):
        """Wait for the end of the program, and of whatever it has started."""
        code = self.process.wait(LIMIT)
        left = []

        def gone():  # at one moment: in the next, a program beside may show its own
            left[:] = self._left()
            return not left

        with contextlib.suppress(TimeoutError):
            wait_until(gone, "all of it to end", GONE)
        return End(code, self._said("stdout"), JOBLIBS.sub("", self._said("stderr")), left)

    def _said(self, name):
        return (self.folder / name).read_text("utf-8")

    def _left(self):
        """Return what is left: processes by their commands, files by their names."""
        left = []
        for pid in with_token(self.token):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                left.append(f"process {pid}: {' '.join(words)}")
        left += sorted(map(str, self.temporary.iterdir()))
        new = _shared() - self._shared_before
        return left + sorted(name for name in new if _owner(name) in (None, self.process.pid))


def _shared():
    if not SHARED.is_dir():
        return set()
    return {path.name for path in SHARED.iterdir() if path.name.startswith(KEPT_THERE)}


def _owner(name):
    """Return the process that made *name* in shared memory, by its number, if the name has it."""
    found = re.search(r"(?:loky-|folder_)(\d+)", name)
    return int(found[1]) if found else None


def run(folder, *command, **options):
    """Run a program to its end."""
    with Program(folder, *command, **options) as program:
        return program.end()


def script(folder, source, **words):
    """Write a script into *folder*, with values in the place of *words*; return its name."""
    for word, value in words.items():
        source = source.replace(word, value if isinstance(value, str) else repr(value))
    (folder / "script.py").write_text(source, "utf-8")
    return "script.py"


def in_new_workers(folder, source):
    """Have each interpreter run *source* at its start, if a script in *folder* starts a worker."""
    condition = 'if "script.py" not in sys.orig_argv and "tracker" not in " ".join(sys.orig_argv):'
    text = f"import sys\n{condition}\n{textwrap.indent(source, '    ')}"
    (folder / "sitecustomize.py").write_text(text, "utf-8")


def options_of(executor):
    """Return options that lead to *executor*; "auto" is asked to contain failures."""
    away = {"on_error": "return"} if executor == "auto" else {}
    return {"executor": executor, "workers": 2} | away

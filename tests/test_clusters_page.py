"""What docs/clusters.md prints is run: its scripts, and the commands of its terminals.

The ports are others, so that nothing else on the machine is in the way.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import clusters
import pytest
from conftest import environment, installed, with_token
from test_mpi import LOCAL, MPIEXEC

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "clusters.md").read_text("utf-8")
BLOCKS = re.findall(r'```(\w+) title="([^"]+)"\n(.*?)```', PAGE, re.DOTALL)
TOKEN = f"page-{os.getpid()}"
ANSWER = str(sum(sum(k * k for k in range(n)) for n in range(1000)))
NEEDS_A_SITE = {"on_slurm.py", "on_kubernetes.py"}

# A script may take a while: it starts a cluster, and each of its processes imports an engine.
pytestmark = [pytest.mark.clusters, pytest.mark.timeout(300)]


def line_with(word):
    """Return the line of a terminal that has *word* in it."""
    (line,) = {text.strip() for kind, _, text in BLOCKS if kind == "sh" and word in text}
    return line


def test_the_page_opens_with_few_words():
    """Its first paragraph has at most 25 words."""
    first = PAGE.split("\n\n")[1]

    assert len(first.split()) <= 25


def test_the_scripts_of_the_page_can_be_read():
    """Each script is Python, and one that no test here runs says that it was not run."""
    scripts = {title: text for kind, title, text in BLOCKS if kind == "py"}

    for title, text in scripts.items():
        compile(text, title, "exec")
    assert scripts.keys() > NEEDS_A_SITE
    assert "were not run here" in " ".join(PAGE.split())


@pytest.fixture
def folder(tmp_path):
    """The scripts of the page, in a folder of their own."""
    for kind, title, text in BLOCKS:
        if kind == "py":
            (tmp_path / title).write_text(text, "utf-8")
    yield tmp_path
    for pid in with_token(TOKEN):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)


def surroundings():
    """Return the environment of a terminal: its programs are those beside this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return environment(TOKEN) | LOCAL | {"PATH": path, "RAY_USAGE_STATS_ENABLED": "0"}


def run(folder, line):
    """Return what a *line* in a terminal prints."""
    done = subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout.split()


@contextlib.contextmanager
def terminal(folder, line):
    """Have a terminal with the program of *line* open until the block ends."""
    words = shlex.split(line)
    script = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    with clusters.program("-c", script, *words, cwd=folder, env=surroundings()) as process:
        yield process


def test_the_terminals_of_dask(folder):
    """The scheduler and the workers of the page run its scripts, each with the loop's sum."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    port = str(clusters.free_port())
    for path in folder.glob("*.py"):
        path.write_text(path.read_text("utf-8").replace("8786", port), "utf-8")

    with (
        terminal(folder, line_with("dask scheduler").replace("8786", port)),
        terminal(folder, line_with("dask worker").replace("8786", port)),
    ):
        assert run(folder, line_with("on_a_cluster.py")) == [ANSWER]
        assert run(folder, "python map_of_maps.py") == [ANSWER]
        assert run(folder, "python by_joblib.py") == [ANSWER]


def test_a_laptop_is_a_cluster(folder):
    """The script for a LocalCluster prints the loop's sum, and ends."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")

    assert run(folder, "python on_a_laptop.py") == [ANSWER]


@pytest.mark.skipif(not installed("ray"), reason="Ray is not installed")
def test_the_terminals_of_ray(folder):
    """What `ray start` of the page has started runs its script, with the loop's sum."""
    port = str(clusters.free_port())
    # With --block it ends with its terminal; else only `ray stop` ends it, and every other Ray.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as sockets:
        start = line_with("ray start --head").replace("6379", port)
        with terminal(folder, f"{start} --block --temp-dir={sockets}"):
            clusters.until(Path(sockets, "ray_current_cluster").exists, "Ray")

            assert run(folder, line_with("on_ray.py").replace("6379", port))[-1:] == [ANSWER]


@pytest.mark.skipif(not installed("mpi4py"), reason="mpi4py is not installed")
@pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec")
def test_the_terminal_of_mpi(folder):
    """The script for MPI prints the loop's sum."""
    assert run(folder, line_with("mpiexec")) == [ANSWER]

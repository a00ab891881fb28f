"""The backends that clusters register with joblib, by executor="joblib": Dask's and Ray's."""

import os
import random
import threading
from functools import partial

import clusters
import joblib
import pytest
import work
from conftest import installed

from parmap import Failure, pimap, pmap

pytestmark = pytest.mark.clusters


@pytest.fixture(scope="module")
def cluster():
    """A Dask cluster of two workers, for all tests of this file."""
    with clusters.dask() as client:
        yield client


@pytest.fixture
def _dask(cluster):
    """Dask's backend is the one that joblib has active."""
    with joblib.parallel_config(backend="dask"):
        yield


def draw(_):
    return random.random(), random.gauss(0, 1)


@pytest.mark.usefixtures("_dask")
def test_a_map_by_joblib_runs_in_dask(cluster):
    """The list is the loop's, and its tasks ran in the workers of the cluster."""
    factor = 7
    workers = set(cluster.run(os.getpid).values())

    assert pmap(lambda x: x * factor, range(500), executor="joblib") == [*range(0, 3500, 7)]
    assert set(pmap(work.pid, range(50), executor="joblib")) <= workers


@pytest.mark.usefixtures("_dask")
def test_two_workers_of_dask_work_at_once_by_joblib(tmp_path):
    """Two tasks that wait for each other end."""
    meet = partial(work.meet, tmp_path, 2)

    assert len(set(pmap(meet, range(2), chunksize=1, executor="joblib"))) == 2


@pytest.mark.usefixtures("_dask")
def test_failures_by_joblib_in_dask_are_told():
    """A task that raises fails alone, or ends the call; what cannot be pickled is named."""
    results = pmap(partial(work.refuse, 3), range(6), on_error="return", executor="joblib")
    items = pmap(type, [1, threading.Lock()], on_error="return", executor="joblib")

    assert [isinstance(one, Failure) for one in results] == [x == 3 for x in range(6)]
    assert (items[0], items[1].kind) == (int, "unpicklable")
    with pytest.raises(ValueError, match="no 3"):
        pmap(partial(work.refuse, 3), range(6), executor="joblib")


@pytest.mark.usefixtures("_dask")
def test_random_numbers_by_joblib_in_dask_are_those_of_the_loop():
    """With a seed each task draws what it draws in the caller."""
    drawn = pmap(draw, range(60), seed=5, executor="joblib")

    assert drawn == pmap(draw, range(60), seed=5, executor="serial")


@pytest.mark.usefixtures("_dask")
def test_calls_by_joblib_in_dask_do_not_end_each_other():
    """A call that ends while another of the same backend goes on leaves that its answers."""
    first = pimap(work.double, range(300), chunksize=1, buffersize=4, executor="joblib")
    begun = [next(first)]

    assert pmap(work.double, range(10), executor="joblib") == [*range(0, 20, 2)]
    assert begun + list(first) == [*range(0, 600, 2)]


@pytest.mark.usefixtures("_dask")
def test_a_task_that_kills_workers_of_dask_fails_by_joblib():
    """The culprit is a crash, which costs as many workers as Dask allows, and the rest is there."""
    results = pmap(die, range(6), chunksize=1, on_error="return", executor="joblib")

    assert results[:3] + results[4:] == [0, 1, 2, 4, 5]
    assert results[3].kind == "crash"


def test_a_task_that_waits_behind_one_that_kills_its_worker_is_not_blamed_by_joblib():
    """Dask counts a death against all that the worker had; here it is known which task it was."""
    with clusters.dask(1), joblib.parallel_config(backend="dask"):
        results = pmap(partial(die, culprit=0), range(40), on_error="return", executor="joblib")

    assert results[1:] == [*range(1, 40)]
    assert results[0].kind == "crash"
    assert "while it ran the task" in str(results[0].exception)


def die(x, culprit=3):
    if x == culprit:
        os.kill(os.getpid(), 9)
    return x


def test_a_single_worker_of_dask_is_not_the_caller():
    """With a cluster of one worker, tasks run there, and not in this process."""
    with clusters.dask(1) as client, joblib.parallel_config(backend="dask"):
        (worker,) = client.run(os.getpid).values()

        assert set(pmap(work.pid, range(9), executor="joblib")) == {worker}


RAY = """
import os, random
import joblib, ray
from ray.util.joblib import register_ray
from parmap import Failure, pimap, pmap

def refuse(x):
    if x == 3:
        raise ValueError("three")
    return x

def draw(_):
    return random.random(), random.gauss(0, 1)

def die(x):
    if x < 2:
        os.kill(os.getpid(), 9)
    return x

ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
register_ray()
with joblib.parallel_config(backend="ray", n_jobs=2):
    assert pmap(lambda x: x * 7, range(500), executor="joblib") == [*range(0, 3500, 7)]
    assert os.getpid() not in pmap(lambda _: os.getpid(), range(20), executor="joblib")
    results = pmap(refuse, range(6), on_error="return", executor="joblib")
    assert [isinstance(one, Failure) for one in results] == [x == 3 for x in range(6)]
    results = pmap(die, range(200), chunksize=1, on_error="return", executor="joblib")
    assert [one.kind for one in results[:2]] == ["crash", "crash"]
    assert results[2:] == [*range(2, 200)]
    drawn = pmap(draw, range(60), seed=5, executor="joblib")
    assert drawn == pmap(draw, range(60), seed=5, executor="serial")
ray.shutdown()
print("the end")
"""


@pytest.mark.skipif(not installed("ray"), reason="Ray is not installed")
@pytest.mark.timeout(200)
def test_a_map_by_joblib_runs_in_ray(script, monkeypatch):
    """By Ray's backend the list is the loop's, what fails or dies does so alone, seeds hold."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")

    assert "the end" in script(RAY).stdout

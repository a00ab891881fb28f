"""What CPython tests of its own pools, run on `Pool`: its tests are the yardstick.

They come with most Pythons, not with all.  What its tests of executors promise is in `test_pool`.
"""

import unittest
from functools import partial

import pytest

from parmap import Pool

yardstick = pytest.importorskip(
    "test._test_multiprocessing", reason="this Python comes without its own tests"
)

LEFT_OUT = {
    "test_imap_handle_iterable_exception": "all results before it are given, of its chunk, too",
    "test_make_pool": "-1 means all CPUs here, as in joblib; a pool has no list of workers",
    "test_map_no_failfast": "the first failure ends the map here, and what else runs",
    "test_map_unplicklable": "the error is a PicklingError that names the path; no hang either",
    "test_resource_warning": "a pool that is dropped owns no process that could be left behind",
    "test_traceback": "the cause with the worker's traceback has a class of ours",
}


class OnProcesses(yardstick._TestPool, unittest.TestCase):
    TYPE = "processes"
    Pool = staticmethod(partial(Pool, executor="processes"))


class OnAuto(OnProcesses):
    Pool = staticmethod(Pool)


class OnThreads(OnProcesses):
    TYPE = "threads"
    Pool = staticmethod(partial(Pool, executor="threads"))


def _leave_out(where, name, reason):
    setattr(where, name, unittest.skip(reason)(getattr(where, name)))


for _name, _reason in LEFT_OUT.items():
    _leave_out(OnProcesses, _name, _reason)
_IN_A_THREAD = "its tasks sleep for minutes in a thread, which cannot be killed"
_leave_out(OnAuto, "test_terminate", _IN_A_THREAD)
_leave_out(OnThreads, "test_terminate", _IN_A_THREAD)

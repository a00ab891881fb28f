"""Run one fault on one executor: `python case.py FAULT EXECUTOR ANSWER`.

Writes into the file ANSWER what the call returned, as JSON.  It has no main guard, and the task is
a function of `__main__`, as in a script of a user's.
"""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path

from table import TABLE

from parmap import Failure, pmap

fault, executor, answer = TABLE[sys.argv[1]], sys.argv[2], Path(sys.argv[3]).absolute()
faulty, culprits = fault.task, set(fault.culprits)
options = {"executor": executor, "workers": 2, "on_error": "return"} | fault.options


def task(x):
    return faulty(x) if x in culprits else 2 * x


def plain(value):
    return value if isinstance(value, int) else type(value).__name__


def place(x, parties):
    """Say where we are as soon as *parties* tasks say it at the same time."""
    (answer.parent / f"here-{x}").touch()
    while sum(1 for _ in answer.parent.glob("here-*")) < parties:
        time.sleep(0.002)
    return os.getcwd(), os.environ.get("TEST_RUN")


items = list(range(fault.tasks))
if fault.item is not None:
    for index in fault.culprits:
        items[index] = fault.item()
results = pmap(task, items, **options)
failures = {
    result.index: {
        "kind": result.kind,
        "type": type(result.exception).__name__,
        "text": str(result.exception),
        "traceback": result.traceback,
        "attempts": result.attempts,
        "input": result.input,
    }
    for result in results
    if isinstance(result, Failure)
}
# The next call finds as many workers, and they are where the caller is.
parties = 1 if executor == "serial" else 2
places = pmap(partial(place, parties=parties), range(2), **options | {"chunksize": 1})
answer.write_text(
    json.dumps(
        {
            "values": [None if isinstance(r, Failure) else plain(r) for r in results],
            "places": [r.index if isinstance(r, Failure) else n for n, r in enumerate(results)],
            "failures": failures,
            "again": places == [place(0, 1)] * 2,
        }
    )
)

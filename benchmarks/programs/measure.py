"""What a program ends with when it is run as a script: `python PROGRAM.py EXECUTOR ANSWER`.

EXECUTOR is "loop" or what `pmap` takes.  The program runs twice in this process, each time on other
inputs.  The file ANSWER gets JSON: the seconds of each time and a digest of each result.

Nothing is imported here that would spare parmap a part of its own import, which is timed.
"""

import sys
from time import perf_counter

TIMES = 2  # the first call, and one more


def measure(prepare, program):
    """Run `program(map_, prepare(turn))` twice; only the program is timed, not the inputs."""
    executor, answer = sys.argv[1:]
    inputs = [prepare(turn) for turn in range(TIMES)]
    seconds, results = [], []
    for found in inputs:
        began = perf_counter()
        results.append(program(_map(executor), found))
        seconds.append(perf_counter() - began)
    import json
    from hashlib import blake2b
    from pathlib import Path

    digests = [blake2b(repr(r).encode(), digest_size=8).hexdigest() for r in results]
    Path(answer).write_text(json.dumps({"seconds": seconds, "digests": digests}))


def loop(f, xs):
    """Return what a map returns: this is what the others are compared with."""
    return [f(x) for x in xs]


def _map(executor):
    if executor == "loop":
        return loop
    from functools import partial

    from parmap import pmap

    return pmap if executor == "auto" else partial(pmap, executor=executor)

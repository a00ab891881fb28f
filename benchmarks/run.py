"""One measurement, in a process of its own: `python -m benchmarks.run SPEC ANSWER`.

SPEC is JSON: workload, contender, chunk, n, rate.  The file ANSWER gets JSON: the seconds of the
median call, those of them that were spent in the map (`inside`), a digest of the results, and by
how many MB the caller grew; or an error.
"""

from __future__ import annotations

import json
import marshal
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from .contenders import BY_NAME as CONTENDERS
from .contenders import Contender
from .pages import ROOT
from .workloads import BY_NAME as WORKLOADS
from .workloads import Workload

ENOUGH = 2.0  # seconds after which a call is not repeated any more


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what came of the measurement that *spec* describes."""
    workload, contender = WORKLOADS[spec["workload"]], CONTENDERS[spec["contender"]]
    if workload.kind == "script":
        return _script(workload, contender, spec)
    if workload.kind == "import":
        return _import(workload, contender)
    job = workload.make(spec["n"], spec["rate"])
    maps = spec["n"] if workload.kind == "maps" else 1
    names: dict[str, Any] = {}
    exec(contender.imports, names)
    pool, call = contender.source(workload.kind, spec["chunk"])
    opened, called = compile(pool or "None", "pool", "eval"), compile(call, "call", "eval")

    with ExitStack() as stack:

        def once(function: Any, *, new: bool) -> Any:
            if new and pool:
                names["pool"] = stack.enter_context(eval(opened, names))
            names.update(f=function, xs=job.items)
            for _ in range(maps):
                results = eval(called, names)
            return _read(results) if workload.kind == "stream" else results

        if workload.warm:
            once(job.before or job.function, new=True)
        seconds: list[float] = []
        results = None
        while not seconds or (len(seconds) < workload.repeats and sum(seconds) < ENOUGH):
            results = None  # the next call may have the memory
            before = _peak(reset=True)
            began = perf_counter()
            results = once(job.function, new=not workload.warm)
            seconds.append(perf_counter() - began)
            grown = _peak() - before
        answer = {
            "seconds": median(seconds),
            "inside": median(seconds),
            "digest": digest(results),
            "grown": grown,
        }
        Path(spec["answer"]).write_text(json.dumps(answer))  # the closing may hang
    return answer


def _read(results: Any) -> int:
    """Read a stream to its end; return a checksum that knows the order."""
    checksum = 0
    for value in results:
        checksum = (checksum * 31 + value) & 0xFFFFFFFF
    return checksum


def digest(results: Any) -> str:
    """Return a text that is the same for equal results, and hardly for others."""
    found = blake2b(digest_size=8)
    if isinstance(results, list) and results and type(results[0]).__module__ == "numpy":
        for array in results:
            found.update(f"{array.dtype} {array.shape}".encode())
            found.update(array.data)
    else:
        # Version 0 keeps no references: objects that are equal need not be the same ones.
        found.update(marshal.dumps(results, 0))
    return found.hexdigest()


def _peak(*, reset: bool = False) -> float:
    """Return the most memory that this process has had resident since the last reset, in MB."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0.0
    return megabytes("VmHWM")


def megabytes(field: str, pid: int | str = "self") -> float:
    """Return a *field* of `/proc/PID/status` in MB; 0.0 if there is none, or no such process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition(f"{field}:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


SCRIPT = """\
from time import perf_counter
{imports}


def f(seed):
    x = seed
    for _ in range({count}):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
    return x


if __name__ == "__main__":
    xs = range({n})
    began = perf_counter()
    with {pool} as pool:
        results = {call}
        inside = perf_counter() - began
    print(hash(tuple(results)), inside)
"""


def _script(workload: Workload, contender: Contender, spec: dict[str, Any]) -> dict[str, Any]:
    pool, call = contender.source("map", spec["chunk"])
    source = SCRIPT.format(
        imports=contender.imports + ("" if pool else "\nfrom contextlib import nullcontext"),
        count=round(workload.seconds * spec["rate"]),
        n=spec["n"],
        pool=pool or "nullcontext()",
        call=call,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "script.py")
        path.write_text(source)
        seconds, printed = _python(str(path))
    text, inside = printed.split()
    return {"seconds": seconds, "inside": float(inside), "digest": text, "grown": 0.0}


def _import(workload: Workload, contender: Contender) -> dict[str, Any]:
    source = contender.imports or "pass"
    _python("-c", source)  # compiles and reads the files
    seconds = median(_python("-c", source)[0] for _ in range(workload.repeats))
    return {"seconds": seconds, "inside": 0.0, "digest": "", "grown": 0.0}


def _python(*arguments: str) -> tuple[float, str]:
    """Run an interpreter; return the seconds it took, and what it printed."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        stderr=None,
        text=True,
        check=True,
    )
    return perf_counter() - began, done.stdout


def main() -> None:
    """Measure what the first argument says; write the answer into the file named second."""
    spec = json.loads(sys.argv[1]) | {"answer": sys.argv[2]}
    try:
        answer = measure(spec)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:300]}
    Path(spec["answer"]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()

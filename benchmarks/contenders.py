"""Who is compared: each contender as its user would write it.

An expression may use *f*, *xs* and, if the contender has one, the *pool* that is held open.
``{chunk}`` is where a chunk size goes, nothing by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


@dataclass(frozen=True)
class Contender:
    """A way to map a function."""

    name: str
    module: str  # what must be there to import
    imports: str
    call: str  # gives a list
    pool: str = ""  # gives a context manager to hold between calls
    stream: str = ""  # gives an iterator; empty: it has none that is lazy
    stream_pool: str = ""  # if not *pool*
    chunk: str = ""  # the argument for a chunk size; empty: it has none
    package: str = ""  # whose version is shown; empty: Python's

    def source(self, kind: str, size: int | None) -> tuple[str, str]:
        """Return the expressions for the pool ("" if there is none) and for the call."""
        chunk = f", {self.chunk}={size}" if size else ""
        pool = self.stream_pool or self.pool if kind == "stream" else self.pool
        call = self.stream if kind == "stream" else self.call
        return pool.replace("{chunk}", chunk), call.replace("{chunk}", chunk)

    def takes(self, kind: str) -> bool:
        """Tell whether it can do this *kind* of workload at all."""
        if kind == "import":
            return bool(self.imports) or self.name == LOOP
        return kind != "stream" or bool(self.stream)

    def version(self) -> str | None:
        """Return its version, "" if that is Python's, None if it is not installed."""
        if not installed(self.module):
            return None
        try:
            return version(self.package) if self.package else ""
        except PackageNotFoundError:
            return "of unknown version"


def installed(module: str) -> bool:
    """Tell whether *module* can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ImportError:  # what it is a part of cannot
        return False


LOOP = "loop"
OURS = "parmap"

CONTENDERS = [
    Contender(LOOP, "builtins", "", "[f(x) for x in xs]", stream="map(f, xs)"),
    Contender(
        OURS,
        "parmap",
        "from parmap import pimap, pmap",
        "pmap(f, xs)",
        stream="pimap(f, xs)",
    ),
    Contender(
        "Pool",
        "multiprocessing",
        "from multiprocessing import get_context",
        "pool.map(f, xs{chunk})",
        pool="get_context('fork').Pool()",
        stream="pool.imap(f, xs{chunk})",
        chunk="chunksize",
    ),
    Contender(
        "ProcessPoolExecutor",
        "concurrent.futures",
        "from concurrent.futures import ProcessPoolExecutor",
        "list(pool.map(f, xs{chunk}))",
        pool="ProcessPoolExecutor()",
        chunk="chunksize",
    ),
    Contender(
        "ThreadPoolExecutor",
        "concurrent.futures",
        "from concurrent.futures import ThreadPoolExecutor",
        "list(pool.map(f, xs))",
        pool="ThreadPoolExecutor()",
    ),
    Contender(
        "joblib",
        "joblib",
        "from joblib import Parallel, delayed",
        "pool(delayed(f)(x) for x in xs)",
        pool="Parallel(n_jobs=-1{chunk})",
        stream="pool(delayed(f)(x) for x in xs)",
        stream_pool="Parallel(n_jobs=-1, return_as='generator'{chunk})",
        chunk="batch_size",
        package="joblib",
    ),
    Contender(
        "mpire",
        "mpire",
        "from mpire import WorkerPool",
        "pool.map(f, xs, concatenate_numpy_output=False{chunk})",
        pool="WorkerPool(keep_alive=True)",
        stream="pool.imap(f, xs{chunk})",
        chunk="chunk_size",
        package="mpire",
    ),
    Contender(
        "pebble",
        "pebble",
        "from pebble import ProcessPool",
        "list(pool.map(f, xs{chunk}).result())",
        pool="ProcessPool()",
        chunk="chunksize",
        package="pebble",
    ),
    Contender(
        "p_map",
        "p_tqdm",
        "from p_tqdm import p_map",
        "p_map(f, xs)",
        package="p_tqdm",
    ),
    Contender(
        "process_map",
        "tqdm",
        "from tqdm.contrib.concurrent import process_map",
        "process_map(f, xs{chunk})",
        chunk="chunksize",
        package="tqdm",
    ),
    Contender(
        "pathos",
        "pathos",
        "from pathos.multiprocessing import ProcessPool",
        "pool.map(f, xs{chunk})",
        pool="ProcessPool()",
        chunk="chunksize",
        package="pathos",
    ),
]
BY_NAME = {contender.name: contender for contender in CONTENDERS}
QUICK = [LOOP, OURS, "Pool", "joblib"]

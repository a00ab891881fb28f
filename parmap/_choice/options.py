"""The options of every door: their names, their checks, and where their defaults come from.

An option given in the call wins over `with parallel_config(...)`, which wins over
`parallel_config(...).apply()`, which wins over the defaults below.  Each is checked where it is
given, before anything runs.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from operator import index

from .._records.callables import asynchronous
from .._records.errors import short_repr
from .._records.machine import imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


CLUSTERS = ("dask", "ray")
EXECUTORS = (
    *("auto", "serial", "threads", "processes", "multiprocessing", "futures", "joblib"),
    *CLUSTERS,
)
DEFAULTS: dict[str, Any] = {
    "executor": "auto",
    "workers": None,
    "chunksize": "auto",
    "on_error": "raise",
    "retries": 0,
    "timeout": None,
    "deadline": None,
    "progress": False,
    "seed": None,
    "initializer": None,
    "max_tasks_per_worker": None,
    "relay": True,
}

OWN_WORKERS = ("timeout", "max_tasks_per_worker")
"""Options that only workers of our own can honour."""

tracing: ContextVar[Any] = ContextVar("parmap.tracing", default=None)
"""The `parmap.trace` of the block that a call is made in; it lies here so that one look tells that
there is none, and nothing of it is imported."""

_process_wide: dict[str, Any] = {}
_in_context: ContextVar[dict[str, Any] | None] = ContextVar("parmap.config", default=None)


def resolve(given: dict[str, Any], door: str, fn: object = None) -> dict[str, Any]:
    """Return all options for a call of *door* with *fn*: those *given*, checked, and defaults."""
    _check_each(given, door, fn)
    context = _in_context.get()
    if not (given or context or _process_wide):
        return DEFAULTS
    options = DEFAULTS
    for inner in (_process_wide, context or {}, given):
        options = over(options, inner)
    if options["seed"] is not None and "seed" not in given:
        from .._workers.random_numbers import has_numbers

        # A worker does not know the caller's defaults: they must not count in a task elsewhere.
        options["seed"] = None if has_numbers() else options["seed"]
    _check_together(options)
    return options


def over(outer: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """Return the options of *inner*, and those of *outer* that it leaves as they are."""
    if not isinstance(inner.get("executor", ""), str):
        outer = {**outer, "workers": None}  # an instance has its own
    return {**outer, **inner}


def is_cluster(executor: object) -> bool:
    """Tell whether *executor* is a cluster's engine, by name or as an instance."""
    if isinstance(executor, str):
        return executor in CLUSTERS
    return isinstance(executor, getattr(imported("distributed"), "Client", ()))


def is_named(executor: object, *names: str) -> bool:
    """Tell whether *executor* is one of *names*: an instance is not asked, which may raise then."""
    return isinstance(executor, str) and executor in names


def check(options: dict[str, Any], door: str, fn: object = None) -> None:
    """Raise TypeError or ValueError, naming option, value and cure, if one is wrong."""
    _check_each(options, door, fn)
    _check_together({**DEFAULTS, **options})


def _check_each(options: dict[str, Any], door: str, fn: object) -> None:
    for name, value in options.items():
        if name not in DEFAULTS:
            raise TypeError(_unknown(name, value, door, fn))
        if name == "executor":
            _check_executor(value)
        elif fault := _fault(name, value):
            raise fault(_wrong(name, value, _MUST[name]))


_ELSEWHERE = """
njobs jobs nworkers numworkers numberofworkers maxworkers poolsize processes nprocesses numprocesses
maxprocesses nproc nprocs numproc numprocs procs ncpu ncpus numcpu numcpus cpus cpucount ncores
numcores cores nodes nthreads numthreads maxthreads threads
-> the number of workers is workers={value}

chunk chunks chunklen chunklength batch batchsize tasksperchunk itemsperchunk
-> the number of tasks in a message is chunksize={value}

buffer buffersize bufsize maxbuffer prefetch predispatch lookahead maxtasksactive
-> how far to read ahead is said to pimap, pistarmap or picall: pimap(..., buffersize={value})

ordered order keeporder unordered
-> a list is in the order of the input; pimap(..., ordered=False) gives each result when it is there

returnas asgenerator lazy stream streaming
-> pimap, pistarmap and picall return an iterator, with ordered=False one that does not wait for
   the next in order

initargs initkwargs initializerargs workerinit
-> arguments of the initializer are bound with functools.partial:
   initializer=partial(initializer, ...)

args kwargs kwds fnargs fnkwargs funcargs funckwargs extraargs pmargs commonargs constants
-> arguments that are the same for all tasks are bound with functools.partial: partial(fn, ...)

total length iterablelen ntasks numtasks
-> how many tasks there are is for the bar: progress={{'total': {value}}}

desc description label title pmdesc
-> the label of the bar is progress={value}

backend prefer require mode method scheduler pool parallel usethreads usethreading startmethod
mpcontext context
-> where tasks run is said by executor: 'processes', 'threads', 'serial', 'multiprocessing',
   'futures', 'joblib', or an instance

verbose verbosity pbar bar progressbar showprogress displayprogress pmpbar tqdm disable
-> a bar is drawn by progress=True

randomstate randomseed rngseed npseed numpyseed rng rngs generator
-> random numbers that are the same for each task, wherever it runs, are had with seed={value}, a
   number; parmap.rng() in the task is its generator

maxtasks maxtasksperchild tasksperworker workerlifespan
-> a worker is replaced after max_tasks_per_worker={value}

errorcallback errors returnexceptions returnerrors ignoreerrors ignoreexceptions skiperrors
raiseerrors onexception exceptions
-> failures take their tasks' places with on_error='return', or with a function of the Failure

callback -> pimap gives each result when it is there

tasktimeout timelimit maxtime
-> seconds for one task are timeout={value}, for the whole call deadline={value}

calltimeout totaltimeout overalltimeout maptimeout totaltime maxtotaltime walltime
-> seconds for the whole call are deadline={value}

stdout stderr capture captureoutput captureprints log logging logtodriver forwardlogs output
-> what tasks print and log is relayed to the caller by relay=True, as it comes by relay='at_once',
   and goes to the workers' own stdout and stderr by relay=False

retry maxretries nretries numretries tries attempts maxattempts
-> further attempts are retries={value}
"""
"""What an option is called elsewhere, without underscores, and what to write here.  `{value}` is
what was given."""


def _unknown(name: str, value: object, door: str, fn: object) -> str:
    """Say what to write instead of an option of *door* that does not exist."""
    from difflib import get_close_matches

    from .._records.callables import has_parameter

    cures: dict[str, str] = {}
    for entry in _ELSEWHERE.split("\n\n"):
        words, cure = entry.split("->")
        cures |= dict.fromkeys(words.split(), " ".join(cure.split()))
    cures |= {option.replace("_", ""): f"did you mean {option!r}?" for option in DEFAULTS}
    word, shown = name.replace("_", "").lower(), short_repr(value)
    if word in ("processes", "threads") and isinstance(value, bool):  # yes or no, not how many
        word = "backend"
    hints = []
    if word in cures:
        hints.append(cures[word].format(value=shown))
    if fn is not None and has_parameter(fn, name):
        hints.append(
            f"a parameter of fn is bound with functools.partial: partial(fn, {name}={shown})"
        )
    if not hints and (near := get_close_matches(word, cures, 1, 0.6)):
        hints.append(cures[near[0]].format(value=shown))
    if not hints:
        hints.append(f"the options are {', '.join(DEFAULTS)}")
    return f"{door}() has no option {name!r}; {'; '.join(hints)}"


def _wrong(name: str, value: object, must: str) -> str:
    return f"{name} must be {must}, got {short_repr(value)}"


def _check_executor(value: object) -> None:
    if isinstance(value, str) and value not in EXECUTORS:
        from difflib import get_close_matches

        near = get_close_matches(value, EXECUTORS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        names = ", ".join(map(repr, EXECUTORS))
        raise ValueError(_wrong("executor", value, f"one of {names}, or an instance") + hint)
    if value is None or isinstance(value, (type, int, float)):
        raise TypeError(_wrong("executor", value, "a name or an instance of an executor"))


_MUST = {
    "workers": "None (all usable CPUs), a number above 0, or below 0 for all CPUs but so many less "
    "1",
    "chunksize": "'auto' or a number of tasks, 1 or more",
    "on_error": "'raise', 'return' or a function of the Failure, none that is to be awaited",
    "retries": "a number of further attempts, 0 or more",
    "timeout": "None or the seconds that a task may take, more than 0",
    "deadline": "None or the seconds that the whole call may take, more than 0",
    "progress": "True, False, a label, a dict of tqdm arguments, or a tqdm class",
    "seed": "None or a number, 0 or more, from which each task has its random numbers",
    "initializer": "None or a function without arguments (bind arguments with functools.partial), "
    "none that is to be awaited",
    "max_tasks_per_worker": "None or the number of tasks after which a worker is replaced, 1 or "
    "more",
    "relay": "True, False, or 'at_once'",
}


def _fault(name: str, value: Any) -> type[Exception] | None:
    """Return what is to be raised because of the option *name*, None if *value* is right."""
    if value is None and DEFAULTS[name] is None:
        return None
    if name == "progress":
        return None if isinstance(value, (bool, str, dict, type)) else TypeError
    if name == "relay":
        return None if isinstance(value, bool) or repr(value) == "'at_once'" else ValueError
    if name in ("initializer", "on_error") and callable(value) and not asynchronous(value):
        return None
    if name == "initializer":
        return TypeError
    if name == "on_error":
        return None if isinstance(value, str) and value in ("raise", "return") else ValueError
    if name == "chunksize" and isinstance(value, str):
        return None if value == "auto" else ValueError
    # A number, NumPy's too, but no bool.
    seconds = name in ("timeout", "deadline")
    needed = "__float__" if seconds else "__index__"
    if isinstance(value, bool) or not hasattr(type(value), needed):
        return TypeError
    if name == "workers":
        right = index(value) != 0
    elif seconds:
        right = float(value) > 0
    else:
        right = index(value) >= (0 if name in ("retries", "seed") else 1)
    return None if right else ValueError


def _check_together(options: dict[str, Any]) -> None:
    executor = options["executor"]
    lent = not isinstance(executor, str)
    for name in OWN_WORKERS:
        able = name == "timeout" and is_cluster(executor)
        if options[name] is not None and not (able or is_named(executor, "auto", "processes")):
            raise ValueError(
                f"{name}={options[name]!r} needs executor='processes' or 'auto', whose workers can "
                f"be killed and replaced one by one; got executor={short_repr(executor)}"
            )
    if options["seed"] is not None and is_named(executor, "threads"):
        from .._executors.marshalling import SHARED

        raise ValueError(f"{SHARED.format(seed=options['seed'])}; got executor='threads'")
    if lent and options["workers"] is not None:
        raise ValueError(
            f"workers={options['workers']!r} cannot be given together with an executor instance, "
            f"which has its own: {short_repr(executor)}"
        )


class parallel_config:  # noqa: N801 - named like joblib's, and used like a function
    """Set default options for every call of parmap inside a `with` block.

    The defaults hold in the block's context: other threads do not see them, `asyncio.to_thread` and
    tasks on `executor="threads"` do.  Blocks nest; the inner one wins, option by option, and an
    option given in a call wins over all.

    Without `with`, `parallel_config(...).apply()` sets the defaults of the whole process, until the
    next `apply`; `parallel_config().apply()` goes back to the library's own.

    Args:
        **options: any options of `pmap`.

    Raises:
        TypeError: an option is unknown, or a value has the wrong type.
        ValueError: a value is out of range.

    Example:
        >>> from parmap import parallel_config, pmap
        >>> with parallel_config(executor="threads", workers=4):
        ...     pmap(abs, [-1, 2])
        [1, 2]
    """

    __module__ = "parmap"

    def __init__(self, **options: Any) -> None:
        check(options, "parallel_config")
        self._options = options
        self._tokens: list[Token[dict[str, Any] | None]] = []

    def __enter__(self) -> None:
        self._tokens.append(_in_context.set(over(_in_context.get() or {}, self._options)))

    def __exit__(self, *_: object) -> None:
        _in_context.reset(self._tokens.pop())

    def apply(self) -> None:
        """Make these options the defaults of this process, instead of those applied before."""
        global _process_wide
        _process_wide = dict(self._options)

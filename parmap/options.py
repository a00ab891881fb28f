"""The options of every door: their names, their checks, and where their defaults come from.

An option given in the call wins over `with parallel_config(...)`, which wins over
`parallel_config(...).apply()`, which wins over the defaults below.  Each is checked where it is
given, before anything runs.
"""

from __future__ import annotations

from contextvars import ContextVar, Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

EXECUTORS = ("auto", "serial", "threads", "processes", "multiprocessing", "futures", "joblib")

DEFAULTS: dict[str, Any] = {
    "executor": "auto",
    "workers": None,
    "chunksize": "auto",
    "on_error": "raise",
    "retries": 0,
    "timeout": None,
    "progress": False,
    "initializer": None,
    "max_tasks_per_worker": None,
}

OWN_WORKERS = ("timeout", "max_tasks_per_worker")
"""Options that only workers of our own can honour."""

_process_wide: dict[str, Any] = {}
_in_context: ContextVar[dict[str, Any] | None] = ContextVar("parmap.config", default=None)


def resolve(given: dict[str, Any], door: str) -> dict[str, Any]:
    """Return all options for a call of *door*: those *given*, checked, and defaults."""
    _check_each(given, door)
    context = _in_context.get()
    if not (given or context or _process_wide):
        return DEFAULTS
    options = DEFAULTS
    for inner in (_process_wide, context or {}, given):
        options = over(options, inner)
    _check_together(options)
    return options


def over(outer: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """Return the options of *inner*, and those of *outer* that it leaves as they are."""
    if not isinstance(inner.get("executor", ""), str):
        outer = {**outer, "workers": None}  # an instance has its own
    return {**outer, **inner}


def check(options: dict[str, Any], door: str) -> None:
    """Raise TypeError or ValueError, naming option, value and cure, if one is wrong."""
    _check_each(options, door)
    _check_together({**DEFAULTS, **options})


def _check_each(options: dict[str, Any], door: str) -> None:
    for name, value in options.items():
        if name not in _CHECKS:
            raise TypeError(_unknown(name, door))
        _CHECKS[name](value)


def _unknown(name: str, door: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, DEFAULTS, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(DEFAULTS)}"
    return f"{door}() has no option {name!r}; {hint}"


def _wrong(name: str, value: object, must: str) -> str:
    return f"{name} must be {must}, got {value!r}"


def _whole(name: str, value: object, must: str) -> int:
    """Return *value* if it is an integer, NumPy's too, but no bool; raise TypeError otherwise."""
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        return int(value.__index__())
    raise TypeError(_wrong(name, value, must))


def _check_executor(value: object) -> None:
    if isinstance(value, str) and value not in EXECUTORS:
        from difflib import get_close_matches

        near = get_close_matches(value, EXECUTORS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        names = ", ".join(map(repr, EXECUTORS))
        raise ValueError(_wrong("executor", value, f"one of {names}, or an instance") + hint)
    if value is None or isinstance(value, (type, int, float)):
        raise TypeError(_wrong("executor", value, "a name or an instance of an executor"))


def _check_workers(value: object) -> None:
    must = "None (all usable CPUs), a number above 0, or below 0 for all CPUs but so many less 1"
    if value is not None and _whole("workers", value, must) == 0:
        raise ValueError(_wrong("workers", value, must))


def _check_chunksize(value: object) -> None:
    must = "'auto' or a number of tasks, 1 or more"
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(_wrong("chunksize", value, must))
    elif _whole("chunksize", value, must) < 1:
        raise ValueError(_wrong("chunksize", value, must))


def _check_on_error(value: object) -> None:
    if not callable(value) and value not in ("raise", "return"):
        must = "'raise', 'return' or a function of the Failure"
        raise ValueError(_wrong("on_error", value, must))


def _check_retries(value: object) -> None:
    must = "a number of further attempts, 0 or more"
    if _whole("retries", value, must) < 0:
        raise ValueError(_wrong("retries", value, must))


def _check_timeout(value: object) -> None:
    must = "None or the seconds that a task may take, more than 0"
    if value is None:
        return
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(_wrong("timeout", value, must))
    if not float(value) > 0:
        raise ValueError(_wrong("timeout", value, must))


def _check_max_tasks_per_worker(value: object) -> None:
    must = "None or the number of tasks after which a worker is replaced, 1 or more"
    if value is not None and _whole("max_tasks_per_worker", value, must) < 1:
        raise ValueError(_wrong("max_tasks_per_worker", value, must))


def _check_progress(value: object) -> None:
    if not isinstance(value, (bool, str, dict, type)):
        must = "True, False, a label, a dict of tqdm arguments, or a tqdm class"
        raise TypeError(_wrong("progress", value, must))


def _check_initializer(value: object) -> None:
    if value is not None and not callable(value):
        must = "None or a function without arguments (bind arguments with functools.partial)"
        raise TypeError(_wrong("initializer", value, must))


_CHECKS: dict[str, Callable[[object], None]] = {
    "executor": _check_executor,
    "workers": _check_workers,
    "chunksize": _check_chunksize,
    "on_error": _check_on_error,
    "retries": _check_retries,
    "timeout": _check_timeout,
    "progress": _check_progress,
    "initializer": _check_initializer,
    "max_tasks_per_worker": _check_max_tasks_per_worker,
}


def _check_together(options: dict[str, Any]) -> None:
    for name in OWN_WORKERS:
        if options[name] is not None and options["executor"] not in ("auto", "processes"):
            raise ValueError(
                f"{name}={options[name]!r} needs executor='processes' or 'auto', whose workers can "
                f"be killed and replaced one by one; got executor={options['executor']!r}"
            )
    if not isinstance(options["executor"], str) and options["workers"] is not None:
        raise ValueError(
            f"workers={options['workers']!r} cannot be given together with an executor instance, "
            f"which has its own: {options['executor']!r}"
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _in_context.reset(self._tokens.pop())

    def apply(self) -> None:
        """Make these options the defaults of this process, instead of those applied before."""
        global _process_wide
        _process_wide = dict(self._options)

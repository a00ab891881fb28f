"""The random numbers of a task: those that its seed and its index give it, wherever it runs.

::

    stream of task i     SeedSequence(seed, spawn_key=(i,))
    parmap.rng()         default_rng(stream); without NumPy Random(f"{seed}/{i}/rng")
    numpy.random         seed(SeedSequence(seed, spawn_key=(i, GLOBAL)).generate_state(8))
    random               seed(f"{seed}/{i}"), with NumPy and without

Guaranteed: the modules `random` and `numpy.random` are after a chunk as they were before it; where
the input is drawn between its tasks, also while it is.  NumPy is not imported for it: where a task
imports `numpy.random`, that is seeded then.

A process has one `random` and one `numpy.random`: chunks of other threads wait for each other.
"""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from threading import RLock, get_ident

from .._engine.slices import LazyItems
from .._records.work import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Chunk, Report


GLOBAL = 2**32 - 1
"""The last part of the key of `numpy.random`: a task that spawns generators from its own begins
with 0, and gets what nobody else has."""

WORDS = 8  # of 32 bits, for `numpy.random`: one alone would give two of 70,000 tasks the same
MTRAND = "numpy.random.mtrand"

_numbers: ContextVar[Numbers | None] = ContextVar("parmap.numbers", default=None)
_turn = RLock()


def _forget() -> None:
    """In a forked child: whoever had the turn is not there."""
    global _turn
    _turn = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def rng() -> Any:
    """Return the random generator of this task, in a map with *seed*.

    Task *i* has the generator that `numpy.random.default_rng` makes of child *i* of
    `numpy.random.SeedSequence(seed)`, whatever the executor, the number of workers, the chunk size
    and the attempt.  It is made at the first call in a task; further calls return the same one,
    which goes on.

    Only in the task's own thread: give it to others from there.

    Returns:
        A `numpy.random.Generator`, or where NumPy is not installed a `random.Random`.

    Raises:
        RuntimeError: this is no task of a map with *seed*.

    Example:
        >>> from parmap import pmap, rng
        >>> rolls = pmap(lambda _: rng().random(), range(3), seed=1)
        >>> rolls == pmap(lambda _: rng().random(), range(3), seed=1, executor="serial")
        True
    """
    numbers = _numbers.get()
    if numbers is None or numbers.index is None or numbers.thread != get_ident():
        raise RuntimeError(
            "parmap.rng() is the random generator of a task, and this is no task with a seed, or "
            "another thread than the task's own: give a seed to the map, pmap(fn, xs, seed=0), "
            "say, and the generator to other threads; outside of maps there is "
            "numpy.random.default_rng()"
        )
    return numbers.generator()


rng.__module__ = "parmap"


def has_numbers() -> bool:
    """Tell whether this is in a task of a map with a seed."""
    return _numbers.get() is not None


def seeded(run: Callable[..., Report], call: Call, chunk: Chunk, *args: Any, **kw: Any) -> Report:
    """Return what *run* makes of *chunk*, each task of *call* with the numbers of its own."""
    items: Any = chunk.items
    with _turn:
        # An iterator is drawn between the tasks, and may draw numbers itself.
        numbers = Numbers(call, between=type(items) is LazyItems)
        token = _numbers.set(numbers)
        try:
            numbers.begin()
            return run(numbers.call, chunk, *args, **kw)
        finally:
            numbers.end()
            _numbers.reset(token)


class Numbers:
    """The numbers of the tasks of a chunk, from `begin` to `end`.

    Attributes:
        call: the call whose tasks have them.
        index: that of the task that runs; None if none does.
        thread: where it runs.
    """

    def __init__(self, call: Call, *, between: bool) -> None:
        """*between*: put back what was there after each task, too."""
        self.index: int | None = None
        self.thread = get_ident()
        self.call = Call(call.fn, call.shape, None, self._begin_task)
        self.call.watch = call.watch
        self._seed: Any = call.seed
        self._before = call.before
        self._between = between
        self._kept: _Kept | None = None
        self._generator: Any = None
        self._finders: list[Any] = sys.meta_path

    def begin(self) -> None:
        """Keep what is there."""
        if not self._between:
            self._kept = _Kept()
        if MTRAND not in sys.modules:
            self._finders.insert(0, self)

    def end(self) -> None:
        """Put back what was there."""
        if self in self._finders:
            self._finders.remove(self)
        self._end_task()

    def generator(self) -> Any:
        """Return what `rng` returns in the task that runs."""
        if self._generator is None:
            try:
                from numpy.random import SeedSequence, default_rng
            except ModuleNotFoundError as error:
                if error.name != "numpy":  # it is there, and must be heard of
                    raise
                from random import Random

                self._generator = Random(f"{self._seed}/{self.index}/rng")
            else:
                key: Any = (self.index,)
                self._generator = default_rng(SeedSequence(self._seed, spawn_key=key))
        return self._generator

    def _begin_task(self, index: int) -> Callable[[], object] | None:
        """Begin task *index*; return what ends it, if that is needed."""
        if self._between:
            self._kept = _Kept()
        self.index, self._generator = index, None
        try:
            import random

            random.seed(f"{self._seed}/{index}")
            self._seed_numpy()
            after: Any = None if self._before is None else self._before(index)
        except BaseException:
            if self._between:
                self._end_task()
            raise
        if not self._between:
            return after  # type: ignore[no-any-return]

        def end() -> None:
            try:
                if after is not None:
                    after()
            finally:
                self._end_task()

        return end

    def _end_task(self) -> None:
        kept, self._kept = self._kept, None
        self.index = self._generator = None
        if kept is not None:
            kept.put_back()

    def _seed_numpy(self) -> None:
        if self._kept is not None and (mtrand := self._kept.keep_numpy()) is not None:
            from numpy.random.bit_generator import SeedSequence

            key: Any = self.index, GLOBAL
            mtrand.seed(SeedSequence(self._seed, spawn_key=key).generate_state(WORDS))

    # As one of the finders of `sys.meta_path`: NumPy imports its part `random` when that is used
    # first, in the middle of a task.

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find nothing but `numpy.random`'s global generator, and seed that when it is there."""
        if name != MTRAND:
            return None
        finders = list(self._finders)  # other threads change it
        after = finders.index(self) + 1 if self in finders else 0  # where that of an outer map is
        found = (finder.find_spec(name, path, target) for finder in finders[after:])
        spec = next((spec for spec in found if spec is not None), None)
        loader: Any = getattr(spec, "loader", None)
        if hasattr(loader, "exec_module"):
            execute = loader.exec_module

            def execute_and_seed(module: Any) -> None:
                vars(loader).pop("exec_module", None)
                execute(module)
                if self.index is not None:
                    self._seed_numpy()

            loader.exec_module = execute_and_seed
        return spec


class _Kept:
    """The states of `random` and, if it was imported, of `numpy.random`, to be put back."""

    def __init__(self) -> None:
        import random

        self._python = random.getstate()
        self._numpy: tuple[Any, ...] | None = None
        self.keep_numpy()

    def keep_numpy(self) -> Any:
        """Keep the state of `numpy.random` unless that is kept; return its module, if imported."""
        mtrand: Any = sys.modules.get(MTRAND)
        if not hasattr(mtrand, "set_state"):  # another thread is in the middle of its import
            return None
        if self._numpy is None:
            from numpy.random._mt19937 import MT19937

            ours = getattr(mtrand, "get_bit_generator", lambda: None)()
            self._numpy = mtrand, mtrand.get_state(legacy=False), ours
            if ours is not None and type(ours) is not MT19937:  # somebody has chosen another
                mtrand.set_bit_generator(MT19937())
        return mtrand

    def put_back(self) -> None:
        """Let everything be as it was when it was kept."""
        import random

        random.setstate(self._python)
        if self._numpy is not None:
            mtrand, state, generator = self._numpy
            if generator is not None and mtrand.get_bit_generator() is not generator:
                mtrand.set_bit_generator(generator)
            mtrand.set_state(state)

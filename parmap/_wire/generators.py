"""Random generators that travel with a function or an item.

Those of the modules `random` and `numpy.random` go by name: `from random import gauss` means the
worker's own, as `random.gauss` does.  Others are copied as they are, and each worker begins with
the same numbers.  Whoever did not mean that is told once a call.
"""

from __future__ import annotations

import sys
from threading import current_thread

from .._records.stack_frames import warn
from .memmap import PROTOCOL
from .refusal import path_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .._records.work import Call, Chunk

    Reducers = Mapping[type, Callable[[Any], Any]] | None


LOOKED = 3
"""Chunks whose items are looked at: to do so takes 2 us, and items are mostly of one kind."""

MOST = 64  # generators that are remembered, to know them again

KINDS = (  # the module, its class, the name of a method of the module's own generator
    ("random", "Random", "random"),
    ("numpy.random.mtrand", "RandomState", "rand"),
    ("numpy.random._generator", "Generator", ""),
)

CURE = "draw from parmap.rng() in the task, and give seed= to the map"


class Generators:
    """Those in the pickles of a *call*.

    Attributes:
        untold: what is to be said of them; "" if nothing is, or has been said.
        looks: how many more chunks are looked at; does not get less where all are.
    """

    def __init__(self, call: Call) -> None:
        self.untold = ""
        self._call = call
        self._told = False
        self.looks = LOOKED
        self._always = call.seed is not None
        self._found: dict[int, Any] = {}  # in the pickle under way
        self._known: dict[int, tuple[Any, int, int]] = {}  # those of items, and of which tasks

    def of_function(self, reducers: Reducers) -> Reducers:
        """Return *reducers*, with those that notice generators in the pickle of the function."""
        self._found.clear()
        return self._with_ours(reducers)

    def of_items(self, reducers: Reducers) -> Reducers:
        """Return the same for the pickle of a chunk, which is one look."""
        self._found.clear()
        self.looks -= not self._always
        return self._with_ours(reducers)

    def note_function(self) -> None:
        """Be told that the function is pickled."""
        self._always = self._call.seed is not None
        for generator in self._found.values():
            parts = {"fn": self._call.fn, "initializer": self._call.initializer}
            self._tell(f"{_path(generator, parts)} each worker has a copy of")

    def note_items(self, chunk: Chunk) -> None:
        """Be told that *chunk* is pickled.

        A generator for each task is as it should be; one that other tasks have, too, is not.
        """
        begin, end = chunk.start, chunk.start + len(chunk)
        for number, generator in self._found.items():
            _, first, last = self._known.get(number, (None, begin, end))
            if end <= first or last <= begin:  # else the same tasks are tried again
                item = chunk.items[0]
                parts: dict[str, Any] = {"args": (item,) if self._call.shape == "item" else item}
                if self._call.shape == "task":
                    parts = dict(zip(("fn", "args", "kwargs"), item, strict=True))
                self._tell(f"{_path(generator, parts)} tasks share: each has a copy of it")
            elif len(self._known) < MOST:
                self._known[number] = generator, min(begin, first), max(end, last)

    def tell(self) -> None:
        """Say what is to be said, at the caller's line; not in a thread that helps the caller."""
        if self.untold and current_thread().name != "parmap-companion":
            text, self.untold = self.untold, ""
            warn(text)

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            self.untold = f"{text}, so that its numbers repeat; {CURE}"
            self._known.clear()

    def _with_ours(self, reducers: Reducers) -> Reducers:
        ours: dict[type, Callable[[Any], Any]] = {}
        for place, name, method in KINDS:
            module = sys.modules.get(place)
            if isinstance(kind := getattr(module, name, None), type):
                own = getattr(getattr(module, method, None), "__self__", None)
                ours[kind] = self._reducer(own, place, method)
        return {**(reducers or {}), **ours} if ours else reducers

    def _reducer(self, own: Any, place: str, method: str) -> Callable[[Any], Any]:
        def reduce(generator: Any) -> Any:
            if generator is own:
                self._always = True  # other items may have it, too
                return owner_of, (place, method)
            self._found[id(generator)] = generator
            return generator.__reduce_ex__(PROTOCOL)

        return reduce


def _path(generator: Any, parts: dict[str, Any]) -> str:
    """Say where in *parts* the *generator* is, as far as that is to be seen."""
    paths = (path_to(generator, part, name) for name, part in parts.items())
    if path := next(filter(None, paths), ""):
        return f"{path} is a random generator that"
    return f"{next(iter(parts))} holds a random generator that"


def owner_of(place: str, method: str) -> Any:
    """Return the generator whose *method* stands in the module *place*."""
    from importlib import import_module

    return getattr(import_module(place), method).__self__

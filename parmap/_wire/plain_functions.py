"""Functions that travel by value without cloudpickle, which is slow to import in either process.

What arrives is what cloudpickle would make of them.  Whatever is not plain, a class that travels by
value say, is refused, and left to cloudpickle.
"""

from __future__ import annotations

import copyreg
import sys
from functools import cache
from types import CellType, CodeType, FunctionType, MethodType, ModuleType

from .._records.c_modules import pickle
from .importable import by_value, is_importable
from .memmap import PROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import BytesIO
    from typing import Any


NEWEST = 3, 15  # CPython of which it is known how its code names globals
GLOBALS = "__package__", "__name__", "__path__", "__file__"  # what an import in a function needs
ATTRIBUTES = (  # as they are set, in this order
    *("__name__", "__qualname__", "__annotations__", "__kwdefaults__", "__defaults__"),
    *("__module__", "__doc__"),
)


class _Globals:
    """Stands for the globals of functions, which share them where they arrive, too."""

    __slots__ = ("names",)

    def __init__(self, names: dict[str, Any]) -> None:
        # A pickle that names the script's module is none of ours: see `dumps`.
        self.names = {name: names[name] for name in GLOBALS if name in names}
        if self.names.get("__name__") == "__main__":
            del self.names["__name__"]


class FunctionPickler(pickle.Pickler):
    """pickle's pickler, for functions as well; raises whatever it is that it does not pickle."""

    def __init__(
        self, file: BytesIO, keep: Callable[..., bool] | None, table: Mapping[type, Any]
    ) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=keep)
        self.dispatch_table = {**copyreg.dispatch_table, **table}
        self._globals: dict[int, _Globals] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Reduce what pickle does not; called for all but numbers, texts, lists and their like."""
        kind = type(obj)
        if kind is FunctionType:
            return NotImplemented if is_importable(obj) else self._reduce(obj)
        if kind is CodeType:
            return _code, _arguments(obj)
        if kind is _Globals:
            return dict, (obj.names,)
        if issubclass(kind, ModuleType):
            name = obj.__name__
            if sys.modules.get(name) is obj and not by_value(name):
                return _module, (name,)
        elif issubclass(kind, type):
            if is_importable(obj):
                return NotImplemented
        # pickle goes by the name of a method's function, and copies the marks of dataclasses
        elif kind is not MethodType and kind.__module__ != "dataclasses":
            return NotImplemented
        raise pickle.PicklingError(f"{kind} is for cloudpickle")

    def _reduce(self, function: FunctionType) -> tuple[Any, ...]:
        code, there, cells = function.__code__, function.__globals__, function.__closure__
        name = there.get("__name__", "")
        # Those of `functools` dispatch or cache.
        own = name not in ("", "functools") and vars(sys.modules.get(name, _Globals)) is there
        modules = name, function.__module__  # without one, cloudpickle looks for it everywhere
        if not own or None in modules or any(n != "__main__" and by_value(n) for n in modules):
            raise pickle.PicklingError("a function of a module that is not imported by name")
        found = {name: there[name] for name in _global_names(code) if name in there}
        contents = [_content(cell) for cell in cells or ()]
        attributes = _attributes(function)
        if attributes["__module__"] == "__main__":
            del attributes["__module__"]
        values = [*found.values(), *(value for content in contents for value in content)]
        state = function.__dict__, attributes, contents, found, list(_submodules(code, values))
        if (names := self._globals.get(id(there))) is None:
            names = self._globals[id(there)] = _Globals(there)
        count = None if cells is None else len(cells)
        return _function, (code, names, count), state, None, None, _fill


def _attributes(function: FunctionType) -> dict[str, Any]:
    try:
        return {name: getattr(function, name) for name in ATTRIBUTES}
    except NameError:  # in annotations, which Python 3.14 evaluates late: they stay as they are
        names = (name.replace("__annotations__", "__annotate__") for name in ATTRIBUTES)
        return {name: getattr(function, name) for name in names}


def _arguments(code: CodeType) -> tuple[Any, ...]:
    return (
        *(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_nlocals),
        *(code.co_stacksize, code.co_flags, code.co_code, code.co_consts, code.co_names),
        *(code.co_varnames, code.co_filename, code.co_name, code.co_qualname),
        *(code.co_firstlineno, code.co_linetable, code.co_exceptiontable),
        *(code.co_freevars, code.co_cellvars),
    )


@cache
def _opcodes() -> tuple[int, int, tuple[int, ...]]:
    from opcode import opmap  # `dis` is slow to import

    if sys.version_info[:2] > NEWEST or sys.implementation.name != "cpython":
        raise pickle.PicklingError("how code names globals may have changed")
    names = "LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"
    return opmap["EXTENDED_ARG"], opmap["LOAD_GLOBAL"], tuple(opmap[name] for name in names)


def _global_names(code: CodeType) -> dict[str, None]:
    """Return the globals that *code*, and the functions defined in it, read or write, in order."""
    extended, load, all_of_them = _opcodes()
    # `find` is fast, and code may be long.  Nothing but instructions has their bytes: caches are 0.
    operations, arguments = code.co_code[::2], code.co_code[1::2]
    places = []
    for operation in all_of_them:
        at = operations.find(operation)
        while at >= 0:
            places.append(at)
            at = operations.find(operation, at + 1)
    names: dict[str, None] = {}
    for at in sorted(places):
        argument, before = arguments[at], at - 1
        while before >= 0 and operations[before] == extended:
            argument |= arguments[before] << 8 * (at - before)
            before -= 1
        # The last bit of a load says what else it pushes.
        names[code.co_names[argument >> (operations[at] == load)]] = None
    for const in code.co_consts:
        if type(const) is CodeType:
            names.update(_global_names(const))
    return names


def _submodules(code: CodeType, values: list[Any]) -> Iterator[ModuleType]:
    """Yield the modules that *code* finds as attributes of the packages among *values*."""
    packages = (value for value in values if isinstance(value, ModuleType))
    prefixes = [package.__name__ for package in packages if getattr(package, "__package__", None)]
    for prefix in prefixes:  # which grow
        for name in code.co_names:
            if (module := sys.modules.get(f"{prefix}.{name}")) is not None:
                prefixes.append(f"{prefix}.{name}")
                yield module


def _content(cell: Any) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # it is empty
        return ()


# ------------------------------------------------------------------------------------------------
# From here on: what makes them again where they arrive.


def _code(*arguments: Any) -> CodeType:
    return CodeType(*arguments)


def _module(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def _function(code: CodeType, names: dict[str, Any], cells: int | None) -> FunctionType:
    names.setdefault("__name__", "__main__")
    names["__builtins__"] = __builtins__
    closure = None if cells is None else tuple(CellType() for _ in range(cells))
    return FunctionType(code, names, None, None, closure)


def _fill(function: FunctionType, state: tuple[Any, ...]) -> None:
    own, attributes, contents, found, _ = state
    function.__dict__.update(own)
    function.__globals__.update(found, __builtins__=__builtins__)  # whatever the code calls so
    for cell, content in zip(function.__closure__ or (), contents, strict=True):
        if content:
            (cell.cell_contents,) = content
    for name, value in {"__module__": "__main__", **attributes}.items():
        setattr(function, name, value)

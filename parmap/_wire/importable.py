"""Which modules a fresh interpreter can import by name; what the others define travels by value.

A module is looked for as an import would do it, which tells nothing of those that another module
puts into `sys.modules`: these are believed importable until a worker says that they are not.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType, ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


SCRIPT = {"__main__", "__mp_main__"}
"""The names of the module that was started: the other is that of a multiprocessing child."""

MOST = 8  # arguments of a task to look at

away: dict[str, ModuleType] = {}
"""The modules that were found to travel by value, besides that of the script."""

_verdicts: dict[str, tuple[ModuleType, bool | None]] = {}
_path: list[str] = []  # the `sys.path` for which these hold


def by_value(name: object) -> bool:
    """Tell whether what the module called *name* defines has to travel by value."""
    if type(name) is not str or name in SCRIPT:
        return type(name) is str
    module = sys.modules.get(name)  # if there is none, cloudpickle sees to it
    return module is not None and (away.get(name) is module or _verdict(name, module) is False)


def is_importable(obj: Any) -> bool:
    """Tell whether a fresh interpreter finds *obj*, a function or a class, under its name."""
    found: Any = sys.modules.get(obj.__module__)
    if found is None or by_value(obj.__module__):
        return False
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is obj


def names_away(data: bytes) -> bool:
    """Tell whether the pickle *data* refers to one of the modules in `away`."""
    names = [name.encode() for name in tuple(away)]
    # Before each text there is its length.
    return any(len(name).to_bytes(4, "little")[:1] + name in data for name in names)


def look(obj: Any) -> None:
    """Learn of the modules of *obj*: a function, or an item and what it holds at once."""
    with suppress(Exception):  # a proxy may raise anything when it is asked for its class
        if type(obj) is partial:
            look(obj.func)
        elif type(obj) is MethodType:
            look(obj.__self__)
            look(obj.__func__)
        elif type(obj) in (tuple, list):
            for part in obj[:MOST]:
                if type(part) not in (tuple, list):
                    look(part)
        else:
            by_value((obj if isinstance(obj, (FunctionType, type)) else type(obj)).__module__)


def learn(data: bytes, missing: str) -> bool:
    """Mark what the pickle *data* refers to and a worker could not import; tell whether any is new.

    *missing* is the module that it did not find; "" if it found one that is not what it should be.
    """
    from pickletools import genops

    new = False
    for name in {text for _, text, _ in genops(data) if isinstance(text, str)}:
        module = sys.modules.get(name)
        if module is None or by_value(name):
            continue
        if f"{name}.".startswith(f"{missing}.") if missing else _verdict(name, module) is None:
            away[name] = module
            new = True
    return new


def _verdict(name: str, module: ModuleType) -> bool | None:
    """Return whether an import of *name* finds *module*; None if that cannot be told."""
    if sys.path != _path:
        _path[:] = sys.path
        _verdicts.clear()
    known = _verdicts.get(name)
    if known is not None and known[0] is module:
        return known[1]
    try:
        verdict = _is_found(name, module)
    except Exception:  # of a module that is more than a module, or a finder of somebody's own
        verdict = None
    _verdicts[name] = module, verdict
    if verdict is False:
        away[name] = module
    return verdict


def _is_found(name: str, module: ModuleType) -> bool | None:
    parent, _, _ = name.rpartition(".")
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top == __name__.partition(".")[0]:
        return True
    path = None
    if parent:
        package = sys.modules.get(parent)
        around = False if package is None else _verdict(parent, package)
        path = getattr(package, "__path__", None)
        if not around or path is None:
            return around
    spec = getattr(module, "__spec__", None)
    own = getattr(module, "__file__", None) if spec is None else spec.origin
    if spec is None and own is None:  # made and put there by somebody
        return False if not parent and type(module) is ModuleType else None
    # Not `importlib.util.find_spec`, which believes `sys.modules`.
    specs = (finder.find_spec(name, path) for finder in sys.meta_path)
    found = next((spec for spec in specs if spec is not None), None)
    if found is None:
        return False
    files = [path for path in (found.origin, own) if path is not None and os.path.exists(path)]
    return found.origin == own or (len(files) == 2 and os.path.samefile(*files))

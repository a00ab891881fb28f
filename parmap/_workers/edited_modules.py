"""Whether modules that a worker has imported were edited since."""

from __future__ import annotations

import os
import sys

_modules = 0  # how many were imported when they were last looked at
_sources: dict[str, tuple[int, int]] = {}  # of the user's modules: when changed, how large


def watch_modules() -> None:
    """Remember the files of the modules that were imported by the last tasks."""
    global _modules
    if len(sys.modules) == _modules:
        return
    _modules = len(sys.modules)
    for module in list(sys.modules.values()):
        try:
            path = getattr(module, "__file__", None)
        except Exception:  # noqa: S112 - of a module that is imported when it is looked at
            continue
        if isinstance(path, str) and path not in _sources and not _installed(path):
            _sources[path] = _stamp(path)


def are_edited() -> bool:
    """Tell whether a module that was imported here has changed since."""
    return any(_stamp(path) != stamp for path, stamp in _sources.items())


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _installed(path: str) -> bool:
    """Tell whether nobody edits *path* and expects a running program to notice."""
    return path.startswith(os.path.dirname(os.__file__)) or "-packages" in path

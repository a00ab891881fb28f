"""The progress bar: an observer of `Done` that owns one tqdm bar.

tqdm writes to stderr by itself, and redraws no more often than its `mininterval` says.
"""

from __future__ import annotations

import sys
from importlib import import_module

from .._records.events import Done

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Bar:
    """Counts tasks as they finish, the failed ones in the postfix.

    *progress* is True, a label, a dict of tqdm arguments, or a class with tqdm's interface.
    """

    def __init__(self, progress: Any, total: int | None) -> None:
        arguments: dict[str, Any] = {"total": total, "unit": "task"}
        if isinstance(progress, dict):
            arguments |= progress
        elif isinstance(progress, str):
            arguments["desc"] = progress
        self._bar = (progress if isinstance(progress, type) else _tqdm())(**arguments)
        self._failed = 0

    def __call__(self, event: object) -> None:
        """Count tasks that are done."""
        if not isinstance(event, Done):
            return
        if event.failed:
            self._failed += event.failed
            self._bar.set_postfix(failed=self._failed, refresh=False)
        self._bar.update(event.tasks)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def _tqdm() -> Any:
    # In a notebook tqdm.auto finds the right bar; elsewhere it would import asyncio for nothing.
    return import_module("tqdm.auto" if "ipykernel" in sys.modules else "tqdm.std").tqdm

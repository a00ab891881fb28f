"""pickle and signal, without what only their Python parts need.

Those import `re`, `enum` and more, which costs a worker 5 ms of its start, and the caller as much.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pickle
    import signal
else:
    try:
        import _pickle as pickle
        import _signal as signal
    except ImportError:  # not CPython
        import pickle
        import signal

__all__ = ["pickle", "signal"]

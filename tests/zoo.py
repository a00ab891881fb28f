"""The zoo: everything known to break pools, with names.

The names follow the ones in CPython's ``test_deadlock.py``: what happens, and when.  `visit` is
the task that keeps them: an item that is a key of `ERRORS`, `RESULTS` or `CRASHES` calls the animal
of that name; one that is an animal itself (`INPUTS`) has done its harm on the way.
"""

import dataclasses
import os
import pickle
import signal
import sys
import threading

# What animals do


def _raise_at_unpickle(*_):
    raise RuntimeError("refuses to be unpickled")


def _exit_at_unpickle(*_):
    sys.exit(3)


def _die_at_unpickle(parent):
    """Die, but never in the process that sent the animal."""
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class Model:
    """Something with a lock inside, as models and clients have."""

    def __init__(self):
        self._lock = threading.Lock()
        self.name = "model"


class Holder:
    """Something that has a model: the lock is two steps away."""

    def __init__(self):
        self.model = Model()


class ErrorAtPickle:
    def __reduce__(self):
        raise RuntimeError("refuses to be pickled")


class ErrorAtUnpickle:
    def __reduce__(self):
        return _raise_at_unpickle, ()


class ExitAtPickle:
    def __reduce__(self):
        sys.exit(3)


class ExitAtUnpickle:
    def __reduce__(self):
        return _exit_at_unpickle, ()


class CrashAtPickle:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)


class CrashAtUnpickle:
    def __init__(self):
        self.parent = os.getpid()

    def __reduce__(self):
        return _die_at_unpickle, (self.parent,)


# Errors


class TwoArgumentError(Exception):
    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class KeywordOnlyError(Exception):
    def __init__(self, *, code):
        super().__init__()
        self.code = code


class ErrorWithLock(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code
        self.lock = threading.Lock()


class ErrorWithLockInArgs(Exception):
    pass


class ErrorWhoseReduceRaises(Exception):
    def __reduce__(self):
        raise RuntimeError("refuses to be pickled")


class ErrorWhoseReduceExits(Exception):
    def __reduce__(self):
        sys.exit(3)


class ErrorWhoseUnpicklingRaises(Exception):
    def __reduce__(self):
        return _raise_at_unpickle, self.args


class ErrorWhoseUnpicklingExits(Exception):
    def __reduce__(self):
        return _exit_at_unpickle, self.args


class ErrorWhoseStrRaises(Exception):
    def __str__(self):
        raise RuntimeError("no str today")

    __repr__ = __str__


class ErrorWithoutTraceback(Exception):
    def __getattribute__(self, name):
        if name in ("__traceback__", "args", "__dict__"):
            raise RuntimeError("no such thing today")
        return super().__getattribute__(name)


class ErrorWithoutNotes(Exception):
    @property
    def __notes__(self):
        raise RuntimeError("no notes today")


class ErrorWithOddNotes(Exception):
    __notes__ = 5


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int


class SyntaxErrorOfText(SyntaxError):
    pass


class ErrorWithoutNew(Exception):
    """One whose __new__ takes what nobody has kept."""

    def __new__(cls, code, reason):
        return super().__new__(cls, code)

    def __init__(self, code, reason):
        super().__init__(code)


class CustomBaseException(BaseException):
    pass


class GroupOfErrors(ExceptionGroup):
    pass


def inner():
    return ExceptionGroup("inner", [ErrorWithLock(7), ValueError(8)])


def _raiser(make):
    def act():
        raise make()

    return act


def local_error():
    class LocalError(Exception):
        pass

    return LocalError("of a function")


ERRORS = {
    "TwoArgumentError": _raiser(lambda: TwoArgumentError(404, "not here")),
    "KeywordOnlyError": _raiser(lambda: KeywordOnlyError(code=5)),
    "ErrorWithLock": _raiser(lambda: ErrorWithLock(7)),
    "ErrorWithLockInArgs": _raiser(lambda: ErrorWithLockInArgs("first", threading.Lock())),
    "ErrorWhoseReduceRaises": _raiser(lambda: ErrorWhoseReduceRaises("a", "b")),
    "ErrorWhoseReduceExits": _raiser(lambda: ErrorWhoseReduceExits("a", "b")),
    "ErrorWhoseUnpicklingRaises": _raiser(lambda: ErrorWhoseUnpicklingRaises("a", "b")),
    "ErrorWhoseUnpicklingExits": _raiser(lambda: ErrorWhoseUnpicklingExits("a", "b")),
    "ErrorWhoseStrRaises": _raiser(lambda: ErrorWhoseStrRaises("a")),
    "ErrorWithoutTraceback": _raiser(lambda: ErrorWithoutTraceback("a", threading.Lock())),
    "ErrorWithoutNotes": _raiser(lambda: ErrorWithoutNotes("a")),
    "ErrorWithOddNotes": _raiser(lambda: ErrorWithOddNotes("a")),
    "FrozenError": _raiser(lambda: FrozenError(5)),
    "SyntaxErrorOfText": _raiser(lambda: SyntaxErrorOfText("a", ("f.py", 1, "3", "text"))),
    "ErrorWithoutNew": _raiser(lambda: ErrorWithoutNew(1, "b")),
    "LocalError": _raiser(local_error),
    "CustomBaseException": _raiser(lambda: CustomBaseException("base")),
    "SystemExit": _raiser(lambda: SystemExit(3)),
    "KeyboardInterrupt": _raiser(lambda: KeyboardInterrupt("by the task")),
    "GeneratorExit": _raiser(lambda: GeneratorExit("by the task")),
    "StopIteration": _raiser(lambda: StopIteration(11)),
    "StopAsyncIteration": _raiser(lambda: StopAsyncIteration(12)),
    "ExceptionGroup": _raiser(lambda: ExceptionGroup("two", [ValueError(1), KeyError("k")])),
    "GroupOfErrors": _raiser(lambda: GroupOfErrors("two", [TwoArgumentError(1, "a"), inner()])),
    "RecursionError": lambda: ERRORS["RecursionError"](),
    "PicklingError": _raiser(lambda: pickle.PicklingError("raised by the task itself")),
}

# Results


def _generator():
    yield 1


RESULTS = {
    "ResultErrorAtPickle": ErrorAtPickle,
    "ResultErrorAtUnpickle": ErrorAtUnpickle,
    "ResultExitAtPickle": ExitAtPickle,
    "ResultExitAtUnpickle": ExitAtUnpickle,
    "ReturnsGenerator": _generator,
    "ReturnsOpenFile": lambda: open(os.devnull, "rb"),  # noqa: SIM115 - it is to be open
    "ReturnsOpenTextFile": lambda: open(os.devnull),  # noqa: SIM115 - it is to be open
    "ReturnsLock": threading.Lock,
    "ReturnsModelWithLock": Holder,
    "ReturnsDictWithLock": lambda: {"k": [1, 2, threading.Lock()]},
}
RESULT_PATHS = {
    "ReturnsGenerator": "result",
    "ReturnsOpenFile": "result",
    "ReturnsOpenTextFile": "result",
    "ReturnsLock": "result",
    "ReturnsModelWithLock": "result.model._lock",
    "ReturnsDictWithLock": "result['k'][2]",
}

# Inputs: made in the parent, so that they are still whole there

INPUTS = {
    "InputWithLock": Holder,
    "InputIsLock": threading.Lock,
    "InputIsGenerator": _generator,
    "InputIsDictWithLock": lambda: {"k": [1, 2, threading.Lock()]},
    "InputErrorAtPickle": ErrorAtPickle,
    "InputErrorAtUnpickle": ErrorAtUnpickle,
    "InputExitAtUnpickle": ExitAtUnpickle,
}
INPUT_PATHS = {
    "InputWithLock": "args[0].model._lock",
    "InputIsLock": "args[0]",
    "InputIsGenerator": "args[0]",
    "InputIsDictWithLock": "args[0]['k'][2]",
}

# Crashes: none of them may happen in the process of the tests

CRASHES = {
    "SuicideBySigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SuicideBySigterm": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "OsExit": lambda: os._exit(3),
    "OsExitZero": lambda: os._exit(0),
    "Abort": os.abort,
    "CrashAtResultPickle": CrashAtPickle,
}
CRASH_WORDS = {
    "SuicideBySigkill": ("SIGKILL", "9"),
    "SuicideBySigterm": ("SIGTERM", "15"),
    "OsExit": ("3",),
    "OsExitZero": ("0",),
    "Abort": ("SIGABRT", "6"),
    "CrashAtResultPickle": ("SIGKILL", "9"),
}

ANIMALS = ERRORS | RESULTS | CRASHES


def visit(x):
    """Do what the animal *x* does; twice *x* for an ordinary one."""
    if isinstance(x, str):
        return ANIMALS[x]()
    return x * 2

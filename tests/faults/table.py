"""The table of faults: what a task does, and what then becomes of it on each executor.

`test_faults` runs every cell of it, and `page` makes docs/faults.md of it.
"""

import dataclasses
from collections.abc import Callable

import faulty

# In the order of the columns of the page.
ABROAD = ("processes", "auto", "multiprocessing", "futures", "joblib")
HERE = ("threads", "serial")
EXECUTORS = (*ABROAD, *HERE)
# Those with worker processes of our own; "auto" goes there when it is to contain failures.
OWN_WORKERS = ("processes", "auto")

FINE = "fine"  # as opposed to a kind of Failure
OUTCOMES = {
    "crash": "`crash`",
    "error": "`error`",
    "unpicklable": "`unpicklable`",
    "timeout": "`timeout`",
    FINE: "result",
}
# The page says what these words mean.
TWICE = "`crash` +"
ENDS = "program ends"
ASKS = "asks on the program's terminal"
WAITS = "waits"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes:
        title: ends the sentence "What happens when a task ...".
        task: what the culprits do; any other task returns `2 * x`.
        outcome: what becomes of a culprit: a kind of Failure, or FINE.
        here: what becomes of it in a thread of the program: the same, or a text for the page,
            for what cannot be run there.
        only: what becomes of it on single executors, where that is something else: an outcome to
            check, or a text for the page.
        says: words in the text of the exception, from workers of our own.
        stood: the function that the exception and the traceback name, from workers of our own;
            None if they need not name any.
        tasks: how many there are.
        culprits: their indices.
        item: makes the input of the culprits, if that is what is wrong with them.
        options: of the call.
        attempts: how often a culprit is started.
        value: what a culprit returns where that is survived; None for `2 * x`.
        prints: what appears on stdout; if a culprit dies, only from workers of our own.
        lasting: executors whose workers stay as the task has left them, for the next call too.
        note: what the page says of workers of our own, besides the outcome.
    """

    title: str
    task: Callable[[int], object]
    outcome: str
    here: str
    only: dict[str, str] = dataclasses.field(default_factory=dict)
    says: tuple[str, ...] = ()
    stood: str | None = None
    tasks: int = 20
    culprits: tuple[int, ...] = (7,)
    item: Callable[[], object] | None = None
    options: dict[str, object] = dataclasses.field(default_factory=dict)
    attempts: int = 1
    value: object = None
    prints: str = ""
    lasting: tuple[str, ...] = ()
    note: str = ""

    def on(self, executor: str) -> str:
        """Return what becomes of a culprit on *executor*: an outcome, or a text for the page."""
        return self.only.get(executor, self.here if executor in HERE else self.outcome)

    def runs_on(self, executor: str) -> bool:
        """Tell whether the case can be run there."""
        return self.on(executor) in OUTCOMES

    def cell(self, executor: str) -> str:
        """Return what the page says of *executor*."""
        outcome = self.on(executor)
        if executor in ABROAD and executor not in OWN_WORKERS and outcome == "crash":
            return TWICE
        text = OUTCOMES.get(outcome, outcome)
        if executor == OWN_WORKERS[0] and self.note:
            return f"{text}; {self.note}"
        return f"{text}; the workers stay changed" if executor in self.lasting else text


FAULTS = {
    "os-exit": Fault(
        "calls `os._exit`", faulty.exits_at_once, "crash", ENDS, says=("exit code 3",)
    ),
    "sigkill": Fault(
        "is killed by SIGKILL, as by the kernel when memory runs out",
        faulty.is_killed,
        "crash",
        ENDS,
        says=("SIGKILL",),
    ),
    "sigsegv": Fault(
        "runs into a segmentation fault",
        faulty.segfaults,
        "crash",
        ENDS,
        says=("SIGSEGV",),
        stood="segfaults",
    ),
    "stack": Fault(
        "overflows the stack of C",
        faulty.overflows_the_stack,
        "crash",
        ENDS,
        says=("SIGSEGV",),
        stood="overflows_the_stack",
    ),
    "abort": Fault(
        "calls `abort()`", faulty.aborts, "crash", ENDS, says=("SIGABRT",), stood="aborts"
    ),
    "result-dies": Fault(
        "dies while its result is being pickled",
        faulty.dies_at_pickle,
        "crash",
        "result: nothing is pickled",
        says=("exit code 3",),
        note="its chunk runs again",
    ),
    "input-dies": Fault(
        "dies while its input is being unpickled",
        faulty.exits_at_once,
        "crash",
        "result: nothing is pickled",
        says=("exit code 3",),
        item=faulty.DiesAtUnpickle,
    ),
    "dies-beside-child": Fault(
        "dies, and leaves a child that holds its pipe open",
        faulty.dies_beside_a_child,
        "crash",
        ENDS,
        says=("exit code 3",),
    ),
    "closes-all": Fault(
        "closes every file descriptor, the worker's pipe too",
        faulty.closes_everything,
        "crash",
        "closes those of the program",
        note="its chunk runs again",
    ),
    "two-of-200": Fault(
        "calls `os._exit`, as does a second one of 200",
        faulty.exits_at_once,
        "crash",
        ENDS,
        says=("exit code 3",),
        tasks=200,
        culprits=(61, 142),
    ),
    "every-task": Fault(
        "calls `os._exit`, as does every other",
        faulty.exits_at_once,
        "crash",
        ENDS,
        says=("exit code 3",),
        tasks=6,
        culprits=tuple(range(6)),
    ),
    "crash-retries": Fault(
        "calls `os._exit` in each attempt of `retries=2`",
        faulty.exits_at_once,
        "crash",
        ENDS,
        says=("exit code 3",),
        options={"retries": 2},
        attempts=3,
    ),
    "crash-once": Fault(
        "calls `os._exit` in the first attempt of `retries=1`",
        faulty.dies_once,
        FINE,
        ENDS,
        options={"retries": 1},
    ),
    "sys-exit": Fault(
        "exits with `sys.exit`", faulty.calls_sys_exit, "error", "error", says=("3",)
    ),
    "keyboard-interrupt": Fault(
        "raises KeyboardInterrupt",
        faulty.raises_keyboard_interrupt,
        "error",
        "error",
        says=("by the task",),
    ),
    "two-arguments": Fault(
        "raises an exception whose class wants two arguments",
        faulty.raises_two_arguments,
        "error",
        "error",
        says=("404: not here",),
    ),
    "recursion": Fault(
        "calls itself without end", faulty.recurses, "error", "error", says=("recursion",)
    ),
    "memory": Fault(
        "exhausts a memory limit that it has set (RLIMIT_AS)",
        faulty.exhausts_its_memory,
        "error",
        "error",
    ),
    "result-lock": Fault(
        "returns what cannot be pickled",
        faulty.returns_a_lock,
        "unpicklable",
        FINE,
        says=("lock", "cannot be pickled"),
        value="lock",
    ),
    "input-unloadable": Fault(
        "has an input that cannot be unpickled",
        faulty.exits_at_once,  # never called: the input is no index
        "unpicklable",
        FINE,
        says=("input", "only at home"),
        item=faulty.RaisesAtUnpickle,
    ),
    "terminal": Fault(
        "asks on the terminal, as for a password",
        faulty.asks_on_the_terminal,
        "error",
        ASKS,
        dict.fromkeys(("multiprocessing", "futures", "joblib"), ASKS),
        says=("/dev/tty",),
    ),
    "maps-itself": Fault(
        "maps itself in worker processes, without end",
        faulty.maps_itself,
        "error",
        "error",
        says=("nested at most",),
    ),
    "closes-streams": Fault(
        "closes the file descriptors 0 to 2",
        faulty.closes_the_standard_streams,
        FINE,
        "closes those of the program",
    ),
    "changes-process": Fault(
        "changes directory, environment and signal handlers",
        faulty.changes_its_process,
        FINE,
        "changes those of the program",
        lasting=("joblib",),
        note="the next call finds directory and environment of the caller",
    ),
    "leaves-threads": Fault(
        "leaves threads behind, daemons or not",
        faulty.leaves_threads,
        FINE,
        "they are the program's, which waits at its end for those that are no daemons",
        note="they end with the worker",
    ),
    "leaves-child": Fault(
        "leaves a child process behind",
        faulty.leaves_a_child,
        FINE,
        FINE,
        note="the child lives on unless its worker is killed",
    ),
    "comes-back-twice": Fault(
        "forks a child that comes back from the task, too",
        faulty.comes_back_twice,
        FINE,
        "goes on twice",
    ),
    "ignores-signals": Fault(
        "ignores all signals that can be ignored",
        faulty.ignores_signals,
        FINE,
        "the program ignores them",
    ),
    "prints": Fault(
        "prints without a newline",
        faulty.prints,
        FINE,
        FINE,
        prints="no newline",
    ),
    "prints-and-dies": Fault(
        "is killed by SIGKILL in the middle of a line that it prints",
        faulty.is_killed_while_it_prints,
        "crash",
        ENDS,
        says=("SIGKILL",),
        prints="last words",
        note="what it had printed is shown",
    ),
}

_REFUSED = dict.fromkeys(("multiprocessing", "futures", "joblib"), WAITS)


def _hang(title: str, task: Callable[[int], object], outcome: str = "timeout", **more) -> Fault:
    """Return a fault that only a timeout can end, and so only workers of our own."""
    options = {"timeout": 0.5} | more.pop("options", {})
    return Fault(title, task, outcome, WAITS, _REFUSED, options=options, **more)


# In the pools of other libraries, one that hangs takes what is in one message with it.
DEADLINE: dict[str, object] = {"deadline": 5, "chunksize": 1}

HANGS = {
    "loops": _hang("loops for ever in Python", faulty.loops, says=("0.5 s",), stood="loops"),
    "sleeps": _hang("sleeps for ever", faulty.sleeps, says=("0.5 s",), stood="sleeps"),
    "reads": _hang(
        "reads from a pipe for ever", faulty.reads_for_ever, says=("0.5 s",), stood="reads_for_ever"
    ),
    "stuck-in-c": _hang(
        "is stuck in a C function that holds the GIL",
        faulty.is_stuck_in_c,
        says=("0.5 s",),
        stood="is_stuck_in_c",
    ),
    "waits-for-child": _hang(
        "waits for ever for a process that it has started",
        faulty.waits_for_a_child,
        says=("0.5 s",),
        stood="waits_for_a_child",
        note="that process is killed, too",
    ),
    "result-hangs": _hang(
        "hangs while its result is being pickled",
        faulty.hangs_at_pickle,
        says=("0.5 s", "pickling"),
        note="its chunk runs again",
    ),
    "signals-blocked": _hang(
        "hangs with all signals blocked",
        faulty.hangs_with_blocked_signals,
        says=("0.5 s",),
        note="where it stood is not known",
    ),
    "default-handlers": _hang(
        "hangs with the default handler of every signal",
        faulty.hangs_with_default_handlers,
        says=("0.5 s",),
        note="where it stood is not known",
    ),
    "another-group": _hang(
        "hangs in a process group of its choice",
        faulty.hangs_in_another_group,
        says=("0.5 s",),
        stood="hangs_in_another_group",
    ),
    "deadline-sleeps": Fault(
        "sleeps for ever, in a call with `deadline=5`",
        faulty.sleeps,
        "timeout",
        WAITS,
        {"threads": "timeout"},
        says=("deadline of 5 s",),
        stood="sleeps",
        options=DEADLINE,
    ),
    "deadline-stuck-in-c": Fault(
        "is stuck in a C function that holds the GIL, in a call with `deadline=5`",
        faulty.is_stuck_in_c,
        "timeout",
        WAITS,
        says=("deadline of 5 s",),
        stood="is_stuck_in_c",
        options=DEADLINE,
    ),
    "hangs-once": _hang(
        "hangs in the first attempt of `retries=1`",
        faulty.hangs_once,
        FINE,
        options={"retries": 1},
    ),
}
TABLE = FAULTS | HANGS

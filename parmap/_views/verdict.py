"""Why a call was no faster, in a sentence or two: arithmetic on its figures, without clocks.

The first of these situations that is given decides.
"""

from __future__ import annotations

from .figures import WAITS
from .words import count, percent, seconds, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .figures import Reading

WELL = 0.8  # of what the workers can give, from which on there is nothing to explain
BRIEF = 50e-6  # seconds of a task that costs as much to send, with its share of a message
LONG = 0.002  # seconds of a task beside which a message is nothing
LITTLE = 0.06  # seconds: what a start of workers takes
MUCH = 50_000  # bytes of a task that count
MOST = 0.6  # of the time, what one thing takes that explains all
PART = 0.4  # of the time, what explains the waiting
BUSY = 0.7  # of their time as processor time, below which tasks that compute had to share
CROWDED = 0.8  # of the memory


def verdict(call: Reading) -> str:
    """Return why *call* was not faster; "" if it was about as fast as can be."""
    if call.error:
        return f"Nothing ran: {call.error}"
    if not call.tasks:
        return ""
    if sum(call.peaks.values()) > CROWDED * call.memory > 0:
        together, there = size(sum(call.peaks.values())), size(call.memory)
        return (
            f"The workers had up to {together} of memory together, and this machine has {there}: "
            "fewer workers, or smaller tasks, would not have to swap."
        )
    if call.caller:
        return _of_caller(call)
    if call.held:
        return (
            "The threads took turns: Python's lock lets one of them compute at a time. "
            "executor='processes', or 'auto', uses all CPUs."
        )
    slow = call.gain < WELL * call.limit
    if slow and call.mean < BRIEF and max(call.sent, call.received) < MUCH * call.tasks:
        return (
            f"Each task takes {seconds(call.mean)}, and to send one costs as much: the loop is the "
            "right tool, or tasks that do more each."
        )
    share = call.cpu / call.seconds if call.seconds else 1.0
    if WAITS <= share < BUSY:
        return (
            f"The tasks had a processor for {percent(share, 1)} of their time: other programs "
            "compute on this machine, too, or the tasks wait for something."
        )
    return _of_workers(call) if slow else ""


def _of_caller(call: Reading) -> str:
    """Return why all of *call* ran in the caller."""
    if call.cpus == 1:
        return "This process may use one CPU: nothing can run beside the loop."
    if call.tasks == 1:
        return "There is one task: nothing can run beside it."
    if "nested" in call.why:
        return (
            "The call was made in a task of another, whose workers keep the CPUs busy: it ran as "
            "the loop."
        )
    if call.mean < BRIEF:
        return (
            f"Each task takes {seconds(call.mean)}, and to send one to a worker costs as much: the "
            "loop is the right tool."
        )
    if call.seconds < LITTLE:
        return (
            f"All tasks together take {seconds(call.seconds)}, and to start workers takes longer: "
            "the loop is the right tool."
        )
    if call.where == "serial" and "asked for" in call.why:
        return "It ran as the loop, as it was asked to: executor='auto' uses the other CPUs."
    return f"It ran as the loop: {call.why}." if call.why else ""


def _of_workers(call: Reading) -> str:
    """Return why the workers of *call* gave less than they can."""
    whole = call.capacity
    most = max(call.moving, call.starting + call.loading, call.waiting)
    if most == call.moving:
        return _of_moving(call, percent(call.moving, whole))
    if most != call.waiting:
        if call.starting >= call.loading:
            return (
                f"{percent(call.starting, whole)} of the workers' time went into their start. That "
                "happens once: they stay for the next call, and parmap.warm() starts them before."
            )
        return (
            f"{percent(call.loading, whole)} of the workers' time went into loading the function "
            "and what it imports. That happens once: they keep it for the next call."
        )
    return _of_waiting(call, percent(call.waiting, whole))


def _of_moving(call: Reading, share: str) -> str:
    there, back = call.sent / call.tasks, call.received / call.tasks
    if max(there, back) < MUCH and call.mean > LONG:
        return (
            f"{share} of the workers' time passed between a message and its answer, for tasks of "
            f"{seconds(call.mean)}: the caller, or the machine, was busy with something else."
        )
    if max(there, back) < MUCH:
        return (
            f"{share} of the workers' time went into messages, for tasks of {seconds(call.mean)}: "
            "tasks that do more each would need fewer."
        )
    if there >= back:
        return (
            f"{share} of the workers' time moved data, {size(there)} to each task. What is the "
            "same for all put into the function, with functools.partial: it is sent once. Or send "
            "the name of a file."
        )
    return (
        f"{share} of the workers' time moved data, {size(back)} as the result of each task: return "
        "less, or write it to a file and return its name."
    )


def _of_waiting(call: Reading, share: str) -> str:
    longest, index = call.slowest[0][:2] if call.slowest else (0.0, 0)
    if call.tasks < call.limit:
        return (
            f"{count(call.tasks, 'task')} cannot keep {call.limit} workers busy: more and smaller "
            "tasks could."
        )
    if longest > MOST * call.elapsed:
        return (
            f"Task {index} alone took {seconds(longest)} of {seconds(call.elapsed)}: no call is "
            "faster than its longest task, unless that is divided."
        )
    if call.input > PART * call.elapsed:
        return (
            f"The workers waited for the input, which took {percent(call.input, call.elapsed)} of "
            "the time: it is what has to be faster."
        )
    if call.submitting > PART * call.elapsed:
        return (
            "The workers waited for the caller, who took "
            f"{percent(call.submitting, call.elapsed)} of the time to pickle and send inputs: "
            "smaller inputs, or names of files, would keep them busy."
        )
    if call.idle > PART * call.elapsed:
        return (
            "The workers waited for the caller, who was elsewhere for "
            f"{percent(call.idle, call.elapsed)} of the time, with the results so far."
        )
    return (
        f"The workers had nothing to do for {share} of the time: more and shorter tasks would let "
        "them end together."
    )

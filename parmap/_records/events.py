"""What observers are told: frozen records, enough to draw a timeline and to explain a choice.

    Chosen    where tasks run from now on, why, and the numbers behind it
    Started   a worker of a call that is watched has begun to answer
    Loaded    one has loaded the function before its first tasks
    Sent      a chunk has gone to the executor
    Reported  what a worker tells of the leading tasks of a chunk
    Lost      a chunk, or the rest of one, that has no outcome, and what becomes of it
    Done      consecutive tasks that are finished for good, as the caller will see them

Times are seconds of `perf_counter`, which all processes of this machine share.  Made only where
somebody observes; this module is imported then.
"""

from __future__ import annotations

from collections import namedtuple

Chosen = namedtuple("Chosen", "at where why facts")
"""*where*: an executor's name; *facts*: numbers by name (seconds, tasks, bytes, workers)."""

Started = namedtuple("Started", "at worker began")
"""*worker*: a process id; *began*: when it was started."""

Loaded = namedtuple("Loaded", "at worker seconds")

Sent = namedtuple("Sent", "at start tasks attempts")
"""*start*: index of the first task; *attempts*: how often they were tried before."""

Reported = namedtuple(
    "Reported", "at start tasks failed worker began seconds cpu bytes items caught timing"
)
"""*worker*: a process id; *began*, *seconds*, *cpu*: when the tasks began there, how
long they took, and their processor time; *bytes*: of the worker's answer, 0 if nothing was sent;
*items*: the inputs, as they are; *caught*: who failed, by position; *timing*: see `work.Timing`."""

Lost = namedtuple("Lost", "at start tasks kind fate suspect worker")
"""*kind*: as of a Failure; *fate*: as of a `Loss`; *suspect*: the index of the culprit, or None."""

Done = namedtuple("Done", "at start tasks failed")

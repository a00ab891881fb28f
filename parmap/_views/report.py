"""The report: one screen of text on all calls of a trace."""

from __future__ import annotations

from textwrap import wrap

from .figures import figures
from .verdict import verdict
from .words import count, factor, percent, seconds, shorten, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._observers.timeline import Timeline
    from .figures import Reading

WIDTH, LINES = 80, 24
OTHERS = 4  # calls that have a line of their own besides the one that is looked at
NOTHING = """\
parmap.trace: no call of parmap
  Calls are seen that are made in the block, by its own thread or by one with a copy of its context:
  Thread(target=contextvars.copy_context().run, args=(function,)) has one."""


def report(calls: Sequence[Timeline], skipped: int = 0) -> str:
    """Return the report on *calls*; *skipped* ones were not kept."""
    read = [figures(call) for call in calls]
    if not read:
        return NOTHING
    most = max(read, key=lambda call: call.elapsed)
    lines = []
    if len(read) + skipped > 1:
        tasks, elapsed = sum(call.tasks for call in read), sum(call.elapsed for call in read)
        lines.append(
            f"parmap.trace: {count(len(read) + skipped, 'call')}, {count(tasks, 'task')}, "
            f"{seconds(elapsed)}; the longest call:"
        )
    lines += _of(most)
    lines += _others([call for call in read if call is not most], skipped)
    return "\n".join(lines[:LINES])


def title(call: Reading) -> str:
    """Return in a line what came of *call*."""
    tasks = count(call.tasks, "task")
    if call.total is not None and call.tasks < call.total:
        tasks = f"{call.tasks:,} of {call.total:,} tasks"
    return f"{call.name}: {tasks} in {seconds(call.elapsed)}, {speed(call)}"


def speed(call: Reading) -> str:
    """Return how *call* compares with the loop."""
    if not call.tasks:
        return "nothing finished" if call.is_over else "nothing finished yet"
    return f"{factor(call.gain)} times as fast as the loop ({seconds(call.loop)})"


def rows(call: Reading) -> list[tuple[str, str]]:
    """Return what there is to say of *call*: a word, and what belongs to it."""
    workers = count(call.workers, "worker")
    found = [("where", f"{call.where or 'nowhere'}: {workers}, {_chunks(call)}")]
    if call.why:
        found.append(("why", call.why))
    if not call.tasks:
        return found
    limit = f"{call.limit} is the limit of {workers} on {count(call.cpus, 'CPU')}"
    efficiency = percent(call.gain, call.limit)
    found.append(("speed-up", f"{factor(call.gain)}, {efficiency} efficient: {limit}"))
    spent = [f"{name} {share}" for name, share, _ in shares(call) if share != "0 %"]
    found.append(("time", ", ".join(spent)))
    if call.sent or call.received:
        found.append(("moved", f"{size(call.sent)} to the workers, {size(call.received)} back"))
    if call.peaks:
        found.append(("memory", f"at most {size(max(call.peaks.values()))} in a worker process"))
    elif call.own_peak:
        found.append(("memory", f"at most {size(call.own_peak)} in this process, since it began"))
    if call.failed or call.tries or call.crashes or call.timeouts:
        counts = {
            "task failed": call.failed,
            "further attempt": call.tries,
            "crash": call.crashes,
            "timeout": call.timeouts,
        }
        found.append(("trouble", ", ".join(count(n, what) for what, n in counts.items() if n)))
    return found


def shares(call: Reading) -> list[tuple[str, str, float]]:
    """Return on what the workers have spent their time: names, percents, seconds."""
    parts = {
        "tasks": call.seconds,
        "moving data": call.moving,
        "starting": call.starting,
        "loading": call.loading,
        "waiting": call.waiting,
    }
    whole = call.capacity
    return [(name, percent(part, whole), part) for name, part in parts.items()]


def slowest(call: Reading) -> list[tuple[str, str, str]]:
    """Return the slowest tasks: how long, which, and with what input."""
    return [
        (seconds(took), f"{first}-{last}" if first < last else f"{last}", text)
        for took, last, first, text in call.slowest
    ]


def _of(call: Reading) -> list[str]:
    lines = wrap(title(call), WIDTH)
    for name, text in rows(call):
        room = 2 if name in ("why", "time") else 1
        # A number and its percent sign stay together.
        parts = wrap(text.replace(" %", "~%"), WIDTH - 12, max_lines=room, placeholder=" ...")
        parts = [part.replace("~%", " %") for part in parts]
        lines += [f"  {name if not n else '':<10}{part}" for n, part in enumerate(parts)]
    for n, (took, index, text) in enumerate(slowest(call)):
        line = f"  {'slowest' if not n else '':<10}{took:>7}  task {index}: "
        lines.append(line + shorten(text, WIDTH - len(line)))
    if sentence := verdict(call):
        lines += wrap(sentence, WIDTH)
    return lines


def _others(calls: list[Reading], skipped: int) -> list[str]:
    shown = sorted(calls, key=lambda call: -call.elapsed)[:OTHERS]
    lines = [f"  also {title(call)}"[:WIDTH] for call in shown]
    if left := len(calls) - len(shown) + skipped:
        lines.append(f"  and {count(left, 'call')} more")
    return lines


def _chunks(call: Reading) -> str:
    if call.shortest == call.longest:
        return f"{count(call.chunks, 'chunk')} of {count(call.longest, 'task')}"
    return f"{count(call.chunks, 'chunk')} of {call.shortest:,} to {count(call.longest, 'task')}"

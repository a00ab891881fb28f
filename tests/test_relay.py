"""What tasks print, log and warn in other processes reaches the caller, as if the loop had run."""

import asyncio
import contextlib
import io
import logging
import os
import re
import sys
import warnings
from functools import partial

import chatter
import pytest
import work
from conftest import outputs_of

from parmap import Pool, aio, parallel_config, pcall, pimap, pmap, pstarmap, shutdown
from parmap._observers import relay
from parmap._records.work import Batch, Chunk, Report
from parmap._records.written import CUT, LIMIT, LOG, OUT, record, records

OWN = {"executor": "processes", "workers": 2}


def outcome(call, capsys):
    """Return what *call* writes to stdout and stderr."""
    capsys.readouterr()
    call()
    return capsys.readouterr()


# Text


def test_what_tasks_print_is_what_the_loop_prints(abroad, capsys):
    """Both streams have the text of all tasks, in the order of the tasks, whatever the chunks."""
    looped = outcome(lambda: list(map(chatter.both, range(12))), capsys)

    for chunksize in (1, 5, "auto"):
        call = partial(pmap, chatter.both, range(12), chunksize=chunksize, **abroad.options)
        assert outcome(call, capsys) == looped


@pytest.mark.parametrize(
    "door",
    [
        lambda: list(pimap(chatter.both, range(9), chunksize=1, **OWN)),
        lambda: pstarmap(chatter.both, [(x,) for x in range(9)], chunksize=1, **OWN),
        lambda: pcall([(chatter.both, (x,), {}) for x in range(9)], chunksize=1, **OWN),
        lambda: pmap(chatter.both, range(9), relay=True, retries=2, timeout=60, **OWN),
    ],
)
def test_all_ordered_doors_keep_the_order(door, capsys):
    """`pimap`, `pstarmap` and `pcall` write in the order of the tasks as `pmap` does."""
    looped = outcome(lambda: list(map(chatter.both, range(9))), capsys)
    assert outcome(door, capsys) == looped


@pytest.mark.parametrize(
    "how",
    [
        lambda: list(pimap(chatter.both, range(9), ordered=False, chunksize=1, **OWN)),
        lambda: pmap(chatter.both, range(9), relay="at_once", chunksize=1, **OWN),
    ],
)
def test_without_order_nothing_is_lost_or_doubled(how, capsys):
    """Where results come as they are there, so do the lines: each of them once."""
    looped = outcome(lambda: list(map(chatter.both, range(9))), capsys)
    found = outcome(how, capsys)
    for stream, expected in zip(found, looped, strict=True):
        assert sorted(stream.splitlines()) == sorted(expected.splitlines())


def test_a_pool_writes_before_it_gives_the_result(capsys):
    """When the result of a task of a `Pool` is there, so is what the task has printed."""
    with Pool(**OWN) as pool:
        pool.submit(chatter.both, 1).result()
        assert capsys.readouterr().err == "err 1\n"
        pool.map(chatter.both, range(4))
        assert sorted(capsys.readouterr().err.splitlines()) == [f"err {x}" for x in range(4)]


def test_awaited_maps_relay_too(capsys):
    """`aio.pmap` writes in the order of the tasks, `aio.pimap` without order as results come."""

    async def stream():
        return [x async for x in aio.pimap(chatter.both, range(9), ordered=False, **OWN)]

    looped = outcome(lambda: list(map(chatter.both, range(9))), capsys)
    assert outcome(lambda: asyncio.run(aio.pmap(chatter.both, range(9), **OWN)), capsys) == looped
    found = outcome(lambda: asyncio.run(stream()), capsys)
    assert [sorted(text) for text in found] == [sorted(text) for text in looped]


def test_a_line_that_is_not_complete_arrives(abroad, capsys):
    """Text without a line's end is written, in order, and nothing is added to it."""
    out, err = outcome(
        partial(pmap, chatter.partial_line, range(9), chunksize=2, **abroad.options), capsys
    )
    assert (out, err) == ("0,1,2,3,4,5,6,7,8,", "")


def test_at_once_is_while_the_task_runs(tmp_path, monkeypatch):
    """With relay="at_once" a line is there before its task has ended."""
    seen = []

    class Eye(io.StringIO):
        def write(self, text):
            seen.append(text)
            for x in re.findall(r"seen (\d)", text):
                (tmp_path / f"seen {x}").touch()
            return len(text)

    monkeypatch.setattr(sys, "stdout", Eye())
    assert pmap(partial(chatter.print_then_wait, tmp_path), range(3), relay="at_once", **OWN) == [
        0,
        1,
        2,
    ]
    lines = "".join(seen).splitlines()
    assert sorted(lines) == [f"{word} {x}" for word in ("done", "seen") for x in range(3)]


def test_a_redirected_stream_gets_it(abroad_cheaply):
    """`contextlib.redirect_stdout` around the call catches what tasks print."""
    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):
        pmap(chatter.partial_line, range(3), **abroad_cheaply.options)
    assert caught.getvalue() == "0,1,2,"


def test_relay_can_be_turned_off(script):
    """With relay=False it goes to the worker's own stdout, past what the caller redirects."""
    done = script(
        "import contextlib, io\nfrom parmap import pmap\n"
        "for relay in (True, False):\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as caught:\n"
        "        pmap(lambda x: print('task', x), [1], executor='processes', relay=relay)\n"
        "    print(repr(caught.getvalue()), flush=True)\n"
    )
    assert sorted(done.stdout.splitlines()) == sorted([r"'task 1\n'", "task 1", "''"])


def test_what_c_code_writes_goes_to_the_descriptor(script):
    """Descriptors 1 and 2 of a worker are the caller's: what writes there is not caught."""
    done = script(
        "import contextlib, io, os, subprocess, sys\nfrom parmap import pmap\n"
        "def task(x):\n"
        "    os.write(1, b'descriptor\\n')\n"
        "    subprocess.run(['echo', 'child'], stdout=sys.stdout, check=True)\n"
        "with contextlib.redirect_stdout(io.StringIO()) as caught:\n"
        "    pmap(task, [1], executor='processes')\n"
        "assert caught.getvalue() == ''\n"
    )
    assert done.stdout == "descriptor\nchild\n"


def test_the_streams_of_a_task_behave(capsys):
    """They have the descriptors 1 and 2, are writable text streams, and can be asked anything."""
    (found,) = pmap(chatter.properties, [0], **OWN)
    assert found == ((1, 2), False, "utf-8", True, False, False, 1, "<stdout>", 4)
    assert capsys.readouterr().out == "four"


def test_isatty_is_that_of_the_callers_stream(monkeypatch):
    """A task that colours its text for a terminal does so if the caller's stream is one."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    (found,) = pmap(chatter.properties, [0], **OWN)
    assert found[1]


def test_bytes_arrive_as_they_are(abroad_cheaply, monkeypatch):
    """What a task writes to `sys.stdout.buffer` is in the caller's buffer, be it no text."""
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    pmap(chatter.raw, range(2), **abroad_cheaply.options)
    assert stream.buffer.getvalue() == b"\xff\x00" * 2


def test_text_that_the_callers_stream_cannot_write(monkeypatch):
    """It is written with escapes, and fails neither the task nor the call."""
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert pmap(chatter.surrogate, [7], **OWN) == [7]
    stream.flush()
    assert stream.buffer.getvalue() == b"a\\udc80b \\u0436\n"


def test_without_streams_nothing_is_written(monkeypatch):
    """A program without stdout and stderr maps as any other."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert pmap(chatter.both, range(3), **OWN) == [0, 1, 2]


def test_a_task_may_redirect_its_own_output(abroad_cheaply, capsys):
    """What a task catches itself is caught, and not relayed."""
    found = pmap(chatter.redirected, range(3), **abroad_cheaply.options)
    assert found == [f"mine {x}\n" for x in range(3)]
    assert capsys.readouterr().out == "".join(f"yours {x}\n" for x in range(3))


def test_maps_in_tasks_relay_through(capsys):
    """What a task's own map prints arrives where the caller's does."""
    looped = outcome(lambda: list(map(chatter.both, range(2))), capsys)
    assert outcome(partial(pmap, chatter.nested, range(2), **OWN), capsys) == looped


def test_a_forked_child_writes_for_itself(capsys):
    """What a child of a task prints goes to the descriptor, and doubles nothing."""
    assert pmap(chatter.forks, range(3), chunksize=3, **OWN) == [0, 1, 2]
    assert capsys.readouterr().out == "".join(f"parent {x}\n" for x in range(3))


def test_what_an_initializer_prints_arrives(abroad_cheaply, capsys):
    """It comes once for each worker that was initialized."""
    word = f"{abroad_cheaply.name} {os.getpid()}"
    initializer = partial(chatter.announce, word)
    pmap(work.double, range(20), initializer=initializer, chunksize=1, **abroad_cheaply.options)
    assert capsys.readouterr().out in (f"initialized {word}\n", f"initialized {word}\n" * 2)


def test_a_lent_pool_is_left_as_it_was(places, monkeypatch, caplog):
    """Streams and levels of workers that are not ours are, after a call, what they were before."""
    pool = places("a ProcessPoolExecutor").options["executor"]
    before = {pool.submit(chatter.stream_type).result() for _ in range(8)}
    caplog.set_level(logging.DEBUG, "chatter")
    assert {found[0] for found in pmap(chatter.stream_type, range(8), executor=pool)} == {
        "parmap._workers.capture"
    }
    assert {pool.submit(chatter.stream_type).result() for _ in range(8)} == before


# What is bounded


def test_a_flood_is_cut_and_that_is_said(abroad_cheaply, capsys):
    """Of a task no more than the limit arrives, with a line that says how much is missing."""
    size = 3 * LIMIT
    pmap(partial(chatter.flood, size), [0, 1], chunksize=1, **abroad_cheaply.options)
    out, err = capsys.readouterr()
    assert 2 * (LIMIT - 100) < len(out) <= 2 * LIMIT
    whole = size // 100 * 100 + len("the end of 0\n")
    said = re.findall(r"parmap: task (\d) wrote ([\d,]+) bytes more", err)
    assert [task for task, _ in said] == ["0", "1"]
    assert len(out) + sum(int(cut.replace(",", "")) for _, cut in said) == 2 * whole


def test_a_line_may_be_cut_within_a_character(capsys):
    """One line that is too long is cut, and the rest of it is text."""
    pmap(partial(chatter.one_line, LIMIT), [0], **OWN)
    out, err = capsys.readouterr()
    assert set(out) == {"é"}
    assert "bytes more" in err


def test_what_waits_for_its_turn_is_bounded(monkeypatch, capsys):
    """When too much would have to wait for an earlier task, it is written before that."""
    monkeypatch.setattr(relay, "HELD", 100)
    here = relay.Relay(at_once=False, ordered=True)

    def report(index, text):
        row = record(OUT, text)
        here.reported(Report(Chunk(index, [None]), [None], written={index: row}))
        here.done(Batch(index, [None]))

    report(1, b"one\n")
    assert capsys.readouterr().out == ""
    report(2, b"2" * 100)
    assert capsys.readouterr().out == "one\n" + "2" * 100
    report(0, b"zero\n")
    assert capsys.readouterr().out == "zero\n"


def test_a_row_may_end_anywhere():
    """Of a row that was cut off all whole records are read, and of text what there is."""
    row = record(OUT, b"text") + record(OUT, b" more") + record(LOG, b"pickle") + record(CUT, b"3")
    assert list(records(row)) == [(OUT, b"text more"), (LOG, b"pickle"), (CUT, b"3")]
    for end in range(len(row)):
        found = list(records(row[:end]))
        text = b"".join(data for kind, data in found if kind == OUT)
        assert b"text more".startswith(text)
        assert {data for kind, data in found if kind == LOG} <= {b"pickle"}


# Crashes


def test_what_a_task_printed_before_it_died_arrives(processes_only, capsys):
    """The last line of a task that kills its worker is there; those of the others are once."""
    crash = partial(chatter.crash_after_printing, 3)
    results = pmap(crash, range(8), on_error="return", chunksize=4, **processes_only.options)
    assert [result.kind for result in results if not isinstance(result, int)] == ["crash"]
    out, err = capsys.readouterr()
    lines = [f"{word} {x}\n" for x in range(8) for word in ("begin", "end")]
    lines[lines.index("end 3\n")] = "last words 3"
    assert out == "".join(lines)
    assert err == "the streams are flushed 3\n"


@pytest.mark.parametrize("relay", [True, "at_once"])
def test_attempts_print_each(relay, capsys):
    """A task that dies in each attempt has its lines there once for each."""
    crash = partial(chatter.crash_after_printing, 0)
    pmap(crash, [0], on_error="return", retries=2, relay=relay, **OWN)
    assert capsys.readouterr().out == "begin 0\nlast words 0" * 3


def test_what_a_hanging_task_prints_arrives(capsys):
    """A task that prints until its timeout has its first lines there, and where it hung is said."""
    hang = partial(chatter.print_for_ever, 1)
    _, failure, _ = pmap(hang, range(3), on_error="return", timeout=1, **OWN)
    assert failure.kind == "timeout"
    assert "in print_for_ever" in failure.traceback
    out, _ = capsys.readouterr()
    assert out.startswith("begin 0\nbegin 1\nand on 1\nand on 1\n")
    assert "begin 2\n" in out


def test_what_an_initializer_printed_before_it_died(capsys):
    """It arrives, beside the error that the call raises."""
    with pytest.raises(RuntimeError, match="was initialized"):
        pmap(work.double, [1], initializer=chatter.announce_and_die, **OWN)
    assert "initialized and dead\n" in capsys.readouterr().out


def test_a_call_that_raises_shows_what_its_task_printed(abroad_cheaply, capsys):
    """When a failure ends the call, the lines of the failed task are there."""

    def bad(x):
        print("before", x)
        raise ValueError(x)

    with pytest.raises(ValueError, match="0"):
        pmap(bad, [0], **abroad_cheaply.options)
    assert capsys.readouterr().out == "before 0\n"


# Logging


def logged(caplog):
    return [
        (r.name, r.levelname, r.getMessage(), getattr(r, "colour", None)) for r in caplog.records
    ]


def test_records_reach_the_callers_handlers(abroad, caplog):
    """Loggers have the caller's levels, root's and their own; records are what the loop's are."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.ERROR, "chatter.quiet")
    caplog.set_level(logging.DEBUG, "elsewhere")
    list(map(chatter.log, range(4)))
    looped = logged(caplog)
    assert len(looped) == 4 * 5
    caplog.clear()

    pmap(chatter.log, range(4), chunksize=1, **abroad.options)

    assert logged(caplog) == looped
    assert [record.taskIndex for record in caplog.records] == sorted([0, 1, 2, 3] * 5)
    assert {record.funcName for record in caplog.records} == {"log"}


def test_levels_follow_the_caller_from_call_to_call(caplog):
    """What the caller changes between two calls holds in the second, in warm workers, too."""
    for level, expected in ((logging.DEBUG, 9), (logging.CRITICAL, 0), (logging.WARNING, 3)):
        caplog.set_level(level)
        caplog.clear()
        pmap(chatter.log, [0], executor="processes", workers=1)
        assert len(caplog.records) == expected
    logging.disable(logging.WARNING)
    try:
        caplog.clear()
        pmap(chatter.log, [0], executor="processes", workers=1)
        assert not caplog.records
    finally:
        logging.disable(logging.NOTSET)


def test_an_exception_is_logged_with_its_traceback(abroad_cheaply, caplog):
    """`logger.exception` in a task shows where it was raised."""
    pmap(chatter.log_error, [5], **abroad_cheaply.options)
    assert "failed on 5" in caplog.text
    assert "ValueError: no 5" in caplog.text
    assert "in log_error" in caplog.text


def test_a_record_that_cannot_be_formatted(capsys):
    """It fails nothing; what logging says of that comes through stderr."""
    assert pmap(chatter.log_badly, [1], **OWN) == [1]
    assert "--- Logging error ---" in capsys.readouterr().err


@pytest.mark.parametrize("executor", ["processes", "multiprocessing", "futures", "joblib"])
def test_basic_config_in_the_caller_is_enough(script, executor):
    """A script that calls `logging.basicConfig` sees what its tasks log, with the task's index."""
    done = script(
        "import logging\nfrom parmap import pmap\n"
        "logging.basicConfig(level='INFO', format='%(taskIndex)s %(levelname)s %(message)s')\n"
        "def task(x):\n"
        "    logging.info('at %s', x)\n"
        "    logging.debug('not this')\n"
        f"pmap(task, range(3), executor={executor!r}, workers=2)\n"
    )
    assert done.stderr == "".join(f"{x} INFO at {x}\n" for x in range(3))


def test_without_any_handler_warnings_are_shown(script):
    """Where the caller has set up nothing, a task's warning reaches stderr, its infos do not."""
    done = script(
        "from parmap import pmap\n"
        "def task(x):\n"
        "    import logging\n"
        "    logging.getLogger('a').warning('careful %s', x)\n"
        "    logging.getLogger('a').info('not this')\n"
        "pmap(task, range(3), executor='processes', workers=2)\n"
    )
    assert done.stderr == "".join(f"careful {x}\n" for x in range(3))


def test_handlers_of_the_worker_serve_too(tmp_path, caplog):
    """A file that a worker has opened for its log is written, beside the caller's handlers."""
    path = tmp_path / "log"
    caplog.set_level(logging.INFO)
    pmap(
        chatter.log,
        range(2),
        initializer=partial(chatter.log_to, path),
        executor="multiprocessing",
        workers=1,
    )
    written = path.read_text("utf-8").split("\n")
    assert [line for line in written if "info" in line] == ["info 0", "info 0", "info 1", "info 1"]
    assert sum("info" in message for message in caplog.messages) == 6


@pytest.mark.parametrize("configured", [True, False])
def test_no_record_is_shown_twice(script, configured):
    """Be a handler in the worker, or in the caller as well: a record is one line."""
    done = script(
        "import logging\nfrom parmap import pmap\n"
        "def setup():\n"
        "    logging.basicConfig(level='INFO', format='line %(message)s')\n"
        f"if {configured}:\n"
        "    setup()\n"
        "pmap(logging.info, range(3), executor='processes', workers=1, initializer=setup)\n"
    )
    assert done.stderr == "".join(f"line {x}\n" for x in range(3))


def test_who_watches_logging_in_a_worker_is_not_in_the_way(caplog):
    """A library that wraps what logging and warnings do there goes on to do so, in any call."""
    one = {"executor": "processes", "workers": 1}
    caplog.set_level(logging.INFO)
    shutdown()
    try:
        pmap(chatter.log, [0], **one)
        for relay in (True, False, True):
            assert pmap(chatter.wrap, [0], relay=relay, **one) == [0]
            assert pmap(chatter.log, [0], relay=relay, **one) == [0]
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                assert pmap(chatter.warn, [0], relay=relay, **one) == [0]
    finally:
        shutdown()
    assert sum("never mind" in message for message in caplog.messages) == 2
    assert caplog.messages.count("info 0") == 9


# Warnings


def warned(found):
    return [(str(w.message), w.category, w.filename, w.lineno) for w in found]


@pytest.mark.parametrize("action", ["always", "default", "once", "ignore"])
def test_warnings_meet_the_callers_filters(abroad, action):
    """What is shown of the warnings of all tasks is what the loop shows, call after call."""

    def shown(call):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter(action)
            call()
        return warned(found)

    looped = shown(lambda: list(map(chatter.warn, range(4))))
    for _ in range(2):
        call = partial(pmap, chatter.warn, range(4), chunksize=1, **abroad.options)
        assert shown(call) == looped


def test_pytest_catches_the_warnings_of_tasks(abroad_cheaply, recwarn):
    """`recwarn` and `pytest.warns` see them as if they had been issued here."""
    with pytest.warns(UserWarning, match="never mind"):
        pmap(chatter.warn, [1], **abroad_cheaply.options)


def test_a_filter_by_module_holds(abroad_cheaply):
    """A filter for the module that warns is met, and one for another is not."""
    for module, expected in (("chatter", []), ("chatters", ["never mind"])):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", module=f"{module}$")
            pmap(chatter.warn, [1], **abroad_cheaply.options)
        assert [str(w.message) for w in found] == expected


def test_no_warning_ends_a_call(abroad_cheaply):
    """Where warnings are errors, one is the failure of its task, or is shown; the call goes on."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("error")
        results = pmap(chatter.warn, range(3), on_error="return", **abroad_cheaply.options)
    if abroad_cheaply.name == "processes":  # whose workers have the caller's filters
        assert [type(result.exception) for result in results] == [UserWarning] * 3
        assert not shown
    else:
        assert results == [0, 1, 2]
        assert shown


def test_a_warning_of_a_class_of_the_script(script):
    """A category that only the script has arrives as that, with the script's line."""
    done = script(
        "import warnings\nfrom parmap import pmap\n"
        "class Careful(UserWarning): pass\n"
        "def task(x):\n"
        "    warnings.warn('now', Careful)\n"
        "with warnings.catch_warnings(record=True) as found:\n"
        "    warnings.simplefilter('always')\n"
        "    pmap(task, range(2), executor='processes', workers=2)\n"
        "print([(w.category is Careful, w.lineno) for w in found])\n"
    )
    assert done.stdout == "[(True, 5), (True, 5)]\n"
    assert done.stderr == ""


# Bars and notebooks


def screen(text):
    """Return the lines that a terminal shows of *text*."""
    lines = []
    for line in text.split("\n"):
        cells = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


@pytest.mark.parametrize("options", [{"progress": {"disable": False}}, {}])
def test_a_bar_is_not_broken(options, capsys):
    """The lines of tasks stand above the bar, each whole, be it ours or a bar of the caller's."""
    tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed")
    results = pimap(chatter.both, range(30), chunksize=1, **options, **OWN)
    if not options:
        results = tqdm.tqdm(results, total=30, mininterval=0)
    assert list(results) == list(range(30))
    lines = screen(capsys.readouterr().err)
    assert [line for line in lines if line.startswith("err")] == [f"err {x}" for x in range(30)]
    assert sum("30/30" in line for line in lines) == 1
    assert all(line.startswith("err") or "/30" in line or not line for line in lines)


def test_under_a_bar_a_line_is_completed(capsys):
    """Text without a line's end is not overwritten by the bar."""
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    pmap(chatter.partial_line, range(3), chunksize=3, progress={"disable": False}, **OWN)
    assert capsys.readouterr().out.replace("\n", "") == "0,1,2,"


def test_a_notebook_shows_it_in_the_cell(tmp_path):
    """In a notebook the output of the cell has what its tasks print, in their order."""
    cell = (
        "import sys, warnings\nfrom parmap import pmap\n"
        "def task(x):\n"
        "    print('task', x)\n"
        "    warnings.warn('careful', DeprecationWarning)\n"
        "pmap(task, range(4), executor='processes', workers=2);\n"
    )
    shown = {}
    for output in outputs_of(cell):
        shown[output.name] = shown.get(output.name, "") + output.text
    assert shown["stdout"] == "".join(f"task {x}\n" for x in range(4))
    assert shown["stderr"].count("DeprecationWarning: careful") == 1


# The option


@pytest.mark.parametrize("value", ["ordered", None, 2, "True"])
def test_relay_is_true_false_or_at_once(value):
    """Any other value is a ValueError that names the three."""
    with pytest.raises(ValueError, match="relay must be True, False, or 'at_once'"):
        pmap(work.double, [1], relay=value)


def test_relay_is_an_option_like_the_others(capsys):
    """It can be set for a block, and is named where other libraries call it otherwise."""
    with parallel_config(relay=False, **OWN):
        pmap(chatter.both, [1])
    assert capsys.readouterr() == ("", "")
    with pytest.raises(TypeError, match="relay=True"):
        pmap(chatter.both, [1], log_to_driver=True)


@pytest.mark.parametrize("name", ["serial", "threads", "an Executor of one's own"])
def test_in_this_process_nothing_is_relayed(name, places, capsys):
    """Tasks in the caller's process write to its streams themselves."""
    pmap(chatter.both, range(3), **places(name).options)
    assert sorted(capsys.readouterr().err.splitlines()) == ["err 0", "err 1", "err 2"]


def test_an_answer_without_output_has_no_part_for_it(monkeypatch):
    """Where nothing is written, a message is what it would be without a relay."""
    headers = []
    receive = relay.Relay.reported

    def look(self, report):
        headers.append(report.written)
        receive(self, report)

    monkeypatch.setattr(relay.Relay, "reported", look)
    pmap(work.double, range(40), chunksize=10, **OWN)
    assert headers
    assert set(headers) == {None}

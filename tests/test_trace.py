"""A trace: what happened in the calls of a block, why, and the pictures of it."""

import asyncio
import html.parser
import json
import os
import re
import threading
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from functools import partial
from time import perf_counter

import pytest
import work
from scripted import Scripted
from test_house import HOUSE

from parmap import Pool, WorkerCrashed, aio, parallel, pcall, pimap, pmap, pstarmap, trace
from parmap._engine.chunking import Sizes
from parmap._engine.clocked import Clocked
from parmap._engine.results import collect
from parmap._engine.scheduler import Run
from parmap._engine.source import Source
from parmap._observers import details
from parmap._observers.details import Room
from parmap._observers.dispatch import Observers
from parmap._observers.timeline import Timeline
from parmap._records.work import Call, Loss, Report, Timing
from parmap._views.figures import Figures, Reading, figures
from parmap._views.report import LINES, WIDTH, report
from parmap._views.verdict import verdict
from parmap._workers.tasks import GRAIN


def only(t):
    """Return the figures of the one call that was traced."""
    (call,) = t.calls
    return call


# Every door, every executor


def test_a_trace_knows_every_task(where, tmp_path):
    """On every executor the tasks are counted and timed, and the slowest is known by its input."""

    def task(x):
        return sum(range(300_000 if x == 17 else 10))

    with trace() as t:
        values = pmap(task, range(40), **where.options)

    assert values == list(map(task, range(40)))
    call = only(t)
    assert (call.tasks, call.failed, call.total) == (40, 0, 40)
    assert call.name == "task"
    assert call.where
    assert call.why
    assert call.seconds > 0
    assert call.elapsed > 0
    assert call.chunks >= 1
    took, last, first, text = call.slowest[0]
    assert took <= call.elapsed
    assert first <= last
    assert text == str(last)
    assert bool(call.sent and call.received and call.peaks) == where.abroad
    t.save(tmp_path / "trace.html")
    assert "task: 40 tasks" in str(t)


def test_what_fails_is_seen(where):
    """On every executor failures are counted, and the input of each is known."""
    bad = partial(work.refuse, frozenset({3, 30}))

    with trace() as t:
        pmap(bad, range(40), on_error="return", **where.options)

    assert only(t).failed == 2
    assert "2 tasks failed" in str(t)
    failures = t._calls[0].details.failures
    assert sorted(index for index, *_ in failures) == [3, 30]
    assert all("ValueError" in text for *_, text in failures)


def test_a_call_that_raises_is_seen(where_cheaply):
    """A call that ends with an exception is in the trace, as far as it came."""
    with trace() as t, pytest.raises(ValueError):
        pmap(partial(work.refuse, 5), range(100), **where_cheaply.options)

    assert only(t).tasks <= 100
    assert only(t).is_over
    assert "refuse" in str(t)


def test_a_call_that_is_refused_is_seen():
    """A call that raises before its first task is in the trace, with what it raised."""
    with trace() as t, pytest.raises(Exception, match="lock"):
        pmap(partial(print, threading.Lock()), [1, 2], executor="processes")

    assert "Nothing ran" in str(t)
    assert "lock" in str(t)


def test_every_door_is_seen():
    """Maps, lazy maps, single calls, pools, decorated functions and awaited maps are traced."""

    @parallel
    def double(x):
        return 2 * x

    async def later(x):
        return x

    async def awaited():
        await aio.pmap(later, range(4))
        return await aio.pmap(abs, range(5), executor="threads")

    with trace() as t:
        pmap(abs, range(1))
        pstarmap(pow, [(1, 2)] * 2)
        list(pimap(abs, range(3), executor="threads"))
        asyncio.run(awaited())
        double.map(range(6))
        pcall([(abs, (1,), {})] * 7)
        pmap(later, range(8))
        with Pool(2, executor="threads") as pool:
            pool.map(abs, range(9))
            pool.submit(abs, 1).result()

    counts = [call.tasks for call in t.calls]
    assert sorted(counts) == [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert {call.name for call in t.calls} >= {"abs", "pow", "tasks"}


def test_a_lazy_map_that_is_left_is_over():
    """A lazy map that was closed has ended, with the tasks that were done."""
    with trace() as t, closing(pimap(abs, range(1000), executor="threads")) as results:
        next(results)

    assert only(t).is_over
    assert 1 <= only(t).tasks <= 1000


# The block


def test_a_trace_is_of_its_block():
    """Calls before and after the block are not in the trace, nor is what others do meanwhile."""
    pmap(abs, range(3))
    with trace() as t:
        pmap(abs, range(4))
        thread = threading.Thread(target=pmap, args=(abs, range(5)))
        thread.start()
        thread.join()
    pmap(abs, range(6))

    assert [call.tasks for call in t.calls] == [4]


def test_threads_with_the_context_are_seen():
    """Calls of several threads at once are all seen, if these have a copy of the context."""
    with trace() as t, ThreadPoolExecutor(4) as pool:
        calls = [
            pool.submit(copy_context().run, pmap, abs, range(n), executor="threads")
            for n in range(1, 9)
        ]
        for call in calls:
            call.result()

    assert sorted(call.tasks for call in t.calls) == list(range(1, 9))


def test_a_context_that_outlives_the_block_is_not_traced():
    """A copy of the context that is used after the block adds nothing to the trace."""
    with trace() as t:
        context = copy_context()
    context.run(pmap, abs, range(3))

    assert t.calls == []


def test_traces_nest():
    """The outer trace sees what the inner one sees, with the same figures."""
    with trace() as outer:
        pmap(abs, range(3))
        with trace() as inner:
            pmap(abs, range(4))
        pmap(abs, range(5))

    assert [call.tasks for call in outer.calls] == [3, 4, 5]
    assert [call.tasks for call in inner.calls] == [4]
    assert inner.calls[0].elapsed == outer.calls[1].elapsed


def test_a_trace_of_nothing_says_what_would_be_seen():
    """Without calls the report says which would have been seen."""
    with trace() as t:
        pass

    assert "no call" in str(t)
    assert "copy_context" in str(t)
    t._repr_html_()


def test_a_trace_is_of_one_block():
    """A trace cannot be entered twice."""
    with trace() as t:
        pass
    with pytest.raises(RuntimeError, match=r"parmap\.trace\(\)"):
        t.__enter__()


def test_without_a_trace_nothing_of_it_is_loaded(script):
    """A call that is not traced does not load what a trace is made of."""
    done = script(
        "import sys\nfrom parmap import pmap\n"
        "for executor in ('auto', 'serial', 'threads', 'processes'):\n"
        "    pmap(abs, range(9), executor=executor, workers=2)\n"
        "print([n for n in sys.modules if 'timeline' in n or '_views' in n or 'clocked' in n])"
    )

    assert done.stdout == "[]\n"


def test_a_trace_lets_go_of_the_input():
    """What a trace keeps of inputs is text: their objects are free when the call is over."""
    from weakref import ref

    class Item:
        pass

    items = [Item() for _ in range(10)]
    last = ref(items[-1])
    with trace() as t:
        pmap(id, items, executor="serial")
    del items

    assert last() is None
    assert only(t).tasks == 10


# The figures, from a world in which all is known


class Clock:
    """A clock that stands at what it was set to."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def scripted(monkeypatch):
    """Return a function that traces a call of *n* tasks whose reports *answer* makes."""
    clock = Clock()
    for module in ("_observers.timeline", "_observers.dispatch", "_engine.clocked"):
        monkeypatch.setattr(f"parmap.{module}.perf_counter", clock)

    def run(answer, n, size, workers=2, retries=0):
        call, source = Call(str, "item"), Source((range(n),))
        call.watch = timeline = Timeline(call, source, Room())
        executor = Clocked(Scripted(str, answer, workers=workers), timeline)
        run = Run(source, executor, Sizes(size), retries, Observers([timeline]))
        collect(run, "return")
        return timeline

    run.clock = clock
    return run


def told(clock, chunk, worker=7, task=1.0, moving=0.25):
    """Return a report of a worker that had each task for *task* s, and was sent it before."""
    received = clock.now + moving / 2
    began = received + moving / 2
    ends = [began + task * (n + 1) for n in range(len(chunk))]
    packed = ends[-1] + moving
    clock.now = packed
    report = Report(
        chunk, list(map(str, chunk.items)), None, ends[-1] - began, ends[-1] - began, None, began
    )
    report.worker, report.bytes = worker, 50
    marks = list(range(1, len(chunk) + 1))
    report.timing = Timing(3, marks, ends, received, received, packed, 10_000, 100)
    return report


def test_the_figures_are_what_was_told(scripted):
    """Seconds, bytes, memory and chunks of a known course of events are in the figures."""
    call = figures(scripted(lambda chunk: told(scripted.clock, chunk), 10, 5, workers=1))

    assert (call.tasks, call.chunks, call.shortest, call.longest) == (10, 2, 5, 5)
    assert call.seconds == call.cpu == call.loop == pytest.approx(10.0)
    assert call.elapsed == pytest.approx(11.0)
    assert call.moving == pytest.approx(1.0)
    assert call.waiting == pytest.approx(0.0)
    assert call.gain == pytest.approx(10 / 11)
    assert (call.sent, call.received, call.peaks) == (200, 100, {7: 10_000})
    assert [took for took, *_ in call.slowest] == pytest.approx([1.0] * 5)


def test_the_report_shows_the_figures(scripted):
    """The report has the numbers of a known course of events, on one screen."""
    text = report([scripted(lambda chunk: told(scripted.clock, chunk), 10, 5, workers=1)])

    assert "str: 10 tasks in 11.0 s, 0.91 times as fast as the loop (10.0 s)" in text
    assert "2 chunks of 5 tasks" in text
    assert "tasks 91 %, moving data 9.1 %" in text
    assert "200 bytes to the workers, 100 bytes back" in text
    assert "10.0 kB in a worker" in text


def test_a_slow_task_is_found_in_its_chunk(scripted):
    """Which task of a chunk was the slowest, and when it ran, is known."""

    def answer(chunk):
        report = told(scripted.clock, chunk)
        if chunk.start == 5:
            report.timing.ends[2:] = [end + 3 for end in report.timing.ends[2:]]
        return report

    took, last, first, text = figures(scripted(answer, 10, 5)).slowest[0]
    assert (took, last, first, text) == (pytest.approx(4.0), 7, 7, "7")


def test_crashes_and_retries_are_counted(scripted):
    """A worker that dies and a task that is tried again are in the figures, and in the report."""
    lost = []

    def answer(chunk):
        if chunk.start == 5 and not lost:
            lost.append(chunk)
            loss = Loss(WorkerCrashed("it died"), "crash", "bisect", 6, worker=7)
            return Report(chunk, [], loss=loss)
        return told(scripted.clock, chunk)

    timeline = scripted(answer, 10, 5, retries=1)
    call = figures(timeline)
    assert (call.tasks, call.failed, call.crashes, call.tries) == (10, 0, 1, 1)
    assert "1 further attempt, 1 crash" in report([timeline])
    assert [loss[0] for loss in timeline.losses] == [6]


def test_what_is_kept_is_bounded(monkeypatch):
    """With more chunks, tasks and failures than there is room for, sums are right all the same."""
    monkeypatch.setattr(details, "BARS", 50)
    monkeypatch.setattr(details, "MARKS", 200)
    monkeypatch.setattr(details, "INPUTS", 60)
    monkeypatch.setattr(details, "EVENTS", 10)

    with trace() as t:
        pmap(
            partial(work.refuse, frozenset(range(0, 900, 3))),
            range(900),
            on_error="return",
            executor="threads",
            workers=2,
            chunksize=3,
        )

    call, kept = only(t), t._calls[0]
    assert (call.tasks, call.failed) == (900, 300)
    assert sum(len(lane.bars) for lane in kept.lanes) <= 50
    assert sum(bar.tasks for lane in kept.lanes for bar in lane.bars) == 900
    assert len(kept.details.ends) <= 200
    assert len(kept.details.failures) <= 10
    assert len(kept.details.inputs) <= 60 + 10
    json.loads(t._repr_html_() and saved(t, "json"))


# Why


def read(**known):
    """Return figures: 100 tasks of 100 ms on two workers of two CPUs, and what is *known*."""
    default = dict.fromkeys(Figures._fields, 0)
    default |= {"name": "f", "where": "processes", "why": "asked for by executor=", "error": ""}
    default |= {"tasks": 100, "total": 100, "workers": 2, "cpus": 2, "lanes": 2, "chunks": 100}
    default |= {"elapsed": 5.0, "seconds": 10.0, "cpu": 10.0, "slowest": [], "peaks": {}}
    default |= {"held": False, "waits": False, "caller": False, "is_over": True, "memory": 16e9}
    default |= known
    default.setdefault("loop", default["seconds"])
    default["loop"] = default["loop"] or default["seconds"]
    return Reading(**default)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, ""),
        ({"seconds": 9.0}, ""),
        ({"tasks": 0}, ""),
        ({"error": "ValueError: no"}, "Nothing ran: ValueError: no"),
        (
            {"elapsed": 50.0, "moving": 90.0, "sent": 100 * 40e6},
            "90 % of the workers' time moved data, 40 MB to each task. .* functools.partial",
        ),
        (
            {"elapsed": 50.0, "moving": 90.0, "received": 100 * 40e6},
            "moved data, 40 MB as the result of each task: return less",
        ),
        ({"elapsed": 10.0, "moving": 9.0, "tasks": 9000}, "went into messages, .* of 1.1 ms"),
        (
            {"seconds": 0.001, "cpu": 0.001, "moving": 2.0, "sent": 100 * 4e7},
            "moved data, 40 MB to each task",
        ),
        ({"elapsed": 10.0, "moving": 9.0}, "tasks of 100 ms: the caller, or the machine, was busy"),
        (
            {"tasks": 1_000_000, "seconds": 3.0, "cpu": 3.0, "elapsed": 9.0, "moving": 4.0},
            "Each task takes 3.0 us, .*: the loop is the right tool",
        ),
        (
            {"caller": True, "where": "serial", "tasks": 1000, "seconds": 0.003, "cpu": 0.003},
            "Each task takes 3.0 us, .*: the loop is the right tool",
        ),
        ({"caller": True, "tasks": 10, "seconds": 0.03}, "All tasks together take 30 ms"),
        ({"caller": True, "cpus": 1}, "one CPU"),
        ({"caller": True, "tasks": 1}, "There is one task"),
        ({"caller": True, "why": "nested in a worker"}, "in a task of another"),
        ({"caller": True, "where": "serial"}, "as it was asked to: executor='auto'"),
        ({"caller": True, "why": "fn cannot be sent"}, "It ran as the loop: fn cannot be sent"),
        (
            {"elapsed": 10.0, "waiting": 10.0, "slowest": [(9.0, 17, 17, "17")]},
            "Task 17 alone took 9.0 s of 10.0 s",
        ),
        ({"workers": 8, "cpus": 8, "tasks": 2, "waiting": 30.0}, "2 tasks cannot keep 8 workers"),
        ({"elapsed": 10.0, "waiting": 10.0, "input": 8.1}, "waited for the input, which took 81 %"),
        ({"elapsed": 10.0, "waiting": 10.0, "submitting": 6.0}, "60 % of the time to pickle"),
        ({"elapsed": 10.0, "waiting": 10.0, "idle": 7.0}, "elsewhere for 70 % of the time"),
        ({"elapsed": 10.0, "waiting": 10.0}, "nothing to do for 50 % of the time"),
        ({"elapsed": 10.0, "starting": 8.0}, "into their start.*happens once"),
        ({"elapsed": 10.0, "loading": 8.0}, "into loading the function and what it imports"),
        ({"held": True, "loop": 5.0, "where": "threads"}, "The threads took turns.*'processes'"),
        ({"cpu": 5.0}, "had a processor for 50 % of their time"),
        ({"cpu": 0.1, "waits": True, "workers": 2}, ""),
        ({"peaks": {1: 7e9, 2: 8e9}}, "15.0 GB of memory together, and this machine has 16.0 GB"),
    ],
)
def test_a_sentence_says_why(known, words):
    """What a call has lost most with is said, and nothing where nothing was lost."""
    sentence = verdict(read(**known))

    assert re.search(words, sentence) if words else sentence == ""


def test_a_map_of_tiny_tasks_is_explained():
    """A call of tasks of a microsecond is told that the loop is the right tool."""
    with trace() as t:
        pmap(abs, range(1000))

    assert "the loop is the right tool" in " ".join(str(t).split())


def test_threads_that_take_turns_are_not_counted_as_a_gain(scripted):
    """Where threads waited for Python's lock, what they waited is no time of the loop's."""

    def answer(chunk):
        began, scripted.clock.now = scripted.clock.now, scripted.clock.now + 1.0
        values = list(map(str, chunk.items))
        report = Report(chunk, values, None, 2.0, 1.0, None, began, os.getpid())
        report.timing = Timing(chunk.start % 2 + 1, [], [])
        return report

    call = figures(scripted(answer, 10, 1))
    if call.held:  # this interpreter has the lock
        assert call.gain == pytest.approx(1.0)
        assert "took turns" in verdict(call)


# The report


@pytest.mark.parametrize("calls", [1, 2, 30])
def test_the_report_is_one_screen(calls):
    """However many calls and however long their inputs, the report has 24 lines of 80 columns."""
    words = ["x" * 300 + str(n) for n in range(10)]
    with trace() as t:
        for _ in range(calls):
            pmap(partial(work.refuse, words[3]), words, on_error="return", executor="threads")

    lines = str(t).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    assert repr(t) == str(t)
    assert str(t).isascii()


def test_more_calls_than_are_kept_are_counted(monkeypatch):
    """Of calls beyond the limit the number is known."""
    monkeypatch.setattr("parmap.tracing.CALLS", 5)
    with trace() as t:
        for n in range(8):
            pmap(abs, range(n + 1))

    assert len(t.calls) == 5
    assert "8 calls" in str(t)


# The pictures


def saved(t, suffix, folder=None):
    """Return the text of the file that *t* is saved as."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        path = os.path.join(place, f"trace.{suffix}")
        t.save(path)
        with open(path, encoding="utf-8") as file:
            return file.read()


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A trace of calls in processes, threads and the caller, with failures, retries and a crash."""
    folder = tmp_path_factory.mktemp("trace")

    def task(x):
        tried = folder / str(x)
        if x == 60 and not tried.exists():
            tried.touch()
            os._exit(3)
        return work.refuse(30, x)

    with trace() as t:
        pmap(task, range(100), executor="processes", workers=2, retries=1, on_error="return")
        pmap(str, ["</script><b>&", "]]>"], executor="threads")
        pmap(abs, range(3), executor="serial")
    return t


class Page(html.parser.HTMLParser):
    """What stands in a page: its tags, their attributes, and the texts of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.scripts, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "data", "srcset")]
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


def test_the_page_stands_alone(busy):
    """The page is well-formed, has nothing from elsewhere in it, and its data are there."""
    text = saved(busy, "html")
    page = Page(text)

    assert not page.links
    assert page.open == []
    assert page.tags.count("script") == 2
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp|import\(|//[a-z]+\.[a-z]", text)
    data = json.loads(page.scripts[0])
    assert [call["name"] for call in data["calls"]] == ["task", "str", "abs"]
    shown = sum(bar[2] for row in data["rows"] for bar in row["bars"] if bar[0] == 0)
    assert shown >= 100
    assert {event["kind"] for event in data["events"]} == {"failure", "crash"}
    assert data["rows"][0]["name"] == "caller"
    assert sum(row["kind"] == "process" for row in data["rows"]) >= 2
    assert data["calls"][1]["inputs"]["0"] == repr("</script><b>&")


def test_the_page_is_small_for_many_tasks():
    """A hundred thousand tasks make a page of less than 3 MB that shows all of them."""
    with trace() as t:
        pmap(abs, range(100_000), executor="processes", workers=2)

    text = saved(t, "html")
    data = json.loads(Page(text).scripts[0])
    assert len(text) < 3_000_000
    assert sum(bar[2] for row in data["rows"] for bar in row["bars"]) == 100_000


def test_each_task_is_in_the_picture():
    """Where tasks take longer than what is timed together, each has its own end in the picture."""

    def task(x):
        end = perf_counter() + 2 * GRAIN
        while perf_counter() < end:
            pass

    with trace() as t:
        pmap(task, range(50), executor="processes", chunksize=10, workers=2)

    data = json.loads(Page(saved(t, "html")).scripts[0])
    for row in data["rows"]:
        for bar in row["bars"]:
            tasks, length = bar[2], bar[4]
            if tasks > 1:
                assert len(bar[12]) == tasks
                assert abs(sum(bar[12]) - length) <= 2


def test_a_notebook_shows_the_page(busy):
    """The cell holds the page in a frame of its own, and the report for who shows none."""
    cell = busy._repr_html_()
    page = Page(cell)

    assert page.tags[0] == "iframe"
    assert "<pre>" in cell
    frame = {}

    class Frame(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            frame.update(attrs if tag == "iframe" else {})

    Frame().feed(cell)
    assert frame["srcdoc"].startswith("<!doctype html>")
    assert len(json.loads(Page(frame["srcdoc"]).scripts[0])["calls"]) == 3


def test_the_trace_events_have_what_the_format_asks_for(busy):
    """Each event has the keys that its phase requires, and none ends before it begins."""
    data = json.loads(saved(busy, "json"))

    assert data["displayTimeUnit"] in ("ms", "ns")
    seen = set()
    for event in data["traceEvents"]:
        seen.add(event["ph"])
        assert {"name", "ph", "ts", "pid", "tid"} <= set(event)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
        elif event["ph"] == "i":
            assert event["s"] in ("g", "p", "t")
        else:
            assert event["ph"] == "M"
            assert event["name"] in ("thread_name", "thread_sort_index")
    assert seen == {"X", "i", "M"}
    kinds = {event.get("cat") for event in data["traceEvents"]}
    assert {"chunk", "task", "moving", "call"} <= kinds


def test_the_svg_is_a_picture(busy):
    """The SVG is well-formed, refers to nothing, and has a row for each worker and the report."""
    text = saved(busy, "svg")
    root = ET.fromstring(text)

    assert root.tag.endswith("svg")
    assert "href" not in text
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sum(text.startswith("worker ") for text in texts) >= 2
    assert "failure, timeout or crash" in texts
    assert "prefers-color-scheme: dark" in text


def test_the_png_is_a_picture(busy, tmp_path):
    """With Matplotlib a PNG is written."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")

    busy.save(tmp_path / "trace.PNG")

    assert (tmp_path / "trace.PNG").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_names_the_cure(busy, tmp_path, monkeypatch):
    """Without Matplotlib the error says what to install, and what needs nothing."""

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)

    with pytest.raises(ImportError, match=r"pip install matplotlib.*\.svg or \.html"):
        busy.save(tmp_path / "trace.png")
    assert not (tmp_path / "trace.png").exists()


@pytest.mark.parametrize("name", ["trace.pdf", "trace", "html"])
def test_another_suffix_is_an_error(busy, name, tmp_path):
    """A suffix that nobody knows is a ValueError with those that there are."""
    with pytest.raises(ValueError, match=r"\.html, \.svg, \.png, \.json"):
        busy.save(tmp_path / name)


def test_pictures_of_nothing_can_be_saved(tmp_path):
    """A trace without calls is saved as any other."""
    with trace() as t:
        pass

    for suffix in ("html", "svg", "json"):
        t.save(tmp_path / f"trace.{suffix}")
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"] is not None
    assert Page((tmp_path / "trace.html").read_text()).open == []


def test_a_page_needs_files_that_are_shipped():
    """The page's own files lie in the package, and are no longer than any other."""
    for name in ("page.html", "page.js"):
        lines = (HOUSE / "_views" / name).read_text("utf-8").splitlines()
        assert len(lines) <= 350

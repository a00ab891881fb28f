"""Errors that teach: what was meant, where it failed, and what to write instead."""

import asyncio
import copy
import errno
import functools
import gc
import pickle
import pprint
import re
import weakref
from functools import partial
from unittest.mock import MagicMock, Mock

import pytest
import work
from conftest import ABROAD, COSTLY

from parmap import Failure, delayed, parallel, parallel_config, pcall, pimap, pmap, pstarmap
from parmap._records.callables import advise
from parmap._records.portable_exceptions import portable


def add(x, y):
    return x + y


def power(base, exponent=2):
    return base**exponent


def deep(*args):
    return add(args)


# Options that mean something else


MEANT = {
    "workers=4": (
        "n_jobs processes max_workers nprocs num_cpus ncpus n_cpus num_workers n_workers nodes "
        "jobs threads cores num_processes nproc N_JOBS max_worker num_worker"
    ),
    "chunksize": "chunk_size chunk_sise chunksise chunk batch_size batchsize",
    "buffersize=4": "buffer_size buffersize prefetch pre_dispatch",
    "initializer=partial": "initargs initializer_args",
    "partial(fn": "args kwargs kwds fn_kwargs",
    "progress={'total': 4}": "total length iterable_len",
    "progress=4": "desc description",
    "progress=True": "verbose pbar show_progress progress_bar tqdm",
    "ordered=False": "ordered unordered keep_order return_as",
    "executor": "backend prefer mode mp_context excutor",
    "max_tasks_per_worker=4": "maxtasksperchild max_tasks_per_child",
    "on_error='return'": "return_exceptions error_callback",
    "retries": "max_retries n_retries retry",
    "timeout": "task_timeout time_out Timeout",
}


@pytest.mark.parametrize(
    ("name", "cure"), [(name, cure) for cure, names in MEANT.items() for name in names.split()]
)
def test_an_option_of_another_library_names_ours(name, cure):
    """What people type who come from elsewhere is a TypeError that says what it is called here."""
    for call in (
        lambda: pmap(work.double, [1], **{name: 4}),
        lambda: parallel(**{name: 4}),
        lambda: parallel_config(**{name: 4}),
    ):
        with pytest.raises(TypeError) as caught:
            call()

        assert re.search(rf"no option '{name}'; .*{re.escape(cure)}", str(caught.value))


@pytest.mark.parametrize(("name", "value"), [("threads", True), ("processes", False)])
def test_yes_or_no_is_no_number_of_workers(name, value):
    """`threads=True` asks for an executor, not for one worker."""
    with pytest.raises(TypeError, match="executor") as caught:
        pmap(work.double, [1], **{name: value})

    assert "workers=" not in str(caught.value)


class Model:
    def predict(self, x, temperature=1.0):
        return x

    def __call__(self, x, beam=1):
        return x


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (power, "exponent"),
        (partial(partial(power)), "exponent"),
        (round, "ndigits"),
        (sorted, "reverse"),
        (Model().predict, "temperature"),
        (Model(), "beam"),
        (lambda x, *, plus: x, "plus"),
        (work.triple, "plus"),
        (functools.wraps(power)(lambda *args, **kwargs: None), "exponent"),
    ],
)
def test_an_option_that_is_a_parameter_of_the_function_is_bound(fn, name):
    """An unknown option that the function takes is a TypeError which says to use partial."""
    for call in (
        lambda: pmap(fn, [1], **{name: 3}),
        lambda: pstarmap(fn, [(1,)], **{name: 3}),
        lambda: pimap(fn, [1], **{name: 3}),
    ):
        with pytest.raises(TypeError, match=re.escape(f"functools.partial: partial(fn, {name}=3)")):
            call()


def test_a_parameter_with_the_name_of_another_librarys_option_is_told_both():
    """`n_jobs=` for a function that has it, too, may mean either."""
    with pytest.raises(TypeError, match=r"workers=3.*partial\(fn, n_jobs=3\)"):
        pmap(lambda x, n_jobs=1: x, [1], n_jobs=3)


def test_a_positional_only_parameter_cannot_be_bound():
    """What cannot be given by name is not said to be."""
    with pytest.raises(TypeError) as caught:
        pmap(lambda x, zzz, /: x, [1], zzz=3)

    assert "partial" not in str(caught.value)


def test_a_number_by_position_may_be_the_workers_or_the_chunksize():
    """`pmap(f, xs, 4)` names both options that it may mean."""
    for call in (
        lambda: pmap(work.double, [1], 4),
        lambda: pimap(work.double, [1], 4),
        lambda: work.triple.map([1], 4),
    ):
        with pytest.raises(TypeError, match=r"workers=4.*chunksize=4"):
            call()


class Rude:
    """Its attributes, its repr and its comparison raise what nobody expects."""

    def __getattr__(self, name):
        raise KeyError(name)

    def __repr__(self):
        raise KeyError("no repr")

    def __eq__(self, other):
        raise KeyError("no comparison")

    __hash__ = None


class RudeCall(Rude):
    def __call__(self, x):
        return -x


@pytest.mark.parametrize("value", [Rude(), Mock()], ids=["rude", "mock"])
@pytest.mark.parametrize(
    "name", ["workers", "chunksize", "retries", "timeout", "max_tasks_per_worker", "progress"]
)
def test_an_object_that_is_no_option_is_refused_by_name(name, value):
    """Whatever the attributes of a value do, the error is about the option."""
    with pytest.raises(TypeError, match=name):
        pmap(work.double, [1], **{name: value})


@pytest.mark.parametrize("name", ["executor", "on_error", "initializer", "zzz"])
def test_an_object_that_compares_to_nothing_is_refused_by_name(name):
    """Nothing of a value is asked that may raise an error of its own."""
    with pytest.raises((TypeError, ValueError), match=name):
        pmap(work.double, [1], **{name: Rude()})
    with pytest.raises((TypeError, ValueError)):
        pmap(Rude(), [1])
    with pytest.raises(TypeError, match="argument 2"):
        pmap(work.double, Rude())
    with pytest.raises(TypeError, match="delayed"):
        pcall([Rude()], executor="serial")


# A callable is opaque


ASKED: list[str] = []


class Invents:
    """It has any attribute that it is asked for, and says so."""

    def __getattr__(self, name):
        ASKED.append(name)
        return Invents()

    def __call__(self, x):
        return -x


@pytest.mark.parametrize(
    "fn",
    [Invents(), RudeCall(), Mock(side_effect=work.double), MagicMock(return_value=5)],
    ids=["invents", "rude", "mock", "magic mock"],
)
def test_a_decorated_object_is_opaque(fn):
    """`parallel` works on whatever can be called, and asks it for no attribute."""
    ASKED.clear()

    decorated = parallel(fn)

    expected = [fn(1), fn(2)]
    assert decorated.map([1, 2], executor="serial") == expected
    assert decorated.map([1, 2], executor="threads") == expected
    assert decorated(1) == expected[0]
    assert vars(type("C", (), {"f": decorated}))["f"].__get__(None, Invents) is decorated
    assert not ASKED


def test_a_decorated_object_crosses(abroad):
    """An object with attributes of its own invention travels under the decorator."""
    assert parallel(RudeCall()).map([1, 2], **abroad.options) == [-1, -2]


def test_a_function_attribute_does_not_disturb_the_decorator():
    """What a function holds under a name that the decorator uses is no option of it."""

    def fn(x):
        return x

    fn._options = {"executor": "nowhere"}

    assert parallel(fn).map([1, 2]) == [1, 2]


# Functions that are to be awaited


async def fetch(x):
    return x


async def fetch_all(x):
    yield x


class Client:
    async def get(self, x):
        return x

    @staticmethod
    async def static(x):
        return x

    @classmethod
    async def of_class(cls, x):
        return x

    async def __call__(self, x):
        return x


AWAITED = {
    "function": fetch,
    "lambda": partial(fetch),
    "method": Client().get,
    "partial of a method": partial(Client().get),
    "static method": Client.static,
    "class method": Client.of_class,
    "instance": Client(),
}


@pytest.mark.parametrize("fn", AWAITED.values(), ids=AWAITED)
def test_a_function_to_be_awaited_is_run_by_every_door(fn):
    """What gives coroutines is run to its end, whatever kind of callable it is."""
    assert pmap(fn, [1]) == [1]
    assert pstarmap(fn, [(1,)]) == [1]
    assert list(pimap(fn, [1])) == [1]
    assert pcall([(fn, (1,), {})]) == [1]
    assert pcall([delayed(fn)(1)]) == [1]
    assert parallel(fn).map([1]) == [1]


@pytest.mark.parametrize("fn", AWAITED.values(), ids=AWAITED)
def test_a_function_to_be_awaited_is_refused_as_an_option(fn):
    """Nobody would await what an initializer, or on_error, gives."""
    for option in ("initializer", "on_error"):
        with pytest.raises((TypeError, ValueError), match="to be awaited"):
            pmap(abs, [1], **{option: fn})


@pytest.mark.parametrize("fn", [fetch_all, partial(partial(fetch_all, x=1))])
def test_an_async_generator_function_is_refused_at_the_door(fn):
    """It would give generators that nobody runs: the error names the cure."""
    for call in (
        lambda: pmap(fn, [1]),
        lambda: pstarmap(fn, [(1,)]),
        lambda: pimap(fn, [1]),
        lambda: pcall([(fn, (1,), {})]),
        lambda: pcall(iter([(fn, (1,), {})])),
        lambda: delayed(fn),
        lambda: parallel(fn),
        lambda: parallel(executor="serial")(fn),
    ):
        with pytest.raises(TypeError, match=r"async def collect"):
            call()


def test_a_function_that_runs_a_coroutine_is_a_function():
    """The cure works, and a plain function is not mistaken for one that is to be awaited."""

    @functools.wraps(fetch)
    def run(x):
        return asyncio.run(fetch(x))

    assert pmap(run, [1, 2], executor="threads") == [1, 2]
    assert pmap(lambda x: asyncio.run(fetch(x)), [1, 2]) == [1, 2]


def generate(x):
    yield x


@pytest.mark.parametrize("name", [name for name in ABROAD if name not in COSTLY])
def test_a_generator_as_result_names_its_cause(places, name):
    """A generator cannot leave its process: the failure says to return a list."""
    (failure,) = pmap(generate, [1], on_error="return", **places(name).options)
    (inner,) = pmap(lambda x: {"all": generate(x)}, [1], on_error="return", **places(name).options)

    assert failure.kind == inner.kind == "unpicklable"
    assert "of type generator" in str(failure.exception)
    assert "return a list" in str(failure.exception)
    assert "return a list" in str(inner.exception)


def test_a_coroutine_as_result_names_its_cause(processes_only):
    """A function that passes a coroutine on is only known by its result."""
    (failure,) = pmap(
        lambda x: generate_coroutine(), [1], on_error="return", **processes_only.options
    )

    assert "asyncio.run" in str(failure.exception)


def generate_coroutine():
    return _held.setdefault(0, fetch(1))


_held: dict = {}


# One item, several arguments


class Sum:
    def plus(self, x, y):
        return x + y


def notes(error):
    return " ".join(getattr(error, "__notes__", []))


@pytest.mark.parametrize("fn", [add, partial(add), pow, lambda a, b: a, Sum().plus])
def test_a_tuple_for_several_arguments_names_pstarmap(where_cheaply, fn):
    """The TypeError of a call with a tuple, where its items would fit, names pstarmap."""
    items = [(2, 3), [4, 5]]

    with pytest.raises(TypeError) as caught:
        pmap(fn, items, **where_cheaply.options)

    assert "pstarmap" in notes(caught.value)
    assert len(pstarmap(fn, items, **where_cheaply.options)) == 2


@pytest.mark.parametrize(
    ("fn", "item"),
    [
        (deep, (1, 2)),  # raised by the task
        (add, 3),
        (add, (1, 2, 3)),
        (add, "ab"),
        (len, (1, 2)),
        (abs, (1,)),  # fits as it is
        (lambda *args: abs("x"), (1, 2)),
        (Mock(side_effect=TypeError), (1, 2)),
    ],
)
@pytest.mark.parametrize("name", ["serial", "threads"])
def test_no_other_error_names_pstarmap(places, name, fn, item):
    """A TypeError of the task itself, or of a call that unpacking would not mend, has no advice."""
    results = pmap(fn, [item], on_error="return", executor=name)

    if isinstance(results[0], Failure):
        assert "pstarmap" not in notes(results[0].exception)


class Unsigned:
    __signature__ = "none"

    def __call__(self, a, b):
        return a


def test_advice_never_fails():
    """Whatever the signature or the input is, the error stays what it was."""
    for fn in (Rude(), Invents(), None, Unsigned(), int, type):
        for items in ([(1, 2)], [], Rude()):
            error = TypeError("of the call")
            advise(fn, "item", items, 0, error)
            assert error.args == ("of the call",)
    error = TypeError()
    advise(add, "item", [(1, 2)], 0, error)
    assert "pstarmap" in notes(error)
    for shape, other in (("args", TypeError()), ("item", ValueError())):
        advise(add, shape, [(1, 2)], 0, other)
        assert not notes(other)


# Exceptions that travel whole


class DiskError(OSError):
    """Built from other arguments than OSError is."""

    def __init__(self, path):
        super().__init__(errno.ENOSPC, "disk full", path)
        self.path = path


class MoveError(OSError):
    def __init__(self, *, source, target):
        super().__init__(errno.EXDEV, "cross-device", source, None, target)


class Coded(OSError):
    def __init__(self, text):
        super().__init__(text)
        self.errno = errno.EPERM
        self.filename = "there"


class Prefixed(Exception):
    def __init__(self, text):
        super().__init__(f"prefix: {text}")


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code):
        super().__init__()
        self.code = code


class BadSyntax(SyntaxError):
    def __init__(self, line, /, *, name):
        super().__init__("bad", (name, line, 1, "text"))


class Leave(SystemExit):
    def __init__(self, *, status):
        super().__init__(status)


class NewError(OSError):
    def __new__(cls, path):
        return super().__new__(cls, errno.ENOENT, "gone", path)

    def __init__(self, path):
        self.where = path


WHOLE = {
    "DiskError": (lambda: DiskError("/a"), "errno strerror filename path args"),
    "MoveError": (
        lambda: MoveError(source="/a", target="/b"),
        "errno strerror filename filename2 args",
    ),
    "Coded": (lambda: Coded("text"), "errno filename args"),
    "Prefixed": (lambda: Prefixed("text"), "args"),
    "Slotted": (lambda: Slotted(7), "code args"),
    "BadSyntax": (lambda: BadSyntax(3, name="f.py"), "filename lineno offset msg"),
    "Leave": (lambda: Leave(status=3), "code"),
    "NewError": (lambda: NewError("/a"), "errno filename where"),
    "FileNotFoundError": (lambda: FileNotFoundError(2, "no", "/x"), "errno strerror filename"),
    "AttributeError": (lambda: AttributeError("no", name="x", obj=work.Adder(1)), "name args"),
    "ImportError": (lambda: ImportError("no", name="m", path="/p"), "name path msg"),
}


def throw(name):
    raise WHOLE[name][0]()


@pytest.mark.parametrize("name", WHOLE)
def test_an_exception_keeps_what_its_base_keeps(abroad, name):
    """`errno`, `filename`, `code` and slots come along, whatever the class's constructor wants."""
    original, attributes = WHOLE[name][0](), WHOLE[name][1].split()

    (failure,) = pmap(throw, [name], on_error="return", **abroad.options)

    again = pickle.loads(pickle.dumps(failure))
    for error in (failure.exception, again.exception):
        assert type(error) is type(original)
        assert str(error) == str(original)
        for attribute in attributes:
            assert getattr(error, attribute) == getattr(original, attribute)


def chained(x):
    try:
        try:
            raise DiskError("/a")
        except DiskError as first:
            raise Prefixed("second") from first
    except Prefixed:
        raise KeyError("third")  # noqa: B904 - its context


def from_none(x):
    try:
        raise ValueError("hidden")
    except ValueError:
        raise KeyError("shown") from None


def circular(x):
    first, second = ValueError("first"), KeyError("second")
    first.__cause__ = second
    second.__cause__ = first
    raise first


def long_chain(x):
    error = None
    for n in range(50):
        new = ValueError(n)
        new.__cause__ = error
        error = new
    raise error


def group(x):
    try:
        raise Prefixed("inner")
    except Prefixed as inner:
        member = ValueError("member")
        member.__cause__ = inner
    raise ExceptionGroup("two", [member, ExceptionGroup("deeper", [DiskError("/a"), member])])


def chain_of(error):
    found = [error]
    while True:
        last = found[-1]
        following = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if following is None or len(found) > 60:
            return found
        found.append(following)


def names(error):
    return [type(link).__name__ for link in chain_of(error)]


def test_a_chain_of_causes_crosses(abroad):
    """What a task raised `from`, or while handling, something keeps it, and the worker's text."""
    for n in (1, 2):
        with pytest.raises(KeyError) as caught:
            pmap(chained, [n], **abroad.options)

        assert names(caught.value) == ["KeyError", "Prefixed", "DiskError", "RemoteTraceback"]
        second = caught.value.__context__
        assert caught.value.__cause__ is None
        assert second.args == ("prefix: second",)
        assert (second.__cause__.errno, second.__cause__.filename) == (errno.ENOSPC, "/a")
        assert "in chained" in str(chain_of(caught.value)[-1])


def test_a_hidden_context_stays_hidden(abroad):
    """`raise ... from None` shows nothing of what it hides, and has it nevertheless."""
    with pytest.raises(KeyError) as caught:
        pmap(from_none, [1], **abroad.options)

    assert names(caught.value) == ["KeyError", "RemoteTraceback"]
    assert caught.value.__suppress_context__
    assert caught.value.__context__.args == ("hidden",)


@pytest.mark.parametrize("name", ["processes", "a ProcessPoolExecutor", "joblib"])
def test_a_chain_may_be_long_or_a_circle(places, name):
    """A chain without an end ends, and so does one that is too long to be of use."""
    with pytest.raises(ValueError, match="first") as caught:
        pmap(circular, [1], **places(name).options)
    assert names(caught.value) == ["ValueError", "KeyError", "RemoteTraceback"]

    with pytest.raises(ValueError, match="49") as caught:
        pmap(long_chain, [1], **places(name).options)
    assert names(caught.value) == ["ValueError"] * 20 + ["RemoteTraceback"]


def test_members_of_a_group_keep_their_causes(abroad_cheaply):
    """Each exception in a group comes with its own cause."""
    (failure,) = pmap(group, [1], on_error="return", **abroad_cheaply.options)

    for error in (failure.exception, pickle.loads(pickle.dumps(failure)).exception):
        first, inner = error.exceptions
        assert type(first.__cause__) is Prefixed
        assert inner.exceptions[0].errno == errno.ENOSPC
        assert type(inner.exceptions[1]) is ValueError


def test_the_workers_text_stands_once(abroad_cheaply):
    """Raised again, pickled and raised, and retried: there is one RemoteTraceback, at the end."""
    (failure,) = pmap(chained, [1], retries=1, on_error="return", **abroad_cheaply.options)
    assert names(failure.exception) == ["KeyError", "Prefixed", "DiskError"]
    for again in (failure, failure, pickle.loads(pickle.dumps(failure)), copy.copy(failure)):
        with pytest.raises(KeyError) as caught:
            again.unwrap()
        assert names(caught.value) == ["KeyError", "Prefixed", "DiskError", "RemoteTraceback"]
        assert names(pickle.loads(pickle.dumps(again)).exception) == names(caught.value)
        assert len(caught.value.__notes__) == 1


def relay(x):
    return pmap(chained, [x], executor="processes", workers=1)


def test_a_chain_crosses_two_borders(processes_only):
    """An error out of a map in a task ends in one text, which has the other in it."""
    with pytest.raises(KeyError) as caught:
        pmap(relay, [1], **processes_only.options)

    assert names(caught.value) == ["KeyError", "Prefixed", "DiskError", "RemoteTraceback"]
    assert "in relay" in str(chain_of(caught.value)[-1])
    assert "in chained" in str(chain_of(caught.value)[-1])


def break_down():
    chained(0)


def test_the_initializers_error_keeps_its_cause(places):
    """What an initializer raises in a worker comes with its chain, too."""
    for name in ("processes", "a ProcessPoolExecutor"):
        with pytest.raises(KeyError) as caught:
            pmap(work.double, [1], initializer=break_down, **places(name).options)

        assert names(caught.value) == ["KeyError", "Prefixed", "DiskError", "RemoteTraceback"]
        assert "in break_down" in str(chain_of(caught.value)[-1])


class Falsy(Exception):
    def __bool__(self):
        raise RuntimeError("neither")

    @property
    def __cause__(self):
        raise RuntimeError("no cause")


def test_a_chain_is_not_asked_of_the_class(processes_only):
    """What a class says of its cause or of its truth is not asked for."""
    (failure,) = pmap(raise_falsy, [1], on_error="return", **processes_only.options)

    assert type(failure.exception) is Falsy
    with pytest.raises(Falsy):
        failure.unwrap()


def raise_falsy(x):
    try:
        raise Falsy("first")
    except Falsy as first:
        raise Falsy("second") from first


def test_what_survives_is_the_error_itself():
    """An exception that pickle gets right is not replaced."""
    for error in (ValueError(1), KeyError("x"), ExceptionGroup("g", [ValueError(2)])):
        assert portable(error, pickle.dumps, pickle.loads) is error


# A Failure on the screen


def test_a_failure_is_a_few_readable_lines(where):
    """It shows index, input, exception, where that was raised, kind, attempts, seconds, worker."""
    _, failure = pmap(partial(work.refuse, 7), [1, 7], on_error="return", **where.options)

    lines = repr(failure).splitlines()
    assert len(lines) == 4
    assert lines[0] == "<Failure of task 1, input: 7"
    assert lines[1] == "  ValueError: no 7"
    assert re.fullmatch(r'  File ".*work\.py", line \d+, in refuse', lines[2])
    assert re.fullmatch(r"  kind error, attempt 1, \S+ s, pid \d+>", lines[3])
    assert str(failure) == repr(failure)
    assert "Traceback" in failure.traceback


def test_a_failure_shows_the_place_of_its_own_exception(processes_only):
    """Of a chain and of a group it is where the exception itself was raised."""
    one, two = (
        pmap(fn, [1], on_error="return", **processes_only.options)[0] for fn in (chained, group)
    )

    assert "in chained" in repr(one).splitlines()[2]
    assert "in group" in repr(two).splitlines()[2]


def test_a_failure_of_a_crash_shows_where_it_stood(processes_only):
    """What has no traceback of Python's shows what is known."""
    results = pmap(crash, ["abort", "exit"], on_error="return", **processes_only.options)

    aborted, ended = map(repr, results)
    assert "WorkerCrashed: " in aborted
    assert "in crash" in aborted
    assert "kind crash" in aborted
    assert len(ended.splitlines()) == 3


def crash(how):
    import os

    if how == "abort":
        os.abort()
    os._exit(3)


class Loud(Exception):
    def __str__(self):
        return "loud\n" * 1_000_000


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("mute")


def raise_one_of(name):
    raise {"loud": Loud, "mute": Mute}[name]


@pytest.mark.parametrize("name", ["loud", "mute"])
def test_what_a_failure_shows_is_bounded(where_cheaply, name):
    """However long the text of an exception is, or whatever it raises, the lines stay few."""
    (failure,) = pmap(raise_one_of, [name], on_error="return", **where_cheaply.options)

    assert len(repr(failure).splitlines()) == 4
    assert len(repr(failure)) < 2000
    assert len(repr(Failure(1, "x" * 10_000, failure.exception, "", "error", 1, 0.0, 0))) < 2000


def test_a_list_of_failures_is_readable():
    """In a list, as pprint and IPython print it, each Failure has lines of its own."""
    results = pmap(partial(work.refuse, {1, 3}), range(4), on_error="return", executor="serial")

    for text in (repr(results), pprint.pformat(results)):
        assert text.count("<Failure of task") == 2
        assert text.count("\n") >= 6


def test_a_notebook_shows_a_list_of_failures():
    """IPython's formatter breaks the list and indents the lines of each Failure."""
    pytest.importorskip("IPython", reason="IPython is not installed")
    from IPython.core.formatters import PlainTextFormatter

    results = pmap(partial(work.refuse, {1, 3}), range(4), on_error="return", executor="serial")

    lines = PlainTextFormatter()(results).splitlines()
    assert [line[:18] for line in lines if "Failure of" in line] == [" <Failure of task "] * 2
    assert lines[0] == "[0,"
    assert lines[2].strip() == "ValueError: no 1"
    assert len(lines) == 10


SHOWN = """
from parmap import pmap
def invert(x):
    return 1 / x
FAILING
"""


@pytest.mark.parametrize("executor", ["serial", "processes"])
@pytest.mark.parametrize(
    "failing",
    [
        "pmap(invert, [1, 0], executor='{}')",
        "pmap(invert, [1, 0], executor='{}', on_error='return')[1].unwrap()",
    ],
)
def test_ipython_can_show_the_arguments_of_every_frame(script, executor, failing):
    """In a verbose traceback no frame of ours has lost its arguments."""
    pytest.importorskip("IPython", reason="IPython is not installed")
    source = "%xmode Verbose\n" + SHOWN.replace("FAILING", failing.format(executor))
    wrapped = f"get_ipython().run_cell({source!r})"

    done = script(wrapped, "ipython")

    assert "ZeroDivisionError" in done.stdout
    assert ("in pmap(" in done.stdout) == ("unwrap" not in failing)
    assert "failed resolving" not in done.stdout


def test_unwrap_leaves_no_cycle(processes_only):
    """A Failure that was raised, and what it holds, goes with its last name."""
    results = pmap(raise_held, [1], on_error="return", **processes_only.options)
    gone = weakref.ref(results[0].exception)
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            with pytest.raises(Prefixed) as caught:
                results[0].unwrap()
            del caught
        results.clear()
        assert gone() is None
    finally:
        gc.enable()


def raise_held(x):
    raise Prefixed("held") from KeyError("cause")

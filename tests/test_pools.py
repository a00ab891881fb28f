"""The executors of other libraries: what is theirs stays theirs, whatever their releases do."""

import sys
import textwrap
import threading

import pytest
import work

from parmap.machine import imported

# Modules in the middle of their import

SLOW_MODULE = """
    import threading
    early = 1
    began.set()
    assert go_on.wait(30)
    {end}
    late = 2
"""


@pytest.fixture
def slow_import(tmp_path, monkeypatch):
    """Return a function that lets a thread stop in the middle of an import that ends with *end*."""
    began, go_on = threading.Event(), threading.Event()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("builtins.began", began, raising=False)
    monkeypatch.setattr("builtins.go_on", go_on, raising=False)
    threads = []

    def start(name, end="pass"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(SLOW_MODULE).format(end=end))

        def load():
            try:
                __import__(name)
            except ZeroDivisionError:
                pass

        threads.append(threading.Thread(target=load))
        threads[-1].start()
        assert began.wait(30)
        return go_on

    yield start
    go_on.set()
    for thread in threads:
        thread.join()


def asked_in_a_thread(name):
    """Ask for the module *name* in a thread until it waits; return it, and the list for answers."""
    answer = []
    thread = threading.Thread(target=lambda: answer.append(imported(name)))
    thread.start()
    work.wait_until(lambda: answer or "importlib" in where_is(thread), "a thread to ask or answer")
    return thread, answer


def where_is(thread):
    """Return the file whose code *thread* is running."""
    frame = sys._current_frames().get(thread.ident)
    return frame.f_code.co_filename if frame else ""


def test_a_module_is_not_looked_up_half_made(slow_import):
    """Who asks for a module that another thread is importing gets it when it is whole."""
    go_on = slow_import("slow_and_whole")
    thread, answer = asked_in_a_thread("slow_and_whole")

    assert not answer
    go_on.set()
    thread.join()
    assert answer[0].late == 2


def test_a_module_whose_import_fails_is_not_there(slow_import):
    """Who asks for a module whose import then fails in the other thread gets None."""
    go_on = slow_import("slow_and_broken", "1 / 0")
    thread, answer = asked_in_a_thread("slow_and_broken")
    go_on.set()
    thread.join()

    assert answer == [None]


def test_nothing_is_imported_to_look(tmp_path, monkeypatch):
    """A module that the program has not imported, or has forbidden, is None and stays out."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "never_asked_for.py").write_text("")
    monkeypatch.setitem(sys.modules, "forbidden_here", None)

    assert imported("never_asked_for") is None
    assert imported("forbidden_here") is None
    assert "never_asked_for" not in sys.modules
    assert imported("sys") is sys


def test_in_the_middle_of_its_own_import_a_module_is_as_far_as_it_is(tmp_path, monkeypatch):
    """A module that asks for itself while it is imported waits for nobody."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "asks_for_itself.py").write_text(
        "from parmap.machine import imported\nme = imported(__name__)\nlate = 1\n"
    )

    module = __import__("asks_for_itself")

    assert module.me is module

"""What holds over thousands of calls."""

import json

import alone
from alone import script
from conftest import needs_proc

pytestmark = needs_proc

MANY = """\
import json, os, pathlib, resource, threading
import faulty
from parmap import Failure, pmap, warm
def task(x):
    if x == "die":
        os._exit(3)
    if x == "raise":
        raise ValueError(x)
    return x
def measure():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "memory": pages * resource.getpagesize(),
    }
seen = {}
for n in range(1, 2001):
    items = [n, n + 1, n + 2, n + 3]
    if n % 200 == 0:
        items[2] = "die"
    elif n % 50 == 0:
        items[2] = "raise"
    results = pmap(task, items, executor="processes", workers=2, on_error="return")
    kinds = {"die": "crash", "raise": "error"}
    expected = [kinds.get(item, item) for item in items]
    assert [r.kind if isinstance(r, Failure) else r for r in results] == expected, n
    if n in (500, 2000):
        warm(2)  # as many workers each time, also after a crash
        seen[n] = measure()
print(json.dumps(seen))
"""


def test_two_thousand_calls_leave_no_trace(tmp_path):
    """Descriptors and threads are as many after 2,000 calls as after 500, memory grows no more."""
    end = alone.run(tmp_path, script(tmp_path, MANY)).check()

    early, late = json.loads(end.stdout).values()
    assert late["descriptors"] == early["descriptors"]
    assert late["threads"] == early["threads"]
    assert late["memory"] - early["memory"] < 4 << 20


RECYCLED = """\
import collections, os
from parmap import pmap
pids = pmap(lambda _: os.getpid(), range(40), workers=2, max_tasks_per_worker=3, **OPTIONS)
print(max(collections.Counter(pids).values()), len(set(pids)) >= 14)
"""


def test_a_worker_is_replaced_after_its_last_task(tmp_path):
    """With max_tasks_per_worker=3 no worker runs more than three tasks, and many take turns."""
    source = script(tmp_path, RECYCLED, OPTIONS={"executor": "processes"})

    assert alone.run(tmp_path, source).check().stdout == "3 True\n"


EDITED = """\
import importlib, os, pathlib, sys
from parmap import pmap
pathlib.Path("modules").mkdir()
sys.path.insert(0, os.path.abspath("modules"))
file = pathlib.Path("modules/edited.py")
file.write_text("def f(x): return x")
import edited
for n in range(20):
    file.write_text(f"def f(x): return x + {10 ** n}")
    importlib.reload(edited)
    found = pmap(edited.f, range(4), **OPTIONS)
    assert found == [x + 10 ** n for x in range(4)], (n, found)
"""


def test_an_edited_module_counts(tmp_path):
    """After a module was edited and reloaded in the caller, the next map uses the new one."""
    source = script(tmp_path, EDITED, OPTIONS={"executor": "processes", "workers": 2})

    # bytecode written in the same second as the source would not notice an edit
    alone.run(tmp_path, source, env={"PYTHONDONTWRITEBYTECODE": "1"}).check()

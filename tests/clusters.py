"""Real clusters for the tests, of a few processes on 127.0.0.1, which end with the tests."""

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

PATIENCE = 100.0  # seconds until all of a cluster must have answered
WORKERS = 2


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def program(*words, **options):
    """Run a program in a group of its own until the block ends; nothing of it is left then."""
    process = subprocess.Popen(
        [sys.executable, *words], start_new_session=True, stdout=subprocess.DEVNULL, **options
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(reached, what):
    """Wait until *reached* returns something, and return it."""
    end = time.monotonic() + PATIENCE
    while not (found := reached()):
        if time.monotonic() > end:
            pytest.fail(f"{what} did not come within {PATIENCE} s")
        time.sleep(0.05)
    return found


def dask_worker(address, *options):
    """Run a worker with one thread until the block ends, for the scheduler at *address*."""
    words = ("-m", "dask", "worker", address, "--host", "127.0.0.1", "--no-dashboard")
    return program(*words, "--nthreads", "1", "--death-timeout", "60", *options)


@contextlib.contextmanager
def dask(workers=WORKERS, *options, scheduler_options=()):
    """Yield a client of a scheduler and so many *workers* with these *options* and one thread each.

    `client.scheduler_program` is the process of the scheduler.
    """
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    address = f"tcp://127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:
        # Should the tests be killed, it ends by itself, and the workers with it.
        scheduler = ("-m", "dask", "scheduler", "--no-dashboard", "--no-jupyter")
        scheduler += ("--idle-timeout", "10 minutes")
        place = ("--host", "127.0.0.1", "--port", address[16:])
        running = stack.enter_context(program(*scheduler, *place, *scheduler_options))
        for _ in range(workers):
            stack.enter_context(dask_worker(address, *options))
        client = stack.enter_context(distributed.Client(address, timeout=PATIENCE))
        client.scheduler_program = running
        if workers:
            client.wait_for_workers(workers, timeout=PATIENCE)
        yield client


RAY = (
    *("-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address", "127.0.0.1"),
    *("--object-store-memory", "200000000", "--include-dashboard", "false"),
    *("--disable-usage-stats", "--dashboard-agent-listen-port", "0"),
)
# Ray listens on all addresses, and runs what it is given by whoever has the token.  It reads these
# when it is imported.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}


@contextlib.contextmanager
def ray_head(workers=WORKERS):
    """Run Ray's programs in a folder of their own, for so many *workers*.

    Yields their address, and the process in whose group all of them are.
    """
    pytest.importorskip("ray", reason="Ray is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # sockets: a short path
        head = ("--head", "--port", str(port), "--num-cpus", str(workers), "--temp-dir", folder)
        with program(*RAY, *head, stderr=subprocess.DEVNULL) as process:
            until(Path(folder, "ray_current_cluster").exists, "Ray")  # the last that it writes
            yield f"127.0.0.1:{port}", process


def member(process, name):
    """Return the process of the program *name* in the group of *process*."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            program = (folder / "cmdline").read_text().partition("\0")[0]
            if os.getpgid(int(folder.name)) == process.pid and Path(program).name == name:
                return int(folder.name)
    raise LookupError(name)


@contextlib.contextmanager
def ray(workers=WORKERS):
    """Connect this process to Ray's programs of its own, for so many *workers*; yield Ray."""
    with ray_head(workers) as (address, _):
        ray = importlib.import_module("ray")
        ray.init(address, log_to_driver=False, logging_level="ERROR")
        try:
            yield ray
        finally:
            ray.shutdown()

"""Measurements in processes of their own, and the machine they run on."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from .pages import ROOT


def answer(words: list[str], limit: float, folder: Path = ROOT) -> dict[str, Any]:
    """Return what `python WORDS... FILE`, run in *folder*, writes into FILE as JSON.

    The process is killed, with its children, after *limit* seconds.  If it leaves no answer, the
    reason is the answer: `{"error": ...}`.
    """
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT)]
    with tempfile.TemporaryDirectory() as place:
        written, errors = Path(place, "answer"), Path(place, "errors")
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, *words, str(written)],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
            late = False
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                late = True
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        try:
            return json.loads(written.read_text())
        except (OSError, ValueError):
            if late:
                return {"error": f"> {limit:.0f} s"}
        last = errors.read_text("utf-8", "replace").strip().rpartition("\n")[2]
        last = last.replace(f"{ROOT}{os.sep}", "").replace(f"{sys.prefix}{os.sep}", "")
        return {"error": f"exit code {process.returncode}: {last[-200:]}"}


def machine(cores: int) -> dict[str, Any]:
    """Return what a reader wants to know of this machine."""
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    return {
        "cpu": cpu,
        "cores": cores,
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }

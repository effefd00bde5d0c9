"""Parts in a process of their own: one that crashes, hangs or loses the device costs only itself.

The child is this program with ``--child``: it writes what happens as lines of JSON, and the parent
goes on with a fresh one behind the part that took it down. The child's own prints go to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.engine.parts import Event, Tell

_ROOT = Path(__file__).resolve().parent.parent.parent
_START_S = 240.0
"""A child may take so long to say its first word: imports, and a GPU that is set up."""


def run_apart(
    names: Sequence[str],
    limits: Mapping[str, float],
    options: Sequence[str],
    tell: Tell,
    *,
    until: float | None,
    module: str = "benchmarks.engine",
) -> None:
    """Do parts in children and tell what happens, as ``parts.work`` does.

    Args:
        names: Of the parts, in order.
        limits: Seconds after which a part that gives no sign is killed, by name.
        options: What the children are started with besides.
        tell: Is told every event.
        until: End of the whole run, by the monotonic clock; what has not begun is skipped then.
        module: What the children run.
    """
    left = list(names)
    while left:
        if until is not None and time.monotonic() >= until:
            for name in left:
                tell({"event": "skipped", "part": name, "why": "no time was left for it"})
            return
        at = _one_child(left, limits, options, tell, until, module)
        del left[:at]


def _one_child(
    names: Sequence[str],
    limits: Mapping[str, float],
    options: Sequence[str],
    tell: Tell,
    until: float | None,
    module: str,
) -> int:
    """Run a child until it ends; return how many parts are over, at least one."""
    command = [sys.executable, "-m", module, "--child", *options]
    paths = [str(_ROOT), str(_ROOT / "runtime"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    child = subprocess.Popen(
        [*command, *(word for name in names for word in ("--part", name))],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=_ROOT,
        env=environment,
        start_new_session=True,  # so that what it starts, to compile, ends with it
    )
    told: queue.Queue[Event | None] = queue.Queue()
    threading.Thread(target=_read, args=(child, told), daemon=True).start()
    over, running, began = 0, "", time.monotonic()
    try:
        while True:
            limit = began + (limits[running] if running else _START_S)
            if until is not None:
                limit = min(limit, until)
            try:
                event = told.get(timeout=max(0.0, limit - time.monotonic()))
            except queue.Empty:
                seconds, name = time.monotonic() - began, running or names[over]
                if until is not None and time.monotonic() >= until:
                    why = f"the run's time was over, {seconds:.0f} s into it"
                    tell({"event": "stopped", "part": name, "why": why})
                else:
                    why = f"killed after {seconds:.0f} s" + ("" if running else " before it began")
                    tell(_failed(name, why, seconds))
                return over + 1
            if event is None:
                if over == len(names):
                    return over
                code = child.wait()
                seconds = time.monotonic() - began
                if running or over == 0:
                    why = f"its process ended with {code}"
                    tell(_failed(running or names[over], why, seconds))
                    over += 1
                return over
            tell(event)
            if event["event"] == "begin":
                running, began = str(event["part"]), time.monotonic()
            elif event["event"] != "result":
                over, running, began = over + 1, "", time.monotonic()
    finally:
        _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    """Kill a child and what it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def _read(child: subprocess.Popen[str], told: queue.Queue[Event | None]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        try:
            told.put(json.loads(line))
        except ValueError:
            print(line, end="", file=sys.stderr)  # of a library, and no word of ours
    told.put(None)


def _failed(name: str, why: str, seconds: float) -> Event:
    return {"event": "failed", "part": name, "error": why, "seconds": round(seconds, 1)}

"""Runs a program that a model had a hand in: a fresh process with little to spend and no network.

The process has its own session, an empty environment, a temporary folder and limits on time,
memory, files and processes, and, where the system lets anybody have them, its own network and
process table. That stops accidents and clumsy mischief. It is no wall against an attacker: files
that the user may read or write stay within reach.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dgemma_training.evaluation.items import EvaluationError

_MARK = "reached"

# Sets the limits in the process they are for, so that nothing of the caller runs after a fork.
_START = """
import os, resource, sys
cpu, memory, file, processes = map(int, sys.argv[1:5])
for what, most in (
    (resource.RLIMIT_CPU, cpu),
    (resource.RLIMIT_AS, memory),
    (resource.RLIMIT_FSIZE, file),
    (resource.RLIMIT_NPROC, processes),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(what, (most, most))
os.execv(sys.executable, [sys.executable, "-I", "-S", "-B", sys.argv[5]])
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use; ``processes`` beside its own (the system exempts root from it)."""

    cpu_s: int = 5
    wall_s: float = 10.0
    memory_bytes: int = 512 << 20
    file_bytes: int = 64 << 10
    processes: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended; ``why`` is "passed", "failed" (also by a limit) or "timeout"."""

    passed: bool
    why: str


class Sandbox:
    """Runs Python programs, one at a time.

    Attributes:
        isolated: Whether programs have a network and a process table of their own.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Find out what this system offers.

        Raises:
            EvaluationError: It offers no limits at all.
        """
        if os.name != "posix":
            raise EvaluationError("Programs are run with limits that only POSIX systems have.")
        self._limits = limits or Limits()
        self._launcher = _launcher()
        self.isolated = bool(self._launcher)

    def run(self, program: str) -> Verdict:
        """Run a program; it has passed when it got to its last line without an exception."""
        # What was written before cannot know the word that is asked for at the end.
        word = secrets.token_hex(8)
        folder = Path(tempfile.mkdtemp(prefix="dgemma-run-"))
        try:
            file = folder / "program.py"
            last = f"\nwith open({_MARK!r}, 'w') as _file:\n    _file.write({word!r})\n"
            file.write_text(program + last, encoding="utf-8", errors="replace")
            status = self._wait(folder, file)
            if status is None:
                return Verdict(False, "timeout")
            mark = folder / _MARK
            if status == 0 and mark.is_file() and mark.read_text(errors="replace") == word:
                return Verdict(True, "passed")
            return Verdict(False, "failed")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _wait(self, folder: Path, file: Path) -> int | None:
        limits = self._limits
        numbers = (limits.cpu_s, limits.memory_bytes, limits.file_bytes, limits.processes)
        process = subprocess.Popen(
            [
                *self._launcher,
                *(sys.executable, "-I", "-S", "-B", "-c", _START),
                *map(str, numbers),
                str(file),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        try:
            return process.wait(limits.wall_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # Also after its end: it may have left children behind.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _launcher() -> list[str]:
    """Return the command that gives a program its own network, if this system has one."""
    found = shutil.which("unshare")
    if found is None:
        return []
    launcher = [found, "--user", "--net", "--pid", "--fork", "--kill-child"]
    try:
        tried = subprocess.run(
            [*launcher, sys.executable, "-I", "-S", "-c", ""],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return launcher if tried.returncode == 0 else []

"""The file of the counts: the user's alone, written in one step, shared by several servers.

Every server adds what it counted since it last did, under a lock, so that none loses the counts of
another. A file that cannot be read as counts is begun anew.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import filelock
import platformdirs

from dgemma_lsp.statistics.counts import Days, decode, encode

_LOCK_S = 2.0
"""How long another server is waited for."""

_LARGEST = 8 * 2**20
"""Bytes beyond which a file is none of ours: ninety days of every language are far fewer."""


class CountsFile:
    """A file of counts; all that is done with it may raise ``OSError``."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()

    def add(self, days: Days, today: str) -> None:
        """Add counts to those of the file.

        Raises:
            OSError: The file cannot be written, or another server holds it too long.
        """
        with self._locked():
            kept = self._read()
            kept.add(days)
            kept.forget_before(today)
            self._write(encode(kept))

    def read(self) -> Days:
        """Return the counts; none when there is no file, or a broken one.

        Raises:
            OSError: It cannot be read.
        """
        return self._read()

    def erase(self) -> None:
        """Remove the file.

        Raises:
            OSError: It cannot be removed.
        """
        if self.path.parent.exists():
            with self._locked():
                self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{self.path}.lock", timeout=_LOCK_S, mode=0o600)
        with lock:  # filelock's Timeout is an OSError
            yield

    def _read(self) -> Days:
        try:
            if self.path.stat().st_size > _LARGEST:
                return Days()
            return decode(self.path.read_bytes())
        except FileNotFoundError:
            return Days()
        except ValueError:
            return Days()

    def _write(self, data: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:  # mkstemp's mode is the user's alone
                file.write(data)
            Path(name).replace(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink(missing_ok=True)
            raise


def default_path() -> Path:
    """Return the user's file."""
    return platformdirs.user_state_path("dgemma", appauthor=False) / "statistics.json"

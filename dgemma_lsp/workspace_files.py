"""Reading files of the workspace: bounded, ordinary ones, inside its folders, none that is ignored.

Links are followed only to what may be read itself. Knows no documents.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dgemma_lsp.ignored import is_ignored

MAX_BYTES = 256 * 1024
"""Longer files are made by programs more often than by people."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file does: time of the last change in nanoseconds, and size in bytes."""

    changed_ns: int
    size: int


class WorkspaceFiles:
    """The files of the workspace folders that may be read.

    Args:
        folders: The workspace folders.
        ignore: Globs of files that are never read.
    """

    def __init__(self, folders: Sequence[Path], ignore: Sequence[str]) -> None:
        self._ignore = tuple(ignore)
        # Documents are known by the folder's own name, files by where that leads.
        self.folders: tuple[Path, ...] = tuple(
            each for folder in folders if (place := _resolved(folder)) for each in (folder, place)
        )

    def folder_of(self, path: Path) -> Path | None:
        """Return the innermost workspace folder that holds a path."""
        around = [folder for folder in self.folders if path.is_relative_to(folder)]
        return max(around, key=lambda folder: len(folder.parts), default=None)

    def find(self, path: Path) -> tuple[Path, Stamp] | None:
        """Return where a path leads and its stamp, or ``None`` for one that is not to be read."""
        if not path.is_absolute() or self._is_ignored(path):
            return None
        try:
            if not path.exists():
                return None
            place = path.resolve(strict=True)
            found = place.stat()
        except (OSError, RuntimeError, ValueError):
            return None
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            return None
        if self.folder_of(place) is None or self._is_ignored(place):
            return None
        return place, Stamp(found.st_mtime_ns, found.st_size)

    def read(self, place: Path) -> str | None:
        """Return the text of a place that ``find`` gave; ``None`` where it is no text."""
        # What became a link or a pipe since is not opened, or not waited for.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            with os.fdopen(os.open(place, flags), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return None
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES or b"\0" in data:
                return None
            return data.decode("utf-8-sig")
        except (OSError, ValueError):
            return None

    def listed(self, folder: Path, ending: str, most: int) -> list[Path]:
        """Return files of a folder by the end of their names, in order of name."""
        place = _resolved(folder)
        if place is None or self.folder_of(place) is None:
            return []
        try:
            with os.scandir(place) as entries:
                names = sorted(each.name for each in entries if each.name.endswith(ending))
        except OSError:
            return []
        return [place / name for name in names[:most]]

    def may_show(self, uri: str) -> bool:
        """Whether an open document may be shown to the model."""
        return not is_ignored(uri, self._ignore)

    def _is_ignored(self, path: Path) -> bool:
        try:
            return is_ignored(path.as_uri(), self._ignore)
        except ValueError:
            return True


def _resolved(path: Path) -> Path | None:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None

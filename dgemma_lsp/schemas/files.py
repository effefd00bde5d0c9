"""Reading schema files: bounded, from ordinary files of this machine, out of no other folder tree.

What a schema refers to is read only from the folder of the schema and below. Knows no documents.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import cast
from urllib.parse import urldefrag

from dgemma_lsp.schemas.find import local_path

MAX_BYTES = 4 * 1024 * 1024
MAX_FILES = 50
"""Files that one schema may refer to."""

Stamp = tuple[int, int] | None
"""Time of the last change in nanoseconds, and size in bytes; ``None`` for a file not there."""

Forbidden = Callable[[Path], bool]


class NotASchema(Exception):
    """A file that cannot be used; the text names it and says why."""


def stamp(path: Path) -> Stamp:
    """Return what changes when a file does."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def read(path: Path) -> object:
    """Return what a JSON file says.

    Raises:
        NotASchema: It is not there, no ordinary file, too long, or no JSON.
    """
    try:
        # Opening a pipe would wait for its other end.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotASchema(f"{path} is not an ordinary file.")
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else "not a path"
        raise NotASchema(f"{path} cannot be read ({reason}).") from err
    if len(data) > MAX_BYTES:
        raise NotASchema(f"{path} is longer than {MAX_BYTES // 1024 // 1024} MiB.")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as err:
        where = f" at line {err.lineno}" if isinstance(err, json.JSONDecodeError) else ""
        raise NotASchema(f"{path} is not JSON{where}.") from err


class Neighbours:
    """The files that a schema refers to, read when they are asked for.

    Args:
        schema: The schema's own path; nothing outside its folder is read.
        forbidden: Says of a path that it must not be read.

    Attributes:
        stamps: Every file that was looked at, and its stamp.
    """

    def __init__(self, schema: Path, forbidden: Forbidden) -> None:
        self._folder = schema.resolve().parent
        self._forbidden = forbidden
        self.stamps: dict[Path, Stamp] = {}

    def are_unchanged(self) -> bool:
        """Whether every file is as it was when it was read."""
        return all(stamp(path) == was for path, was in self.stamps.items())

    def retrieve(self, uri: str) -> object:
        """Return the contents of the file that an address names.

        Raises:
            LookupError: It is not one of those that may be read, or is no JSON.
        """
        named = local_path(urldefrag(uri).url)
        if named is None or len(self.stamps) >= MAX_FILES:
            raise LookupError(uri)
        try:
            path = named.resolve()
        except (OSError, RuntimeError, ValueError) as err:
            raise LookupError(uri) from err
        if not path.is_relative_to(self._folder) or self._forbidden(path):
            raise LookupError(uri)
        self.stamps[path] = stamp(path)
        try:
            found = read(path)
        except NotASchema as err:
            raise LookupError(uri) from err
        if not isinstance(found, dict | bool):
            raise LookupError(uri)
        return cast("object", found)

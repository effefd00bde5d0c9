"""Reading source files out of package archives without ever unpacking them.

Members are handed out in memory, so no archive can write anywhere, follow a link or leave anything
behind; what is left to guard against is size. Knows nothing of packages, licences or languages.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

MAX_MEMBERS = 200_000
MAX_MEMBER_BYTES = 2_000_000
"""A wanted member above this is skipped: no source file of use is that long."""
MAX_ARCHIVE_BYTES = 1_500_000_000
"""Bytes an archive may expand to, wanted or not; some wheels carry large libraries."""

ENDINGS = (".whl", ".zip", ".tgz", ".tar.gz")
"""Archives that can be read."""


class ArchiveError(Exception):
    """An archive that is broken, too large or of a kind that is not read."""


def read_members(
    archive: Path, wanted: Callable[[str], bool], *, max_bytes: int = MAX_ARCHIVE_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the regular files that ``wanted`` says yes to.

    Links, devices, and names that are absolute or lead upwards are passed over, as are members
    above ``MAX_MEMBER_BYTES``.

    Raises:
        ArchiveError: It cannot be read, or it expands beyond ``max_bytes`` or ``MAX_MEMBERS``.
    """
    try:
        if archive.name.endswith((".whl", ".zip")):
            yield from _zip_members(archive, wanted, max_bytes)
        elif archive.name.endswith((".tgz", ".tar.gz")):
            yield from _tar_members(archive, wanted, max_bytes)
        else:
            raise ArchiveError(f"{archive.name}: unknown kind of archive")
    except (OSError, EOFError, RuntimeError, zlib.error) as error:
        raise ArchiveError(f"{archive.name}: {error}") from error
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"{archive.name}: {error}") from error


def _zip_members(
    archive: Path, wanted: Callable[[str], bool], max_bytes: int
) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as file:
        entries = file.infolist()
        if len(entries) > MAX_MEMBERS:
            raise ArchiveError(f"{archive.name}: more than {MAX_MEMBERS} members")
        total = 0
        for entry in entries:
            is_link = entry.external_attr >> 28 == 0xA
            if entry.is_dir() or is_link or not is_safe(entry.filename):
                continue
            if not wanted(entry.filename):
                continue
            # The size in the directory is only a claim, so reading stops by itself.
            with file.open(entry) as member:
                data = member.read(MAX_MEMBER_BYTES + 1)
            total += len(data)
            if total > max_bytes:
                raise ArchiveError(f"{archive.name}: expands beyond {max_bytes} bytes")
            if len(data) <= MAX_MEMBER_BYTES:
                yield entry.filename, data


def _tar_members(
    archive: Path, wanted: Callable[[str], bool], max_bytes: int
) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive, "r:gz") as file:
        total = 0
        for count, entry in enumerate(file):
            if count >= MAX_MEMBERS:
                raise ArchiveError(f"{archive.name}: more than {MAX_MEMBERS} members")
            # A tar is one stream: to pass over a member costs its expansion too.
            total += entry.size
            if total > max_bytes:
                raise ArchiveError(f"{archive.name}: expands beyond {max_bytes} bytes")
            if not entry.isreg() or entry.size > MAX_MEMBER_BYTES:
                continue
            if not is_safe(entry.name) or not wanted(entry.name):
                continue
            member = file.extractfile(entry)
            if member is not None:
                yield entry.name, member.read()


def is_safe(name: str) -> bool:
    """Whether a member's name stays below its archive on every system."""
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name)

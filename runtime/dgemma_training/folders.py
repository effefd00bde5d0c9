"""A person's own source files as documents: what version control knows, and no secrets.

Owns which files are read. Knows nothing of training.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from dgemma_lsp.ignored import is_ignored
from dgemma_lsp.settings import Settings
from dgemma_training.collect.clean import decode, judge_path, judge_text, language_of
from dgemma_training.documents import Document, Split
from dgemma_wire.errors import DgemmaError

_MAX_FILES = 20_000
_SKIPPED = frozenset({"node_modules", "venv", "env", "dist", "build", "target", "__pycache__"})


class FolderError(DgemmaError):
    """A folder cannot be learned from; the text says why."""


def read_folder(root: Path) -> list[Document]:
    """Return the source files of a folder, sorted by path.

    In a git work tree those that are tracked or would be, so ``.gitignore`` holds; elsewhere all
    but hidden and installed ones. Files that the settings' default ``ignore`` names (keys, secrets,
    environments) are never read, nor are generated or vendored ones.

    Raises:
        FolderError: It is no folder, or holds no source file that can be used.
    """
    if not root.is_dir():
        raise FolderError(f"{root} is no folder.")
    globs = Settings().ignore
    found = []
    for path in sorted(_files(root))[:_MAX_FILES]:
        relative = path.relative_to(root).as_posix()
        language = language_of(relative)
        if language is None or judge_path(relative) is not None:
            continue
        if is_ignored(path.resolve().as_uri(), globs):
            continue
        try:
            text = decode(path.read_bytes())
        except OSError:
            continue  # gone since it was listed, or not ours to read
        if text is None:
            continue
        text = text.replace("\r\n", "\n")
        if judge_text(text, language) is None:
            found.append(Document(text, language, root.name, "", "own", relative, Split.TRAIN))
    if not found:
        raise FolderError(
            f"{root} holds no source file that can be learned from. Files are used in languages "
            "the model knows, from 400 bytes to 80 kB, hand-written, and not ignored."
        )
    return found


def _files(root: Path) -> Iterator[Path]:
    try:
        listed = subprocess.run(
            [
                "git",
                "-C",
                str(root),
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ],
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        yield from _walk(root)  # no git, or no work tree
        return
    for name in listed.split(b"\0"):
        path = root / os.fsdecode(name)
        # A link may lead out of the folder.
        if name and path.is_file() and not path.is_symlink():
            yield path


def _walk(root: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
        for name in names:
            path = Path(parent) / name
            if not name.startswith(".") and not path.is_symlink():
                yield path

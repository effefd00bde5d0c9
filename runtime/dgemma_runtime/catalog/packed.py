"""Packed weights that are kept on the disk: where they lie, of which checkpoint, and whether whole.

A checkpoint in one form has a folder of its own in the user's cache: safetensors files, and a note
that is written last. Whether they fit the model is for ``models.packed.kept`` to say, which also
writes them. No torch here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import filelock
import msgspec
import platformdirs

from dgemma_runtime.catalog.folders import bytes_in
from dgemma_runtime.models.checkpoint_files import INDEX, read_header
from dgemma_wire.errors import ModelError

PACKED_VARIABLE = "DGEMMA_PACKED_DIR"
VERSION = 1
"""Raised when what packing makes changes, so that what an older release kept is made again."""
NOTE = "dgemma-packed.json"
SCRATCH = ".part-"
_BLOCK = 1 << 20


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the checkpoint as it was when it was packed: bytes, and nanoseconds since 1970."""

    name: str
    size: int
    modified_ns: int


class WrittenTensor(msgspec.Struct, frozen=True, kw_only=True):
    """Where in its file a tensor's bytes are, and their SHA-256."""

    start: int
    size: int
    sha256: str


class PackedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of packed weights; ``size`` in bytes."""

    name: str
    size: int
    tensors: dict[str, WrittenTensor]


class PackedNote(msgspec.Struct, frozen=True, kw_only=True):
    """What packed weights were made of; ``source`` is the checkpoint's folder."""

    version: int
    form: str
    source: str
    source_files: tuple[SourceFile, ...]
    files: tuple[PackedFile, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptForm:
    """Packed weights on the disk."""

    folder: Path
    note: PackedNote

    @property
    def size(self) -> int:
        """Bytes of its files together."""
        return sum(file.size for file in self.note.files)


def packed_directory(cache_dir: Path | None = None) -> Path:
    """Return the folder of all packed weights, present or not.

    Args:
        cache_dir: The cache they are in; without it ``DGEMMA_PACKED_DIR`` names the folder, or it
            is in the user's cache.
    """
    if cache_dir is None:
        named = os.environ.get(PACKED_VARIABLE)
        if named:
            return Path(named).expanduser()
        cache_dir = platformdirs.user_cache_path("dgemma", appauthor=False)
    return cache_dir / "packed"


def packed_folder(directory: Path, checkpoint: Path, form: str) -> Path:
    """Return the folder of a checkpoint's weights in one form, present or not."""
    return directory / f"{_stem(checkpoint)}-{form}"


def _stem(checkpoint: Path) -> str:
    whole = checkpoint.resolve()
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', whole.name).strip('.-')[:60]}-{digest}"


def source_files(checkpoint: Path, weights: list[Path]) -> tuple[SourceFile, ...]:
    """Return what tells a checkpoint from what it was: all files that packing reads.

    Raises:
        OSError: One cannot be looked at.
    """
    paths = [checkpoint / "config.json", *weights]
    if (checkpoint / INDEX).is_file():
        paths.append(checkpoint / INDEX)
    return tuple(
        SourceFile(name=path.name, size=found.st_size, modified_ns=found.st_mtime_ns)
        for path in paths
        for found in (path.stat(),)
    )


def read_note(folder: Path) -> PackedNote | None:
    """Return a folder's note; ``None`` when there is none that can be read."""
    try:
        return msgspec.json.decode((folder / NOTE).read_bytes(), type=PackedNote)
    except (OSError, msgspec.DecodeError):
        return None


def kept_forms(directory: Path, checkpoint: Path | None = None) -> list[KeptForm]:
    """Return the packed weights that are kept, of one checkpoint or of all."""
    try:
        folders = sorted(directory.iterdir())
    except OSError:
        return []
    found: list[KeptForm] = []
    for folder in folders:
        if folder.name.startswith("."):
            continue
        note = read_note(folder)
        if note is None or (checkpoint and note.source != str(checkpoint.resolve())):
            continue
        found.append(KeptForm(folder, note))
    return found


def remove_kept(directory: Path, checkpoint: Path) -> int:
    """Take a checkpoint's packed weights away, parts included; returns the bytes they held.

    Raises:
        ModelError: Some are being written, or cannot be removed.
    """
    size = 0
    for folder in [*directory.glob(f"{_stem(checkpoint)}-*"), *_scratches(directory, checkpoint)]:
        home = folder
        if folder.name.startswith(SCRATCH):
            home = directory / folder.name.removeprefix(SCRATCH).rpartition(".")[0]
        try:
            with writing(home):
                size += bytes_in(folder)
                (folder / NOTE).unlink(missing_ok=True)  # first: what is left is no longer whole
                shutil.rmtree(folder)
        except filelock.Timeout as error:
            raise ModelError(
                f"{home} is being written by a runtime that loads the model. Wait for it, or end "
                "it with `dgemma stop`."
            ) from error
        except (OSError, NotImplementedError) as error:
            raise ModelError(f"{folder} cannot be removed: {error}") from error
        with contextlib.suppress(OSError):
            lock_path(home).unlink(missing_ok=True)
    return size


def _scratches(directory: Path, checkpoint: Path) -> Iterator[Path]:
    yield from directory.glob(f"{SCRATCH}{_stem(checkpoint)}-*")


def lock_path(folder: Path) -> Path:
    """Return the file that is locked while a folder of packed weights is written."""
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold a folder of packed weights against other processes that write or remove it.

    Raises:
        filelock.Timeout: Another one holds it.
        OSError: Its lock cannot be made.
        NotImplementedError: The file system has no locks.
    """
    with filelock.FileLock(lock_path(folder), timeout=0, mode=0o600):
        yield


def damage(kept: KeptForm, seen: Callable[[int], None] = lambda _: None) -> list[str]:
    """Return what is wrong with packed weights by reading every byte; empty when nothing is.

    Args:
        kept: The weights.
        seen: Is told how many bytes were read in all.
    """
    found: list[str] = []
    read = 0
    for file in kept.note.files:
        path = kept.folder / file.name
        try:
            read_header(path)
            with path.open("rb") as stream:
                for name, tensor in file.tensors.items():
                    if _digest(stream, tensor) != tensor.sha256:
                        found.append(f"{path}: {name} has other bytes than were written")
                        break
                    read += tensor.size
                    seen(read)
        except ModelError as error:
            found.append(f"{kept.folder}: {error}")
        except OSError as error:
            found.append(f"{path} cannot be read ({error.strerror})")
    return found


def _digest(stream: BinaryIO, tensor: WrittenTensor) -> str:
    stream.seek(tensor.start)
    found, left = hashlib.sha256(), tensor.size
    while left and (block := stream.read(min(left, _BLOCK))):
        found.update(block)
        left -= len(block)
    return found.hexdigest()

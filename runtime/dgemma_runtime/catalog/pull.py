"""Bringing a model of the hub into its folder, and taking it away again.

Files are fetched several at once into parts, each is checked, and only when all are there do they
take their places and is the manifest written: a folder never holds files of two revisions. One
process at a time. Knows no model's insides.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import msgspec

from dgemma_runtime.catalog import CatalogModel
from dgemma_runtime.catalog.folders import (
    LOCK,
    MANIFEST,
    PARTS,
    KeptFile,
    Manifest,
    bytes_in,
    read_manifest,
)
from dgemma_runtime.catalog.hub import FetchError, Hub, Listing, RemoteFile
from dgemma_runtime.catalog.transfer import (
    Patience,
    Retries,
    Stopped,
    fetch_file,
    hash_file,
    part_path,
)
from dgemma_wire.errors import ModelError

CONNECTIONS = 4
SPARE_BYTES = 256_000_000
"""What a pull leaves free on the disk."""
_TICK_S = 0.25
_END_S = 2.0


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is, in bytes and files; what was there already counts."""

    done: int
    total: int
    files_done: int
    files: int


Report = Callable[[PullProgress], None]


def pull(
    model: CatalogModel,
    folder: Path,
    hub: Hub,
    *,
    report: Report = lambda _: None,
    revision: str | None = None,
    retries: Retries | None = None,
    connections: int = CONNECTIONS,
) -> Manifest:
    """Bring a model into its folder, or what is missing or damaged of it.

    Args:
        model: A model with a repository.
        folder: Its folder.
        hub: Where from.
        report: Is told how far it is, from this thread.
        revision: Branch, tag or commit; ``None`` is the catalogue's.
        retries: The budget for failures, of the listing and of each file.
        connections: Files at once.

    Raises:
        FetchError: It cannot be had; the text says why. What came is kept.
        ModelError: The folder cannot be used, or another process pulls into it.
        KeyboardInterrupt: As the person's; what came is kept.
    """
    retries = retries or Retries()
    revision = revision or model.revision
    with held(folder, model.name):
        stop = threading.Event()
        listing = Patience(retries, stop, f"The list of files of {model.name}").ask(
            lambda: hub.listing(model.repository, revision)
        )
        parts = folder / PARTS
        try:
            parts.mkdir(exist_ok=True)
            _forget_other_parts(parts, listing)
            _check_room(folder, listing)
            _Pull(hub, listing, folder, stop, retries).run(connections, report)
            manifest = Manifest(
                repository=model.repository,
                revision=revision,
                commit=listing.commit,
                endpoint=hub.endpoint,
                files=tuple(
                    KeptFile(name=f.name, size=f.size, digest=f.digest.text) for f in listing.files
                ),
            )
            _put_in_place(folder, listing, manifest)
        except BrokenPipeError:  # of who reads the progress
            raise
        except OSError as error:
            raise _disk_error(folder, error) from error
        return manifest


def remove(model: CatalogModel, folder: Path) -> int:
    """Take a model's folder away; returns the bytes it held.

    Raises:
        ModelError: It is being pulled, or cannot be removed.
    """
    if folder.is_symlink():
        raise ModelError(f"{folder} is a link to another place. Remove it by hand.")
    if not folder.is_dir():
        return 0
    size = bytes_in(folder)
    with held(folder, model.name):
        try:
            for path in folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
        except OSError as error:
            raise ModelError(f"{folder} cannot be removed: {error}") from error
    with contextlib.suppress(OSError):  # another pull may have begun between
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
    return size


@contextmanager
def held(folder: Path, name: str) -> Iterator[None]:
    """Hold a model's folder, made if missing, against other processes.

    Raises:
        ModelError: Another one holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise ModelError(
            f"Another process is fetching {name} into {folder}. Wait for it, or end it: what it "
            "has fetched is kept."
        ) from error
    except OSError as error:
        raise _disk_error(folder, error) from error
    try:
        yield
    finally:
        lock.release()


class _Pull:
    """Threads that fetch the files of one listing."""

    def __init__(
        self, hub: Hub, listing: Listing, folder: Path, stop: threading.Event, retries: Retries
    ) -> None:
        self._hub = hub
        self._listing = listing
        self._folder = folder
        self._stop = stop
        self._retries = retries
        self._waiting: queue.SimpleQueue[RemoteFile] = queue.SimpleQueue()
        self._bytes = dict.fromkeys((file.name for file in listing.files), 0)
        self._whole: set[str] = set()
        self._errors: list[BaseException] = []

    def run(self, connections: int, report: Report) -> None:
        """Fetch every file; returns when all are there and checked."""
        for file in self._listing.files:
            self._waiting.put(file)
        # Daemons: one that hangs in a connection must not keep a stopped process alive.
        threads = [
            threading.Thread(target=self._work, daemon=True)
            for _ in range(min(connections, len(self._listing.files)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_TICK_S)
                    report(self.progress())
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(_END_S)
        if self._errors:
            raise self._errors[0]
        report(self.progress())

    def progress(self) -> PullProgress:
        """Return how far it is."""
        return PullProgress(
            done=sum(self._bytes.values()),
            total=self._listing.size,
            files_done=len(self._whole),
            files=len(self._bytes),
        )

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                file = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._fetch(file)
            except Stopped:
                return
            except BaseException as error:  # raised again by the thread that waits
                self._errors.append(error)
                self._stop.set()
                return

    def _fetch(self, file: RemoteFile) -> None:
        def seen(size: int) -> None:
            self._bytes[file.name] = size

        if not _is_whole(self._folder / file.name, file, self._stop, seen):
            seen(0)
            fetch_file(
                self._hub,
                self._listing,
                file,
                self._folder / PARTS,
                stop=self._stop,
                seen=seen,
                retries=self._retries,
            )
        self._whole.add(file.name)


def _is_whole(
    path: Path, file: RemoteFile, stop: threading.Event, seen: Callable[[int], None]
) -> bool:
    """Say whether a file in its place has the bytes it should; reads all of it."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return hash_file(path, file.digest, stop, seen) == file.digest.value


def _forget_other_parts(parts: Path, listing: Listing) -> None:
    """Remove what other revisions left."""
    ours = {part_path(parts, file).name for file in listing.files}
    for path in parts.iterdir():
        if path.name.removesuffix(".part") not in ours:
            path.unlink()


def _check_room(folder: Path, listing: Listing) -> None:
    """Make sure that what is missing has room.

    Raises:
        FetchError: It has not.
    """
    missing = 0
    for file in listing.files:
        done = part_path(folder / PARTS, file)
        places = (folder / file.name, done, done.with_name(done.name + ".part"))
        there = (path.stat().st_size for path in places if path.is_file())
        missing += max(0, file.size - max(there, default=0))
    free = shutil.disk_usage(folder).free
    if missing and free < missing + SPARE_BYTES:
        raise FetchError(
            f"The disk of {folder} has {free / 1e9:.1f} GB free, and {missing / 1e9:.1f} GB are "
            "still to be fetched. Make room, or name a folder on another disk in DGEMMA_MODELS_DIR."
        )


def _put_in_place(folder: Path, listing: Listing, manifest: Manifest) -> None:
    """Move checked parts to their names, and write the manifest last."""
    before = read_manifest(folder)
    moves = [
        (part_path(folder / PARTS, file), folder / file.name)
        for file in listing.files
        if part_path(folder / PARTS, file).is_file()
    ]
    if moves:
        # While they move, the folder is no one revision's.
        (folder / MANIFEST).unlink(missing_ok=True)
    for part, place in moves:
        with part.open("r+b") as file:  # Windows syncs only what can be written
            os.fsync(file.fileno())
        part.replace(place)
    if before is not None:
        for old in {f.name for f in before.files} - {f.name for f in manifest.files}:
            # Names of a manifest are checked when it is written; one changed by hand is not ours.
            if "/" not in old and "\\" not in old:
                (folder / old).unlink(missing_ok=True)
    made = folder / (MANIFEST + ".part")
    made.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    made.replace(folder / MANIFEST)
    shutil.rmtree(folder / PARTS, ignore_errors=True)


def _disk_error(folder: Path, error: OSError) -> ModelError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return FetchError(
            f"The disk of {folder} is full ({error.strerror}). What came is kept; make room and "
            "pull again, or name a folder on another disk in DGEMMA_MODELS_DIR."
        )
    return ModelError(f"{folder} cannot be used: {error}")

"""One file from the hub into a part on the disk: continued, checked, tried again within a budget.

A part is named by the digest its file must have, so what another version left is never taken up.
Knows no folders of models and no progress bars.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dgemma_runtime.catalog.hub import (
    BLOCK_BYTES,
    Digest,
    FetchError,
    Hash,
    Hub,
    Listing,
    RemoteFile,
    TransientError,
)

log = logging.getLogger(__name__)

Seen = Callable[[int], None]
"""Is told how many bytes of the file are there."""
Found = TypeVar("Found")


class Stopped(Exception):
    """The work was told to stop; what came is kept."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How failures are borne.

    Attributes:
        failures: In a row, before the work is given up.
        worth_bytes: What must have come since the last failure for the row to begin anew.
        first_wait_s: Seconds before the first new try; each later wait is twice as long.
        longest_wait_s: Bound of a wait, also of one the hub asks for.
    """

    failures: int = 6
    worth_bytes: int = 1 << 20
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0


class Patience:
    """The failures of one piece of work, counted against its budget.

    Args:
        retries: The budget.
        stop: Ends the waiting.
        what: For messages.
    """

    def __init__(self, retries: Retries, stop: threading.Event, what: str) -> None:
        self._retries = retries
        self._stop = stop
        self._what = what
        self._failures = 0

    def after(self, error: TransientError, received: int = 0) -> None:
        """Wait after a failure before which ``received`` bytes came.

        Raises:
            FetchError: The budget is spent.
            Stopped: ``stop`` was set.
        """
        retries = self._retries
        self._failures = 1 if received >= retries.worth_bytes else self._failures + 1
        if self._failures > retries.failures:
            raise FetchError(
                f"{self._what} could not be fetched after {retries.failures + 1} tries: {error}. "
                "What came is kept, and the next pull goes on from there."
            ) from error
        # Several files fail together when a network goes; they should not come back together.
        spread = 0.5 + random.random()  # noqa: S311 - no secret
        own = retries.first_wait_s * 2 ** (self._failures - 1) * spread
        wait = min(max(own, error.wait_s), retries.longest_wait_s)
        log.info("%s: %s; trying again in %.1f s", self._what, error, wait)
        if self._stop.wait(wait):
            raise Stopped

    def ask(self, work: Callable[[], Found]) -> Found:
        """Return what ``work`` does, as soon as it does it without a ``TransientError``."""
        while True:
            try:
                return work()
            except TransientError as error:
                self.after(error)


def fetch_file(
    hub: Hub,
    listing: Listing,
    file: RemoteFile,
    parts: Path,
    *,
    stop: threading.Event,
    seen: Seen = lambda _: None,
    retries: Retries | None = None,
) -> Path:
    """Bring a file's bytes into ``parts`` and check them.

    Args:
        hub: Where from.
        listing: The revision it belongs to.
        file: Which one.
        parts: The folder of parts; exists.
        stop: Set by who no longer wants it.
        seen: Is told how far it is.
        retries: The budget for failures.

    Returns:
        The path of the checked file, in ``parts``.

    Raises:
        FetchError: It cannot be had; the text says why.
        Stopped: ``stop`` was set; what came is kept.
        OSError: The disk cannot take it.
    """
    done = part_path(parts, file)
    if done.is_file() and done.stat().st_size == file.size:
        seen(file.size)
        return done
    part = done.with_name(done.name + ".part")
    patience = Patience(retries or Retries(), stop, file.name)
    for damaged in (False, True):
        digest = _receive(hub, listing, file, part, patience, stop, seen)
        if digest.hexdigest() == file.digest.value:
            part.replace(done)
            return done
        # Bytes of an earlier run may have been damaged on this disk; those of one go were not.
        part.unlink()
        seen(0)
        log.warning("%s has a wrong digest%s", file.name, " again" if damaged else "")
    raise FetchError(
        f"{file.name} came twice with other bytes than its digest says; nothing was kept of it. "
        f"Do not trust {hub.endpoint} for now, or look for a proxy that changes what it passes on."
    )


def part_path(parts: Path, file: RemoteFile) -> Path:
    """Return where a checked file waits to be put in its place."""
    return parts / f"{file.digest.value[:16]}-{file.name}"


def hash_file(
    path: Path, digest: Digest, stop: threading.Event, seen: Seen = lambda _: None
) -> str:
    """Return the digest of a file's bytes, of the kind of ``digest``.

    Raises:
        OSError: It cannot be read.
        Stopped: ``stop`` was set.
    """
    with path.open("rb") as file:
        found = digest.start(path.stat().st_size)
        _add(file.read, found, stop, seen)
        return found.hexdigest()


def _receive(
    hub: Hub,
    listing: Listing,
    file: RemoteFile,
    part: Path,
    patience: Patience,
    stop: threading.Event,
    seen: Seen,
) -> Hash:
    """Fill the part up to the file's size; returns the hash of its bytes."""
    digest, size = file.digest.start(file.size), 0
    if part.is_file():
        with part.open("rb") as kept:
            size = _add(kept.read, digest, stop, seen)
    if size > file.size:
        part.unlink()
        digest, size = file.digest.start(file.size), 0
    part.touch()
    seen(size)
    while size < file.size:
        before = size
        try:
            with hub.open(listing.repository, listing.commit, file, size) as body:
                if body.offset != size:  # the server cannot continue
                    digest, size = file.digest.start(file.size), 0
                    before = 0
                with part.open("r+b") as output:
                    output.truncate(size)
                    output.seek(size)
                    for block in body.blocks():
                        if stop.is_set():
                            raise Stopped
                        if size + len(block) > file.size:
                            raise FetchError(
                                f"{hub.endpoint} sends more of {file.name} than its listing says."
                            )
                        output.write(block)
                        digest.update(block)
                        size += len(block)
                        seen(size)
            if size < file.size:
                raise TransientError("the connection ended early")
        except TransientError as error:
            patience.after(error, size - before)
    return digest


def _add(read: Callable[[int], bytes], digest: Hash, stop: threading.Event, seen: Seen) -> int:
    size = 0
    while block := read(4 * BLOCK_BYTES):
        if stop.is_set():
            raise Stopped
        digest.update(block)
        size += len(block)
        seen(size)
    return size

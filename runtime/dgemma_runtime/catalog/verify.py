"""Whether the files of a model on this machine are the ones that were fetched, byte for byte."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from dgemma_runtime.catalog.folders import Manifest
from dgemma_runtime.catalog.hub import Digest
from dgemma_runtime.catalog.transfer import hash_file
from dgemma_runtime.models.checkpoint_files import defects

Seen = Callable[[int], None]
"""Is told how many bytes were read in all."""


def verify_pulled(folder: Path, manifest: Manifest, seen: Seen = lambda _: None) -> list[str]:
    """Compare a folder with its manifest by reading every byte.

    Returns:
        What is wrong, each with the file's name; empty when nothing is.
    """
    found: list[str] = []
    read = 0
    for file in manifest.files:
        path = folder / file.name
        try:
            size = path.stat().st_size
            if size != file.size:
                found.append(f"{file.name} has {size} bytes instead of {file.size}")
            else:
                digest = Digest.parse(file.digest)
                at = read
                value = hash_file(path, digest, threading.Event(), lambda n, at=at: seen(at + n))
                if value != digest.value:
                    found.append(f"{file.name} has other bytes than were fetched")
        except FileNotFoundError:
            found.append(f"{file.name} is missing")
        except OSError as error:
            found.append(f"{file.name} cannot be read ({error.strerror})")
        read += file.size
        seen(read)
    named = " ".join(found)
    return found + [what for what in defects(folder) if what.split()[0].rstrip(":") not in named]

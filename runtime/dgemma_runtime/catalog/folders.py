"""Where fetched models lie, and whether one is whole.

A model of the hub has a folder of its own under the user's data folder: its files, a manifest that
is written last, a lock, and while it is fetched a folder of parts. The embedded model's base is
kept by ``embedded.base``.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

import msgspec
import platformdirs

from dgemma_runtime.catalog import CatalogModel
from dgemma_wire.errors import ModelError

MODELS_VARIABLE = "DGEMMA_MODELS_DIR"
MANIFEST = "dgemma-manifest.json"
PARTS = ".parts"
LOCK = ".lock"


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a manifest; ``digest`` is as ``hub.Digest.text`` writes it."""

    name: str
    size: int
    digest: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull fetched, and from where."""

    repository: str
    revision: str
    commit: str
    endpoint: str
    files: tuple[KeptFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


class Presence(StrEnum):
    """How much of a model is on this machine."""

    ABSENT = "absent"
    PARTIAL = "partial"
    INSTALLED = "installed"


def models_directory() -> Path:
    """Return the folder of all fetched models; ``DGEMMA_MODELS_DIR`` names another one."""
    named = os.environ.get(MODELS_VARIABLE)
    if named:
        return Path(named).expanduser()
    return platformdirs.user_data_path("dgemma", appauthor=False) / "models"


def model_folder(model: CatalogModel, directory: Path | None = None) -> Path:
    """Return the folder of a model of the hub, present or not."""
    directory = models_directory() if directory is None else directory
    return directory / model.repository.replace("/", "--")


def read_manifest(folder: Path) -> Manifest | None:
    """Return a folder's manifest; ``None`` when there is none that can be read."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def presence(folder: Path) -> Presence:
    """Say how much of a model a folder holds, by names and sizes alone."""
    manifest = read_manifest(folder)
    if manifest is not None and all(_size(folder / f.name) == f.size for f in manifest.files):
        return Presence.INSTALLED
    if manifest is not None or _holds_something(folder):
        return Presence.PARTIAL
    return Presence.ABSENT


def require(model: CatalogModel, directory: Path | None = None) -> Path:
    """Return the folder of a model that is whole.

    Raises:
        ModelError: It is not; the text says how to fetch it.
    """
    folder = model_folder(model, directory)
    found = presence(folder)
    if found is Presence.INSTALLED:
        return folder
    how = "is not on this machine" if found is Presence.ABSENT else "is fetched in part only"
    size = "" if model.size_bytes is None else f" ({model.size_bytes / 1e9:.1f} GB in all)"
    raise ModelError(
        f"The model {model.name} {how} ({folder}). Fetch it with `dgemma models pull {model.name}`"
        f"{size}; what is there already is not fetched again."
    )


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files under a folder; 0 when there is none."""
    total = 0
    for parent, _, names in os.walk(folder):
        total += sum(_size(Path(parent) / name) or 0 for name in names)
    return total


def _holds_something(folder: Path) -> bool:
    try:
        return any(path.name != LOCK for path in folder.iterdir())
    except OSError:
        return False


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None

"""Where a workspace's fine-tuned canvas adapter lies, and what it is called.

An adapter is a folder of the user's data directory, named by its id: ``adapter.safetensors`` (the
weights) and ``adapter.json`` (what they were made from). The training writes it, the server names
it, the runtime reads it. Only the id travels, never a path. What is in the files is not known
here.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import platformdirs

from dgemma_wire.errors import AddressError

WEIGHTS_FILE = "adapter.safetensors"
CARD_FILE = "adapter.json"

ID_PATTERN = r"[a-z0-9-]{1,64}"
"""What an id may be: a folder's name, and nothing that could lead out of the directory."""

_SLUG_CHARS = 40
_DIGEST_CHARS = 12


def adapter_id(root: Path) -> str:
    """Return the id of a workspace's adapter: its folder's name, and a digest of its whole path.

    The same folder reached by another way, such as a link, has the same id.
    """
    path = root.expanduser().resolve()
    slug = re.sub(r"[^a-z0-9]+", "-", path.name.lower())[:_SLUG_CHARS].strip("-") or "workspace"
    # A path may hold bytes that are no text; they must count as well.
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{slug}-{digest[:_DIGEST_CHARS]}"


def is_adapter_id(text: str) -> bool:
    """Say whether ``text`` may be looked for in the directory."""
    return re.fullmatch(ID_PATTERN, text) is not None


def adapters_directory() -> Path:
    """Return the directory of the user's adapters, there or not."""
    return platformdirs.user_data_path("dgemma", appauthor=False) / "adapters"


def adapter_folder(name: str, directory: Path | None = None) -> Path:
    """Return the folder of an adapter, there or not; ``directory`` is the user's unless given.

    Raises:
        AddressError: ``name`` is no id.
    """
    if not is_adapter_id(name):
        raise AddressError(f"{name!r} is no id of an adapter; ids are like {ID_PATTERN}.")
    return (adapters_directory() if directory is None else directory) / name


def make_adapter_folder(name: str, directory: Path | None = None) -> Path:
    """Return the folder of an adapter, made if missing and for the user alone.

    Weights that were trained on a person's code can say parts of it again.

    Raises:
        AddressError: ``name`` is no id, or the folder cannot be made.
    """
    folder = adapter_folder(name, directory)
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for path in (folder.parent, folder):
            path.mkdir(mode=0o700, exist_ok=True)
            path.chmod(0o700)  # one that was there already, or made under another umask
    except OSError as err:
        raise AddressError(f"{folder} cannot be made: {err.strerror or err}.") from err
    return folder


def adapter_stamp(name: str, directory: Path | None = None) -> int | None:
    """Return a number that changes when an adapter's weights do; ``None`` when there is none.

    Raises:
        AddressError: ``name`` is no id.
    """
    try:
        return (adapter_folder(name, directory) / WEIGHTS_FILE).stat().st_mtime_ns
    except OSError:
        return None

"""Where a runtime is found: its directory, its endpoint file, and who may read them.

The directory is platformdirs' runtime directory with ``dgemma`` under it, ``0700``. One runtime
owns three files there, named for user-wide uniqueness by the model it serves:

    <key>.lock    held for as long as the process lives; the kernel lets go of it when it dies
    <key>.json    the ``Endpoint``: how to connect, and the token that proves the reader is the user
    <key>.sock    the Unix socket, where the platform has them

This module reads and writes files but opens no connection.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import sys
import tempfile
import warnings
from pathlib import Path

import msgspec
import platformdirs

from dgemma_wire.errors import AddressError

MAX_SOCKET_PATH_BYTES = 100
"""Kernels take 104 (macOS) to 108 (Linux) bytes with the closing zero."""

EXIT_ALREADY_RUNNING = 3
"""Exit status of a runtime that found the lock held; whoever started it connects to the other."""

DIRECTORY_VARIABLE = "DGEMMA_RUNTIME_DIR"
"""Environment variable that moves the directory: for tests, containers and odd homes."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a running runtime: the ``path`` of a socket, or ``host`` and ``port``.

    ``token`` is repeated in ``Hello``.
    """

    token: str
    pid: int
    release: str
    path: str | None = None
    host: str | None = None
    port: int | None = None

    def describe(self) -> str:
        """Say where this is, without the token."""
        return self.path if self.path is not None else f"{self.host}:{self.port}"


def new_token() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def model_key(model: str) -> str:
    """Return the file name stem for a model: readable, unique, and short enough for a socket."""
    stem = re.sub(r"[^a-z0-9]+", "-", Path(model).name.lower()).strip("-")[:16] or "model"
    if model == stem:
        return stem
    return f"{stem}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def runtime_directory(environ: dict[str, str] | None = None) -> Path:
    """Return the directory of sockets and endpoint files, made if missing, private to the user.

    Raises:
        AddressError: It cannot be made, or belongs to or can be read by somebody else.
    """
    named = (os.environ if environ is None else environ).get(DIRECTORY_VARIABLE)
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR platformdirs warns and takes a folder under /tmp, which the
        # checks below make safe to use.
        warnings.simplefilter("ignore")
        path = Path(named) if named else platformdirs.user_runtime_path("dgemma", appauthor=False)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        info, above = path.lstat(), path.parent.stat()
    except OSError as err:
        raise AddressError(
            f"The runtime directory {path} cannot be used: {err.strerror or err}. "
            f"Set {DIRECTORY_VARIABLE} to a folder of your own."
        ) from err
    if not stat.S_ISDIR(info.st_mode):
        raise AddressError(f"The runtime directory {path} is not a folder.")
    if sys.platform != "win32":
        if info.st_uid != os.getuid():
            raise AddressError(f"The runtime directory {path} belongs to another user.")
        shared = above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX
        if shared or above.st_uid not in (0, os.getuid()):
            raise AddressError(
                f"Other users could replace {path}: {path.parent} is not this user's alone. "
                f"Set {DIRECTORY_VARIABLE} to a folder of your own."
            )
        if stat.S_IMODE(info.st_mode) & 0o077:
            path.chmod(0o700)
    return path


def lock_path(directory: Path, model: str) -> Path:
    """Return the lock file of a model's runtime."""
    return directory / f"{model_key(model)}.lock"


def endpoint_path(directory: Path, model: str) -> Path:
    """Return the endpoint file of a model's runtime."""
    return directory / f"{model_key(model)}.json"


def socket_path(directory: Path, model: str) -> Path:
    """Return the Unix socket of a model's runtime.

    Raises:
        AddressError: The path is longer than kernels take.
    """
    path = directory / f"{model_key(model)}.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise AddressError(
            f"The socket path {path} is over {MAX_SOCKET_PATH_BYTES} bytes. "
            f"Set {DIRECTORY_VARIABLE} to a shorter folder."
        )
    return path


def write_endpoint(path: Path, endpoint: Endpoint) -> None:
    """Write an endpoint file in one step, readable by the user alone.

    Raises:
        AddressError: It cannot be written, for example on a full disk.
    """
    try:
        # mkstemp makes the file 0600 from its first moment on.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(endpoint))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as err:
        raise AddressError(f"{path} cannot be written: {err.strerror or err}.") from err


def read_endpoint(path: Path) -> Endpoint | None:
    """Return the endpoint a runtime has left, or ``None`` when there is none that can be read.

    A torn or foreign file counts as none: whoever starts the next runtime replaces it.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoint)
    except (OSError, msgspec.DecodeError):
        return None

"""Where a runtime listens when a person chose the place, and the token that both sides know.

A runtime that its server starts is found through the endpoint file (``endpoint``). One on another
machine is not: its address is a setting, and its token lies in a file of the user's, or in the
environment, on both machines. The wire is not encrypted, so an address is a Unix socket or a
loopback port, behind which an SSH forward does the travelling.

This module reads and writes token files but opens no connection.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from dgemma_wire.endpoint import MAX_SOCKET_PATH_BYTES, new_token
from dgemma_wire.errors import AddressError

TOKEN_VARIABLE = "DGEMMA_TOKEN"  # noqa: S105 - a name, not a secret
"""Environment variable with the token itself; goes before any file."""

MIN_TOKEN_CHARS = 32
MAX_TOKEN_CHARS = 1024

_TCP = re.compile(r"(?:tcp://)?(?:\[(?P<v6>[^\]/]+)\]|(?P<host>[^:/\[\]@]+)):(?P<port>\d{1,5})/?")


@dataclass(frozen=True, slots=True)
class Address:
    """The ``path`` of a Unix socket, or ``host`` and ``port``; exactly one of the two."""

    path: str | None = None
    host: str = ""
    port: int = 0

    @property
    def private(self) -> bool:
        """Whether what is sent there stays on this machine."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``tcp://HOST:PORT``, ``HOST:PORT`` or ``unix:///PATH``.

    Raises:
        AddressError: It is neither; the text says what is accepted.
    """
    if text.startswith("unix://"):
        path = text.removeprefix("unix://")
        if path.startswith("~"):
            path = str(Path(path).expanduser())
        if not os.path.isabs(path):
            raise AddressError(
                f"The address {text!r} names no absolute path, such as unix:///run/user/1000/d.sock."
            )
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            raise AddressError(
                f"The socket path {path} is over {MAX_SOCKET_PATH_BYTES} bytes; "
                f"choose a shorter one."
            )
        return Address(path=path)
    match = _TCP.fullmatch(text)
    port = int(match["port"]) if match else 0
    if match is None or port > 65535:
        raise AddressError(
            f"The address {text!r} is not of the form tcp://127.0.0.1:PORT or unix:///PATH."
        )
    return Address(host=match["v6"] or match["host"], port=port)


def ssh_command(address: Address) -> str:
    """Return the command that brings a runtime's address on another machine to this one."""
    if address.path is not None:
        return (
            f"ssh -N -o ExitOnForwardFailure=yes -o StreamLocalBindUnlink=yes "
            f"-L {address.path}:/THE/RUNTIMES.sock GPU-HOST"
        )
    return (
        f"ssh -N -o ExitOnForwardFailure=yes -L {address.port}:127.0.0.1:{address.port} "
        f"{'GPU-HOST' if address.private else address.host}"
    )


def check_private(address: Address, *, allowed: bool, allow: str) -> None:
    """Refuse an address on which source text would travel in the clear.

    Args:
        address: Where to connect or to listen.
        allowed: The person said that it may.
        allow: What says so, for the message.

    Raises:
        AddressError: It leaves this machine and nobody said that it may.
    """
    if allowed or address.private:
        return
    raise AddressError(
        f"{address} is not on this machine, and dgemma's connection is not encrypted: source text "
        f"and the token would travel in the clear. Use the runtime through SSH instead: "
        f"{ssh_command(address)} - and tcp://127.0.0.1:{address.port} as the address. On a network "
        f"that nobody else can read, {allow} allows it."
    )


def default_token_file() -> Path:
    """Return the token file that is used when none is named; the same place on every machine."""
    return platformdirs.user_config_path("dgemma", appauthor=False) / "token"


def read_token(file: str | Path | None, environ: Mapping[str, str] | None = None) -> str:
    """Return the token of the environment, or of a file that is the user's alone.

    Args:
        file: Where it lies; empty or ``None`` for the default place.
        environ: The environment; ``None`` is the process's own.

    Raises:
        AddressError: There is none, or others can read it; the text never holds the token.
    """
    given = (os.environ if environ is None else environ).get(TOKEN_VARIABLE, "")
    if given:
        return _checked(given, f"The environment variable {TOKEN_VARIABLE}")
    path = Path(file).expanduser() if file else default_token_file()
    try:
        with path.open("rb") as handle:
            info = os.fstat(handle.fileno())
            text = handle.read(MAX_TOKEN_CHARS + 2)
    except OSError as err:
        raise AddressError(
            f"The token file {path} cannot be read: {err.strerror or err}. Copy it from the "
            f"machine with the runtime, or set {TOKEN_VARIABLE}."
        ) from err
    if sys.platform != "win32":
        if info.st_uid != os.getuid():
            raise AddressError(f"The token file {path} belongs to another user.")
        if stat.S_IMODE(info.st_mode) & 0o077:
            raise AddressError(f"Others can read the token file {path}: chmod 600 {path}")
    return _checked(text.decode("utf-8", "replace").strip(), f"The token file {path}")


def token_for_listening(file: str | Path | None, environ: Mapping[str, str] | None = None) -> str:
    """Return the token that a runtime listens with; its file is made when it is missing.

    Raises:
        AddressError: It cannot be made, or what is there cannot be used.
    """
    path = Path(file).expanduser() if file else default_token_file()
    variable = (os.environ if environ is None else environ).get(TOKEN_VARIABLE, "")
    if not variable and not path.exists():
        try:
            _make_token_file(path)
        except OSError as err:
            raise AddressError(f"{path} cannot be written: {err.strerror or err}.") from err
    return read_token(path, environ)


def _make_token_file(path: Path) -> None:
    """Write a new token, whole from its first moment on; leaves one that is there already."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes the file 0600.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(new_token() + "\n")
        with contextlib.suppress(FileExistsError):  # another runtime has made it just now
            os.link(name, path)
    finally:
        Path(name).unlink()


def _checked(token: str, source: str) -> str:
    """Refuse what is no token: a file of another kind, or something short enough to be guessed."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise AddressError(f"{source} does not hold a token: it is one line without blanks.")
    if not MIN_TOKEN_CHARS <= len(token) <= MAX_TOKEN_CHARS:
        raise AddressError(
            f"{source} holds {len(token)} characters; a token has {MIN_TOKEN_CHARS} to "
            f"{MAX_TOKEN_CHARS}."
        )
    return token

"""Connecting to a runtime on another machine, at an address that a setting names.

None is ever started, and no endpoint file is read: what answers there is checked by the token
that both machines know. Knows no messages; the handshake is ``client``'s.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from dataclasses import dataclass

from dgemma_lsp.runtime_client.process import Streams
from dgemma_lsp.settings import Settings
from dgemma_wire.address import (
    Address,
    check_private,
    default_token_file,
    parse_address,
    read_token,
    ssh_command,
)
from dgemma_wire.errors import AddressError, RuntimeUnavailable

CONNECT_S = 10.0
"""How long the other side may take to accept; a forward on this machine does so at once."""


@dataclass(frozen=True, slots=True)
class Remote:
    """What the settings say of a runtime elsewhere.

    Attributes:
        address: As it was written.
        token_file: Where the token lies; empty for the default place.
        allow_unencrypted: The address may be on another machine.
    """

    address: str
    token_file: str = ""
    allow_unencrypted: bool = False

    @property
    def token_source(self) -> str:
        """Where the token comes from, for messages."""
        return self.token_file or str(default_token_file())


def remote_of(settings: Settings) -> Remote | None:
    """Return the remote runtime that settings name, or ``None`` when they name none."""
    if not settings.runtime_address:
        return None
    return Remote(
        settings.runtime_address, settings.runtime_token_file, settings.runtime_allow_unencrypted
    )


def resolve(remote: Remote) -> tuple[Address, str]:
    """Return the address, checked, and the token; opens no connection.

    Raises:
        RuntimeUnavailable: The address or the token cannot be used; the text says what to do.
    """
    try:
        address = parse_address(remote.address)
        check_private(
            address,
            allowed=remote.allow_unencrypted,
            allow="the setting dgemma.runtimeAllowUnencrypted",
        )
        return address, read_token(remote.token_file)
    except AddressError as err:
        raise RuntimeUnavailable(str(err)) from err


async def connect_remote(remote: Remote) -> tuple[Streams, str]:
    """Connect to a remote runtime.

    Returns:
        The streams, and the token for the handshake.

    Raises:
        RuntimeUnavailable: The settings cannot be used, or nothing answers there.
    """
    address, token = resolve(remote)
    try:
        async with asyncio.timeout(CONNECT_S):
            if address.path is None:
                return await asyncio.open_connection(address.host, address.port), token
            _check_socket(address.path)
            return await asyncio.open_unix_connection(address.path), token
    except TimeoutError as err:
        raise RuntimeUnavailable(
            f"Nothing has answered at {address} for {CONNECT_S:.0f} s. {forward_hint(address)}"
        ) from err
    except OSError as err:
        raise RuntimeUnavailable(
            f"Nothing answers at {address}: {os.strerror(err.errno) if err.errno else err}. "
            f"{forward_hint(address)}"
        ) from err


def _check_socket(path: str) -> None:
    """Refuse a socket that another user has put there: the token would be sent to them.

    Raises:
        RuntimeUnavailable: There are no Unix sockets here, or it is not the user's own.
        OSError: There is none.
    """
    if sys.platform == "win32":
        raise RuntimeUnavailable(
            "Unix sockets cannot be used on Windows; forward a port and set dgemma.runtimeAddress "
            "to tcp://127.0.0.1:PORT."
        )
    info = os.lstat(path)
    if info.st_uid not in (0, os.getuid()) or not stat.S_ISSOCK(info.st_mode):
        raise RuntimeUnavailable(
            f"{path} is not a socket of your own; dgemma does not send its token there."
        )


def forward_hint(address: Address) -> str:
    """Return what to try when nothing answers at an address."""
    if not address.private:
        return "Does the runtime listen there (`dgemma serve -- --listen`)?"
    return f"Is the forward up? {ssh_command(address)}"


def behind_hint(address: Address) -> str:
    """Return what to try when a forward answers and hangs up: its other end found nobody."""
    where = f"unix://{address.path}" if address.path else f"127.0.0.1:{address.port}"
    return (
        "If a forward listens there, no runtime answers at its other end: start one on that "
        f"machine with `dgemma serve -- --listen {where}`"
        f"{' or the path that the forward names' if address.path else ''}."
    )

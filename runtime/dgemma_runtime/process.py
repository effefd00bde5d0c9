"""The life of the runtime process: one per user and model, found through its endpoint file.

Takes the lock, opens the socket, writes the endpoint file, serves, and cleans up. The lock is the
operating system's, so one left by a process that died is free again by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import filelock
import msgspec

from dgemma_runtime.engine.base import Engine
from dgemma_runtime.server import RuntimeServer
from dgemma_wire import endpoint as endpoints
from dgemma_wire.address import Address
from dgemma_wire.errors import AddressError
from dgemma_wire.settings import RuntimeSettings

log = logging.getLogger(__name__)

Transport: TypeAlias = Literal["auto", "unix", "tcp"]
_BACKLOG = 64


class AlreadyRunning(Exception):
    """Another process of this user serves this model."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a person wants the runtime to listen, for editors on another machine.

    Attributes:
        address: Port 0 takes a free one.
        token: What those editors know it by.
    """

    address: Address
    token: str


def serve(
    engine: Engine,
    settings: RuntimeSettings,
    directory: Path,
    release: str,
    transport: Transport = "auto",
    listen: Listen | None = None,
) -> None:
    """Serve an engine until it is idle or told to stop.

    Args:
        engine: What denoises; not loaded yet.
        settings: What the process was started with.
        directory: The private runtime directory, see ``dgemma_wire.endpoint``.
        release: This distribution's version.
        transport: ``unix`` socket or loopback ``tcp``; ``auto`` is ``unix`` where there is one.
        listen: Goes before ``transport``; ``None`` for a place that only this user's own servers
            find.

    Raises:
        AlreadyRunning: The lock is held.
        AddressError: The socket or the endpoint file cannot be made, or the place is taken.
    """
    lock = filelock.FileLock(endpoints.lock_path(directory, settings.model), mode=0o600)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as err:
        raise AlreadyRunning(settings.model) from err
    try:
        asyncio.run(_serve(engine, settings, directory, release, transport, listen))
    finally:
        lock.release()


async def _serve(
    engine: Engine,
    settings: RuntimeSettings,
    directory: Path,
    release: str,
    transport: Transport,
    listen: Listen | None,
) -> None:
    token = listen.token if listen else endpoints.new_token()
    server = RuntimeServer(engine, settings, token, release)
    file = endpoints.endpoint_path(directory, settings.model)
    # One left by a process that died would send servers here with a token that is not ours.
    file.unlink(missing_ok=True)
    endpoint = endpoints.Endpoint(token=token, pid=os.getpid(), release=release)
    use_unix = transport == "unix" or (transport == "auto" and sys.platform != "win32")
    address = Address(host="127.0.0.1")
    if listen is not None:
        address = listen.address
        if address.path is not None:
            _make_room(Path(address.path))
    elif use_unix:
        path = endpoints.socket_path(directory, settings.model)
        path.unlink(missing_ok=True)  # the lock is ours, so its owner is gone
        address = Address(path=str(path))
    if address.path is not None:
        listening = await _listen_unix(server, address.path)
        endpoint = msgspec.structs.replace(endpoint, path=address.path)
    else:
        try:
            listening = await asyncio.start_server(
                server.on_connect, address.host, address.port, backlog=_BACKLOG
            )
        except OSError as err:
            raise AddressError(f"{address} cannot be listened at: {err.strerror or err}.") from err
        host, port = listening.sockets[0].getsockname()[:2]
        endpoint = msgspec.structs.replace(endpoint, host=str(host), port=int(port))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: the default handlers do
            loop.add_signal_handler(number, server.stop)
    try:
        if listen is not None:
            log.info("editors on other machines need the token this runtime was started with")
        # Written last: whoever reads it can connect.
        endpoints.write_endpoint(file, endpoint)
        log.info("serving %s at %s", settings.model, endpoint.describe())
        await server.run(listening)
    finally:
        file.unlink(missing_ok=True)
        if endpoint.path is not None:
            with contextlib.suppress(OSError):
                os.unlink(endpoint.path)


async def _listen_unix(server: RuntimeServer, path: str) -> asyncio.Server:
    """Open a socket that the user alone can connect to.

    Raises:
        AddressError: It cannot be made.
    """
    if sys.platform == "win32":
        raise AddressError("There are no Unix sockets here; listen at tcp://127.0.0.1:PORT.")
    mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(server.on_connect, path, backlog=_BACKLOG)
    except OSError as err:
        raise AddressError(f"{path} cannot be listened at: {err.strerror or err}.") from err
    finally:
        os.umask(mask)


def _make_room(path: Path) -> None:
    """Remove a socket that a dead process left at a path a person named, and nothing else.

    Raises:
        AddressError: Something else is there, or somebody answers.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise AddressError(f"{path} exists and is no socket; it is left alone.")
        with socket.socket(socket.AF_UNIX) as trial:
            trial.connect(str(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return
    except OSError as err:
        raise AddressError(f"{path} cannot be listened at: {err.strerror or err}.") from err
    raise AddressError(f"Another process listens at {path}.")

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
import sys
from pathlib import Path
from typing import Literal, TypeAlias

import filelock
import msgspec

from dgemma_runtime.engine.base import Engine
from dgemma_runtime.server import RuntimeServer
from dgemma_wire import endpoint as endpoints
from dgemma_wire.settings import RuntimeSettings

log = logging.getLogger(__name__)

Transport: TypeAlias = Literal["auto", "unix", "tcp"]
_BACKLOG = 64


class AlreadyRunning(Exception):
    """Another process of this user serves this model."""


def serve(
    engine: Engine,
    settings: RuntimeSettings,
    directory: Path,
    release: str,
    transport: Transport = "auto",
) -> None:
    """Serve an engine until it is idle or told to stop.

    Args:
        engine: What denoises; not loaded yet.
        settings: What the process was started with.
        directory: The private runtime directory, see ``dgemma_wire.endpoint``.
        release: This distribution's version.
        transport: ``unix`` socket or loopback ``tcp``; ``auto`` is ``unix`` where there is one.

    Raises:
        AlreadyRunning: The lock is held.
        AddressError: The socket or the endpoint file cannot be made.
    """
    lock = filelock.FileLock(endpoints.lock_path(directory, settings.model), mode=0o600)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as err:
        raise AlreadyRunning(settings.model) from err
    try:
        asyncio.run(_serve(engine, settings, directory, release, transport))
    finally:
        lock.release()


async def _serve(
    engine: Engine, settings: RuntimeSettings, directory: Path, release: str, transport: Transport
) -> None:
    token = endpoints.new_token()
    server = RuntimeServer(engine, settings, token, release)
    file = endpoints.endpoint_path(directory, settings.model)
    # One left by a process that died would send servers here with a token that is not ours.
    file.unlink(missing_ok=True)
    endpoint = endpoints.Endpoint(token=token, pid=os.getpid(), release=release)
    use_unix = transport == "unix" or (transport == "auto" and sys.platform != "win32")
    if use_unix:
        path = endpoints.socket_path(directory, settings.model)
        path.unlink(missing_ok=True)  # the lock is ours, so its owner is gone
        mask = os.umask(0o177)
        try:
            listening = await asyncio.start_unix_server(server.on_connect, path, backlog=_BACKLOG)
        finally:
            os.umask(mask)
        endpoint = msgspec.structs.replace(endpoint, path=str(path))
    else:
        listening = await asyncio.start_server(server.on_connect, "127.0.0.1", 0, backlog=_BACKLOG)
        host, port = listening.sockets[0].getsockname()[:2]
        endpoint = msgspec.structs.replace(endpoint, host=str(host), port=int(port))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: the default handlers do
            loop.add_signal_handler(number, server.stop)
    try:
        # Written last: whoever reads it can connect.
        endpoints.write_endpoint(file, endpoint)
        log.info("serving %s at %s", settings.model, endpoint.describe())
        await server.run(listening)
    finally:
        file.unlink(missing_ok=True)
        if endpoint.path is not None:
            with contextlib.suppress(OSError):
                os.unlink(endpoint.path)

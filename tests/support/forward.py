"""A forward as ``ssh -L`` makes one, which can be cut, stalled, slowed down and half closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

Target = tuple[str, int] | Path


@dataclass
class Forward:
    """Listens on a port, or at a socket, and passes bytes on to a target.

    Attributes:
        target: ``(host, port)`` or the path of a socket.
        delay_s: Time that every piece of bytes takes, in each direction.
    """

    target: Target
    delay_s: float = 0.0
    port: int = 0
    path: Path | None = None
    connections: int = 0
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _near: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def up(self) -> Forward:
        self.flowing.set()
        if self.path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self.path)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def down(self) -> None:
        """Listen no more, and cut what is open: ``ssh`` has ended."""
        assert self._server is not None
        self._server.close()
        self.cut()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def cut(self) -> None:
        """Drop every connection, as a network does that goes away."""
        for writer in list(self._near):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()

    def half_close(self) -> None:
        """Send the near side an end of stream, and go on taking its bytes."""
        for writer in list(self._near):
            with contextlib.suppress(OSError):
                writer.write_eof()

    def stall(self) -> None:
        """Pass nothing on and end nothing: the line is dead, and nobody has noticed."""
        self.flowing.clear()

    def resume(self) -> None:
        self.flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._near.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            if isinstance(self.target, Path):
                far_reader, far = await asyncio.open_unix_connection(self.target)
            else:
                far_reader, far = await asyncio.open_connection(*self.target)
            await asyncio.gather(self._pass(reader, far), self._pass(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # as ssh does: whoever connected is hung up on
        finally:
            self._near.discard(writer)
            self._tasks.discard(task)
            for one in (writer, far):
                if one is not None:
                    one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await self.flowing.wait()
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


@contextlib.asynccontextmanager
async def forwarding(target: Target, path: Path | None = None) -> AsyncIterator[Forward]:
    """A forward for the length of a test."""
    forward = await Forward(target, path=path).up()
    try:
        yield forward
    finally:
        await forward.down()

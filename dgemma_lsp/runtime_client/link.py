"""One live connection to a runtime, and what waits on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from dgemma_wire import Connection
from dgemma_wire.messages import Done, Draft, PeerMessage, Status, Welcome

OnDraft = Callable[[Draft], None]


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that waits for its answer."""

    answer: asyncio.Future[Done]
    on_draft: OnDraft | None


@dataclass(eq=False)
class Link:
    """One live connection."""

    writer: asyncio.StreamWriter
    protocol: Connection
    welcome: Welcome
    pending: dict[int, Pending] = field(default_factory=dict[int, Pending])
    statuses: list[asyncio.Future[Status]] = field(default_factory=list[asyncio.Future[Status]])
    reader: asyncio.Task[None] | None = None
    watch: asyncio.Task[None] | None = None
    heard: float = 0.0
    """When bytes came last, by the loop's clock."""
    gone: str = "the runtime ended"
    """Why it is at an end, when nothing worse is found."""

    def send(self, message: PeerMessage) -> None:
        """Queue a message."""
        self.writer.write(self.protocol.send(message))

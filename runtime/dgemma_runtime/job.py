"""One request inside the runtime: what was asked, by when, and whether it is still wanted."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from dgemma_wire.messages import Request


class JobCancelled(Exception):
    """Raised by an engine, between two denoise steps, when the job is no longer wanted."""


@dataclass(eq=False, slots=True)
class Job:
    """A request on its way through queue and engine.

    ``cancelled`` is the only thing two threads touch: the loop sets it, the device thread reads it
    between denoise steps. Times are seconds of the monotonic clock the scheduler is given.
    """

    peer: int
    request: Request
    received: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: float | None = None
    superseded: bool = False

    @property
    def deadline(self) -> float | None:
        """Time after which no further denoise step is started."""
        wait = self.request.deadline_ms
        return None if wait is None else self.received + wait / 1000

    def check(self) -> None:
        """Leave the job if it was cancelled.

        Raises:
            JobCancelled: It was.
        """
        if self.cancelled.is_set():
            raise JobCancelled

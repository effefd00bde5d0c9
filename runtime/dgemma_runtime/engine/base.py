"""What the rest of the runtime knows of an engine. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dgemma_runtime.job import Job
from dgemma_wire.messages import Candidate, Capabilities, Draft, ModelLimits, RuntimeState, Timings


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """One step of fetching or loading a model; ``share`` is 0 to 1, or ``None`` when unknown."""

    state: RuntimeState
    message: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model runs, and why there."""

    name: str
    reason: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine made of a job: candidates best first, or the weights of a ``Weigh``."""

    candidates: tuple[Candidate, ...]
    timings: Timings
    weights: tuple[float, ...] = ()


class Engine(Protocol):
    """Runs jobs on the device, one at a time, from one thread.

    ``model``, ``limits`` and ``capabilities`` are known before anything is loaded, so that a peer
    can be welcomed.
    """

    model: str
    limits: ModelLimits
    capabilities: Capabilities

    def files(self) -> dict[str, str]:
        """Return the model's files and what is known of each, for the doctor; loads nothing."""
        ...

    def fetch(self, report: Callable[[LoadProgress], None]) -> None:
        """Bring the model's files onto this machine and check them, without loading them.

        Raises:
            ModelError: They cannot be had, or are wrong; the text says what to do.
        """
        ...

    def load(self, report: Callable[[LoadProgress], None]) -> Device:
        """Bring the weights onto the device; called again after ``unload``.

        Raises:
            ModelError: The files are missing, corrupt or of another kind; the text says what to do.
        """
        ...

    def unload(self) -> None:
        """Free the device's memory."""
        ...

    def denoise(self, job: Job, on_draft: Callable[[Draft], None]) -> Answer:
        """Denoise the free positions of the job's canvas.

        A ``Renoise`` goes on from a draft that an earlier answer to the same peer named; what the
        engine keeps of drafts is its own, and gone after ``unload``.

        ``on_draft`` is called after denoise steps, at most every ``draft_every_ms``.

        Raises:
            JobCancelled: ``job.cancelled`` was set; at most one denoise step ran after that.
            DenoiseFailed: The request cannot be answered; carries the code for the peer.
        """
        ...

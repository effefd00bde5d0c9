"""What the rest of the runtime knows of an engine. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

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


Outcome: TypeAlias = Answer | Exception
"""How a job ends: with an answer, or by what ``Engine.denoise`` raises for it."""
JobDraftSink: TypeAlias = Callable[[Job, Draft], None]
"""What is told of the drafts of several jobs."""
MoreJobs: TypeAlias = Callable[[int], Sequence[Job]]
"""What an engine asks for jobs that came meanwhile; takes how many it has room for."""


class Engine(Protocol):
    """Runs jobs on the device, from one thread.

    ``model``, ``limits`` and ``capabilities`` are known before anything is loaded, so that a peer
    can be welcomed.
    """

    model: str
    limits: ModelLimits
    capabilities: Capabilities

    @property
    def together(self) -> int:
        """Most jobs that are worth having on the device at once; 1 is one after another.

        At least 1. Counts while the model is loaded, may change between two jobs, and is read from
        another thread.
        """
        ...

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

    def denoise_together(
        self, jobs: Sequence[Job], on_draft: JobDraftSink, more: MoreJobs
    ) -> Iterator[tuple[Job, Outcome]]:
        """Denoise the canvases of several jobs at once.

        Every job ends for itself: its outcome is yielded as soon as there is one, exactly once, and
        whatever it is, the others go on. A job that was cancelled ends within one denoise step.

        What comes together is thought to share its passes (``scheduler.can_share``), but that is a
        guess: which adapter a ``Renoise`` takes, and whether rewrites have one of their own, only
        the engine knows. Those that cannot share take their steps in turn. A ``Weigh`` and a causal
        ``Denoise`` come alone, and nothing joins them.

        Args:
            jobs: At least one.
            on_draft: As in ``denoise``.
            more: Called between two steps, with how many further jobs there is room for; returns
                at most as many, which then belong to the group. Never blocks.

        Yields:
            A job and its outcome. An error that is raised instead ends all that are under way.
        """
        ...


def denoise_in_turn(
    denoise: Callable[[Job, Callable[[Draft], None]], Answer],
    jobs: Sequence[Job],
    on_draft: JobDraftSink,
) -> Iterator[tuple[Job, Outcome]]:
    """Be ``Engine.denoise_together`` for an engine that takes one job after another."""
    for job in jobs:
        # In no variable here: the traceback of an error holds the tensors of its step.
        yield job, _outcome(denoise, job, partial(on_draft, job))


def _outcome(
    denoise: Callable[[Job, Callable[[Draft], None]], Answer],
    job: Job,
    on_draft: Callable[[Draft], None],
) -> Outcome:
    try:
        return denoise(job, on_draft)
    except Exception as error:
        return error

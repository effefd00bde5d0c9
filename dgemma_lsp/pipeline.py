"""One fill from a cursor to checked candidates: capture, ask, check, rank, and the time of each.

Calls the pure core of ``infill`` and awaits one thing only, the runtime. Knows no LSP types; the
features convert what comes in and goes out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from dgemma_lsp.infill import capture, rank, segments, trigger, validate
from dgemma_lsp.infill.types import Candidate, Declined, DeclineReason, Hole, Snapshot, Verdict
from dgemma_lsp.runtime_client.client import Ask, RuntimeClient
from dgemma_wire import messages as wire
from dgemma_wire.errors import (
    DenoiseFailed,
    FailureCode,
    LocalProtocolError,
    RuntimeUnavailable,
)


class Silence(StrEnum):
    """Why a request that was made has nothing to show, beside the runtime's failure codes."""

    NO_RUNTIME = "no_runtime"
    ALL_REJECTED = "all_rejected"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Options:
    """How a fill is made.

    Attributes:
        document: Opaque key under which a newer request supersedes an older one.
        invoked: A person asked for it.
        candidates: How many different answers are wanted.
        deadline_ms: Milliseconds for the runtime's part.
        max_steps: Bound on denoise steps; ``None`` is the model's own.
        seed: Seed of the request's random stream.
        draft_every_ms: Least time between two drafts; ``None`` for none.
        adapter: Id of the workspace's adapter; empty for the model's own.
    """

    document: str
    invoked: bool = False
    candidates: int = 1
    deadline_ms: int | None = None
    max_steps: int | None = None
    seed: int = 0
    draft_every_ms: int | None = None
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of a fill; ``wire_ms`` is what asking took beyond the runtime's own total."""

    capture_ms: float = 0.0
    wire_ms: float = 0.0
    validate_ms: float = 0.0
    total_ms: float = 0.0
    runtime: wire.Timings | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An adapter the runtime cannot use, and why."""

    adapter: str
    why: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fill.

    Attributes:
        hole: The hole, unless the request was declined.
        candidates: Every candidate, accepted ones first, best first.
        declined: Why no request was made.
        silence: Why there is nothing to show, when a request was made.
        message: The reason in words.
        model: The model that answered.
        adapter: Id of the adapter it answered with; empty for its own.
        refused: The adapter that was asked for and could not be used.
    """

    hole: Hole | None = None
    candidates: tuple[Candidate, ...] = ()
    declined: DeclineReason | None = None
    silence: str | None = None
    message: str | None = None
    model: str | None = None
    times: Times = Times()
    adapter: str = ""
    refused: Refusal | None = None

    @property
    def shown(self) -> tuple[Candidate, ...]:
        """The candidates that passed the validator."""
        return tuple(c for c in self.candidates if c.verdict.accepted)


OnDraft = Callable[[wire.Draft], None]
Judged = TypeVar("Judged", bound=Outcome)


async def fill(
    snapshot: Snapshot,
    offset: int,
    options: Options,
    client: RuntimeClient,
    on_draft: OnDraft | None = None,
) -> Outcome:
    """Fill the hole at an offset of a frozen document.

    Never raises for what the runtime cannot do: the outcome says so. Cancellation passes through,
    and cancels the runtime's work with it.
    """
    began = time.perf_counter()
    hole = trigger.find_hole(snapshot, offset, invoked=options.invoked)
    if isinstance(hole, Declined):
        return Outcome(declined=hole.reason)
    try:
        welcome = await client.welcome()  # free when connected; the limits are the model's
        captured = time.perf_counter()
        context = capture.capture(snapshot, hole, capture.budget_for(welcome.limits))
        ask = to_ask(segments.lay_out(hole, context), options)
        asked = time.perf_counter()
        done, refused = await denoise(client, ask, on_draft)
    except UNANSWERED as err:
        return Outcome(hole, silence=silence_of(err), message=str(err))
    answered = time.perf_counter()
    candidates = rank.order(_checked(snapshot, hole, found) for found in done.candidates)
    ended = time.perf_counter()
    return judged(
        Outcome(
            hole,
            candidates,
            model=welcome.model,
            times=Times(
                capture_ms=(asked - captured) * 1000,
                wire_ms=max(0.0, (answered - asked) * 1000 - done.timings.total_ms),
                validate_ms=(ended - answered) * 1000,
                total_ms=(ended - began) * 1000,
                runtime=done.timings,
            ),
            adapter="" if refused else options.adapter,
            refused=refused,
        )
    )


UNANSWERED = (RuntimeUnavailable, LocalProtocolError, DenoiseFailed)
"""What the runtime's part may raise; ``silence_of`` has the reason."""


def silence_of(error: Exception) -> str:
    """Return why a request got no answer."""
    return str(error.code) if isinstance(error, DenoiseFailed) else Silence.NO_RUNTIME


async def denoise(
    client: RuntimeClient, ask: Ask, on_draft: OnDraft | None = None
) -> tuple[wire.Done, Refusal | None]:
    """Ask the runtime; once more without the adapter when it cannot use that.

    Raises:
        RuntimeUnavailable: There is no runtime.
        DenoiseFailed: It answered that it cannot.
    """
    try:
        return await client.denoise(ask, on_draft), None
    except DenoiseFailed as err:
        if err.code is not FailureCode.ADAPTER_UNAVAILABLE:
            raise
        refused = Refusal(ask.adapter, str(err))
    return await client.denoise(replace(ask, adapter=""), on_draft), refused


def judged(outcome: Judged) -> Judged:
    """Return an outcome with the silence that follows when no candidate is any good."""
    if outcome.shown:
        return outcome
    reasons = sorted({str(c.verdict.reason) for c in outcome.candidates})
    return replace(
        outcome,
        silence=Silence.ALL_REJECTED,
        message="No candidate passed the validator: " + (", ".join(reasons) or "none came"),
    )


def to_ask(canvas: segments.Canvas, options: Options) -> Ask:
    """Return what goes over the wire for a canvas."""
    rewriting = canvas.rewriting
    return Ask(
        document=options.document,
        prefix=canvas.prefix,
        segments=tuple(
            wire.Clamped(text=piece.text)
            if isinstance(piece, segments.Known)
            else wire.Free(tokens=piece.tokens, max_lines=piece.max_lines)
            for piece in canvas.pieces
        ),
        candidates=options.candidates,
        max_steps=options.max_steps,
        deadline_ms=options.deadline_ms,
        seed=options.seed,
        draft_every_ms=options.draft_every_ms,
        rewrite=None
        if rewriting is None
        else wire.Rewrite(instruction=rewriting.instruction, original=rewriting.original),
        adapter=options.adapter,
    )


def _checked(snapshot: Snapshot, hole: Hole, found: wire.Candidate) -> Candidate:
    (raw,) = found.texts
    text, verdict = validate.check(snapshot, hole, raw)
    return to_candidate(found, text, verdict)


def to_candidate(found: wire.Candidate, text: str, verdict: Verdict) -> Candidate:
    """Return a candidate of one span with what was made of its text."""
    return Candidate(
        text=text,
        raw=found.texts[0],
        score=found.score,
        lowest=found.lowest,
        steps=found.steps,
        stopped=found.stopped,
        verdict=verdict,
    )

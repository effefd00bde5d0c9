"""One fill from a cursor to checked candidates: capture, ask, check, mend, rank, and their times.

Calls the pure core of ``infill`` and awaits one thing only, the runtime. Knows no LSP types; the
features convert what comes in and goes out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import TypeVar

import msgspec

from dgemma_lsp import second
from dgemma_lsp.infill import capture, injections, rank, segments, trigger, validate
from dgemma_lsp.infill.types import (
    Candidate,
    Declined,
    DeclineReason,
    Hole,
    Snapshot,
)
from dgemma_lsp.repairing import Means, Mending, to_candidate
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_lsp.surroundings import Around, Surroundings
from dgemma_wire import messages as wire
from dgemma_wire.errors import (
    DenoiseFailed,
    FailureCode,
    LocalProtocolError,
    RuntimeUnavailable,
)

log = logging.getLogger(__name__)


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
        show_unsure: Candidates below the score that the model is to be trusted from pass too.
        mend: What may be done with a draft that does not pass; ``None`` rejects it.
        surroundings: Where text from outside the document comes from; ``None`` for none of it.
        second_opinion: Ask the causal pass as well, where the model has one that pays.
    """

    document: str
    invoked: bool = False
    candidates: int = 1
    deadline_ms: int | None = None
    max_steps: int | None = None
    seed: int = 0
    draft_every_ms: int | None = None
    adapter: str = ""
    show_unsure: bool = False
    mend: Means | None = field(default_factory=Means)
    surroundings: Surroundings | None = None
    second_opinion: bool = True


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of a fill; ``wire_ms`` is what asking took beyond the runtime's own total.

    ``second_ms`` is the second opinion's, ``mend_ms`` all that came after it: the runtime's rounds
    as well.
    """

    capture_ms: float = 0.0
    wire_ms: float = 0.0
    validate_ms: float = 0.0
    second_ms: float = 0.0
    mend_ms: float = 0.0
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
OnHead = Callable[[Hole, Candidate], None]
Judged = TypeVar("Judged", bound=Outcome)


async def fill(
    snapshot: Snapshot,
    offset: int,
    options: Options,
    client: RuntimeClient,
    on_draft: OnDraft | None = None,
    on_head: OnHead | None = None,
) -> Outcome:
    """Fill the hole at an offset of a frozen document.

    Never raises for what the runtime cannot do: the outcome says so. Cancellation passes through,
    and cancels the runtime's work with it.

    Args:
        snapshot: The document.
        offset: Where the cursor stands.
        options: How.
        client: The runtime.
        on_draft: Called with the canvas while it is denoised.
        on_head: Called with what is sound of a draft before the rest is mended; what comes out in
            the end begins with it.
    """
    began = time.perf_counter()
    # A fence of Markdown or a script of HTML is judged as what it is; the model sees all.
    inner, shift = injections.inner(snapshot, offset)
    local = trigger.find_hole(inner, offset - shift, invoked=options.invoked)
    if isinstance(local, Declined):
        return Outcome(declined=local.reason)
    hole = replace(local, offset=offset)
    try:
        welcome = await client.welcome()  # free when connected; the limits are the model's
        captured = time.perf_counter()
        around = await surrounded(snapshot, offset, offset, options, welcome)
        context = capture.capture(snapshot, hole, around.budget)
        canvas = replace(segments.lay_out(hole, context), context=around.pieces)
        ask = to_ask(canvas, options)
        asked = time.perf_counter()
        done, refused = await denoise(client, ask, on_draft)
    except UNANSWERED as err:
        return Outcome(hole, silence=silence_of(err), message=str(err))
    answered = time.perf_counter()
    least = None if options.show_unsure else welcome.capabilities.least_score
    every = tuple(_checked(inner, local, found) for found in done.candidates)
    checked = time.perf_counter()
    good = any(each.verdict.accepted and (least is None or each.score >= least) for each in every)
    # Who types on is better served by a good draft now than by a better one later.
    wanted = options.second_opinion and (options.invoked or not good)
    if welcome.capabilities.weighs and wanted:
        every = await second.opinion(
            ask if refused is None else msgspec.structs.replace(ask, adapter=""),
            every,
            partial(_checked, inner, local),
            client,
            left_ms=partial(_left_ms, asked, options.deadline_ms),
        )
    candidates = rank.unsure(rank.order(every), least)
    second_ms = (time.perf_counter() - checked) * 1000
    if options.mend is not None and candidates and _worth_mending(candidates[0], least):
        mending = Mending(
            inner,
            local,
            ask if refused is None else msgspec.structs.replace(ask, adapter=""),
            client,
            until=None if options.deadline_ms is None else asked + options.deadline_ms / 1000,
            most=welcome.limits.max_span_tokens,
            means=options.mend,
            on_head=None if on_head is None else partial(on_head, hole),
        )
        candidates = rank.order([await _mended(mending, candidates[0]), *candidates[1:]])
    return judged(
        Outcome(
            hole,
            candidates,
            model=welcome.model,
            times=times_of(
                began, captured, asked, answered, checked, done.timings, second_ms=second_ms
            ),
            adapter="" if refused else options.adapter,
            refused=refused,
        )
    )


async def surrounded(
    snapshot: Snapshot, start: int, end: int, options: Options, welcome: wire.Welcome
) -> Around:
    """Return pieces of text from elsewhere for a place, and what is left for its own document.

    The pieces go into ``Canvas.context``, and prefix and suffix are cut to the budget.
    """
    if options.surroundings is None:
        return Around(capture.budget_for(welcome.limits))
    return await options.surroundings.around(snapshot, start, end, welcome, patient=options.invoked)


def _left_ms(asked: float, deadline_ms: int | None) -> int | None:
    """Milliseconds until a deadline, counted from when the runtime was asked, in seconds."""
    if deadline_ms is None:
        return None
    return deadline_ms - round((time.perf_counter() - asked) * 1000)


def _worth_mending(first: Candidate, least: float | None) -> bool:
    """Whether the best draft does not pass as it is, and its score would let it be shown."""
    return not first.verdict.accepted and (least is None or first.score >= least)


async def _mended(mending: Mending, first: Candidate) -> Candidate:
    """The first candidate, sound if that can be done; a runtime that fails leaves it as it is."""
    try:
        return await mending.mend(first)
    except UNANSWERED as err:
        log.info("a draft could not be mended: %s", err)
        return first


def times_of(
    began: float,
    captured: float,
    asked: float,
    answered: float,
    checked: float,
    runtime: wire.Timings,
    *,
    second_ms: float = 0.0,
) -> Times:
    """Return the times of what ends now, given when its parts began, in seconds."""
    ended = time.perf_counter()
    return Times(
        capture_ms=(asked - captured) * 1000,
        wire_ms=max(0.0, (answered - asked) * 1000 - runtime.total_ms),
        validate_ms=(checked - answered) * 1000,
        second_ms=second_ms,
        mend_ms=(ended - checked) * 1000 - second_ms,
        total_ms=(ended - began) * 1000,
        runtime=runtime,
    )


UNANSWERED = (RuntimeUnavailable, LocalProtocolError, DenoiseFailed)
"""What the runtime's part may raise; ``silence_of`` has the reason."""


def silence_of(error: Exception) -> str:
    """Return why a request got no answer."""
    return str(error.code) if isinstance(error, DenoiseFailed) else Silence.NO_RUNTIME


async def denoise(
    client: RuntimeClient, ask: wire.Denoise, on_draft: OnDraft | None = None
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
    return await client.denoise(msgspec.structs.replace(ask, adapter=""), on_draft), refused


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


def to_ask(canvas: segments.Canvas, options: Options) -> wire.Denoise:
    """Return what goes over the wire for a canvas."""
    rewriting = canvas.rewriting
    return wire.Denoise(
        document=options.document,
        prefix=canvas.prefix,
        segments=tuple(
            wire.Clamped(text=piece.text)
            if isinstance(piece, segments.Known)
            else wire.Free(
                tokens=piece.tokens,
                max_lines=piece.max_lines,
                start=piece.start,
                noise=piece.noise,
            )
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
        context=canvas.context,
    )


def _checked(snapshot: Snapshot, hole: Hole, found: wire.Candidate) -> Candidate:
    (raw,) = found.texts
    text, verdict = validate.check(snapshot, hole, raw)
    return to_candidate(found, text, verdict)

"""The methods beyond LSP, all under ``dgemma/``: their names, parameters and results.

docs/protocol.md is generated from here. Positions are LSP's, in the negotiated encoding.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dgemma_wire.messages import DraftToken, Status, Timings

FILL = "dgemma/fill"
"""Request: fill the hole at a position and answer with everything known of it."""
PREVIEW = "dgemma/preview"
"""Notification to the client: the canvas of a running fill as it stands."""
STATUS = "dgemma/status"
"""Request: what the server and its runtime are doing, and why it was silent."""
STOP_RUNTIME = "dgemma/stopRuntime"
"""Request: end the runtime process; the next fill starts another."""

ACCEPTED = "dgemma.accepted"
"""Command that an editor runs after it has inserted a candidate."""
RESTART_RUNTIME = "dgemma.restartRuntime"
"""Command for people: end the runtime; the next request starts another."""


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what travels: camelCase names, unknown members ignored as LSP asks."""


class Position(_Shape, frozen=True, kw_only=True):
    """A place in a document, as LSP counts it."""

    line: int
    character: int


class DocumentId(_Shape, frozen=True, kw_only=True):
    """A document, and the version the client speaks of when it says so."""

    uri: str
    version: int | None = None


class FillParams(_Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/fill``."""

    text_document: DocumentId
    position: Position
    candidates: Annotated[int | None, Meta(description="How many; null takes the setting.")] = None
    max_steps: Annotated[int | None, Meta(description="Bound on denoise steps.")] = None
    deadline_ms: Annotated[int | None, Meta(description="Milliseconds it may take.")] = None
    seed: Annotated[int, Meta(description="Seed of the request's random stream.")] = 0
    preview_token: Annotated[
        str | int | None,
        Meta(description="Repeated in every `dgemma/preview`; null asks for no previews."),
    ] = None
    preview_every_ms: Annotated[
        int, Meta(description="Least milliseconds between two previews.", ge=0)
    ] = 50


class PreviewParams(_Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/preview``: one list of tokens per hole."""

    token: str | int
    candidate: int
    step: int
    max_steps: int
    spans: tuple[tuple[DraftToken, ...], ...]


class VerdictResult(_Shape, frozen=True, kw_only=True):
    """What the validator found; see ``dgemma_lsp.infill.types.Verdict``."""

    accepted: bool
    reason: str | None
    parser: str | None
    errors_before: int
    errors_after: int
    trimmed: tuple[str, ...]


class CandidateResult(_Shape, frozen=True, kw_only=True):
    """One candidate, shown or not."""

    text: str
    score: Annotated[float, Meta(description="Mean log-probability of its tokens, in nats.")]
    lowest: Annotated[float, Meta(description="Smallest probability of any of its tokens.")]
    steps: int
    stopped: str
    verdict: VerdictResult


class Phases(_Shape, frozen=True, kw_only=True):
    """Where a fill's time went, in milliseconds; ``runtime`` has the runtime's own share."""

    capture_ms: float
    wire_ms: float
    validate_ms: float
    total_ms: float
    cached: Annotated[bool, Meta(description="Answered without asking the runtime.")]
    runtime: Timings | None = None


class FillResult(_Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/fill``.

    ``text`` is what to insert at the position, or null when nothing good was found; ``reason``
    then says why.
    """

    text: str | None
    reason: str | None
    message: Annotated[str | None, Meta(description="The reason in words, for a person.")]
    version: Annotated[int | None, Meta(description="The document version the text fits.")]
    kind: str | None
    candidates: tuple[CandidateResult, ...]
    timings: Phases
    model: str | None


class StopResult(_Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/stopRuntime``; ``message`` says why a runtime could not be ended."""

    stopped: Annotated[bool, Meta(description="Whether one ran and was ended.")]
    message: str | None = None


class StatusResult(_Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/status``."""

    release: str
    mode: str
    connected: bool
    runtime: Status | None
    problem: Annotated[str | None, Meta(description="What is wrong and what to do about it.")]
    declined: Annotated[dict[str, int], Meta(description="Why no request was made, counted.")]
    rejected: Annotated[dict[str, int], Meta(description="Why candidates were dropped, counted.")]
    silent: Annotated[
        dict[str, int], Meta(description="Why requests got no answer from the runtime, counted.")
    ]
    shown: int
    accepted: int
    last_total_ms: float | None

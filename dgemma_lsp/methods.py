"""The methods beyond LSP, all under ``dgemma/``: their names, parameters and results.

docs/protocol.md is generated from here. Positions are LSP's, in the negotiated encoding.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dgemma_wire.messages import DraftToken, RewriteKind, Status, Timings

FILL = "dgemma/fill"
"""Request: fill the hole at a position and answer with everything known of it."""
PREVIEW = "dgemma/preview"
"""Notification to the client: the canvas of a running fill as it stands."""
EXTENDED = "dgemma/extended"
"""Notification to the client: a draft of which only the beginning was shown is whole now."""
MEND = "dgemma/mend"
"""Request: mend the syntax error that a range touches, as an edit."""
REWRITE = "dgemma/rewrite"
"""Request: rewrite the lines of a range by an instruction the model knows, as an edit."""
REWRITES = "dgemma/rewrites"
"""Request: the instructions the model knows, and how often it gets each right."""
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


class ExtendedParams(_Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/extended``.

    The last completion at the position showed the sound beginning of a draft. The rest is mended
    now: the same request is answered with ``text`` at once.
    """

    text_document: DocumentId
    position: Position
    text: str


class FaultResult(_Shape, frozen=True, kw_only=True):
    """One thing wrong with a candidate; see ``dgemma_lsp.infill.types.Fault``."""

    reason: str
    start: Annotated[int, Meta(description="Characters of the candidate's text before it.")]
    end: int
    place: Annotated[str, Meta(description="`before`, `inside` or `after` the candidate.")]
    missing: Annotated[str, Meta(description="What a grammar expected there; often empty.")]
    message: str


class VerdictResult(_Shape, frozen=True, kw_only=True):
    """What the validator found; see ``dgemma_lsp.infill.types.Verdict``."""

    accepted: bool
    reason: str | None
    parser: str | None
    errors_before: int
    errors_after: int
    trimmed: tuple[str, ...]
    faults: tuple[FaultResult, ...]


class CandidateResult(_Shape, frozen=True, kw_only=True):
    """One candidate, shown or not."""

    text: str
    score: Annotated[float, Meta(description="Mean log-probability of its tokens, in nats.")]
    lowest: Annotated[float, Meta(description="Smallest probability of any of its tokens.")]
    steps: int
    stopped: str
    verdict: VerdictResult
    mended: Annotated[
        str | None,
        Meta(description="`by_hand`, `renoised` or `head`: how it became sound that was not."),
    ] = None
    rounds: Annotated[int, Meta(description="Rounds of denoising parts of it again.")] = 0


class Phases(_Shape, frozen=True, kw_only=True):
    """Where a fill's time went, in milliseconds; ``runtime`` has the runtime's own share."""

    capture_ms: float
    wire_ms: float
    validate_ms: float
    mend_ms: float
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


class Range(_Shape, frozen=True, kw_only=True):
    """A stretch of a document, as LSP means it: ``end`` is behind its last character."""

    start: Position
    end: Position


class TextEdit(_Shape, frozen=True, kw_only=True):
    """One change of a text, as LSP's."""

    range: Range
    new_text: str


class DocumentEdit(_Shape, frozen=True, kw_only=True):
    """The changes of one document at one version, as LSP's ``TextDocumentEdit``."""

    text_document: DocumentId
    edits: tuple[TextEdit, ...]


class VersionedEdit(_Shape, frozen=True, kw_only=True):
    """A ``WorkspaceEdit`` of LSP; clients refuse it when the document has moved on."""

    document_changes: tuple[DocumentEdit, ...]


class RewriteParams(_Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/rewrite``. The lines that the range touches are rewritten."""

    text_document: Annotated[
        DocumentId, Meta(description="With a version, only that version is rewritten.")
    ]
    range: Range
    instruction: Annotated[str, Meta(description="One of `dgemma/rewrites`, places filled in.")]
    candidates: Annotated[int | None, Meta(description="How many; null takes the setting.")] = None
    deadline_ms: Annotated[int | None, Meta(description="Milliseconds it may take.")] = None
    seed: Annotated[int, Meta(description="Seed of the request's random stream.")] = 0


class RewriteResult(_Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/rewrite``: an edit, or null and the reason."""

    edit: VersionedEdit | None
    reason: str | None
    message: Annotated[str | None, Meta(description="The reason in words, for a person.")]
    instruction: Annotated[str | None, Meta(description="In the model's own words.")]
    candidates: tuple[CandidateResult, ...]
    timings: Phases
    model: str | None


class MendParams(_Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/mend``. The first syntax error that the range touches is mended.

    Where it touches none, but one is nearby, the text of the range itself is denoised anew.
    """

    text_document: Annotated[
        DocumentId, Meta(description="With a version, only that version is mended.")
    ]
    range: Range
    candidates: Annotated[
        int | None, Meta(description="How many a round; null takes the setting.")
    ] = None
    deadline_ms: Annotated[
        int | None, Meta(description="Milliseconds all rounds may take together.")
    ] = None
    seed: Annotated[int, Meta(description="Seed of the request's random stream.")] = 0
    preview_token: Annotated[
        str | int | None,
        Meta(description="Repeated in every `dgemma/preview`; null asks for no previews."),
    ] = None
    preview_every_ms: Annotated[
        int, Meta(description="Least milliseconds between two previews.", ge=0)
    ] = 50


class MendResult(_Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/mend``: an edit of only what differs, or null and the reason."""

    edit: VersionedEdit | None
    region: Annotated[
        Range | None, Meta(description="What was replaced, or tried to be; null for nothing.")
    ]
    how: Annotated[
        str | None,
        Meta(
            description="`insertion` or `deletion` of a delimiter, for which no model was asked, "
            "or `model`."
        ),
    ]
    rounds: Annotated[int, Meta(description="Ever wider regions that the model was asked about.")]
    errors_before: Annotated[int, Meta(description="Syntax errors in the neighbourhood.")]
    errors_after: Annotated[int, Meta(description="The same with the edit made.")]
    reason: str | None
    message: Annotated[str | None, Meta(description="The reason in words, for a person.")]
    candidates: tuple[CandidateResult, ...]
    timings: Phases
    model: str | None


class RewritesParams(_Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/rewrites``."""

    language: Annotated[
        str | None, Meta(description="LSP language identifier; null for all languages.")
    ] = None


class RewritesResult(_Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/rewrites``; ``message`` says why there are none to be known."""

    rewrites: tuple[RewriteKind, ...]
    message: str | None = None


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
    mended: Annotated[
        dict[str, int], Meta(description="How candidates that are shown became sound, counted.")
    ]
    shown: int
    accepted: int
    last_total_ms: float | None
    adapter: Annotated[
        str, Meta(description="Adapter of the last answer; empty for the model's own.")
    ] = ""
    adapter_problem: Annotated[
        str | None, Meta(description="Why the workspace's adapter is not used.")
    ] = None
    rewrites: Annotated[
        tuple[RewriteKind, ...], Meta(description="What the connected model can do to a selection.")
    ] = ()

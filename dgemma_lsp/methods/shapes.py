"""What all methods share: places, edits, previews, and what is known of a text."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dgemma_wire.messages import DraftToken, Timings


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what travels: camelCase names, unknown members ignored as LSP asks."""


class Position(Shape, frozen=True, kw_only=True):
    """A place in a document, as LSP counts it."""

    line: int
    character: int


class Range(Shape, frozen=True, kw_only=True):
    """A stretch of a document, as LSP means it: ``end`` is behind its last character."""

    start: Position
    end: Position


class DocumentId(Shape, frozen=True, kw_only=True):
    """A document, and the version the client speaks of when it says so."""

    uri: str
    version: int | None = None


class TextEdit(Shape, frozen=True, kw_only=True):
    """One change of a text, as LSP's."""

    range: Range
    new_text: str


class DocumentEdit(Shape, frozen=True, kw_only=True):
    """The changes of one document at one version, as LSP's ``TextDocumentEdit``."""

    text_document: DocumentId
    edits: tuple[TextEdit, ...]


class VersionedEdit(Shape, frozen=True, kw_only=True):
    """A ``WorkspaceEdit`` of LSP; clients refuse it when the document has moved on."""

    document_changes: tuple[DocumentEdit, ...]


class Denoising(Shape, frozen=True, kw_only=True):
    """What every request that has the runtime denoise can name."""

    seed: Annotated[int, Meta(description="Seed of the request's random stream.")] = 0
    preview_token: Annotated[
        str | int | None,
        Meta(description="Repeated in every `dgemma/preview`; null asks for no previews."),
    ] = None
    preview_every_ms: Annotated[
        int, Meta(description="Least milliseconds between two previews.", ge=0)
    ] = 50


class PreviewParams(Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/preview``: one list of tokens per hole."""

    token: str | int
    candidate: int
    step: int
    max_steps: int
    spans: tuple[tuple[DraftToken, ...], ...]
    canvas: Annotated[
        int, Meta(description="Which canvas of several the work goes through, from 0.")
    ] = 0
    ranges: Annotated[
        tuple[Range, ...], Meta(description="What each span stands in for, as the document was.")
    ] = ()


class FaultResult(Shape, frozen=True, kw_only=True):
    """One thing wrong with a candidate; see ``dgemma_lsp.infill.types.Fault``."""

    reason: str
    start: Annotated[int, Meta(description="Characters of the candidate's text before it.")]
    end: int
    place: Annotated[str, Meta(description="`before`, `inside` or `after` the candidate.")]
    missing: Annotated[str, Meta(description="What a grammar expected there; often empty.")]
    message: str


class VerdictResult(Shape, frozen=True, kw_only=True):
    """What the validator found; see ``dgemma_lsp.infill.types.Verdict``."""

    accepted: bool
    reason: str | None
    parser: str | None
    errors_before: int
    errors_after: int
    trimmed: tuple[str, ...]
    faults: tuple[FaultResult, ...]


class TokenResult(Shape, frozen=True, kw_only=True):
    """One token of a text that was denoised."""

    start: Annotated[int, Meta(description="Characters of the text before it.")]
    end: int
    probability: Annotated[float, Meta(description="When it was accepted, 0 to 1.")]


class CandidateResult(Shape, frozen=True, kw_only=True):
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
    tokens: Annotated[
        tuple[TokenResult, ...], Meta(description="Its tokens in order, where they are known.")
    ] = ()


class Phases(Shape, frozen=True, kw_only=True):
    """Where a fill's time went, in milliseconds; ``runtime`` has the runtime's own share."""

    capture_ms: float
    wire_ms: float
    validate_ms: float
    second_ms: Annotated[float, Meta(description="Asking the model's causal pass as well.")]
    mend_ms: float
    total_ms: float
    cached: Annotated[bool, Meta(description="Answered without asking the runtime.")]
    runtime: Timings | None = None

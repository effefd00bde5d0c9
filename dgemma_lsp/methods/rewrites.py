"""Rewriting a selection, hunk by hunk where somebody wants to."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dgemma_lsp.methods.shapes import (
    CandidateResult,
    Denoising,
    DocumentId,
    Phases,
    Range,
    Shape,
    TokenResult,
    VersionedEdit,
)
from dgemma_wire.messages import RewriteKind


class RewriteParams(Denoising, frozen=True, kw_only=True):
    """Parameters of ``dgemma/rewrite``. The lines that the range touches are rewritten."""

    text_document: Annotated[
        DocumentId, Meta(description="With a version, only that version is rewritten.")
    ]
    range: Range
    instruction: Annotated[str, Meta(description="One of `dgemma/rewrites`, places filled in.")]
    candidates: Annotated[int | None, Meta(description="How many; null takes the setting.")] = None
    deadline_ms: Annotated[int | None, Meta(description="Milliseconds it may take.")] = None
    pinned: Annotated[
        tuple[Range, ...], Meta(description="Lines of the range that stay as they are.")
    ] = ()
    noise: Annotated[
        float,
        Meta(
            description="Share of the old text that is made anew: less stays closer to it, 1 "
            "writes everything again.",
            gt=0,
            le=1,
        ),
    ] = 1.0


class HunkResult(Shape, frozen=True, kw_only=True):
    """One place where a proposed rewrite differs from the document: whole lines."""

    id: int
    range: Annotated[
        Range, Meta(description="The old lines, with their line breaks; empty for an insertion.")
    ]
    old_text: str
    new_text: str
    tokens: Annotated[
        tuple[TokenResult, ...], Meta(description="Of the new text, where they are known.")
    ] = ()


class RewriteResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/rewrite``: an edit, or null and the reason.

    ``edit`` makes the whole rewrite at once. ``dgemma/resolve`` takes it hunk by hunk instead.
    """

    edit: VersionedEdit | None
    proposal: Annotated[int | None, Meta(description="For `dgemma/resolve`; null for none.")]
    hunks: tuple[HunkResult, ...]
    canvases: Annotated[int, Meta(description="Blocks that a long selection was taken in.")]
    reason: str | None
    message: Annotated[str | None, Meta(description="The reason in words, for a person.")]
    instruction: Annotated[str | None, Meta(description="In the model's own words.")]
    candidates: tuple[CandidateResult, ...]
    timings: Phases
    model: str | None


class ResolveParams(Denoising, frozen=True, kw_only=True):
    """Parameters of ``dgemma/resolve``.

    The text that was rewritten may have moved since, but must be as the proposal left it.
    """

    proposal: int
    action: Annotated[
        Literal["accept", "reject", "redo", "show"],
        Meta(description="`show` decides nothing, and is answered with what is open."),
    ]
    hunks: Annotated[
        tuple[int, ...] | None, Meta(description="Their ids; null for all that are open.")
    ] = None
    instruction: Annotated[
        str | None, Meta(description="For `redo`: another one; null for the same.")
    ] = None
    noise: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="For `redo`; null for the same."),
    ] = None
    deadline_ms: Annotated[int | None, Meta(description="Milliseconds a redo may take.")] = None
    seed: Annotated[int, Meta(description="Seed of a redo's random stream.")] = 0


class ResolveResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/resolve``.

    A redo that finds nothing new leaves its hunks as they were, and says so in ``reason``.
    """

    edit: Annotated[VersionedEdit | None, Meta(description="For `accept`: to be made now.")]
    hunks: Annotated[
        tuple[HunkResult, ...],
        Meta(description="Those still open, in the document as it is once `edit` is made."),
    ]
    reason: str | None
    message: Annotated[str | None, Meta(description="The reason in words, for a person.")]
    timings: Phases


class RewritesParams(Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/rewrites``."""

    language: Annotated[
        str | None, Meta(description="LSP language identifier; null for all languages.")
    ] = None


class RewritesResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/rewrites``; ``message`` says why there are none to be known."""

    rewrites: tuple[RewriteKind, ...]
    instructions: Annotated[
        bool, Meta(description="Any instruction may be tried, not only these.")
    ] = False
    message: str | None = None

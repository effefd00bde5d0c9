"""Filling one hole, several together, and mending."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from dgemma_lsp.methods.shapes import (
    CandidateResult,
    Denoising,
    DocumentId,
    Phases,
    Position,
    Range,
    Shape,
    TokenResult,
    VersionedEdit,
)


class FillParams(Denoising, frozen=True, kw_only=True):
    """Parameters of ``dgemma/fill``."""

    text_document: DocumentId
    position: Position
    candidates: Annotated[int | None, Meta(description="How many; null takes the setting.")] = None
    max_steps: Annotated[int | None, Meta(description="Bound on denoise steps.")] = None
    deadline_ms: Annotated[int | None, Meta(description="Milliseconds it may take.")] = None


class FillResult(Shape, frozen=True, kw_only=True):
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


class ExtendedParams(Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/extended``.

    The last completion at the position showed the sound beginning of a draft. The rest is mended
    now: the same request is answered with ``text`` at once.
    """

    text_document: DocumentId
    position: Position
    text: str


class HolesParams(Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/holes``."""

    text_document: DocumentId
    range: Annotated[
        Range | None, Meta(description="Where to look; null for the whole document.")
    ] = None


class MarkedHole(Shape, frozen=True, kw_only=True):
    """A place that somebody marked to be filled."""

    range: Annotated[Range, Meta(description="What the text will stand in for.")]
    mark: Annotated[str, Meta(description="`blank`, `todo` or `given`: how it is marked.")]


class HolesResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/holes``, in order."""

    holes: tuple[MarkedHole, ...]
    message: Annotated[str | None, Meta(description="Why there are none.")] = None


class FillHolesParams(Denoising, frozen=True, kw_only=True):
    """Parameters of ``dgemma/fillHoles``."""

    text_document: Annotated[
        DocumentId, Meta(description="With a version, only that version is filled.")
    ]
    holes: Annotated[
        tuple[Range, ...] | None,
        Meta(description="What to fill, such as several cursors; null for the marked holes."),
    ] = None
    range: Annotated[
        Range | None, Meta(description="Where to look for marked ones; null for everywhere.")
    ] = None
    deadline_ms: Annotated[int | None, Meta(description="Milliseconds it may take.")] = None


class FilledHole(Shape, frozen=True, kw_only=True):
    """A hole, and the text for it; null when none was found that is sound."""

    range: Range
    mark: str
    old_text: str
    text: str | None
    reason: str | None
    tokens: tuple[TokenResult, ...] = ()


class FillHolesResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/fillHoles``.

    Every text is sound by itself and together with the others; ``edit`` puts in all of them.
    """

    holes: tuple[FilledHole, ...]
    edit: VersionedEdit | None
    canvases: Annotated[int, Meta(description="How many it took; one when the holes are near.")]
    reason: str | None
    message: Annotated[str | None, Meta(description="The reason in words, for a person.")]
    timings: Phases
    model: str | None


class MendParams(Denoising, frozen=True, kw_only=True):
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


class MendResult(Shape, frozen=True, kw_only=True):
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

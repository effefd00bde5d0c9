"""The layout of a canvas: which positions are clamped, which are free, where each span stands.

And the reading of a filled one: which positions of a span make up its text. A span is one free
piece, or, where parts of an earlier draft stay, several pieces of which some are clamped. Each free
piece ends by itself, at an end token or where its lines are used up; what follows it stays.

Works on token ids only. It deliberately does not know texts, tokenizers, tensors or models: what
a model wants of its canvas comes in as a ``Layout``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from dgemma_wire.errors import DenoiseFailed, FailureCode

NeededTokens = Callable[[int, Sequence[int], Sequence[int]], int | None]
"""Given a span's number, the tokens of its earlier free pieces and the leading tokens of one: how
many of the latter its text needs, ``None`` for all."""

NO_TOKEN = -1
"""Stands at free positions of a fresh canvas; no vocabulary has it, so a forgotten one is seen."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a model wants of its canvas.

    Attributes:
        head_rows: Last prefix tokens that stand at the head of the canvas as clean rows.
        span_tokens: Positions of a free segment that names no number.
        tail_tokens: Most clamped positions after the last span.
        canvas_tokens: Most positions of a canvas.
        empty_head_id: Stands in for head rows when the prefix is empty.
        max_span_tokens: Most positions a free segment may name; ``None`` for what fits.
    """

    head_rows: int
    span_tokens: int
    tail_tokens: int
    canvas_tokens: int
    empty_head_id: int = 0
    max_span_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ClampedIds:
    """Tokens of known text.

    ``log_probability`` (nats) is that of each token when a draft accepted it; empty for text that
    is certain.
    """

    ids: tuple[int, ...]
    log_probability: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class FreeSlots:
    """Positions to denoise. By itself it is a whole span.

    Attributes:
        tokens: Their number; ``None`` takes the layout's.
        start: What the first of them begin as in place of noise; ``NO_TOKEN`` where they do not.
            They are as free as the others.
    """

    tokens: int | None = None
    start: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PartSpan:
    """A span of which parts are known."""

    pieces: tuple[ClampedIds | FreeSlots, ...]


Segments = Sequence[ClampedIds | FreeSlots | PartSpan]
Range = tuple[int, int]
"""First position, and the one after the last."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Token ids with the free positions marked.

    Attributes:
        ids: Holds ``NO_TOKEN`` exactly where ``free`` is true.
        free: Positions to denoise.
        spans: Where each span stands.
        pieces: The free pieces of each span, in order.
        log_probability: Nats of clamped tokens that a draft accepted; 0 everywhere else.
        begins: What free positions begin as; ``NO_TOKEN`` for noise, and at clamped ones.
    """

    ids: tuple[int, ...]
    free: tuple[bool, ...]
    spans: tuple[Range, ...]
    pieces: tuple[tuple[Range, ...], ...]
    log_probability: tuple[float, ...]
    begins: tuple[int, ...]


def lay_out(
    prefix_ids: Sequence[int], segments: Segments, layout: Layout
) -> tuple[tuple[int, ...], Canvas]:
    """Place the segments one after another behind the layout's head rows.

    Clamped text after the last span is cut at what the layout keeps of it; all other positions
    are kept whole or the request is refused.

    Returns:
        The prefix tokens that are left for the causal pass, and the canvas.

    Raises:
        DenoiseFailed: ``bad_request`` without a free position, ``context_too_long`` when a span
            has more free positions than the layout allows, or spans and the text between them do
            not fit.
    """
    spans_at = [i for i, segment in enumerate(segments) if not isinstance(segment, ClampedIds)]
    split = max(0, len(prefix_ids) - layout.head_rows)
    head = list(prefix_ids[split:])
    missing = layout.head_rows - len(head)
    ids = [layout.empty_head_id] * missing + head
    log_probability = [0.0] * len(ids)
    begins: dict[int, int] = {}
    spans: list[Range] = []
    pieces: list[tuple[Range, ...]] = []
    for segment in segments[: spans_at[-1] + 1] if spans_at else ():
        start = len(ids)
        free: list[Range] = []
        for piece in segment.pieces if isinstance(segment, PartSpan) else (segment,):
            if isinstance(piece, ClampedIds):
                ids.extend(piece.ids)
                log_probability.extend(piece.log_probability or [0.0] * len(piece.ids))
                continue
            tokens = layout.span_tokens if piece.tokens is None else piece.tokens
            _check_slots(tokens, sum(end - at for at, end in free), layout)
            free.append((len(ids), len(ids) + tokens))
            begins |= zip(range(len(ids), len(ids) + tokens), piece.start, strict=False)
            ids.extend([NO_TOKEN] * tokens)
            log_probability.extend([0.0] * tokens)
        if not isinstance(segment, ClampedIds):
            spans.append((start, len(ids)))
            pieces.append(tuple(free))
    if not any(pieces):
        raise DenoiseFailed(FailureCode.BAD_REQUEST, "The request has no free segment.")
    if len(ids) > layout.canvas_tokens:
        raise DenoiseFailed(
            FailureCode.CONTEXT_TOO_LONG,
            f"The spans and the text between them take {len(ids)} positions; "
            f"the model's canvas has {layout.canvas_tokens}.",
        )

    room = min(layout.tail_tokens, layout.canvas_tokens - len(ids))
    tail = [
        token
        for segment in segments[spans_at[-1] + 1 :]
        if isinstance(segment, ClampedIds)
        for token in segment.ids
    ][:room]
    ids.extend(tail)
    log_probability.extend([0.0] * len(tail))
    canvas = Canvas(
        ids=tuple(ids),
        free=tuple(token == NO_TOKEN for token in ids),
        spans=tuple(spans),
        pieces=tuple(pieces),
        log_probability=tuple(log_probability),
        begins=tuple(begins.get(position, NO_TOKEN) for position in range(len(ids))),
    )
    return tuple(prefix_ids[:split]), canvas


def _check_slots(tokens: int, before: int, layout: Layout) -> None:
    """Refuse a free piece that is none, or too long with what its span has free before it."""
    if tokens < 1:
        raise DenoiseFailed(
            FailureCode.BAD_REQUEST, f"A free segment has {tokens} positions; it needs one."
        )
    if layout.max_span_tokens is not None and before + tokens > layout.max_span_tokens:
        raise DenoiseFailed(
            FailureCode.CONTEXT_TOO_LONG,
            f"A free segment asks for {before + tokens} positions; this model fills "
            f"{layout.max_span_tokens} at most.",
        )
    if before + tokens > layout.canvas_tokens:  # before a list of that length is made
        raise DenoiseFailed(
            FailureCode.CONTEXT_TOO_LONG,
            f"A free segment asks for {before + tokens} positions; the model's canvas has "
            f"{layout.canvas_tokens}.",
        )


@dataclass(frozen=True, slots=True)
class SpanReading:
    """Which positions of a filled canvas make up a span's text.

    Attributes:
        parts: The runs of positions that do, in order, empty ones left out.
        cut: Those of the runs whose last token holds the newline that used up the lines; the
            text ends before that newline.
        ends: Positions of the tokens that ended a free piece.
        ended: The last piece is free and ended by itself.
    """

    parts: tuple[Range, ...]
    cut: frozenset[Range]
    ends: tuple[int, ...]
    ended: bool


def read_span(
    canvas: Canvas,
    number: int,
    ids: Sequence[int],
    end_ids: Collection[int],
    needed: NeededTokens,
) -> SpanReading:
    """Read span ``number`` out of the token ids (canvas,) of a filled canvas."""
    start, end = canvas.spans[number]
    parts: list[Range] = []
    cut: set[Range] = set()
    ends: list[int] = []
    earlier: list[int] = []
    ended = False
    at = start
    for piece_start, piece_end in canvas.pieces[number]:
        parts.append((at, piece_start))
        held = read_piece(ids, (piece_start, piece_end), end_ids)
        lines = needed(number, earlier, held)
        ended = lines is not None or len(held) < piece_end - piece_start
        part = (piece_start, piece_start + (len(held) if lines is None else lines))
        parts.append(part)
        if lines is not None:
            cut.add(part)
        elif ended:
            ends.append(part[1])
        earlier.extend(ids[slice(*part)])
        at = piece_end
    parts.append((at, end))
    return SpanReading(
        parts=tuple(part for part in parts if part[0] < part[1]),
        cut=frozenset(cut),
        ends=tuple(ends),
        ended=ended and at == end,
    )


def read_piece(ids: Sequence[int], piece: Range, end_ids: Collection[int]) -> tuple[int, ...]:
    """Return the tokens of a free piece up to, and without, the first that ends it."""
    start, end = piece
    for position in range(start, end):
        if ids[position] in end_ids:
            return tuple(ids[start:position])
    return tuple(ids[start:end])

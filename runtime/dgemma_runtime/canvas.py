"""The layout of a canvas: which positions are clamped, which are free, where each span stands.

Works on token ids only. It deliberately does not know texts, tokenizers, tensors or models: what
a model wants of its canvas comes in as a ``Layout``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dgemma_wire.errors import DenoiseFailed, FailureCode

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
    """Tokens of known text."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FreeSlots:
    """A span to denoise; ``None`` takes the layout's number of positions."""

    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Canvas:
    """Token ids with the free positions marked; ``spans`` are (start, end) of each free segment.

    ``ids`` holds ``NO_TOKEN`` exactly where ``free`` is true.
    """

    ids: tuple[int, ...]
    free: tuple[bool, ...]
    spans: tuple[tuple[int, int], ...]


def lay_out(
    prefix_ids: Sequence[int], segments: Sequence[ClampedIds | FreeSlots], layout: Layout
) -> tuple[tuple[int, ...], Canvas]:
    """Place the segments one after another behind the layout's head rows.

    Clamped text after the last span is cut at what the layout keeps of it; all other positions
    are kept whole or the request is refused.

    Returns:
        The prefix tokens that are left for the causal pass, and the canvas.

    Raises:
        DenoiseFailed: ``bad_request`` without a free position, ``context_too_long`` when a span
            has more positions than the layout allows, or spans and the text between them do not
            fit.
    """
    last_free = max(
        (i for i, segment in enumerate(segments) if isinstance(segment, FreeSlots)), default=None
    )
    if last_free is None:
        raise DenoiseFailed(FailureCode.BAD_REQUEST, "The request has no free segment.")

    split = max(0, len(prefix_ids) - layout.head_rows)
    head = list(prefix_ids[split:])
    missing = layout.head_rows - len(head)
    ids = [layout.empty_head_id] * missing + head
    spans: list[tuple[int, int]] = []
    for segment in segments[: last_free + 1]:
        if isinstance(segment, ClampedIds):
            ids.extend(segment.ids)
            continue
        tokens = layout.span_tokens if segment.tokens is None else segment.tokens
        if tokens < 1:
            raise DenoiseFailed(
                FailureCode.BAD_REQUEST, f"A free segment has {tokens} positions; it needs one."
            )
        if layout.max_span_tokens is not None and tokens > layout.max_span_tokens:
            raise DenoiseFailed(
                FailureCode.CONTEXT_TOO_LONG,
                f"A free segment asks for {tokens} positions; this model fills "
                f"{layout.max_span_tokens} at most.",
            )
        spans.append((len(ids), len(ids) + tokens))
        ids.extend([NO_TOKEN] * tokens)
    if len(ids) > layout.canvas_tokens:
        raise DenoiseFailed(
            FailureCode.CONTEXT_TOO_LONG,
            f"The spans and the text between them take {len(ids)} positions; "
            f"the model's canvas has {layout.canvas_tokens}.",
        )

    room = min(layout.tail_tokens, layout.canvas_tokens - len(ids))
    tail = [
        token
        for segment in segments[last_free + 1 :]
        if isinstance(segment, ClampedIds)
        for token in segment.ids
    ]
    ids.extend(tail[:room])
    free = tuple(token == NO_TOKEN for token in ids)
    return tuple(prefix_ids[:split]), Canvas(tuple(ids), free, tuple(spans))


def read_span(
    ids: Sequence[int], span: tuple[int, int], end_ids: Collection[int]
) -> tuple[int, ...]:
    """Return the tokens of a span up to, and without, the first that ends it."""
    start, end = span
    for position in range(start, end):
        if ids[position] in end_ids:
            return tuple(ids[start:position])
    return tuple(ids[start:end])

"""From the tokens of a filled canvas to a candidate: texts, the tokens they are made of, scores.

The same for every engine, whoever denoised the canvas. Knows the codec; no tensors and no models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dgemma_runtime.canvas import Canvas, NeededTokens, SpanReading, read_span
from dgemma_runtime.engine.kept_drafts import DraftSpan
from dgemma_runtime.text import Codec, SpanText, complete_at, cut_tokens, lines_left, spell
from dgemma_wire.messages import Candidate, SpanToken

NOWHERE = -1
"""The position of a token that a cut put in."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A canvas with a token at every position.

    Attributes:
        canvas: The layout that was filled.
        ids: Token ids (canvas,).
        log_probability: Nats of each (canvas,).
        end_ids: Tokens that end a free piece.
        needed: See ``NeededTokens``.
    """

    canvas: Canvas
    ids: Sequence[int]
    log_probability: Sequence[float]
    end_ids: tuple[int, ...]
    needed: NeededTokens


@dataclass(frozen=True, slots=True)
class ReadSpan:
    """A span's tokens with the position each stands at, or ``NOWHERE``."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    reading: SpanReading


def needed_by_lines(codec: Codec, spans: Sequence[SpanText]) -> NeededTokens:
    """Return the rule by which a free piece ends where its span's lines are used up."""
    return lambda span, earlier, ids: complete_at(
        codec, ids, lines_left(codec, earlier, spans[span].max_lines)
    )


def read_spans(
    codec: Codec,
    canvas: Canvas,
    ids: Sequence[int],
    end_ids: tuple[int, ...],
    needed: NeededTokens,
    spans: Sequence[SpanText],
) -> list[ReadSpan]:
    """Read all spans out of the tokens of a canvas."""
    found: list[ReadSpan] = []
    for number, text in enumerate(spans):
        reading = read_span(canvas, number, ids, end_ids, needed)
        made: list[int] = []
        positions: list[int] = []
        earlier: list[int] = []
        for start, end in reading.parts:
            part = list(ids[start:end])
            held = part
            if (start, end) in reading.cut:
                held = cut_tokens(codec, part, lines_left(codec, earlier, text.max_lines))
            made += held
            positions += [i if i < end else NOWHERE for i in range(start, start + len(held))]
            if canvas.free[start]:
                earlier += part
        found.append(ReadSpan(tuple(made), tuple(positions), reading))
    return found


def read_candidate(
    codec: Codec,
    filled: Filled,
    spans: Sequence[SpanText],
    *,
    steps: int,
    stopped: str,
    doubts: Mapping[int, float],
) -> tuple[Candidate, tuple[DraftSpan, ...]]:
    """Read the texts out of a filled canvas and score them by the tokens they are made of.

    The token that ends a piece counts: knowing when to stop is part of the answer.

    Args:
        codec: The model's tokenizer.
        filled: The canvas.
        spans: How the tokens of each span become its text.
        steps: Denoise steps taken.
        stopped: Why the loop ended.
        doubts: By position, as far as they were measured.

    Returns:
        The candidate, and what is to be kept of each span to go on from it.
    """
    canvas, nats_at = filled.canvas, filled.log_probability
    texts: list[str] = []
    tokens: list[tuple[SpanToken, ...]] = []
    kept: list[DraftSpan] = []
    scored: list[float] = []
    read_all = read_spans(codec, canvas, filled.ids, filled.end_ids, filled.needed, spans)
    for number, (read, text) in enumerate(zip(read_all, spans, strict=True)):
        made, chars = spell(codec, read.ids, text.given)
        nats = [0.0 if at == NOWHERE else nats_at[at] for at in read.positions]
        texts.append(made)
        tokens.append(
            tuple(
                SpanToken(count, min(1.0, math.exp(value)), doubts.get(at))
                for count, value, at in zip(chars, nats, read.positions, strict=True)
            )
        )
        for start, end in read.reading.parts:
            scored += nats_at[start:end]
        scored += [nats_at[at] for at in read.reading.ends]
        # A free piece at the end says itself whether the text is whole.
        pieces = canvas.pieces[number]
        free_end = bool(pieces) and pieces[-1][1] == canvas.spans[number][1]
        complete = read.reading.ended if free_end else text.complete
        kept.append(DraftSpan(read.ids, tuple(nats), complete))
    candidate = Candidate(
        texts=tuple(texts),
        score=min(0.0, sum(scored) / len(scored)),
        lowest=min(1.0, math.exp(min(scored))),
        steps=steps,
        stopped=stopped,
        complete=all(span.complete for span in kept),
        tokens=tuple(tokens),
    )
    return candidate, tuple(kept)

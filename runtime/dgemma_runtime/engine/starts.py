"""Spans that begin as a text: which of its tokens are noise at first, drawn by a candidate's seed.

With a mask token the other tokens are decided from the start, so the span is one of which parts are
known: every run of noise is a free piece of its own, which may end early without taking along what
follows it. It gets no more positions than it had tokens, since a model fills what it is given; only
behind the text some are to spare, and there a model says itself where it ends. With uniform noise
nothing is ever decided: the tokens are what the positions begin as, and those to spare begin as
end tokens. Works on tokens; takes no steps.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from dgemma_runtime.canvas import NO_TOKEN, ClampedIds, FreeSlots, PartSpan
from dgemma_runtime.encoding import EncodedSegment, StartSlots
from dgemma_runtime.models.base import ModelSpec, NoiseKind
from dgemma_runtime.text import Codec, SpanText
from dgemma_wire.errors import DenoiseFailed, FailureCode

Drawn = tuple[tuple[ClampedIds | FreeSlots | PartSpan, ...], tuple[SpanText, ...]]

_LEAST_SPARE = 4
_SPARE_PARTS = 4
"""A quarter of a text's own number is to spare behind it."""


def have_starts(segments: Sequence[EncodedSegment | PartSpan]) -> bool:
    """Say whether anything is to be drawn."""
    return any(isinstance(segment, StartSlots) for segment in segments)


def draw_starts(
    segments: Sequence[EncodedSegment | PartSpan],
    spans: Sequence[SpanText],
    *,
    codec: Codec,
    spec: ModelSpec,
    seed: int,
) -> Drawn:
    """Draw what is noise at first, in every span that begins as a text.

    Returns:
        The segments, and how the tokens of each span become its text.

    Raises:
        DenoiseFailed: ``context_too_long`` when a text has more tokens than its span.
    """
    stream = random.Random(seed)  # noqa: S311 - nothing is kept secret by it
    drawn: list[ClampedIds | FreeSlots | PartSpan] = []
    read: list[SpanText] = []
    texts = iter(spans)
    for segment in segments:
        made = _draw(segment, spec, stream) if isinstance(segment, StartSlots) else segment
        drawn.append(made)
        if isinstance(made, ClampedIds):
            continue
        text = next(texts)
        if isinstance(segment, StartSlots) and isinstance(made, PartSpan):
            text = replace(text, max_lines=lines_free(codec, made, text.max_lines))
        read.append(text)
    return tuple(drawn), tuple(read)


def lines_free(codec: Codec, span: PartSpan, max_lines: int | None) -> int | None:
    """Return the lines that are left to the free pieces of a span, known text using up some."""
    if max_lines is None:
        return None
    known = [i for piece in span.pieces if isinstance(piece, ClampedIds) for i in piece.ids]
    return max_lines - codec.decode(known).count("\n")


def _draw(start: StartSlots, spec: ModelSpec, stream: random.Random) -> FreeSlots | PartSpan:
    own = len(start.ids)
    noisy = set(stream.sample(range(own), max(1, min(own, round(own * start.noise)))))
    uniform = spec.noise.kind is NoiseKind.UNIFORM
    most = spec.layout.max_span_tokens or spec.layout.canvas_tokens
    free = own if uniform else len(noisy)
    spare = min(max(_LEAST_SPARE, own // _SPARE_PARTS), max(0, most - free))
    if start.tokens is not None:
        spare = start.tokens - own
    if spare < 0:
        raise DenoiseFailed(
            FailureCode.CONTEXT_TOO_LONG,
            f"The start of a span takes {own} tokens; the span is to have {start.tokens}.",
        )
    if len(noisy) == own:
        return FreeSlots(own + spare)
    if uniform:
        begins = tuple(NO_TOKEN if i in noisy else token for i, token in enumerate(start.ids))
        return FreeSlots(own + spare, begins + spec.end_ids[:1] * spare)
    pieces: list[ClampedIds | FreeSlots] = []
    for is_noise, run in groupby(range(own + spare), lambda i: i in noisy or i >= own):
        places = list(run)
        if is_noise:
            pieces.append(FreeSlots(len(places)))
        else:
            pieces.append(ClampedIds(start.ids[places[0] : places[-1] + 1]))
    return PartSpan(tuple(pieces))

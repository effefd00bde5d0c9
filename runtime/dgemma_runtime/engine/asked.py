"""What a job asks, as the tokens of a canvas: a ``Denoise`` from its texts, a ``Renoise`` from the
draft it goes on from.

Behind this module the two are one thing. Knows the codec and the drafts that are kept, no tensors,
no times, no model beyond its spec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dgemma_runtime.canvas import ClampedIds, FreeSlots, PartSpan
from dgemma_runtime.encoding import EncodedSegment, encode_request
from dgemma_runtime.engine.kept_drafts import DraftSpan, KeptDrafts, Source, make_source
from dgemma_runtime.engine.starts import lines_free
from dgemma_runtime.job import Job
from dgemma_runtime.models.base import ModelSpec
from dgemma_runtime.text import MAX_CHARS_PER_TOKEN, Codec, SpanText
from dgemma_wire.errors import DenoiseFailed, FailureCode
from dgemma_wire.messages import Clamped, Denoise, Free, Kept, Piece, Renoise, Request, Weigh

MAX_CANDIDATES = 8
_SEED_STEP = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: neighbouring seeds end up far apart


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in tokens.

    Attributes:
        source: What its drafts are kept with.
        segments: The canvas, first to last.
        spans: How the tokens of each span become its text.
    """

    source: Source
    segments: tuple[EncodedSegment | PartSpan, ...]
    spans: tuple[SpanText, ...]


def check_request(request: Request) -> None:
    """Check the numbers of a request.

    Raises:
        DenoiseFailed: ``bad_request`` when one of them is out of bounds.
    """
    wrong = None
    if isinstance(request, Weigh):
        return
    if not 1 <= request.candidates <= MAX_CANDIDATES:
        wrong = f"`candidates` is {request.candidates}; 1 to {MAX_CANDIDATES} are possible."
    elif request.max_steps is not None and request.max_steps < 1:
        wrong = f"`max_steps` is {request.max_steps}; at least 1 is needed."
    elif isinstance(request, Denoise):
        free = (segment for segment in request.segments if isinstance(segment, Free))
        wrong = next(filter(None, map(_wrong_with, free)), None)
    if wrong is not None:
        raise DenoiseFailed(FailureCode.BAD_REQUEST, wrong)


def _wrong_with(span: Free) -> str | None:
    most = span.max_lines
    if most is not None and most < 1:
        return "`max_lines` of a free segment is below 1."
    if not 0 < span.noise <= 1:  # not a number is neither
        return f"`noise` of a free segment is {span.noise}; it is over 0 and up to 1."
    lines = (span.start or "").count("\n") + 1
    if most is not None and lines > most:
        return f"The start of a free segment takes {lines} lines; its `max_lines` is {most}."
    return None


def read_request(job: Job, codec: Codec, spec: ModelSpec, kept: KeptDrafts) -> Asked:
    """Turn a job's request into tokens.

    Raises:
        DenoiseFailed: ``draft_gone`` when the draft of a ``Renoise`` is not kept, ``bad_request``
            when its pieces do not fit it, ``context_too_long`` when something has more tokens than
            the model reads.
    """
    request = job.request
    if isinstance(request, Renoise):
        return _go_on(job.peer, request, codec, spec, kept)
    assert isinstance(request, Denoise), "weighing is no matter of a canvas"
    starts = [s.start or "" for s in request.segments if isinstance(s, Free)]
    _check_length("starts of the spans", starts, spec.layout.canvas_tokens)
    last = max((i for i, s in enumerate(request.segments) if isinstance(s, Free)), default=-1)
    after = "".join(s.text for s in request.segments[last + 1 :] if isinstance(s, Clamped))
    encoded = encode_request(
        codec,
        spec.prompt.lay_out(request.prefix, request.rewrite, request.context, after),
        request.segments,
        prefix_tokens=spec.limits.prefix_tokens,
        tail_tokens=spec.layout.tail_tokens,
        start_ids=spec.start_ids,
        heal_words=spec.heal_words,
    )
    source = make_source(encoded, request.adapter, rewrites=request.rewrite is not None)
    return Asked(source, encoded.segments, encoded.spans)


def _go_on(peer: int, request: Renoise, codec: Codec, spec: ModelSpec, kept: KeptDrafts) -> Asked:
    draft = kept.get(peer, request.draft)
    check_pieces(request.spans, [len(span.ids) for span in draft.spans])
    first = draft.source.request
    spans = iter(zip(request.spans, draft.spans, first.spans, strict=True))
    segments: list[ClampedIds | PartSpan] = []
    texts: list[SpanText] = []
    for segment in first.segments:
        if isinstance(segment, ClampedIds):
            segments.append(segment)
            continue
        pieces, before, text = next(spans)
        part = PartSpan(_pieces(codec, pieces, before, text, spec.layout.canvas_tokens))
        segments.append(part)
        texts.append(_text_of(codec, part, pieces, before, text))
    return Asked(draft.source, tuple(segments), tuple(texts))


def check_pieces(spans: Sequence[Sequence[Piece]], lengths: Sequence[int]) -> None:
    """Check the pieces of a ``Renoise`` against the numbers of tokens of a draft's spans.

    Raises:
        DenoiseFailed: ``bad_request`` when they do not fit.
    """
    if len(spans) != len(lengths):
        raise DenoiseFailed(
            FailureCode.BAD_REQUEST,
            f"`spans` has {len(spans)} members; the draft has {len(lengths)} spans.",
        )
    for pieces, length in zip(spans, lengths, strict=True):
        at = 0
        for piece in pieces:
            if isinstance(piece, Free) and piece.tokens is None:
                raise DenoiseFailed(
                    FailureCode.BAD_REQUEST, "A free piece of a draft must name its `tokens`."
                )
            if isinstance(piece, Free) and piece.start is not None:
                raise DenoiseFailed(
                    FailureCode.BAD_REQUEST,
                    "A free piece of a draft cannot begin as a text; clamp what is to stay.",
                )
            if not isinstance(piece, Kept):
                continue
            if not at <= piece.start <= piece.end <= length:
                raise DenoiseFailed(
                    FailureCode.BAD_REQUEST,
                    f"The tokens {piece.start} to {piece.end} cannot be kept here: the span has "
                    f"{length}, of which those before {at} have had their turn.",
                )
            at = piece.end


def _pieces(
    codec: Codec, pieces: Sequence[Piece], draft: DraftSpan, text: SpanText, canvas_tokens: int
) -> tuple[ClampedIds | FreeSlots, ...]:
    known = [piece.text for piece in pieces if isinstance(piece, Clamped)]
    _check_length("clamped pieces of a span", known, canvas_tokens)
    made: list[ClampedIds | FreeSlots] = []
    for piece in pieces:
        match piece:
            case Free(tokens=tokens):
                made.append(FreeSlots(tokens))
            case Clamped(text=new) if new:
                # The span stands without what was given to it; its first text brings that along.
                given = "" if made else text.given
                made.append(ClampedIds(tuple(codec.encode(given + new))))
            case Kept(start=start, end=end) if start < end:
                part = ClampedIds(draft.ids[start:end], draft.log_probability[start:end])
                if text.given and start == 0 and made and isinstance(made[-1], ClampedIds):
                    part = _without_given(codec, part, text.given)
                made.append(part)
            case _:
                pass  # holds nothing
    return tuple(made)


def _check_length(what: str, texts: Sequence[str], canvas_tokens: int) -> None:
    """Refuse texts that cannot fit into a canvas before they are made tokens."""
    chars = sum(map(len, texts))
    if chars > canvas_tokens * MAX_CHARS_PER_TOKEN:
        raise DenoiseFailed(
            FailureCode.CONTEXT_TOO_LONG,
            f"The {what} have {chars} characters, which do not fit into the model's canvas of "
            f"{canvas_tokens} positions.",
        )


def _without_given(codec: Codec, part: ClampedIds, given: str) -> ClampedIds:
    """Return kept tokens without what was given to the span, which is no part of its text."""
    first = codec.decode(part.ids[:1])
    if not first.startswith(given) or "\N{REPLACEMENT CHARACTER}" in first:
        return part
    ids = codec.encode(first.removeprefix(given))
    certain = (part.log_probability[0], *[0.0] * len(ids))[: len(ids)]
    return ClampedIds((*ids, *part.ids[1:]), (*certain, *part.log_probability[1:]))


def _text_of(
    codec: Codec, part: PartSpan, pieces: Sequence[Piece], draft: DraftSpan, text: SpanText
) -> SpanText:
    """Return how a span is read that is known in part: the known lines are used up already."""
    left = lines_free(codec, part, text.max_lines)
    if left is not None and left < 1:
        raise DenoiseFailed(
            FailureCode.BAD_REQUEST,
            f"The pieces of a span take more lines than the {text.max_lines} it may have.",
        )
    last = pieces[-1] if pieces else None
    kept_end = isinstance(last, Kept) and last.end == len(draft.ids)
    return replace(text, max_lines=left, complete=draft.complete if kept_end else True)


def candidate_seed(seed: int, number: int) -> int:
    """Return the seed of a candidate's own random stream; the first one's is the request's."""
    return (seed + number * _SEED_STEP) % 2**63

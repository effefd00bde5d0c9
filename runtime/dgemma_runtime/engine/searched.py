"""Candidates whose length is searched for: what ``lengths`` offers, in the order it is used.

Asked for where a model does not end its spans by itself and the request names no number of
positions. Keeps the job's deadline through ``Work``; knows no tensors beyond what it hands on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec
import torch

from dgemma_runtime.canvas import ClampedIds, FreeSlots, lay_out
from dgemma_runtime.engine import lengths
from dgemma_runtime.engine.asked import candidate_seed
from dgemma_runtime.engine.passes import Asks, side_by_side
from dgemma_runtime.engine.reading import read_spans
from dgemma_runtime.engine.work import Drafted, Found, Laid, Work
from dgemma_runtime.models.base import LengthSearch
from dgemma_wire.messages import Denoise

_PROBES = 8
"""Canvases of one pass: with long suffixes, more would be no faster even on a GPU."""


def wanted(work: Work) -> bool:
    """Say whether the length of a job's span is to be searched for."""
    if work.spec.search is None or not isinstance(work.request, Denoise):
        return False
    free = [each for each in work.asked.segments if not isinstance(each, ClampedIds)]
    return free == [FreeSlots()]


def candidates(work: Work, count: int) -> Asks[list[Found]]:
    """Denoise spans of the likeliest lengths to at most ``count`` different candidates, best first.

    Raises:
        JobCancelled: The job is no longer wanted.
        DenoiseFailed: No time was left for the first candidate's first step.
    """
    search = work.spec.search
    assert search is not None
    most = _most(work)
    generator = torch.Generator(device=work.loaded.device)
    generator.manual_seed(candidate_seed(work.request.seed, -1))
    proposed = yield from _written_through(work, search, most)
    probes: list[lengths.Probe] = []
    for some in _parts([tokens for tokens in search.grid if tokens <= most], _PROBES):
        if probes and not work.has_time():
            break
        problems = [work.problem(_laid(work, tokens), sample=False) for tokens in some]
        probes += yield from lengths.probe(problems, work.prefix, work.spec.noise, generator)
    best = lengths.ranked(probes, search.slope)
    chosen = lengths.spread([*proposed, *best], most, max(count, search.keep))
    drafts: list[Drafted] = []
    for numbers in _parts(range(len(chosen)), work.width):
        made = yield from side_by_side(
            [work.draft(number, _laid(work, chosen[number]), sample=False) for number in numbers]
        )
        drafts += [each for each in made if each is not None]
        if None in made:
            break
    scores: Sequence[float | None] = [None] * len(drafts)
    if len(drafts) > 1 and work.has_time():
        scores = yield from lengths.judge(
            [(each.problem, each.state) for each in drafts],
            work.prefix,
            work.spec.noise,
            generator,
            search.suffix_tokens,
            leave_one_out=search.leave_one_out,
        )
    found: list[Found] = []
    for drafted, score in zip(drafts, scores, strict=True):
        candidate, kept = yield from work.finished(drafted)
        if score is not None:
            candidate = msgspec.structs.replace(candidate, score=min(0.0, score))
        if all(candidate.texts != other.texts for other, _ in found):
            found.append((candidate, kept))
    return sorted(found, key=lambda each: each[0].score, reverse=True)[:count]


def _most(work: Work) -> int:
    """Return how many positions the span may have."""
    layout = work.spec.layout
    most = layout.max_span_tokens or layout.canvas_tokens
    return min(most, layout.canvas_tokens - work.laid.canvas.spans[0][0])


def _laid(work: Work, tokens: int, *, clamped: bool = True) -> Laid:
    """Return the job's canvas with a span of some length, what follows it clamped or left out."""
    segments = [
        each if isinstance(each, ClampedIds) else FreeSlots(tokens) for each in work.asked.segments
    ]
    if not clamped:
        segments = segments[: segments.index(FreeSlots(tokens)) + 1]
    _, canvas = lay_out(work.asked.source.request.prefix_ids, segments, work.spec.layout)
    return Laid(canvas, work.laid.spans)


def _parts(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _written_through(work: Work, search: LengthSearch, most: int) -> Asks[list[int]]:
    """Return the length after which a draft that nothing follows meets the text that does."""
    if not search.through_tokens:
        return []
    room = min(most, work.spec.layout.span_tokens + search.through_tokens)
    laid = _laid(work, room, clamped=False)
    laid = replace(laid, spans=tuple(replace(span, max_lines=None) for span in laid.spans))
    drafted = yield from work.draft(0, laid, sample=False, max_steps=search.through_steps)
    if drafted is None:
        return []
    codec, problem = work.loaded.codec, drafted.problem
    (read,) = read_spans(
        codec, laid.canvas, drafted.state.best.tolist(), (), problem.needed, laid.spans
    )
    follows = work.laid.canvas.ids[work.laid.canvas.spans[0][1] :]
    text = codec.decode(read.ids)
    at = lengths.reentry(text, codec.decode(follows))
    if not at:
        return []
    return [min(most, len(codec.encode(text[:at])))]

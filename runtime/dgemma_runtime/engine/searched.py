"""Candidates whose length is searched for: what ``lengths`` offers, in the order it is used.

Asked for where a model does not end its spans by itself and the request names no number of
positions. Keeps the job's deadline through ``Work``; knows no tensors beyond what it hands on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import torch

from dgemma_runtime.canvas import Canvas, ClampedIds, FreeSlots, lay_out
from dgemma_runtime.engine import causal, lengths
from dgemma_runtime.engine.asked import candidate_seed
from dgemma_runtime.engine.device import is_out_of_memory
from dgemma_runtime.engine.passes import Asks
from dgemma_runtime.engine.reading import read_spans
from dgemma_runtime.engine.work import Drafted, Found, Laid, Work, check_time
from dgemma_runtime.models.base import MOST_TOGETHER, LengthSearch, ReadsCausally
from dgemma_wire.messages import Denoise


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
    grid = [tokens for tokens in search.grid if tokens <= most]
    written = yield from _written_through(work, search, most)
    first = [*grid, *(tokens for tokens in written if tokens not in grid)]
    runners = yield from _race(work, search, first, 0)
    if runners and work.has_time():
        more = lengths.neighbours(runners[0].tokens, first, most)
        if more:
            runners += yield from _race(work, search, more, len(first))
    drafts = [_drafted(work, each) for each in runners if each.state.steps]
    scores: Sequence[float | None] = [None] * len(drafts)
    if len(drafts) > 1 and work.has_time():
        scores = yield from lengths.judge(
            [(each.problem, each.state) for each in drafts],
            work.prefix,
            work.spec.noise,
            runners[0].generator,
            search.suffix_tokens,
            leave_one_out=search.leave_one_out,
        )
    order = _weighed(work, search, drafts) or scores
    best = sorted(
        zip(drafts, scores, order, strict=True), key=lambda each: each[2] or 0.0, reverse=True
    )
    found: list[Found] = []
    for drafted, score, _ in best:
        if len(found) == count:
            break
        candidate, kept = yield from work.finished(drafted)
        if score is not None:
            candidate = msgspec.structs.replace(candidate, score=min(0.0, score))
        if all(candidate.texts != other.texts for other, _ in found):
            found.append((candidate, kept))
    return found


def _race(
    work: Work, search: LengthSearch, tokens: Sequence[int], number: int
) -> Asks[list[lengths.Runner]]:
    """Race spans of some lengths; the first of them has the random stream ``number``."""
    spec = work.spec
    sample = not spec.sampler.greedy_first
    runners: list[lengths.Runner] = []
    for offset, length in enumerate(tokens):
        generator = torch.Generator(device=work.loaded.device)
        generator.manual_seed(candidate_seed(work.request.seed, number + offset))
        problem = work.problem(_laid(work, length), sample=sample)
        runners.append(lengths.start(problem, spec.noise, generator))
    began: float | None = None

    def go_on(left: Sequence[lengths.Runner]) -> bool:
        nonlocal began
        first = left[0]
        if began is not None:
            work.show(0, _laid(work, first.tokens), first.problem, first.state, began)
        began = work.clock()
        in_time = work.has_time()
        if not in_time and number == 0 and not first.state.steps:
            check_time(work.job, began)
        return in_time

    return (
        yield from lengths.race(
            work.adapter,
            work.prefix,
            runners,
            spec.noise,
            spec.sampler,
            search,
            go_on,
            work.has_time,
            MOST_TOGETHER if work.width > 1 else 1,
        )
    )


def _weighed(work: Work, search: LengthSearch, drafts: Sequence[Drafted]) -> Sequence[float]:
    """Return how likely the causal pass finds each draft with what follows; empty without one."""
    adapter = work.adapter
    before = _laid_out(work, 1)[0]
    if not (isinstance(adapter, ReadsCausally) and search.weigh_tokens and before):
        return ()
    if len(drafts) < 2 or not work.has_time():
        return ()
    try:
        # A copy: reading its last token again would change what others read, if only by rounding.
        prefix = work.prefix.fork(work.prefix.length - 1)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return ()
    texts: list[list[int]] = []
    for drafted in drafts:
        start, end = drafted.laid.canvas.spans[0]
        texts.append(drafted.state.best[start : end + search.weigh_tokens].tolist())
    return causal.weigh_tokens(adapter, prefix, before[-1], texts, work.job.check)


def _drafted(work: Work, runner: lengths.Runner) -> Drafted:
    stopped = "settled" if runner.state.settled else "steps"
    return Drafted(
        _laid(work, runner.tokens), runner.problem, runner.state, stopped, runner.generator
    )


def _most(work: Work) -> int:
    """Return how many positions the span may have."""
    layout = work.spec.layout
    most = layout.max_span_tokens or layout.canvas_tokens
    return min(most, layout.canvas_tokens - work.laid.canvas.spans[0][0])


def _laid(work: Work, tokens: int, *, clamped: bool = True) -> Laid:
    """Return the job's canvas with a span of some length, what follows it clamped or left out."""
    _, canvas = _laid_out(work, tokens, clamped=clamped)
    return Laid(canvas, work.laid.spans)


def _laid_out(work: Work, tokens: int, *, clamped: bool = True) -> tuple[tuple[int, ...], Canvas]:
    """Return the tokens before such a canvas, and the canvas."""
    segments = [
        each if isinstance(each, ClampedIds) else FreeSlots(tokens) for each in work.asked.segments
    ]
    if not clamped:
        segments = segments[: segments.index(FreeSlots(tokens)) + 1]
    search, layout = work.spec.search, work.spec.layout
    assert search is not None
    layout = replace(layout, tail_tokens=min(layout.tail_tokens, search.tail_tokens))
    return lay_out(work.asked.source.request.prefix_ids, segments, layout)


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

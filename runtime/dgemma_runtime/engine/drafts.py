"""The view of a canvas while it is denoised, and the answer when it is done.

Turns a ``State`` of the loop into the wire's drafts and candidates. Knows the codec; knows no
model and takes no steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dgemma_runtime.canvas import SpanReading, read_span
from dgemma_runtime.engine.kept_drafts import DraftSpan
from dgemma_runtime.engine.state import Problem, State
from dgemma_runtime.models.base import NoiseKind
from dgemma_runtime.text import Codec, SpanText, cut_tokens, lines_left, spell
from dgemma_wire.messages import Candidate, DraftToken, SpanToken, TokenState

GUESS_PROBABILITY = 0.3
"""What an undecided position's token must reach to be shown; below it the position is noise."""

_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class _Read:
    """A span's tokens with the position each stands at; ``_NOWHERE`` for what a cut put in."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    reading: SpanReading


def _read(
    codec: Codec, problem: Problem, ids: Sequence[int], spans: tuple[SpanText, ...]
) -> list[_Read]:
    """Read all spans out of the tokens of a canvas."""
    found: list[_Read] = []
    for number, text in enumerate(spans):
        reading = read_span(problem.canvas, number, ids, problem.end_ids, problem.needed)
        made: list[int] = []
        positions: list[int] = []
        earlier: list[int] = []
        for start, end in reading.parts:
            part = list(ids[start:end])
            held = part
            if (start, end) in reading.cut:
                held = cut_tokens(codec, part, lines_left(codec, earlier, text.max_lines))
            made += held
            positions += [i if i < end else _NOWHERE for i in range(start, start + len(held))]
            if problem.canvas.free[start]:
                earlier += part
        found.append(_Read(tuple(made), tuple(positions), reading))
    return found


def draft_spans(
    codec: Codec, problem: Problem, state: State, spans: tuple[SpanText, ...], kind: NoiseKind
) -> tuple[tuple[DraftToken, ...], ...]:
    """Return every span as it stands, cut where its text would end."""
    tokens = state.tokens.tolist()
    settled = (state.accepted | ~problem.free).tolist()
    sure = state.log_probability.exp().tolist()
    drafts = []
    for read, text in zip(_read(codec, problem, state.best.tolist(), spans), spans, strict=True):
        draft: list[DraftToken] = []
        for token, position in zip(read.ids, read.positions, strict=True):
            if position == _NOWHERE or settled[position]:
                draft.append(DraftToken(codec.decode([token]), TokenState.SETTLED))
            elif sure[position] >= GUESS_PROBABILITY:
                draft.append(DraftToken(codec.decode([token]), TokenState.GUESS))
            else:
                shown = "" if kind is NoiseKind.MASK else codec.decode([tokens[position]])
                draft.append(DraftToken(shown, TokenState.NOISE))
        if text.healed and draft:
            draft[0] = DraftToken(draft[0].text.removeprefix(" "), draft[0].state)
        drafts.append(tuple(draft))
    return tuple(drafts)


def make_candidate(
    codec: Codec,
    problem: Problem,
    state: State,
    spans: tuple[SpanText, ...],
    stopped: str,
    doubts: Mapping[int, float],
) -> tuple[Candidate, tuple[DraftSpan, ...]]:
    """Read the texts out of the best draft and score them by the tokens they are made of.

    The token that ends a piece counts: knowing when to stop is part of the answer.

    Args:
        codec: The model's tokenizer.
        problem: The canvas.
        state: After the last step.
        spans: How the tokens of each span become its text.
        stopped: Why the loop ended.
        doubts: By position, as far as they were measured.

    Returns:
        The candidate, and what is to be kept of each span to go on from it.
    """
    log_probability = state.log_probability.tolist()
    texts, tokens, kept = [], [], []
    scored: list[float] = []
    for read, text in zip(_read(codec, problem, state.best.tolist(), spans), spans, strict=True):
        made, chars = spell(codec, read.ids, healed=text.healed)
        nats = [0.0 if at == _NOWHERE else log_probability[at] for at in read.positions]
        texts.append(made)
        tokens.append(
            tuple(
                SpanToken(count, min(1.0, math.exp(value)), doubts.get(at))
                for count, value, at in zip(chars, nats, read.positions, strict=True)
            )
        )
        for start, end in read.reading.parts:
            scored += log_probability[start:end]
        scored += [log_probability[at] for at in read.reading.ends]
        # A free piece at the end says itself whether the text is whole.
        end = problem.canvas.spans[len(texts) - 1][1]
        pieces = problem.canvas.pieces[len(texts) - 1]
        free_end = bool(pieces) and pieces[-1][1] == end
        complete = read.reading.ended if free_end else text.complete
        kept.append(DraftSpan(read.ids, tuple(nats), complete))
    candidate = Candidate(
        texts=tuple(texts),
        score=min(0.0, sum(scored) / len(scored)),
        lowest=min(1.0, math.exp(min(scored))),
        steps=state.steps,
        stopped=stopped,
        complete=all(span.complete for span in kept),
        tokens=tuple(tokens),
    )
    return candidate, tuple(kept)

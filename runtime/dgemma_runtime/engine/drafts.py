"""The view of a canvas while it is denoised, and the answer when it is done.

Turns a ``State`` of the loop into the wire's drafts and candidates. Knows the codec; knows no
model and takes no steps.
"""

from __future__ import annotations

import math

from torch import Tensor

from dgemma_runtime.canvas import read_span
from dgemma_runtime.engine.loop import Problem, State
from dgemma_runtime.models.base import NoiseKind
from dgemma_runtime.text import Codec, SpanText, complete_at, read_text
from dgemma_wire.messages import Candidate, DraftToken, TokenState

GUESS_PROBABILITY = 0.3
"""What an undecided position's token must reach to be shown; below it the position is noise."""


def draft_spans(
    codec: Codec, problem: Problem, state: State, spans: tuple[SpanText, ...], kind: NoiseKind
) -> tuple[tuple[DraftToken, ...], ...]:
    """Return every span as it stands, cut where its text would end."""
    best, tokens = state.best.tolist(), state.tokens.tolist()
    accepted, sure = state.accepted.tolist(), state.log_probability.exp().tolist()
    drafts = []
    for (start, end), text in zip(problem.canvas.spans, spans, strict=True):
        ids = read_span(best, (start, end), problem.end_ids)
        ids = ids[: complete_at(codec, ids, text.max_lines)]
        draft: list[DraftToken] = []
        for position, token in enumerate(ids, start):
            if accepted[position]:
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
    codec: Codec, problem: Problem, state: State, spans: tuple[SpanText, ...], stopped: str
) -> Candidate:
    """Read the texts out of the best draft and score them by the tokens they are made of.

    The token that ends a span counts: knowing when to stop is part of the answer.
    """
    best = state.best.tolist()
    texts, scored = [], []
    complete = True
    for (start, end), text in zip(problem.canvas.spans, spans, strict=True):
        ids = read_span(best, (start, end), problem.end_ids)
        texts.append(read_text(codec, ids, text))
        lines = complete_at(codec, ids, text.max_lines)
        complete &= lines is not None or len(ids) < end - start
        until = start + (min(len(ids) + 1, end - start) if lines is None else lines)
        scored.append(state.log_probability[start:until])
    score, lowest = _score(scored)
    return Candidate(
        texts=tuple(texts),
        score=score,
        lowest=lowest,
        steps=state.steps,
        stopped=stopped,
        complete=complete,
    )


def _score(parts: list[Tensor]) -> tuple[float, float]:
    """Return the mean log-probability (at most 0) and the smallest probability."""
    values = [value for part in parts for value in part.tolist()]
    return min(0.0, sum(values) / len(values)), min(1.0, math.exp(min(values)))

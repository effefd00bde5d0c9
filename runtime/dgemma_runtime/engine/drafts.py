"""The view of a canvas while it is denoised, and the answer when it is done.

Turns a ``State`` of the loop into the wire's drafts and candidates. Knows the codec; knows no
model and takes no steps.
"""

from __future__ import annotations

from collections.abc import Mapping

from dgemma_runtime.engine.kept_drafts import DraftSpan
from dgemma_runtime.engine.reading import NOWHERE, Filled, read_candidate, read_spans
from dgemma_runtime.engine.state import Problem, State
from dgemma_runtime.models.base import NoiseKind
from dgemma_runtime.text import Codec, SpanText
from dgemma_wire.messages import Candidate, DraftToken, TokenState

GUESS_PROBABILITY = 0.3
"""What an undecided position's token must reach to be shown; below it the position is noise."""


def draft_spans(
    codec: Codec, problem: Problem, state: State, spans: tuple[SpanText, ...], kind: NoiseKind
) -> tuple[tuple[DraftToken, ...], ...]:
    """Return every span as it stands, cut where its text would end."""
    tokens = state.tokens.tolist()
    settled = (state.accepted | ~problem.free).tolist()
    sure = state.log_probability.exp().tolist()
    drafts = []
    best: list[int] = state.best.tolist()
    found = read_spans(codec, problem.canvas, best, problem.end_ids, problem.needed, spans)
    for read, text in zip(found, spans, strict=True):
        draft: list[DraftToken] = []
        for token, position in zip(read.ids, read.positions, strict=True):
            if position == NOWHERE or settled[position]:
                draft.append(DraftToken(codec.decode([token]), TokenState.SETTLED))
            elif sure[position] >= GUESS_PROBABILITY:
                draft.append(DraftToken(codec.decode([token]), TokenState.GUESS))
            else:
                shown = "" if kind is NoiseKind.MASK else codec.decode([tokens[position]])
                draft.append(DraftToken(shown, TokenState.NOISE))
        if text.given and draft:
            draft[0] = DraftToken(draft[0].text.removeprefix(text.given), draft[0].state)
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
    """Read the texts out of the best draft; see ``read_candidate``.

    Args:
        codec: The model's tokenizer.
        problem: The canvas.
        state: After the last step.
        spans: How the tokens of each span become its text.
        stopped: Why the loop ended.
        doubts: By position, as far as they were measured.
    """
    filled = Filled(
        problem.canvas,
        state.best.tolist(),
        state.log_probability.tolist(),
        problem.end_ids,
        problem.needed,
    )
    return read_candidate(codec, filled, spans, steps=state.steps, stopped=stopped, doubts=doubts)

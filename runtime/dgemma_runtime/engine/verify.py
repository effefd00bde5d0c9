"""Accepting with a second opinion: the model's own causal pass reads the draft from the left.

The canvas pass knows the suffix and guesses all positions at once, each without knowing what its
neighbours turn out to be. The causal pass of the same weights knows no suffix, but scores every
draft token after the ones before it, and does so in one pass over a few rows. Their product is
better than either, and a run that both agree on may be accepted whole.

The causal model has no token for the end of a free piece. But where a piece ends the text after it
begins, so it is the probability of that text's first token that it gives to the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from dgemma_runtime.engine import sampler
from dgemma_runtime.models.base import ReadsCausally, SamplerConfig

if TYPE_CHECKING:
    from dgemma_runtime.engine.state import Problem, State
    from dgemma_runtime.models.base import PrefixState


@dataclass(frozen=True, slots=True)
class Verified:
    """What was made of the leading rows of a step; fewer than the step predicted.

    Attributes:
        chosen: Their tokens (rows,).
        accepted: Which of them stay (rows,), bool; the first one always.
        log_probability: Of ``chosen`` under both passes together (rows,), in nats.
    """

    chosen: Tensor
    accepted: Tensor
    log_probability: Tensor


def wants_verifying(logits: Tensor, config: SamplerConfig) -> bool:
    """Say whether the next token is worth a second opinion: the canvas pass doubts it.

    Args:
        logits: The canvas pass's (rows, vocab), the leftmost undecided row first.
        config: Weight of the causal pass, and the probability below which it is asked.
    """
    if config.verify_weight <= 0:
        return False
    return float(logits[0].softmax(-1).amax()) <= config.verify_below


def verify(
    adapter: ReadsCausally,
    prefix: PrefixState,
    problem: Problem,
    state: State,
    rows: Tensor,
    logits: Tensor,
    config: SamplerConfig,
    generator: Generator,
) -> Verified:
    """Score the draft of the first open piece's next tokens by both passes, and accept a run of it.

    The run goes on while the joint choice is the draft's token, since behind another one the causal
    scores are of a text that is not there, and while its joint probability exceeds
    ``config.verify_run``.

    Args:
        adapter: Reads causally.
        prefix: Left as it was.
        problem: The canvas.
        state: Before the step.
        rows: Undecided positions (rows,), ascending.
        logits: The canvas pass's (rows, vocab).
        config: Weight of the causal pass, length of a draft, confidence.
        generator: For candidates that are drawn.
    """
    piece = problem.piece_of[rows]
    inside = int((piece == piece[0]).long().cumprod(0).sum())
    ends = torch.tensor(problem.end_ids, device=rows.device)
    draft = logits[: min(inside, config.verify_tokens)].argmax(-1)
    stops = torch.isin(draft, ends).nonzero()
    count = int(stops[0]) + 1 if len(stops) else len(draft)
    # Scattered decided positions between open ones end a run: it must be one text.
    steps = (rows[1:count] - rows[: count - 1] == 1).long().cumprod(0)
    count = 1 + int(steps.sum())
    draft = draft[:count]

    before = state.tokens[: int(rows[0])]
    before = before[~torch.isin(before, ends)]
    causal = adapter.causal_logits(
        [*before.tolist(), *draft[:-1].tolist()], prefix, count
    ).log_softmax(-1)  # (count, vocab)
    causal[:, ends] = _end_scores(causal, problem, int(rows[0]))[:, None]
    joint = logits[:count].log_softmax(-1) + config.verify_weight * causal
    joint = joint.log_softmax(-1)

    if problem.sample:
        tempered = sampler.temper(joint, config.sample_temperature)
        chosen = sampler.draw(tempered, generator, config.sample_top_k)
    else:
        chosen = joint.argmax(-1)
    score = joint.gather(-1, chosen[:, None]).squeeze(-1)
    sure = score.exp() > config.verify_run
    sure[0] = True
    agreed = torch.ones_like(sure)
    agreed[1:] = chosen[:-1] == draft[:-1]
    accepted = (sure & agreed).long().cumprod(0).bool()
    return Verified(chosen, accepted, score)


def _end_scores(causal: Tensor, problem: Problem, row: int) -> Tensor:
    """Return the causal log-probability (rows,) that what follows ``row``'s piece begins here."""
    pieces = (piece for pieces in problem.canvas.pieces for piece in pieces)
    behind = next(end for start, end in pieces if start <= row < end)
    if behind < len(problem.canvas.ids) and not problem.canvas.free[behind]:
        return causal[:, problem.canvas.ids[behind]].clone()
    return causal.amax(-1)  # nothing is known to follow: leave it to the canvas pass

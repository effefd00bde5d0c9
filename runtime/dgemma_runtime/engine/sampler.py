"""The parts of a denoise step as pure functions of tensors: temper, draw, accept, renoise, clamp.

Shapes hold the predicted rows only, which are free positions: (rows,) and (rows, vocab). Nothing
here knows a model, a request or a clock, and nothing keeps state; randomness comes in as the
job's own generator.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

_ENTROPY_ROWS = 64


def temperature_at(steps_left: int, max_steps: int, t_min: float, t_max: float) -> Tensor:
    """Return the temperature with ``steps_left`` of ``max_steps`` to go, falling linearly.

    The arithmetic is in float32 as in ``LinearTemperatureScheduleLogitsProcessor`` of
    ``transformers``, so that both draw the same tokens.
    """
    left = torch.tensor(steps_left, dtype=torch.int32)
    return t_min + ((t_max - t_min) * (left / max_steps))


def temper(logits: Tensor, temperature: Tensor | float) -> Tensor:
    """Divide ``logits`` (rows, vocab) by a temperature above 0."""
    if isinstance(temperature, Tensor):
        temperature = temperature.to(logits.device)
    return logits / temperature


def allow(logits: Tensor, tokens: Sequence[int] | Tensor) -> None:
    """Ban everything but some tokens in a row of logits (vocab,), in place."""
    ids = torch.as_tensor(tokens, device=logits.device)
    kept = logits[ids]
    logits.fill_(-torch.inf)
    logits[ids] = kept


def draw(logits: Tensor, generator: Generator, top_k: int = 0) -> Tensor:
    """Draw one token per row of ``logits`` (rows, vocab); returns (rows,).

    ``top_k`` above 0 draws among the likeliest tokens of each row only. On a CPU that is also what
    makes it cheap: a random number for every entry of a vocabulary takes longer than half a step.
    """
    if top_k:
        logits, tokens = logits.topk(top_k, dim=-1)
        return tokens.gather(-1, draw(logits, generator)[:, None]).squeeze(-1)
    probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32)
    return torch.multinomial(probabilities, num_samples=1, generator=generator).squeeze(-1)


def entropies(logits: Tensor) -> Tensor:
    """Return the entropy of each row of ``logits`` (rows, vocab), in nats.

    The steps are those of ``torch.distributions.Categorical``, bit for bit. Rows are taken some at
    a time: they need four tensors as large as their logits.
    """
    return torch.cat([_entropies(rows) for rows in logits.split(_ENTROPY_ROWS)])


def _entropies(logits: Tensor) -> Tensor:
    log_probabilities = logits - logits.logsumexp(dim=-1, keepdim=True)
    probabilities = torch.softmax(log_probabilities, dim=-1)
    # A banned token has probability 0 and logit -inf, whose product is not a number.
    finite = log_probabilities.clamp(min=torch.finfo(logits.dtype).min)
    return -(finite * probabilities).sum(-1)


def log_probabilities_of(logits: Tensor, tokens: Tensor, total: Tensor) -> Tensor:
    """Return the log-probability (rows,) of ``tokens`` (rows,) under ``logits`` (rows, vocab).

    ``total`` is the ``logsumexp`` of each row: a pass over the vocabulary that a step makes once.
    """
    return logits.gather(-1, tokens[:, None]).squeeze(-1) - total


def accept_entropy_bound(entropy: Tensor, bound: float) -> Tensor:
    """Accept the rows of lowest entropy while their joint mutual information stays bounded.

    That is, in ascending order, while the sum of entropies without the largest is at most
    ``bound`` nats (arXiv:2505.24857; ``EntropyBoundSampler.accept_canvas`` of ``transformers``).
    The surest row is always accepted.

    Args:
        entropy: Nats (rows,).
        bound: Nats, one budget for all rows.

    Returns:
        Accepted rows (rows,), bool.
    """
    ordered, order = torch.sort(entropy)
    within = torch.cumsum(ordered, dim=0) - ordered <= bound
    return torch.zeros_like(within).scatter(0, order, within)


def accept_leading_run(probability: Tensor, piece_of: Tensor, threshold: float) -> Tensor:
    """Accept the leftmost row and the confident run of rows after it, within its free piece.

    Args:
        probability: Of each row's token (rows,), rows in canvas order.
        piece_of: Number of the free piece each row belongs to (rows,).
        threshold: What a token of the run must exceed.

    Returns:
        Accepted rows (rows,), bool.
    """
    run = (probability > threshold) & (piece_of == piece_of[0])
    run[0] = True
    return run.long().cumprod(0).bool()


def uniform_noise(count: int, vocab_size: int, generator: Generator) -> Tensor:
    """Draw ``count`` tokens uniformly from the vocabulary; returns (count,)."""
    return torch.randint(
        0, vocab_size, (count,), generator=generator, device=generator.device, dtype=torch.long
    )


def renoise(tokens: Tensor, accepted: Tensor, noise: Tensor) -> Tensor:
    """Replace every token (rows,) that was not accepted by its noise (rows,)."""
    return torch.where(accepted, tokens, noise)


def clamp(canvas: Tensor, known: Tensor, free: Tensor) -> Tensor:
    """Put the known tokens back everywhere but at the free positions; all (canvas,)."""
    return torch.where(free, canvas, known)

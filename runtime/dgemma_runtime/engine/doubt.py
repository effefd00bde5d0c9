"""How much a model doubts the tokens of its own draft, once the draft is finished.

What a token had when it was accepted says little: the tokens behind it were not there yet. Here
every token is taken out again and predicted from all the others, in a few passes: each takes out
every ``PASSES``-th token, so that most of what is around a token is there. Knows no texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Generator

from dgemma_runtime.canvas import read_span
from dgemma_runtime.engine import sampler
from dgemma_runtime.engine.state import Problem, State
from dgemma_runtime.models.base import ModelAdapter, Noise, NoiseKind, PrefixState

PASSES = 4

MOST = 100.0
"""Nats; a token that the model never predicts would be doubted without bound."""


def measure(
    adapter: ModelAdapter,
    prefix: PrefixState,
    problem: Problem,
    state: State,
    noise: Noise,
    generator: Generator,
    go_on: Callable[[], bool],
) -> Mapping[int, float]:
    """Return the doubt (nats) of every position that holds a span's text; see ``SpanToken``.

    Args:
        adapter: The model.
        prefix: Left as it was.
        problem: The canvas.
        state: After the last step.
        noise: What stands at the positions that are taken out.
        generator: Draws it, where it is drawn.
        go_on: Asked before every pass; what is measured until it says no is returned.
    """
    best = state.best.tolist()
    positions = [
        position
        for number in range(len(problem.canvas.spans))
        for part in read_span(problem.canvas, number, best, problem.end_ids, problem.needed).parts
        for position in range(*part)
    ]
    doubts: dict[int, float] = {}
    for first in range(min(PASSES, len(positions))):
        if not go_on():
            break
        out = positions[first::PASSES]
        rows = torch.tensor(out, device=state.best.device)  # (rows,)
        tokens = state.best[rows]
        if noise.kind is NoiseKind.UNIFORM:
            fresh = sampler.uniform_noise(len(rows), noise.vocab_size, generator)
        else:
            fresh = torch.full_like(tokens, noise.mask_id)
        logits = adapter.denoise(state.best.index_copy(0, rows, fresh), prefix, rows, None)
        own = logits.gather(-1, tokens[:, None])  # (rows, 1)
        other = logits.scatter(-1, tokens[:, None], -torch.inf).amax(-1, keepdim=True)
        doubts |= zip(out, (other - own).clamp(-MOST, MOST).squeeze(-1).tolist(), strict=True)
    return doubts

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
from dgemma_runtime.engine import loop
from dgemma_runtime.engine.passes import Asks
from dgemma_runtime.engine.state import Problem, State
from dgemma_runtime.models.base import Noise, PrefixState

PASSES = 4

MOST = 100.0
"""Nats; a token that the model never predicts would be doubted without bound."""


def measure(
    prefix: PrefixState,
    problem: Problem,
    state: State,
    noise: Noise,
    generator: Generator,
    go_on: Callable[[], bool],
    width: int = 1,
) -> Asks[Mapping[int, float]]:
    """Return the doubt (nats) of every position that holds a span's text; see ``SpanToken``.

    Args:
        prefix: Left as it was.
        problem: The canvas.
        state: After the last step.
        noise: What stands at the positions that are taken out.
        generator: Draws it, where it is drawn.
        go_on: Asked before every pass; what is measured until it says no is returned.
        width: Canvases that are read at once.
    """
    best = state.best.tolist()
    positions = [
        position
        for number in range(len(problem.canvas.spans))
        for part in read_span(problem.canvas, number, best, problem.end_ids, problem.needed).parts
        for position in range(*part)
    ]
    groups = [positions[first::PASSES] for first in range(min(PASSES, len(positions)))]
    doubts: dict[int, float] = {}
    for first in range(0, len(groups), width):
        if not go_on():
            break
        now = groups[first : first + width]
        passes = [loop.without(out, prefix, state, noise, generator) for out in now]
        for out, each, logits in zip(now, passes, (yield passes), strict=True):
            tokens = state.best[each.rows][:, None]  # (rows, 1)
            own = logits.gather(-1, tokens)
            other = logits.scatter(-1, tokens, -torch.inf).amax(-1, keepdim=True)
            found = (other - own).clamp(-MOST, MOST).squeeze(-1)
            doubts |= zip(out, found.tolist(), strict=True)
    return doubts

"""When a canvas is settled: nothing moves any more, and the model is sure.

Pure functions over explicit history, after ``StableAndConfidentStoppingCriteria`` of
``transformers``, but over the rows that will be read out only: clamped rows have no entropy and
would dilute the mean.
"""

from __future__ import annotations

import torch
from torch import Tensor


def remember(history: tuple[Tensor, ...], canvas: Tensor, length: int) -> tuple[Tensor, ...]:
    """Append ``canvas`` to the history, which keeps the last ``length`` of them."""
    return (*history, canvas)[-length:] if length else ()


def is_stable(history: tuple[Tensor, ...], canvas: Tensor, rows: Tensor, length: int) -> bool:
    """Say whether the last ``length`` canvases agree with ``canvas`` at ``rows``.

    Args:
        history: Argmax canvases (canvas,) of the steps before, oldest first.
        canvas: Argmax canvas of this step (canvas,).
        rows: Which positions count (canvas,), bool.
        length: How many earlier steps must agree; 0 asks for none.
    """
    if len(history) < length:
        return False
    return all(torch.equal(past[rows], canvas[rows]) for past in history[len(history) - length :])


def is_confident(entropy: Tensor, bound: float) -> bool:
    """Say whether the mean of ``entropy`` (rows,), in nats, is under ``bound``."""
    return bool(entropy.mean() < bound)

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


def is_stable(history: tuple[Tensor, ...], canvas: Tensor, rows: Tensor, length: int) -> Tensor:
    """Say whether the last ``length`` canvases agree with ``canvas`` at ``rows``.

    Args:
        history: Argmax canvases (canvas,) of the steps before, oldest first.
        canvas: Argmax canvas of this step (canvas,).
        rows: Which positions count (canvas,), bool.
        length: How many earlier steps must agree; 0 asks for none.

    Returns:
        One bool, left on the device.
    """
    agree = torch.full((), len(history) >= length, device=canvas.device)
    for past in history[len(history) - length :] if length else ():
        agree = agree & ((past == canvas) | ~rows).all()
    return agree


def is_confident(entropy: Tensor, counts: Tensor, bound: float) -> Tensor:
    """Say whether the mean of ``entropy`` (rows,), in nats, is under ``bound``.

    Args:
        entropy: Nats.
        counts: Which rows count (rows,), bool; where none does the answer is no.
        bound: Nats.

    Returns:
        One bool, left on the device.
    """
    return (entropy * counts).sum() / counts.sum() < bound

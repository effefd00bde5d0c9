"""What a denoise loop works on: the problem, and the canvas between two steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dgemma_runtime.canvas import Canvas, NeededTokens
from dgemma_runtime.text import Codec


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines that spans may take up, as a device reads them.

    Attributes:
        breaks: Line breaks in each token of the vocabulary (vocab,).
        most: Lines of each span; ``None`` for any number.
    """

    breaks: Tensor
    most: tuple[int | None, ...]


def line_breaks(codec: Codec, vocab_size: int) -> Tensor:
    """Count the line breaks in each token of a vocabulary (vocab,)."""
    texts = codec.tokenizer.decode_batch([[token] for token in range(vocab_size)])
    return torch.tensor([text.count("\n") for text in texts])


@dataclass(frozen=True, slots=True)
class Problem:
    """What stays the same over all steps of a candidate.

    Attributes:
        canvas: The layout that is filled.
        known: Token ids (canvas,), meaningless where ``free``.
        free: Positions to denoise (canvas,), bool.
        rows: The same positions (rows,), ascending.
        ends: Tokens that end a free piece (ends,).
        piece_of: Number of each position's free piece (canvas,), -1 at clamped ones.
        max_steps: Length of the schedule.
        sample: Draw tokens instead of taking the argmax.
        end_ids: ``ends`` on the host.
        needed: See ``NeededTokens``.
        lines: The same rule on the device; ``None`` where only end tokens count there.
        first: Tokens of which one must stand at the first free position (tokens,); ``None`` for
            any.
    """

    canvas: Canvas
    known: Tensor
    free: Tensor
    rows: Tensor
    ends: Tensor
    piece_of: Tensor
    max_steps: int
    sample: bool
    end_ids: tuple[int, ...]
    needed: NeededTokens
    lines: Lines | None = None
    first: Tensor | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A canvas between two denoise steps.

    Attributes:
        tokens: What the model reads next (canvas,).
        decided: Positions that stay as they are (canvas,), bool; clamped ones always.
        accepted: Free positions whose token was accepted, last step or earlier (canvas,), bool.
        best: The best whole draft (canvas,): argmax wherever nothing is decided.
        log_probability: Of ``best`` under the untempered model (canvas,), in nats.
        history: Earlier ``best``, oldest first.
        feedback: Logits of the last step at the rows that the next one predicts (rows, vocab), for
            self-conditioning; tempered ones with uniform noise, as upstream has it.
        steps: Steps taken.
        settled: Nothing is left to do.
    """

    tokens: Tensor
    decided: Tensor
    accepted: Tensor
    best: Tensor
    log_probability: Tensor
    history: tuple[Tensor, ...] = ()
    feedback: Tensor | None = None
    steps: int = 0
    settled: bool = False

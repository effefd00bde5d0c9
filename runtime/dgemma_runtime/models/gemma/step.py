"""A pass of a fixed shape over memory that stays where it is.

What differs between two passes of a shape is written into that memory before, and nothing of it is
known to the host while the pass runs, so that the pass can be recorded once and replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import (
    DiffusionGemmaForBlockDiffusion,
)

from dgemma_runtime.models.base import CanvasPass
from dgemma_runtime.models.gemma.attention import as_bias, canvases_seen
from dgemma_runtime.models.gemma.buckets import Shape
from dgemma_runtime.models.gemma.decoder import Feedback, Inputs, predict
from dgemma_runtime.models.gemma.seats import Seats, tokens_held


class Exchange:
    """Where logits go in and out; passes of any shape with as many rows share it.

    Args:
        model: Whose vocabulary and number format.
        rows: Rows of logits.
    """

    def __init__(self, model: DiffusionGemmaForBlockDiffusion, rows: int) -> None:
        weight: Any = model.model.decoder.embed_tokens.weight
        vocab = weight.shape[0]
        self.feedback: Tensor = weight.new_zeros((rows, vocab))
        self.logits: Tensor = weight.new_zeros((rows, vocab), dtype=torch.float32)


class FixedPass:
    """A pass of one shape: ``fill`` what it reads, ``run`` it, ``read`` what came out.

    Args:
        model: The model.
        shape: Sizes.
        seats: Prefixes, at least as many and as long as the shape says.
        exchange: Logits, as many rows as the shape says.
    """

    def __init__(
        self,
        model: DiffusionGemmaForBlockDiffusion,
        shape: Shape,
        seats: Seats,
        exchange: Exchange,
    ) -> None:
        self.shape, self.seats = shape, seats
        self._model, self._exchange = model, exchange
        device = exchange.logits.device
        canvases = (shape.prefixes, shape.canvases)
        self._tokens = torch.zeros(
            (shape.prefixes, shape.rows_of_prefix), dtype=torch.long, device=device
        )
        self._all_rows = shape.prefixes * shape.rows_of_prefix
        self._rows = torch.full((shape.rows,), self._all_rows, device=device)
        self._starts = torch.zeros(shape.prefixes, dtype=torch.long, device=device)
        self._lengths = torch.ones(canvases, dtype=torch.long, device=device)
        self._fed = torch.zeros(canvases, dtype=torch.bool, device=device)
        self._told: dict[int, int] = {}  # what the small tensors hold, by address

    def fill(self, groups: Mapping[int, Sequence[CanvasPass]], starts: Mapping[int, int]) -> None:
        """Write what the next run reads.

        Args:
            groups: The canvases behind each seat that is taken.
            starts: Tokens of the prefix there.
        """
        shape, at = self.shape, 0
        for seat in range(shape.prefixes):
            behind = groups.get(seat, ())
            self._tell(self._starts[seat], starts.get(seat, 0))
            for number in range(shape.canvases):
                one = behind[number] if number < len(behind) else None
                # Padding has one token too: a row that sees nothing is no number.
                self._tell(self._lengths[seat, number], 1 if one is None else len(one.canvas))
                fed = one is not None and one.feedback is not None
                self._tell(self._fed[seat, number], int(fed))
                if one is None:
                    continue
                first = number * shape.canvas_tokens
                self._tokens[seat, first : first + len(one.canvas)].copy_(one.canvas)
                mine = slice(at, at + len(one.rows))
                first += seat * shape.rows_of_prefix
                torch.add(one.rows, first, out=self._rows[mine])
                if one.feedback is not None:
                    self._exchange.feedback[mine].copy_(one.feedback)
                at = mine.stop
        self._rows[at:].fill_(self._all_rows)

    def _tell(self, place: Tensor, value: int) -> None:
        """Set one number on the device, unless it is that already; nothing waits for the host."""
        address = place.data_ptr()
        if self._told.get(address) != value:
            place.fill_(value)
            self._told[address] = value

    def run(self) -> None:
        """Predict from what was filled in; no shape and no step of it depends on values."""
        shape = self.shape
        at = torch.arange(shape.canvas_tokens, device=self._starts.device).repeat(shape.canvases)
        feedback = None
        if shape.fed:
            fed = self._fed.repeat_interleave(shape.canvas_tokens, dim=1)
            feedback = Feedback(self._rows, self._exchange.feedback, fed)
        inputs = Inputs(self._tokens, self._starts[:, None] + at, self._rows, feedback)
        seen = _Seated(self.seats, shape, self._starts, self._lengths, self._exchange.feedback)
        self._exchange.logits.copy_(predict(self._model, inputs, seen))

    def read(self, counts: Sequence[int]) -> list[Tensor]:
        """Return copies of the logits (rows, vocab) of the canvases, in the order of their seats.

        Args:
            counts: Rows of each.
        """
        wanted = self._exchange.logits[: sum(counts)].clone()
        return list(wanted.split(list(counts)))


class _Seated:
    """What is seen in a fixed pass: the canvases of a prefix, and then the prefix."""

    def __init__(
        self, seats: Seats, shape: Shape, starts: Tensor, lengths: Tensor, like: Tensor
    ) -> None:
        self._seats, self._shape, self._starts = seats, shape, starts
        self._dtype = like.dtype
        self._canvases = canvases_seen(lengths, shape.canvas_tokens)  # (prefixes, rows, rows)
        if shape.canvases == 1:
            self._canvases = self._canvases[:, :1]  # the same for every row
        self._biases: dict[tuple[int | None, int], Tensor] = {}

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Seen``."""
        rows = self._shape.rows_of_prefix
        all_keys, all_values = self._seats.part(layer, rows, self._shape.prefix_tokens)
        all_keys[:, :, :rows].copy_(keys)
        all_values[:, :, :rows].copy_(values)
        return all_keys, all_values

    def bias(self, layer: int, groups: int) -> Tensor:
        """See ``Seen``."""
        window = self._seats.windows[layer]
        if (window, groups) not in self._biases:
            self._biases[window, groups] = self._bias(window, groups)
        return self._biases[window, groups]

    def _bias(self, window: int | None, groups: int) -> Tensor:
        rows = self._canvases.shape[1]
        held = tokens_held(self._shape.prefix_tokens, window)
        seen = self._starts if window is None else self._starts.clamp(max=window - 1)
        prefix = torch.arange(held, device=seen.device) < seen[:, None]  # (prefixes, held)
        whole = torch.cat([self._canvases, prefix[:, None].expand(-1, rows, -1)], dim=-1)
        bias = as_bias(whole, self._dtype)[:, None]
        return bias if rows == 1 else bias.repeat(1, 1, groups, 1)

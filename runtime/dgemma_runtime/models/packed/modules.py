"""Modules with packed weights, in the place of the model's own experts and projections."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dgemma_runtime.models.packed.forms import FORMS, Packed, WeightForm
from dgemma_runtime.models.packed.grouped import multiply


class PackedWeight(nn.Module):
    """A packed weight (experts, out, in) whose parts move with the model.

    Args:
        shape: Of the weight.
        form: What it is packed as.
        device: Where its room is.

    Attributes:
        filled: Whether it holds a weight; before, what is there is anything.
    """

    def __init__(self, shape: tuple[int, int, int], form: WeightForm, device: torch.device) -> None:
        super().__init__()
        room = FORMS[form].empty(shape, device)
        self.form = form
        self.shape = shape
        self.filled = False
        self.codes = nn.Buffer(room.codes)
        self.scales = nn.Buffer(room.scales)

    def fill(self, weight: Tensor) -> None:
        """Pack a weight of this shape, expert by expert.

        Raises:
            ValueError: It has another shape.
        """
        if tuple(weight.shape) != self.shape:
            raise ValueError(f"a weight of shape {tuple(weight.shape)} instead of {self.shape}")
        for expert in range(len(weight)):
            packed = FORMS[self.form].pack(weight[expert].to(self.codes.device))
            self.codes[expert].copy_(packed.codes)
            self.scales[expert].copy_(packed.scales)
        self.filled = True

    def take(self, codes: Tensor, scales: Tensor) -> None:
        """Take a weight of this shape that is packed already.

        Raises:
            ValueError: It is of another shape or form.
        """
        for own, other in ((self.codes, codes), (self.scales, scales)):
            if own.shape != other.shape or own.dtype != other.dtype:
                raise ValueError(f"{other.dtype} {tuple(other.shape)} is not as {self.form} packs")
            own.copy_(other)
        self.filled = True

    def times(self, rows: Tensor, experts: Tensor) -> Tensor:
        """Return rows (rows, in) times the weight of the expert (rows,) of each."""
        return multiply(rows, Packed(self.codes, self.scales), self.form, experts)


class PackedExperts(nn.Module):
    """Stands in for the experts of a layer; called as ``DiffusionGemmaTextExperts`` is."""

    def __init__(
        self,
        experts: int,
        hidden: int,
        intermediate: int,
        activation: Callable[[Tensor], Tensor],
        form: WeightForm,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.gate_up_proj = PackedWeight((experts, 2 * intermediate, hidden), form, device)
        self.down_proj = PackedWeight((experts, hidden, intermediate), form, device)

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """Return what the chosen experts make of every row, weighted and summed.

        Args:
            hidden_states: (rows, hidden).
            top_k_index: The experts of each row (rows, k).
            top_k_weights: Their weights (rows, k).
        """
        rows, chosen = top_k_index.shape
        experts = top_k_index.reshape(-1)
        inputs = hidden_states.repeat_interleave(chosen, dim=0)
        gate, up = self.gate_up_proj.times(inputs, experts).chunk(2, dim=-1)
        made = self.down_proj.times((self.activation(gate) * up).contiguous(), experts)
        made = made.unflatten(0, (rows, chosen)) * top_k_weights[..., None]
        return made.sum(dim=1).to(hidden_states.dtype)


class PackedLinear(nn.Module):
    """Stands in for a projection without bias."""

    def __init__(self, outputs: int, inputs: int, form: WeightForm, device: torch.device) -> None:
        super().__init__()
        self.packed = PackedWeight((1, outputs, inputs), form, device)

    def fill(self, weight: Tensor) -> None:
        """Pack a weight (out, in)."""
        self.packed.fill(weight[None])

    def forward(self, rows: Tensor) -> Tensor:
        """Return (..., in) times the weight."""
        flat = rows.reshape(-1, rows.shape[-1])
        one = torch.zeros(len(flat), dtype=torch.long, device=rows.device)
        return self.packed.times(flat, one).unflatten(0, rows.shape[:-1])

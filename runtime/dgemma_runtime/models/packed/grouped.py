"""Rows times the packed weight of the expert each of them goes to.

``multiply`` is the one operation. On GPUs a Triton kernel reads packed weights and unpacks them in
registers, so that a step moves 4.5 bits a weight and not 16, and how many rows an expert gets is
never told to the host. Elsewhere every expert that is asked is unpacked and used, which is the
reference that the kernel is tested against.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from dgemma_runtime.models.packed.forms import FORMS, Packed, WeightForm

log = logging.getLogger(__name__)

BLOCK_ROWS = 16
"""Rows that one program of the kernel takes; tensor cores want 16."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Rows sorted by expert, each expert's padded to whole blocks.

    Attributes:
        slots: For each slot the row that it holds (slots,), -1 for padding.
        slot_of: For each row its slot (rows,).
        expert_of: The expert of each block of slots (blocks,); the number of experts where a block
            holds nothing.
    """

    slots: Tensor
    slot_of: Tensor
    expert_of: Tensor


def group(experts: Tensor, count: int) -> Grouping:
    """Sort rows by their expert (rows,), of ``count`` experts, without asking the device."""
    rows = len(experts)
    device = experts.device
    blocks = -(-rows // BLOCK_ROWS) + min(count, rows)  # every expert may leave one part empty
    experts = experts.long()
    counts = torch.zeros(count, dtype=torch.long, device=device)
    counts.scatter_add_(0, experts, torch.ones_like(experts))
    padded = (counts + BLOCK_ROWS - 1) // BLOCK_ROWS * BLOCK_ROWS
    ends = padded.cumsum(0)
    order = experts.argsort(stable=True)
    of_sorted = experts[order]
    rank = torch.arange(rows, device=device) - (counts.cumsum(0) - counts)[of_sorted]
    slot_of_sorted = (ends - padded)[of_sorted] + rank
    slots = torch.full((blocks * BLOCK_ROWS,), -1, dtype=torch.long, device=device)
    slots[slot_of_sorted] = order
    slot_of = torch.empty_like(order)
    slot_of[order] = slot_of_sorted
    starts = torch.arange(blocks, device=device) * BLOCK_ROWS
    return Grouping(slots, slot_of, torch.searchsorted(ends, starts, right=True))


def multiply(rows: Tensor, weight: Packed, form: WeightForm, experts: Tensor) -> Tensor:
    """Multiply each row (rows, in) by the weight of its expert (rows,).

    Args:
        rows: The inputs.
        weight: Packed weights (experts, out, in).
        form: What they are packed as.
        experts: Number of each row's expert.

    Returns:
        The products (rows, out), in the inputs' number format.
    """
    if runs_on(rows.device):
        from dgemma_runtime.models.packed import kernel

        return kernel.multiply(rows, weight, form, group(experts, len(weight.codes)))
    out = rows.new_empty(len(rows), weight.codes.shape[-2])
    for expert in experts.unique().tolist():
        mine = experts == expert
        one = Packed(weight.codes[expert], weight.scales[expert])
        out[mine] = torch.nn.functional.linear(rows[mine], FORMS[form].unpack(one, rows.dtype))
    return out


def runs_on(device: torch.device) -> bool:
    """Whether the kernel is used on a device: CUDA with Triton, or Triton's interpreter."""
    return _has_triton() and (device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1")


@cache
def _has_triton() -> bool:
    found = importlib.util.find_spec("triton") is not None
    if not found and torch.cuda.is_available():
        log.warning("triton is not installed: packed weights are unpacked at every use, slowly")
    return found

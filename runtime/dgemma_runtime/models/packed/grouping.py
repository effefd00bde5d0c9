"""Rows sorted by the expert that each of them goes to, without asking the device how many."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK_ROWS = 16
"""Rows that one program of the kernel takes; tensor cores want 16."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Rows sorted by expert, each expert's padded to whole blocks.

    Attributes:
        slots: For each slot the row that it holds (slots,), -1 for padding.
        expert_of: The expert of each block of slots (blocks,); the number of experts where a block
            holds nothing.
    """

    slots: Tensor
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
    starts = torch.arange(blocks, device=device) * BLOCK_ROWS
    return Grouping(slots, torch.searchsorted(ends, starts, right=True))

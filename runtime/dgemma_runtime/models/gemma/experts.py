"""Which way through the experts is taken, and whether it asks the host.

Recorded passes must not: a row's experts stay on the device, and so does how many rows each gets.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import (
    DiffusionGemmaForBlockDiffusion,
)

from dgemma_runtime.models.packed.grouped import runs_on
from dgemma_runtime.models.packed.grouping import group
from dgemma_runtime.models.packed.modules import PackedExperts

BY_KERNEL = "dgemma"
"""What the way through our kernel is registered as."""

_ON_DEVICE = (9, 10)
"""Major compute capabilities for which PyTorch's grouped product reads its offsets on the device.

On the others, and in other number formats than bfloat16, it copies them to the host and multiplies
group by group.
"""


def by_kernel(
    module: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
) -> Tensor:
    """Return what plain experts make of every row, as ``transformers`` asks for it.

    Args:
        module: The experts.
        hidden_states: (rows, hidden).
        top_k_index: The experts of each row (rows, k).
        top_k_weights: Their weights (rows, k).
    """
    from dgemma_runtime.models.gemma import kernel

    experts: Any = module
    rows, chosen = top_k_index.shape
    grouping = group(top_k_index.reshape(-1), experts.num_experts)
    inputs = hidden_states.repeat_interleave(chosen, dim=0)
    made = experts._apply_gate(kernel.multiply(inputs, experts.gate_up_proj, grouping))
    made = kernel.multiply(made, experts.down_proj, grouping)
    made = made.unflatten(0, (rows, chosen)) * top_k_weights[..., None]
    return made.sum(dim=1).to(hidden_states.dtype)


ALL_EXPERTS_FUNCTIONS.register(BY_KERNEL, by_kernel)


def choose_experts(model: DiffusionGemmaForBlockDiffusion) -> None:
    """Have plain experts multiplied in groups whose sizes stay on the device, where they can.

    The other static way, ``batched_mm``, copies an expert's weights for every row that it gets.
    """
    device = model.device
    if device.type != "cuda" or _is_packed(model):
        return
    kernel = not _grouped_on_device(model) and runs_on(device)
    model.set_experts_implementation(BY_KERNEL if kernel else "grouped_mm")


def why_not_recorded(model: DiffusionGemmaForBlockDiffusion) -> str:
    """Say why passes of a model cannot be recorded; empty when it should work."""
    device = model.device
    if device.type != "cuda":
        return f"{device.type} records no steps"
    if runs_on(device) or (not _is_packed(model) and _grouped_on_device(model)):
        return ""
    return "experts need Triton on this device, and it is not installed"


def _grouped_on_device(model: DiffusionGemmaForBlockDiffusion) -> bool:
    weight: Any = model.model.decoder.embed_tokens.weight
    if torch.version.hip is not None:  # numbers its devices in a way of its own
        return False
    major, _ = torch.cuda.get_device_capability(weight.device)
    return major in _ON_DEVICE and weight.dtype == torch.bfloat16


def _is_packed(model: DiffusionGemmaForBlockDiffusion) -> bool:
    return any(isinstance(module, PackedExperts) for module in model.modules())

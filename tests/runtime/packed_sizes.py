"""What packed weights take, counted on a model that is built on no device."""

from __future__ import annotations

import torch
from torch import nn
from transformers.models.diffusion_gemma import DiffusionGemmaConfig

from dgemma_runtime.models.packed.forms import WeightForm
from dgemma_runtime.models.packed.load import build


def weight_bytes(config: DiffusionGemmaConfig, form: WeightForm, dtype: torch.dtype) -> int:
    """Return the bytes a configuration's weights take in a form, by building it on no device."""
    model = build(config, form, torch.device("meta"))
    total, seen = 0, set[int]()
    for held in (*model.parameters(), *model.buffers()):
        if id(held) not in seen:
            seen.add(id(held))
            plain = isinstance(held, nn.Parameter)
            total += held.numel() * (dtype.itemsize if plain else held.element_size())
    return total

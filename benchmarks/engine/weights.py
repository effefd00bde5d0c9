"""Models of random weights, made on the device itself, a tensor at a time.

The diffusion model is built as a checkpoint would be read: without memory first, packed where the
form says so, so that one tensor at most is ever there unpacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.diffusion_gemma import DiffusionGemmaConfig, DiffusionGemmaTextConfig
from transformers.models.gemma4 import Gemma4ForCausalLM, Gemma4TextConfig

from dgemma_runtime.catalog.memory_plan import PACKED_FORMS, Form
from dgemma_runtime.models.packed.forms import WeightForm
from dgemma_runtime.models.packed.load import build, make_buffers
from dgemma_runtime.models.packed.modules import PackedWeight

_STD = 0.02


def number_of(form: Form) -> torch.dtype:
    """Return what activations are computed in."""
    return torch.float32 if form is Form.FLOAT32 else torch.bfloat16


def gemma_config(dims: Mapping[str, int], canvas: int) -> DiffusionGemmaConfig:
    """Make the configuration of a diffusion model; its images' part is as small as can be."""
    text = DiffusionGemmaTextConfig(layer_types=_kinds(dims), **dims)  # pyright: ignore
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16}
    vision: Any = {"model_type": "gemma4_vision", **sizes, **heads}
    return DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=canvas)


def random_gemma(
    dims: Mapping[str, int], form: Form, canvas: int, device: torch.device, seed: int = 0
) -> Any:
    """Make a ``DiffusionGemmaForBlockDiffusion`` of random weights in a form."""
    config = gemma_config(dims, canvas)
    weight_form = WeightForm(str(form)) if form in PACKED_FORMS else WeightForm.PLAIN
    model = build(config, weight_form, device)
    generator = torch.Generator(device).manual_seed(seed)
    dtype = number_of(form)
    # Shared weights are one object in several places; the old ones are held so that no new one gets
    # the identity of one that is gone.
    made: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}
    for module in model.modules():
        if isinstance(module, PackedWeight):
            _fill_packed(module, generator, dtype)
            continue
        for name, held in list(module.named_parameters(recurse=False)):
            if held.is_meta:
                if id(held) not in made:
                    numbers = _random(tuple(held.shape), generator, dtype)
                    made[id(held)] = held, nn.Parameter(numbers, requires_grad=False)
                setattr(module, name, made[id(held)][1])
        for name, held in list(module.named_buffers(recurse=False)):
            if held.is_meta and name == "layer_scalar":
                setattr(module, name, torch.ones(held.shape, dtype=dtype, device=device))
    make_buffers(model, config, device)
    return model.eval()


def random_autoregressive(dims: Mapping[str, int], form: Form, device: torch.device) -> Any:
    """Make a ``Gemma4ForCausalLM`` of the same dimensions, the autoregressive 26B-A4B's."""
    config = Gemma4TextConfig(
        layer_types=_kinds(dims),
        hidden_size_per_layer_input=0,
        attention_k_eq_v=True,
        enable_moe_block=True,
        final_logit_softcapping=30.0,
        **dims,  # pyright: ignore
    )
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(number_of(form))
    try:
        with torch.device(device):
            return Gemma4ForCausalLM(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's weights and buffers, shared ones once."""
    held = {id(each): each for each in (*model.parameters(), *model.buffers())}
    return sum(each.numel() * each.element_size() for each in held.values())


def _kinds(dims: Mapping[str, int]) -> list[str]:
    layers = dims["num_hidden_layers"]
    full = (n % 6 == 5 or n == layers - 1 for n in range(layers))
    return ["full_attention" if each else "sliding_attention" for each in full]


def _random(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Return small random numbers; ones for what scales, which has one dimension."""
    if len(shape) < 2:
        return torch.ones(shape, dtype=dtype, device=generator.device)
    held = torch.empty(shape, dtype=dtype, device=generator.device)
    return held.normal_(0.0, _STD, generator=generator)


def _fill_packed(weight: PackedWeight, generator: torch.Generator, dtype: torch.dtype) -> None:
    """Pack random numbers, all experts of a layer at a time as they are read from a checkpoint."""
    weight.fill(_random(weight.shape, generator, dtype))

"""A causal-canvas model of a few thousand weights, in memory and as a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from dgemma_runtime.models import embedded_folder
from dgemma_runtime.models.canvas_weights import LINEARS, Dims, make_weights
from dgemma_runtime.models.causal_canvas import CausalCanvas, Special, _inverse_frequencies

VOCAB = 49152
DIMS = Dims(
    hidden=24,
    layers=3,
    heads=6,
    kv_heads=2,
    head_dim=4,
    rope_theta=1e4,
    norm_eps=1e-5,
    max_positions=1024,
)
SPECIAL = Special(mask_id=7, fill_id=16, banned=16)
_INNER = 40
_RANK = 4


Base = LlamaForCausalLM | Qwen2ForCausalLM


def tiny_base(kind: str = "llama", *, tied: bool = True, seed: int = 0) -> Base:
    """A model of random weights; Qwen2's biases are random too, not zero as they start."""
    shape = {
        "vocab_size": VOCAB,
        "hidden_size": DIMS.hidden,
        "intermediate_size": _INNER,
        "num_hidden_layers": DIMS.layers,
        "num_attention_heads": DIMS.heads,
        "num_key_value_heads": DIMS.kv_heads,
        "head_dim": DIMS.head_dim,
        "max_position_embeddings": DIMS.max_positions,
        "rms_norm_eps": DIMS.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": DIMS.rope_theta},
        "tie_word_embeddings": tied,
        "initializer_range": 0.2,
        "attn_implementation": "eager",
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "llama":
            return LlamaForCausalLM(LlamaConfig(**shape)).float().eval()
        model = Qwen2ForCausalLM(Qwen2Config(**shape)).float().eval()
        for name, tensor in model.named_parameters():
            if name.endswith(".bias"):
                torch.nn.init.normal_(tensor, std=0.5)
        return model


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    model = tiny_base(seed=seed)
    assert isinstance(model, LlamaForCausalLM)
    return model


def tiny_adapter(seed: int = 1, scale: float = 0.1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    width = DIMS.heads * DIMS.head_dim
    shapes = {
        "qkv": (DIMS.hidden, (DIMS.heads + 2 * DIMS.kv_heads) * DIMS.head_dim),
        "out": (width, DIMS.hidden),
        "gate_up": (DIMS.hidden, 2 * _INNER),
        "down": (_INNER, DIMS.hidden),
    }
    tensors = {
        name: random(DIMS.hidden) * 0.2 for name in ("input.mask", "input.fill", "output.fill")
    }
    for layer in range(DIMS.layers):
        for name in LINEARS:
            narrow, wide = shapes[name]
            tensors[f"layers.{layer}.{name}.lora_a"] = random(_RANK, narrow) * scale
            tensors[f"layers.{layer}.{name}.lora_b"] = random(wide, _RANK) * scale
    return tensors


def base_tensors(model: Base) -> dict[str, Tensor]:
    """The model's tensors as its checkpoint would hold them."""
    tied = model.config.tie_word_embeddings
    return {
        name: tensor.clone()
        for name, tensor in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }


def tiny_canvas(
    seed: int = 0, *, adapter: dict[str, Tensor] | None = None, base: Base | None = None
) -> CausalCanvas:
    cpu = torch.device("cpu")
    changes = tiny_adapter() if adapter is None else adapter
    tensors = base_tensors(tiny_llama(seed) if base is None else base)
    weights = make_weights(tensors, changes, DIMS, cpu, torch.float32)
    return CausalCanvas(DIMS, SPECIAL, weights, _inverse_frequencies(DIMS, cpu))


def tiny_folder(folder: Path, seed: int = 0) -> Path:
    """Write the model as a folder the ``model`` setting accepts."""
    data = json.loads((embedded_folder() / "model.json").read_text())
    for shipped in ("rewrite_adapter", "rewrites", "weighs"):
        data.pop(shipped, None)
    del data["base"]
    data["name"] = "tiny"
    data["dims"] = {name: getattr(DIMS, name) for name in DIMS.__slots__} | {"banned": 16}
    data["layout"]["span_tokens"] = data["limits"]["span_tokens"] = 6
    data["layout"]["max_span_tokens"] = 12
    data.pop("rewrites", None)  # nobody trained the weights made here
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(data))
    shutil.copy(embedded_folder() / "tokenizer.json", folder)
    save_file(base_tensors(tiny_llama(seed)), folder / "base.safetensors")
    save_file(tiny_adapter(), folder / "adapter.safetensors")
    return folder

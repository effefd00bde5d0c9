"""Turn the embedded model's GGUF file into safetensors that hold plain bfloat16 weights.

Owns the two conventions of that file: names, and the row order of q and k. Knows nothing of where
the file comes from or where the result goes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from dgemma_wire.errors import ModelError

_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert_gguf(
    source: Path, target: Path, metadata: dict[str, str], report: Callable[[float], None]
) -> None:
    """Dequantise every tensor of a Llama GGUF and write them under ``transformers``' names.

    Args:
        source: The GGUF file.
        target: Written whole; the caller moves it into place.
        metadata: Goes into the header of the result.
        report: Is told the share that is done, 0 to 1.

    Raises:
        ModelError: The file is no Llama GGUF.
    """
    import gguf

    try:
        reader = gguf.GGUFReader(str(source))
        heads = {
            "attn_q": _number(reader, "llama.attention.head_count"),
            "attn_k": _number(reader, "llama.attention.head_count_kv"),
        }
        tensors: dict[str, Tensor] = {}
        for done, stored in enumerate(reader.tensors):
            values = gguf.quants.dequantize(stored.data, stored.tensor_type)
            weight = torch.from_numpy(np.array(values, dtype=np.float32))
            part = stored.name.split(".")[2] if stored.name.startswith("blk.") else ""
            if part in heads:
                weight = _pair_halves(weight, heads[part])
            tensors[_plain_name(stored.name)] = weight.to(torch.bfloat16).contiguous()
            report((done + 1) / len(reader.tensors))
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"{source.name} is not a Llama GGUF as expected: {error!r}") from error
    save_file(tensors, str(target), metadata)


def _number(reader: object, field: str) -> int:
    value = getattr(reader, "fields")[field].contents()  # noqa: B009 - the package has no types
    return int(value)


def _plain_name(name: str) -> str:
    if name in _OUTER:
        return _OUTER[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{_INNER[part]}.weight"


def _pair_halves(weight: Tensor, heads: int) -> Tensor:
    """Undo GGUF's row order of q and k (rows, hidden), made for interleaved rotary pairs.

    Llama in ``transformers`` pairs row j of a head with row j + head_dim / 2.
    """
    rows, hidden = weight.shape
    return weight.view(heads, rows // heads // 2, 2, hidden).transpose(1, 2).reshape(rows, hidden)

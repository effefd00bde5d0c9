"""The weights of a causal-canvas model: base files fused, adapter files merged in.

Reads bases as ``transformers`` names Llama's and Qwen2's tensors: with or without biases of q, k
and v, with an output head of their own or the embedding's. Knows no forward pass and no request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dgemma_wire.errors import ModelError

LINEARS = ("qkv", "out", "gate_up", "down")
"""The matrices of a layer that the adapter file changes, fused as the file has them."""

_PARTS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
_HEAD = "lm_head.weight"
DRAFT_ROW = "input.draft"
"""Only in adapters that have learned from their own drafts."""


@dataclass(frozen=True, slots=True)
class Dims:
    """The numbers of a Llama-class trunk."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    norm_eps: float
    max_positions: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's weights: q, k, v stacked in ``qkv``, gate over up in ``gate_up``."""

    norm_attention: Tensor  # (hidden,)
    qkv: Tensor  # ((heads + 2 * kv_heads) * head_dim, hidden)
    out: Tensor  # (hidden, heads * head_dim)
    norm_mlp: Tensor  # (hidden,)
    gate_up: Tensor  # (2 * inner, hidden)
    down: Tensor  # (hidden, inner)
    qkv_bias: Tensor | None = None  # ((heads + 2 * kv_heads) * head_dim,)


@dataclass(frozen=True, slots=True)
class Trunk:
    """The untouched base model."""

    dims: Dims
    embedding: Tensor  # (vocab, hidden)
    head: Tensor  # (vocab, hidden), the embedding itself where the model ties them
    norm: Tensor  # (hidden,)
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """Both trunks; embedding, output rows, norms and biases are shared."""

    embedding: Tensor  # (vocab, hidden)
    head: Tensor  # (vocab, hidden), the embedding itself where the model ties them
    norm: Tensor  # (hidden,)
    prefix: tuple[Layer, ...]
    canvas: tuple[Layer, ...]
    mask_row: Tensor  # (hidden,) input row of the mask token
    fill_row: Tensor  # (hidden,) input row of the fill token
    fill_head: Tensor  # (hidden,) output row of the fill token
    draft_row: Tensor | None = None
    """(hidden,) added to what an undecided position carries of the draft before; ``None`` for
    adapters that were trained without self-conditioning."""

    def with_adapter(self, adapter: dict[str, Tensor]) -> Weights:
        """Return these weights with another adapter merged in; all else is shared.

        Raises:
            ModelError: A tensor of the adapter is missing or of another shape than the base's.
        """
        return replace(self, **_canvas_part(self.embedding, self.prefix, adapter))


def make_weights(
    base: dict[str, Tensor],
    adapter: dict[str, Tensor],
    dims: Dims,
    device: torch.device,
    dtype: torch.dtype,
) -> Weights:
    """Fuse the base's matrices and merge the adapter.

    Raises:
        ModelError: A tensor is missing, of another shape than the others ask for, or one that the
            forward pass knows nothing of.
    """

    trunk = make_trunk(base, dims, device, dtype)
    return Weights(
        embedding=trunk.embedding,
        head=trunk.head,
        norm=trunk.norm,
        prefix=trunk.layers,
        **_canvas_part(trunk.embedding, trunk.layers, adapter),
    )


def make_trunk(
    base: dict[str, Tensor], dims: Dims, device: torch.device, dtype: torch.dtype
) -> Trunk:
    """Fuse the base's matrices.

    Raises:
        ModelError: A tensor is missing, or one that the forward pass knows nothing of.
    """

    def place(tensor: Tensor) -> Tensor:
        return tensor.to(device=device, dtype=dtype).contiguous()

    _refuse_other_biases(base)
    try:
        embedding = place(base["model.embed_tokens.weight"])
        return Trunk(
            dims=dims,
            embedding=embedding,
            head=place(base[_HEAD]) if _HEAD in base else embedding,
            norm=place(base["model.norm.weight"]),
            layers=tuple(_layer(base, i, place) for i in range(dims.layers)),
        )
    except KeyError as error:
        raise ModelError(f"The base weights lack the tensor {error}.") from error


def _layer(base: dict[str, Tensor], number: int, place: Callable[[Tensor], Tensor]) -> Layer:
    layer = f"model.layers.{number}"
    fused = {
        name: place(torch.cat([base[f"{layer}.{part}.weight"] for part in _PARTS[name]]))
        for name in LINEARS
    }
    bias = None
    if f"{layer}.{_PARTS['qkv'][0]}.bias" in base:
        bias = place(torch.cat([base[f"{layer}.{part}.bias"] for part in _PARTS["qkv"]]))
    return Layer(
        **fused,
        norm_attention=place(base[f"{layer}.input_layernorm.weight"]),
        norm_mlp=place(base[f"{layer}.post_attention_layernorm.weight"]),
        qkv_bias=bias,
    )


def _refuse_other_biases(base: dict[str, Tensor]) -> None:
    """Leaving a bias out would give answers that are quietly wrong."""
    known = tuple(f"{part}.bias" for part in _PARTS["qkv"])
    other = [name for name in base if name.endswith(".bias") and not name.endswith(known)]
    if other:
        raise ModelError(f"The base weights have {other[0]}; such models are not supported.")


def _canvas_part(
    embedding: Tensor, prefix: tuple[Layer, ...], adapter: dict[str, Tensor]
) -> dict[str, Any]:
    """Return the members of ``Weights`` that an adapter file decides."""
    return {
        "canvas": tuple(
            replace(
                layer,
                **{
                    name: _merged(getattr(layer, name), adapter, f"layers.{i}.{name}")
                    for name in LINEARS
                },
            )
            for i, layer in enumerate(prefix)
        ),
        "mask_row": _row(embedding, adapter, "input.mask"),
        "fill_row": _row(embedding, adapter, "input.fill"),
        "fill_head": _row(embedding, adapter, "output.fill"),
        "draft_row": _row(embedding, adapter, DRAFT_ROW) if DRAFT_ROW in adapter else None,
    }


def _merged(plain: Tensor, adapter: dict[str, Tensor], name: str) -> Tensor:
    """Return a matrix (out, in) with the adapter's low-rank change, added in float32."""
    outputs, inputs = plain.shape
    rank = rank_of(adapter, name)
    first = whole(adapter, f"{name}.lora_a", (rank, inputs))
    second = whole(adapter, f"{name}.lora_b", (outputs, rank))
    change = (second @ first).to(plain.device)
    return (plain.float() + change).to(plain.dtype)


def rank_of(adapter: dict[str, Tensor], name: str) -> int:
    """Return the rank of a matrix's change.

    Raises:
        ModelError: The adapter has none for it.
    """
    return _stored(adapter, f"{name}.lora_a").shape[0]


def whole(adapter: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of an adapter in float32; int8 ones are stored with a scale per row.

    Raises:
        ModelError: It is missing or of another shape.
    """
    tensor = _shaped(adapter, name, shape)
    if tensor.dtype != torch.int8:
        return tensor.float()
    return tensor.float() * _shaped(adapter, f"{name}.scale", shape[:1]).float()[:, None]


def _row(embedding: Tensor, adapter: dict[str, Tensor], name: str) -> Tensor:
    """Return a row (hidden,) of the adapter's own, placed as the embedding is."""
    row = _shaped(adapter, name, tuple(embedding.shape[1:]))
    return row.to(device=embedding.device, dtype=embedding.dtype).contiguous()


def _shaped(adapter: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    # Checked by hand: to tell it from the device being out of memory, and a broadcast from a fit.
    tensor = _stored(adapter, name)
    if tensor.shape != shape:
        raise ModelError(
            f"The adapter does not fit the base weights: {name} has the shape "
            f"{tuple(tensor.shape)} instead of {shape}."
        )
    return tensor


def _stored(adapter: dict[str, Tensor], name: str) -> Tensor:
    if name not in adapter:
        raise ModelError(f"The adapter lacks the tensor {name!r}.")
    return adapter[name]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights, or all files of a folder.

    Raises:
        ModelError: One cannot be read.
    """
    tensors: dict[str, Tensor] = {}
    for file in sorted(path.glob("*.safetensors")) if path.is_dir() else [path]:
        try:
            with safe_open(str(file), framework="pt") as stored:
                tensors |= {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no dict
        except (OSError, SafetensorError) as error:
            raise ModelError(f"The weights {file} cannot be read: {error}") from error
    return tensors

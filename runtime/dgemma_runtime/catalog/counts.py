"""How many weights a model has, by what they are: from its configuration, or from its files.

Counts are of the text part; the vision tower is counted apart, since it is not loaded. Knows the
shapes of the models this runtime runs, and no bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from dgemma_runtime.models.base import ModelSpec
from dgemma_runtime.models.checkpoint_files import read_header, weight_files
from dgemma_wire.errors import ModelError


class Group(StrEnum):
    """What weights are, as far as number formats and memory tell them apart."""

    EXPERTS = "experts"
    DENSE = "attention and dense layers"
    EMBEDDING = "embedding and head"
    OTHER = "norms, router, self-conditioning"
    VISION = "vision tower"


@dataclass(frozen=True, slots=True)
class Counts:
    """Weights by group, and what one token of a prefix leaves: numbers, not bytes."""

    weights: Mapping[Group, int]
    prefix_numbers: int
    """Keys and values of one token over all layers."""
    vocabulary: int
    widest: int
    """Numbers that the widest stage of a pass holds per token."""
    heads: int
    """Rows of attention scores per token, for the scores of a pass."""

    @property
    def text(self) -> int:
        """Weights that are loaded."""
        return sum(count for group, count in self.weights.items() if group is not Group.VISION)


def diffusion_gemma_counts(config: Mapping[str, Any]) -> Counts:
    """Count a DiffusionGemma by its ``config.json``.

    Raises:
        ModelError: A size is missing.
    """
    try:
        return _diffusion_gemma(config["text_config"], config.get("vision_config") or {})
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"config.json does not tell the model's sizes: {error!r}") from error


def _diffusion_gemma(text: Mapping[str, Any], vision: Mapping[str, Any]) -> Counts:
    hidden, inner = int(text["hidden_size"]), int(text["intermediate_size"])
    heads = int(text["num_attention_heads"])
    experts, expert = int(text["num_experts"]), int(text["moe_intermediate_size"])
    chosen, vocabulary = int(text["top_k_experts"]), int(text["vocab_size"])
    dense = other = prefix = 0
    layers = int(text["num_hidden_layers"])
    for layer in range(layers):
        head, keys, has_values = _attention(text, layer, layers)
        projections = heads * 2 + keys * (2 if has_values else 1)  # q and o; k and v
        dense += projections * head * hidden + 3 * hidden * inner
        # Two norms of heads, seven of the layer, the router's own scale.
        other += 2 * head + 7 * hidden + hidden + experts + experts * hidden
        prefix += 2 * keys * head
    # The self-conditioning's first norm has weights, its last has none; then the final norm.
    other += hidden + 3 * hidden * inner + hidden
    widest = max(heads * _attention(text, n, layers)[0] * 3 for n in range(layers))
    return Counts(
        weights={
            Group.EXPERTS: layers * experts * 3 * expert * hidden,
            Group.DENSE: dense,
            Group.EMBEDDING: vocabulary * hidden,
            Group.OTHER: other,
            Group.VISION: _vision(vision, hidden) if vision else 0,
        },
        prefix_numbers=prefix,
        vocabulary=vocabulary,
        widest=4 * hidden + max(widest, chosen * (2 * hidden + 3 * expert)),
        heads=heads,
    )


def _attention(text: Mapping[str, Any], layer: int, layers: int) -> tuple[int, int, bool]:
    """Return a layer's head size, its key heads, and whether its values have weights."""
    kinds = text.get("layer_types") or [
        "full_attention" if (n + 1) % 6 == 0 else "sliding_attention" for n in range(layers)
    ]
    full = kinds[layer] == "full_attention" or layer == layers - 1
    head, keys = int(text["head_dim"]), int(text["num_key_value_heads"])
    if not full:
        return head, keys, True
    # Newer files tell what differs per layer; older ones tell it of all full layers at once.
    if (each := text.get("per_layer_config")) is not None:
        own = next((told for number, told in each.items() if int(number) == layer), {})
        return int(own.get("head_dim", head)), int(own.get("num_key_value_heads", keys)), False
    head = int(text.get("global_head_dim") or 512)
    return head, int(text.get("num_global_key_value_heads") or keys), False


def _vision(vision: Mapping[str, Any], hidden: int) -> int:
    width, inner = int(vision["hidden_size"]), int(vision["intermediate_size"])
    head = int(vision.get("head_dim") or width // int(vision["num_attention_heads"]))
    heads = int(vision["num_attention_heads"])
    keys = int(vision.get("num_key_value_heads") or heads)
    layer = (2 * heads + 2 * keys) * head * width + 3 * width * inner + 4 * width + 2 * head
    patch = int(vision.get("patch_size", 16))
    places = 2 * int(vision.get("position_embedding_size", 10240)) * width
    patches = 3 * patch * patch * width
    return int(vision["num_hidden_layers"]) * layer + places + patches + width * hidden


def causal_canvas_counts(spec: ModelSpec, inner: int) -> Counts:
    """Count a canvas model by its ``model.json``: a base, and a second trunk for the canvas.

    Args:
        spec: The model.
        inner: Width of its dense layers, which ``model.json`` does not tell.
    """
    dims = {name: int(value) for name, value in spec.dims if name not in ("norm_eps", "rope_theta")}
    hidden, head = dims["hidden"], dims["head_dim"]
    heads, keys, layers = dims["heads"], dims["kv_heads"], dims["layers"]
    trunk = layers * ((2 * heads + 2 * keys) * head * hidden + 3 * hidden * inner)
    # A trunk for prefixes, one for canvases, and one for rewrites when there is a file for it.
    trunks = 3 if spec.rewrite_adapter else 2
    return Counts(
        weights={
            Group.DENSE: trunks * trunk,
            Group.EMBEDDING: spec.noise.vocab_size * hidden,
            Group.OTHER: layers * 2 * hidden + hidden,
        },
        prefix_numbers=2 * layers * keys * head,
        vocabulary=spec.noise.vocab_size,
        widest=4 * hidden + max(3 * heads * head, 3 * inner),
        heads=heads,
    )


def masked_sequence_counts(spec: ModelSpec, config: Mapping[str, Any]) -> Counts:
    """Count a causal checkpoint with masks by its ``config.json``; it keeps no keys and values.

    Raises:
        ModelError: A size is missing.
    """
    try:
        inner, tied = int(config["intermediate_size"]), bool(config.get("tie_word_embeddings"))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"config.json does not tell the model's sizes: {error!r}") from error
    dims = {name: int(value) for name, value in spec.dims if name not in ("norm_eps", "rope_theta")}
    hidden, head = dims["hidden"], dims["head_dim"]
    heads, keys, layers = dims["heads"], dims["kv_heads"], dims["layers"]
    biases = (heads + 2 * keys) * head  # of Qwen2's class
    return Counts(
        weights={
            Group.DENSE: layers * ((2 * heads + 2 * keys) * head * hidden + 3 * hidden * inner),
            Group.EMBEDDING: (1 if tied else 2) * spec.noise.vocab_size * hidden,
            Group.OTHER: layers * (2 * hidden + biases) + hidden,
        },
        prefix_numbers=0,
        vocabulary=spec.noise.vocab_size,
        widest=4 * hidden + max(3 * heads * head, 3 * inner),
        heads=heads,
    )


_NAMED = (
    (re.compile(r"vision_tower\.|embed_vision\."), Group.VISION),
    (re.compile(r"\.experts\."), Group.EXPERTS),
    (re.compile(r"self_conditioning\."), Group.OTHER),
    (re.compile(r"(embed_tokens|lm_head)\.weight$"), Group.EMBEDDING),
    (re.compile(r"\.(self_attn|mlp)\.\w+_proj\.weight$"), Group.DENSE),
)


def counted_in_files(folder: Path) -> dict[Group, int]:
    """Count the weights of a checkpoint's files by their headers.

    Raises:
        ModelError: A file is missing or damaged; names it.
    """
    found = dict.fromkeys(Group, 0)
    files, _ = weight_files(folder)
    for path in files:
        for name, header in read_header(path).items():
            if name.endswith("layer_scalar"):  # a buffer, and no weight
                continue
            group = next((g for pattern, g in _NAMED if pattern.search(name)), Group.OTHER)
            count = 1
            for size in header.shape:
                count *= size
            found[group] += count
    return found

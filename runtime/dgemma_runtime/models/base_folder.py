"""Checks a folder of base weights, as ``transformers`` saves them, against a ``model.json``.

The forward pass is written out for one class of models; whatever a ``config.json`` says beyond it
must be refused by name, since weights of a neighbouring class load just as well and answer
nonsense. Knows no tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgemma_wire.errors import ModelError

MODEL_TYPES = ("llama", "qwen2")

_NAMES = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "rope_theta": "rope_theta",
    "norm_eps": "rms_norm_eps",
}
_PLAIN: dict[str, tuple[object, ...]] = {
    "model_type": MODEL_TYPES,
    "hidden_act": ("silu",),
    "use_sliding_window": (None, False),
    "mlp_bias": (None, False),
}
"""Fields that must have one of these values; ``None`` stands for absent."""


def check_folder(folder: Path, dims: Mapping[str, float]) -> None:
    """Make sure that a folder's model is one the forward pass computes, and of these numbers.

    Args:
        folder: Holds a ``config.json``.
        dims: The numbers of a ``model.json``.

    Raises:
        ModelError: It is not; the text says what differs.
    """
    path = folder / "config.json"
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} does not hold a JSON object.")
    for name, values in _PLAIN.items():
        if config.get(name) not in values:
            raise ModelError(
                f"{path}: {name} is {config.get(name)!r}; supported are "
                f"{', '.join(repr(value) for value in values if value is not None)}."
            )
    # Two generations of files: the numbers of the rotary positions moved into an object.
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ModelError(f"{path}: rotary positions of type {kind!r} are not supported.")
    told = {**config, **rope}
    if told.get("head_dim") is None:
        told["head_dim"] = told["hidden_size"] // told["num_attention_heads"]
    for ours, theirs in _NAMES.items():
        if told.get(theirs, dims[ours]) != dims[ours]:
            raise ModelError(
                f"{path}: {theirs} is {told[theirs]}, and the model.json says {ours} is "
                f"{dims[ours]}."
            )


def ties_head(folder: Path) -> bool:
    """Say whether the model of a checked folder reads its output from the embedding."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return bool(config.get("tie_word_embeddings", False))

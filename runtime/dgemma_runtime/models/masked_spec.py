"""The spec of a causal checkpoint that was retrained to see both ways, from its JSON files.

Open-dCoder is one: Qwen2's class and a mask token. It has no token that ends a span, so it fills
what it is given, and the length of a span is searched for. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgemma_runtime.canvas import Layout
from dgemma_runtime.models.base import (
    Acceptance,
    LengthSearch,
    ModelSpec,
    Noise,
    NoiseKind,
    SamplerConfig,
)
from dgemma_wire.errors import ModelError
from dgemma_wire.messages import ModelLimits

ARCHITECTURE = "masked_sequence"

_PREFIX_TOKENS = 768
_CANVAS_TOKENS = 256
_SPAN_TOKENS = 24
_MOST_SPAN_TOKENS = 64
_LENGTHS = (*range(1, 9), 10, 12, 16, 20, 24, 32, 48, 64)


def make_masked_spec(
    folder: Path, config: Mapping[str, Any], tokenizer: Mapping[str, Any]
) -> ModelSpec:
    """Make the spec of a checkpoint of Qwen2's class.

    Args:
        folder: Holds the weights and ``tokenizer.json``.
        config: Its ``config.json``.
        tokenizer: Its ``tokenizer_config.json``, empty when there is none.

    Raises:
        ModelError: It is an ordinary causal model, or a number is missing.
    """
    mask = _mask_id(config, tokenizer)
    if mask is None:
        raise ModelError(
            f"{folder} is a causal model without a mask token; it cannot fill a canvas."
        )
    try:
        rope = config.get("rope_parameters") or {}
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        positions = int(config["max_position_embeddings"])
        end = config["eos_token_id"]
        dims = {
            "hidden": hidden,
            "layers": int(config["num_hidden_layers"]),
            "heads": heads,
            "kv_heads": int(config["num_key_value_heads"]),
            "head_dim": int(config.get("head_dim") or hidden // heads),
            "rope_theta": float(rope.get("rope_theta", config.get("rope_theta", 1e4))),
            "norm_eps": float(config["rms_norm_eps"]),
            "max_positions": positions,
        }
        noise = Noise(NoiseKind.MASK, int(config["vocab_size"]), mask)
        ends = tuple(map(int, end)) if isinstance(end, list) else (int(end),)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}/config.json is not Qwen2's: {error!r}") from error
    canvas = min(_CANVAS_TOKENS, positions // 2)
    span = min(_SPAN_TOKENS, canvas)
    most = min(_MOST_SPAN_TOKENS, canvas)
    return ModelSpec(
        name=folder.name,
        architecture=ARCHITECTURE,
        folder=folder,
        layout=Layout(
            head_rows=0,
            span_tokens=span,
            tail_tokens=canvas,
            canvas_tokens=canvas,
            max_span_tokens=most,
        ),
        limits=ModelLimits(
            # All of it is read again at every step.
            prefix_tokens=min(_PREFIX_TOKENS, positions - canvas),
            canvas_tokens=canvas,
            span_tokens=span,
            max_span_tokens=most,
            chars_per_token=3.2,
        ),
        noise=noise,
        sampler=SamplerConfig(
            acceptance=Acceptance.LEADING_RUN, max_steps=None, run_confidence=0.9, sample_top_k=40
        ),
        end_ids=ends,
        dims=tuple(dims.items()),
        heal_words=True,
        # What is decided for good is decided from the left: a long span takes more steps.
        search=LengthSearch(grid=_LENGTHS, patience=most),
    )


def _mask_id(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int | None:
    told = config.get("mask_token_id")
    if isinstance(told, int):
        return told
    name = tokenizer.get("mask_token")
    if isinstance(name, dict):
        name = name.get("content")
    added = tokenizer.get("added_tokens_decoder") or {}
    found = (int(i) for i, token in added.items() if name and token.get("content") == name)
    return next(found, None)

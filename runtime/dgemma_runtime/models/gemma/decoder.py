"""One pass over canvases: the decoder of ``transformers`` module by module, and the output head.

The loop over the layers is written out here, because the self-conditioning signal and what a canvas
sees have no argument upstream. Reads nothing back from the device and makes no shape depend on
values, so that a pass can be recorded. Owns no memory; knows no prefix and no sampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import (
    DiffusionGemmaForBlockDiffusion,
)

from dgemma_runtime.models.gemma.attention import Seen


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the step before predicted.

    Attributes:
        rows: Rows that it predicted (fed,), counted over all canvases; one past the last for none.
        logits: What it predicted (fed, vocab), in the weights' number format.
        fed: Rows of canvases that have feedback (prefixes, rows), bool; ``None`` for all.
    """

    rows: Tensor
    logits: Tensor
    fed: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a pass reads besides its prefixes.

    Attributes:
        tokens: The canvases of each prefix, one after another (prefixes, rows).
        positions: Of each token in its text (prefixes, rows).
        rows: Rows to predict (wanted,), counted over all canvases; one past the last for none.
        feedback: For self-conditioning; ``None`` at the first step.
    """

    tokens: Tensor
    positions: Tensor
    rows: Tensor
    feedback: Feedback | None


def predict(model: DiffusionGemmaForBlockDiffusion, inputs: Inputs, seen: Seen) -> Tensor:
    """Return logits (wanted, vocab) in float32."""
    decoder: Any = model.model.decoder
    embedded = decoder.embed_tokens(inputs.tokens)  # (prefixes, rows, hidden)
    x = decoder.self_conditioning(embedded, _signal(decoder, embedded, inputs.feedback))
    kinds = decoder.text_config.layer_types
    turned = {kind: decoder.rotary_emb(x, inputs.positions, kind) for kind in set(kinds)}
    for kind, layer in zip(kinds, decoder.layers, strict=True):
        x = layer(x, position_embeddings=turned[kind], seen=seen)
    x = decoder.norm(x).flatten(0, 1)
    # The full logits of 256 rows and 262144 tokens would cost as much as the model's own pass.
    hidden = x.index_select(0, inputs.rows.clamp(max=len(x) - 1))  # (wanted, hidden)
    return head(model, hidden)


def head(model: DiffusionGemmaForBlockDiffusion, hidden: Tensor) -> Tensor:
    """Return the logits (rows, vocab) of last hidden states (rows, hidden)."""
    logits = model.lm_head(hidden).float()
    cap = model.final_logit_softcapping
    return logits.div_(cap).tanh_().mul_(cap)  # a thousand rows take a gigabyte


def _signal(decoder: Any, embedded: Tensor, feedback: Feedback | None) -> Tensor:
    """Return the self-conditioning signal (prefixes, rows, hidden): what each row last meant.

    Clamped rows mean their token, which is the limit of a distribution that is sure of it.
    """
    if feedback is None:
        return torch.zeros_like(embedded)
    table = decoder.embed_tokens
    # Through the weights' own number format, as upstream feeds its logits back.
    probabilities = feedback.logits.softmax(dim=-1, dtype=torch.float32).to(table.weight.dtype)
    meant = (probabilities @ table.weight) * table.embed_scale.to(embedded.dtype)
    flat = torch.cat([embedded.flatten(0, 1), embedded.new_zeros(1, embedded.shape[-1])])
    soft = flat.index_copy(0, feedback.rows, meant)[:-1].view_as(embedded)
    if feedback.fed is None:
        return soft
    return soft.masked_fill(~feedback.fed[..., None], 0.0)

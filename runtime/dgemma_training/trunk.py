"""The forward passes of training: a causal one over windows, one over the canvases cut from them.

The same arithmetic as ``dgemma_runtime.models.causal_canvas``, in batches and with gradients to
the low-rank factors; a test holds the two together. Knows nothing of texts, noise or losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dgemma_runtime.models.canvas_weights import Dims, Layer, Trunk

_HIDDEN = -1e4  # added to the scores of what a row may not see

Factors = dict[str, tuple[Tensor, Tensor]]
"""Per matrix of a layer: (rank, in) and (out, rank)."""


@dataclass(frozen=True, slots=True)
class WindowPass:
    """What the causal pass leaves of a batch of windows.

    Attributes:
        hidden: (windows, tokens, hidden), normalised: what the untouched output head reads.
        keys: Per layer (windows, kv_heads, tokens, head_dim).
        values: The same.
    """

    hidden: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@torch.no_grad()
def read_windows(trunk: Trunk, ids: Tensor) -> WindowPass:
    """Run the causal pass over ``ids`` (windows, tokens), padded at the right."""
    dims = trunk.dims
    windows, tokens = ids.shape
    x = trunk.embedding[ids]
    cos, sin = _rotation(
        torch.arange(tokens, device=trunk.embedding.device), dims, trunk.embedding.dtype
    )
    keys, values = [], []
    for layer in trunk.layers:
        h = F.rms_norm(x, (dims.hidden,), layer.norm_attention, dims.norm_eps)
        q, k, v = _heads(F.linear(h, layer.qkv, layer.qkv_bias), dims)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        keys.append(k)
        values.append(v)
        mixed = F.scaled_dot_product_attention(
            q, _repeat(k, dims), _repeat(v, dims), is_causal=True
        )
        x = x + F.linear(mixed.transpose(1, 2).reshape(windows, tokens, -1), layer.out)
        x = x + _mlp(x, layer, dims, None)
    hidden = F.rms_norm(x, (dims.hidden,), trunk.norm, dims.norm_eps)
    return WindowPass(hidden, tuple(keys), tuple(values))


def read_canvases(
    trunk: Trunk,
    factors: Sequence[Factors],
    x: Tensor,
    windows: WindowPass,
    start: Tensor,
    rows: Tensor,
) -> Tensor:
    """Run the canvas pass: every row sees its window's first tokens and its own whole canvas.

    Args:
        trunk: The frozen weights.
        factors: The low-rank changes, per layer.
        x: Embedded canvases (windows, canvases, length, hidden).
        windows: The causal pass over the windows.
        start: (windows, canvases) position of each canvas's first row, which is also how many
            tokens of its window it sees.
        rows: (windows, canvases) rows of each canvas that are not padding.

    Returns:
        Normalised hidden states, shaped as ``x``; row i predicts row i + 1.
    """
    dims = trunk.dims
    shape = x.shape
    canvases, length = shape[0] * shape[1], shape[2]
    places = torch.arange(length, device=trunk.embedding.device)
    cos, sin = _rotation(start.reshape(-1, 1) + places, dims, x.dtype)
    cos, sin = cos[:, None], sin[:, None]  # (canvases, 1, length, head_dim)
    tokens = torch.arange(windows.hidden.shape[1], device=trunk.embedding.device)
    unseen = (tokens >= start.reshape(-1, 1)).to(x.dtype) * _HIDDEN  # (canvases, tokens)
    padding = (places >= rows.reshape(-1, 1)).to(x.dtype) * _HIDDEN  # (canvases, length)
    masks = unseen[:, None, None], padding[:, None, None]
    x = x.reshape(canvases, length, -1)
    for layer, low, keys, values in zip(
        trunk.layers, factors, windows.keys, windows.values, strict=True
    ):
        h = F.rms_norm(x, (dims.hidden,), layer.norm_attention, dims.norm_eps)
        q, k, v = _heads(_linear(h, layer.qkv, low["qkv"], layer.qkv_bias), dims)
        q, k = _rotate(q, cos, sin) * dims.head_dim**-0.5, _rotate(k, cos, sin)
        mixed = _attend(q, (k, v), (keys, values), masks)
        x = x + _linear(mixed, layer.out, low["out"])
        x = x + _mlp(x, layer, dims, low)
    return F.rms_norm(x, (dims.hidden,), trunk.norm, dims.norm_eps).view(shape)


def _attend(
    q: Tensor,
    own: tuple[Tensor, Tensor],
    prefix: tuple[Tensor, Tensor],
    masks: tuple[Tensor, Tensor],
) -> Tensor:
    """Attend from canvas rows to prefix and canvas at once.

    Written out because the canvases of a window share its keys, which no fused kernel knows, and
    because nothing need flow back into the prefix: 19 ms a layer, forward and backward, against
    34 of the fused kernel called per canvas (24 canvases of 54 rows, 320 tokens, 2 cores).

    Args:
        q: Scaled queries (canvases, heads, length, head_dim).
        own: Keys and values of the canvases (canvases, kv_heads, length, head_dim).
        prefix: Keys and values of the windows (windows, kv_heads, tokens, head_dim).
        masks: Added to the scores of prefix and canvas (canvases, 1, 1, ...).

    Returns:
        (canvases, length, heads * head_dim).
    """
    canvases, heads, length, width = q.shape
    windows, kv_heads, tokens, _ = prefix[0].shape
    each = canvases // windows
    rows = heads // kv_heads * length  # query rows that share a key head
    grouped = q.reshape(canvases * kv_heads, rows, width)
    near = torch.bmm(grouped, own[0].reshape(-1, length, width).transpose(1, 2))
    near = near.view(canvases, kv_heads, rows, length).add_(masks[1])

    def by_window(x: Tensor) -> Tensor:  # (canvases, kv_heads, rows, n) -> one batch per window
        x = x.view(windows, each, kv_heads, rows, -1).transpose(1, 2)
        return x.reshape(windows * kv_heads, each * rows, -1)

    def by_canvas(x: Tensor) -> Tensor:
        x = x.view(windows, kv_heads, each, rows, -1).transpose(1, 2)
        return x.reshape(canvases, kv_heads, rows, -1)

    shared_keys = prefix[0].reshape(-1, tokens, width).transpose(1, 2)
    far = by_canvas(torch.bmm(by_window(grouped), shared_keys)).add_(masks[0])
    weights = torch.cat([far, near], -1).softmax(-1)
    far, near = weights.split([tokens, length], -1)
    mixed = torch.bmm(near.reshape(-1, rows, length), own[1].reshape(-1, length, width))
    mixed = mixed.view(canvases, kv_heads, rows, width)
    mixed = mixed + by_canvas(torch.bmm(by_window(far), prefix[1].reshape(-1, tokens, width)))
    return mixed.view(canvases, heads, length, width).transpose(1, 2).reshape(canvases, length, -1)


def _linear(
    x: Tensor, weight: Tensor, low: tuple[Tensor, Tensor], bias: Tensor | None = None
) -> Tensor:
    flat = x.reshape(-1, x.shape[-1])
    changed = torch.addmm(F.linear(flat, weight, bias), F.linear(flat, low[0]), low[1].t())
    return changed.view(*x.shape[:-1], -1)


def _mlp(x: Tensor, layer: Layer, dims: Dims, low: Factors | None) -> Tensor:
    h = F.rms_norm(x, (dims.hidden,), layer.norm_mlp, dims.norm_eps)
    both = F.linear(h, layer.gate_up) if low is None else _linear(h, layer.gate_up, low["gate_up"])
    gate, up = both.chunk(2, -1)
    h = F.silu(gate) * up
    return F.linear(h, layer.down) if low is None else _linear(h, layer.down, low["down"])


def _heads(mixed: Tensor, dims: Dims) -> tuple[Tensor, Tensor, Tensor]:
    """Split (batch, length, fused) into q, k, v of (batch, heads, length, head_dim)."""
    batch, length, _ = mixed.shape
    sizes = [dims.heads, dims.kv_heads, dims.kv_heads]
    split = mixed.view(batch, length, -1, dims.head_dim).transpose(1, 2).split(sizes, 1)
    return split[0], split[1], split[2]


def _repeat(x: Tensor, dims: Dims) -> Tensor:
    return x.repeat_interleave(dims.heads // dims.kv_heads, 1)


def _rotation(positions: Tensor, dims: Dims, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    steps = torch.arange(0, dims.head_dim, 2, dtype=torch.float32, device=positions.device)
    angles = positions.float()[..., None] / dims.rope_theta ** (steps / dims.head_dim)
    angles = torch.cat([angles, angles], -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin

"""Adapter: a causal model whose canvas pass runs with a low-rank canvas adapter merged in.

The base is of Llama's or Qwen2's class.

The prefix is read causally with the untouched weights; the canvas is read with the merged ones,
every row seeing the whole prefix and the whole canvas, positions going on where the prefix ends.
The causal shift stays: the hidden state of row i predicts the token at position i + 1, so a span
may not start at row 0.

The forward pass is written out here because a canvas is small: the module machinery of a general
model library costs half as much again as the matrix products of one denoise step on a CPU. Its
result is tested against ``transformers``' Llama and Qwen2. Knows nothing of sampling, spans or
texts, and of files only which ones to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dgemma_runtime.models.base import BaseFolder, ModelSpec, PrefixState
from dgemma_runtime.models.base_folder import check_folder, ties_head
from dgemma_runtime.models.canvas_weights import (
    LINEARS,
    Dims,
    Layer,
    Weights,
    make_weights,
    read_tensors,
)
from dgemma_wire.adapters import WEIGHTS_FILE

__all__ = ["LINEARS", "CausalCanvas", "Dims", "KeyValues", "Special", "load_adapter"]

DRAFT_TOKENS = 4
"""Tokens that make up what a position carries of the draft before, each with its probability."""

_GROW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Special:
    """Tokens the adapter gave a meaning; ids below ``banned`` are never predicted."""

    mask_id: int
    fill_id: int
    banned: int


class KeyValues:
    """Keys and values of a prefix, with room behind them where a canvas pass writes its own.

    Only the first ``length`` positions mean anything between two calls.
    """

    def __init__(self, dims: Dims, device: torch.device, dtype: torch.dtype) -> None:
        self._dims = dims
        self._length = 0
        self._store = torch.empty(
            (dims.layers, 2, dims.kv_heads, 0, dims.head_dim), device=device, dtype=dtype
        )

    @property
    def length(self) -> int:
        """Tokens encoded so far."""
        return self._length

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` tokens."""
        self._length = min(self._length, length)

    def fork(self, length: int) -> KeyValues:
        """Return an independent copy of the first ``length`` tokens."""
        copy = KeyValues(self._dims, self._store.device, self._store.dtype)
        copy.reserve(length)
        copy._store[..., :length, :] = self._store[..., :length, :]
        copy._length = length
        return copy

    def reserve(self, tokens: int) -> Tensor:
        """Return the store with room for ``tokens`` positions in all.

        Shape (layers, 2, kv_heads, at least tokens, head_dim); keys first, then values.
        """
        if self._store.shape[3] < tokens:
            room = -tokens % _GROW_TOKENS
            grown = self._store.new_empty(
                (*self._store.shape[:3], tokens + room, self._dims.head_dim)
            )
            grown[..., : self._length, :] = self._store[..., : self._length, :]
            self._store = grown
        return self._store

    def extend(self, tokens: int) -> None:
        """Count ``tokens`` just written behind the end as part of the prefix."""
        self._length += tokens


@dataclass(frozen=True, slots=True)
class CausalCanvas:
    """The adapter; implements ``ModelAdapter``."""

    dims: Dims
    special: Special
    weights: Weights
    inverse_frequencies: Tensor  # (head_dim / 2,)

    def with_canvas_adapter(self, path: Path) -> CausalCanvas:
        """Return the model with the canvas adapter of a file; see ``TakesAdapters``."""
        return replace(self, weights=self.weights.with_adapter(read_tensors(path)))

    def new_prefix(self) -> KeyValues:
        """Return the state of an empty prefix."""
        embedding = self.weights.embedding
        return KeyValues(self.dims, embedding.device, embedding.dtype)

    def encode(self, ids: Sequence[int], prefix: PrefixState) -> None:
        """Append ``ids`` to ``prefix`` by a causal pass with the untouched weights."""
        if not ids:
            return
        state = _own(prefix)
        tokens = torch.tensor(ids, device=self.weights.embedding.device)
        self._run(self.weights.prefix, self.weights.embedding[tokens], state, causal=True)
        state.extend(len(ids))

    def denoise(
        self, canvas: Tensor, prefix: PrefixState, rows: Tensor, feedback: Tensor | None
    ) -> Tensor:
        """Predict the tokens at ``rows`` (rows,) of ``canvas`` (canvas,); see ``ModelAdapter``."""
        weights, special = self.weights, self.special
        x = weights.embedding[canvas]  # (canvas, hidden)
        x = torch.where((canvas == special.mask_id)[:, None], weights.mask_row, x)
        x = torch.where((canvas == special.fill_id)[:, None], weights.fill_row, x)
        if feedback is not None and weights.draft_row is not None:
            x[rows] = weights.draft_row + self._expected_rows(feedback)
        x = self._run(weights.canvas, x, _own(prefix), causal=False)
        hidden = F.rms_norm(x[rows - 1], (self.dims.hidden,), weights.norm, self.dims.norm_eps)
        logits = F.linear(hidden, weights.head).float()  # (rows, vocab)
        logits[:, special.fill_id] = (hidden @ weights.fill_head).float()
        logits[:, : special.banned] = -torch.inf
        return logits

    def causal_logits(
        self, ids: Sequence[int], prefix: PrefixState, count: int, *, keep: bool = False
    ) -> Tensor:
        """Predict what follows each of the last ``count`` of ``ids``; see ``ReadsCausally``."""
        weights, special = self.weights, self.special
        tokens = torch.tensor(ids, device=weights.embedding.device)
        # Written behind the prefix's end, where the next pass writes over it.
        state = _own(prefix)
        x = self._run(weights.prefix, weights.embedding[tokens], state, causal=True)
        if keep:
            state.extend(len(ids))
        hidden = F.rms_norm(x[-count:], (self.dims.hidden,), weights.norm, self.dims.norm_eps)
        logits = F.linear(hidden, weights.head).float()
        logits[:, : special.banned] = -torch.inf
        return logits

    def _expected_rows(self, feedback: Tensor) -> Tensor:
        """Return the expected embedding (rows, hidden) of a draft, over its likeliest tokens.

        A softmax and a product over the whole vocabulary would be a tenth of a denoise step on a
        CPU, and the rest of the probability is spread too thin to tell the model anything.
        """
        weights = self.weights
        shares, tokens = expected_tokens(feedback)
        x = weights.embedding[tokens]  # (rows, tokens, hidden)
        x = torch.where((tokens == self.special.fill_id)[..., None], weights.fill_row, x)
        return (x * shares[..., None].to(x.dtype)).sum(1)

    def _run(
        self, layers: tuple[Layer, ...], x: Tensor, state: KeyValues, *, causal: bool
    ) -> Tensor:
        return run_layers(self.dims, self.inverse_frequencies, layers, x, state, causal=causal)


def run_layers(
    dims: Dims,
    inverse_frequencies: Tensor,
    layers: tuple[Layer, ...],
    x: Tensor,
    state: KeyValues,
    *,
    causal: bool,
) -> Tensor:
    """Run a trunk over ``x`` (rows, hidden) placed behind the prefix; writes keys and values.

    They land behind the prefix's end, where only this pass sees them unless ``extend`` counts
    them in.
    """
    rows, start = x.shape[0], state.length
    end = start + rows
    if end > dims.max_positions:
        raise ValueError(f"{end} positions; the model has {dims.max_positions}")
    store = state.reserve(end)
    groups = dims.heads // dims.kv_heads
    cos, sin = _rotation(inverse_frequencies, start, end, x.dtype)
    mask = None
    if causal and rows > 1:
        mask = torch.full((rows, end), -torch.inf, dtype=x.dtype, device=x.device)
        mask = mask.triu(start + 1).repeat(groups, 1)  # (groups * rows, end)
    split = (dims.heads + dims.kv_heads) * dims.head_dim
    for layer, keys_values in zip(layers, store, strict=True):
        h = F.rms_norm(x, (dims.hidden,), layer.norm_attention, dims.norm_eps)
        mixed = F.linear(h, layer.qkv, layer.qkv_bias)
        turned = _rotate(mixed[:, :split].view(rows, -1, dims.head_dim), cos, sin)
        keys_values[0, :, start:end] = turned[:, dims.heads :].transpose(0, 1)
        keys_values[1, :, start:end] = (
            mixed[:, split:].view(rows, dims.kv_heads, dims.head_dim).transpose(0, 1)
        )
        queries = turned[:, : dims.heads] * dims.head_dim**-0.5
        queries = queries.view(rows, dims.kv_heads, groups, dims.head_dim).permute(1, 2, 0, 3)
        queries = queries.reshape(dims.kv_heads, groups * rows, dims.head_dim)
        scores = torch.bmm(queries, keys_values[0, :, :end].transpose(1, 2))
        if mask is not None:
            scores += mask
        mixed = torch.bmm(scores.softmax(-1), keys_values[1, :, :end])
        mixed = mixed.view(dims.kv_heads, groups, rows, dims.head_dim).permute(2, 0, 1, 3)
        x = x + F.linear(mixed.reshape(rows, -1), layer.out)
        h = F.rms_norm(x, (dims.hidden,), layer.norm_mlp, dims.norm_eps)
        gate, up = F.linear(h, layer.gate_up).chunk(2, -1)
        x = x + F.linear(F.silu(gate) * up, layer.down)
    return x


def _rotation(
    inverse_frequencies: Tensor, start: int, end: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return cosine and sine (rows, 1, head_dim) of the positions from ``start`` to ``end``."""
    positions = torch.arange(start, end, device=inverse_frequencies.device)
    angles = positions.float()[:, None] * inverse_frequencies
    angles = torch.cat([angles, angles], -1)[:, None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to ``x`` (rows, heads, head_dim), halves paired as in Llama."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def expected_tokens(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities and ids (rows, ``DRAFT_TOKENS``) of the likeliest tokens."""
    top, tokens = logits.topk(DRAFT_TOKENS, -1)
    return (top - logits.logsumexp(-1, keepdim=True)).exp(), tokens


def _own(prefix: PrefixState) -> KeyValues:
    assert isinstance(prefix, KeyValues)
    return prefix


def load_adapter(
    spec: ModelSpec, base: Path, device: torch.device, dtype: torch.dtype
) -> CausalCanvas:
    """Read base weights and adapter file, and merge the adapter into the canvas trunk.

    Raises:
        ModelError: A file is missing, corrupt or does not fit the other.
    """
    numbers = dict(spec.dims)
    dims = dims_of(spec)
    tensors = read_tensors(base)
    if isinstance(spec.base, BaseFolder):
        check_folder(base, numbers)
        if ties_head(base):
            tensors.pop("lm_head.weight", None)  # some files hold the embedding twice
    adapter = read_tensors(spec.folder / WEIGHTS_FILE)
    weights = make_weights(tensors, adapter, dims, device, dtype)
    return CausalCanvas(dims, special_of(spec), weights, _inverse_frequencies(dims, device))


def special_of(spec: ModelSpec) -> Special:
    """Return the special tokens that a spec states."""
    return Special(
        mask_id=spec.noise.mask_id,
        fill_id=spec.end_ids[0],
        banned=int(dict(spec.dims)["banned"]),
    )


def dims_of(spec: ModelSpec) -> Dims:
    """Return the trunk's numbers that a spec states."""
    numbers = dict(spec.dims)
    return Dims(
        hidden=int(numbers["hidden"]),
        layers=int(numbers["layers"]),
        heads=int(numbers["heads"]),
        kv_heads=int(numbers["kv_heads"]),
        head_dim=int(numbers["head_dim"]),
        rope_theta=numbers["rope_theta"],
        norm_eps=numbers["norm_eps"],
        max_positions=int(numbers["max_positions"]),
    )


def _inverse_frequencies(dims: Dims, device: torch.device) -> Tensor:
    steps = torch.arange(0, dims.head_dim, 2, dtype=torch.float32, device=device)
    return 1.0 / dims.rope_theta ** (steps / dims.head_dim)

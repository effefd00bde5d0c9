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
from itertools import accumulate
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dgemma_runtime.models.base import BaseFolder, CanvasPass, ModelSpec, PrefixState
from dgemma_runtime.models.base_folder import check_folder, ties_head
from dgemma_runtime.models.canvas_weights import (
    LINEARS,
    Dims,
    Layer,
    Weights,
    make_weights,
    read_tensors,
)
from dgemma_runtime.models.loading import QUIETLY, Loading
from dgemma_wire.adapters import WEIGHTS_FILE

__all__ = ["LINEARS", "CausalCanvas", "Dims", "KeyValues", "Special", "load_adapter"]

DRAFT_TOKENS = 4
"""Tokens that make up what a position carries of the draft before, each with its probability."""

_GROW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Special:
    """Tokens the adapter gave a meaning; ids below ``banned`` are never predicted.

    ``ends`` says whether a span may end by ``fill_id``; without, every position holds text.
    """

    mask_id: int
    fill_id: int
    banned: int
    ends: bool = True


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
        self._read(self.weights.embedding[tokens], state)
        state.extend(len(ids))

    def denoise(
        self, canvas: Tensor, prefix: PrefixState, rows: Tensor, feedback: Tensor | None
    ) -> Tensor:
        """Predict the tokens at ``rows`` (rows,) of ``canvas`` (canvas,); see ``ModelAdapter``."""
        return self.denoise_together([CanvasPass(canvas, prefix, rows, feedback)])[0]

    def denoise_together(self, passes: Sequence[CanvasPass]) -> list[Tensor]:
        """Predict positions of several canvases at once; see ``ReadsTogether``.

        All rows go through the products with weights together, so that those are read once;
        attention is each canvas's own.
        """
        weights, special = self.weights, self.special
        x = torch.cat([self._inputs(each) for each in passes])  # (all rows, hidden)
        blocks = [Block(_own(each.prefix), len(each.canvas)) for each in passes]
        x = run_layers(self.dims, self.inverse_frequencies, weights.canvas, x, blocks, causal=False)
        # The hidden state of a row predicts the token behind it.
        starts = accumulate((block.rows for block in blocks[:-1]), initial=0)
        wanted = torch.cat(
            [each.rows + (start - 1) for each, start in zip(passes, starts, strict=True)]
        )
        hidden = F.rms_norm(x[wanted], (self.dims.hidden,), weights.norm, self.dims.norm_eps)
        logits = F.linear(hidden, weights.head).float()  # (wanted, vocab)
        fill = (hidden @ weights.fill_head).float() if special.ends else -torch.inf
        logits[:, special.fill_id] = fill
        logits[:, : special.banned] = -torch.inf
        return list(logits.split([len(each.rows) for each in passes]))

    def _inputs(self, each: CanvasPass) -> Tensor:
        weights, special, canvas = self.weights, self.special, each.canvas
        x = weights.embedding[canvas]  # (canvas, hidden)
        x = torch.where((canvas == special.mask_id)[:, None], weights.mask_row, x)
        x = torch.where((canvas == special.fill_id)[:, None], weights.fill_row, x)
        if each.feedback is not None and weights.draft_row is not None:
            x[each.rows] = weights.draft_row + self._expected_rows(each.feedback)
        return x

    def causal_logits(
        self, ids: Sequence[int], prefix: PrefixState, count: int, *, keep: bool = False
    ) -> Tensor:
        """Predict what follows each of the last ``count`` of ``ids``; see ``ReadsCausally``."""
        weights, special = self.weights, self.special
        tokens = torch.tensor(ids, device=weights.embedding.device)
        # Written behind the prefix's end, where the next pass writes over it.
        state = _own(prefix)
        x = self._read(weights.embedding[tokens], state)
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

    def _read(self, x: Tensor, state: KeyValues) -> Tensor:
        blocks = [Block(state, len(x))]
        return run_layers(
            self.dims, self.inverse_frequencies, self.weights.prefix, x, blocks, causal=True
        )


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that see each other and one prefix; several blocks may share a prefix."""

    prefix: KeyValues
    rows: int


def run_layers(
    dims: Dims,
    inverse_frequencies: Tensor,
    layers: tuple[Layer, ...],
    x: Tensor,
    blocks: Sequence[Block],
    *,
    causal: bool,
) -> Tensor:
    """Run a trunk over the rows of some blocks (rows, hidden), each placed behind its prefix.

    Keys and values are written behind the prefix's end, where only this pass sees them unless
    ``extend`` counts them in. Blocks that share a prefix write them to the same place, one after
    the other in each layer.
    """
    for block in blocks:
        end = block.prefix.length + block.rows
        if end > dims.max_positions:
            raise ValueError(f"{end} positions; the model has {dims.max_positions}")
        block.prefix.reserve(end)
    stores = [block.prefix.reserve(0) for block in blocks]  # once all have their room
    counts = [block.rows for block in blocks]
    cos, sin = _rotation(inverse_frequencies, blocks, x.dtype)
    masks = [_causal_mask(dims, block, x) if causal else None for block in blocks]
    split = (dims.heads + dims.kv_heads) * dims.head_dim
    for number, layer in enumerate(layers):
        h = F.rms_norm(x, (dims.hidden,), layer.norm_attention, dims.norm_eps)
        mixed = F.linear(h, layer.qkv, layer.qkv_bias)
        turned = _rotate(mixed[:, :split].view(len(x), -1, dims.head_dim), cos, sin)
        values = mixed[:, split:].view(len(x), dims.kv_heads, dims.head_dim)
        seen = [
            _attend(dims, part, own, store[number], block, mask)
            for part, own, store, block, mask in zip(
                turned.split(counts), values.split(counts), stores, blocks, masks, strict=True
            )
        ]
        x = x + F.linear(seen[0] if len(seen) == 1 else torch.cat(seen), layer.out)
        h = F.rms_norm(x, (dims.hidden,), layer.norm_mlp, dims.norm_eps)
        gate, up = F.linear(h, layer.gate_up).chunk(2, -1)
        x = x + F.linear(F.silu(gate) * up, layer.down)
    return x


def _attend(
    dims: Dims, turned: Tensor, values: Tensor, store: Tensor, block: Block, mask: Tensor | None
) -> Tensor:
    """Return what the rows of a block see (rows, heads * head_dim) in a layer.

    Args:
        dims: The trunk's numbers.
        turned: Queries, then keys, at their positions (rows, heads + kv_heads, head_dim).
        values: (rows, kv_heads, head_dim).
        store: The layer's keys and values (2, kv_heads, positions, head_dim).
        block: The rows and what stands before them.
        mask: Added to the scores (groups * rows, positions); ``None`` where all see all.
    """
    rows, start = block.rows, block.prefix.length
    end, groups = start + rows, dims.heads // dims.kv_heads
    store[0, :, start:end] = turned[:, dims.heads :].transpose(0, 1)
    store[1, :, start:end] = values.transpose(0, 1)
    queries = turned[:, : dims.heads] * dims.head_dim**-0.5
    queries = queries.view(rows, dims.kv_heads, groups, dims.head_dim).permute(1, 2, 0, 3)
    queries = queries.reshape(dims.kv_heads, groups * rows, dims.head_dim)
    scores = torch.bmm(queries, store[0, :, :end].transpose(1, 2))
    if mask is not None:
        scores += mask
    mixed = torch.bmm(scores.softmax(-1), store[1, :, :end])
    mixed = mixed.view(dims.kv_heads, groups, rows, dims.head_dim).permute(2, 0, 1, 3)
    return mixed.reshape(rows, -1)


def _causal_mask(dims: Dims, block: Block, x: Tensor) -> Tensor | None:
    if block.rows == 1:
        return None
    start = block.prefix.length
    mask = torch.full((block.rows, start + block.rows), -torch.inf, dtype=x.dtype, device=x.device)
    return mask.triu(start + 1).repeat(dims.heads // dims.kv_heads, 1)


def _rotation(
    inverse_frequencies: Tensor, blocks: Sequence[Block], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return cosine and sine (rows, 1, head_dim) of the positions behind each block's prefix."""
    device = inverse_frequencies.device
    ranges = [(block.prefix.length, block.prefix.length + block.rows) for block in blocks]
    positions = torch.cat([torch.arange(*each, device=device) for each in ranges])
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
    spec: ModelSpec,
    base: Path,
    device: torch.device,
    dtype: torch.dtype,
    loading: Loading = QUIETLY,
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
    numbers = dict(spec.dims)
    return Special(
        mask_id=spec.noise.mask_id,
        fill_id=spec.end_ids[0] if spec.end_ids else int(numbers["fill"]),
        banned=int(numbers["banned"]),
        ends=bool(spec.end_ids),
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

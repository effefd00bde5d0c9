"""Prefixes side by side in memory that stays where it is, with room for canvases before each.

A prefix is copied in when a request begins and not at every step. Knows nothing of what is computed
with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import (
    DiffusionGemmaForBlockDiffusion,
)

from dgemma_runtime.models.gemma.prefix import GemmaPrefix

_ALIGN = 16  # what attention kernels want the number of keys to be a multiple of, under a mask


class Seats:
    """Room for the keys and values of several prefixes, and of the canvases before them.

    The order of keys means nothing to attention, and with the canvases in front a prefix can end
    anywhere.

    Args:
        model: Whose layers they are for.
        prefixes: How many.
        prefix_tokens: Most tokens of each.
        canvas_rows: Most rows of all canvases behind one.
    """

    def __init__(
        self,
        model: DiffusionGemmaForBlockDiffusion,
        prefixes: int,
        prefix_tokens: int,
        canvas_rows: int,
    ) -> None:
        self.windows = layer_windows(model)
        self.prefix_tokens, self.canvas_rows = prefix_tokens, canvas_rows
        self._stores: list[Tensor] = []  # (keys and values, prefixes, heads, tokens, head_dim)
        self._marks = [0] * prefixes
        decoder: Any = model.model.decoder
        for window, layer in zip(self.windows, decoder.layers, strict=True):
            attention = layer.self_attn
            heads = attention.config.num_attention_heads // attention.num_key_value_groups
            room = canvas_rows + tokens_held(prefix_tokens, window)
            # Zeros, because what is masked is still multiplied, by zero.
            shape = (2, prefixes, heads, room, attention.head_dim)
            self._stores.append(decoder.embed_tokens.weight.new_zeros(shape))

    @staticmethod
    def size_of(
        model: DiffusionGemmaForBlockDiffusion, prefix_tokens: int, canvas_rows: int
    ) -> int:
        """Return the bytes of one seat."""
        decoder: Any = model.model.decoder
        numbers = 0
        for window, layer in zip(layer_windows(model), decoder.layers, strict=True):
            attention = layer.self_attn
            heads = attention.config.num_attention_heads // attention.num_key_value_groups
            room = canvas_rows + tokens_held(prefix_tokens, window)
            numbers += 2 * heads * room * attention.head_dim
        return numbers * decoder.embed_tokens.weight.itemsize

    def take(self, prefixes: Sequence[GemmaPrefix]) -> list[int]:
        """Copy prefixes in, where they do not lie here already; return the seat of each.

        One that comes twice gets two.
        """
        seats: list[int | None] = []
        for prefix in prefixes:
            known = (seat for seat, mark in enumerate(self._marks) if mark == prefix.mark)
            seats.append(next((seat for seat in known if seat not in seats), None))
        free = [seat for seat in range(len(self._marks)) if seat not in seats]
        return [
            self._put(free.pop(0), prefix) if seat is None else seat
            for seat, prefix in zip(seats, prefixes, strict=True)
        ]

    def _put(self, seat: int, prefix: GemmaPrefix) -> int:
        self._marks[seat] = 0  # should copying fail half-way
        start = self.canvas_rows
        for store, layer in zip(self._stores, prefix.layers, strict=True):
            if seen := layer.visible():
                assert layer.keys is not None
                assert layer.values is not None
                store[0, seat, :, start : start + seen] = layer.keys[0]
                store[1, seat, :, start : start + seen] = layer.values[0]
        self._marks[seat] = prefix.mark
        return seat

    def part(self, layer: int, rows: int, tokens: int) -> tuple[Tensor, Tensor]:
        """Return views of a layer's keys and values: ``rows`` of canvases, then ``tokens``.

        Returns:
            Two of (prefixes, heads, rows and tokens, head_dim).
        """
        start = self.canvas_rows
        end = start + tokens_held(tokens, self.windows[layer])
        keys, values = self._stores[layer][..., start - rows : end, :]
        return keys, values


def layer_windows(model: DiffusionGemmaForBlockDiffusion) -> list[int | None]:
    """Return the sliding window of each layer, ``None`` for those that see everything."""
    decoder: Any = model.model.decoder
    return [
        layer.self_attn.sliding_window if layer.self_attn.is_sliding else None
        for layer in decoder.layers
    ]


def tokens_held(prefix_tokens: int, window: int | None) -> int:
    """Return how many tokens of a prefix a layer has room for, with a window or without."""
    if window is None:
        return prefix_tokens
    return min(prefix_tokens, window - 1 + -(window - 1) % _ALIGN)

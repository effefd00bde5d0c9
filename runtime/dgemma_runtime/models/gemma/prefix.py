"""Keys and values of a prefix: a cache of ``transformers`` with room to grow, cut at any place.

The encoder writes it through ``transformers``' own interface and its decoder can read it. Owns the
memory and which part of it a reader sees; knows nothing of canvases but the room behind the end
where one pass lays its own keys and values.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

GROW_TOKENS = 256
"""Room is made in blocks of this, so that a typed token copies nothing."""

_marks = count(1)


class Room:
    """Keys and values of one layer, each (1, heads, at least ``length``, head_dim)."""

    def __init__(self) -> None:
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def write(self, start: int, keys: Tensor, values: Tensor) -> None:
        """Put keys and values (1, heads, new, head_dim) at ``start``; what is before it stays."""
        self._keys = _with_room(self._keys, start, keys)
        self._values = _with_room(self._values, start, values)
        end = start + keys.shape[-2]
        self._keys[:, :, start:end] = keys
        self._values[:, :, start:end] = values

    def part(self, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Return views of the keys and values from ``start`` to ``end``."""
        assert self._keys is not None
        assert self._values is not None
        return self._keys[:, :, start:end], self._values[:, :, start:end]


def _with_room(held: Tensor | None, start: int, new: Tensor) -> Tensor:
    wanted = start + new.shape[-2]
    if held is not None and held.shape[-2] >= wanted:
        return held
    room = wanted + -wanted % GROW_TOKENS
    # Readers multiply masked values by zero, so what nobody wrote must be a number.
    grown = new.new_zeros((*new.shape[:2], room, new.shape[-1]))
    if held is not None:
        grown[:, :, :start] = held[:, :, :start]
    return grown


class FullLayer(DynamicLayer):
    """A layer that sees everything."""

    def __init__(self) -> None:
        super().__init__()
        self.length = 0
        self._room = Room()

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values (1, heads, new, head_dim); return what the new rows may see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self._room.write(self.length, key_states, value_states)
        self.length += key_states.shape[-2]
        self._show()
        return self._room.part(0, self.length)

    def visible(self) -> int:
        """Return how many of the last tokens the layer sees."""
        return self.length

    def beside(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is seen and, behind it, keys and values that are no part of the prefix."""
        self._room.write(self.length, keys, values)
        self._show()  # the room may be another now
        return self._room.part(self.length - self.visible(), self.length + keys.shape[-2])

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``abs(tokens_to_remove)`` tokens."""
        if self.is_initialized:
            self.length = max(0, self.length - abs(tokens_to_remove))
            self._show()

    def copy(self, length: int) -> FullLayer:
        """Return an independent layer with the first ``length`` tokens."""
        other = FullLayer()
        if self.is_initialized:
            other.update(*self._room.part(0, min(length, self.length)))
        return other

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.length, self._room = 0, Room()

    def _show(self) -> None:
        if self.is_initialized:
            self.keys, self.values = self._room.part(0, self.length)


class SlidingLayer(DynamicSlidingWindowLayer):
    """A layer that sees the last ``sliding_window - 1`` tokens, and keeps all of them.

    The layer of ``transformers`` forgets what slid out, so it cannot go back past the window, and
    one that records the past is cut short by the second crop.
    """

    def __init__(self, sliding_window: int) -> None:
        super().__init__(sliding_window=sliding_window)
        self._room = Room()

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values (1, heads, new, head_dim); return what the new rows may see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.cumulative_length - self.visible()
        self._room.write(self.cumulative_length, key_states, value_states)
        self.cumulative_length += key_states.shape[-2]
        self._show()
        return self._room.part(start, self.cumulative_length)

    def visible(self) -> int:
        """Return how many of the last tokens the layer sees."""
        return min(self.cumulative_length, self.sliding_window - 1)

    def beside(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is seen and, behind it, keys and values that are no part of the prefix."""
        end = self.cumulative_length
        self._room.write(end, keys, values)
        self._show()  # the room may be another now
        return self._room.part(end - self.visible(), end + keys.shape[-2])

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``abs(tokens_to_remove)`` tokens."""
        if self.is_initialized:
            self.cumulative_length = max(0, self.cumulative_length - abs(tokens_to_remove))
            self._show()

    def copy(self, length: int) -> SlidingLayer:
        """Return an independent layer with the first ``length`` tokens."""
        other = SlidingLayer(self.sliding_window)
        if self.is_initialized:
            other.update(*self._room.part(0, min(length, self.cumulative_length)))
        return other

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._room = Room()

    def _show(self) -> None:
        if self.is_initialized:
            end = self.cumulative_length
            self.keys, self.values = self._room.part(end - self.visible(), end)


class GemmaPrefix:
    """Keys and values of a prefix in a cache of ``transformers`` that can be rewound.

    Attributes:
        cache: What the encoder is called with.
        layers: The cache's layers.
        mark: Another number after every change; no two states of any prefixes share one.
    """

    def __init__(self, layers: list[FullLayer | SlidingLayer], length: int = 0) -> None:
        self.cache = DynamicCache()
        held: list[Any] = self.cache.layers
        held.extend(layers)
        self.layers = layers
        self._length = length
        self.mark = next(_marks)

    @property
    def length(self) -> int:
        """Tokens encoded so far."""
        return self._length

    def extend(self, tokens: int) -> None:
        """Count ``tokens`` just encoded."""
        self._length += tokens
        self.mark = next(_marks)

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` tokens."""
        surplus = self._length - length
        if surplus > 0:
            for layer in self.layers:
                layer.crop(-surplus)
            self._length = length
            self.mark = next(_marks)

    def fork(self, length: int) -> GemmaPrefix:
        """Return an independent copy of the first ``length`` tokens."""
        length = min(length, self._length)
        return GemmaPrefix([layer.copy(length) for layer in self.layers], length)


def empty_prefix(windows: list[int | None]) -> GemmaPrefix:
    """Return the state of an empty prefix, given each layer's window; ``None`` sees everything."""
    return GemmaPrefix(
        [FullLayer() if window is None else SlidingLayer(window) for window in windows]
    )

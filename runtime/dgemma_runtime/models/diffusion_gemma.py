"""Adapter: DiffusionGemma through ``transformers``' ``DiffusionGemmaForBlockDiffusion``.

The only module that knows that class: its causal encoder, its bidirectional decoder, its
self-conditioning and its output head, which runs on the wanted rows only. Knows no sampling: its
``generate`` is not used, but the loop over this adapter draws the same tokens (tested).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import (
    DiffusionGemmaForBlockDiffusion,
)

from dgemma_runtime.models.base import ModelSpec, PrefixState
from dgemma_runtime.models.packed.forms import WeightForm
from dgemma_runtime.models.packed.load import load


class RewindableSlidingLayer(DynamicSlidingWindowLayer):
    """A sliding-window cache layer that can be cropped any number of times, exactly.

    Keeps all keys and values and shows readers the last ``sliding_window - 1`` of them. The layer
    of ``transformers`` forgets what slid out, so it cannot go back past the window, and one that
    records the past is cut short by the second crop.
    """

    def __init__(self, sliding_window: int) -> None:
        super().__init__(sliding_window=sliding_window)
        self._all_keys: Tensor | None = None
        self._all_values: Tensor | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values (1, heads, new, head_dim); return what the new rows may see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        length = self.cumulative_length
        if self._all_keys is None or self._all_values is None or length == 0:
            self._all_keys, self._all_values = key_states, value_states
            seen = key_states, value_states
        else:
            assert self.keys is not None
            assert self.values is not None
            seen = (
                torch.cat([self.keys, key_states], dim=-2),
                torch.cat([self.values, value_states], dim=-2),
            )
            self._all_keys = torch.cat([self._all_keys[:, :, :length], key_states], dim=-2)
            self._all_values = torch.cat([self._all_values[:, :, :length], value_states], dim=-2)
        self.cumulative_length = length + key_states.shape[-2]
        self._show()
        return seen

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``abs(tokens_to_remove)`` tokens."""
        self.cumulative_length = max(0, self.cumulative_length - abs(tokens_to_remove))
        self._show()

    def copy(self, length: int) -> RewindableSlidingLayer:
        """Return an independent layer with the first ``length`` tokens."""
        other = RewindableSlidingLayer(self.sliding_window)
        if self._all_keys is not None and self._all_values is not None:
            keys, values = self._all_keys[:, :, :length], self._all_values[:, :, :length]
            other.update(keys.clone(), values.clone())
        return other

    def _show(self) -> None:
        """Let readers see what is inside the window."""
        if self._all_keys is not None and self._all_values is not None:
            end = self.cumulative_length
            start = max(0, end - self.sliding_window + 1)
            self.keys = self._all_keys[:, :, start:end]
            self.values = self._all_values[:, :, start:end]


class GemmaPrefix:
    """Keys and values of a prefix in a cache of ``transformers`` that can be rewound."""

    def __init__(self, cache: DynamicCache, length: int = 0) -> None:
        self.cache = cache
        self._length = length

    @property
    def length(self) -> int:
        """Tokens encoded so far."""
        return self._length

    def extend(self, tokens: int) -> None:
        """Count ``tokens`` just encoded."""
        self._length += tokens

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` tokens."""
        surplus = self._length - length
        if surplus > 0:
            for layer in self.cache.layers:
                assert isinstance(layer, DynamicLayer)
                layer.crop(-surplus)
            self._length = length

    def fork(self, length: int) -> GemmaPrefix:
        """Return an independent copy of the first ``length`` tokens."""
        copy = DynamicCache()
        for layer in self.cache.layers:
            if isinstance(layer, RewindableSlidingLayer):
                copy.layers.append(layer.copy(length))
                continue
            assert isinstance(layer, DynamicLayer)
            assert layer.keys is not None
            assert layer.values is not None
            other = DynamicLayer()
            other.update(layer.keys[:, :, :length].clone(), layer.values[:, :, :length].clone())
            copy.layers.append(other)
        return GemmaPrefix(copy, length)


@dataclass(frozen=True, slots=True)
class DiffusionGemma:
    """The adapter; implements ``ModelAdapter``."""

    model: DiffusionGemmaForBlockDiffusion

    def new_prefix(self) -> GemmaPrefix:
        """Return the state of an empty prefix."""
        cache = DynamicCache(config=self.model.config.get_text_config(decoder=True))
        cache.layers = [
            RewindableSlidingLayer(layer.sliding_window)
            if isinstance(layer, DynamicSlidingWindowLayer)
            else layer
            for layer in cache.layers
        ]
        return GemmaPrefix(cache)

    def encode(self, ids: Sequence[int], prefix: PrefixState) -> None:
        """Append ``ids`` to ``prefix`` by the causal encoder."""
        if not ids:
            return
        state = _own(prefix)
        device = self.model.device
        positions = torch.arange(state.length, state.length + len(ids), device=device)
        self.model.model.encoder(
            input_ids=torch.tensor([list(ids)], device=device),
            past_key_values=state.cache,
            position_ids=positions[None],
        )
        state.extend(len(ids))

    def denoise(
        self, canvas: Tensor, prefix: PrefixState, rows: Tensor, feedback: Tensor | None
    ) -> Tensor:
        """Predict the tokens at ``rows`` (rows,) of ``canvas`` (canvas,); see ``ModelAdapter``."""
        state, decoder = _own(prefix), self.model.model.decoder
        positions = torch.arange(state.length, state.length + len(canvas), device=canvas.device)
        with _conditioned(decoder.self_conditioning, self._soft(canvas, rows, feedback)):
            output = decoder(
                decoder_input_ids=canvas[None],
                past_key_values=state.cache,
                decoder_position_ids=positions[None],
            )
        # The full logits of 256 rows and 262144 tokens would cost as much as the model's own pass.
        hidden = output.last_hidden_state[0, rows]  # (rows, hidden)
        logits = self.model.lm_head(hidden).float()  # (rows, vocab)
        cap = self.model.final_logit_softcapping
        return torch.tanh(logits / cap) * cap

    def _soft(self, canvas: Tensor, rows: Tensor, feedback: Tensor | None) -> Tensor | None:
        """Return the self-conditioning signal (1, canvas, hidden): what each row last meant.

        Clamped rows mean their token, which is the limit of a distribution that is sure of it.
        """
        if feedback is None:
            return None
        embedding = self.model.model.decoder.embed_tokens
        soft = embedding(canvas)  # (canvas, hidden)
        # Through the weights' own number format, as upstream feeds its logits back.
        logits = feedback.to(embedding.weight.dtype)
        probabilities = logits.softmax(dim=-1, dtype=torch.float32).to(embedding.weight.dtype)
        meant = (probabilities @ embedding.weight) * embedding.embed_scale.to(soft.dtype)
        return soft.index_copy(0, rows, meant)[None]


@contextmanager
def _conditioned(module: nn.Module, soft: Tensor | None) -> Iterator[None]:
    """Give the self-conditioning module ``soft`` as its signal instead of zeros.

    Upstream makes the signal from logits of every row; there is no argument for the signal itself.
    """
    if soft is None:
        yield
        return

    def replace(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return arguments[0], soft

    hook = module.register_forward_pre_hook(replace)
    try:
        yield
    finally:
        hook.remove()


def _own(prefix: PrefixState) -> GemmaPrefix:
    assert isinstance(prefix, GemmaPrefix)
    return prefix


def load_adapter(
    spec: ModelSpec, base: Path, device: torch.device, dtype: torch.dtype
) -> DiffusionGemma:
    """Read the text part of a checkpoint from the folder ``base``; the vision tower stays there.

    Raises:
        ModelError: A file or a weight is missing, broken, or does not fit the class.
    """
    form = WeightForm(spec.weight_form or WeightForm.PLAIN)
    return DiffusionGemma(load(base, form, device, dtype))

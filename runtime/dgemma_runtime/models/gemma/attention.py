"""How the rows of canvases look at their prefix and at each other, inside ``transformers``' layers.

An attention function under a name of its own, as ``transformers`` has them registered. The
encoder's calls go on to the one for ``sdpa``; a canvas pass says what its rows see. Prefix and
canvas lie in one piece of memory then, so a step copies no prefix, and heads that share keys are
rows of one head, so no key is repeated. Owns the masks; knows no tokens.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from dgemma_runtime.models.gemma.prefix import GemmaPrefix

NAME = "dgemma"
"""What the function is registered as."""


class Seen(Protocol):
    """What the rows of a pass see, layer by layer. Rows come as (prefixes, rows of a prefix)."""

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Lay the canvases' keys and values (prefixes, heads, rows, head_dim) by the prefixes'.

        Returns:
            Keys and values (prefixes, heads, seen, head_dim).
        """
        ...

    def bias(self, layer: int, groups: int) -> Tensor | None:
        """Return what is added to the scores; ``None`` when every row sees everything.

        Args:
            layer: The layer.
            groups: Query heads that share a key head; their rows come one after another.

        Returns:
            (prefixes, 1, 1 or groups * rows, seen), in the canvases' number format.
        """
        ...


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    seen: Seen | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Attend, as ``transformers`` calls it; ``seen`` is there in canvas passes only."""
    if seen is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **rest
        )
    attention: Any = module
    groups: int = attention.num_key_value_groups
    keys, values = seen.beside(attention.layer_idx, key, value)
    batch, heads, rows, width = query.shape
    packed = query.reshape(batch, heads // groups, groups * rows, width)
    bias = seen.bias(attention.layer_idx, groups)
    mixed = F.scaled_dot_product_attention(packed, keys, values, attn_mask=bias, scale=scaling)
    mixed = mixed.reshape(batch, heads, rows, width)
    return mixed.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


class InPlace:
    """One prefix, read where it lies; the canvases lie in the room behind its end.

    Args:
        prefix: The prefix.
        lengths: Tokens of each canvas; all canvases have the rows of the longest.
        dtype: Of the scores.
        device: Where.
    """

    def __init__(
        self, prefix: GemmaPrefix, lengths: list[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        self._prefix = prefix
        self._canvases: Tensor | None = None  # (rows, rows)
        if len(lengths) > 1:
            told = torch.tensor([lengths], device=device)
            self._canvases = as_bias(canvases_seen(told, max(lengths)), dtype)[0]
        self._biases: dict[tuple[int, int], Tensor] = {}

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Seen``."""
        return self._prefix.layers[layer].beside(keys, values)

    def bias(self, layer: int, groups: int) -> Tensor | None:
        """See ``Seen``."""
        if self._canvases is None:
            return None
        before = self._prefix.layers[layer].visible()
        if (before, groups) not in self._biases:
            whole = F.pad(self._canvases, (before, 0))  # every row sees the whole prefix
            self._biases[before, groups] = whole.repeat(groups, 1)[None, None]
        return self._biases[before, groups]


def canvases_seen(lengths: Tensor, rows: int) -> Tensor:
    """Say which rows of the canvases behind a prefix see which.

    Args:
        lengths: Tokens of each canvas (prefixes, canvases), at least 1.
        rows: Rows of each canvas, its tokens and then padding.

    Returns:
        Rows by rows (prefixes, canvases * rows, canvases * rows), bool. Padding sees its canvas, so
        that nothing comes out of it that is no number.
    """
    prefixes, canvases = lengths.shape
    at = torch.arange(canvases * rows, device=lengths.device)
    there = (at % rows).view(canvases, rows) < lengths[:, :, None]  # (prefixes, canvases, rows)
    same = (at // rows)[:, None] == (at // rows)[None]
    return same & there.view(prefixes, 1, canvases * rows)


def as_bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return zeros where something is seen, and minus infinity elsewhere."""
    bias = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return bias.masked_fill(~seen, -torch.inf)

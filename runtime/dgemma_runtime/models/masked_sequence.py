"""Adapter: a causal model of Qwen2's class, retrained with a mask token to see both ways.

There is no causal pass: every row sees the whole text, prefix and canvas, so of a prefix nothing
can be kept but its tokens, and every step reads all of them. The causal shift stays: the hidden
state of a row predicts the token behind it. Its result is tested against ``transformers``' Qwen2.
Knows nothing of sampling, spans or texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dgemma_runtime.models.base import CanvasPass, ModelSpec, PrefixState
from dgemma_runtime.models.base_folder import check_folder, ties_head
from dgemma_runtime.models.canvas_weights import Trunk, make_trunk, read_tensors
from dgemma_runtime.models.causal_canvas import Block, KeyValues, dims_of, run_layers
from dgemma_runtime.models.loading import QUIETLY, Loading


class TokenPrefix:
    """The tokens of a prefix and nothing else."""

    def __init__(self, ids: Sequence[int] = ()) -> None:
        self.ids = list(ids)

    @property
    def length(self) -> int:
        """Tokens held."""
        return len(self.ids)

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` tokens."""
        del self.ids[length:]

    def fork(self, length: int) -> TokenPrefix:
        """Return an independent copy of the first ``length`` tokens."""
        return TokenPrefix(self.ids[:length])


@dataclass(frozen=True, slots=True)
class MaskedSequence:
    """The adapter; implements ``ModelAdapter``."""

    trunk: Trunk
    mask_id: int
    inverse_frequencies: Tensor  # (head_dim / 2,)

    def new_prefix(self) -> TokenPrefix:
        """Return the state of an empty prefix."""
        return TokenPrefix()

    def encode(self, ids: Sequence[int], prefix: PrefixState) -> None:
        """Append ``ids`` to ``prefix``; they are read with the canvas."""
        _own(prefix).ids.extend(ids)

    def denoise(
        self, canvas: Tensor, prefix: PrefixState, rows: Tensor, feedback: Tensor | None
    ) -> Tensor:
        """Predict the tokens at ``rows`` (rows,) of ``canvas`` (canvas,); see ``ModelAdapter``."""
        return self.denoise_together([CanvasPass(canvas, prefix, rows, feedback)])[0]

    def denoise_together(self, passes: Sequence[CanvasPass]) -> list[Tensor]:
        """Predict positions of several canvases at once; see ``ReadsTogether``."""
        trunk = self.trunk
        texts: list[Tensor] = []
        wanted: list[Tensor] = []
        start = 0
        for each in passes:
            before = torch.tensor(_own(each.prefix).ids, dtype=torch.long, device=each.rows.device)
            texts.append(torch.cat([before, each.canvas]))
            # The very first row has none before it and predicts itself, as in the training.
            wanted.append((each.rows + len(before) - 1).clamp(min=0) + start)
            start += len(texts[-1])
        x = trunk.embedding[torch.cat(texts)]  # (all rows, hidden)
        blocks = [Block(KeyValues(trunk.dims, x.device, x.dtype), len(text)) for text in texts]
        x = run_layers(trunk.dims, self.inverse_frequencies, trunk.layers, x, blocks, causal=False)
        hidden = F.rms_norm(
            x[torch.cat(wanted)], (trunk.dims.hidden,), trunk.norm, trunk.dims.norm_eps
        )
        logits = F.linear(hidden, trunk.head).float()  # (wanted, vocab)
        logits[:, self.mask_id] = -torch.inf
        return list(logits.split([len(each.rows) for each in passes]))


def _own(prefix: PrefixState) -> TokenPrefix:
    assert isinstance(prefix, TokenPrefix)
    return prefix


def load_adapter(
    spec: ModelSpec,
    base: Path,
    device: torch.device,
    dtype: torch.dtype,
    loading: Loading = QUIETLY,
) -> MaskedSequence:
    """Read a checkpoint from the folder ``base``.

    Raises:
        ModelError: A file is missing or corrupt, or the model is of another class.
    """
    check_folder(base, dict(spec.dims))
    tensors = read_tensors(base)
    if ties_head(base):
        tensors.pop("lm_head.weight", None)  # some files hold the embedding twice
    dims = dims_of(spec)
    steps = torch.arange(0, dims.head_dim, 2, dtype=torch.float32, device=device)
    frequencies = 1.0 / dims.rope_theta ** (steps / dims.head_dim)
    return MaskedSequence(make_trunk(tensors, dims, device, dtype), spec.noise.mask_id, frequencies)

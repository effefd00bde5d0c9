"""What the embedded model is made with: base, shapes of batches, languages, by machine.

The one place where the pieces of a run meet; a run on another base or with other data changes
this file or its arguments and nothing below it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from dgemma_runtime.models.base import ModelSpec
from dgemma_runtime.models.canvas_weights import Trunk, make_trunk, read_tensors
from dgemma_runtime.models.causal_canvas import Special, dims_of, special_of
from dgemma_runtime.text import load_codec
from dgemma_training.adapter import CanvasLora
from dgemma_training.batches import Batch, BatchMaker
from dgemma_training.canvases import CanvasCutter, Shape
from dgemma_training.documents import Document
from dgemma_training.noise import StateMix
from dgemma_training.spans import Mix

LANGUAGES = {
    "python": 0.60,
    "typescript": 0.17,
    "typescriptreact": 0.03,
    "javascript": 0.07,
    "javascriptreact": 0.01,
    "go": 0.03,
    "rust": 0.03,
    "c": 0.02,
    "cpp": 0.02,
    "java": 0.02,
}
"""Share of each language in the windows; those without documents leave theirs to the others."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Sizes for a kind of machine.

    Attributes:
        fill: Windows and canvases of a batch of fills of usual length.
        long: The same for blocks, with twice the slots.
        rewrite: Windows of a batch of rewrites, one canvas each.
        tokens: Tokens of a window.
        workers: Threads that make batches.
    """

    fill: tuple[int, int]
    long: tuple[int, int]
    rewrite: int
    tokens: int
    workers: int


PROFILES = {
    "cpu": Profile(fill=(3, 8), long=(3, 5), rewrite=10, tokens=320, workers=1),
    "gpu": Profile(fill=(48, 12), long=(32, 8), rewrite=128, tokens=512, workers=12),
    "tiny": Profile(fill=(2, 4), long=(1, 4), rewrite=2, tokens=128, workers=1),
}

SLOTS, LENGTH = 24, 54
"""Free slots and rows of a usual canvas, as the runtime lays it out."""
LONG_SLOTS, LONG_LENGTH = 48, 78


def shapes(profile: Profile, *, long: float, rewrites: float) -> dict[Shape, float]:
    """Return the shapes of a run with the share of its steps that each gets."""
    fill, wide = profile.fill, profile.long
    weights = {
        Shape("fill", *fill, profile.tokens, SLOTS, LENGTH): 1 - long - rewrites,
        Shape("long", *wide, profile.tokens, LONG_SLOTS, LONG_LENGTH): long,
        Shape("rewrite", profile.rewrite, 1, 224, LONG_SLOTS, LONG_LENGTH, rewrite=True): rewrites,
    }
    return {shape: weight for shape, weight in weights.items() if weight > 0}


@dataclass(frozen=True, slots=True)
class Base:
    """The frozen model and what its canvas pass needs to know."""

    spec: ModelSpec
    trunk: Trunk
    tokenizer: Tokenizer
    special: Special
    newline: int


def load_base(spec: ModelSpec, weights: Path, device: torch.device, dtype: torch.dtype) -> Base:
    """Read the base of a model's spec."""
    tokenizer = load_codec(spec.folder / "tokenizer.json").tokenizer
    newline = tokenizer.encode("\n", add_special_tokens=False).ids[0]
    trunk = make_trunk(read_tensors(weights), dims_of(spec), device, dtype)
    return Base(spec, trunk, tokenizer, special_of(spec), newline)


def new_lora(base: Base, rank: int, seed: int, start: Path | None) -> CanvasLora:
    """Make the trainable part, from an adapter file where one is given.

    Raises:
        ModelError: The file cannot be read or does not fit the base or the rank.
    """
    generator = torch.Generator().manual_seed(seed)
    lora = CanvasLora(base.trunk, rank=rank, end_like=base.newline, generator=generator)
    if start is not None:
        lora.start_from(read_tensors(start))
    return lora.to(base.trunk.embedding.device)


def batch_maker(
    base: Base,
    documents: Iterable[Document],
    weights: dict[Shape, float],
    *,
    seed: int,
    mix: Mix | None = None,
    states: StateMix | None = None,
    languages: dict[str, float] | None = None,
    rewrite_kinds: Collection[str] | None = None,
) -> BatchMaker:
    """Put documents in order and make batches of them."""
    grouped: dict[str, list[Document]] = {}
    for document in documents:
        grouped.setdefault(document.language, []).append(document)
    return BatchMaker(
        grouped,
        languages or LANGUAGES,
        weights,
        CanvasCutter(base.tokenizer, mix or Mix.DEFAULT, rewrite_kinds),
        states or StateMix(),
        base.special.fill_id,
        seed,
    )


def validation_batches(maker: BatchMaker, count: int) -> list[Batch]:
    """Return fixed batches of documents that are kept out of the training."""
    return [maker.make(step) for step in range(count)]

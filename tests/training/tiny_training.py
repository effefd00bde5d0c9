"""A base of a few thousand weights to train on, and runs of a few steps over own sources."""

from __future__ import annotations

from pathlib import Path

import torch

from dgemma_runtime.models import resolve_spec
from dgemma_runtime.models.canvas_weights import make_trunk
from dgemma_runtime.text import load_codec
from dgemma_training.adapter import CanvasLora
from dgemma_training.batches import BatchMaker
from dgemma_training.recipe import PROFILES, Base, batch_maker, new_lora, shapes
from dgemma_training.trainer import RunSettings, train
from tests.runtime.tiny_canvas import DIMS, SPECIAL, base_tensors, tiny_base
from tests.training.own_sources import documents

SPEC = resolve_spec("embedded")
TOKENIZER = load_codec(SPEC.folder / "tokenizer.json").tokenizer


def tiny(kind: str = "llama", *, tied: bool = True) -> Base:
    trunk = make_trunk(
        base_tensors(tiny_base(kind, tied=tied)), DIMS, torch.device("cpu"), torch.float32
    )
    return Base(SPEC, trunk, TOKENIZER, SPECIAL, 198)


def maker(seed: int = 3, **shares: float) -> BatchMaker:
    weights = shapes(PROFILES["tiny"], **({"long": 0.2, "rewrites": 0.2} | shares))
    return batch_maker(tiny(), documents(), weights, seed=seed)


def random_lora(base: Base, seed: int = 5) -> CanvasLora:
    lora = new_lora(base, 4, seed, None)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in lora.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return lora


def run(
    folder: Path,
    steps: int,
    *,
    validation: bool = True,
    said: list[str] | None = None,
    **settings: float,
) -> dict[str, torch.Tensor]:
    """Train or go on training; returns what was learned. ``said`` takes the lines of progress."""
    base = tiny()
    lora = new_lora(base, 4, 0, None)
    chosen = RunSettings(**({"rank": 4, "steps": steps, "warmup": 2} | settings))
    checks = [maker(9).make(0)] if validation else []
    report = ([] if said is None else said).append
    train(folder, base.trunk, lora, base.special, maker(), checks, chosen, report)
    return lora.tensors()

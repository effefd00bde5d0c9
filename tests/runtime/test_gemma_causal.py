"""DiffusionGemma's encoder as a language model: it drafts from the left, and weighs whole texts."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "toy"))

import language  # noqa: E402
import measure  # noqa: E402

from dgemma_runtime.engine.diffusion import DiffusionEngine  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models.base import ReadsCausally  # noqa: E402
from dgemma_wire.messages import Clamped, Denoise, Free, Weigh  # noqa: E402

pytestmark = pytest.mark.torch

ROWS = language.rows(5, 12)


@pytest.fixture(scope="module")
def engine() -> DiffusionEngine:
    return measure.load(measure.MODEL)


@pytest.fixture(scope="module")
def model(engine: DiffusionEngine) -> Any:
    loaded = engine._loaded
    assert loaded is not None
    return loaded.shelf.get("")


@pytest.mark.parametrize("kept", [3, 70])  # 70 is beyond the sliding window of 48
def test_it_predicts_what_upstream_does(model: Any, kept: int) -> None:
    assert isinstance(model, ReadsCausally)
    ids = torch.randint(4, 160, (kept + 9,), generator=torch.Generator().manual_seed(kept)).tolist()
    with torch.inference_mode():
        upstream = model.model
        hidden = upstream.model.encoder(input_ids=torch.tensor([ids])).last_hidden_state[0]
        cap = upstream.final_logit_softcapping
        wanted = torch.tanh(upstream.lm_head(hidden).float() / cap) * cap
        prefix = model.new_prefix()
        model.encode(ids[:kept], prefix)
        found = model.causal_logits(ids[kept:], prefix, 4)
        assert torch.allclose(found, wanted[-4:], atol=1e-4)
        assert prefix.length == kept
        again = model.causal_logits(ids[kept:], prefix, 9, keep=True)
        assert torch.allclose(again, wanted[kept:], atol=1e-4)
        assert prefix.length == kept + 9


def test_the_right_text_weighs_most(engine: DiffusionEngine) -> None:
    right = 0
    for row, other in zip(ROWS, [*ROWS[1:], ROWS[0]], strict=True):
        texts = (other.middle, row.middle)
        request = Weigh(document="d", prefix=row.prefix, texts=texts, suffix=row.suffix)
        answer = engine.denoise(Job(1, request, time.monotonic()), lambda draft: None)
        right += answer.weights[1] > answer.weights[0]
    assert right >= len(ROWS) - 2


def test_it_drafts_from_the_left(engine: DiffusionEngine) -> None:
    row = ROWS[0]
    segments = (Free(tokens=4), Clamped(text=row.suffix))
    request = Denoise(document="d", prefix=row.prefix, segments=segments, causal=True)
    first = engine.denoise(Job(1, request, time.monotonic()), lambda draft: None).candidates[0]
    again = engine.denoise(Job(1, request, time.monotonic()), lambda draft: None).candidates[0]
    assert first.texts == again.texts
    assert first.texts[0]

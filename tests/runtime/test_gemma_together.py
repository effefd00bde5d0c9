"""Several canvases in one pass of DiffusionGemma: what they predict one at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))
import hypothesis.strategies as st  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from tape import TapeRecorder  # noqa: E402
from tiny_gemma import CANVAS, VOCAB, WINDOW, tiny_gemma  # noqa: E402

from dgemma_runtime.models.base import CanvasPass, ReadsTogether  # noqa: E402
from dgemma_runtime.models.diffusion_gemma import DiffusionGemma, GemmaPrefix  # noqa: E402

pytestmark = pytest.mark.torch

CLOSE = 1e-4
PLAIN = DiffusionGemma(tiny_gemma())
TAPED = DiffusionGemma(tiny_gemma(), recorder=TapeRecorder(), prefix_tokens=128)


def tokens(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB, (count,), generator=generator)


def upstream(adapter: DiffusionGemma, one: CanvasPass, ids: list[int]) -> torch.Tensor:
    """What ``transformers``' own forward pass says, from tokens to logits."""
    feedback = None
    if one.feedback is not None:
        # Clamped rows are sure of their token there, too.
        feedback = torch.full((1, len(one.canvas), VOCAB), -1e4)
        feedback.scatter_(2, one.canvas[None, :, None], 0.0)
        feedback[0, one.rows] = one.feedback
    from transformers import DynamicCache

    text = adapter.model.config.get_text_config(decoder=True)
    cache = DynamicCache(config=text)
    if ids:
        adapter.model.model.encoder(input_ids=torch.tensor([ids]), past_key_values=cache)
    found = adapter.model(
        decoder_input_ids=one.canvas[None],
        past_key_values=cache,
        self_conditioning_logits=feedback,
        decoder_position_ids=torch.arange(len(ids), len(ids) + len(one.canvas))[None],
    )
    return found.logits[0, one.rows]


@dataclass(frozen=True)
class Asked:
    prefix: int  # which
    length: int
    rows: tuple[int, ...]
    fed: bool


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=CLOSE, rtol=0)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))


def prefixes_of(adapter: DiffusionGemma, lengths: list[int]) -> list[GemmaPrefix]:
    made = []
    for number, length in enumerate(lengths):
        prefix = adapter.new_prefix()
        adapter.encode(tokens(length, 50 + number).tolist(), prefix)
        made.append(prefix)
    return made


def passes_of(asked: list[Asked], prefixes: list[GemmaPrefix], seed: int = 0) -> list[CanvasPass]:
    made = []
    for number, one in enumerate(asked):
        generator = torch.Generator().manual_seed(seed * 100 + number)
        feedback = torch.randn(len(one.rows), VOCAB, generator=generator) * 3
        made.append(
            CanvasPass(
                tokens(one.length, seed * 100 + number),
                prefixes[one.prefix],
                torch.tensor(one.rows),
                feedback if one.fed else None,
            )
        )
    return made


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[int], list[Asked]]:
    lengths = draw(st.lists(st.integers(1, WINDOW * 4), min_size=1, max_size=3))
    asked = []
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(1, CANVAS))
        rows = draw(st.sets(st.integers(0, length - 1), min_size=1))
        which = draw(st.integers(0, len(lengths) - 1))
        asked.append(Asked(which, length, tuple(sorted(rows)), draw(st.booleans())))
    return lengths, asked


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def test_the_contract_is_implemented() -> None:
    assert isinstance(PLAIN, ReadsTogether)
    assert PLAIN.denoise_together([]) == []


@settings(max_examples=30, deadline=None)
@given(questions())
def test_together_is_one_at_a_time(question: tuple[list[int], list[Asked]]) -> None:
    lengths, asked = question
    passes = passes_of(asked, prefixes_of(PLAIN, lengths))
    alone = [PLAIN.denoise(one.canvas, one.prefix, one.rows, one.feedback) for one in passes]
    for found, expected in zip(PLAIN.denoise_together(passes), alone, strict=True):
        assert_same(found, expected)
    assert [one.prefix.length for one in passes] == [lengths[one.prefix] for one in asked]


@settings(max_examples=15, deadline=None)
@given(questions())
def test_recorded_passes_of_few_shapes_predict_the_same(
    question: tuple[list[int], list[Asked]],
) -> None:
    """Padded in every dimension, and replayed from operations and addresses alone."""
    lengths, asked = question
    plain = passes_of(asked, prefixes_of(PLAIN, lengths))
    taped = passes_of(asked, prefixes_of(TAPED, lengths))
    alone = [PLAIN.denoise(one.canvas, one.prefix, one.rows, one.feedback) for one in plain]
    for found, expected in zip(TAPED.denoise_together(taped), alone, strict=True):
        assert_same(found, expected)
    assert TAPED.step_path == "CUDA graphs"


@pytest.mark.parametrize("length", [1, WINDOW - 2, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW * 4])
@pytest.mark.parametrize("fed", [False, True])
def test_one_canvas_is_what_upstream_predicts(length: int, fed: bool) -> None:
    ids = tokens(length, 3).tolist()
    for adapter in (PLAIN, TAPED):
        prefix = adapter.new_prefix()
        adapter.encode(ids, prefix)
        (one,) = passes_of([Asked(0, 12, (0, 3, 4, 11), fed)], [prefix])
        assert_same(adapter.denoise_together([one])[0], upstream(adapter, one, ids))


def test_an_empty_prefix_is_one() -> None:
    asked = [Asked(0, 5, (1, 2), False), Asked(1, 9, (0, 8), True)]
    for adapter in (PLAIN, TAPED):
        empty, other = adapter.new_prefix(), prefixes_of(adapter, [40])[0]
        passes = passes_of(asked, [empty, other])
        found = adapter.denoise_together(passes)
        again = adapter.denoise_together(passes[::-1])[::-1]
        for one, two in zip(found, again, strict=True):
            assert torch.isfinite(one).all()
            assert_same(one, two)
        adapter.encode(tokens(3, 1).tolist(), empty)
        assert empty.length == 3


def test_the_same_question_twice_has_two_answers_of_its_own() -> None:
    (prefix,) = prefixes_of(PLAIN, [30])
    (one,) = passes_of([Asked(0, 8, (2, 5), True)], [prefix])
    first, second = PLAIN.denoise_together([one, one])
    assert_same(first, second)
    first.zero_()
    assert second.abs().sum() > 0

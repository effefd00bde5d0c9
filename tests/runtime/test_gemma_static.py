"""The fixed-shape path of ``transformers`` itself, and why it is not the one used here.

With its static cache the canvas's keys are written over the prefix's first ones in every sliding
layer, once a prompt fills the window. If these tests fail after an update of ``transformers``, look
whether ``cache_implementation="static"`` is right there now, and whether ours still pays.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))
from tape import TapeRecorder  # noqa: E402
from tiny_gemma import CANVAS, VOCAB, WINDOW, tiny_gemma  # noqa: E402
from transformers import Cache, DynamicCache, StaticCache  # noqa: E402

from dgemma_runtime.models.base import CanvasPass  # noqa: E402
from dgemma_runtime.models.diffusion_gemma import DiffusionGemma  # noqa: E402

pytestmark = pytest.mark.torch

FIXED = (
    "transformers' static cache is right beyond the sliding window in this version: the defect "
    "that decision 17 names is gone, so weigh `cache_implementation='static'` again"
)
STOCK = tiny_gemma()


def ids(count: int) -> list[int]:
    return torch.randint(3, VOCAB, (count,), generator=torch.Generator().manual_seed(4)).tolist()


def upstream(prompt: list[int], cache: Cache) -> torch.Tensor:
    with torch.inference_mode():
        STOCK.model.encoder(input_ids=torch.tensor([prompt]), past_key_values=cache)
        canvas = torch.tensor([ids(CANVAS)])
        masks = None
        if isinstance(cache, StaticCache):
            masks = STOCK.model.decoder.create_diffusion_decoder_attention_mask(
                config=STOCK.config,
                inputs_embeds=canvas[..., None],
                past_key_values=cache,
                decoder_attention_mask=torch.ones(1, len(prompt) + CANVAS, dtype=torch.bool),
            )
        return STOCK(
            decoder_input_ids=canvas,
            past_key_values=cache,
            decoder_attention_mask=masks,
            decoder_position_ids=torch.arange(len(prompt), len(prompt) + CANVAS)[None],
        ).logits[0]


def generated(prompt: list[int], **cache: object) -> list[int]:
    torch.manual_seed(1)
    found = STOCK.generate(
        torch.tensor([prompt]),
        max_denoising_steps=3,
        max_new_tokens=CANVAS,
        eos_token_id=None,
        pad_token_id=None,
        **cache,
    )
    return found.sequences[0, len(prompt) :].tolist()


@pytest.mark.parametrize("length", [WINDOW // 2, WINDOW - 2, WINDOW, WINDOW + 5, WINDOW * 3])
def test_only_the_dynamic_cache_is_right_beyond_the_window(length: int) -> None:
    prompt = ids(length)
    dynamic = generated(prompt)
    static = generated(prompt, cache_implementation="static", disable_compile=True)
    if length < WINDOW - 1:
        assert static == dynamic
    else:
        assert static != dynamic, FIXED


@pytest.mark.parametrize("length", [WINDOW - 2, WINDOW, WINDOW * 3])
@pytest.mark.parametrize("fixed", [False, True])
def test_ours_is_right_on_either_side(length: int, fixed: bool) -> None:
    text = STOCK.config.get_text_config(decoder=True)
    prompt = ids(length)
    expected = upstream(prompt, DynamicCache(config=text))
    static = upstream(prompt, StaticCache(config=text, max_cache_len=length + CANVAS))
    far = (static - expected).abs().max() > 1e-2
    assert far == (length >= WINDOW - 1), FIXED
    with torch.inference_mode():
        adapter = DiffusionGemma(tiny_gemma(), recorder=TapeRecorder() if fixed else None)
        prefix = adapter.new_prefix()
        adapter.encode(prompt, prefix)
        one = CanvasPass(torch.tensor(ids(CANVAS)), prefix, torch.arange(CANVAS))
        found = adapter.denoise_together([one])[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)

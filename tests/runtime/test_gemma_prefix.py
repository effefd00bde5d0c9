"""What is kept of a DiffusionGemma prefix: room to grow, rewinds, and who can read it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))
import hypothesis.strategies as st  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from tiny_gemma import CANVAS, VOCAB, WINDOW, tiny_gemma  # noqa: E402
from transformers import Cache, DynamicCache  # noqa: E402

from dgemma_runtime.models.diffusion_gemma import DiffusionGemma  # noqa: E402
from dgemma_runtime.models.gemma.prefix import GROW_TOKENS, GemmaPrefix  # noqa: E402

pytestmark = pytest.mark.torch

ADAPTER = DiffusionGemma(tiny_gemma())
IDS = torch.randint(3, VOCAB, (480,), generator=torch.Generator().manual_seed(2)).tolist()


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def encoded(ids: list[int]) -> GemmaPrefix:
    prefix = ADAPTER.new_prefix()
    ADAPTER.encode(ids, prefix)
    return prefix


def logits_after(prefix: GemmaPrefix) -> torch.Tensor:
    canvas = torch.tensor(IDS[-CANVAS:])
    return ADAPTER.denoise(canvas, prefix, torch.arange(CANVAS), None)


def memory(prefix: GemmaPrefix) -> list[int]:
    held = [layer.keys for layer in prefix.layers] + [layer.values for layer in prefix.layers]
    return [each.untyped_storage().data_ptr() for each in held if each is not None]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 60)), min_size=1, max_size=5))
def test_any_rewinds_are_exact(moves: list[tuple[int, int]]) -> None:
    """Cut anywhere, far past the window too, go on with other tokens, look, and again."""
    text = IDS[:100]
    prefix = encoded(text)
    for number, (kept, more) in enumerate(moves):
        prefix.crop(kept)
        text = text[:kept] + IDS[200 + number * 10 : 200 + number * 10 + more]
        ADAPTER.encode(text[prefix.length :], prefix)
        assert prefix.length == len(text)
        found, expected = logits_after(prefix), logits_after(encoded(text))
        torch.testing.assert_close(found, expected, atol=3e-5, rtol=0)


def test_typing_copies_nothing() -> None:
    prefix = encoded(IDS[: WINDOW * 3])
    logits_after(prefix)
    before = memory(prefix)
    for number in range(50):
        ADAPTER.encode([IDS[number]], prefix)
        logits_after(prefix)
        prefix.crop(prefix.length - number % 2)
    assert memory(prefix) == before
    assert len(set(before)) == 2 * len(prefix.layers)


def test_room_is_made_in_blocks_and_the_old_is_let_go() -> None:
    prefix = encoded(IDS[:GROW_TOKENS])
    for blocks in (1, 2, 2):
        for layer in prefix.layers:
            for held in (layer.keys, layer.values):
                assert held is not None
                room = blocks * GROW_TOKENS * held.shape[1] * held.shape[3] * 4
                assert held.untyped_storage().nbytes() == room
        logits_after(prefix)  # no room for the canvas behind it, the first time
    torch.testing.assert_close(
        logits_after(prefix), logits_after(encoded(IDS[:GROW_TOKENS])), atol=0, rtol=0
    )


def test_a_canvas_leaves_no_trace() -> None:
    prefix = encoded(IDS[:60])
    mark = prefix.mark
    expected = logits_after(encoded(IDS[:70]))
    logits_after(prefix)
    assert (prefix.length, prefix.mark) == (60, mark)
    ADAPTER.encode(IDS[60:70], prefix)
    torch.testing.assert_close(logits_after(prefix), expected, atol=3e-5, rtol=0)


def test_no_two_states_share_a_mark() -> None:
    one, other = encoded(IDS[:40]), encoded(IDS[:40])
    marks = [one.mark, other.mark, one.fork(20).mark]
    one.crop(39)
    marks.append(one.mark)
    one.crop(39)
    assert one.mark == marks[-1]  # nothing changed
    ADAPTER.encode([5], one)
    marks.append(one.mark)
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("length", [0, 5, WINDOW, 90])
def test_forks_hold_their_own(length: int) -> None:
    prefix = encoded(IDS[:90])
    expected = logits_after(prefix)
    fork = prefix.fork(length)
    assert fork.length == length
    assert not set(memory(prefix)) & set(memory(fork))
    ADAPTER.encode(IDS[100:130], fork)
    assert torch.equal(logits_after(prefix), expected)
    fresh = encoded(IDS[:length] + IDS[100:130])
    torch.testing.assert_close(logits_after(fork), logits_after(fresh), atol=3e-5, rtol=0)


@pytest.mark.parametrize("length", [WINDOW - 1, WINDOW, WINDOW * 4])
def test_the_cache_is_one_of_transformers(length: int) -> None:
    """Its own decoder reads it, and its own cache holds the same, before and after a rewind."""
    prefix = encoded(IDS[: length + 9])
    prefix.crop(length)
    assert isinstance(prefix.cache, Cache)
    assert prefix.cache.get_seq_length() == length
    model = ADAPTER.model
    theirs = DynamicCache(config=model.config.get_text_config(decoder=True))
    model.model.encoder(input_ids=torch.tensor([IDS[:length]]), past_key_values=theirs)
    canvas = torch.tensor([IDS[-CANVAS:]])
    for ours, other in zip(prefix.layers, theirs.layers, strict=True):
        torch.testing.assert_close(ours.keys, other.keys, atol=3e-5, rtol=0)
        torch.testing.assert_close(ours.values, other.values, atol=3e-5, rtol=0)
    found, expected = (
        model(decoder_input_ids=canvas, past_key_values=cache).logits
        for cache in (prefix.cache, theirs)
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(logits_after(prefix), expected[0], atol=1e-4, rtol=0)

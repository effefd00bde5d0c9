"""The written-out forward pass against ``transformers``' Llama and Qwen2 with explicit masks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from tiny_canvas import (  # noqa: E402
    DIMS,
    SPECIAL,
    VOCAB,
    Base,
    base_tensors,
    tiny_adapter,
    tiny_base,
    tiny_canvas,
    tiny_llama,
)

from dgemma_runtime.canvas import ClampedIds, FreeSlots, Layout, lay_out  # noqa: E402
from dgemma_runtime.engine import loop  # noqa: E402
from dgemma_runtime.engine.prefix_cache import PrefixCache  # noqa: E402
from dgemma_runtime.models.base import (  # noqa: E402
    Acceptance,
    Noise,
    NoiseKind,
    SamplerConfig,
)
from dgemma_runtime.models.canvas_weights import LINEARS, make_weights  # noqa: E402
from dgemma_runtime.models.causal_canvas import CausalCanvas  # noqa: E402
from dgemma_wire.errors import ModelError  # noqa: E402

pytestmark = pytest.mark.torch

PREFIX = 37


@pytest.fixture(scope="module")
def adapter() -> CausalCanvas:
    return tiny_canvas()


def tokens(count: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(17, VOCAB, (count,), generator=generator).tolist()


def no_change() -> dict[str, torch.Tensor]:
    """An adapter whose matrices are zero: the canvas trunk is the base."""
    return {
        name: tensor * 0 if ".lora_" in name else tensor for name, tensor in tiny_adapter().items()
    }


@pytest.fixture(
    params=[("llama", True), ("llama", False), ("qwen2", True), ("qwen2", False)],
    ids=lambda param: f"{param[0]}-{'tied' if param[1] else 'untied'}",
)
def base(request: pytest.FixtureRequest) -> Base:
    kind, tied = request.param
    return tiny_base(kind, tied=tied)


def test_the_canvas_pass_equals_a_full_forward_with_an_explicit_mask(base: Base) -> None:
    """With nothing merged, one plain forward over prefix and canvas is the same mathematics."""
    adapter, llama = tiny_canvas(adapter=no_change(), base=base), base
    prefix_ids, canvas = tokens(PREFIX, 1), tokens(12, 2)
    canvas[3:8] = [SPECIAL.mask_id] * 5
    canvas[8] = SPECIAL.fill_id
    total = PREFIX + len(canvas)
    mask = torch.full((total, total), -torch.inf).triu(1)
    mask[PREFIX:, :] = 0.0
    embedded = llama.model.embed_tokens(torch.tensor([prefix_ids + canvas]))
    embedded[0, PREFIX + 3 : PREFIX + 8] = adapter.weights.mask_row
    embedded[0, PREFIX + 8] = adapter.weights.fill_row
    rows = torch.tensor([1, 4, 5, 9, 11])
    with torch.inference_mode():
        hidden = llama.model(inputs_embeds=embedded, attention_mask=mask[None, None])
        hidden = hidden.last_hidden_state[0, PREFIX + rows - 1]
        expected = llama.lm_head(hidden)
        expected[:, SPECIAL.fill_id] = hidden @ adapter.weights.fill_head
        prefix = adapter.new_prefix()
        adapter.encode(prefix_ids, prefix)
        found = adapter.denoise(torch.tensor(canvas), prefix, rows, None)
    assert found.dtype is torch.float32
    assert torch.isneginf(found[:, : SPECIAL.banned]).all()
    kept = slice(SPECIAL.banned, None)
    torch.testing.assert_close(found[:, kept], expected[:, kept], atol=1e-4, rtol=1e-4)


def test_the_prefix_is_read_with_the_untouched_weights(base: Base) -> None:
    adapter, llama, ids = tiny_canvas(base=base), base, tokens(PREFIX, 3)
    with torch.inference_mode():
        theirs = llama.model(torch.tensor([ids]), use_cache=True).past_key_values
        prefix = adapter.new_prefix()
        adapter.encode(ids[:20], prefix)
        adapter.encode(ids[20:21], prefix)
        adapter.encode(ids[21:], prefix)
        store = prefix.reserve(PREFIX)
    for layer, cached in zip(store, theirs.layers, strict=True):
        torch.testing.assert_close(layer[0, :, :PREFIX], cached.keys[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(layer[1, :, :PREFIX], cached.values[0], atol=1e-5, rtol=1e-4)


def test_the_class_of_the_base_matters() -> None:
    """What the comparisons above would miss if a head or a bias made no difference."""
    ids, canvas, rows = tokens(5, 3), torch.tensor(tokens(6, 4)), torch.tensor([2])
    seen = []
    for kind, tied in (("llama", True), ("llama", False), ("qwen2", True), ("qwen2", False)):
        base = tiny_base(kind, tied=tied)
        adapter = tiny_canvas(base=base)
        assert (adapter.weights.head is adapter.weights.embedding) == tied
        assert (adapter.weights.prefix[0].qkv_bias is not None) == (kind == "qwen2")
        with torch.inference_mode():
            prefix = adapter.new_prefix()
            adapter.encode(ids, prefix)
            seen.append(adapter.denoise(canvas, prefix, rows, None)[0, SPECIAL.banned :])
    for i, one in enumerate(seen):
        assert not any(torch.allclose(one, other, atol=1e-2) for other in seen[:i])


def test_biases_the_pass_knows_nothing_of_are_refused() -> None:
    cpu = torch.device("cpu")
    tensors = base_tensors(tiny_llama()) | {"model.layers.0.self_attn.o_proj.bias": torch.ones(24)}
    with pytest.raises(ModelError, match=r"o_proj\.bias"):
        make_weights(tensors, tiny_adapter(), DIMS, cpu, torch.float32)
    tensors = base_tensors(tiny_base("qwen2"))
    del tensors["model.layers.1.self_attn.k_proj.bias"]
    with pytest.raises(ModelError, match=r"1\.self_attn\.k_proj\.bias"):
        make_weights(tensors, tiny_adapter(), DIMS, cpu, torch.float32)


def test_merging_equals_adding_the_low_rank_product() -> None:
    """The merged trunk is a Llama whose matrices were changed by hand."""
    base, changes = base_tensors(tiny_llama()), tiny_adapter()
    cpu = torch.device("cpu")
    weights = make_weights(base, changes, DIMS, cpu, torch.float32)
    for i, (plain, merged) in enumerate(zip(weights.prefix, weights.canvas, strict=True)):
        for name in LINEARS:
            first, second = (changes[f"layers.{i}.{name}.{part}"] for part in ("lora_a", "lora_b"))
            torch.testing.assert_close(getattr(merged, name), getattr(plain, name) + second @ first)


def test_int8_rows_are_scaled_back() -> None:
    base, changes = base_tensors(tiny_llama()), tiny_adapter()
    packed = {}
    for name, tensor in changes.items():
        if ".lora_" not in name:
            packed[name] = tensor
            continue
        scale = (tensor.abs().amax(1) / 127).half()
        packed[name] = (tensor / scale.float()[:, None]).round().to(torch.int8)
        packed[f"{name}.scale"] = scale
    cpu = torch.device("cpu")
    plain = make_weights(base, changes, DIMS, cpu, torch.float32)
    small = make_weights(base, packed, DIMS, cpu, torch.float32)
    torch.testing.assert_close(small.canvas[0].gate_up, plain.canvas[0].gate_up, atol=5e-3, rtol=0)


def test_a_canvas_pass_leaves_the_prefix_as_it_was(adapter: CausalCanvas) -> None:
    ids, canvas, rows = tokens(PREFIX, 4), torch.tensor(tokens(20, 5)), torch.tensor([1, 2, 3])
    with torch.inference_mode():
        prefix = adapter.new_prefix()
        adapter.encode(ids, prefix)
        first = adapter.denoise(canvas, prefix, rows, None)
        adapter.denoise(torch.tensor(tokens(50, 6)), prefix, rows, None)
        assert prefix.length == PREFIX
        assert torch.equal(adapter.denoise(canvas, prefix, rows, None), first)
        adapter.encode(tokens(3, 7), prefix)
        fresh = adapter.new_prefix()
        adapter.encode(ids + tokens(3, 7), fresh)
        torch.testing.assert_close(
            adapter.denoise(canvas, prefix, rows, None),
            adapter.denoise(canvas, fresh, rows, None),
            atol=1e-4,
            rtol=1e-4,
        )


def test_an_empty_prefix_is_possible(adapter: CausalCanvas) -> None:
    with torch.inference_mode():
        prefix = adapter.new_prefix()
        adapter.encode([], prefix)
        logits = adapter.denoise(torch.tensor(tokens(6, 8)), prefix, torch.tensor([1, 2]), None)
    assert logits[:, SPECIAL.banned :].isfinite().all()


def fill(adapter: CausalCanvas, prefix: object, ids: list[int]) -> list[int]:
    """Fill two spans greedily; returns the canvas."""
    layout = Layout(head_rows=1, span_tokens=5, tail_tokens=9, canvas_tokens=64)
    segments = [FreeSlots(), ClampedIds((30, 31)), FreeSlots(3), ClampedIds((40, 41))]
    _, canvas = lay_out(ids, segments, layout)
    problem = loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=99,
        sample=False,
        end_ids=(SPECIAL.fill_id,),
        needed=lambda span, earlier, ids: None,
    )
    noise = Noise(NoiseKind.MASK, VOCAB, SPECIAL.mask_id)
    config = SamplerConfig(acceptance=Acceptance.LEADING_RUN, max_steps=None)
    state = loop.begin(problem, noise, torch.Generator())
    while not state.settled:
        state = loop.step(adapter, prefix, problem, state, noise, config, torch.Generator())  # type: ignore[arg-type]
        assert state.tokens[6:8].tolist() == [30, 31]
        assert state.tokens[11:].tolist() == [40, 41]
    return state.best.tolist()


def test_several_spans_and_the_cache_changes_no_token(adapter: CausalCanvas) -> None:
    cache = PrefixCache(adapter, entries=2)
    document = tokens(60, 9)
    other = document[:8] + tokens(30, 10)
    with torch.inference_mode():
        for ids in (document[:50], document, other, document[:20] + tokens(2, 11), document):
            cached, _ = cache.encode(ids[:-1], lambda: None)
            fresh = adapter.new_prefix()
            adapter.encode(ids[:-1], fresh)
            assert fill(adapter, cached, ids) == fill(adapter, fresh, ids)


def test_files_that_do_not_fit_are_named() -> None:
    base, changes, cpu = base_tensors(tiny_llama()), tiny_adapter(), torch.device("cpu")
    lacking = {name: tensor for name, tensor in base.items() if "layers.1.mlp.up" not in name}
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj"):
        make_weights(lacking, changes, DIMS, cpu, torch.float32)
    wrong = changes | {"layers.0.out.lora_b": torch.zeros(5, 4)}
    with pytest.raises(ModelError, match="does not fit"):
        make_weights(base, wrong, DIMS, cpu, torch.float32)

"""Packed weights: their numbers, their modules, and the checkpoint loader that packs on the way."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))
import hypothesis.strategies as st  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from packed_sizes import weight_bytes  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_gemma import packable_gemma, tiny_gemma  # noqa: E402
from transformers.models.diffusion_gemma import (  # noqa: E402
    DiffusionGemmaConfig,
    DiffusionGemmaTextConfig,
)

from dgemma_runtime.models.loading import Loading  # noqa: E402
from dgemma_runtime.models.packed.forms import FORMS, GROUP, Packed, WeightForm  # noqa: E402
from dgemma_runtime.models.packed.grouped import multiply  # noqa: E402
from dgemma_runtime.models.packed.grouping import BLOCK_ROWS, group  # noqa: E402
from dgemma_runtime.models.packed.load import load  # noqa: E402
from dgemma_runtime.models.packed.modules import PackedExperts  # noqa: E402
from dgemma_wire.errors import ModelError  # noqa: E402

CPU = torch.device("cpu")
SMALL = [WeightForm.INT4, WeightForm.FP8]
ROOT = Path(__file__).parent.parent.parent


def weight(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "share"), [(WeightForm.INT4, 0.09), (WeightForm.FP8, 0.03)])
def test_packing_loses_little(form: WeightForm, share: float) -> None:
    whole = weight(3, 40, 704)
    back = FORMS[form].unpack(FORMS[form].pack(whole), torch.float32)
    assert back.shape == whole.shape
    assert float((back - whole).norm() / whole.norm()) < share


@pytest.mark.parametrize("form", SMALL)
def test_packing_what_was_packed_changes_nothing(form: WeightForm) -> None:
    once = FORMS[form].unpack(FORMS[form].pack(weight(8, 64)), torch.float32)
    twice = FORMS[form].unpack(FORMS[form].pack(once), torch.float32)
    assert torch.allclose(once, twice, atol=1e-2)


@pytest.mark.parametrize("form", SMALL)
def test_zeros_and_single_peaks(form: WeightForm) -> None:
    whole = torch.zeros(4, GROUP)
    whole[1, 5] = 3.0
    whole[2, 7] = -3.0
    back = FORMS[form].unpack(FORMS[form].pack(whole), torch.float32)
    assert torch.allclose(back, whole, atol=0.02)
    assert bool(back.isfinite().all())


@given(st.integers(1, 5), st.integers(1, 4), st.floats(1e-6, 1e4))
@settings(max_examples=30, deadline=None)
def test_four_bits_are_off_by_half_a_step_at_most_or_better_in_sum(
    outputs: int, groups: int, scale: float
) -> None:
    whole = weight(outputs, groups * GROUP, seed=groups) * scale
    packed = FORMS[WeightForm.INT4].pack(whole)
    back = FORMS[WeightForm.INT4].unpack(packed, torch.float32)
    plain = whole.unflatten(-1, (-1, GROUP)).abs().amax(-1, keepdim=True) / 8
    coarse = (whole.unflatten(-1, (-1, GROUP)) / plain).round() * plain
    wrong = (back - whole).square().sum()
    assert float(wrong) <= 1.1 * float((coarse.flatten(-2) - whole).square().sum()) + 1e-12


def test_inputs_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="groups of 32"):
        FORMS[WeightForm.INT4].pack(weight(4, 40))


# -- rows and experts -----------------------------------------------------------------------------


@given(st.lists(st.integers(0, 6), min_size=1, max_size=90))
@settings(max_examples=60, deadline=None)
def test_grouping_holds_every_row_once_and_blocks_have_one_expert(chosen: list[int]) -> None:
    found = group(torch.tensor(chosen), 7)
    held = [row for row in found.slots.tolist() if row >= 0]
    assert sorted(held) == list(range(len(chosen)))
    for block, expert in enumerate(found.expert_of.tolist()):
        rows = found.slots[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS].tolist()
        assert {chosen[row] for row in rows if row >= 0} <= {expert}


@pytest.mark.parametrize("form", SMALL)
def test_rows_are_multiplied_by_their_own_expert(form: WeightForm) -> None:
    packed = FORMS[form].pack(weight(5, 24, 64))
    plain = FORMS[form].unpack(packed, torch.float32)
    rows, chosen = weight(9, 64, seed=1), torch.tensor([4, 0, 0, 2, 4, 4, 1, 0, 2])
    out = multiply(rows, packed, form, chosen)
    expected = torch.stack([plain[e] @ rows[i] for i, e in enumerate(chosen.tolist())])
    assert torch.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("form", SMALL)
def test_packed_experts_do_what_upstreams_do_with_the_same_numbers(form: WeightForm) -> None:
    layer = packable_gemma().model.decoder.layers[0]
    theirs = layer.experts
    ours = PackedExperts(4, 32, 32, theirs.act_fn, form, CPU)
    with torch.no_grad():
        for name in ("gate_up_proj", "down_proj"):
            held = getattr(theirs, name)
            getattr(ours, name).fill(held)
            mine = getattr(ours, name)
            held.copy_(FORMS[form].unpack(Packed(mine.codes, mine.scales), torch.float32))
        rows = weight(7, 32)
        index = torch.tensor([[0, 3], [1, 2], [3, 0], [2, 1], [0, 1], [3, 2], [1, 3]])
        share = torch.rand(7, 2, generator=torch.Generator().manual_seed(2))
        expected = theirs(rows, index, share)
        assert torch.allclose(ours(rows, index, share), expected, atol=1e-5)


KERNEL = """
import torch
from dgemma_runtime.models.packed import grouped, kernel
from dgemma_runtime.models.packed.forms import FORMS, WeightForm
torch.manual_seed(0)
for form in (WeightForm.INT4, WeightForm.FP8):
    for rows_type in (torch.float32, torch.float16):
        for rows, experts, outputs, inputs in ((37, 5, 96, 64), (3, 8, 40, 96), (1, 1, 64, 32)):
            packed = FORMS[form].pack(torch.randn(experts, outputs, inputs))
            x = torch.randn(rows, inputs).to(rows_type)
            chosen = torch.randint(0, experts, (rows,))
            assert grouped.runs_on(x.device)
            out = grouped.multiply(x, packed, form, chosen).float()
            plain = FORMS[form].unpack(packed, torch.float32)
            for row, expert in enumerate(chosen.tolist()):
                expected = plain[expert] @ x[row].float()
                near = torch.allclose(out[row], expected, atol=2e-2, rtol=2e-2)
                assert near, (form, rows_type, rows, row)
print("same")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Triton has no wheels elsewhere")
def test_the_kernel_does_what_the_reference_does() -> None:
    """In Triton's interpreter, which runs the kernel's program on the CPU (no bfloat16 there)."""
    if importlib.util.find_spec("triton") is None:
        why = "needs triton: pip install 'dgemma[kernels]'"
        pytest.fail(why) if os.environ.get("DGEMMA_REQUIRE_ALL") == "1" else pytest.skip(why)
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", KERNEL], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert ran.stdout == "same\n", ran.stderr[-2000:]


# -- whole models ---------------------------------------------------------------------------------


def fill(model: torch.nn.Module) -> list[int]:
    with torch.no_grad():
        torch.manual_seed(0)
        prompt = torch.arange(5, 15)[None]
        return model.generate(prompt, max_new_tokens=16).sequences[0].tolist()  # type: ignore[operator]


def test_the_loader_reads_what_transformers_reads_without_the_images(tmp_path: Path) -> None:
    model = tiny_gemma()
    with torch.no_grad():  # the one thing that encoder and decoder do not share
        model.model.encoder.language_model.layers[1].layer_scalar.fill_(0.5)
    model.save_pretrained(tmp_path)
    read = load(tmp_path, WeightForm.PLAIN, CPU, torch.float32)
    assert fill(read) == fill(model)
    theirs = model.state_dict()
    for name, held in read.state_dict().items():
        assert torch.equal(held, theirs[name]), name
    assert not any("vision" in name for name, _ in read.named_parameters())


@pytest.mark.parametrize("form", SMALL)
def test_a_packed_model_computes_with_the_packed_numbers(form: WeightForm, tmp_path: Path) -> None:
    model = packable_gemma()
    model.save_pretrained(tmp_path)
    packed = load(tmp_path, form, CPU, torch.float32)
    with torch.no_grad():  # the same model, its weights rounded as the form does
        for name, held in model.model.decoder.layers.named_parameters():
            big = "experts." in name or (name.endswith("proj.weight") and "router" not in name)
            if big:
                rounded = FORMS[form].pack(held)
                held.copy_(FORMS[form].unpack(rounded, torch.float32))
    assert fill(packed) == fill(model)
    first, twin = packed.model.decoder.layers[0], packed.model.encoder.language_model.layers[0]
    assert first.experts is twin.experts
    assert first.self_attn.q_proj is twin.self_attn.q_proj


def test_the_report_goes_from_layer_to_layer(tmp_path: Path) -> None:
    packable_gemma().save_pretrained(tmp_path, max_shard_size="20KB")
    seen: list[tuple[float, str]] = []
    loading = Loading(lambda share, text: seen.append((share, text)))
    load(tmp_path, WeightForm.INT4, CPU, torch.float32, loading)
    assert [text for _, text in seen[:2]] == [
        "Packing weights as int4: 1 of 6 layers.",
        "Packing weights as int4: 2 of 6 layers.",
    ]
    assert seen == sorted(seen)
    assert seen[-1] == (1.0, "Packing weights as int4: 6 of 6 layers.")


def test_packed_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    packable_gemma().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    lacking = "model.decoder.layers.3.experts.down_proj"
    save_file({k: v for k, v in load_file(path).items() if k != lacking}, path)
    with pytest.raises(ModelError, match=r"lacks model\..*layers\.3\.experts\.down_proj\."):
        load(tmp_path, WeightForm.INT4, CPU, torch.float32)


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    tiny_gemma().save_pretrained(tmp_path, max_shard_size="20KB")
    gone = shards_of(tmp_path)[1]
    gone.unlink()
    with pytest.raises(ModelError, match=gone.name):
        load(tmp_path, WeightForm.PLAIN, CPU, torch.float32)


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    tiny_gemma().save_pretrained(tmp_path, max_shard_size="20KB")
    cut = shards_of(tmp_path)[1]
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(ModelError, match=cut.name):
        load(tmp_path, WeightForm.PLAIN, CPU, torch.float32)


@pytest.mark.parametrize("form", [WeightForm.PLAIN, WeightForm.INT4])
def test_a_tensor_that_is_missing_or_has_another_shape_is_named(
    form: WeightForm, tmp_path: Path
) -> None:
    packable_gemma().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = load_file(path)
    name = "model.decoder.layers.2.mlp.up_proj.weight"
    save_file({**whole, name: whole[name][:32].contiguous()}, path)
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load(tmp_path, form, CPU, torch.float32)
    lacking = "model.decoder.norm.weight"
    save_file({k: v for k, v in whole.items() if k != lacking}, path)
    with pytest.raises(ModelError, match="lacks model"):
        load(tmp_path, form, CPU, torch.float32)


def test_an_index_that_is_none_is_named(tmp_path: Path) -> None:
    tiny_gemma().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(["what"]))
    with pytest.raises(ModelError, match=r"index\.json"):
        load(tmp_path, WeightForm.PLAIN, CPU, torch.float32)


def published() -> DiffusionGemmaConfig:
    """The published dimensions of 26B-A4B; the class's defaults are others."""
    text = DiffusionGemmaTextConfig(
        vocab_size=262144,
        hidden_size=2816,
        intermediate_size=2112,
        num_hidden_layers=30,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=256,
        global_head_dim=512,
        num_global_key_value_heads=2,
        max_position_embeddings=262144,
        sliding_window=1024,
        num_experts=128,
        top_k_experts=8,
        moe_intermediate_size=704,
    )
    return DiffusionGemmaConfig(text_config=text)


@pytest.mark.parametrize(
    ("form", "gigabytes"),
    [(WeightForm.PLAIN, 50.5), (WeightForm.FP8, 26.1), (WeightForm.INT4, 15.3)],
)
def test_the_published_dimensions_take_so_much(form: WeightForm, gigabytes: float) -> None:
    taken = weight_bytes(published(), form, torch.bfloat16)
    assert taken / 1e9 == pytest.approx(gigabytes, abs=0.1)

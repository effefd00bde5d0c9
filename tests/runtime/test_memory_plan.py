"""Memory plans against models built without memory, and against the runtime's own tensors."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from packed_sizes import weight_bytes  # noqa: E402
from tiny_gemma import tiny_gemma  # noqa: E402
from transformers.models.diffusion_gemma import (  # noqa: E402
    DiffusionGemmaConfig,
    DiffusionGemmaForBlockDiffusion,
)

from dgemma_runtime import catalog  # noqa: E402
from dgemma_runtime.catalog.counts import (  # noqa: E402
    Group,
    counted_in_files,
    diffusion_gemma_counts,
)
from dgemma_runtime.catalog.device_memory import memory_of  # noqa: E402
from dgemma_runtime.catalog.memory_plan import (  # noqa: E402
    KEPT_PREFIXES,
    Form,
    choose_form,
    counts_of,
    difference,
    plan,
    prefixes_kept,
)
from dgemma_runtime.catalog.planned import planned, planned_by_name  # noqa: E402
from dgemma_runtime.engine.prefix_cache import PrefixCache  # noqa: E402
from dgemma_runtime.models import embedded_folder, read_spec, resolve_spec  # noqa: E402
from dgemma_runtime.models.base import ModelSpec  # noqa: E402
from dgemma_runtime.models.packed.forms import WeightForm  # noqa: E402
from dgemma_wire.errors import ModelError  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch
LARGE = "google/diffusiongemma-26B-A4B-it"
GB = 10**9


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """The large model as far as it can be known without its files."""
    model = catalog.find(LARGE)
    assert model is not None
    assert model.published is not None
    folder = tmp_path_factory.mktemp("published")
    shutil.copy(model.published, folder / "config.json")
    return resolve_spec(str(folder))


@pytest.fixture(scope="module")
def config(published: ModelSpec) -> DiffusionGemmaConfig:
    return DiffusionGemmaConfig.from_pretrained(str(published.folder))


def built(config: DiffusionGemmaConfig) -> dict[Group, int]:
    """Weights of a model that is built without memory, by what the modules say of themselves."""
    with torch.device("meta"):
        model = DiffusionGemmaForBlockDiffusion(config)
    found = dict.fromkeys(Group, 0)
    for name, weight in model.named_parameters():
        if "vision" in name:
            group = Group.VISION
        elif ".experts." in name:
            group = Group.EXPERTS
        elif name.endswith(("embed_tokens.weight", "lm_head.weight")):
            group = Group.EMBEDDING
        elif "self_conditioning" not in name and name.endswith("_proj.weight"):
            group = Group.DENSE
        else:
            group = Group.OTHER
        found[group] += weight.numel()
    return found


def test_the_counts_are_those_of_the_published_dimensions(
    published: ModelSpec, config: DiffusionGemmaConfig
) -> None:
    counts = counts_of(published)
    assert counts.weights == built(config)
    assert counts.text == 25_250_986_752
    assert counts.text + counts.weights[Group.VISION] == 25_823_778_864


def test_a_configuration_that_was_saved_again_counts_the_same(
    published: ModelSpec, config: DiffusionGemmaConfig
) -> None:
    # `transformers` writes what differs per layer in another way than the published file.
    saved = json.loads(config.to_json_string())
    assert "per_layer_config" in saved["text_config"]
    assert diffusion_gemma_counts(saved).weights == counts_of(published).weights


@pytest.mark.parametrize(
    ("form", "packed"),
    [
        (Form.BFLOAT16, WeightForm.PLAIN),
        (Form.FP8, WeightForm.FP8),
        (Form.INT4, WeightForm.INT4),
    ],
)
def test_the_bytes_are_those_that_packing_makes(
    published: ModelSpec, config: DiffusionGemmaConfig, form: Form, packed: WeightForm
) -> None:
    parts = plan(counts_of(published), published, form, on_gpu=True).parts
    ours = sum(part.bytes for part in parts if part.weights is not None)
    assert ours == pytest.approx(weight_bytes(config, packed, torch.bfloat16), rel=2e-3)


def test_four_bits_fit_18_gb_with_everything_that_runs(published: ModelSpec) -> None:
    found = plan(counts_of(published), published, Form.INT4, on_gpu=True)
    assert found.least_bytes == sum(part.bytes for part in found.parts) + found.prefix_bytes
    assert 17 * GB < found.least_bytes <= 18 * GB
    assert found.prefixes_in(18 * GB) == 1
    assert found.prefixes_in(17 * GB) == 0
    assert found.prefixes_in(24 * GB) == KEPT_PREFIXES


def test_prefixes_take_what_the_dossier_says(published: ModelSpec) -> None:
    counts = counts_of(published)
    # 200 KiB a token in the sliding layers and 20 in the full ones, in bfloat16.
    assert counts.prefix_numbers * 2 == 220 * 1024
    found = plan(counts, published, Form.BFLOAT16, on_gpu=True)
    assert found.prefix_bytes == 220 * 1024 * published.limits.prefix_tokens


def test_the_number_of_prefixes_is_the_caches_own() -> None:
    assert PrefixCache.__init__.__defaults__ is not None
    assert PrefixCache.__init__.__defaults__[0] == KEPT_PREFIXES


def test_what_is_kept_follows_the_memory_that_is_left(published: ModelSpec) -> None:
    counts = counts_of(published)
    kept = [prefixes_kept(counts, published, free * GB, 2) for free in (0, 2, 3, 4, 5, 80)]
    assert kept == sorted(kept)
    assert kept[0] == 1
    assert kept[-1] == KEPT_PREFIXES
    assert len(set(kept)) > 2


def test_a_tiny_models_plan_is_its_tensors(tmp_path: Path) -> None:
    model = tiny_gemma()
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    spec = resolve_spec(str(tmp_path))
    counts = counts_of(spec)
    assert counts.weights == built(model.config)
    assert difference(counts, tmp_path) is None
    assert counted_in_files(tmp_path)[Group.VISION] == counts.weights[Group.VISION]
    from dgemma_runtime.models.diffusion_gemma import DiffusionGemma
    from dgemma_runtime.models.gemma.prefix import GROW_TOKENS

    adapter = DiffusionGemma(model)
    prefix = adapter.new_prefix()
    with torch.inference_mode():
        adapter.encode(list(range(GROW_TOKENS)), prefix)
    held = sum(
        getattr(layer, name).untyped_storage().nbytes()
        for layer in prefix.cache.layers
        for name in ("keys", "values")
    )
    assert held == GROW_TOKENS * counts.prefix_numbers * 4
    (tmp_path / "config.json").write_text(
        (tmp_path / "config.json").read_text().replace('"num_experts": 4', '"num_experts": 5')
    )
    assert "experts: the files hold" in (difference(counts_of(spec), tmp_path) or "")


@pytest.mark.model
def test_the_embedded_models_plan_is_its_tensors() -> None:
    from dgemma_runtime.embedded.base import base_path
    from dgemma_runtime.models.canvas_weights import Layer
    from dgemma_runtime.models.causal_canvas import load_adapter

    spec = read_spec(embedded_folder() / "model.json")
    counts = counts_of(spec)
    model = load_adapter(spec, base_path(), torch.device("cpu"), torch.bfloat16)

    def dense(layers: tuple[Layer, ...]) -> int:
        return sum(
            tensor.numel()
            for layer in layers
            for tensor in (layer.qkv, layer.out, layer.gate_up, layer.down)
        )

    weights = model.weights
    rewrites = dense(weights.canvas)  # made when the first rewrite is asked for
    assert dense(weights.prefix) + dense(weights.canvas) + rewrites == counts.weights[Group.DENSE]
    assert weights.embedding.numel() == counts.weights[Group.EMBEDDING]


def test_only_what_loads_is_claimed(published: ModelSpec) -> None:
    """Every form is a value of the setting, and DiffusionGemma can be loaded in each."""
    from typing import get_args, get_type_hints

    hints = get_type_hints(RuntimeSettings, include_extras=True)
    offered = {value for part in get_args(hints["dtype"]) for value in get_args(part)} - {"auto"}
    assert offered == {str(form) for form in Form}
    assert all(plan(counts_of(published), published, form, on_gpu=True).loads for form in Form)


@pytest.mark.parametrize(
    ("gigabytes", "form"),
    [(80, Form.BFLOAT16), (40, Form.FP8), (24, Form.INT4), (18, Form.INT4), (8, Form.INT4)],
)
def test_a_gpu_gets_the_widest_form_that_fits(
    gigabytes: int, form: Form, published: ModelSpec
) -> None:
    assert choose_form(published, "auto", "bfloat16", gigabytes * 10**9) is form


def test_what_is_asked_for_is_loaded(published: ModelSpec) -> None:
    assert choose_form(published, "int4", "bfloat16", 80 * 10**9) is Form.INT4
    assert choose_form(published, "bfloat16", "bfloat16", 10**9) is Form.BFLOAT16
    assert choose_form(published, "auto", "float32", None) is Form.FLOAT32


def test_other_models_are_not_packed() -> None:
    spec = resolve_spec("embedded")
    assert choose_form(spec, "auto", "bfloat16", 10**8) is Form.BFLOAT16
    with pytest.raises(ModelError, match="only DiffusionGemma"):
        choose_form(spec, "int4", "bfloat16", None)


def test_a_plan_can_be_had_before_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DGEMMA_MODELS_DIR", str(tmp_path))
    found = planned_by_name(LARGE, RuntimeSettings(device="cpu", dtype="bfloat16"))
    assert "not on this machine" in found.checked
    assert found.chosen.form is Form.BFLOAT16
    assert "52.8 GB in bfloat16" in found.words
    total = found.memory.total
    assert total is not None
    assert found.fits == (total > found.chosen.least_bytes)
    if not found.fits:
        assert "does not fit" in found.words
    with pytest.raises(ModelError):
        planned_by_name("no-such-model", RuntimeSettings())


def test_the_machines_memory_is_known() -> None:
    memory = memory_of("cpu")
    if sys.platform == "linux":
        assert memory.total is not None
        assert memory.free is not None
        assert 0 < memory.free <= memory.total


def test_a_damaged_checkpoint_is_planned_by_its_configuration(tmp_path: Path) -> None:
    tiny_gemma().save_pretrained(tmp_path, max_shard_size="200KB")
    next(iter(sorted(tmp_path.glob("*.safetensors")))).unlink()
    found = planned(resolve_spec(str(tmp_path)), RuntimeSettings(device="cpu"))
    assert "its files were not counted: model-00001-of" in found.checked
    (tmp_path / "config.json").write_text('{"model_type": "diffusion_gemma"}')
    with pytest.raises(ModelError, match="DiffusionGemma checkpoint"):
        resolve_spec(str(tmp_path))


@pytest.mark.parametrize("tied", [True, False])
def test_a_masked_models_plan_is_its_tensors(tmp_path: Path, tied: bool) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        eos_token_id=1,
    )
    config.mask_token_id = 7
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(tmp_path)
    spec = resolve_spec(str(tmp_path))
    counts = counts_of(spec)
    assert counts.text == sum(weight.numel() for weight in model.parameters())
    assert counts.prefix_numbers == 0
    assert planned(spec, RuntimeSettings(device="cpu")).fits

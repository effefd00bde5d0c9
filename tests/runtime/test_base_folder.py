"""A base as ``transformers`` saves it, and a ``model.json`` beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from tiny_canvas import DIMS, tiny_base, tiny_canvas, tiny_folder  # noqa: E402

from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.models import resolve_spec  # noqa: E402
from dgemma_runtime.models.base_folder import check_folder  # noqa: E402
from dgemma_runtime.models.causal_canvas import CausalCanvas, load_adapter  # noqa: E402
from dgemma_wire.errors import ModelError  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch

NUMBERS = {name: getattr(DIMS, name) for name in DIMS.__slots__} | {"banned": 16}


def with_base(tmp_path: Path, kind: str, *, tied: bool, **saving: Any) -> Path:
    """A model folder whose base lies in a folder of its own."""
    tiny_base(kind, tied=tied).save_pretrained(tmp_path / "base", **saving)
    folder = tiny_folder(tmp_path / "model")
    (folder / "base.safetensors").unlink()
    data = json.loads((folder / "model.json").read_text())
    data["base"] = {"folder": "../base", "sha256": "abc"}
    (folder / "model.json").write_text(json.dumps(data))
    return folder


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("shard", ["5GB", "1MB"])
def test_a_saved_model_is_read_as_it_was(tmp_path: Path, kind: str, tied: bool, shard: str) -> None:
    folder = with_base(tmp_path, kind, tied=tied, max_shard_size=shard)
    assert len(list((tmp_path / "base").glob("*.safetensors"))) >= (2 if shard == "1MB" else 1)
    spec = resolve_spec(str(folder))
    assert spec.base_sha256 == "abc"
    cpu = torch.device("cpu")
    with torch.inference_mode():
        found = load_adapter(spec, tmp_path / "base", cpu, torch.float32)
        expected = tiny_canvas(base=tiny_base(kind, tied=tied))
        canvas, rows = torch.tensor([30, 7, 7, 31]), torch.tensor([1, 2])
        one, two = (_logits(model, canvas, rows) for model in (found, expected))
    torch.testing.assert_close(one, two)
    assert (found.weights.head is found.weights.embedding) == tied


def _logits(model: CausalCanvas, canvas: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    prefix = model.new_prefix()
    model.encode([40, 41, 42], prefix)
    return model.denoise(canvas, prefix, rows, None)


def test_the_engine_loads_it_and_names_its_files(tmp_path: Path) -> None:
    folder = with_base(tmp_path, "qwen2", tied=True)
    engine = make_engine(RuntimeSettings(model=str(folder), device="cpu", dtype="float32"))
    assert "base model.safetensors" in engine.files()
    engine.load(lambda progress: None)
    (tmp_path / "base" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no base weights"):
        engine.load(lambda progress: None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "gemma"}, "model_type is 'gemma'"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"hidden_size": 48}, "hidden_size is 48.*hidden is 24"),
        ({"num_hidden_layers": 4}, "num_hidden_layers"),
        ({"rms_norm_eps": 1e-6}, "rms_norm_eps"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, "rope_theta"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "llama3"),
        ({"rope_parameters": None, "rope_scaling": {"type": "yarn"}}, "yarn"),
        ({"head_dim": None, "num_attention_heads": 3}, "num_attention_heads|head_dim"),
    ],
)
def test_what_the_pass_does_not_compute_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    tiny_base("qwen2").config.save_pretrained(tmp_path)
    check_folder(tmp_path, NUMBERS)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=says):
        check_folder(tmp_path, NUMBERS)


def test_files_of_the_older_generation_are_understood(tmp_path: Path) -> None:
    config = {
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e4,
        "rope_scaling": None,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    check_folder(tmp_path, NUMBERS)
    (tmp_path / "config.json").write_text(json.dumps(config | {"rope_theta": 1e6}))
    with pytest.raises(ModelError, match="rope_theta"):
        check_folder(tmp_path, NUMBERS)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_config_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        check_folder(tmp_path, NUMBERS)

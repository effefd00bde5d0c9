"""A causal checkpoint that was retrained to see both ways, of a few thousand random weights."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from support.answers import without_handles  # noqa: E402
from tiny_canvas import tiny_base  # noqa: E402

from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models import embedded_folder, resolve_spec  # noqa: E402
from dgemma_runtime.models.base import NoiseKind  # noqa: E402
from dgemma_runtime.models.masked_sequence import MaskedSequence, load_adapter  # noqa: E402
from dgemma_wire.errors import ModelError  # noqa: E402
from dgemma_wire.messages import Candidate, Clamped, Denoise, Free  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
MASK = 7


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("masked"), tied=request.param)


def written(folder: Path, *, tied: bool = True, mask: str = "<reponame>") -> Path:
    model = tiny_base("qwen2", tied=tied)
    model.config.eos_token_id = 0
    model.save_pretrained(folder)
    shutil.copy(embedded_folder() / "tokenizer.json", folder)
    told = {"added_tokens_decoder": {"4": {"content": "<reponame>"}, "7": {"content": "<mask>"}}}
    (folder / "tokenizer_config.json").write_text(json.dumps(told | {"mask_token": mask}))
    return folder


def loaded(folder: Path) -> MaskedSequence:
    with torch.inference_mode():
        return load_adapter(resolve_spec(str(folder)), folder, CPU, torch.float32)


def test_the_spec_is_read_from_the_checkpoints_files(folder: Path) -> None:
    spec = resolve_spec(str(folder))
    assert spec.noise.kind is NoiseKind.MASK
    assert spec.noise.mask_id == 4
    assert spec.end_ids == (0,)
    assert spec.limits.prefix_tokens + spec.limits.canvas_tokens <= 1024


@pytest.mark.parametrize("mask", [{"content": "<mask>"}, "<mask>"])
def test_the_mask_token_is_found_by_its_name(tmp_path: Path, mask: str) -> None:
    assert resolve_spec(str(written(tmp_path, mask=mask))).noise.mask_id == MASK


def test_an_ordinary_causal_model_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match="without a mask token"):
        resolve_spec(str(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"mask_token_id": MASK}))
    assert resolve_spec(str(folder)).noise.mask_id == MASK
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "mask_token_id": 1}))
    with pytest.raises(ModelError, match="not Qwen2's"):
        resolve_spec(str(folder))


@pytest.mark.parametrize("before", [0, 1, 9])
def test_every_row_sees_everything_and_predicts_the_next(folder: Path, before: int) -> None:
    """As ``transformers``' Qwen2 with a mask that hides nothing, its logits shifted by one."""
    tied = json.loads((folder / "config.json").read_text())["tie_word_embeddings"]
    reference = tiny_base("qwen2", tied=tied)
    adapter = loaded(folder)
    ids = torch.randint(20, 4000, (before + 8,), generator=torch.Generator().manual_seed(1))
    rows = torch.tensor([0, 1, 4, 7])
    with torch.inference_mode():
        prefix = adapter.new_prefix()
        adapter.encode(ids[:before].tolist(), prefix)
        found = adapter.denoise(ids[before:], prefix, rows, None)
        everything = torch.zeros(1, 1, len(ids), len(ids))
        logits = reference(ids[None], attention_mask=everything).logits[0]
    shifted = torch.cat([logits[:1], logits[:-1]])[before + rows]
    assert torch.isneginf(found[:, 4]).all()
    found = found.index_copy(1, torch.tensor([4]), shifted[:, 4:5])
    torch.testing.assert_close(found, shifted, atol=1e-4, rtol=1e-4)


def test_a_prefix_is_its_tokens(folder: Path) -> None:
    prefix = loaded(folder).new_prefix()
    loaded(folder).encode([1, 2, 3], prefix)
    other = prefix.fork(2)
    prefix.crop(1)
    assert (prefix.ids, other.ids, other.length) == ([1], [1, 2], 2)


def test_an_engine_fills_with_it(folder: Path) -> None:
    engine = make_engine(
        RuntimeSettings(model=str(folder), device="cpu", dtype="float32"), clock=lambda: 100.0
    )
    engine.load(lambda progress: None)

    def ask(*segments: Free | Clamped, **changes: object) -> tuple[Candidate, ...]:
        request = Denoise(id=1, document="d", segments=segments, **changes)  # type: ignore[arg-type]
        return engine.denoise(Job(0, request, 100.0), lambda draft: None).candidates

    for prefix in ("", "def f(a):\n    return "):
        first = ask(Free(tokens=5), Clamped(text="\n"), prefix=prefix, candidates=2)
        again = ask(Free(tokens=5), Clamped(text="\n"), prefix=prefix, candidates=2)
        assert without_handles(first) == without_handles(again)
        assert first[0].stopped == "settled"
    begun = ask(Free(start="a + b", noise=0.4), Clamped(text="\n"), prefix="x = ")
    assert len(begun[0].texts) == 1

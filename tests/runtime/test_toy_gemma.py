"""The toy DiffusionGemma through the engine: it fills holes, which random weights cannot."""

from __future__ import annotations

import random
import shutil
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "toy"))
sys.path.insert(0, str(Path(__file__).parent))

import language  # noqa: E402
from language import CANVAS, Row  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.engine.base import Engine  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models import resolve_spec  # noqa: E402
from dgemma_runtime.models.checkpoint_files import defects  # noqa: E402
from dgemma_runtime.text import Codec, load_codec  # noqa: E402
from dgemma_wire.messages import Candidate, Clamped, Denoise, Draft, Free  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch

FOLDER = Path(__file__).parents[1] / "data" / "toy_gemma"
ROWS = language.rows(seed=7, count=24)


def loaded(folder: Path) -> Engine:
    settings = RuntimeSettings(model=str(folder), device="cpu", dtype="float32", threads=1)
    engine = make_engine(settings, clock=time.monotonic)
    engine.load(lambda progress: None)
    return engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    return loaded(FOLDER)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec(FOLDER / "tokenizer.json")


def fill(engine: Engine, row: Row, tokens: int | None = None, **more: object) -> Candidate:
    fields: dict[str, object] = {
        "document": "d",
        "prefix": row.prefix,
        "segments": (Free(tokens=tokens or row.tokens), Clamped(text=row.suffix)),
    }
    request = Denoise(**(fields | more))  # type: ignore[arg-type]

    def ignored(draft: Draft) -> None:
        pass

    return engine.denoise(Job(1, request, time.monotonic()), ignored).candidates[0]


def share_right(engine: Engine) -> float:
    return sum(fill(engine, row).texts[0] == row.middle for row in ROWS) / len(ROWS)


def test_it_fills_holes_of_the_true_length(engine: Engine) -> None:
    assert share_right(engine) >= 0.75


def test_random_weights_of_the_same_size_do_not(tmp_path: Path) -> None:
    for path in FOLDER.iterdir():
        shutil.copy(path, tmp_path / path.name)
    weights = load_file(tmp_path / "model.safetensors")
    stream = torch.Generator().manual_seed(0)
    for name, weight in weights.items():
        if weight.dim() > 1:
            noise = torch.randn(weight.shape, generator=stream) * weight.float().std()
            weights[name] = noise.to(weight.dtype)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    # As many steps as the trained one needs; without a limit every row would take all of them.
    untrained = loaded(tmp_path)
    right = [fill(untrained, row, max_steps=8).texts[0] == row.middle for row in ROWS[:12]]
    assert sum(right) <= 1


def test_the_length_matters(engine: Engine) -> None:
    """What a search for the length is measured by: no other length can give the right text."""
    rows = [row for row in ROWS if row.tokens <= 12][:6]
    right = [fill(engine, row, tokens=row.tokens + 4).texts[0] == row.middle for row in rows]
    assert sum(right) <= 1


def test_the_same_seed_gives_the_same(engine: Engine) -> None:
    row = max(ROWS, key=lambda row: row.tokens)
    other = loaded(FOLDER)  # nothing that the first one has kept
    a, b = (fill(each, row, seed=11) for each in (engine, other))
    assert (a.texts, a.steps) == (b.texts, b.steps)
    assert a.score == pytest.approx(b.score, abs=1e-4)


def test_text_between_two_spans_stays(engine: Engine) -> None:
    segments = (
        Free(tokens=1),
        Clamped(text="\n\tkeep"),
        Free(tokens=1),
        Clamped(text="\n\nlist red = [ blue]\ntest red is [ blue]\n"),
    )
    request = Denoise(
        document="d", prefix="type point left right:\n\tkeep", segments=segments, seed=3
    )
    found = engine.denoise(Job(1, request, time.monotonic()), lambda draft: None).candidates[0]
    assert found.texts == (" left", " right")


def test_the_checkpoint_is_one_as_published(engine: Engine) -> None:
    spec = resolve_spec(str(FOLDER))
    assert defects(FOLDER) == []
    assert spec.layout.canvas_tokens == CANVAS
    assert spec.noise.vocab_size == len(language.vocabulary())
    assert not spec.capabilities.instructions  # no chat template: the prefix is the file
    assert (FOLDER / "model.safetensors").stat().st_size < 1_500_000
    names = load_file(FOLDER / "model.safetensors").keys()
    assert "model.decoder.layers.0.experts.gate_up_proj" in names
    assert "model.encoder.language_model.layers.0.layer_scalar" in names


def test_programs_come_back_from_their_tokens(codec: Codec) -> None:
    stream = random.Random(5)
    ids = {text: number for number, text in enumerate(language.vocabulary())}
    for _ in range(100):
        program = language.make_program(stream)
        tokens = [ids[token.text] for token in program.tokens]
        assert codec.encode(program.text) == tokens
        assert codec.decode(tokens) == program.text


@pytest.mark.parametrize("text", ["x  =  1\n\tfoo('[')", "", "\n\n   redder <eos>", "\t" * 9])
def test_any_ascii_text_comes_back(codec: Codec, text: str) -> None:
    assert codec.decode(codec.encode(text)) == text


def test_rows_are_held_out_determined_and_whole() -> None:
    for row in ROWS:
        assert 1 <= row.tokens <= language.MAX_MIDDLE
        assert row.middle
    assert language.rows(seed=7, count=3) == ROWS[:3]
    assert {r.prefix + r.middle + r.suffix for r in ROWS}.isdisjoint(_training_texts())


def _training_texts() -> set[str]:
    stream = language.programs(0, held_out=False)
    return {language.draw_program(stream, held_out=False).text for _ in range(300)}

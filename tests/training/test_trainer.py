"""Runs: cut and gone on with, refused, logged, and the adapter files they leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from dgemma_runtime.models.canvas_weights import DRAFT_ROW, read_tensors  # noqa: E402
from dgemma_training import adapter as adapters  # noqa: E402
from dgemma_training.recipe import new_lora  # noqa: E402
from dgemma_training.session import export  # noqa: E402
from dgemma_training.trainer import (  # noqa: E402
    RunSettings,
    TrainingError,
    read_parameters,
    schedule,
)
from dgemma_wire.adapters import WEIGHTS_FILE  # noqa: E402
from dgemma_wire.errors import ModelError  # noqa: E402
from tests.runtime.tiny_canvas import tiny_canvas  # noqa: E402
from tests.training.tiny_training import random_lora, run, tiny  # noqa: E402

pytestmark = pytest.mark.torch


def test_a_run_that_was_cut_ends_as_one_that_was_not(tmp_path: Path, monkeypatch) -> None:
    whole = run(tmp_path / "whole", 6)
    calls = 0
    from dgemma_training import trainer

    real = trainer.run_step

    def cut(*arguments, **named):
        nonlocal calls
        calls += named.get("learn", False)
        if calls == 4:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(trainer, "run_step", cut)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 6)
    monkeypatch.setattr(trainer, "run_step", real)
    parameters, state = read_parameters(tmp_path / "cut")
    assert state.step == 3
    assert set(parameters) == set(whole)
    again = run(tmp_path / "cut", 6)
    for name, tensor in whole.items():
        torch.testing.assert_close(again[name], tensor, msg=name)


def test_another_rank_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 1)
    with pytest.raises(TrainingError, match="rank"):
        run(tmp_path, 2, rank=8)


def test_a_run_at_too_high_a_rate_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--rate"):
        run(tmp_path, 12, learning_rate=1e30, clip=1e30)


def test_the_rate_rises_stands_and_falls() -> None:
    settings = RunSettings(learning_rate=1.0, warmup=10, decay_from=0.5)
    assert schedule(0, 0.0, settings) == pytest.approx(0.1)
    assert schedule(20, 0.5, settings) == 1.0
    assert schedule(30, 0.75, settings) == pytest.approx(0.5)
    assert schedule(99, 1.0, settings) == pytest.approx(0.02)


def test_an_adapter_starts_another_of_higher_rank_unchanged(tmp_path: Path) -> None:
    base = tiny()
    small = random_lora(base)
    path = tmp_path / "adapter.safetensors"
    adapters.save_adapter(path, small.tensors(), {})
    large = new_lora(base, 9, 0, path)
    for name, (first, second) in large.factors(torch.float32)[1].items():
        key = f"layers.1.{name}.lora_"
        expected = small.tensors()[f"{key}b"] @ small.tensors()[f"{key}a"]
        torch.testing.assert_close(second @ first, expected)


def test_an_adapter_without_a_draft_row_starts_with_the_masks(tmp_path: Path) -> None:
    base = tiny()
    tensors = random_lora(base).tensors()
    del tensors["input.draft"]
    path = tmp_path / "adapter.safetensors"
    adapters.save_adapter(path, tensors, {})
    lora = new_lora(base, 4, 0, path)
    assert torch.equal(lora.row("input.draft"), tensors["input.mask"])


def test_untrained_factors_change_nothing() -> None:
    base = tiny()
    lora = new_lora(base, 4, 0, None)
    assert all(
        not second.any() for layer in lora.factors(torch.float32) for _, second in layer.values()
    )


def test_what_does_not_fit_to_start_from_is_said(tmp_path: Path) -> None:
    base = tiny()
    path = tmp_path / "adapter.safetensors"
    whole = random_lora(base).tensors()

    def start(tensors: dict[str, torch.Tensor], rank: int = 4) -> None:
        adapters.save_adapter(path, tensors, {})
        new_lora(base, rank, 0, path)

    start(whole)
    with pytest.raises(ModelError, match=r"lacks the tensor 'layers.2.down.lora_b'"):
        start({name: each for name, each in whole.items() if name != "layers.2.down.lora_b"})
    with pytest.raises(ModelError, match=r"lacks the tensor 'input.mask'"):
        start({name: each for name, each in whole.items() if name != "input.mask"})
    with pytest.raises(ModelError, match=r"does not fit the base weights: layers.0.qkv.lora_a"):
        start(whole | {"layers.0.qkv.lora_a": torch.zeros(4, 5)})
    with pytest.raises(ModelError, match="has the rank 4, which does not fit into 3"):
        start(whole, rank=3)
    path.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="cannot be read"):
        new_lora(base, 4, 0, path)


@pytest.mark.parametrize(("share", "drafts"), [(0.0, False), (1.0, True), (0.5, True)])
def test_an_adapter_that_never_saw_a_draft_has_no_row_for_one(
    tmp_path: Path, share: float, drafts: bool
) -> None:
    made = run(tmp_path / "run", 2, second_share=share)
    assert DRAFT_ROW in made
    files = [tmp_path / "run" / WEIGHTS_FILE]
    for numbers in ("int8", "bfloat16"):
        folder = export(tmp_path / "run", tmp_path / numbers, "embedded", None, numbers)
        files.append(folder / WEIGHTS_FILE)
    for file in files:
        stored = read_tensors(file)
        assert (DRAFT_ROW in stored) == drafts
        # The runtime takes it as it is, and reads from it whether to feed drafts back.
        weights = tiny_canvas(adapter=stored).weights
        assert (weights.draft_row is not None) == drafts
        assert {"input.mask", "input.fill", "output.fill"} <= set(stored)
    assert read_tensors(files[0]).keys() == read_tensors(files[1]).keys()
    assert torch.equal(
        read_tensors(files[0])["layers.0.qkv.lora_a"], read_tensors(files[1])["layers.0.qkv.lora_a"]
    )
    assert read_tensors(files[2])["layers.0.qkv.lora_a"].dtype is torch.bfloat16
    # A run that goes on with a second pass has it again, from the checkpoint.
    if not drafts:
        run(tmp_path / "run", 3, second_share=1.0)
        assert DRAFT_ROW in read_tensors(files[0])


def entries(folder: Path, what: str) -> list[dict[str, float]]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["what"] == what]


def test_without_rows_to_validate_on_nothing_is_said_of_them(tmp_path: Path) -> None:
    run(tmp_path / "without", 2, validation=False, validate_minutes=0.0)
    assert len(entries(tmp_path / "without", "step")) == 2
    assert entries(tmp_path / "without", "validation") == []
    run(tmp_path / "with", 2, validate_minutes=0.0)
    found = entries(tmp_path / "with", "validation")
    assert [entry["step"] for entry in found] == [1, 2, 2]
    assert all(entry["loss"] > 0 for entry in found)


def test_the_loss_that_is_shown_starts_over_with_each_process(tmp_path: Path) -> None:
    run(tmp_path, 8)
    said: list[str] = []
    run(tmp_path, 12, said=said)
    shown = [float(text.split()[3]) for text in said]
    losses = [entry["loss"] for entry in entries(tmp_path, "step")][8:]
    assert len(shown) == 4
    for count, mean in enumerate(shown, 1):
        assert mean == pytest.approx(sum(losses[:count]) / count, abs=2e-3)

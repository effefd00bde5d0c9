"""Training the real base for a minute, and fine-tuning it on a folder, through the commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from own_sources import corpus  # noqa: E402

from dgemma_runtime.engine.base import LoadProgress  # noqa: E402
from dgemma_runtime.engine.diffusion import DiffusionEngine  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models import resolve_spec  # noqa: E402
from dgemma_training.cli import main  # noqa: E402
from dgemma_training.workspace import TuneSettings, remove, tune  # noqa: E402
from dgemma_wire.adapters import adapter_id  # noqa: E402
from dgemma_wire.messages import Clamped, Denoise, Free  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.model

ROOT = Path(__file__).parent.parent.parent


def test_a_minute_of_training_lowers_the_loss(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    arguments = ["train", "run", str(run), "--corpus", str(corpus(tmp_path)), "--profile", "tiny"]
    arguments += ["--steps", "24", "--rewrites", "0", "--long", "0"]
    arguments += ["--rank", "16", "--rate", "0.003", "--validations", "2", "--distill", "0"]
    assert main(arguments) == 0
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if entry["what"] == "step"]
    assert len(losses) >= 5
    early, late = losses[:3], losses[-3:]
    assert sum(late) / 3 < 0.9 * sum(early) / 3
    assert "canvases" in capsys.readouterr().out

    assert main(["train", "curves", str(run)]) == 0
    assert (run / "curves.svg").read_text().startswith("<svg")
    model = tmp_path / "model"
    assert main(["train", "export", str(run), str(model), "--name", "a trial"]) == 0
    spec = resolve_spec(str(model))
    assert spec.name == "a trial"
    assert fill(spec_folder=model)


def fill(spec_folder: Path | str, adapter: str = "", adapters: Path | None = None) -> list[str]:
    """One fill by the real engine."""
    engine = DiffusionEngine(
        resolve_spec(str(spec_folder)),
        RuntimeSettings(offline=True),
        cache_dir=None,
        clock=iter(range(10**9)).__next__,
        adapters_dir=adapters,
    )

    def quiet(progress: LoadProgress) -> None:
        """Report to nobody."""

    engine.load(quiet)
    request = Denoise(
        id=1,
        document="a.py",
        prefix="def add(left, right):\n    return ",
        segments=(Free(max_lines=1), Clamped(text="\n")),
        candidates=1,
        max_steps=4,
        adapter=adapter,
    )
    answer = engine.denoise(Job(peer=1, request=request, received=0.0), lambda draft: None)
    return [candidate.texts[0] for candidate in answer.candidates]


def test_a_folder_gets_an_adapter_that_the_runtime_loads(tmp_path: Path) -> None:
    folder, home = tmp_path / "project", tmp_path / "adapters"
    folder.mkdir()
    for path in sorted((ROOT / "dgemma_lsp" / "infill").glob("*.py"))[:6]:
        (folder / path.name).write_bytes(path.read_bytes())
    said: list[str] = []
    settings = TuneSettings(minutes=2, steps=2, rows=2, keep="always")
    words = tune(folder, settings, lambda text, share: said.append(text), home)
    assert "in 2 steps" in words
    assert "held-out spans" in words
    assert said
    name = adapter_id(folder)
    stored = home / name
    assert {path.name for path in stored.iterdir()} == {"adapter.json", "adapter.safetensors"}
    if sys.platform != "win32":
        assert stored.stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in stored.iterdir())
    assert (
        json.loads((stored / "adapter.json").read_text())["parent"] == resolve_spec("embedded").name
    )
    assert fill("embedded", name, home)
    assert "deleted" in remove(folder, home)
    assert not stored.exists()
    assert "no adapter" in remove(folder, home)

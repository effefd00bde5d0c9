"""What the parts of a run share: the size, the device, and the one model that is held."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.engine import clock
from benchmarks.engine.sizes import Size
from benchmarks.engine.weights import gemma_config, number_of, random_gemma
from dgemma_runtime.catalog.memory_plan import Form
from dgemma_runtime.models import diffusion_gemma, read_diffusion_gemma_spec
from dgemma_runtime.models.base import ModelSpec
from dgemma_runtime.models.diffusion_gemma import DiffusionGemma

Result = dict[str, Any]


@dataclass(slots=True)
class Loaded:
    """A random model in a form, with our adapter around it."""

    form: Form
    model: Any
    adapter: DiffusionGemma
    warmed: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Bench:
    """One run.

    Attributes:
        size: How much is measured.
        device: Where.
        compile: Whether paths that compile are measured.
        earlier: Results of the parts before, by name.
    """

    size: Size
    device: torch.device
    compile: bool
    earlier: Mapping[str, Result] = field(default_factory=dict)
    _held: Loaded | None = None

    def gemma(self, form: Form) -> Loaded:
        """Return the diffusion model in a form; the one that was held before is let go."""
        if self._held is None or self._held.form is not form:
            self.drop()
            model = random_gemma(self.size.dims, form, max(self.size.canvases), self.device)
            adapter = _around(model, self.size, form, self.device)
            self._held = Loaded(form, model, adapter)
        return self._held

    def drop(self) -> None:
        """Let the model go, with all that was made for it."""
        self._held = None
        clock.free(self.device)


def spec_of(size: Size) -> ModelSpec:
    """Return the spec of the random model; its folder is gone again."""
    with tempfile.TemporaryDirectory() as home:
        write_config(Path(home), size)
        return read_diffusion_gemma_spec(Path(home))


def write_config(folder: Path, size: Size) -> None:
    """Write the random model's configuration as a checkpoint has it."""
    config = gemma_config(size.dims, max(size.canvases)).to_dict()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _around(model: Any, size: Size, form: Form, device: torch.device) -> DiffusionGemma:
    """Return our adapter around a model that is there, made as the engine has it made."""
    with mock.patch.object(diffusion_gemma, "load", return_value=model):
        adapter = diffusion_gemma.load_adapter(spec_of(size), Path(), device, number_of(form))
    assert adapter.model is model
    return adapter


def warm_up(loaded: Loaded, device: torch.device) -> dict[str, Any]:
    """Let the adapter make what it makes once; return how long that took, and how steps run."""
    if not loaded.warmed:
        times = clock.Clock(device)
        with torch.inference_mode():
            times.time(lambda: loaded.adapter.warm_up(lambda _share, _words: None))
        loaded.warmed = {"ms": round(times.walls[0], 1)}
    return loaded.warmed | {"steps_run_as": loaded.adapter.step_path}


@contextmanager
def as_published(loaded: Loaded) -> Iterator[None]:
    """Give the model the attention that ``transformers`` chooses, in place of our adapter's."""
    own = loaded.model.config.get_text_config()._attn_implementation
    loaded.model.set_attn_implementation({"text_config": "sdpa"})
    try:
        yield
    finally:
        loaded.model.set_attn_implementation({"text_config": own})

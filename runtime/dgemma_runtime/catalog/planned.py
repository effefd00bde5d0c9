"""A model's memory plans on the device that the settings choose, with a verdict in words."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dgemma_runtime import catalog
from dgemma_runtime.catalog.counts import Counts
from dgemma_runtime.catalog.device_memory import DeviceMemory, memory_of
from dgemma_runtime.catalog.folders import Presence, model_folder, presence
from dgemma_runtime.catalog.memory_plan import (
    Form,
    MemoryPlan,
    choose_form,
    counts_of,
    difference,
    plan,
)
from dgemma_runtime.models import read_diffusion_gemma_spec, resolve_spec
from dgemma_runtime.models.base import ModelSpec
from dgemma_wire.errors import ModelError
from dgemma_wire.settings import RuntimeSettings


@dataclass(frozen=True, slots=True)
class Planned:
    """What there is to say of a model's memory.

    Attributes:
        counts: The model's weights.
        plans: One per form.
        chosen: The form that the settings load.
        device: Where, as ``engine.device`` names it.
        memory: What that has.
        checked: What the counts were compared with.
    """

    counts: Counts
    plans: tuple[MemoryPlan, ...]
    chosen: MemoryPlan
    device: str
    memory: DeviceMemory
    checked: str

    @property
    def fits(self) -> bool | None:
        """Whether the chosen form fits the device; ``None`` when its memory is unknown."""
        total = self.memory.total
        return None if total is None else self.chosen.prefixes_in(total) > 0

    @property
    def words(self) -> str:
        """The verdict in one sentence or two."""
        chosen, total, free = self.chosen, self.memory.total, self.memory.free
        text = (
            f"{chosen.least_bytes / 1e9:.1f} GB in {chosen.form}, "
            f"{chosen.full_bytes / 1e9:.1f} with all prefixes kept"
        )
        if total is None:
            return f"{text}; the memory of {self.device} is not known."
        has = f"{self.device} has {total / 1e9:.1f} GB"
        if free is not None:
            has += f", {free / 1e9:.1f} free now"
        if self.fits:
            return f"{text}: fits ({has})."
        other = [str(p.form) for p in self.plans if p.prefixes_in(total)]
        more = (
            f" As {' or '.join(other)} it would fit, which this release cannot load."
            if other and not any(p.loads for p in self.plans if p.prefixes_in(total))
            else f" Set `dtype` to {other[0]}."
            if other
            else ""
        )
        return f"{text}: does not fit ({has}).{more}"

    def as_json(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        return {
            "device": self.device,
            "totalBytes": self.memory.total,
            "freeBytes": self.memory.free,
            "fits": self.fits,
            "form": str(self.chosen.form),
            "words": self.words,
            "checked": self.checked,
            "weights": {str(group): count for group, count in self.counts.weights.items()},
            "plans": [
                {
                    "form": str(each.form),
                    "loads": each.loads,
                    "neededBytes": each.least_bytes,
                    "allPrefixesBytes": each.full_bytes,
                    "prefixBytes": each.prefix_bytes,
                    "parts": {part.name: part.bytes for part in each.parts},
                }
                for each in self.plans
            ],
        }


def planned_by_name(name: str, settings: RuntimeSettings) -> Planned:
    """Plan the model of a name, one of the catalogue that is not on this machine too.

    Raises:
        ModelError: There is no such model, or as ``planned``.
    """
    model = catalog.find(name)
    if model is None or model.published is None:
        return planned(resolve_spec(name), settings)
    if presence(model_folder(model)) is Presence.INSTALLED:
        return planned(resolve_spec(name), settings)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / model.published.stem
        folder.mkdir()
        shutil.copyfile(model.published, folder / "config.json")
        found = planned(read_diffusion_gemma_spec(folder), settings)
    return replace(found, checked="by its published configuration; it is not on this machine")


def planned(spec: ModelSpec, settings: RuntimeSettings) -> Planned:
    """Plan a model on the device of the settings.

    Raises:
        ModelError: Its files do not tell its sizes, or the device is not there.
    """
    counts = counts_of(spec)
    checked = "by its configuration"
    if spec.architecture == "diffusion_gemma":
        try:
            differs = difference(counts, spec.folder)
        except ModelError as error:
            checked += f"; its files were not counted: {error}"
        else:
            checked += "; its files hold as many" if differs is None else f"; but {differs}"
    device, dtype = "cpu", settings.dtype
    if importlib.util.find_spec("torch") is not None:
        from dgemma_runtime.engine.device import choose

        chosen = choose(settings)
        device, dtype = chosen.name, chosen.dtype
    on_gpu = device.startswith("cuda")
    memory = memory_of(device)
    number = dtype if dtype in ("bfloat16", "float32") else "bfloat16"
    form = choose_form(spec, settings.dtype, number, memory.free if on_gpu else None)
    plans = tuple(plan(counts, spec, each, on_gpu=on_gpu) for each in Form)
    return Planned(
        counts,
        plans,
        next(each for each in plans if each.form is form),
        device,
        memory,
        checked,
    )

"""What a model takes of a device's memory in each number format, before anything is loaded.

Sums weights, kept prefixes, the tensors of a denoise step and of a pass, and what the libraries
take. Numbers come from ``counts``; nothing here is measured. Forms that this release cannot load
are planned all the same, and say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dgemma_runtime.catalog.counts import (
    Counts,
    Group,
    causal_canvas_counts,
    counted_in_files,
    diffusion_gemma_counts,
    masked_sequence_counts,
)
from dgemma_runtime.models.base import ModelSpec
from dgemma_runtime.models.checkpoint_files import read_header
from dgemma_wire.errors import ModelError

KEPT_PREFIXES = 4
"""As many as ``engine.prefix_cache`` keeps."""
LOGIT_COPIES = 5
"""Tensors as large as the logits that are alive at the widest place of a denoise step: feedback,
logits, tempered logits, their probabilities, and the numbers that a token is drawn by."""
LIBRARIES_BYTES = 400_000_000
"""What CUDA and its libraries take of a device, and what is lost between tensors."""


class Form(StrEnum):
    """A number format of the weights."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FP8 = "fp8"
    INT4 = "int4"


PACKED_FORMS = (Form.FP8, Form.INT4)
"""What DiffusionGemma alone can be held in; see ``models.packed``."""

_BITS: Mapping[Form, Mapping[Group, float]] = {
    Form.FLOAT32: dict.fromkeys(Group, 32.0),
    Form.BFLOAT16: dict.fromkeys(Group, 16.0),
    # As ``models.packed.forms`` packs: a scale of 32 bits for each row, of 704 numbers or more.
    Form.FP8: {Group.EXPERTS: 8.03, Group.DENSE: 8.03, Group.EMBEDDING: 16.0, Group.OTHER: 16.0},
    # A scale of 16 bits for 32 numbers.
    Form.INT4: {Group.EXPERTS: 4.5, Group.DENSE: 4.5, Group.EMBEDDING: 16.0, Group.OTHER: 16.0},
}


@dataclass(frozen=True, slots=True)
class Part:
    """One line of a plan; ``weights`` is ``None`` for what is not weights."""

    name: str
    bytes: int
    weights: int | None = None


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """A model in one form.

    Attributes:
        form: The number format.
        parts: What takes memory always.
        prefix_bytes: One kept prefix; at least one is.
        loads: Whether this release can load the form.
    """

    form: Form
    parts: tuple[Part, ...]
    prefix_bytes: int
    loads: bool

    @property
    def least_bytes(self) -> int:
        """What it takes at least: all parts and one prefix."""
        return sum(part.bytes for part in self.parts) + self.prefix_bytes

    @property
    def full_bytes(self) -> int:
        """What it takes when as many prefixes are kept as may be."""
        return self.least_bytes + (KEPT_PREFIXES - 1) * self.prefix_bytes

    def prefixes_in(self, memory: int) -> int:
        """Return how many prefixes may be kept in ``memory`` bytes; 0 when it does not fit."""
        if self.least_bytes > memory:
            return 0
        more = (memory - self.least_bytes) // max(1, self.prefix_bytes)
        return min(KEPT_PREFIXES, 1 + more)


def counts_of(spec: ModelSpec) -> Counts:
    """Count a model's weights: by its configuration, checked against its files where they are.

    Raises:
        ModelError: The configuration does not tell, or the files hold another number.
    """
    if spec.architecture == "llama_canvas_lora":
        return causal_canvas_counts(spec, _inner(spec))
    try:
        config = json.loads((spec.folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{spec.folder / 'config.json'} cannot be read: {error}") from error
    if spec.architecture == "masked_sequence":
        return masked_sequence_counts(spec, config)
    return diffusion_gemma_counts(config)


def difference(counts: Counts, folder: Path) -> str | None:
    """Say how a checkpoint's files differ from its configuration; ``None`` when they do not.

    Raises:
        ModelError: A file is missing or damaged.
    """
    found = counted_in_files(folder)
    for group, count in counts.weights.items():
        if group is not Group.VISION and found[group] != count:
            return (
                f"{group}: the files hold {found[group]:,} weights, and config.json says {count:,}"
            )
    return None


def plan(counts: Counts, spec: ModelSpec, form: Form, *, on_gpu: bool) -> MemoryPlan:
    """Plan a model in one form.

    Args:
        counts: Its weights.
        spec: Its limits.
        form: The number format.
        on_gpu: Whether a GPU holds it: passes are longer there, and its libraries take memory.
    """
    number = 4 if form is Form.FLOAT32 else 2  # bytes of an activation
    parts = [
        Part(str(group), round(count * _BITS[form][group] / 8), count)
        for group, count in counts.weights.items()
        if group is not Group.VISION and count
    ]
    working = _working_bytes(counts, spec, on_gpu=on_gpu, number=number)
    rows = spec.limits.canvas_tokens
    parts.append(Part(f"one denoise step of {rows} free positions, or one pass", working))
    if on_gpu:
        parts.append(Part("libraries of the device", LIBRARIES_BYTES))
    prefix = spec.limits.prefix_tokens * counts.prefix_numbers * number
    return MemoryPlan(form, tuple(parts), prefix, loads(spec, form))


def loads(spec: ModelSpec, form: Form) -> bool:
    """Whether this release can load a model in a form."""
    return form not in PACKED_FORMS or spec.architecture == "diffusion_gemma"


def choose_form(spec: ModelSpec, asked: str, number: str, free: int | None) -> Form:
    """Return the form that the setting ``dtype`` gives a model.

    Args:
        spec: The model.
        asked: The setting.
        number: What activations are computed in, ``bfloat16`` or ``float32``.
        free: Free bytes of the GPU that holds it; ``None`` on a CPU, where nothing is packed unless
            somebody asks for it.

    Raises:
        ModelError: The model cannot be held in the form that is asked for.
    """
    if asked in PACKED_FORMS:
        if not loads(spec, Form(asked)):
            raise ModelError(
                f"The setting `dtype` is {asked}, in which only DiffusionGemma can be held. Set it "
                f"to `auto` for {spec.name}."
            )
        return Form(asked)
    if asked != "auto" or free is None or not loads(spec, Form.INT4):
        return Form(number)
    counts = counts_of(spec)
    wide = (Form(number), *PACKED_FORMS)
    fitting = (form for form in wide if plan(counts, spec, form, on_gpu=True).least_bytes <= free)
    return next(fitting, Form.INT4)  # what does not fit is said when it is loaded


def prefixes_kept(counts: Counts, spec: ModelSpec, free: int, number: int) -> int:
    """Return how many prefixes may be kept beside a loaded model; at least one.

    Args:
        counts: Of the model.
        spec: Its limits.
        free: Bytes of the device that are free with the weights on it.
        number: Bytes of an activation.
    """
    room = free - _working_bytes(counts, spec, on_gpu=True, number=number)
    each = spec.limits.prefix_tokens * counts.prefix_numbers * number
    return max(1, min(KEPT_PREFIXES, room // max(1, each)))


def room_beside_weights(counts: Counts, spec: ModelSpec, free: int, number: int) -> int:
    """Return what is left of ``free`` bytes beside one prefix and the longest denoise step.

    Args:
        counts: Of a loaded model.
        spec: Its limits.
        free: Bytes of the device that are free with the weights on it.
        number: Bytes of an activation.
    """
    prefix = spec.limits.prefix_tokens * counts.prefix_numbers * number
    return free - prefix - _working_bytes(counts, spec, on_gpu=True, number=number)


def _working_bytes(counts: Counts, spec: ModelSpec, *, on_gpu: bool, number: int) -> int:
    """Return what the wider of a denoise step and a pass takes while it runs."""
    rows, tokens = spec.limits.canvas_tokens, 1024 if on_gpu else 128
    step = LOGIT_COPIES * rows * counts.vocabulary * 4
    one_pass = _pass_bytes(counts, tokens, spec.limits.prefix_tokens, number)
    canvas_pass = _pass_bytes(counts, rows, spec.limits.prefix_tokens + rows, number)
    # Not at the same time; during a canvas's pass only the feedback of the step before is alive.
    return max(step, one_pass, canvas_pass + step // LOGIT_COPIES)


def _pass_bytes(counts: Counts, tokens: int, seen: int, number: int) -> int:
    """Return what one layer of a pass holds: its activations, and scores in two formats."""
    return tokens * counts.widest * number + counts.heads * tokens * seen * (number + 4)


def _inner(spec: ModelSpec) -> int:
    """Return the width of a canvas model's dense layers, from the first file that tells it."""
    for path in sorted(spec.folder.glob("*.safetensors")):
        for name, header in read_header(path).items():
            if name == "layers.0.gate_up.lora_b":  # of a canvas adapter: gate over up
                return header.shape[0] // 2
    raise ModelError(f"The files in {spec.folder} do not tell the model's sizes.")

"""What a device has room for: the form of the weights, and the prefixes beside them."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch

from dgemma_runtime.catalog.memory_plan import (
    KEPT_PREFIXES,
    choose_form,
    counts_of,
    prefixes_kept,
    room_beside_weights,
)
from dgemma_runtime.engine.base import Device
from dgemma_runtime.models.base import ModelSpec
from dgemma_wire.errors import ModelError

log = logging.getLogger(__name__)


def with_weight_form(
    spec: ModelSpec, asked: str, place: torch.device, chosen: Device
) -> tuple[ModelSpec, Device]:
    """Return a model with the form that its weights are loaded in, and the device told so.

    Args:
        spec: The model, about to be loaded.
        asked: The setting ``dtype``.
        place: Where.
        chosen: The device in words, with the number format of activations.

    Raises:
        ModelError: The model cannot be held in the form that is asked for.
    """
    free = torch.cuda.mem_get_info(place)[0] if place.type == "cuda" else None
    form = choose_form(spec, asked, chosen.dtype, free)
    if str(form) == chosen.dtype:
        return spec, chosen
    why = "the setting asks for it" if asked == form else "that is what fits its memory"
    told = Device(chosen.name, f"{chosen.reason}; weights in {form} because {why}", str(form))
    return replace(spec, weight_form=str(form)), told


def room_for_prefixes(spec: ModelSpec, place: torch.device, dtype: torch.dtype) -> int:
    """Return how many prefixes to keep: fewer where a GPU is nearly full of the model.

    Args:
        spec: A model that is loaded.
        place: Where.
        dtype: Of its activations.
    """
    if place.type != "cuda":
        return KEPT_PREFIXES
    free, _ = torch.cuda.mem_get_info(place)
    try:
        kept = prefixes_kept(counts_of(spec), spec, free, dtype.itemsize)
    except ModelError:  # its files do not tell its sizes
        return KEPT_PREFIXES
    log.info("%.1f GB are free beside the model: up to %d prefixes are kept", free / 1e9, kept)
    return kept


def room_for_recordings(spec: ModelSpec, place: torch.device, dtype: torch.dtype) -> int | None:
    """Return the bytes that prepared steps may take beside a loaded model; ``None`` for any number.

    What its plan needs - a prefix and the longest denoise step - comes first.

    Args:
        spec: A model that is loaded.
        place: Where.
        dtype: Of its activations.
    """
    if place.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(place)
    try:
        return room_beside_weights(counts_of(spec), spec, free, dtype.itemsize)
    except ModelError:  # its files do not tell its sizes
        return None

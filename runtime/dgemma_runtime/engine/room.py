"""How many prefixes may be kept beside a loaded model."""

from __future__ import annotations

import logging

import torch

from dgemma_runtime.catalog.memory_plan import KEPT_PREFIXES, counts_of, prefixes_kept
from dgemma_runtime.models.base import ModelSpec
from dgemma_wire.errors import ModelError

log = logging.getLogger(__name__)


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

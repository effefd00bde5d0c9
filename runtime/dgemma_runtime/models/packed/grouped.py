"""Rows times the packed weight of the expert each of them goes to.

``multiply`` is the one operation. On GPUs a Triton kernel reads packed weights and unpacks them in
registers, so that a step moves 4.5 bits a weight and not 16, and how many rows an expert gets is
never told to the host. Elsewhere every expert that is asked is unpacked and used, which is the
reference that the kernel is tested against.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from functools import cache

import torch
from torch import Tensor

from dgemma_runtime.models.packed.forms import FORMS, Packed, WeightForm
from dgemma_runtime.models.packed.grouping import group

log = logging.getLogger(__name__)


def multiply(rows: Tensor, weight: Packed, form: WeightForm, experts: Tensor) -> Tensor:
    """Multiply each row (rows, in) by the weight of its expert (rows,).

    Args:
        rows: The inputs.
        weight: Packed weights (experts, out, in).
        form: What they are packed as.
        experts: Number of each row's expert.

    Returns:
        The products (rows, out), in the inputs' number format.
    """
    if runs_on(rows.device):
        from dgemma_runtime.models.packed import kernel

        return kernel.multiply(rows, weight, form, group(experts, len(weight.codes)))
    out = rows.new_empty(len(rows), weight.codes.shape[-2])
    for expert in experts.unique().tolist():
        mine = experts == expert
        one = Packed(weight.codes[expert], weight.scales[expert])
        out[mine] = torch.nn.functional.linear(rows[mine], FORMS[form].unpack(one, rows.dtype))
    return out


def runs_on(device: torch.device) -> bool:
    """Whether the kernel is used on a device: CUDA with Triton, or Triton's interpreter."""
    return _has_triton() and (device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1")


@cache
def _has_triton() -> bool:
    found = importlib.util.find_spec("triton") is not None
    if not found and torch.cuda.is_available():
        log.warning("triton is not installed: packed weights are unpacked at every use, slowly")
    return found

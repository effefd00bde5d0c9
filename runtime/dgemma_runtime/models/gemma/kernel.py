"""The Triton kernel for experts that are not packed; imported only where Triton runs.

One program makes 16 rows by ``_BLOCK_OUT`` outputs of one expert, as those for packed weights do.
Rows come sorted by expert, and how many there are of each is never told to the host.
"""

from __future__ import annotations

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from dgemma_runtime.models.packed.grouping import BLOCK_ROWS, Grouping

_BLOCK_OUT = 64
_BLOCK_IN = 64


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]  # Triton compiles it; types are its own
    rows_ptr,
    weights_ptr,
    out_ptr,
    slots_ptr,
    expert_ptr,
    experts,
    inputs,
    outputs,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    block = tl.program_id(0)
    expert = tl.load(expert_ptr + block)
    if expert >= experts:
        return
    slot = block * BLOCK_M + tl.arange(0, BLOCK_M)
    row = tl.load(slots_ptr + slot)
    there = row >= 0
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    valid = n < outputs
    line = expert.to(tl.int64) * outputs + n
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, inputs, BLOCK_K):
        at = k + tl.arange(0, BLOCK_K)
        inside = at < inputs
        weights = tl.load(
            weights_ptr + line[:, None] * inputs + at[None, :],
            mask=valid[:, None] & inside[None, :],
            other=0.0,
        )
        part = tl.load(
            rows_ptr + row[:, None] * inputs + at[None, :],
            mask=there[:, None] & inside[None, :],
            other=0.0,
        )
        acc += tl.dot(part, tl.trans(weights))
    target = out_ptr + row[:, None] * outputs + n[None, :]
    tl.store(target, acc.to(out_ptr.dtype.element_ty), mask=there[:, None] & valid[None, :])


def multiply(rows: Tensor, weights: Tensor, grouping: Grouping) -> Tensor:
    """Multiply rows (rows, in) by the weights (experts, out, in) of the expert that each is for.

    Args:
        rows: The inputs.
        weights: Contiguous, in the inputs' number format.
        grouping: The rows by their experts.

    Returns:
        The products (rows, out).
    """
    rows = rows.contiguous()
    experts, outputs, inputs = weights.shape
    out = torch.empty(len(rows), outputs, dtype=rows.dtype, device=rows.device)
    grid = (len(grouping.expert_of), triton.cdiv(outputs, _BLOCK_OUT))
    kernel: Any = _kernel
    kernel[grid](
        rows,
        weights,
        out,
        grouping.slots,
        grouping.expert_of,
        experts,
        inputs,
        outputs,
        BLOCK_M=BLOCK_ROWS,
        BLOCK_N=_BLOCK_OUT,
        BLOCK_K=_BLOCK_IN,
    )
    return out

"""The Triton kernel behind ``grouped.multiply``; imported only where Triton runs.

One program makes 16 rows by ``_BLOCK_OUT`` outputs of one expert. A group of ``GROUP`` inputs is
read at a time: its codes once, its scale once. Codes of even and odd inputs come from the same
bytes, so each half is multiplied by every second input.
"""

from __future__ import annotations

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from dgemma_runtime.models.packed.forms import GROUP, Packed, WeightForm
from dgemma_runtime.models.packed.grouping import BLOCK_ROWS, Grouping

_BLOCK_OUT = 64


@triton.jit
def _int4_kernel(  # type: ignore[no-untyped-def]  # Triton compiles it; types are its own
    rows_ptr,
    codes_ptr,
    scales_ptr,
    out_ptr,
    slots_ptr,
    expert_ptr,
    experts,
    inputs,
    outputs,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    HALF: tl.constexpr,
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
    pair = tl.arange(0, HALF)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    line = expert.to(tl.int64) * outputs + n
    for k in range(0, inputs, HALF * 2):
        at = line[:, None] * (inputs // 2) + (k // 2 + pair)[None, :]
        codes = tl.load(codes_ptr + at, mask=valid[:, None], other=0)
        groups = inputs // (HALF * 2)
        scale = tl.load(scales_ptr + line * groups + k // (HALF * 2), mask=valid, other=0.0)
        low = ((codes & 15).to(tl.float32) - 8.0) * scale.to(tl.float32)[:, None]
        high = ((codes >> 4).to(tl.float32) - 8.0) * scale.to(tl.float32)[:, None]
        source = rows_ptr + row[:, None] * inputs + (k + 2 * pair)[None, :]
        even = tl.load(source, mask=there[:, None], other=0.0)
        odd = tl.load(source + 1, mask=there[:, None], other=0.0)
        acc += tl.dot(even, tl.trans(low).to(even.dtype))
        acc += tl.dot(odd, tl.trans(high).to(odd.dtype))
    target = out_ptr + row[:, None] * outputs + n[None, :]
    tl.store(target, acc.to(out_ptr.dtype.element_ty), mask=there[:, None] & valid[None, :])


@triton.jit
def _fp8_kernel(  # type: ignore[no-untyped-def]
    rows_ptr,
    codes_ptr,
    scales_ptr,
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
        codes = tl.load(
            codes_ptr + line[:, None] * inputs + at[None, :],
            mask=valid[:, None] & inside[None, :],
            other=0.0,
        )
        part = tl.load(
            rows_ptr + row[:, None] * inputs + at[None, :],
            mask=there[:, None] & inside[None, :],
            other=0.0,
        )
        acc += tl.dot(part, tl.trans(codes.to(tl.float32)).to(part.dtype))
    scale = tl.load(scales_ptr + line, mask=valid, other=0.0)
    target = out_ptr + row[:, None] * outputs + n[None, :]
    acc = acc * scale[None, :]
    tl.store(target, acc.to(out_ptr.dtype.element_ty), mask=there[:, None] & valid[None, :])


def multiply(rows: Tensor, weight: Packed, form: WeightForm, grouping: Grouping) -> Tensor:
    """See ``grouped.multiply``; the rows come grouped."""
    rows = rows.contiguous()
    count, outputs = weight.codes.shape[0], weight.codes.shape[1]
    out = torch.empty(len(rows), outputs, dtype=rows.dtype, device=rows.device)
    grid = (len(grouping.expert_of), triton.cdiv(outputs, _BLOCK_OUT))
    kernel: Any = _int4_kernel if form is WeightForm.INT4 else _fp8_kernel
    last = {"HALF": GROUP // 2} if form is WeightForm.INT4 else {"BLOCK_K": 64}
    kernel[grid](
        rows,
        weight.codes,
        weight.scales,
        out,
        grouping.slots,
        grouping.expert_of,
        count,
        rows.shape[1],
        outputs,
        BLOCK_M=BLOCK_ROWS,
        BLOCK_N=_BLOCK_OUT,
        **last,
    )
    return out

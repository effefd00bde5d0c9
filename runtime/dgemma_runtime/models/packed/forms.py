"""The forms of a packed weight: how its numbers become fewer bits, and numbers again.

A form is two pure functions over tensors of any leading shape; ``(..., out, in)`` is a weight as
``torch.nn.functional.linear`` takes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor

GROUP = 32
"""Neighbouring inputs that share a scale in four bits: 4.5 bits a weight with the scales. It
divides the 704 and 2816 inputs of the published experts, which 128 and 256 do not both do."""
_ZERO = 8
"""Code of 0; codes are 0 to 15 and their weights -8 to 7."""
_FP8 = torch.float8_e4m3fn
_FP8_MAX = 448.0


class WeightForm(StrEnum):
    """What the large weights are held as."""

    PLAIN = "plain"
    FP8 = "fp8"
    INT4 = "int4"


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed weight.

    Attributes:
        codes: (..., out, in) for eight bits; (..., out, in / 2) for four: even inputs in the low
            half of a byte.
        scales: (..., out, 1) for eight bits, (..., out, in / GROUP) for four.
    """

    codes: Tensor
    scales: Tensor


class Form(Protocol):
    """One way to pack."""

    def pack(self, weight: Tensor) -> Packed:
        """Pack a weight (..., out, in).

        Raises:
            ValueError: Its inputs cannot be divided as the form needs.
        """
        ...

    def unpack(self, packed: Packed, dtype: torch.dtype) -> Tensor:
        """Return the weight (..., out, in) that a packed one stands for."""
        ...

    def empty(self, shape: tuple[int, ...], device: torch.device) -> Packed:
        """Return room for a packed weight of a shape (..., out, in)."""
        ...


class Int4:
    """Four bits and a scale in bfloat16 for every ``GROUP`` inputs, symmetric about 0."""

    def pack(self, weight: Tensor) -> Packed:
        """See ``Form``; the scale is the one of three that rounds a group with least error."""
        _check_groups(weight.shape[-1])
        groups = weight.float().unflatten(-1, (-1, GROUP))  # (..., out, groups, GROUP)
        # The largest number takes the code that has no opposite, so that all sixteen are used.
        at = groups.abs().argmax(dim=-1, keepdim=True)
        widest = groups.gather(-1, at) / -_ZERO
        best = widest.to(torch.bfloat16)
        codes, error = _round_to(groups, best)
        for share in (0.92, 0.84):  # a clipped peak often costs less than coarse steps for all
            scale = (widest * share).to(torch.bfloat16)
            others, wrong = _round_to(groups, scale)
            better = wrong < error
            best, codes = torch.where(better, scale, best), torch.where(better, others, codes)
            error = torch.where(better, wrong, error)
        flat = codes.flatten(-2).to(torch.uint8)
        return Packed(flat[..., 0::2] | (flat[..., 1::2] << 4), best.squeeze(-1))

    def unpack(self, packed: Packed, dtype: torch.dtype) -> Tensor:
        """See ``Form``."""
        low, high = packed.codes & 15, packed.codes >> 4
        codes = torch.stack((low, high), dim=-1).flatten(-2)  # (..., out, in)
        groups = (codes.to(torch.float32) - _ZERO).unflatten(-1, (-1, GROUP))
        return (groups * packed.scales.float()[..., None]).flatten(-2).to(dtype)

    def empty(self, shape: tuple[int, ...], device: torch.device) -> Packed:
        """See ``Form``."""
        _check_groups(shape[-1])
        *lead, inputs = shape
        return Packed(
            torch.empty(*lead, inputs // 2, dtype=torch.uint8, device=device),
            torch.empty(*lead, inputs // GROUP, dtype=torch.bfloat16, device=device),
        )


class Fp8:
    """Eight-bit floats (e4m3) and one scale for every output."""

    def pack(self, weight: Tensor) -> Packed:
        """See ``Form``."""
        whole = weight.float()
        scales = (whole.abs().amax(dim=-1, keepdim=True) / _FP8_MAX).clamp(min=1e-12)
        return Packed((whole / scales).to(_FP8), scales)

    def unpack(self, packed: Packed, dtype: torch.dtype) -> Tensor:
        """See ``Form``."""
        return (packed.codes.float() * packed.scales).to(dtype)

    def empty(self, shape: tuple[int, ...], device: torch.device) -> Packed:
        """See ``Form``."""
        return Packed(
            torch.empty(shape, dtype=_FP8, device=device),
            torch.empty(*shape[:-1], 1, dtype=torch.float32, device=device),
        )


FORMS: dict[WeightForm, Form] = {WeightForm.INT4: Int4(), WeightForm.FP8: Fp8()}


def _round_to(groups: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes (..., GROUP) under a scale (..., 1), and the squared error (..., 1)."""
    steps = scale.float()
    safe = torch.where(steps == 0, torch.ones_like(steps), steps)
    codes = (groups / safe).round().clamp(-_ZERO, _ZERO - 1)
    wrong = (codes * steps - groups).square().sum(dim=-1, keepdim=True)
    return codes + _ZERO, wrong


def _check_groups(inputs: int) -> None:
    if inputs % GROUP:
        raise ValueError(f"{inputs} inputs cannot be divided into groups of {GROUP}")

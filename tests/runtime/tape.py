"""A recorder for the CPU that keeps what a CUDA graph keeps: operations and addresses, no Python.

What was computed on the host while recording is frozen, what was read from the device into the host
cannot be recorded, and a replay writes to the memory that the recording wrote to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ASKS_THE_HOST = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten._unique2.default,
    torch.ops.aten.repeat_interleave.Tensor,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.equal.default,
}


class NotRecordable(Exception):
    pass


class Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if (parts := in_parts(self, func, args, kwargs)) is not NotImplemented:
            return parts
        refuse_host_reads(func, args)
        out = func(*args, **kwargs)
        self.steps.append((func, args, kwargs, tensors(out)))
        return out

    def replay(self) -> None:
        for func, args, kwargs, before in self.steps:
            for old, new in zip(before, tensors(func(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():  # neither a view nor in place
                    old.copy_(new)


def in_parts(mode: TorchDispatchMode, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run what is made of other operations under the mode, which inference mode does not do."""
    if func.namespace != "aten":
        return NotImplemented
    with mode:
        return func.decompose(*args, **kwargs)


def refuse_host_reads(func: Any, args: Any) -> None:
    if func in ASKS_THE_HOST:
        raise NotRecordable(f"{func} asks the host")
    if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put):
        for index in tree_leaves(args[1]):
            if index is not None and index.dtype == torch.bool:
                raise NotRecordable(f"{func} with a mask asks the host")


def tensors(out: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]


class TapeRecorder:
    """Implements ``Recorder``; ``made`` counts what it recorded."""

    def __init__(self) -> None:
        self.made = 0

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        run()
        with Tape() as tape:
            run()
        self.made += 1
        return tape.replay


class Refuser(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if (parts := in_parts(self, func, args, kwargs)) is not NotImplemented:
            return parts
        refuse_host_reads(func, args)
        out = func(*args, **kwargs)
        if any(each.device.type == "cpu" for each in tensors((args, kwargs, out))):
            raise NotRecordable(f"{func} copies from the host or to it")
        return out


def run_away_from_the_host(run: Callable[[], None]) -> None:
    """Run on ``meta`` tensors, as on a device that the host can neither read nor write to.

    They have shapes and no values, and operators take their ways for devices with them.
    """
    with Refuser():
        run()

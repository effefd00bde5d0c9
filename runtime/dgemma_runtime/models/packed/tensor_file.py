"""A safetensors file that is written tensor by tensor, in any order, none of them held.

Names and shapes come first, because the format's header does; then every tensor goes to its place,
a piece at a time through the host's memory. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dgemma_runtime.catalog.packed import PackedFile, WrittenTensor
from dgemma_runtime.models.checkpoint_files import Header

PIECE_BYTES = 32 << 20
"""Bytes of a tensor that are on the host at once."""

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.uint8: "U8",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """A file that is to be: its bytes up to the first tensor, and where each tensor goes.

    Attributes:
        name: Of the file.
        header: All bytes before the tensors.
        places: Start and size in bytes of each tensor, in the file.
        size: Of the whole file, in bytes.
    """

    name: str
    header: bytes
    places: Mapping[str, tuple[int, int]]
    size: int


def header_of(tensor: Tensor) -> Header:
    """Return what a header tells of a tensor."""
    shape = tuple(tensor.shape)
    return Header(_NAMES[tensor.dtype], shape, math.prod(shape) * tensor.itemsize)


def lay_out(name: str, tensors: Mapping[str, Header]) -> Layout:
    """Lay a file out; the same tensors give the same bytes."""

    def wide_first(each: str) -> tuple[int, str]:
        # Tensors are read where they lie: each must begin at a multiple of its numbers' size.
        numbers = math.prod(tensors[each].shape)
        return (-(tensors[each].bytes // numbers) if numbers else 0, each)

    told: dict[str, object] = {"__metadata__": {"format": "pt"}}
    ends: dict[str, tuple[int, int]] = {}
    end = 0
    for each in sorted(tensors, key=wide_first):
        tensor = tensors[each]
        ends[each] = (end, tensor.bytes)
        offsets = [end, end + tensor.bytes]
        told[each] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
        end += tensor.bytes
    text = json.dumps(told, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    header = struct.pack("<Q", len(text)) + text
    places = {each: (len(header) + start, size) for each, (start, size) in ends.items()}
    return Layout(name, header, places, len(header) + end)


class TensorFile:
    """A file that is being written, readable by the user alone.

    Args:
        folder: Where; the file must not be there.
        layout: What it is to hold.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._layout = layout
        self._written: dict[str, WrittenTensor] = {}
        self._file = open(  # noqa: SIM115 - closed by ``finish`` or ``close``
            folder / layout.name, "xb", opener=_open_private
        )
        try:
            self._file.write(layout.header)
        except OSError:
            self.close()
            raise

    def put(self, name: str, tensor: Tensor) -> None:
        """Write a tensor to its place.

        Raises:
            OSError: The disk does not take it.
            ValueError: It is not the tensor that the file was laid out for.
        """
        start, size = self._layout.places[name]
        if tensor.numel() * tensor.itemsize != size:
            raise ValueError(f"{name} has another size than {self._layout.name} has room for")
        digest = hashlib.sha256()
        self._file.seek(start)
        for piece in _pieces(tensor):
            block = piece.numpy().data
            digest.update(block)
            self._file.write(block)
        self._written[name] = WrittenTensor(start=start, size=size, sha256=digest.hexdigest())

    def finish(self) -> PackedFile:
        """Bring the file to the disk and close it; returns what a note tells of it.

        Raises:
            OSError: The disk does not take it.
            ValueError: Some tensors were not put.
        """
        lacking = self._layout.places.keys() - self._written.keys()
        if lacking:
            raise ValueError(f"{self._layout.name} lacks {min(lacking)}")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        layout = self._layout
        return PackedFile(name=layout.name, size=layout.size, tensors=self._written)

    def close(self) -> None:
        """Close what will not be finished; may be called again."""
        try:
            self._file.close()
        except OSError:  # what is still to be written does not fit either
            self._file.raw.close()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    """Yield a tensor's bytes, in order, as tensors on the host."""
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    for at in range(0, len(flat), PIECE_BYTES):
        yield flat[at : at + PIECE_BYTES].cpu()

"""What is wrong with a checkpoint's files, by their names, sizes and headers; no weight is read.

A weight that is missing is filled with random numbers by the libraries that load checkpoints, so a
folder must be looked at before. Knows safetensors' format and the index beside shards; no torch,
and of a model only the sizes its ``config.json`` tells.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgemma_wire.errors import ModelError

INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000
"""As the safetensors library bounds it."""

_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "BF16": 16, "F16": 16}
_BITS |= {"I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8}


@dataclass(frozen=True, slots=True)
class Header:
    """One tensor as a header tells it; ``bytes`` on the disk."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int


def read_header(path: Path) -> dict[str, Header]:
    """Return the tensors of a safetensors file, which must end where they end.

    Raises:
        ModelError: The file is missing, cut off or of another format; names it.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = file.read(8)
            length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
            if length > min(size - 8, MAX_HEADER_BYTES):
                raise ModelError(f"{path.name} is cut off in its header ({size} bytes)")
            told: Any = json.loads(file.read(length))
        tensors = {
            name: _tensor(name, entry) for name, entry in told.items() if name != "__metadata__"
        }
        end = max(
            (entry["data_offsets"][1] for n, entry in told.items() if n != "__metadata__"),
            default=0,
        )
    except FileNotFoundError as error:
        raise ModelError(f"{path.name} is missing") from error
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelError(f"{path.name} has a damaged header ({error})") from error
    if size != 8 + length + end:
        raise ModelError(f"{path.name} has {size} bytes, and its header says {8 + length + end}")
    return tensors


def _tensor(name: str, entry: Mapping[str, Any]) -> Header:
    dtype, shape = str(entry["dtype"]), tuple(int(n) for n in entry["shape"])
    start, end = entry["data_offsets"]
    bits = _BITS.get(dtype)
    if bits is not None and math.prod(shape) * bits != (end - start) * 8:
        raise ValueError(f"{name} is told {end - start} bytes for {dtype} {list(shape)}")
    return Header(dtype, shape, end - start)


def weight_files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the files that hold a checkpoint's weights, and the file that each weight is told in.

    The second is empty without an index, as of a checkpoint in one file.

    Raises:
        ModelError: The index cannot be read, or there are no weights.
    """
    path = folder / INDEX
    if not path.is_file():
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ModelError("there are no weights (*.safetensors)")
        return files, {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        weights = {str(name): str(file) for name, file in told.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{INDEX} cannot be read ({error!r})") from error
    names = sorted(set(weights.values()))
    if not names:
        raise ModelError(f"{INDEX} names no weights")
    if any("/" in name or "\\" in name or name.startswith(".") for name in names):
        raise ModelError(f"{INDEX} names files outside of the folder")
    return [folder / name for name in names], weights


def defects(folder: Path) -> list[str]:
    """Return what is wrong with a checkpoint's files, each with the file's name."""
    found = [
        f"{name} is missing"
        for name in ("config.json", "tokenizer.json")
        if not (folder / name).is_file()
    ]
    found += [f"{p.name} cannot be read ({w})" for p, w in _broken_json(folder)]
    try:
        files, weights = weight_files(folder)
    except ModelError as error:
        return [*found, str(error)]
    tensors: dict[str, Header] = {}
    held: dict[str, set[str]] = {}
    for path in files:
        try:
            headers = read_header(path)
        except ModelError as error:
            found.append(str(error))
            continue
        held[path.name] = set(headers)
        tensors |= headers
    for name, file in weights.items():
        if file in held and name not in held[file]:
            found.append(f"{file} lacks the weight {name}")
            break  # one is enough to know the file by
    return found + [f"{path}: {what}" for path, what in _wrong_shapes(folder, tensors)]


def _broken_json(folder: Path) -> Iterator[tuple[Path, str]]:
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        path = folder / name
        if path.is_file():
            try:
                if not isinstance(json.loads(path.read_text(encoding="utf-8")), dict):
                    yield path, "it holds no object"
            except (OSError, ValueError) as error:
                yield path, str(error)


def _wrong_shapes(folder: Path, tensors: Mapping[str, Header]) -> Iterator[tuple[str, str]]:
    """Yield weights whose shape is not the one that ``config.json`` tells."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = config.get("text_config", config)
        vocabulary, hidden = int(text["vocab_size"]), int(text["hidden_size"])
        experts, inner = text.get("num_experts"), text.get("moe_intermediate_size")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # told by others already
    expected: dict[str, tuple[int, ...]] = {
        "decoder.embed_tokens.weight": (vocabulary, hidden),
        "self_conditioning.pre_norm.weight": (hidden,),
    }
    if experts and inner:
        expected["experts.gate_up_proj"] = (int(experts), 2 * int(inner), hidden)
        expected["experts.down_proj"] = (int(experts), hidden, int(inner))
    for name, header in tensors.items():
        for ending, shape in expected.items():
            if name.endswith(ending) and header.shape != shape:
                yield name, f"its shape is {list(header.shape)}, and config.json says {list(shape)}"
                return

"""The results of a run as one JSON file, written anew after everything that is measured."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.engine.parts import Event
from benchmarks.engine.sizes import Size
from benchmarks.engine.summary import summarize
from benchmarks.measuring import hardware

_LIBRARIES = ("dgemma", "torch", "transformers", "triton", "tokenizers", "safetensors", "numpy")


_OVER = ("done", "cut")
"""How a part ends that is not measured again; ``cut`` had used up its own time."""


@dataclass(slots=True)
class Record:
    """What a run has found so far."""

    size: Size
    out: Path | None
    data: dict[str, Any] = field(default_factory=dict)

    def start(self, device: str, earlier: dict[str, Any] | None) -> None:
        """Begin with what the machine is, and with the parts of an earlier run that are done."""
        kept = {} if earlier is None else earlier.get("parts", {})
        self.data = {
            "date": datetime.now(UTC).date().isoformat(),
            "size": self.size.name,
            "model": dict(self.size.dims),
            "prefix": self.size.prefix,
            "steps": self.size.long,
            "hardware": hardware() | {"device": device} | _gpu(device),
            "versions": _versions(),
            "load_before": _load(),
            "parts": {n: part for n, part in kept.items() if part.get("status") in _OVER},
        }
        if earlier is not None:
            self.data["resumed"] = {
                "load_before": earlier.get("load_before"),
                "load_after": earlier.get("load_after"),
                "date": earlier.get("date"),
            }

    def tell(self, event: Event) -> None:
        """Take in an event of ``parts.work`` and write the file."""
        part = self.data["parts"].setdefault(event["part"], {})
        match event["event"]:
            case "begin":
                self.data["parts"][event["part"]] = {"status": "running"}
            case "result":
                part["result"] = event["result"]
            case status:
                part["status"] = status
                part |= {name: event[name] for name in ("why", "error", "seconds") if name in event}
        self.write()

    def write(self) -> None:
        """Write the file, whole or not at all."""
        self.data["load_after"] = _load()
        try:
            self.data["summary"] = summarize(self.data, self.size)
        except Exception as error:  # what was measured is worth more than what it comes to
            nothing: dict[str, Any] = {"floors": [], "tokens_a_second": [], "aims": []}
            self.data["summary"] = nothing | {"error": f"{type(error).__name__}: {error}"}
        if self.out is None:
            return
        self.out.parent.mkdir(parents=True, exist_ok=True)
        beside = self.out.with_name(self.out.name + f".{os.getpid()}.part")
        beside.write_text(json.dumps(self.data, indent=1) + "\n", encoding="utf-8")
        for _ in range(3):  # a reader may hold it, on some systems
            try:
                beside.replace(self.out)
                return
            except PermissionError:
                time.sleep(0.1)


def _load() -> list[float]:
    return [round(each, 2) for each in os.getloadavg()] if hasattr(os, "getloadavg") else []


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _gpu(device: str) -> dict[str, Any]:
    """Return what the GPU is; asked of torch in the parent, which allocates nothing."""
    import torch

    if not device.startswith("cuda"):
        return {"threads": torch.get_num_threads()}
    found = torch.cuda.get_device_properties(device)
    return {
        "gpu": found.name,
        "gpu_memory_bytes": found.total_memory,
        "compute_capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "cuda": torch.version.cuda,
        "gpus": torch.cuda.device_count(),
    }

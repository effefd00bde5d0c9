"""The shape of ``results.json`` and of a line of fills, and what the figures were measured on."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path

import msgspec

from dgemma_training.evaluation.figures import Difference, SystemFigures
from dgemma_training.evaluation.probes import ProbeResult
from dgemma_training.evaluation.rewriting import RewriteResult


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What it was measured on."""

    cpu: str
    cores: int
    system: str
    python: str
    libraries: dict[str, str]
    load: float | None


class SystemInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What answered under a name."""

    name: str
    model: str
    adapter_sha256: str
    sampler: dict[str, object]
    device: str
    dtype: str


class SetResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on one set of rows."""

    name: str
    source: str
    sha256: str
    rows: int
    fitting: int
    systems: dict[str, SystemFigures]
    differences: list[Difference]


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One answer for a file of fills; nothing of the row but its id."""

    set: str
    system: str
    row: str
    fill: str
    exact: bool
    similarity: float
    parses: bool | None
    passed: bool | None
    shown: bool | None
    fits: bool
    forwards: int
    tokens: int
    problem: str


class Results(msgspec.Struct, kw_only=True):
    """All that an evaluation found."""

    date: str
    release: str
    machine: Machine
    interrupted: bool
    sandboxed: str
    seed: int
    systems: list[SystemInfo]
    sets: list[SetResult]
    probes: list[ProbeResult]
    rewrites: list[RewriteResult]
    resumed: bool = False


def machine() -> Machine:
    """Return what this runs on."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    versions: dict[str, str] = {}
    for name in ("torch", "transformers", "tokenizers", "numpy", "tree-sitter"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return Machine(
        cpu=cpu,
        cores=os.cpu_count() or 0,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        libraries=versions,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )

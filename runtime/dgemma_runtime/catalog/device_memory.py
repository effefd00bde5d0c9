"""How much memory the device of a model has, in bytes. Imports torch for a GPU only."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes of a device: all, and not in use now; ``None`` for what cannot be told."""

    total: int | None
    free: int | None


def memory_of(device: str) -> DeviceMemory:
    """Return the memory of a device by its name, as ``engine.device`` names them."""
    if device.startswith("cuda"):
        import torch

        free, total = torch.cuda.mem_get_info(torch.device(device))
        return DeviceMemory(total, free)
    return _of_this_machine()


def _of_this_machine() -> DeviceMemory:
    total = free = None
    if sys.platform == "linux":
        told = _meminfo(Path("/proc/meminfo"))
        total, free = told.get("MemTotal"), told.get("MemAvailable")
        limit = _number(Path("/sys/fs/cgroup/memory.max"))
        if limit is not None and (total is None or limit < total):
            used = _number(Path("/sys/fs/cgroup/memory.current")) or 0
            total, free = limit, min(free or limit, max(0, limit - used))
    elif hasattr(os, "sysconf"):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return DeviceMemory(total, free)


def _meminfo(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    try:
        for line in path.read_text().splitlines():
            name, _, rest = line.partition(":")
            if rest.endswith("kB"):
                found[name] = int(rest.split()[0]) * 1024
    except (OSError, ValueError):
        pass
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max" means that there is no limit
        return None

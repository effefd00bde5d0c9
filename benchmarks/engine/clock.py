"""Time and memory of a device: what is waited for, and what stays."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch

from benchmarks.measuring import spread
from dgemma_runtime.memory import resident_mb


class Clock:
    """Times pieces of work on one device.

    ``walls`` are what a caller waits, with the device idle before and after; ``events`` are between
    two events on the device's own clock, and empty where it has none.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.walls: list[float] = []
        self.events: list[float] = []

    def time(self, work: Callable[[], object]) -> float:
        """Do a piece of work and return the milliseconds that it took."""
        if self.device.type != "cuda":
            began = time.perf_counter()
            work()
            self.walls.append((time.perf_counter() - began) * 1000)
            return self.walls[-1]
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self.device)
        began = time.perf_counter()
        first.record()
        work()
        last.record()
        torch.cuda.synchronize(self.device)
        self.walls.append((time.perf_counter() - began) * 1000)
        self.events.append(float(first.elapsed_time(last)))
        return self.walls[-1]

    def forget(self, count: int) -> None:
        """Leave out the last ``count`` pieces of work."""
        if count:
            del self.walls[-count:], self.events[-count:]

    def figures(self) -> dict[str, float]:
        """Return p50, p95 and number of the times, and p50 by the device's clock if it has one."""
        made = spread(self.walls)
        if self.events:
            made["events_p50"] = spread(self.events)["p50"]
        return made


def reset_peak(device: torch.device) -> None:
    """Begin to watch for the most memory that is taken."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def memory(device: torch.device) -> dict[str, int]:
    """Return bytes taken now and at most since ``reset_peak``; of the process where it is a CPU."""
    if device.type == "cuda":
        return {
            "now": torch.cuda.memory_allocated(device),
            "peak": torch.cuda.max_memory_allocated(device),
            "reserved": torch.cuda.memory_reserved(device),
        }
    return {"resident": resident_mb() * 2**20}


def free(device: torch.device) -> None:
    """Give the memory of what was dropped back."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def copy_bandwidth(device: torch.device, size: int, rounds: int = 8) -> float:
    """Return the bytes a second, read and written, that a copy of ``size`` bytes moves at best."""
    source = torch.randint(-100, 100, (size // 4,), dtype=torch.int32, device=device)
    target = torch.empty_like(source)
    clock = Clock(device)
    target.copy_(source)
    for _ in range(rounds):
        clock.time(lambda: target.copy_(source))
    times = clock.events or clock.walls
    return 2 * source.numel() * 4 / (min(times) / 1000)

"""Where the model runs, in which number format, with how many threads, and why.

The choice is made once per load. Knows torch's devices and nothing of models.
"""

from __future__ import annotations

import gc
import os

import torch

from dgemma_runtime.engine.base import Device
from dgemma_wire.errors import ModelError
from dgemma_wire.settings import RuntimeSettings


def choose(settings: RuntimeSettings) -> Device:
    """Return where the settings put the model, and why, without touching the device.

    Raises:
        ModelError: A CUDA device was asked for and is not there.
    """
    return choose_device(settings.device, settings.dtype)[2]


def choose_device(device: str, dtype: str) -> tuple[torch.device, torch.dtype, Device]:
    """Turn the settings ``device`` and ``dtype`` into torch's, with the reason in words.

    Raises:
        ModelError: A CUDA device was asked for and is not there.
    """
    if device.startswith("cuda"):
        place, reason = _asked_cuda(device), f"the setting asks for {device}"
    elif device == "cpu":
        place, reason = torch.device("cpu"), "the setting asks for the CPU"
    elif torch.cuda.is_available():
        place = torch.device("cuda:0")
        reason = f"a CUDA device was found ({torch.cuda.get_device_name(place)})"
    else:
        place, reason = torch.device("cpu"), "no CUDA device was found"
    number, why = _choose_dtype(place, dtype)
    name = str(number).removeprefix("torch.")
    return place, number, Device(str(place), f"{reason}; {name} because {why}", name)


def _asked_cuda(device: str) -> torch.device:
    if not torch.cuda.is_available():
        built = "" if torch.backends.cuda.is_built() else " (this torch is built without CUDA)"
        raise ModelError(
            f"The setting `device` is {device}, but no CUDA device is available{built}. Install a "
            "torch with CUDA and a driver for it, or set `device` to `auto` or `cpu`."
        )
    place = torch.device(device if ":" in device else "cuda:0")
    count = torch.cuda.device_count()
    if (place.index or 0) >= count:
        raise ModelError(
            f"The setting `device` is {device}, but there are {count} CUDA devices; "
            f"the last one is cuda:{count - 1}."
        )
    return place


def _choose_dtype(place: torch.device, dtype: str) -> tuple[torch.dtype, str]:
    if dtype == "float32":
        return torch.float32, "the setting asks for it"
    if dtype == "bfloat16":
        return torch.bfloat16, "the setting asks for it"
    if place.type == "cuda":
        return torch.bfloat16, "GPUs compute in it"
    if cpu_has_bfloat16():
        return torch.bfloat16, "this CPU computes in it"
    return torch.float32, "this CPU has no bfloat16 arithmetic"


def cpu_has_bfloat16() -> bool:
    """Say whether the CPU multiplies bfloat16 natively; elsewhere it is slower than float32."""
    # Public in newer releases of torch only.
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        found = capabilities()
        return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in tests)


def set_threads(threads: int) -> int:
    """Bound torch's CPU threads; 0 takes one per physical core this process may use."""
    if threads <= 0:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 10**6
        # torch's own default is the number of physical cores of the machine.
        threads = max(1, min(torch.get_num_threads(), usable))
    torch.set_num_threads(threads)
    return threads


def free_memory() -> None:
    """Give memory of dropped tensors back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether ``error`` is a device's or the machine's way of being out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )

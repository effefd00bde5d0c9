"""A run's state on disk: parameters and optimizer moments as safetensors, numbers as JSON.

A checkpoint is a folder that appears whole or not at all. Knows nothing of what is trained.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import nn


class RunState(msgspec.Struct):
    """Where a run stands.

    Attributes:
        step: Optimizer steps done.
        seconds: Time spent training, over all its sessions.
        canvases: Canvases learned from, first passes only.
        settings: What the run was started with; a resumed run must agree.
    """

    step: int
    seconds: float
    canvases: int
    settings: dict[str, str | int | float | bool | None]


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: RunState
) -> None:
    """Write a checkpoint; the one before stays until this one is complete."""
    scratch = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    parameters = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    save_file(parameters, str(scratch / "parameters.safetensors"))
    moments = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            moments[f"{name}/{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
    save_file(moments, str(scratch / "moments.safetensors"))
    (scratch / "state.json").write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    scratch.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def read_state(folder: Path) -> RunState | None:
    """Return where a run stands; ``None`` when there is no checkpoint."""
    try:
        return msgspec.json.decode((_whole(folder) / "state.json").read_bytes(), type=RunState)
    except FileNotFoundError:
        return None


def load_parameters(folder: Path) -> dict[str, torch.Tensor]:
    """Return a checkpoint's parameters by name.

    Raises:
        FileNotFoundError: There is no checkpoint.
    """
    return load_file(str(_whole(folder) / "parameters.safetensors"))


def _whole(folder: Path) -> Path:
    """Return where the checkpoint lies when a run was cut off between the two renames."""
    return folder if (folder / "state.json").exists() else folder.with_name(f"{folder.name}.old")


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> RunState:
    """Bring a model and its optimizer to where a run stands.

    Raises:
        FileNotFoundError: There is no checkpoint.
        KeyError: It is of another model.
    """
    folder = _whole(folder)
    state = msgspec.json.decode((folder / "state.json").read_bytes(), type=RunState)
    parameters = load_file(str(folder / "parameters.safetensors"))
    moments = load_file(str(folder / "moments.safetensors"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(parameters[name])
            found = {
                key.removeprefix(f"{name}/"): value.to(parameter.device)
                for key, value in moments.items()
                if key.startswith(f"{name}/")
            }
            if found:
                found["step"] = found["step"].cpu()
                optimizer.state[parameter] = found
    return state

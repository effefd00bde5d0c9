"""Reading a DiffusionGemma checkpoint tensor by tensor, packing the large weights on the way.

The model is built without memory, then every tensor of the checkpoint is brought to the device,
packed where it is an expert's or a projection's, kept on the disk as it is then, and let go; the
next time what was kept is read (``kept``). Encoder and decoder share all but their layer scalars,
as upstream ties them. What only images need is never read.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers.models.diffusion_gemma import (
    DiffusionGemmaConfig,
    DiffusionGemmaForBlockDiffusion,
)

from dgemma_runtime.models.checkpoint_files import Header, read_header
from dgemma_runtime.models.loading import QUIETLY, Loading, LoadReport
from dgemma_runtime.models.packed import kept
from dgemma_runtime.models.packed.forms import GROUP, WeightForm
from dgemma_runtime.models.packed.modules import PackedExperts, PackedLinear, PackedWeight
from dgemma_runtime.models.packed.progress import Progress
from dgemma_runtime.models.packed.tensor_file import Layout, header_of, lay_out
from dgemma_wire.errors import ModelError

log = logging.getLogger(__name__)

_Headers = Mapping[Path, Mapping[str, Header]]
"""What the weight files of a checkpoint hold, but for what only images need."""

_IMAGES = ("vision_tower", "embed_vision")
_PROJECTION = re.compile(r"self_attn\.[qkvo]_proj|mlp\.(?:gate|up|down)_proj")
_INDEX = "model.safetensors.index.json"


def build(
    config: DiffusionGemmaConfig, form: WeightForm, device: torch.device
) -> DiffusionGemmaForBlockDiffusion:
    """Make a model of a configuration, its weights still to be read.

    Args:
        config: The checkpoint's.
        form: What experts and projections are held as; all else is plain.
        device: Where packed weights get their room; plain ones get theirs when they are read.
    """
    with torch.device("meta"):
        model = DiffusionGemmaForBlockDiffusion(config)
    for name in _IMAGES:
        delattr(model.model.encoder, name)
    decoder, encoder = model.model.decoder, model.model.encoder.language_model
    if form is not WeightForm.PLAIN:
        for layer in decoder.layers:
            _pack(layer, config, form, device)
    for layer, twin in zip(decoder.layers, encoder.layers, strict=True):
        _share(layer, twin)
    for name in ("embed_tokens", "norm"):
        setattr(encoder, name, getattr(decoder, name))
    model.lm_head.weight = decoder.embed_tokens.weight
    return model


def _pack(
    layer: nn.Module, config: DiffusionGemmaConfig, form: WeightForm, device: torch.device
) -> None:
    """Put packed modules in the place of a layer's experts and projections."""
    text: Any = config.text_config
    layer.experts = PackedExperts(
        text.num_experts,
        text.hidden_size,
        text.moe_intermediate_size,
        getattr(layer.experts, "act_fn"),  # noqa: B009 - typed as a module, and is one
        form,
        device,
    )
    for name, module in list(layer.named_modules()):
        if isinstance(module, nn.Linear) and _PROJECTION.fullmatch(name):
            if form is WeightForm.INT4 and module.in_features % GROUP:
                continue
            home, _, last = name.rpartition(".")
            made = PackedLinear(module.out_features, module.in_features, form, device)
            setattr(layer.get_submodule(home), last, made)


def _share(layer: nn.Module, twin: nn.Module) -> None:
    """Give an encoder layer the decoder layer's weights: every module that holds some."""
    for name, module in layer.named_children():
        if isinstance(module, PackedExperts | PackedLinear) or not list(module.children()):
            setattr(twin, name, module)
        else:
            _share(module, twin.get_submodule(name))
            for each, weight in module.named_parameters(recurse=False):
                setattr(twin.get_submodule(name), each, weight)


def load(
    folder: Path,
    form: WeightForm,
    device: torch.device,
    dtype: torch.dtype,
    loading: Loading = QUIETLY,
) -> DiffusionGemmaForBlockDiffusion:
    """Read the checkpoint of a folder, or what was kept of it packed.

    Args:
        folder: The checkpoint's.
        form: What experts and projections are held as.
        device: Where.
        dtype: Of all that is not packed.
        loading: Who is told how far it is, and where packed weights are kept.

    Raises:
        ModelError: A file is missing or broken, or a tensor is missing or of the wrong shape.
    """
    try:
        config = DiffusionGemmaConfig.from_pretrained(str(folder), local_files_only=True)
        model = build(config, form, device)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"The checkpoint {folder} cannot be read: {error}") from error
    headers = {path: _headers(path) for path in shards(folder)}
    plan = None
    if form is not WeightForm.PLAIN and loading.keep_in is not None:
        plan = _plan(model, folder, headers, form, loading.keep_in)
    if plan is None or not _read_kept(model, plan, device, dtype, loading.report):
        doing = "Reading weights" if form is WeightForm.PLAIN else f"Packing weights as {form}"
        progress = Progress(loading.report, doing, _sizes(headers))
        with kept.keeping(plan) as keep:
            _read(model, headers, device, dtype, progress, keep)
            _check_whole(model, folder)
            keep.finish()
    else:
        _check_whole(model, folder)
    make_buffers(model, config, device)
    return model.eval()


def _read(
    model: nn.Module,
    headers: _Headers,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
    keep: kept.Keeping,
) -> None:
    """Fill a model from a checkpoint's files, and keep what it is filled with."""
    for path, names in headers.items():
        for name, tensor in _tensors(path, names, device):
            _put(model, name, tensor, device, dtype, path)
            if keep.wanted:
                for each, made in _made(model, name, tensor).items():
                    keep.put(each, made)
            progress.add(name)
    progress.tell()


def _read_kept(
    model: nn.Module,
    plan: kept.Plan,
    device: torch.device,
    dtype: torch.dtype,
    report: LoadReport,
) -> bool:
    """Fill a model from what is kept; ``False`` when that cannot be, and all is to be filled."""
    if not os.path.exists(plan.home):  # a folder that may not be looked into is as good as none
        return False
    sizes = {n: size for layout in plan.layouts for n, (_, size) in layout.places.items()}
    progress = Progress(report, f"Reading weights packed as {plan.note.form}", sizes)
    try:
        if why := kept.why_unfit(plan):
            raise kept.Unfit(why)
        with kept.opened(plan, device) as files:
            for layout, read in files:
                for name in layout.places:
                    home, _, last = name.rpartition(".")
                    module = model.get_submodule(home)
                    if not isinstance(module, PackedWeight):
                        _assign(model, module, last, read(name).to(device=device, dtype=dtype))
                    elif last == "codes":
                        module.take(read(name), read(f"{home}.scales"))
                    progress.add(name)
    except kept.Unfit as error:
        log.warning("%s is not used, and made again: %s", plan.home, error)
        return False
    progress.tell()
    return True


def _plan(
    model: nn.Module, folder: Path, headers: _Headers, form: WeightForm, keep_in: Path
) -> kept.Plan | None:
    """Plan what is kept of a checkpoint; ``None`` when it does not fit the model."""
    layouts: list[Layout] = []
    try:
        for number, names in enumerate(headers.values(), 1):
            tensors: dict[str, Header] = {}
            for name, header in names.items():
                found = _packed(model, name)
                if found is None:
                    tensors[name] = header
                else:
                    home, weight = found
                    tensors[f"{home}.codes"] = header_of(weight.codes)
                    tensors[f"{home}.scales"] = header_of(weight.scales)
            if tensors:
                file = f"packed-{number:05}-of-{len(headers):05}.safetensors"
                layouts.append(lay_out(file, tensors))
        return kept.make_plan(folder, list(headers), str(form), layouts, keep_in)
    except (AttributeError, OSError) as error:
        log.warning("packed weights of %s are not kept: %s", folder, error)
        return None


def _packed(model: nn.Module, name: str) -> tuple[str, PackedWeight] | None:
    """Return the packed weight that a tensor of the checkpoint fills, and its name."""
    home, _, last = name.rpartition(".")
    module = model.get_submodule(home)
    if isinstance(module, PackedExperts):
        weight = module.get_submodule(last)
        assert isinstance(weight, PackedWeight)
        return name, weight
    return (f"{home}.packed", module.packed) if isinstance(module, PackedLinear) else None


def _made(model: nn.Module, name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return what a tensor of the checkpoint was made into, by the names it is kept under."""
    found = _packed(model, name)
    if found is None:
        return {name: tensor}
    home, weight = found
    return {f"{home}.codes": weight.codes, f"{home}.scales": weight.scales}


def _sizes(headers: _Headers) -> dict[str, int]:
    return {name: header.bytes for names in headers.values() for name, header in names.items()}


def _headers(path: Path) -> dict[str, Header]:
    try:
        found = read_header(path)
    except ModelError as error:
        raise _not_whole(path, error) from error
    return {n: header for n, header in found.items() if not any(part in n for part in _IMAGES)}


def shards(folder: Path) -> list[Path]:
    """Return the weight files of a checkpoint.

    Raises:
        ModelError: There are none, or some of those that the index names are missing.
    """
    index = folder / _INDEX
    if index.is_file():
        try:
            placed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            names = sorted(set(placed.values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{index} is no index of weight files: {error!r}") from error
    else:
        names = ["model.safetensors"]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder} lacks {', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}. "
            "Fetch the model again; what is there is kept."
        )
    return [folder / name for name in names]


def _tensors(
    path: Path, names: Mapping[str, Header], device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            for name in names:
                yield name, file.get_tensor(name)
    except (SafetensorError, OSError, ValueError) as error:
        raise _not_whole(path, error) from error


def _not_whole(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path} is not whole ({error}). Delete it and fetch the model again.")


def _put(
    model: nn.Module,
    name: str,
    tensor: Tensor,
    device: torch.device,
    dtype: torch.dtype,
    path: Path,
) -> None:
    """Give a tensor of the checkpoint to the module that it belongs to."""
    home, _, last = name.rpartition(".")
    try:
        found = _packed(model, name)
        if found is None:
            _assign(model, model.get_submodule(home), last, tensor.to(device=device, dtype=dtype))
        else:
            weight = found[1]
            weight.fill(tensor if len(weight.shape) == tensor.dim() else tensor[None])
    except (AttributeError, ValueError) as error:
        raise ModelError(f"{path}: the tensor {name} does not fit the model: {error}") from error


def _assign(model: nn.Module, module: nn.Module, name: str, tensor: Tensor) -> None:
    held = getattr(module, name)
    if held.shape != tensor.shape:
        raise ValueError(f"it has the shape {tuple(tensor.shape)} instead of {tuple(held.shape)}")
    if not isinstance(held, nn.Parameter):
        setattr(module, name, tensor)
        return
    weight = nn.Parameter(tensor, requires_grad=False)
    for owner in model.modules():  # shared weights are one object in several places
        for each, other in list(owner.named_parameters(recurse=False)):
            if other is held:
                setattr(owner, each, weight)


def _check_whole(model: nn.Module, folder: Path) -> None:
    state = model.state_dict()
    missing = sorted(name for name, held in state.items() if held.is_meta)
    missing += sorted(
        name
        for name, module in model.named_modules()
        if isinstance(module, PackedWeight) and not module.filled
    )
    # An encoder's scalar that was not saved is its decoder's.
    for name in list(missing):
        twin = name.replace("encoder.language_model", "decoder")
        if name.endswith("layer_scalar") and twin != name and not state[twin].is_meta:
            home, _, last = name.rpartition(".")
            setattr(model.get_submodule(home), last, state[twin].clone())
            missing.remove(name)
    if missing:
        raise ModelError(
            f"The checkpoint {folder} lacks {missing[0]}"
            + (f" and {len(missing) - 1} other tensors." if len(missing) > 1 else ".")
        )


def make_buffers(model: Any, config: DiffusionGemmaConfig, device: torch.device) -> None:
    """Compute what is never saved: the rotations of positions, and the embedding's scale."""
    text: Any = config.text_config
    for part in (model.model.decoder, model.model.encoder.language_model):
        part.rotary_emb = type(part.rotary_emb)(text).to(device)
        part.embed_tokens.embed_scale = torch.tensor(text.hidden_size**0.5, device=device)
    left = [name for name, held in model.named_buffers() if held.is_meta]
    if left:
        raise ModelError(f"This release of transformers has parts that are unknown here: {left[0]}")

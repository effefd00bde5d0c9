"""Which models there are: from the setting to a spec, from a spec to its adapter. No torch here."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dgemma_runtime import catalog
from dgemma_runtime.canvas import Layout
from dgemma_runtime.catalog import folders
from dgemma_runtime.models import masked_spec
from dgemma_runtime.models.base import (
    Acceptance,
    BaseFolder,
    BaseSource,
    LengthSearch,
    ModelAdapter,
    ModelSpec,
    Noise,
    NoiseKind,
    SamplerConfig,
)
from dgemma_runtime.models.loading import Loading
from dgemma_runtime.prompt import GEMMA, RAW, layout_named
from dgemma_runtime.prompt.gemma import TURN
from dgemma_wire.errors import ModelError
from dgemma_wire.messages import Capabilities, ModelLimits, RewriteKind

if TYPE_CHECKING:
    import torch

ADAPTERS: dict[str, str] = {
    "diffusion_gemma": "dgemma_runtime.models.diffusion_gemma:load_adapter",
    "llama_canvas_lora": "dgemma_runtime.models.causal_canvas:load_adapter",
    masked_spec.ARCHITECTURE: "dgemma_runtime.models.masked_sequence:load_adapter",
}
"""Architecture to ``module:function`` that loads its adapter; see ``AdapterLoader``."""

AdapterLoader = Callable[[ModelSpec, Path, "torch.device", "torch.dtype", Loading], ModelAdapter]
"""Reads the weights at a path (a file or folder) onto a device."""

_SPAN_TOKENS = 32
_PREFIX_TOKENS = 4096
_SPANS = 16
"""Spans that share a canvas: such a model is trained to denoise any positions of it."""
_CONTEXT_TOKENS = 1024  # what is far is seen by a sixth of the layers only


def adapter_loader(architecture: str) -> AdapterLoader:
    """Import and return the loader of an architecture's adapter."""
    module, _, function = ADAPTERS[architecture].partition(":")
    return getattr(importlib.import_module(module), function)


def embedded_folder() -> Path:
    """Return the folder of the model that ships with this package."""
    return Path(__file__).resolve().parent.parent / "embedded"


def resolve_spec(model: str) -> ModelSpec:
    """Turn the ``model`` setting into a spec.

    Raises:
        ModelError: It names no model, or one that is not on this machine; the text says what to
            do.
    """
    if model == catalog.EMBEDDED:
        return read_spec(embedded_folder() / "model.json")
    if (known := catalog.find(model)) is not None:
        return replace(_read_checkpoint_spec(folders.require(known)), name=known.name)
    folder = Path(model).expanduser()
    if (folder / "model.json").is_file():
        return read_spec(folder / "model.json")
    if (folder / "config.json").is_file():
        return _read_checkpoint_spec(folder)
    raise ModelError(
        f"The model {model!r} was not found. Accepted are `embedded` and the other names of "
        "`dgemma models list`, the folder of a DiffusionGemma checkpoint (with a config.json), and "
        "a folder with a model.json of dgemma."
    )


def _read_checkpoint_spec(folder: Path) -> ModelSpec:
    """Make the spec of a checkpoint as ``transformers`` saves one, by its class."""
    config = _read_json(folder / "config.json")
    if config.get("model_type") == "qwen2":
        told = folder / "tokenizer_config.json"
        tokenizer = _read_json(told) if told.is_file() else {}
        return masked_spec.make_masked_spec(folder, config, tokenizer)
    return read_diffusion_gemma_spec(folder)


def read_spec(path: Path) -> ModelSpec:
    """Read a ``model.json`` of ours.

    Raises:
        ModelError: It is not valid.
    """
    data = _read_json(path)
    try:
        if data["architecture"] not in ADAPTERS:
            raise ModelError(f"{path}: no adapter for architecture {data['architecture']!r}.")
        noise, sampler = data["noise"], data["sampler"]
        # Those of the layout are for the canvas, the others for peers: one number for both.
        spans = {"max_span_tokens": data["layout"]["span_tokens"]} | data["layout"]
        limits = {"max_span_tokens": spans["max_span_tokens"]} | data["limits"]
        return ModelSpec(
            name=data["name"],
            architecture=data["architecture"],
            folder=path.parent,
            layout=Layout(**spans),
            limits=ModelLimits(**limits),
            noise=Noise(**{**noise, "kind": NoiseKind(noise["kind"])}),
            sampler=SamplerConfig(
                **{**sampler, "acceptance": Acceptance(sampler["acceptance"])},
            ),
            start_ids=tuple(data.get("start_ids", ())),
            end_ids=tuple(data["end_ids"]),
            dims=tuple(data["dims"].items()),
            base=_base(data["base"], path.parent) if "base" in data else None,
            prompt=layout_named(data.get("prompt", "raw")),
            capabilities=_capabilities(data),
            rewrite_adapter=data.get("rewrite_adapter", ""),
            heal_words=bool(data.get("heal_words", False)),
            search=_search(data["search"]) if data.get("search") else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is not a model.json of this release: {error!r}") from error


def _search(data: dict[str, Any]) -> LengthSearch:
    lists = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
    return LengthSearch(**{**data, **lists})


def _capabilities(data: dict[str, Any]) -> Capabilities:
    return Capabilities(
        rewrites=msgspec.convert(data.get("rewrites", []), type=tuple[RewriteKind, ...]),
        least_score=data.get("least_score"),
        instructions=bool(data.get("instructions", False)),
        context_tokens=int(data.get("context_tokens", 0)),
        spans=int(data.get("spans", 1)),
        weighs=bool(data.get("weighs", False)),
    )


def _base(data: dict[str, Any], home: Path) -> BaseSource | BaseFolder:
    if "folder" not in data:
        return BaseSource(**data)
    return BaseFolder(home / Path(data["folder"]).expanduser(), data.get("sha256", ""))


def read_diffusion_gemma_spec(folder: Path) -> ModelSpec:
    """Make the spec of a DiffusionGemma checkpoint from its JSON files.

    Raises:
        ModelError: They are missing or of another model.
    """
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "diffusion_gemma":
        raise ModelError(
            f"{folder}/config.json is of model_type {config.get('model_type')!r}; "
            "only `diffusion_gemma` is supported."
        )
    path = folder / "generation_config.json"
    # Fields that are null are unset, and take upstream's defaults like those that are absent.
    generation = _set_fields(_read_json(path)) if path.is_file() else {}
    try:
        text = _set_fields(config["text_config"])
        canvas = int(config.get("canvas_length") or 256)
        vocab_size = int(text["vocab_size"])
        prompt = GEMMA if _talks(folder) else RAW
        positions = int(text["max_position_embeddings"])
        prefix = min(_PREFIX_TOKENS, positions - canvas - prompt.after_tokens)
        start = int(text.get("bos_token_id", 2))
        end = generation.get("eos_token_id", text.get("eos_token_id", 1))
        bound = generation.get("sampler_config", {}).get("entropy_bound", 0.1)
        sampler = SamplerConfig(
            acceptance=Acceptance.ENTROPY_BOUND,
            max_steps=int(generation.get("max_denoising_steps", 48)),
            t_min=float(generation.get("t_min", 0.4)),
            t_max=float(generation.get("t_max", 0.8)),
            greedy_first=False,
            entropy_bound=float(bound),
            stable_steps=int(generation.get("stability_threshold", 1)),
            settled_entropy=float(generation.get("confidence_threshold", 0.005)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder} is not a DiffusionGemma checkpoint: {error!r}") from error
    span = min(_SPAN_TOKENS, canvas)
    return ModelSpec(
        name=folder.name,
        architecture="diffusion_gemma",
        folder=folder,
        layout=Layout(head_rows=0, span_tokens=span, tail_tokens=canvas, canvas_tokens=canvas),
        limits=ModelLimits(
            prefix_tokens=prefix,
            canvas_tokens=canvas,
            span_tokens=span,
            max_span_tokens=canvas,
            chars_per_token=3.2,
        ),
        noise=Noise(NoiseKind.UNIFORM, vocab_size),
        sampler=sampler,
        start_ids=(start,),
        end_ids=tuple(end) if isinstance(end, list) else (int(end),),
        prompt=prompt,
        capabilities=Capabilities(
            instructions=prompt is GEMMA,
            context_tokens=min(_CONTEXT_TOKENS, max(0, prefix // 4)),
            spans=_SPANS,
        ),
        heal_words=True,
        search=LengthSearch(),
    )


def _talks(folder: Path) -> bool:
    """Say whether a checkpoint was trained on conversations: then it has a template for them."""
    texts = (folder / "chat_template.jinja", folder / "tokenizer_config.json")
    try:
        told = [path.read_text(encoding="utf-8") for path in texts if path.is_file()]
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} cannot be read: {error}") from error
    return any(TURN.name in text and "add_generation_prompt" in text for text in told)


def _set_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} does not hold a JSON object.")
    return data

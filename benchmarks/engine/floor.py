"""The least time of a step: the bytes it must touch, over what the device's memory can move.

At these sizes a step is bound by reading weights: attention and dense layers whole, of the experts
those that some position is sent to, the embedding twice (for the head and for self-conditioning),
and the prefix's keys and values. The counts come from the configuration, not from a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from benchmarks.engine.bench import Bench, Result, spec_of
from benchmarks.engine.clock import copy_bandwidth
from benchmarks.engine.sizes import Size
from benchmarks.engine.steps import prompt_ids
from benchmarks.engine.weights import gemma_config
from dgemma_runtime.catalog.counts import Group, diffusion_gemma_counts
from dgemma_runtime.catalog.memory_plan import Form, plan

PEAKS: Mapping[str, float] = {"H200": 4.8e12, "H100": 3.35e12}
"""Bytes a second by the vendor's data sheet, of the parts with stacked memory on their board."""
_COPY_BYTES = {"tiny": 2**24, "small": 2**28, "full": 2**32}


def bandwidth(bench: Bench) -> Iterator[Result]:
    """Measure what a large copy moves, and name the vendor's peak where it is known."""
    name = ""
    if bench.device.type == "cuda":
        name = torch.cuda.get_device_name(bench.device)
    copied = copy_bandwidth(bench.device, _COPY_BYTES[bench.size.name])
    peak = next((bytes_ for part, bytes_ in PEAKS.items() if part in name), None)
    yield {"device": name or str(bench.device), "copied": round(copied), "peak": peak}


def step_bytes(size: Size, form: Form, experts: float, seen: int) -> dict[str, float]:
    """Return the bytes of a step by what they are.

    Args:
        size: The model.
        form: What its weights are held as.
        experts: Experts of a layer that are touched, in the mean.
        seen: Tokens of the prefix.
    """
    spec = spec_of(size)
    counts = diffusion_gemma_counts(gemma_config(size.dims, max(size.canvases)).to_dict())
    held = {part.name: part.bytes for part in plan(counts, spec, form, on_gpu=False).parts}
    number = 4 if form is Form.FLOAT32 else 2
    parts = {
        "experts": held[str(Group.EXPERTS)] * experts / size.dims["num_experts"],
        "dense": float(held[str(Group.DENSE)]),
        "embedding, twice": 2.0 * held[str(Group.EMBEDDING)],
        "other": float(held[str(Group.OTHER)]),
        "prefix": float(_prefix_numbers(size, seen) * number),
    }
    return parts | {"all": sum(parts.values())}


def _prefix_numbers(size: Size, seen: int) -> int:
    """Return how many keys and values a canvas reads: inside the window, in most layers."""
    dims, total = size.dims, 0
    layers = dims["num_hidden_layers"]
    for n in range(layers):
        if n % 6 == 5 or n == layers - 1:
            heads, head, tokens = dims["num_global_key_value_heads"], dims["global_head_dim"], seen
        else:
            heads, head = dims["num_key_value_heads"], dims["head_dim"]
            tokens = min(seen, dims["sliding_window"] - 1)
        total += 2 * heads * head * tokens
    return total


def uniform_experts(size: Size, positions: int) -> float:
    """Return the experts of a layer that are touched when each position takes any of them."""
    experts, chosen = size.dims["num_experts"], size.dims["top_k_experts"]
    return experts * (1 - (1 - chosen / experts) ** positions)


def routing(bench: Bench, form: Form) -> Iterator[Result]:
    """Count the experts that a canvas of noise is really sent to, in the random model.

    Routers of random weights are no measure of trained ones; they bound the estimate from one more
    side. Passes go through the model itself, so that nothing that was captured before is replayed.
    """
    loaded, size = bench.gemma(form), bench.size
    result: Result = {"experts": size.dims["num_experts"], "rows": []}
    generator = torch.Generator(bench.device).manual_seed(1)
    layers = loaded.model.model.decoder.layers
    with torch.inference_mode():
        cache = _cache_of_transformers(bench, loaded.model)
        for count in size.together:
            for canvas in size.canvases:
                touched: list[set[int]] = [set() for _ in layers]

                hooks = [
                    layer.router.register_forward_hook(_noting(into))
                    for layer, into in zip(layers, touched, strict=True)
                ]
                try:
                    for _ in range(count):
                        _pass_of_noise(bench, loaded.model, cache, canvas, generator)
                finally:
                    for hook in hooks:
                        hook.remove()
                mean = sum(map(len, touched)) / len(touched)
                result["rows"].append(
                    {
                        "canvas": canvas,
                        "together": count,
                        "measured": round(mean, 1),
                        "uniform": round(uniform_experts(size, canvas * count), 1),
                    }
                )
                yield result


def _noting(into: set[int]) -> Callable[[object, object, Any], None]:
    """Return a hook that adds the experts which a router chose."""

    def hook(_module: object, _given: object, made: Any) -> None:
        into.update(made[2].unique().tolist())

    return hook


def _cache_of_transformers(bench: Bench, model: Any) -> DynamicCache:
    """Return a prefix as ``transformers`` keeps one."""
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    ids = prompt_ids(bench, bench.size.prefix)
    places = torch.arange(ids.shape[1], device=bench.device)[None]
    model.model.encoder(input_ids=ids, past_key_values=cache, position_ids=places)
    return cache


def _pass_of_noise(
    bench: Bench, model: Any, cache: DynamicCache, canvas: int, generator: torch.Generator
) -> None:
    ids = torch.randint(
        bench.size.dims["vocab_size"], (1, canvas), generator=generator, device=bench.device
    )
    first = bench.size.prefix
    places = torch.arange(first, first + canvas, device=bench.device)[None]
    model.model.decoder(decoder_input_ids=ids, past_key_values=cache, decoder_position_ids=places)

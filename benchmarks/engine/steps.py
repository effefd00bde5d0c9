"""Milliseconds of a denoise step: this engine's, of one canvas and several, and ``generate()``'s.

Both loops take the same number of steps on the same model, in turn. Ours fills a span of 32 and,
for a comparison of like with like, a whole canvas, which ``generate()`` always does. A step of
``generate()`` is the difference of a long and a short run over their steps, so that its prefill
and its set-up do not count. Of our steps the first does not count: it has no self-conditioning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine.bench import Bench, Loaded, Result, as_published, warm_up
from benchmarks.engine.clock import Clock, memory, reset_peak
from benchmarks.engine.weights import weight_bytes
from benchmarks.measuring import spread
from dgemma_runtime.canvas import ClampedIds, FreeSlots, Layout, lay_out
from dgemma_runtime.catalog.memory_plan import Form
from dgemma_runtime.engine import loop
from dgemma_runtime.engine.passes import predict, side_by_side
from dgemma_runtime.engine.state import Problem
from dgemma_runtime.models.base import Acceptance, Noise, NoiseKind, PrefixState, SamplerConfig

SPAN = 32


def prompt_ids(bench: Bench, tokens: int) -> Tensor:
    """Return a prompt (1, tokens) of tokens that differ."""
    ids = torch.arange(tokens, device=bench.device)[None]
    return ids % (bench.size.dims["vocab_size"] - 200) + 100


def read_prefix(bench: Bench, loaded: Loaded, ids: Sequence[int]) -> PrefixState:
    """Return the state of a prefix, read in passes as the engine reads one."""
    prefix = loaded.adapter.new_prefix()
    for start in range(0, len(ids), bench.size.pass_tokens):
        loaded.adapter.encode(ids[start : start + bench.size.pass_tokens], prefix)
    return prefix


def our_steps(
    bench: Bench,
    loaded: Loaded,
    prefixes: Sequence[PrefixState],
    canvas: int,
    free: int,
) -> tuple[list[float], list[float]]:
    """Denoise a canvas behind each of some prefixes, side by side; return each step's milliseconds.

    Args:
        bench: The run.
        loaded: The model.
        prefixes: One or the same several times, or several.
        canvas: Positions of each canvas.
        free: How many of them are free; the others are clamped.

    Returns:
        What was waited, and what the device's own clock says, if it has one.
    """
    noise = Noise(NoiseKind.UNIFORM, bench.size.dims["vocab_size"])
    config = SamplerConfig(
        acceptance=Acceptance.ENTROPY_BOUND,
        max_steps=bench.size.long,
        t_min=0.4,
        t_max=0.8,
        settled_entropy=1e-9,  # never sure, so that all steps are taken
    )
    work = [
        loop.denoise(
            loaded.adapter,
            prefix,
            _problem(bench, canvas, free),
            noise,
            config,
            torch.Generator(bench.device).manual_seed(seed),
        )
        for seed, prefix in enumerate(prefixes)
    ]
    asks = side_by_side(work)
    passes = next(asks)
    clock = Clock(bench.device)
    done = False

    def one() -> None:
        nonlocal passes, done
        try:
            passes = asks.send(predict(loaded.adapter, passes))
        except StopIteration:
            done = True

    while not done:
        clock.time(one)
    return clock.walls[1:], clock.events[1:]


def _problem(bench: Bench, canvas: int, free: int) -> Problem:
    layout = Layout(head_rows=0, span_tokens=free, tail_tokens=canvas, canvas_tokens=canvas)
    segments = [FreeSlots(), ClampedIds(tuple(range(100, 100 + canvas)))]
    _, laid_out = lay_out((), segments, layout)
    return loop.make_problem(
        laid_out,
        bench.device,
        max_steps=bench.size.long,
        sample=True,
        end_ids=(),
        needed=lambda *_: None,
    )


def generate(loaded: Loaded, prompt: Tensor, canvas: int, steps: int, **more: Any) -> None:
    """Fill one canvas by ``generate()`` in so many steps."""
    loaded.model.config.canvas_length = canvas
    with as_published(loaded):
        loaded.model.generate(
            prompt,
            max_new_tokens=canvas,
            max_denoising_steps=steps,
            confidence_threshold=1e-9,  # never sure, so that all steps are taken
            eos_token_id=None,
            **more,
        )


def generate_step(bench: Bench, loaded: Loaded, prompt: Tensor, canvas: int, **more: Any) -> float:
    """Return the milliseconds of a step of ``generate()``."""
    size, clock = bench.size, Clock(bench.device)
    long = clock.time(lambda: generate(loaded, prompt, canvas, size.long, **more))
    short = clock.time(lambda: generate(loaded, prompt, canvas, size.short, **more))
    return (long - short) / (size.long - size.short)


def figures(found: tuple[list[float], list[float]]) -> dict[str, float]:
    """Return the spread of some steps."""
    walls, events = found
    return spread(walls) | ({"events_p50": spread(events)["p50"]} if events else {})


def against_generate(bench: Bench, form: Form) -> Iterator[Result]:
    """Measure our steps and those of ``generate()``, in turn; yields after every canvas."""
    reset_peak(bench.device)
    loaded = bench.gemma(form)
    result: Result = {
        "weights_bytes": weight_bytes(loaded.model),
        "memory_loaded": memory(bench.device),
        "warm_up": warm_up(loaded, bench.device),
        "canvases": [],
    }
    size = bench.size
    prompt = prompt_ids(bench, size.prefix)
    reset_peak(bench.device)
    with torch.inference_mode():
        prefix = read_prefix(bench, loaded, prompt[0].tolist())
        for canvas in size.canvases_of(form):
            span = min(SPAN, canvas)
            parts: dict[str, tuple[list[float], list[float]]] = {}
            theirs: list[float] = []
            our_steps(bench, loaded, [prefix], canvas, span)
            if bench.device.type != "cpu":  # records it, where passes are recorded
                our_steps(bench, loaded, [prefix], canvas, canvas)
            generate(loaded, prompt, canvas, size.short)
            for _ in range(size.rounds):
                for name, free in (("ours_ms", span), ("ours_whole_ms", canvas)):
                    walls, events = our_steps(bench, loaded, [prefix], canvas, free)
                    before = parts.get(name, ([], []))
                    parts[name] = before[0] + walls, before[1] + events
                theirs.append(generate_step(bench, loaded, prompt, canvas))
            row: Result = {"canvas": canvas, "span": span}
            row |= {name: figures(found) for name, found in parts.items()}
            row["generate_ms"] = spread(theirs)
            row["times_fewer"] = round(row["generate_ms"]["p50"] / row["ours_ms"]["p50"], 2)
            result["canvases"].append(row)
            result["memory"] = memory(bench.device)
            yield result


def together(bench: Bench, form: Form) -> Iterator[Result]:
    """Measure a step of several canvases at once; yields after every canvas.

    Behind one prefix, as candidates of a request are; the largest number also behind prefixes of
    their own, as several requests are.
    """
    loaded = bench.gemma(form)
    size = bench.size
    result: Result = {"warm_up": warm_up(loaded, bench.device), "canvases": []}
    with torch.inference_mode():
        prefix = read_prefix(bench, loaded, prompt_ids(bench, size.prefix)[0].tolist())
        for canvas in size.canvases_together:
            tried = [(count, [prefix] * count, False) for count in size.together]
            most = max(size.together)
            tried.append((most, [prefix.fork(prefix.length) for _ in range(most)], True))
            rows: list[dict[str, Any]] = []
            for count, behind, apart in tried:
                span = min(SPAN, canvas)
                our_steps(bench, loaded, behind, canvas, span)
                walls: list[float] = []
                events: list[float] = []
                for _ in range(size.rounds):
                    found = our_steps(bench, loaded, behind, canvas, span)
                    walls, events = walls + found[0], events + found[1]
                ms = figures((walls, events))
                rows.append({"together": count, "own_prefixes": apart, "ms": ms})
            one = rows[0]["ms"]["p50"] / rows[0]["together"]
            for row in rows:
                row["share_of_as_many"] = round(row["ms"]["p50"] / (one * row["together"]), 3)
            result["canvases"].append({"canvas": canvas, "rows": rows})
            yield result


def compiled(bench: Bench, form: Form) -> Iterator[Result]:
    """Measure ``generate()`` with a static cache, which it compiles for; yields after every canvas.

    The largest canvas comes first, since compiling takes minutes and it is the one it is made for.
    """
    loaded = bench.gemma(form)
    size = bench.size
    prompt = prompt_ids(bench, size.prefix)
    result: Result = {"cache_implementation": "static", "canvases": []}
    more = {"cache_implementation": "static"}
    for canvas in sorted(size.canvases, reverse=True):
        # What was compiled for another canvas is kept on the model and does not fit.
        for name in [each for each in vars(loaded.model) if each.startswith("_compiled_")]:
            delattr(loaded.model, name)
        if hasattr(loaded.model, "_cache"):
            del loaded.model._cache
        torch.compiler.reset()
        clock = Clock(bench.device)
        with torch.no_grad():
            for _ in range(2):
                clock.time(
                    lambda canvas=canvas: generate(loaded, prompt, canvas, size.long, **more)
                )
            times = [
                generate_step(bench, loaded, prompt, canvas, **more) for _ in range(size.rounds)
            ]
        row = {"canvas": canvas, "generate_ms": spread(times)}
        row["first_run_s"] = round(clock.walls[0] / 1000, 1)
        result["canvases"].append(row)
        yield result

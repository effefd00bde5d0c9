"""Reading what stands before a canvas: a whole prefix, one token more, and the memory it takes."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.engine.bench import Bench, Result
from benchmarks.engine.clock import Clock, memory, reset_peak
from benchmarks.engine.steps import SPAN, our_steps, prompt_ids
from dgemma_runtime.catalog.memory_plan import Form
from dgemma_runtime.engine.prefix_cache import PrefixCache


def prefixes(bench: Bench, form: Form) -> Iterator[Result]:
    """Measure prefixes of several lengths through the engine's cache; yields after every one."""
    loaded, size = bench.gemma(form), bench.size
    result: Result = {"pass_tokens": size.pass_tokens, "prefixes": []}
    with torch.inference_mode():
        for tokens in size.prefills_of(form):
            ids = prompt_ids(bench, tokens)[0].tolist()
            whole, append = Clock(bench.device), Clock(bench.device)
            cache = PrefixCache(loaded.adapter, pass_tokens=size.pass_tokens)
            reset_peak(bench.device)
            rounds = size.rounds if tokens == min(size.prefills) else max(1, size.rounds // 2)
            for _ in range(1 + rounds):
                cache.clear()
                whole.time(lambda cache=cache, ids=ids: cache.encode(ids, _go_on))
            if len(whole.walls) > 1:
                del whole.walls[:1], whole.events[:1]  # warms up
            for token in range(2 * size.rounds + 1):
                longer = [*ids, 200 + token]
                cache.encode(ids, _go_on)
                append.time(lambda cache=cache, longer=longer: cache.encode(longer, _go_on))
            del append.walls[:1], append.events[:1]
            state, _ = cache.encode(ids, _go_on)
            step = our_steps(bench, loaded, [state], size.canvases[1], SPAN)[0]
            result["prefixes"].append(
                {
                    "tokens": tokens,
                    "prefill_ms": whole.figures(),
                    "append_one_ms": append.figures(),
                    "step_ms": round(min(step), 3),
                    "step_canvas": size.canvases[1],
                    "memory": memory(bench.device),
                }
            )
            yield result


def _go_on() -> None:
    """Nobody wants to leave."""

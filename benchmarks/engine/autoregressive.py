"""A token of the autoregressive model of the same size, by ``generate()`` of ``transformers``.

What a denoise step must be weighed against: it makes one token where a step makes several. A
token's time is the difference of a long and a short run over their tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.engine.bench import Bench, Result
from benchmarks.engine.clock import Clock, free, memory, reset_peak
from benchmarks.engine.steps import prompt_ids
from benchmarks.engine.weights import random_autoregressive, weight_bytes
from benchmarks.measuring import spread


def autoregressive(bench: Bench, *, static: bool) -> Iterator[Result]:
    """Measure single tokens; with a ``static`` cache ``transformers`` compiles the pass on GPUs."""
    bench.drop()
    reset_peak(bench.device)
    size = bench.size
    model = random_autoregressive(size.dims, size.plain, bench.device)
    short, long = size.decoded
    prompt = prompt_ids(bench, size.prefix)
    more: dict[str, Any] = {"cache_implementation": "static"} if static else {}
    clock = Clock(bench.device)

    def run(tokens: int) -> float:
        return clock.time(
            lambda: model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
                **more,
            )
        )

    try:
        with torch.no_grad():
            first = run(long)  # the longer one first: its cache is large enough for both
            run(short)
            times = [(run(long) - run(short)) / (long - short) for _ in range(size.rounds)]
        on_gpu = bench.device.type == "cuda"
        yield {
            "class": type(model).__name__,
            "weights_bytes": weight_bytes(model),
            "cache": "static" if static else "dynamic",
            "compiled": static and on_gpu,
            "first_run_s": round(first / 1000, 1),
            "token_ms": spread(times),
            "memory": memory(bench.device),
        }
    finally:
        free(bench.device)

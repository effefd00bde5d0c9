"""The denoise loop: against ``generate()`` of transformers, and against the bare passes it makes.

Two parts, both on whatever device torch finds, so that one call makes the whole table:

* A DiffusionGemma with random weights, its published vocabulary and few layers (``--full`` takes
  the published dimensions, which want a large GPU): milliseconds per denoise step of this engine,
  for a span in canvases of several lengths, and of ``generate()``, which always fills a whole
  canvas. The two are asked in turn in the same run. A step of ``generate()`` is the difference of a
  long and a short run over their steps, so that its prefill and set-up do not count.
* The model that ships: whole fills with a warm prefix, over the time that their bare model passes
  took inside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from latency import hardware, rows_from_sources, spread
from torch import Tensor
from transformers.models.diffusion_gemma import (
    DiffusionGemmaConfig,
    DiffusionGemmaForBlockDiffusion,
    DiffusionGemmaTextConfig,
)

from dgemma_runtime import models
from dgemma_runtime.canvas import ClampedIds, FreeSlots, Layout, lay_out
from dgemma_runtime.engine import diffusion, loop, make_engine
from dgemma_runtime.job import Job
from dgemma_runtime.models.base import (
    Acceptance,
    Noise,
    NoiseKind,
    PrefixState,
    SamplerConfig,
)
from dgemma_runtime.models.diffusion_gemma import DiffusionGemma
from dgemma_wire.messages import Clamped, Denoise, Free
from dgemma_wire.settings import RuntimeSettings

VOCABULARY = 262144
PREFIX = 512
SPAN = 32
CANVASES = (32, 64, 128, 256)
SHORT, LONG = 2, 6
"""Steps of the two runs of ``generate()`` whose difference is a step's time."""

FULL = {
    "hidden_size": 2816,
    "intermediate_size": 2112,
    "num_hidden_layers": 30,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "global_head_dim": 512,
    "num_global_key_value_heads": 2,
    "num_experts": 128,
    "top_k_experts": 8,
    "moe_intermediate_size": 704,
}
FEW = FULL | {
    "hidden_size": 512,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts": 16,
    "moe_intermediate_size": 128,
}


def random_gemma(dims: dict[str, int], canvas: int, device: torch.device) -> Any:
    """Make a model of some dimensions with small random weights, in bfloat16."""
    layers = dims["num_hidden_layers"]
    kinds = ["full_attention" if i % 6 == 5 else "sliding_attention" for i in range(layers)]
    kinds[-1] = "full_attention"
    text = DiffusionGemmaTextConfig(
        vocab_size=VOCABULARY,
        sliding_window=1024,
        max_position_embeddings=8192,
        layer_types=kinds,
        **dims,  # type: ignore[arg-type]
    )
    config = DiffusionGemmaConfig(text_config=text, canvas_length=canvas)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            return DiffusionGemmaForBlockDiffusion(config).eval()
    finally:
        torch.set_default_dtype(before)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the milliseconds that a piece of work takes on a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - began) * 1000


def their_step(model: Any, prompt: Tensor, canvas: int, device: torch.device) -> float:
    """Return the milliseconds of a denoise step of ``generate()``."""

    def run(steps: int) -> float:
        return timed(
            lambda: model.generate(
                prompt,
                max_new_tokens=canvas,
                max_denoising_steps=steps,
                confidence_threshold=1e-9,  # never sure, so that all steps are taken
                eos_token_id=None,
            ),
            device,
        )

    return (run(LONG) - run(SHORT)) / (LONG - SHORT)


def our_steps(
    adapter: DiffusionGemma, prompt: Sequence[int], canvas: int, device: torch.device
) -> list[float]:
    """Return the milliseconds of each denoise step of a span in a canvas."""
    span = min(SPAN, canvas)
    layout = Layout(head_rows=0, span_tokens=span, tail_tokens=canvas, canvas_tokens=canvas)
    segments = [FreeSlots(), ClampedIds(tuple(range(1000, 1000 + canvas)))]
    prefix_ids, laid_out = lay_out(prompt, segments, layout)
    prefix = adapter.new_prefix()
    adapter.encode(prefix_ids, prefix)
    noise = Noise(NoiseKind.UNIFORM, VOCABULARY)
    config = SamplerConfig(
        acceptance=Acceptance.ENTROPY_BOUND,
        max_steps=LONG,
        t_min=0.4,
        t_max=0.8,
        settled_entropy=1e-9,
    )
    problem = loop.make_problem(
        laid_out, device, max_steps=LONG, sample=True, end_ids=(), needed=lambda *_: None
    )
    generator = torch.Generator(device=device).manual_seed(0)
    state = loop.begin(problem, noise, generator)
    taken: list[float] = []
    for _ in range(LONG):

        def one() -> None:
            nonlocal state
            state = loop.step(adapter, prefix, problem, state, noise, config, generator)

        taken.append(timed(one, device))
    return taken[1:]  # the first has no self-conditioning


def against_generate(arguments: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """Measure both loops on the random model."""
    dims = FULL if arguments.full else FEW
    found: list[dict[str, Any]] = []
    for canvas in CANVASES:
        model = random_gemma(dims, canvas, device)
        adapter = DiffusionGemma(model)
        ids = torch.arange(PREFIX, device=device)[None] + 100
        prompt = ids[0].tolist()
        ours: list[float] = []
        theirs: list[float] = []
        with torch.inference_mode():
            our_steps(adapter, prompt, canvas, device)
            for _ in range(arguments.rounds):
                ours += our_steps(adapter, prompt, canvas, device)
                theirs.append(their_step(model, ids, canvas, device))
        mine, other = spread(ours), spread(theirs)
        fewer = round(other["p50"] / mine["p50"], 2)
        found.append(
            {
                "canvas": canvas,
                "span": min(SPAN, canvas),
                "ours_ms": mine,
                "generate_ms": other,
                "times_fewer": fewer,
            }
        )
        print(
            f"canvas {canvas:>3}, span {min(SPAN, canvas):>2}: ours {mine['p50']:8.1f} ms, "
            f"generate() {other['p50']:8.1f} ms, {fewer:.1f} times fewer",
            flush=True,
        )
        del model, adapter
    return found


@dataclass
class Clocked:
    """An adapter that notes how long its canvas passes take."""

    inner: Any
    device: torch.device
    taken: list[float] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def denoise(
        self, canvas: Tensor, prefix: PrefixState, rows: Tensor, feedback: Tensor | None
    ) -> Tensor:
        """See ``ModelAdapter``."""
        out: list[Tensor] = []
        self.taken.append(
            timed(
                lambda: out.append(self.inner.denoise(canvas, prefix, rows, feedback)), self.device
            )
        )
        return out[0]


def against_passes(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Measure whole fills of the shipped model over their bare passes."""
    clocks: list[Clocked] = []

    def loader(architecture: str) -> Any:
        load = models.adapter_loader(architecture)

        def clocked(*of: Any) -> Clocked:
            clocks.append(Clocked(load(*of), device))
            return clocks[-1]

        return clocked

    diffusion.adapter_loader = loader
    engine = make_engine(RuntimeSettings(device=str(device), offline=True))
    engine.load(lambda _: None)
    (clock,) = clocks
    shares: list[float] = []
    totals: list[float] = []
    for number, hole in enumerate(rows_from_sources(arguments.fills, 0)):
        segments = (Free(max_lines=1), Clamped(text=hole.suffix[:200]))
        request = Denoise(
            id=number + 1, document=str(number), prefix=hole.prefix, segments=segments
        )
        for warm in (False, True):
            clock.taken.clear()
            answer = engine.denoise(Job(0, request, time.monotonic()), lambda _: None)
            if warm:
                totals.append(answer.timings.total_ms)
                shares.append(answer.timings.total_ms / sum(clock.taken))
    result = {"fills": len(totals), "total_ms": spread(totals), "over_passes": spread(shares)}
    print(
        f"{len(totals)} warm fills of {engine.model}: {result['total_ms']['p50']:.0f} ms, "
        f"{result['over_passes']['p50']:.3f} times their passes (p95 "
        f"{result['over_passes']['p95']:.3f})"
    )
    return result


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="Runs of each loop.")
    parser.add_argument("--fills", type=int, default=60, help="Fills of the shipped model.")
    parser.add_argument("--full", action="store_true", help="The published dimensions.")
    parser.add_argument("--out", type=Path, help="Write the results here as JSON.")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results = {
        "hardware": hardware() | {"device": str(device), "threads": torch.get_num_threads()},
        "model": (FULL if arguments.full else FEW) | {"vocab_size": VOCABULARY, "prefix": PREFIX},
        "against_generate": against_generate(arguments, device),
        "against_passes": against_passes(arguments, device),
    }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

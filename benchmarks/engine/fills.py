"""Whole requests through the engine: an infill of 30 tokens, and fills of the model that ships.

The infill goes the way of a real one, from a text to a text, on the random model: the tokenizer is
the embedded model's with fillers up to the size of the vocabulary. What it writes is noise.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.engine.bench import Bench, Result, warm_up, write_config
from benchmarks.engine.clock import Clock
from benchmarks.engine.sizes import Size
from benchmarks.engine.weights import number_of
from benchmarks.measuring import ROOT, rows_from_sources, spread
from dgemma_runtime import models
from dgemma_runtime.catalog.memory_plan import Form
from dgemma_runtime.engine import diffusion, make_engine
from dgemma_runtime.engine.base import Engine
from dgemma_runtime.job import Job
from dgemma_runtime.models.base import CanvasPass, ModelAdapter, PrefixState
from dgemma_wire.messages import Clamped, Denoise, Free
from dgemma_wire.settings import RuntimeSettings

INFILL_TOKENS = 30
INFILL_STEPS = 8


def infill(bench: Bench, form: Form) -> Iterator[Result]:
    """Measure whole infills behind a prefix that is kept; yields once."""
    loaded, size = bench.gemma(form), bench.size
    warmed = warm_up(loaded, bench.device)
    text = (ROOT / "dgemma_lsp/session.py").read_text(encoding="utf-8")
    # About as many characters as make the tokens of the prefix.
    prefix, suffix = text[: 3 * size.prefix], text[3 * size.prefix : 3 * size.prefix + 120]
    steps, whole = set[int](), Clock(bench.device)
    with tempfile.TemporaryDirectory() as home:
        _write_folder(Path(home), size)
        with _engine_of(loaded.adapter, Path(home), form, bench) as engine:
            taken: list[float] = []
            tokens = cached = 0
            for number in range(size.infills + 2):
                request = Denoise(
                    id=number + 1,
                    document="infill",
                    prefix=prefix,
                    segments=(Free(tokens=INFILL_TOKENS), Clamped(text=suffix)),
                    max_steps=INFILL_STEPS,
                    seed=number,
                )
                answers: list[Any] = []
                whole.time(
                    lambda request=request, answers=answers: answers.append(
                        engine.denoise(Job(0, request, time.monotonic()), lambda _: None)
                    )
                )
                (answer,) = answers
                if number < 2:
                    whole.forget(1)  # reads the prefix; warms up
                    continue
                times = answer.timings
                steps.add(len(times.step_ms))
                taken += times.step_ms
                cached, tokens = times.cached_tokens, times.prefix_tokens
    yield {
        "tokens": INFILL_TOKENS,
        "steps": sorted(steps),
        "prefix_tokens": tokens,
        "cached_tokens": cached,
        "warm_up": warmed,
        "whole_ms": whole.figures(),
        "step_ms": spread(taken),
    }


@contextmanager
def _engine_of(adapter: ModelAdapter, folder: Path, form: Form, bench: Bench) -> Iterator[Engine]:
    """Give an engine that is loaded with an adapter which is there already."""
    settings = RuntimeSettings(
        model=str(folder),
        device=str(bench.device),
        dtype="float32" if form is Form.FLOAT32 else "bfloat16",
        threads=torch.get_num_threads(),
        offline=True,
    )
    assert str(number_of(form)).endswith(settings.dtype)
    with (
        mock.patch.object(diffusion, "adapter_loader", return_value=lambda *_: adapter),
        mock.patch.object(diffusion, "locate_weights", return_value=folder),
    ):
        engine = make_engine(settings)
        engine.load(lambda _: None)
        try:
            yield engine
        finally:
            engine.unload()


def _write_folder(folder: Path, size: Size) -> None:
    """Write the configuration, and a tokenizer with as many tokens as the model has."""
    write_config(folder, size)
    own = models.embedded_folder() / "tokenizer.json"
    tokenizer = json.loads(own.read_text(encoding="utf-8"))
    model, count = tokenizer["model"], size.dims["vocab_size"]
    vocabulary = {text: number for text, number in model["vocab"].items() if number < count}
    fillers = range(len(vocabulary), count)
    model["vocab"] = vocabulary | {f"~filler{number}": number for number in fillers}
    pairs = ((each.split(" ") if isinstance(each, str) else each) for each in model["merges"])
    model["merges"] = [[left, right] for left, right in pairs if left + right in vocabulary]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


@dataclass
class Clocked:
    """An adapter that notes how long its canvas passes take."""

    inner: Any
    clock: Clock
    taken: list[float] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def denoise(
        self, canvas: Tensor, prefix: PrefixState, rows: Tensor, feedback: Tensor | None
    ) -> Tensor:
        """See ``ModelAdapter``."""
        out: list[Tensor] = []
        self.taken.append(
            self.clock.time(lambda: out.append(self.inner.denoise(canvas, prefix, rows, feedback)))
        )
        return out[0]

    def denoise_together(self, passes: Sequence[CanvasPass]) -> list[Tensor]:
        """See ``ReadsTogether``."""
        out: list[list[Tensor]] = []
        self.taken.append(self.clock.time(lambda: out.append(self.inner.denoise_together(passes))))
        return out[0]


def embedded(bench: Bench) -> Iterator[Result]:
    """Measure whole fills of the shipped model over their bare passes; yields once."""
    bench.drop()
    threads = torch.get_num_threads()
    clocks: list[Clocked] = []

    def loader(architecture: str) -> Any:
        load = models.adapter_loader(architecture)

        def clocked(*of: Any) -> Clocked:
            clocks.append(Clocked(load(*of), Clock(bench.device)))
            return clocks[-1]

        return clocked

    with mock.patch.object(diffusion, "adapter_loader", loader):
        engine = make_engine(RuntimeSettings(device=str(bench.device), offline=True))
        engine.load(lambda _: None)
    used = torch.get_num_threads()
    (clock,) = clocks
    shares: list[float] = []
    totals: list[float] = []
    passes: list[float] = []
    for number, hole in enumerate(rows_from_sources(bench.size.fills, 0)):
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
                passes += clock.taken
    engine.unload()
    torch.set_num_threads(threads)
    yield {
        "model": engine.model,
        "fills": len(totals),
        "total_ms": spread(totals),
        "pass_ms": spread(passes),
        "over_passes": spread(shares),
        "threads": used,
    }

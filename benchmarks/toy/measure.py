"""What the devices of an engine are worth on the toy model: exact matches on held-out rows.

    python benchmarks/toy/measure.py --rows 200 --device "true length" --device "fixed 16"

The folder may hold any DiffusionGemma that was trained on ``language.py``; without ``--model`` it
is the one among the tests. Every row is one job through the engine, as the runtime would run it, in
this process. A device is a function from a row to a request, a search for lengths, or numbers of
the loop; for one more line in the table add it to ``DEVICES``, ``SEARCHES`` or ``SAMPLERS``. The
last three columns: how often the answer has as many tokens as the middle, and how often its score
and its doubts put a right answer before a wrong one (0.00: not measured).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import language
import msgspec
from language import Row

from dgemma_runtime.engine import make_engine
from dgemma_runtime.engine.base import Engine
from dgemma_runtime.engine.diffusion import DiffusionEngine
from dgemma_runtime.job import Job
from dgemma_runtime.models.base import LengthSearch
from dgemma_wire.messages import Candidate, Clamped, Denoise, Free
from dgemma_wire.settings import RuntimeSettings

MODEL = Path(__file__).parents[2] / "tests" / "data" / "toy_gemma"
SEED = 2026
BUCKETS = ((1, 4), (5, 8), (9, 16), (17, 24))
"""Lengths of middles, in tokens, that shares are told apart for."""

Device = Callable[[Row], Denoise]


def ask(row: Row, span: Free, **more: Any) -> Denoise:
    """Return the request that fills a row's hole by a span."""
    segments = (span, Clamped(text=row.suffix))
    return Denoise(document="toy", prefix=row.prefix, segments=segments, **more)


def fixed(tokens: int) -> Device:
    """Return the device that always gives a span the same number of positions."""
    return lambda row: ask(row, Free(tokens=tokens))


def warm(noise: float) -> Device:
    """Return the device that begins as the right text with a share of it noise."""
    return lambda row: ask(row, Free(tokens=row.tokens, start=row.middle, noise=noise))


DEVICES: dict[str, Device] = {
    "true length": lambda row: ask(row, Free(tokens=row.tokens)),
    "true length, 1 step": lambda row: ask(row, Free(tokens=row.tokens), max_steps=1),
    "true length, 4 steps": lambda row: ask(row, Free(tokens=row.tokens), max_steps=4),
    "true length, 8 steps": lambda row: ask(row, Free(tokens=row.tokens), max_steps=8),
    "1 too many": lambda row: ask(row, Free(tokens=row.tokens + 1)),
    "1 too few": lambda row: ask(row, Free(tokens=max(1, row.tokens - 1))),
    "fixed 4": fixed(4),
    "fixed 8": fixed(8),
    "fixed 16": fixed(16),
    "fixed 24": fixed(24),
    "fixed 32": fixed(32),
    "start, half noise": warm(0.5),
    "true length, doubts": lambda row: ask(row, Free(tokens=row.tokens), doubt=True),
}

SEARCHES: dict[str, LengthSearch] = {
    "searched": LengthSearch(),
    "searched, not weighed": LengthSearch(weigh_tokens=0),
    "searched, neither": LengthSearch(weigh_tokens=0, suffix_tokens=0),
    "searched, 3 to the end": LengthSearch(keeps=(12, 6, 3)),
    "searched, coarse grid": LengthSearch(grid=(1, 2, 3, 4, 6, 8, 12, 16, 20, 24)),
    "searched, one is enough": LengthSearch(patience=0),
    "searched, and written on": LengthSearch(through_tokens=24),
}
"""What finds the length of a span of no named number."""

SAMPLERS: dict[str, dict[str, Any]] = {
    "true length, bound 0.02": {"entropy_bound": 0.02},
    "true length, bound 0.5": {"entropy_bound": 0.5},
    "true length, never early": {"stable_steps": 99},
    "true length, stop diluted": {"settled_entropy": 0.005 * 64 / 8},
}
"""What the loop accepts and when it stops; diluted is a mean over the canvas, clamped rows too."""

NAMES = (*DEVICES, *SEARCHES, *SAMPLERS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a row; ``doubt`` is the largest of its tokens, where that was measured."""

    tokens: int
    made: int
    exact: bool
    steps: int
    passes: int
    score: float
    doubt: float | None
    settled: bool
    complete: bool
    ms: float


def load(folder: Path, threads: int = 1) -> DiffusionEngine:
    """Load a checkpoint into an engine of its own, on the CPU."""
    settings = RuntimeSettings(model=str(folder), device="cpu", dtype="float32", threads=threads)
    engine = make_engine(settings, clock=time.monotonic)
    assert isinstance(engine, DiffusionEngine)
    engine.load(lambda progress: None)
    return engine


def fill(engine: Engine, request: Denoise) -> tuple[tuple[Candidate, ...], int, float]:
    """Run a request; return its candidates, the passes it took and its milliseconds."""
    job = Job(1, request, time.monotonic())
    answer = engine.denoise(job, lambda draft: None)
    return answer.candidates, len(answer.timings.step_ms), answer.timings.total_ms


@contextmanager
def changed(engine: DiffusionEngine, **changes: Any) -> Iterator[None]:
    """Have an engine's model be another in some fields of its spec."""
    before = engine._spec
    engine._spec = replace(before, **changes)
    try:
        yield
    finally:
        engine._spec = before


def measure_named(
    engine: DiffusionEngine, rows: Sequence[Row], name: str, seed: int
) -> list[Outcome]:
    """Fill rows by the device of a name."""
    if name in SEARCHES:
        with changed(engine, search=SEARCHES[name]):
            return measure(engine, rows, lambda row: ask(row, Free()), seed)
    if name in SAMPLERS:
        sampler = replace(engine._spec.sampler, **SAMPLERS[name])
        with changed(engine, sampler=sampler):
            return measure(engine, rows, DEVICES["true length"], seed)
    return measure(engine, rows, DEVICES[name], seed)


def measure(engine: Engine, rows: Sequence[Row], device: Device, seed: int) -> list[Outcome]:
    """Fill rows by a device, each with a seed of its own."""
    found: list[Outcome] = []
    for number, row in enumerate(rows):
        request = msgspec.structs.replace(device(row), seed=seed + number)
        candidates, passes, ms = fill(engine, request)
        best = candidates[0]
        doubts = [t.doubt for t in best.tokens[0] if t.doubt is not None]
        found.append(
            Outcome(
                tokens=row.tokens,
                made=len(best.tokens[0]),
                exact=best.texts[0] == row.middle,
                steps=best.steps,
                passes=passes,
                score=best.score,
                doubt=max(doubts, default=None),
                settled=best.stopped == "settled",
                complete=best.complete,
                ms=ms,
            )
        )
    return found


def tells_apart(right: Sequence[float], wrong: Sequence[float]) -> float | None:
    """Return how often a right answer's number is above a wrong one's: 0.5 is no use, 1 is all."""
    if not right or not wrong:
        return None
    pairs = [(a > b) + 0.5 * (a == b) for a in right for b in wrong]
    return round(fmean(pairs), 3)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the shares and means of a device's outcomes."""
    told: dict[str, Any] = {
        "rows": len(outcomes),
        "exact": round(fmean(o.exact for o in outcomes), 4),
        "steps": round(fmean(o.steps for o in outcomes), 2),
        "passes": round(fmean(o.passes for o in outcomes), 2),
        "settled": round(fmean(o.settled for o in outcomes), 4),
        "ms": round(fmean(o.ms for o in outcomes), 1),
        "right length": round(fmean(o.made == o.tokens for o in outcomes), 4),
    }
    for name, numbers in (
        ("score", [(o.exact, o.score) for o in outcomes]),
        ("doubt", [(o.exact, -o.doubt) for o in outcomes if o.doubt is not None]),
    ):
        right, wrong = ([n for exact, n in numbers if exact is kind] for kind in (True, False))
        told[f"{name} tells apart"] = tells_apart(right, wrong)
    for low, high in BUCKETS:
        within = [o.exact for o in outcomes if low <= o.tokens <= high]
        told[f"exact {low}-{high}"] = round(fmean(within), 4) if within else None
    return told


def line(name: str, told: dict[str, Any]) -> str:
    """Return a line of the table."""
    shares = "".join(
        "      -" if told[f"exact {a}-{b}"] is None else f"{told[f'exact {a}-{b}'] * 100:7.1f}"
        for a, b in BUCKETS
    )
    return (
        f"{name:<26}{told['exact'] * 100:7.1f}{shares}{told['passes']:8.1f}"
        f"{told['settled'] * 100:9.0f}{told['ms']:8.0f}"
        f"{told['right length'] * 100:8.0f}{told['score tells apart'] or 0:8.2f}"
        f"{told['doubt tells apart'] or 0:8.2f}"
    )


def main() -> None:
    """Measure the devices asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", action="append", choices=NAMES, help="all of them without")
    parser.add_argument("--out", type=Path, help="a JSON file for every row's outcome")
    arguments = parser.parse_args()
    rows = language.rows(arguments.seed, arguments.rows)
    engine = load(arguments.model, arguments.threads)
    heads = "".join(f"{f'{a}-{b}':>7}" for a, b in BUCKETS)
    print(
        f"{'exact match, %':<26}{'all':>7}{heads}{'passes':>8}{'settled':>9}{'ms':>8}"
        f"{'length':>8}{'score':>8}{'doubt':>8}"
    )
    kept: dict[str, Any] = {}
    for name in arguments.device or NAMES:
        outcomes = measure_named(engine, rows, name, arguments.seed)
        told = summary(outcomes)
        print(line(name, told), flush=True)
        kept[name] = told | {"outcomes": [asdict(o) for o in outcomes]}
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

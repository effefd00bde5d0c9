"""Memory over many requests of every kind stays where it is: of the process, and in tensors.

Counts are of tensors that are reachable, which does not depend on the machine; resident memory has
a bound that only something which grows with the requests can pass.
"""

from __future__ import annotations

import gc
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from tiny_canvas import tiny_folder  # noqa: E402

from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.engine.base import Answer, Engine  # noqa: E402
from dgemma_runtime.job import Job, JobCancelled  # noqa: E402
from dgemma_runtime.memory import resident_mb  # noqa: E402
from dgemma_wire.errors import DenoiseFailed  # noqa: E402
from dgemma_wire.messages import (  # noqa: E402
    Clamped,
    Denoise,
    Draft,
    Free,
    Renoise,
    Request,
    Weigh,
)
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch

REQUESTS, WARM = 200, 60
GROWTH_MB = 48
"""What resident memory may gain over the requests after the warm ones; a request that left its
logits behind, 49152 numbers for each of some positions, would gain ten times as much."""
SPARE = 20
"""Tensors by which one state may differ from another; a leak leaves one for each request."""
KINDS = ("fill", "candidates", "renoise", "causal", "weigh", "cancelled", "late")


class Caller:
    """Makes requests of every kind in turn, behind prefixes of many lengths."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.rng = random.Random(3)
        self.ended: Counter[str] = Counter()

    def denoise(self, **more: Any) -> Denoise:
        fields: dict[str, Any] = {
            "id": 1,
            "document": "d",
            "prefix": "x = f(1)\n" * self.rng.randrange(1, 30) + "y = ",
            "segments": (Free(tokens=self.rng.randrange(2, 9)), Clamped(text="\n")),
            "max_steps": 2,
            "seed": self.rng.randrange(100),
        }
        return Denoise(**(fields | more))

    def answer(self, request: Request, cancelled_after: int | None = None) -> Answer:
        job = Job(0, request, time.monotonic())
        if cancelled_after == 0:
            job.cancelled.set()

        def on_draft(_: Draft) -> None:
            job.cancelled.set()

        return self.engine.denoise(job, on_draft)

    def one(self, kind: str) -> None:
        try:
            match kind:
                case "candidates":
                    self.answer(self.denoise(candidates=3))
                case "renoise":
                    found = self.answer(self.denoise()).candidates[0]
                    spans = ((Free(tokens=3), Clamped(text=")")),)
                    self.answer(Renoise(id=2, document="d", draft=found.draft, spans=spans))
                case "causal":
                    self.answer(self.denoise(causal=True, guess="f(2)"))
                case "weigh":
                    self.answer(
                        Weigh(id=1, document="d", prefix="x = ", texts=("f(1)", "2"), suffix="\n")
                    )
                case "cancelled":
                    late = self.rng.random() < 0.5
                    ask = self.denoise(max_steps=6, draft_every_ms=0 if late else None)
                    self.answer(ask, None if late else 0)
                case "late":
                    self.answer(self.denoise(deadline_ms=0))
                case _:
                    self.answer(self.denoise())
        except JobCancelled:
            self.ended["cancelled"] += 1
        except DenoiseFailed as error:
            self.ended[str(error.code)] += 1
        else:
            self.ended["answered"] += 1


def live_tensors() -> Counter[tuple[int, ...]]:
    """Count the tensors that are reachable, by shape."""
    gc.collect()
    found = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
    return Counter(tuple(each.shape) for each in found)


def vocabulary_wide() -> int:
    """Count the tensors that are as wide as the vocabulary: embeddings and logits."""
    return sum(count for shape, count in live_tensors().items() if 49152 in shape)


def test_requests_of_every_kind_leave_nothing_behind(tmp_path: Path) -> None:
    settings = RuntimeSettings(
        model=str(tiny_folder(tmp_path)), device="cpu", dtype="float32", threads=1
    )
    engine = make_engine(settings)
    others = vocabulary_wide()  # of other tests
    engine.load(lambda _: None)
    assert vocabulary_wide() > others
    caller = Caller(engine)
    for number in range(WARM):
        caller.one(KINDS[number % len(KINDS)])
    threads = threading.active_count()
    before, resident = sum(live_tensors().values()), resident_mb()
    for number in range(WARM, REQUESTS):
        caller.one(KINDS[number % len(KINDS)])
    # What is kept of the last prefixes and drafts is bounded, and was full before.
    after = live_tensors()
    assert sum(after.values()) <= before + SPARE, after.most_common(5)
    assert resident_mb() - resident <= GROWTH_MB
    assert threading.active_count() <= threads
    assert {"answered", "cancelled", "deadline"} <= set(caller.ended)
    assert sum(caller.ended.values()) == REQUESTS
    engine.unload()
    assert vocabulary_wide() <= others

"""The device thread over a real model: what joins and who leaves changes nobody else's answer."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from tiny_canvas import tiny_folder  # noqa: E402

from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.engine.base import Engine  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.worker import Answered, Drafted, Ended, Event, Worker  # noqa: E402
from dgemma_wire.errors import FailureCode  # noqa: E402
from dgemma_wire.messages import Clamped, Denoise, Free  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tiny_folder(tmp_path_factory.mktemp("tiny"))
    engine = make_engine(RuntimeSettings(model=str(folder), device="cpu", dtype="float32"))
    engine.load(lambda progress: None)
    return engine


def job(peer: int) -> Job:
    request = Denoise(
        id=peer,
        document="d",
        prefix="def f(a):\n    return " * peer,
        segments=(Free(), Clamped(text="\n\nprint(f(1))\n")),
        seed=peer,
        draft_every_ms=0,
    )
    return Job(peer, request, time.monotonic())


def ends_of(
    engine: Engine, first: list[Job], number: int, on_draft: Callable[[Worker, Drafted], None]
) -> dict[Job, Answered | Ended]:
    """Run jobs and what ``on_draft`` orders, to the end of ``number`` of them."""
    ended: queue.SimpleQueue[Answered | Ended] = queue.SimpleQueue()

    def post(event: Event) -> None:
        if isinstance(event, Drafted):
            on_draft(worker, event)  # between two steps: it is the device thread that posts
        elif isinstance(event, Answered | Ended):
            ended.put(event)

    worker = Worker(engine, post)
    worker.run(first)
    ends = [ended.get(timeout=PATIENCE_S) for _ in range(number)]
    worker.stop(PATIENCE_S)
    return {end.job: end for end in ends}


def nothing(_: Worker, __: Drafted) -> None:
    pass


def test_one_joins_and_the_other_is_cancelled(engine: Engine) -> None:
    assert engine.together > 1
    (alone,) = ends_of(engine, [job(2)], 1, nothing).values()
    assert isinstance(alone, Answered)
    first, second = job(1), job(2)
    drafted: list[Job] = []

    def on_draft(worker: Worker, event: Drafted) -> None:
        drafted.append(event.job)
        if len(drafted) == 1:
            worker.run([second])
        elif event.job is second:
            first.cancelled.set()

    ends = ends_of(engine, [first], 2, on_draft)
    assert list(ends) == [first, second]
    gone, stayed = ends[first], ends[second]
    assert isinstance(gone, Ended)
    assert gone.code is FailureCode.CANCELLED
    after = drafted[drafted.index(second) + 1 :]
    assert after.count(first) <= 1  # one step at most
    assert second in after
    assert isinstance(stayed, Answered)
    (one,), (other,) = stayed.answer.candidates, alone.answer.candidates
    assert one.texts == other.texts

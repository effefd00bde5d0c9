"""Work that asks for passes: side by side, several jobs together, and what goes wrong in one."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from scripted_adapter import Prefix, TableAdapter  # noqa: E402
from torch import Tensor  # noqa: E402

from dgemma_runtime.engine.base import Answer  # noqa: E402
from dgemma_runtime.engine.passes import Asks, answer, predict, side_by_side  # noqa: E402
from dgemma_runtime.engine.prefix_cache import PrefixCache  # noqa: E402
from dgemma_runtime.engine.together import Begun, OutOfMemory, Together  # noqa: E402
from dgemma_runtime.job import Job, JobCancelled  # noqa: E402
from dgemma_runtime.models.base import CanvasPass  # noqa: E402
from dgemma_wire.messages import Denoise, Free, Timings  # noqa: E402

pytestmark = pytest.mark.torch

NOTHING = Timings(
    queue_ms=0, layout_ms=0, prefill_ms=0, step_ms=(), total_ms=0, prefix_tokens=0, cached_tokens=0
)


class Batching(TableAdapter):
    """Says what it was asked together; runs out of memory above a number of canvases."""

    def __init__(self, room: int = 99) -> None:
        super().__init__(lambda canvas, rows: canvas[rows, None].float())
        self.room = room
        self.sizes: list[int] = []

    def denoise_together(self, passes: Sequence[CanvasPass]) -> list[Tensor]:
        self.sizes.append(len(passes))
        if len(passes) > self.room:
            raise torch.OutOfMemoryError("too many")
        return [self.denoise(each.canvas, each.prefix, each.rows, None) for each in passes]

    def denoise(
        self, canvas: Tensor, prefix: object, rows: Tensor, feedback: Tensor | None
    ) -> Tensor:
        if self.room == 0:
            raise torch.OutOfMemoryError("any is too many")
        return super().denoise(canvas, prefix, rows, feedback)  # type: ignore[arg-type]


def a_pass(value: int) -> CanvasPass:
    return CanvasPass(torch.tensor([value]), Prefix(), torch.tensor([0]))


def count(first: int, passes: int, wide: int = 1) -> Asks[list[float]]:
    """Ask for some passes, ``wide`` at a time; what comes back is what was asked."""
    got: list[float] = []
    for number in range(passes):
        asked = [a_pass(first + 10 * number + extra) for extra in range(wide)]
        got += [float(logits) for logits in (yield asked)]
    return got


def test_work_runs_to_its_end() -> None:
    assert answer(Batching(), count(1, 3)) == [1, 11, 21]
    assert answer(Batching(), count(1, 2, wide=2)) == [1, 2, 11, 12]


def test_a_model_that_reads_one_canvas_is_asked_one_by_one() -> None:
    adapter = TableAdapter(lambda canvas, rows: canvas[rows, None].float())
    assert [float(each) for each in predict(adapter, [a_pass(3), a_pass(4)])] == [3, 4]


def test_work_side_by_side_shares_its_passes_and_keeps_its_results_apart() -> None:
    adapter = Batching()
    work = [count(100, 1), count(200, 3, wide=2), count(300, 2)]
    assert answer(adapter, side_by_side(work)) == [
        [100],
        [200, 201, 210, 211, 220, 221],
        [300, 310],
    ]
    assert adapter.sizes == [4, 3, 2]
    assert answer(adapter, side_by_side([])) == []


def test_a_pass_of_many_canvases_is_made_of_some_at_a_time() -> None:
    adapter = Batching()
    found = predict(adapter, [a_pass(value) for value in range(20)])
    assert [float(each) for each in found] == list(range(20))
    assert adapter.sizes == [8, 8, 4]


def test_work_side_by_side_is_closed_when_one_of_it_fails() -> None:
    closed: list[str] = []

    def waits() -> Asks[None]:
        try:
            while True:
                yield [a_pass(1)]
        finally:
            closed.append("waits")

    def fails() -> Asks[None]:
        yield [a_pass(2)]
        raise JobCancelled

    with pytest.raises(JobCancelled):
        answer(Batching(), side_by_side([waits(), fails()]))
    assert closed == ["waits"]


def job(number: int) -> Job:
    request = Denoise(id=number, document=str(number), prefix="", segments=(Free(),))
    return Job(number, request, time.monotonic())


def of(passes: int, wide: int = 1, error: Exception | None = None) -> Asks[Answer]:
    yield from count(0, passes, wide)
    if error is not None:
        raise error
    return Answer((), NOTHING)


def run(
    adapter: Batching, work: dict[int, Asks[Answer]]
) -> tuple[list[tuple[int, str]], Together, list[str]]:
    """The jobs in the order of their ends, with what they ended with."""
    freed: list[str] = []
    jobs = {number: job(number) for number in work}
    together = Together(lambda each: Begun(adapter, work[each.peer]), lambda: freed.append("freed"))
    ended = together.add(list(jobs.values()))
    while together:
        ended += together.round()
    return [(each.peer, type(what).__name__) for each, what in ended], together, freed


def test_jobs_share_rounds_and_end_for_themselves() -> None:
    adapter = Batching()
    work = {1: of(3), 2: of(1), 3: of(0), 4: of(2, error=ValueError("its own"))}
    ended, _, freed = run(adapter, work)
    assert ended == [(3, "Answer"), (2, "Answer"), (4, "ValueError"), (1, "Answer")]
    assert adapter.sizes == [3, 2]  # and the last pass alone
    assert not freed


def test_a_job_that_cannot_begin_leaves_the_others() -> None:
    def begin(each: Job) -> Begun:
        if each.peer == 1:
            raise KeyError("wrong")
        return Begun(Batching(), of(1))

    together = Together(begin, lambda: None)
    ((first, outcome),) = together.add([job(1), job(2)])
    assert (first.peer, type(outcome)) == (1, KeyError)
    assert [each.peer for each, _ in together.round()] == [2]


def test_a_pass_of_several_jobs_that_does_not_fit_is_made_for_each() -> None:
    adapter = Batching(room=1)
    ended, _, freed = run(adapter, {1: of(2), 2: of(2)})
    assert ended == [(1, "Answer"), (2, "Answer")]
    assert freed == ["freed"]  # and they stay apart, instead of failing again
    assert adapter.sizes == [2]
    assert len(adapter.canvases) == 4


def test_canvases_of_one_job_that_do_not_fit_are_read_one_by_one() -> None:
    adapter = Batching(room=1)
    ended, _, _ = run(adapter, {1: of(1, wide=3)})
    assert ended == [(1, "Answer")]
    assert len(adapter.canvases) == 3


def test_what_never_fits_ends_with_that_and_the_next_smaller_one_works() -> None:
    adapter = Batching(room=0)
    ended, _, freed = run(adapter, {1: of(1)})
    assert ended == [(1, OutOfMemory.__name__)]
    assert freed
    adapter.room = 1
    assert run(adapter, {2: of(1)})[0] == [(2, "Answer")]


def test_leaving_a_group_closes_its_work() -> None:
    closed: list[int] = []

    def waits() -> Asks[Answer]:
        try:
            yield [a_pass(1)]
        finally:
            closed.append(1)
        raise AssertionError("it was left")

    together = Together(lambda _: Begun(Batching(), waits()), lambda: None)
    together.add([job(1)])
    together.close()
    assert closed == [1]
    assert not len(together)


def test_a_prefix_that_is_read_is_neither_cut_nor_grown() -> None:
    adapter = TableAdapter(lambda canvas, rows: torch.zeros(len(rows), 4))
    cache = PrefixCache(adapter, 4)
    with cache.held(range(10), lambda: None) as (first, _):
        assert isinstance(first, Prefix)
        with cache.held(range(10), lambda: None) as (same, cached):
            assert same is first
            assert cached == 10
        with cache.held([*range(10), 11], lambda: None) as (longer, cached):
            assert cached == 10  # copied, not read again
            assert longer.length == 11
        with cache.held(range(7), lambda: None) as (shorter, cached):
            assert cached == 7
            assert shorter.length == 7
        assert first.ids == tuple(range(10))
    state, cached = cache.encode([*range(10), 12], lambda: None)
    assert cached == 10
    assert state is first or state.length == 11  # nobody reads any of them now

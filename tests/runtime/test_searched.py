"""Spans of no named length, through the engine, on a trained model that no other length serves."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "toy"))

import language  # noqa: E402
import measure  # noqa: E402

from dgemma_runtime.engine import loop  # noqa: E402
from dgemma_runtime.engine.diffusion import DiffusionEngine  # noqa: E402
from dgemma_runtime.engine.state import Problem, State  # noqa: E402
from dgemma_runtime.job import Job, JobCancelled  # noqa: E402
from dgemma_runtime.models.base import LengthSearch  # noqa: E402
from dgemma_wire.errors import DenoiseFailed, FailureCode  # noqa: E402
from dgemma_wire.messages import Candidate, Clamped, Denoise, Draft, Free, Kept, Renoise  # noqa: E402

pytestmark = pytest.mark.torch

ROWS = language.rows(411, 24)


class Clock:
    """Stands still, unless told to pass with every look."""

    def __init__(self) -> None:
        self.now = 100.0
        self.tick = 0.0

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@pytest.fixture(scope="module")
def loaded() -> DiffusionEngine:
    engine = measure.load(measure.MODEL)
    assert isinstance(engine, DiffusionEngine)
    return engine


@pytest.fixture
def clock(loaded: DiffusionEngine) -> Clock:
    return Clock()


@pytest.fixture
def engine(loaded: DiffusionEngine, clock: Clock) -> DiffusionEngine:
    with mock.patch.object(loaded, "_clock", clock):
        yield loaded


def ask(
    engine: DiffusionEngine,
    number: int,
    on_draft: Callable[[Draft], None] = lambda draft: None,
    cancelled: threading.Event | None = None,
    **changes: object,
) -> tuple[Candidate, ...]:
    row = ROWS[number]
    fields: dict[str, object] = {"seed": number} | changes
    segments = (Free(), Clamped(text=row.suffix))
    request = Denoise(document="d", prefix=row.prefix, segments=segments, **fields)  # type: ignore[arg-type]
    job = Job(1, request, 100.0)
    if cancelled is not None:
        job.cancelled = cancelled
    return engine.denoise(job, on_draft).candidates


def test_a_searched_length_is_mostly_the_right_one(engine: DiffusionEngine) -> None:
    texts = [ask(engine, number)[0].texts[0] for number in range(len(ROWS))]
    right = sum(text == row.middle for text, row in zip(texts, ROWS, strict=True))
    assert right >= 0.6 * len(ROWS)  # 0.78 on more rows; of a span of any one length less than 0.1


def test_candidates_are_different_lengths_and_the_best_comes_first(engine: DiffusionEngine) -> None:
    found = ask(engine, 0, candidates=4)
    assert 2 <= len(found) <= 4
    assert len({candidate.texts for candidate in found}) == len(found)
    assert found[0].texts == ask(engine, 0)[0].texts
    assert len({len(candidate.tokens[0]) for candidate in found}) > 1
    assert all(candidate.score <= 0 for candidate in found)


def test_the_same_seed_finds_the_same(engine: DiffusionEngine) -> None:
    one, other = ([(c.texts, c.score) for c in ask(engine, 3, candidates=3)] for _ in range(2))
    assert one == other


def test_everything_clamped_stays_at_every_step_of_a_race(engine: DiffusionEngine) -> None:
    seen: list[tuple[Problem, State]] = []
    real = loop.advance

    def advance(*arguments: object) -> State:
        after = real(*arguments)  # type: ignore[arg-type]
        seen.append((arguments[2], after))  # type: ignore[arg-type]
        return after

    with mock.patch.object(loop, "advance", advance):
        ask(engine, 1)
    assert len({len(problem.rows) for problem, _ in seen}) >= 24
    for problem, after in seen:
        known = ~problem.free
        assert torch.equal(after.tokens[known], problem.known[known])
        assert torch.equal(after.best[known], problem.known[known])


def test_a_race_over_its_deadline_answers_with_the_best_whole_draft(
    engine: DiffusionEngine, clock: Clock
) -> None:
    clock.tick = 0.001
    (found,) = ask(engine, 2, deadline_ms=200)
    assert found.steps >= 1
    assert found.texts[0]
    clock.tick = 10.0
    with pytest.raises(DenoiseFailed) as caught:
        ask(engine, 2, deadline_ms=200)
    assert caught.value.code is FailureCode.DEADLINE


def test_a_cancelled_race_leaves_within_a_step(engine: DiffusionEngine) -> None:
    cancelled = threading.Event()
    passes: list[int] = []
    loaded = engine._loaded
    assert loaded is not None
    model = loaded.shelf.get("")
    real = type(model).denoise_together

    def count(self: object, each: object) -> object:
        passes.append(len(each))  # type: ignore[arg-type]
        cancelled.set()
        return real(self, each)  # type: ignore[arg-type]

    with mock.patch.object(type(model), "denoise_together", count), pytest.raises(JobCancelled):
        ask(engine, 4, cancelled=cancelled)
    assert len(passes) == 1


def test_a_race_shows_its_leader(engine: DiffusionEngine) -> None:
    drafts: list[Draft] = []
    ask(engine, 5, drafts.append, draft_every_ms=0)
    assert len(drafts) >= 3
    assert all(len(draft.spans) == 1 for draft in drafts)


def test_a_span_of_a_named_number_is_not_searched_for(engine: DiffusionEngine) -> None:
    row = ROWS[0]
    segments = (Free(tokens=row.tokens), Clamped(text=row.suffix))
    request = Denoise(document="d", prefix=row.prefix, segments=segments)
    with mock.patch("dgemma_runtime.engine.lengths.race", side_effect=AssertionError):
        (found,) = engine.denoise(Job(1, request, 100.0), lambda draft: None).candidates
    assert len(found.tokens[0]) == row.tokens


def test_a_searched_draft_can_be_gone_on_from(engine: DiffusionEngine) -> None:
    found = ask(engine, 6)[0]
    count = len(found.tokens[0])
    assert count > 1
    again = Renoise(
        document="d", draft=found.draft, spans=((Kept(start=0, end=1), Free(tokens=count - 1)),)
    )
    (other,) = engine.denoise(Job(1, again, 100.0), lambda draft: None).candidates
    first = found.tokens[0][0].chars
    assert other.texts[0][:first] == found.texts[0][:first]


@pytest.mark.parametrize(
    "search",
    [
        LengthSearch(grid=(2, 6, 12)),  # neighbours of the best one get a race of their own
        LengthSearch(through_tokens=24, through_steps=4),
        LengthSearch(suffix_tokens=0, leave_one_out=False, weigh_tokens=0),
        LengthSearch(weigh_tokens=0),
        LengthSearch(grid=(1,), keeps=(1,), slopes=(0.0,), patience=0),
    ],
)
def test_every_setting_of_a_search_fills_a_span(
    engine: DiffusionEngine, search: LengthSearch
) -> None:
    with mock.patch.object(engine, "_spec", replace(engine._spec, search=search)):
        found = ask(engine, 7, candidates=2)
    assert 1 <= len(found) <= 2
    assert all(candidate.texts[0] for candidate in found)

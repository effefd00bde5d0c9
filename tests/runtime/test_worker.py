"""The device thread: jobs that share the device end each for itself."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from support.scripted import ScriptedEngine

from dgemma_runtime.engine.base import JobDraftSink, MoreJobs, Outcome
from dgemma_runtime.job import Job
from dgemma_runtime.worker import Answered, Drafted, Ended, Event, Unloaded, Worker
from dgemma_wire.errors import FailureCode
from dgemma_wire.messages import Denoise, Free

PATIENCE_S = 20.0
ENDLESS = {"when": "endless", "text": "x", "steps": 10**9}
RULES = [
    ENDLESS,
    {"when": "long", "text": "long", "steps": 40},
    {"when": "short", "text": "short", "steps": 1},
    {"when": "raises", "raise": True},
    {"when": "memory", "code": "out_of_memory"},
    {"when": "dies", "dies": True},
]


class Events:
    """What a worker posted, and a way to wait for it."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def until(self, kind: type[Event], job: Job | None = None) -> list[Event]:
        """Everything up to the first event of a kind (and job), that one last."""
        seen: list[Event] = []
        while True:
            seen.append(event := self.queue.get(timeout=PATIENCE_S))
            if isinstance(event, kind) and (job is None or getattr(event, "job", None) is job):
                return seen

    def ends(self, jobs: Sequence[Job]) -> dict[Job, Answered | Ended]:
        """How jobs ended, in that order; everything until the last of them is used up."""
        found: dict[Job, Answered | Ended] = {}
        while len(found) < len(jobs):
            event = self.queue.get(timeout=PATIENCE_S)
            if isinstance(event, Answered | Ended):
                assert event.job in jobs
                assert event.job not in found
                found[event.job] = event
        return found


@contextmanager
def working(engine: ScriptedEngine) -> Iterator[tuple[Worker, Events]]:
    events = Events()
    worker = Worker(engine, events.queue.put)
    try:
        yield worker, events
    finally:
        worker.stop(PATIENCE_S)


def job(prefix: str, number: int = 1) -> Job:
    request = Denoise(
        id=number, document=prefix, prefix=prefix, segments=(Free(),), draft_every_ms=0
    )
    return Job(number, request, 0.0)


def text_of(event: Answered | Ended) -> str:
    assert isinstance(event, Answered), event
    return event.answer.candidates[0].texts[0]


def code_of(event: Answered | Ended) -> FailureCode:
    assert isinstance(event, Ended), event
    return event.code


def test_each_of_a_group_ends_when_it_is_done() -> None:
    long, short = job("long", 1), job("short", 2)
    with working(ScriptedEngine({"together": 2, "rules": RULES})) as (worker, events):
        worker.run([long, short])
        before = events.until(Answered)
        assert before[-1].job is short  # type: ignore[union-attr]
        assert {event.job for event in before[:-1] if isinstance(event, Drafted)} == {long, short}
        assert text_of(events.ends([long])[long]) == "long"


def test_one_joins_between_two_steps_of_another() -> None:
    endless, short = job("endless", 1), job("short", 2)
    with working(ScriptedEngine({"together": 2, "rules": RULES})) as (worker, events):
        worker.run([endless])
        events.until(Drafted, endless)
        worker.run([short])
        events.until(Answered, short)
        endless.cancelled.set()
        assert code_of(events.ends([endless])[endless]) is FailureCode.CANCELLED


def test_without_room_one_follows_another() -> None:
    jobs = [job("long", number) for number in range(5)]
    with working(ScriptedEngine({"rules": RULES})) as (worker, events):
        worker.run(jobs[:2])  # more than the engine takes: its room may have shrunk meanwhile
        worker.run(jobs[2:])
        assert list(events.ends(jobs)) == jobs


def test_cancelling_some_leaves_the_others_alone() -> None:
    cancelled, superseded, stays = (job("endless", number) for number in range(3))
    with working(ScriptedEngine({"together": 3, "rules": RULES})) as (worker, events):
        worker.run([cancelled, superseded, stays])
        events.until(Drafted, stays)
        cancelled.cancelled.set()
        superseded.superseded = True
        superseded.cancelled.set()
        ends = events.ends([cancelled, superseded])
        assert code_of(ends[cancelled]) is FailureCode.CANCELLED
        assert code_of(ends[superseded]) is FailureCode.SUPERSEDED
        events.until(Drafted, stays)
        stays.cancelled.set()
        events.until(Ended, stays)


@pytest.mark.parametrize(
    ("name", "code"),
    [("raises", FailureCode.ENGINE_FAULT), ("memory", FailureCode.OUT_OF_MEMORY)],
)
def test_how_a_member_failed_is_told(name: str, code: FailureCode) -> None:
    failing, long = job(name, 1), job("long", 2)
    with working(ScriptedEngine({"together": 2, "rules": RULES})) as (worker, events):
        worker.run([failing, long])
        ends = events.ends([failing, long])
    assert list(ends) == [failing, long]
    assert code_of(ends[failing]) is code
    assert text_of(ends[long]) == "long"


def test_an_engine_that_dies_ends_all_that_have_not_ended() -> None:
    short, dies, other = job("short", 1), job("dies", 2), job("endless", 3)
    with working(ScriptedEngine({"together": 3, "rules": RULES})) as (worker, events):
        worker.run([short, dies, other])
        ends = events.ends([short, dies, other])
        assert text_of(ends[short]) == "short"
        assert {code_of(ends[dies]), code_of(ends[other])} == {FailureCode.ENGINE_FAULT}
        assert isinstance(failed := ends[other], Ended)
        assert "Death" in failed.message
        again = job("short", 4)
        worker.run([again])
        assert text_of(events.ends([again])[again]) == "short"


class LosesJobs(ScriptedEngine):
    """Ends none of its jobs, or one of them twice."""

    twice = False

    def denoise_together(
        self, jobs: Sequence[Job], on_draft: JobDraftSink, more: MoreJobs
    ) -> Iterator[tuple[Job, Outcome]]:
        if self.twice:
            for _ in range(2):
                yield jobs[0], ValueError("of one job")


@pytest.mark.parametrize("twice", [False, True])
def test_an_engine_that_loses_count_is_found_out(*, twice: bool) -> None:
    jobs = [job("short", 1), job("short", 2)]
    engine = LosesJobs({"together": 2})
    engine.twice = twice
    with working(engine) as (worker, events):
        worker.run(jobs)
        assert {code_of(end) for end in events.ends(jobs).values()} == {FailureCode.ENGINE_FAULT}
        worker.unload()  # nothing more comes of them
        assert len(events.until(Unloaded)) == 1


class Gated(ScriptedEngine):
    """Waits for a sign before it asks for more, with room for one."""

    def __init__(self) -> None:
        super().__init__({"together": 3, "rules": RULES})
        self.asked: list[Sequence[Job]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def denoise_together(
        self, jobs: Sequence[Job], on_draft: JobDraftSink, more: MoreJobs
    ) -> Iterator[tuple[Job, Outcome]]:
        if not self.asked:
            self.begun.set()
            assert self.go.wait(PATIENCE_S)
            self.asked.append(came := more(1))
            jobs = [*jobs, *came]
        yield from super().denoise_together(jobs, on_draft, lambda _: ())


def test_what_waits_to_join_can_be_cancelled_and_keeps_its_order() -> None:
    engine = Gated()
    first, gone, second, third = (job("short", number) for number in range(4))
    with working(engine) as (worker, events):
        worker.run([first])
        assert engine.begun.wait(PATIENCE_S)
        worker.run([gone, second])
        worker.run([third])
        gone.cancelled.set()
        engine.go.set()
        ends = events.ends([first, gone, second, third])
    assert list(ends) == [gone, first, second, third]
    assert code_of(ends[gone]) is FailureCode.CANCELLED
    assert [list(came) for came in engine.asked] == [[second]]


def test_orders_that_come_while_others_end_are_not_lost() -> None:
    jobs = [job("short" if number % 3 else "raises", number) for number in range(200)]
    with working(ScriptedEngine({"together": 4, "rules": RULES})) as (worker, events):
        ordering = threading.Thread(target=lambda: [worker.run([one]) for one in jobs])
        ordering.start()
        ends = events.ends(jobs)
        ordering.join(PATIENCE_S)
    assert len(ends) == len(jobs)


def test_stopping_waits_for_no_group() -> None:
    endless: list[Job] = [job("endless", number) for number in range(3)]
    with working(ScriptedEngine({"together": 3, "rules": RULES})) as (worker, events):
        worker.run(endless)
        events.until(Drafted, endless[2])
        for one in endless:
            one.cancelled.set()
        worker.stop(PATIENCE_S)
        assert {code_of(end) for end in events.ends(endless).values()} == {FailureCode.CANCELLED}

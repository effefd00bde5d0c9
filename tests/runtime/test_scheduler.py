"""The scheduler as a state machine: newest wins, deadlines, fairness, one job at a time."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dgemma_runtime.job import Job
from dgemma_runtime.scheduler import Scheduler
from dgemma_wire.errors import FailureCode
from dgemma_wire.messages import Denoise, Free, Renoise


def ask(number: int, document: str = "d", deadline_ms: int | None = None) -> Denoise:
    return Denoise(
        id=number, document=document, prefix="", segments=(Free(),), deadline_ms=deadline_ms
    )


def test_the_newest_request_of_a_document_wins() -> None:
    scheduler = Scheduler()
    first, dropped = scheduler.submit(1, ask(1), 0.0)
    assert not dropped
    assert scheduler.next_job(0.0)[0] is first
    second, dropped = scheduler.submit(1, ask(2), 0.1)
    assert first.cancelled.is_set()
    assert first.superseded
    third, dropped = scheduler.submit(1, ask(3), 0.2)
    assert [(d.job, d.code) for d in dropped] == [(second, FailureCode.SUPERSEDED)]
    assert scheduler.next_job(0.2) == (None, [])  # one at a time
    scheduler.finish(first)
    assert scheduler.next_job(0.2)[0] is third


def test_going_on_from_a_draft_supersedes_and_is_superseded() -> None:
    scheduler = Scheduler()
    first, _ = scheduler.submit(1, ask(1), 0.0)
    scheduler.next_job(0.0)
    again = Renoise(id=2, document="d", draft=1, spans=((Free(tokens=1),),), deadline_ms=50)
    second, _ = scheduler.submit(1, again, 0.1)
    assert first.superseded
    assert second.deadline == pytest.approx(0.15)
    _, dropped = scheduler.submit(1, ask(3), 0.1)
    assert [(d.job, d.code) for d in dropped] == [(second, FailureCode.SUPERSEDED)]


def test_other_documents_and_other_peers_are_left_alone() -> None:
    scheduler = Scheduler()
    scheduler.submit(1, ask(1, "a"), 0)
    scheduler.submit(1, ask(2, "b"), 0)
    _, dropped = scheduler.submit(2, ask(1, "a"), 0)
    assert not dropped
    assert scheduler.queued == 3


def test_peers_take_turns() -> None:
    scheduler = Scheduler()
    for number in range(4):
        scheduler.submit(1, ask(number, str(number)), 0)
    scheduler.submit(2, ask(0, "x"), 0)
    order: list[int] = []
    while (job := scheduler.next_job(0)[0]) is not None:
        order.append(job.peer)
        scheduler.finish(job)
    assert order == [1, 2, 1, 1, 1]


def test_a_deadline_passes_in_the_queue() -> None:
    scheduler = Scheduler()
    late, _ = scheduler.submit(1, ask(1, "a", deadline_ms=100), 0)
    fine, _ = scheduler.submit(1, ask(2, "b", deadline_ms=5000), 0)
    job, dropped = scheduler.next_job(1.0)
    assert job is fine
    assert [(d.job, d.code) for d in dropped] == [(late, FailureCode.DEADLINE)]


def test_cancel_finds_waiting_and_running_jobs() -> None:
    scheduler = Scheduler()
    running, _ = scheduler.submit(1, ask(1, "a"), 0)
    waiting, _ = scheduler.submit(1, ask(2, "b"), 0)
    scheduler.next_job(0)
    assert scheduler.cancel(1, 1) == []
    assert running.cancelled.is_set()
    assert not running.superseded
    assert [d.job for d in scheduler.cancel(1, 2)] == [waiting]
    assert scheduler.cancel(1, 99) == []
    assert scheduler.cancel(2, 1) == []  # another peer's id


def test_a_flood_drops_the_oldest() -> None:
    scheduler = Scheduler(max_waiting=3)
    dropped = [scheduler.submit(1, ask(n, str(n)), 0)[1] for n in range(5)]
    assert [d.job.request.id for drops in dropped for d in drops] == [0, 1]
    assert scheduler.queued == 3


class Machine(RuleBasedStateMachine):
    """Whatever happens, every job leaves exactly once."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(max_waiting=4)
        self.now = 0.0
        self.ids = 0
        self.inside: dict[int, Job] = {}

    def left(self, jobs: list[Job]) -> None:
        for job in jobs:
            assert self.inside.pop(id(job)) is job

    @rule(
        peer=st.integers(1, 3), document=st.sampled_from("ab"), wait=st.sampled_from([None, 5, 500])
    )
    def submit(self, peer: int, document: str, wait: int | None) -> None:
        self.ids += 1
        job, dropped = self.scheduler.submit(peer, ask(self.ids, document, wait), self.now)
        self.inside[id(job)] = job
        self.left([d.job for d in dropped])

    @rule(step=st.floats(0, 1))
    def run(self, step: float) -> None:
        self.now += step
        before = self.scheduler.running
        job, dropped = self.scheduler.next_job(self.now)
        self.left([d.job for d in dropped])
        assert job is None or before is None
        if job is not None:
            assert job.deadline is None or job.deadline > self.now

    @rule()
    def finish(self) -> None:
        job = self.scheduler.running
        if job is not None:
            self.scheduler.finish(job)
            self.left([job])

    @rule(peer=st.integers(1, 3), back=st.integers(0, 5))
    def cancel(self, peer: int, back: int) -> None:
        self.left([d.job for d in self.scheduler.cancel(peer, self.ids - back)])

    @rule(peer=st.integers(1, 3))
    def forget(self, peer: int) -> None:
        self.scheduler.forget(peer)
        for key, job in list(self.inside.items()):
            if job.peer == peer and job is not self.scheduler.running:
                del self.inside[key]

    @invariant()
    def counted(self) -> None:
        running = self.scheduler.running
        assert self.scheduler.queued == len(self.inside) - (running is not None)
        waiting = [j for j in self.inside.values() if j is not running]
        keys = [(j.peer, j.request.document) for j in waiting]
        assert len(keys) == len(set(keys))


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

"""The scheduler as a state machine: newest wins, deadlines, fairness, who shares the device."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dgemma_runtime.job import Job
from dgemma_runtime.scheduler import Scheduler, can_share
from dgemma_wire.errors import FailureCode
from dgemma_wire.messages import Denoise, Free, Renoise, Request, Rewrite, Weigh


def ask(
    number: int, document: str = "d", deadline_ms: int | None = None, **more: object
) -> Denoise:
    return Denoise(
        id=number,
        document=document,
        prefix="",
        segments=(Free(),),
        deadline_ms=deadline_ms,
        **more,  # type: ignore[arg-type]
    )


def weigh(number: int, document: str = "d") -> Weigh:
    return Weigh(id=number, document=document, prefix="", texts=("a",), suffix="")


def renoise(number: int, document: str = "d") -> Renoise:
    return Renoise(id=number, document=document, draft=1, spans=((Free(tokens=1),),))


def start(scheduler: Scheduler, room: int = 1, now: float = 0.0) -> list[Job]:
    started, dropped = scheduler.next_jobs(now, room)
    assert not dropped
    return started


def end_all(scheduler: Scheduler) -> None:
    for job in list(scheduler.running):
        scheduler.finish(job)


def test_the_newest_request_of_a_document_wins() -> None:
    scheduler = Scheduler()
    first, dropped = scheduler.submit(1, ask(1), 0.0)
    assert not dropped
    assert start(scheduler) == [first]
    second, dropped = scheduler.submit(1, ask(2), 0.1)
    assert first.cancelled.is_set()
    assert first.superseded
    third, dropped = scheduler.submit(1, ask(3), 0.2)
    assert [(d.job, d.code) for d in dropped] == [(second, FailureCode.SUPERSEDED)]
    assert not start(scheduler)  # one at a time
    scheduler.finish(first)
    assert start(scheduler) == [third]


def test_going_on_from_a_draft_supersedes_and_is_superseded() -> None:
    scheduler = Scheduler()
    first, _ = scheduler.submit(1, ask(1), 0.0)
    start(scheduler)
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
    while started := start(scheduler):
        order += [job.peer for job in started]
        end_all(scheduler)
    assert order == [1, 2, 1, 1, 1]


def test_a_deadline_passes_in_the_queue() -> None:
    scheduler = Scheduler()
    late, _ = scheduler.submit(1, ask(1, "a", deadline_ms=100), 0)
    fine, _ = scheduler.submit(1, ask(2, "b", deadline_ms=5000), 0)
    started, dropped = scheduler.next_jobs(1.0, 2)
    assert started == [fine]
    assert [(d.job, d.code) for d in dropped] == [(late, FailureCode.DEADLINE)]


def test_cancel_finds_waiting_and_running_jobs() -> None:
    scheduler = Scheduler()
    running, _ = scheduler.submit(1, ask(1, "a"), 0)
    waiting, _ = scheduler.submit(1, ask(2, "b"), 0)
    start(scheduler)
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


REWRITE = Rewrite(original="a", instruction="b")


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (ask(1), ask(2), True),
        (ask(1), renoise(2), True),
        (ask(1, adapter="a"), ask(2, adapter="a"), True),
        (ask(1, adapter="a"), ask(2), False),
        (ask(1, adapter="a"), renoise(2), True),  # whose draft is of which adapter, nobody knows
        (ask(1), ask(2, rewrite=REWRITE), True),
        (ask(1), ask(2, causal=True), False),
        (ask(1), weigh(2), False),
        (renoise(1), weigh(2), False),
        (weigh(1), weigh(2), False),
    ],
)
def test_who_can_share(one: Request, other: Request, *, shared: bool) -> None:
    assert can_share(one, other) is can_share(other, one) is shared


def test_a_group_takes_of_every_peer_before_it_takes_of_one_twice() -> None:
    scheduler = Scheduler()
    for number in range(3):
        scheduler.submit(1, ask(number, str(number)), 0)
    scheduler.submit(2, ask(0), 0)
    scheduler.submit(3, ask(0), 0)
    assert [(j.peer, j.request.id) for j in start(scheduler, 4)] == [(1, 0), (2, 0), (3, 0), (1, 1)]
    assert scheduler.queued == 1
    assert not start(scheduler, 4)


def test_who_cannot_share_is_passed_over_once() -> None:
    scheduler = Scheduler()
    scheduler.submit(1, ask(1), 0)
    scheduler.submit(2, weigh(1), 0)
    scheduler.submit(3, ask(1, adapter="a"), 0)
    scheduler.submit(4, ask(1), 0)
    assert [job.peer for job in start(scheduler, 8)] == [1, 4]
    scheduler.submit(5, ask(1), 0)
    assert not start(scheduler, 8)  # it could share, but peer 2 has waited for its turn
    end_all(scheduler)
    assert [job.peer for job in start(scheduler, 8)] == [2]
    end_all(scheduler)
    assert [job.peer for job in start(scheduler, 8)] == [3]
    end_all(scheduler)
    assert [job.peer for job in start(scheduler, 8)] == [5]


def test_a_job_joins_those_that_run_and_takes_the_place_of_one_that_ended() -> None:
    scheduler = Scheduler()
    long, _ = scheduler.submit(1, ask(1, rewrite=REWRITE), 0)
    assert start(scheduler, 2) == [long]
    fill, _ = scheduler.submit(1, ask(2, "other"), 0)
    assert start(scheduler, 2, now=0.5) == [fill]
    assert fill.started == 0.5
    third, _ = scheduler.submit(2, ask(1), 0)
    assert not start(scheduler, 2)
    scheduler.finish(fill)
    assert start(scheduler, 2) == [third]


def test_nothing_joins_what_must_be_alone() -> None:
    scheduler = Scheduler()
    scheduler.submit(1, weigh(1), 0)
    start(scheduler, 8)
    scheduler.submit(2, ask(1), 0)
    scheduler.submit(3, weigh(1), 0)
    assert not start(scheduler, 8)


def test_superseding_and_cancelling_a_running_job_leaves_the_others_alone() -> None:
    scheduler = Scheduler()
    for peer in (1, 2, 3):
        scheduler.submit(peer, ask(1), 0)
    first, second, third = start(scheduler, 8)
    newer, _ = scheduler.submit(1, ask(2), 0)
    assert scheduler.cancel(2, 1) == []
    assert (first.superseded, second.superseded, third.superseded) == (True, False, False)
    assert [job.cancelled.is_set() for job in (first, second, third)] == [True, True, False]
    assert start(scheduler, 8) == [newer]  # it need not wait for the end of the older one
    scheduler.forget(3)
    assert third.cancelled.is_set()
    assert not newer.cancelled.is_set()


MAKERS = {
    "fill": ask,
    "adapted": lambda number, document: ask(number, document, adapter="a"),
    "rewrite": lambda number, document: ask(number, document, rewrite=REWRITE),
    "again": renoise,
    "weigh": weigh,
}
KINDS = st.sampled_from(sorted(MAKERS))
CROWD = 4


@given(
    asked=st.lists(st.tuples(st.integers(1, CROWD), KINDS), min_size=1, max_size=12),
    before=st.integers(0, 20),
    mine=KINDS,
    room=st.integers(1, 5),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_nobody_waits_for_more_groups_than_peers_are_ahead(
    asked: list[tuple[int, str]], before: int, mine: str, room: int, data: st.DataObject
) -> None:
    """However busy the others are, whatever they ask, and in whatever order their jobs end."""
    scheduler = Scheduler()
    numbers = itertools.count(1)
    endless = itertools.cycle(asked)

    def crowd(many: int) -> None:
        for peer, kind in itertools.islice(endless, many):
            number = next(numbers)
            scheduler.submit(peer, MAKERS[kind](number, str(number)), 0)

    crowd(before)
    start(scheduler, room)
    job, _ = scheduler.submit(CROWD + 1, MAKERS[mine](1, "d"), 0)
    groups = joined = 0
    while True:
        fresh = not scheduler.running
        started = start(scheduler, room)
        if job in started:
            break
        groups += fresh
        joined += 0 if fresh else len(started)
        assert groups <= CROWD
        assert joined <= CROWD
        scheduler.finish(data.draw(st.sampled_from(scheduler.running)))
        crowd(3)


class Machine(RuleBasedStateMachine):
    """Whatever happens, every job leaves exactly once, and only those share that can."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(max_waiting=4)
        self.room = 1
        self.now = 0.0
        self.ids = 0
        self.inside: dict[int, Job] = {}

    @initialize(room=st.integers(1, 4))
    def begin(self, room: int) -> None:
        self.room = room

    def left(self, jobs: list[Job]) -> None:
        for job in jobs:
            assert self.inside.pop(id(job)) is job

    @rule(
        peer=st.integers(1, 3),
        document=st.sampled_from("abc"),
        wait=st.sampled_from([None, 5, 500]),
        kind=KINDS,
    )
    def submit(self, peer: int, document: str, wait: int | None, kind: str) -> None:
        self.ids += 1
        request = msgspec.structs.replace(MAKERS[kind](self.ids, document), deadline_ms=wait)
        running = {job: job.cancelled.is_set() for job in self.scheduler.running}
        job, dropped = self.scheduler.submit(peer, request, self.now)
        self.inside[id(job)] = job
        self.left([d.job for d in dropped])
        for other, was in running.items():
            same = other.peer == peer and other.request.document == document
            assert other.cancelled.is_set() is (was or same)

    @rule(step=st.floats(0, 1))
    def run(self, step: float) -> None:
        self.now += step
        before = list(self.scheduler.running)
        started, dropped = self.scheduler.next_jobs(self.now, self.room)
        self.left([d.job for d in dropped])
        assert self.scheduler.running == before + started
        for job in started:
            assert job.deadline is None or job.deadline > self.now
        if not self.scheduler.running:
            assert not self.scheduler.queued  # a free device takes what there is

    @rule(which=st.integers(0, 3))
    def finish(self, which: int) -> None:
        if self.scheduler.running:
            job = self.scheduler.running[which % len(self.scheduler.running)]
            self.scheduler.finish(job)
            self.left([job])

    @rule(peer=st.integers(1, 3), back=st.integers(0, 5))
    def cancel(self, peer: int, back: int) -> None:
        named = [
            job
            for job in self.scheduler.running
            if (job.peer, job.request.id) == (peer, self.ids - back)
        ]
        others = [job for job in self.scheduler.running if job not in named]
        before = [job.cancelled.is_set() for job in others]
        self.left([d.job for d in self.scheduler.cancel(peer, self.ids - back)])
        assert all(job.cancelled.is_set() for job in named)
        assert [job.cancelled.is_set() for job in others] == before

    @rule(peer=st.integers(1, 3))
    def forget(self, peer: int) -> None:
        self.scheduler.forget(peer)
        for key, job in list(self.inside.items()):
            if job.peer == peer and job not in self.scheduler.running:
                del self.inside[key]

    @rule()
    def drain(self) -> None:
        self.left(self.scheduler.drain())
        assert all(job.cancelled.is_set() for job in self.scheduler.running)

    @invariant()
    def counted(self) -> None:
        running = self.scheduler.running
        assert len(running) <= self.room
        assert self.scheduler.queued == len(self.inside) - len(running)
        assert all(id(job) in self.inside for job in running)
        waiting = [j for j in self.inside.values() if j not in running]
        keys = [(j.peer, j.request.document) for j in waiting]
        assert len(keys) == len(set(keys))
        assert all(
            can_share(one.request, other.request)
            for one, other in itertools.combinations(running, 2)
        )


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

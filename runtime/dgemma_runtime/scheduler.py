"""Which jobs run next: a value that is told what happens and answers with what follows.

Sans-io: no socket, no thread, no clock (times come in as arguments). The rules:

* newest wins: a request supersedes the same peer's older one for the same document,
  whether that waits or runs;
* a job whose deadline passed while it waited is not started;
* peers take turns, oldest job first within a peer, so one busy editor cannot starve another;
* jobs that can share a pass run together: those that wait when the device is free, and those that
  come while it has room, until one that cannot share has its turn. Nothing waits for company.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from dgemma_runtime.job import Job
from dgemma_wire.errors import FailureCode
from dgemma_wire.messages import Denoise, Request, Weigh


@dataclass(frozen=True, slots=True)
class Dropped:
    """A job that ends without an answer, and why."""

    job: Job
    code: FailureCode
    message: str


def can_share(one: Request, other: Request) -> bool:
    """Return whether one pass of the model is likely to serve two requests.

    Both denoise a canvas, by the same canvas adapter as far as the requests tell: that of a
    ``Renoise`` is its draft's, and mostly the same for all. A fill and a rewrite share: where the
    model has an adapter of its own for rewrites they take their steps in turn, so that a long
    rewrite keeps no fill waiting.
    """
    if isinstance(one, Weigh) or isinstance(other, Weigh):
        return False
    plain = [request for request in (one, other) if isinstance(request, Denoise)]
    return not any(request.causal for request in plain) and (
        len({request.adapter for request in plain}) < 2
    )


@dataclass
class Scheduler:
    """The jobs of all peers.

    Attributes:
        max_waiting: Waiting jobs per peer; the oldest is dropped beyond them.
        running: The jobs on the device, in the order they were started; every two can share.
    """

    max_waiting: int = 64
    running: list[Job] = field(default_factory=list[Job])
    _waiting: dict[int, deque[Job]] = field(default_factory=dict[int, deque[Job]])
    _turns: deque[int] = field(default_factory=deque[int])

    @property
    def queued(self) -> int:
        """Number of jobs that wait."""
        return sum(len(jobs) for jobs in self._waiting.values())

    def submit(self, peer: int, request: Request, now: float) -> tuple[Job, list[Dropped]]:
        """Take a request; return its job and the jobs it drops from the queue.

        A running job that it supersedes is marked cancelled and reported when it ends.
        """
        dropped: list[Dropped] = []
        jobs = self._waiting.setdefault(peer, deque())
        for job in [job for job in jobs if job.request.document == request.document]:
            jobs.remove(job)
            dropped.append(
                Dropped(job, FailureCode.SUPERSEDED, "A newer request came for the same document.")
            )
        for job in self.running:
            if job.peer == peer and job.request.document == request.document:
                job.superseded = True
                job.cancelled.set()
        if len(jobs) >= self.max_waiting:
            dropped.append(
                Dropped(jobs.popleft(), FailureCode.SUPERSEDED, "Too many requests are waiting.")
            )
        job = Job(peer=peer, request=request, received=now)
        jobs.append(job)
        if peer not in self._turns:
            self._turns.append(peer)
        return job, dropped

    def cancel(self, peer: int, request_id: int) -> list[Dropped]:
        """Give up a request: drop it when it waits, mark it when it runs."""
        for job in self.running:
            if job.peer == peer and job.request.id == request_id:
                job.cancelled.set()
                return []
        jobs = self._waiting.get(peer, deque())
        for job in jobs:
            if job.request.id == request_id:
                jobs.remove(job)
                return [Dropped(job, FailureCode.CANCELLED, "The request was cancelled.")]
        return []

    def forget(self, peer: int) -> None:
        """Drop everything of a peer that is gone; nobody is left to be told."""
        self._waiting.pop(peer, None)
        if peer in self._turns:
            self._turns.remove(peer)
        for job in self.running:
            if job.peer == peer:
                job.cancelled.set()

    def next_jobs(self, now: float, room: int) -> tuple[list[Job], list[Dropped]]:
        """Take the jobs that start now, and those whose deadline has passed meanwhile.

        Args:
            now: The time.
            room: Most jobs on the device at once, those that run counted; at least 1.

        Returns:
            Jobs that can share with each other and with all that run.
        """
        started: list[Job] = []
        dropped: list[Dropped] = []
        joining = bool(self.running)
        passed_over: list[int] = []
        while self._turns and len(self.running) < room:
            peer = self._turns.popleft()
            job = self._oldest(peer, now, dropped)
            if job is None:
                self._waiting.pop(peer, None)
            elif all(can_share(each.request, job.request) for each in self.running):
                self._waiting[peer].popleft()
                self._turns.append(peer)
                job.started = now
                self.running.append(job)
                started.append(job)
            else:
                passed_over.append(peer)
                if joining:
                    break  # the group ends before anybody else gets ahead of this peer
        # They keep their turn: the first of them is the first of the next group.
        self._turns.extendleft(reversed(passed_over))
        return started, dropped

    def _oldest(self, peer: int, now: float, dropped: list[Dropped]) -> Job | None:
        """Return a peer's oldest waiting job that still has time, without taking it."""
        jobs = self._waiting.get(peer, deque())
        while jobs:
            deadline = jobs[0].deadline
            if deadline is None or deadline > now:
                return jobs[0]
            dropped.append(
                Dropped(jobs.popleft(), FailureCode.DEADLINE, "The deadline passed in the queue.")
            )
        return None

    def finish(self, job: Job) -> None:
        """Take note that a running job has left the device."""
        self.running.remove(job)

    def drain(self) -> list[Job]:
        """Take out every waiting job and mark the running ones cancelled: the process ends."""
        jobs = [job for waiting in self._waiting.values() for job in waiting]
        self._waiting.clear()
        self._turns.clear()
        for job in self.running:
            job.cancelled.set()
        return jobs

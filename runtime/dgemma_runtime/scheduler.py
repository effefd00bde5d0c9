"""Which job runs next: a value that is told what happens and answers with what follows.

Sans-io: no socket, no thread, no clock (times come in as arguments). The rules:

* newest wins: a request supersedes the same peer's older one for the same document,
  whether that waits or runs;
* a job whose deadline passed while it waited is not started;
* peers take turns, oldest job first within a peer, so one busy editor cannot starve another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from dgemma_runtime.job import Job
from dgemma_wire.errors import FailureCode
from dgemma_wire.messages import Request


@dataclass(frozen=True, slots=True)
class Dropped:
    """A job that ends without an answer, and why."""

    job: Job
    code: FailureCode
    message: str


@dataclass
class Scheduler:
    """The jobs of all peers.

    Attributes:
        max_waiting: Waiting jobs per peer; the oldest is dropped beyond them.
    """

    max_waiting: int = 64
    running: Job | None = None
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
        running = self.running
        if (
            running is not None
            and running.peer == peer
            and running.request.document == request.document
        ):
            running.superseded = True
            running.cancelled.set()
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
        running = self.running
        if running is not None and running.peer == peer and running.request.id == request_id:
            running.cancelled.set()
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
        if self.running is not None and self.running.peer == peer:
            self.running.cancelled.set()

    def next_job(self, now: float) -> tuple[Job | None, list[Dropped]]:
        """Take the job that runs now, and those whose deadline has passed meanwhile.

        Returns no job while one runs: there is one device.
        """
        dropped: list[Dropped] = []
        if self.running is not None:
            return None, dropped
        for _ in range(len(self._turns)):
            peer = self._turns[0]
            jobs = self._waiting.get(peer, deque())
            while jobs:
                job = jobs.popleft()
                if job.deadline is not None and job.deadline <= now:
                    dropped.append(
                        Dropped(job, FailureCode.DEADLINE, "The deadline passed in the queue.")
                    )
                    continue
                self._turns.rotate(-1)
                job.started = now
                self.running = job
                return job, dropped
            self._turns.popleft()
            self._waiting.pop(peer, None)
        return None, dropped

    def finish(self, job: Job) -> None:
        """Take note that the running job has left the device."""
        assert self.running is job
        self.running = None

    def drain(self) -> list[Job]:
        """Take out every waiting job and mark the running one cancelled: the process ends."""
        jobs = [job for waiting in self._waiting.values() for job in waiting]
        self._waiting.clear()
        self._turns.clear()
        if self.running is not None:
            self.running.cancelled.set()
        return jobs

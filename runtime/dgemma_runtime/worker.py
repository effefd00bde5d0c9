"""The one thread that touches the device.

It takes orders from a queue and reports every outcome through ``post``; it decides nothing and
knows no peers. The event loop's side of it is ``server``.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dgemma_runtime.engine.base import Answer, Device, Engine, LoadProgress, Outcome
from dgemma_runtime.job import Job, JobCancelled
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError
from dgemma_wire.messages import Draft

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is on the device."""

    device: Device


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """It is not, and ``message`` says why and what to do."""

    message: str


@dataclass(frozen=True, slots=True)
class Unloaded:
    """The device's memory is free again."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft of a running job."""

    job: Job
    draft: Draft


@dataclass(frozen=True, slots=True)
class Answered:
    """A running job is done."""

    job: Job
    answer: Answer


@dataclass(frozen=True, slots=True)
class Ended:
    """A running job left the device without an answer."""

    job: Job
    code: FailureCode
    message: str


Event: TypeAlias = LoadProgress | Loaded | LoadFailed | Unloaded | Drafted | Answered | Ended
_Order: TypeAlias = Callable[[], None]


class Worker:
    """Runs orders one after another on a thread of its own.

    Args:
        engine: What loads, unloads and denoises.
        post: Called on the worker's thread with every event; hands them to the event loop.
    """

    def __init__(self, engine: Engine, post: Callable[[Event], None]) -> None:
        self._engine = engine
        self._post = post
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        # The event loop appends, the device thread takes: both are single operations of a deque.
        self._jobs: deque[Job] = deque()
        # A daemon thread: a step that never returns must not keep a stopped process alive.
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    def load(self) -> None:
        """Order the model onto the device; ends in ``Loaded`` or ``LoadFailed``."""
        self._orders.put(self._load)

    def unload(self) -> None:
        """Order the device's memory freed; ends in ``Unloaded``."""
        self._orders.put(self._unload)

    def run(self, jobs: Sequence[Job]) -> None:
        """Order jobs; each ends in ``Answered`` or ``Ended``.

        They join those that run, between two steps, if the engine has room by then; else they
        follow. That they may share the device is the caller's to know.
        """
        self._jobs.extend(jobs)
        self._orders.put(self._denoise)

    def stop(self, timeout: float) -> None:
        """Let the order in hand finish, for at most ``timeout`` seconds, and end the thread."""
        self._orders.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            order()

    def _load(self) -> None:
        try:
            self._post(Loaded(self._engine.load(self._post)))
        except ModelError as err:
            log.warning("model not loaded: %s", err)
            self._post(LoadFailed(str(err)))
        except Exception as err:
            # The edge of the device thread: whatever a library raises becomes an answer.
            log.exception("loading the model failed")
            self._post(LoadFailed(f"Loading the model failed: {type(err).__name__}: {err}"))

    def _unload(self) -> None:
        try:
            self._engine.unload()
        except Exception:
            log.exception("unloading the model failed")
        self._post(Unloaded())

    def _denoise(self) -> None:
        """Run the jobs that were ordered, and those that come meanwhile, until none is left."""
        while jobs := self._take(max(1, self._engine.together)):
            self._denoise_together(jobs)

    def _take(self, room: int) -> list[Job]:
        """Take jobs out of the order, oldest first; those that nobody wants any more end here."""
        taken: list[Job] = []
        left: list[Job] = []
        for _ in range(len(self._jobs)):
            job = self._jobs.popleft()
            if job.cancelled.is_set():
                self._end(job, JobCancelled())
            elif len(taken) < room:
                taken.append(job)
            else:
                left.append(job)
        self._jobs.extendleft(reversed(left))
        return taken

    def _denoise_together(self, jobs: Sequence[Job]) -> None:
        under_way = set(jobs)

        def draft(job: Job, draft: Draft) -> None:
            self._post(Drafted(job, draft))

        def more(room: int) -> Sequence[Job]:
            came = self._take(room)
            under_way.update(came)
            return came

        try:
            for job, outcome in self._engine.denoise_together(jobs, draft, more):
                under_way.remove(job)  # an engine that ends a job twice has lost its way
                self._end(job, outcome)
                del outcome  # the traceback of an error holds the tensors of its step
            if under_way:
                raise RuntimeError(f"the engine forgot {len(under_way)} of its jobs")
        except Exception as err:
            # The edge of the device thread: whatever a library raises becomes an answer.
            for job in under_way:
                self._end_by_fault(job, err)

    def _end(self, job: Job, outcome: Outcome) -> None:
        match outcome:
            case Answer():
                self._post(Answered(job, outcome))
            case JobCancelled() if job.superseded:
                newer = "A newer request came for the same document."
                self._post(Ended(job, FailureCode.SUPERSEDED, newer))
            case JobCancelled():
                self._post(Ended(job, FailureCode.CANCELLED, "The request was cancelled."))
            case DenoiseFailed():
                self._post(Ended(job, outcome.code, str(outcome)))
            case Exception():
                self._end_by_fault(job, outcome)

    def _end_by_fault(self, job: Job, fault: Exception) -> None:
        log.error(
            "request %d of peer %d failed in the engine",
            job.request.id,
            job.peer,
            exc_info=fault,
        )
        # Only the kind of error travels: a library's text might quote source code.
        text = f"The engine failed with {type(fault).__name__}; the runtime's log has details."
        self._post(Ended(job, FailureCode.ENGINE_FAULT, text))

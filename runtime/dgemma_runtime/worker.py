"""The one thread that touches the device.

It takes orders from a queue and reports every outcome through ``post``; it decides nothing and
knows no peers. The event loop's side of it is ``server``.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from dgemma_runtime.engine.base import Answer, Device, Engine, LoadProgress
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
    """A draft of the running job."""

    job: Job
    draft: Draft


@dataclass(frozen=True, slots=True)
class Answered:
    """The running job is done."""

    job: Job
    answer: Answer


@dataclass(frozen=True, slots=True)
class Ended:
    """The running job left the device without an answer."""

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
        # A daemon thread: a step that never returns must not keep a stopped process alive.
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    def load(self) -> None:
        """Order the model onto the device; ends in ``Loaded`` or ``LoadFailed``."""
        self._orders.put(self._load)

    def unload(self) -> None:
        """Order the device's memory freed; ends in ``Unloaded``."""
        self._orders.put(self._unload)

    def run(self, job: Job) -> None:
        """Order a job; ends in ``Answered`` or ``Ended``."""
        self._orders.put(lambda: self._denoise(job))

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

    def _denoise(self, job: Job) -> None:
        try:
            job.check()
            answer = self._engine.denoise(job, lambda draft: self._post(Drafted(job, draft)))
        except JobCancelled:
            if job.superseded:
                newer = "A newer request came for the same document."
                self._post(Ended(job, FailureCode.SUPERSEDED, newer))
            else:
                self._post(Ended(job, FailureCode.CANCELLED, "The request was cancelled."))
        except DenoiseFailed as err:
            self._post(Ended(job, err.code, str(err)))
        except Exception as err:
            log.exception("request %d of peer %d failed in the engine", job.request.id, job.peer)
            # Only the kind of error travels: a library's text might quote source code.
            text = f"The engine failed with {type(err).__name__}; the runtime's log has details."
            self._post(Ended(job, FailureCode.ENGINE_FAULT, text))
        else:
            self._post(Answered(job, answer))

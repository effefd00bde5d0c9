"""The runtime's event loop: peers, the scheduler between them, and the state of the model.

Turns bytes into messages and messages into orders, nothing else: what runs next is the
``scheduler``'s to say, and only the ``worker`` touches the device.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dgemma_runtime.engine.base import Device, Engine, LoadProgress
from dgemma_runtime.job import Job
from dgemma_runtime.memory import resident_mb
from dgemma_runtime.scheduler import Dropped, Scheduler
from dgemma_runtime.worker import (
    Answered,
    Drafted,
    Ended,
    Event,
    Loaded,
    LoadFailed,
    Unloaded,
    Worker,
)
from dgemma_wire import PROTOCOL_VERSION, Connection, Role
from dgemma_wire.connection import State, refusal
from dgemma_wire.errors import FailureCode, ProtocolError
from dgemma_wire.messages import (
    Cancel,
    Denoise,
    Done,
    Draft,
    Failed,
    GetStatus,
    Hello,
    Message,
    Refused,
    Renoise,
    Request,
    RuntimeMessage,
    RuntimeState,
    Status,
    Stop,
    Weigh,
    Welcome,
)
from dgemma_wire.settings import RuntimeSettings

log = logging.getLogger(__name__)

MAX_PEERS = 64
HANDSHAKE_S = 10.0
RETRY_LOAD_S = 5.0
"""A failed load is not tried again sooner; requests meanwhile get its message at once."""
STOP_S = 5.0
"""What a denoise step in hand gets to end when the process stops."""
DRAFTS_PAUSE_BYTES = 256 * 1024
"""A peer with more unread bytes than this gets no drafts until it has caught up."""
HANG_UP_BYTES = 16 * 1024 * 1024
"""A peer with more unread bytes than this has stopped reading and is let go."""
_READ_BYTES = 64 * 1024


@dataclass(eq=False)
class Peer:
    """One connected language server."""

    number: int
    writer: asyncio.StreamWriter
    connection: Connection = field(default_factory=lambda: Connection(Role.RUNTIME))
    name: str = ""

    def send(self, message: RuntimeMessage) -> None:
        """Queue a message; a peer that has stopped reading is hung up on."""
        transport = self.writer.transport
        if transport.is_closing():
            return
        unread = transport.get_write_buffer_size()
        if unread > HANG_UP_BYTES:
            log.warning("peer %d does not read: hanging up", self.number)
            transport.abort()
        elif not (isinstance(message, Draft) and unread > DRAFTS_PAUSE_BYTES):
            self.writer.write(self.connection.send(message))


class RuntimeServer:
    """Serves an engine to peers until it is told to stop.

    Args:
        engine: What denoises; loaded when the first request needs it.
        settings: Idle times; the rest is the engine's business.
        token: The secret that a ``Hello`` must carry.
        release: This distribution's version.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        engine: Engine,
        settings: RuntimeSettings,
        token: str,
        release: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._token = token
        self._release = release
        self._clock = clock
        self._scheduler = Scheduler()
        self._peers: dict[int, Peer] = {}
        self._numbers = 0
        self._state = RuntimeState.UNLOADED
        self._progress: float | None = None
        self._message = ""
        self._device: Device | None = None
        self._unloading = False
        self._requests = 0
        self._load_failed_at = -RETRY_LOAD_S
        self._last_request = self._last_peer = clock()
        self._stopping = asyncio.Event()
        loop = asyncio.get_running_loop()

        def post(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody left to tell
                loop.call_soon_threadsafe(self._on_event, event)

        self._worker = Worker(engine, post)

    # -- life ---------------------------------------------------------------------------------

    async def run(self, server: asyncio.Server) -> None:
        """Serve until ``Stop``, ``stop()`` or the idle time; then answer what is open and end."""
        async with server:
            watch = asyncio.create_task(self._watch_idle())
            await self._stopping.wait()
            watch.cancel()
            server.close()
            gone = "The runtime is shutting down."
            for job in [*self._scheduler.drain(), *self._scheduler.running]:
                self._fail(Dropped(job, FailureCode.SHUTTING_DOWN, gone))
            for peer in self._peers.values():
                with contextlib.suppress(OSError):
                    peer.writer.close()
            await asyncio.to_thread(self._worker.stop, STOP_S)
            for peer in self._peers.values():  # those that did not read their last answer
                peer.writer.transport.abort()

    def stop(self) -> None:
        """End ``run``; safe to call from a signal handler on the loop."""
        self._stopping.set()

    async def _watch_idle(self) -> None:
        unload, leave = self._settings.idle_unload_s, self._settings.idle_exit_s
        pause = max(0.05, min(5.0, *(s / 4 for s in (unload, leave) if s), 5.0))
        while True:
            await asyncio.sleep(pause)
            now = self._clock()
            busy = bool(self._scheduler.running or self._scheduler.queued)
            if busy or self._peers:
                self._last_peer = now
            if leave and now - self._last_peer > leave:
                log.info("no editor for %d s: ending", leave)
                self.stop()
            idle = now - self._last_request
            ready = self._state is RuntimeState.READY and not self._unloading
            if unload and ready and not busy and idle > unload:
                log.info("no request for %d s: unloading the model", unload)
                self._unloading = True
                self._worker.unload()

    # -- peers --------------------------------------------------------------------------------

    async def on_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end; the callback of ``asyncio.start_unix_server``."""
        if len(self._peers) >= MAX_PEERS:
            log.warning("refusing a connection: %d peers are connected", MAX_PEERS)
            writer.close()
            return
        self._numbers += 1
        peer = Peer(self._numbers, writer)
        self._peers[peer.number] = peer
        silent = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._drop_if_silent, peer)
        try:
            while data := await reader.read(_READ_BYTES):
                for message in peer.connection.receive(data):
                    self._on_message(peer, message)
                await writer.drain()
            peer.connection.receive_eof()
        except ProtocolError as err:
            log.warning("peer %d broke the protocol: %s", peer.number, err)
        except (ConnectionError, TimeoutError) as err:
            log.debug("peer %d went away: %s", peer.number, err)
        finally:
            silent.cancel()
            self._peers.pop(peer.number, None)
            self._scheduler.forget(peer.number)
            self._last_peer = self._clock()
            with contextlib.suppress(OSError):
                writer.close()

    def _drop_if_silent(self, peer: Peer) -> None:
        if peer.connection.state is State.HANDSHAKE:
            log.warning("peer %d said nothing for %.0f s: hanging up", peer.number, HANDSHAKE_S)
            peer.writer.transport.abort()

    def _on_message(self, peer: Peer, message: Message) -> None:
        match message:
            case Hello():
                self._on_hello(peer, message)
            case Denoise() | Renoise() | Weigh():
                self._on_request(peer, message)
            case Cancel(id=request):
                for dropped in self._scheduler.cancel(peer.number, request):
                    self._fail(dropped)
            case GetStatus():
                peer.send(self.status())
            case Stop():
                log.info("peer %d asked the runtime to stop", peer.number)
                self.stop()
            case _:
                raise AssertionError(f"{type(message).__name__} passed the protocol's rules")

    def _on_hello(self, peer: Peer, hello: Hello) -> None:
        peer.name = hello.peer
        if (refused := refusal(hello, self._token)) is not None:
            code, reason = refused
            log.warning("refusing peer %d (%s): %s", peer.number, hello.peer, reason)
            peer.send(
                Refused(
                    code=code,
                    reason=reason,
                    protocol=PROTOCOL_VERSION,
                    release=self._release,
                    pid=os.getpid(),
                )
            )
            peer.writer.close()
            return
        peer.send(
            Welcome(
                protocol=PROTOCOL_VERSION,
                release=self._release,
                pid=os.getpid(),
                model=self._engine.model,
                limits=self._engine.limits,
                capabilities=self._engine.capabilities,
            )
        )
        peer.send(self.status())

    def _on_request(self, peer: Peer, request: Request) -> None:
        now = self._last_request = self._clock()
        _, dropped = self._scheduler.submit(peer.number, request, now)
        for job in dropped:
            self._fail(job)
        self._pump()

    # -- model and queue ----------------------------------------------------------------------

    def _pump(self) -> None:
        """Start what can be started."""
        if self._stopping.is_set() or self._unloading or not self._scheduler.queued:
            return
        if self._state is RuntimeState.READY:
            jobs, dropped = self._scheduler.next_jobs(self._clock(), self._engine.together)
            for late in dropped:
                self._fail(late)
            if jobs:
                self._worker.run(jobs)
        elif self._state in (RuntimeState.UNLOADED, RuntimeState.FAILED):
            self._load()

    def _load(self) -> None:
        if self._state is RuntimeState.FAILED:
            if self._clock() - self._load_failed_at < RETRY_LOAD_S:
                self._fail_waiting()
                return
        elif self._state is not RuntimeState.UNLOADED:
            return
        self._worker.load()
        self._set_state(RuntimeState.LOADING, "Loading the model", 0.0)

    def _on_event(self, event: Event) -> None:
        match event:
            case LoadProgress():
                self._set_state(event.state, event.message, event.share)
            case Loaded(device=device):
                self._device = device
                self._set_state(RuntimeState.READY, "")
            case LoadFailed(message=message):
                self._load_failed_at = self._clock()
                self._set_state(RuntimeState.FAILED, message)
                self._fail_waiting()
            case Unloaded():
                self._unloading = False
                self._device = None
                self._set_state(RuntimeState.UNLOADED, "")
            case Drafted(job=job, draft=draft):
                peer = self._peers.get(job.peer)
                if peer is not None and not job.cancelled.is_set():
                    peer.send(draft)
            case Answered(job=job, answer=answer):
                self._scheduler.finish(job)
                self._answer(
                    job,
                    Done(
                        id=job.request.id,
                        candidates=answer.candidates,
                        timings=answer.timings,
                        weights=answer.weights,
                    ),
                )
            case Ended(job=job, code=code, message=message):
                self._scheduler.finish(job)
                self._fail(Dropped(job, code, message))
        self._pump()

    def _fail_waiting(self) -> None:
        for job in self._scheduler.drain():
            self._fail(Dropped(job, FailureCode.MODEL_UNAVAILABLE, self._message))

    def _fail(self, dropped: Dropped) -> None:
        request = dropped.job.request.id
        self._answer(dropped.job, Failed(id=request, code=dropped.code, message=dropped.message))

    def _answer(self, job: Job, message: Done | Failed) -> None:
        """Send an answer, once: shutting down may have answered a job that ends later."""
        self._requests += 1
        peer = self._peers.get(job.peer)
        if peer is not None and message.id in peer.connection.open_requests:
            peer.send(message)

    def _set_state(self, state: RuntimeState, message: str, progress: float | None = None) -> None:
        self._state, self._message, self._progress = state, message, progress
        status = self.status()
        for peer in self._peers.values():
            if peer.connection.state is State.OPEN:
                peer.send(status)

    def status(self) -> Status:
        """Return what there is to know of this process now."""
        device = self._device
        return Status(
            state=self._state,
            progress=self._progress,
            message=self._message,
            model=self._engine.model,
            device=device.name if device else "",
            device_reason=device.reason if device else "",
            dtype=device.dtype if device else "",
            pid=os.getpid(),
            peers=len(self._peers),
            queued=self._scheduler.queued,
            requests=self._requests,
            resident_mb=resident_mb(),
        )

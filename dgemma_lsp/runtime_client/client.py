"""One connection to the runtime as coroutines: ask, get drafts, get an answer, cancel.

Connects on the first request and again after the connection is lost. Knows no documents and no
LSP; what a text is for is its caller's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dgemma_lsp.runtime_client.link import Link, OnDraft, Pending
from dgemma_lsp.runtime_client.process import connect
from dgemma_lsp.runtime_client.remote import (
    Remote,
    behind_hint,
    connect_remote,
    forward_hint,
)
from dgemma_lsp.runtime_client.silence import SILENT_S, watch
from dgemma_wire import PROTOCOL_VERSION, Connection, Role
from dgemma_wire.address import parse_address
from dgemma_wire.connection import State
from dgemma_wire.errors import (
    DenoiseFailed,
    ProtocolError,
    ProtocolMismatch,
    RuntimeStartFailed,
    RuntimeUnavailable,
)
from dgemma_wire.messages import (
    Cancel,
    Denoise,
    Done,
    Draft,
    Failed,
    GetStatus,
    Hello,
    Message,
    RefusalCode,
    Refused,
    Renoise,
    Request,
    Status,
    Stop,
    Weigh,
    Welcome,
)
from dgemma_wire.settings import RuntimeSettings

log = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
RETRY_PAUSES_S = (0.05, 0.2, 0.5, 1.0)
"""Waits after a connection that was dropped during the handshake."""
_READ_BYTES = 64 * 1024

OnStatus = Callable[[Status], None]


class _WrongToken(ConnectionError):
    """The runtime does not know the token it was shown."""


class RuntimeClient:
    """Asks the runtime of one model.

    Args:
        settings: Which runtime, and what it is started with.
        command: The configured command that starts it; empty to look for one.
        directory: The private runtime directory, see ``dgemma_wire.endpoint``; only a remote
            runtime needs none.
        release: This distribution's version.
        name: How this peer calls itself in the runtime's log.
        on_status: Called with every ``Status`` the runtime sends.
        remote: A runtime on another machine, used in place of this machine's own.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        command: Sequence[str],
        directory: Path | None,
        release: str,
        name: str,
        on_status: OnStatus = lambda _: None,
        remote: Remote | None = None,
    ) -> None:
        self.settings = settings
        self._command = tuple(command)
        self._directory = directory
        self._release = release
        self._name = name
        self._on_status = on_status
        self.remote = remote
        self._link: Link | None = None
        self.last_welcome: Welcome | None = None
        """What the runtime said of itself when it was last connected."""
        self._connecting = asyncio.Lock()
        self._ids = itertools.count(1)

    @property
    def connected(self) -> bool:
        """Whether a runtime is at the other end now."""
        return self._link is not None

    async def welcome(self) -> Welcome:
        """Connect, starting a runtime when none runs, and return what it said of itself.

        Raises:
            RuntimeUnavailable: There is none, and the text says what to do.
        """
        return (await self._ready()).welcome

    async def denoise(self, ask: Denoise, on_draft: OnDraft | None = None) -> Done:
        """Ask for the free segments of a canvas; a cancelled task cancels the request.

        The request's id is given here.

        Raises:
            RuntimeUnavailable: There is no runtime, or it went away before it answered.
            DenoiseFailed: It answered that it cannot.
        """
        link = await self._ready()
        return await self._ask(link, msgspec.structs.replace(ask, id=next(self._ids)), on_draft)

    async def renoise(self, again: Renoise, on_draft: OnDraft | None = None) -> Done:
        """Denoise parts of an earlier answer again; a cancelled task cancels the request.

        The runtime keeps drafts for a short while, and for the connection they were made for:
        ``draft_gone`` is an answer to expect. The request's id is given here.

        Raises:
            RuntimeUnavailable: There is no runtime, or it went away before it answered.
            DenoiseFailed: It answered that it cannot.
        """
        link = await self._ready()
        return await self._ask(link, msgspec.structs.replace(again, id=next(self._ids)), on_draft)

    async def weigh(self, weigh: Weigh) -> tuple[float, ...]:
        """Ask how likely the model finds texts in their place; see ``Weigh``.

        Raises:
            RuntimeUnavailable: There is no runtime, or it went away before it answered.
            DenoiseFailed: It answered that it cannot.
        """
        link = await self._ready()
        request = msgspec.structs.replace(weigh, id=next(self._ids))
        return (await self._ask(link, request, None)).weights

    async def _ask(self, link: Link, request: Request, on_draft: OnDraft | None) -> Done:
        """Send a request, whose id was given out just now, and wait for its answer."""
        answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        link.send(request)  # raises before it is pending when the request breaks a rule
        link.pending[request.id] = Pending(answer, on_draft)
        try:
            return await answer
        except asyncio.CancelledError:
            if request.id in link.pending and link.protocol.state is State.OPEN:
                link.send(Cancel(id=request.id))
            raise

    async def status(self, *, start: bool = False) -> Status | None:
        """Return what the runtime says of itself, or ``None`` when none runs and none is started.

        Raises:
            RuntimeUnavailable: It could not be reached or started.
        """
        link = await self._ready() if start else await self._ready_if_running()
        if link is None:
            return None
        told: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        link.statuses.append(told)
        link.send(GetStatus())
        return await told

    async def stop_runtime(self) -> bool:
        """End the runtime process; returns whether there was one.

        Raises:
            RuntimeUnavailable: It runs but cannot be talked to.
        """
        link = await self._ready_if_running()
        if link is None:
            return False
        link.send(Stop())
        if link.reader is not None:
            await asyncio.wait([link.reader], timeout=SILENT_S)
        return True

    async def close(self) -> None:
        """Hang up; the runtime goes on for the others."""
        link, self._link = self._link, None
        if link is None:
            return
        with contextlib.suppress(OSError):
            link.writer.close()
        for task in (link.reader, link.watch):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    # -- connecting ---------------------------------------------------------------------------

    async def _ready(self) -> Link:
        link = await self._connect(start=True)
        assert link is not None
        return link

    async def _ready_if_running(self) -> Link | None:
        return await self._connect(start=False)

    async def _connect(self, *, start: bool) -> Link | None:
        if self._link is not None:
            return self._link
        async with self._connecting:  # two requests at once start one runtime
            if self._link is not None:
                return self._link
            found = await self._connect_and_shake(start=start)
            if found is None:
                return None
            reader, link, early = found
            self._link = link
            self.last_welcome = link.welcome
            for message in early:
                self._on_message(link, message)
            link.reader = asyncio.create_task(self._read(link, reader))
            if self.remote is not None:
                link.watch = asyncio.create_task(self._watch(link))
            return link

    async def _connect_and_shake(
        self, *, start: bool
    ) -> tuple[asyncio.StreamReader, Link, list[Message]] | None:
        if self.remote is not None:
            return await self._shake_hands_afar(self.remote)
        assert self._directory is not None, "only a remote runtime needs no directory"
        hung_up: OSError | None = None
        for pause_s in RETRY_PAUSES_S:
            found = await connect(self.settings, self._command, self._directory, start=start)
            if found is None:
                return None
            (reader, writer), endpoint = found
            try:
                link, early = await asyncio.wait_for(
                    self._shake_hands(reader, writer, endpoint.token), HANDSHAKE_S
                )
            except TimeoutError as err:
                writer.close()
                raise RuntimeStartFailed(
                    f"The runtime at {endpoint.describe()} (process {endpoint.pid}) does not "
                    f"answer; end it and try again."
                ) from err
            except ProtocolError as err:
                writer.close()
                raise RuntimeStartFailed(
                    f"What listens at {endpoint.describe()} is no dgemma runtime: {err}"
                ) from err
            except OSError as err:
                # A runtime that is just ending still takes connections, and drops them.
                writer.close()
                hung_up = err
                await asyncio.sleep(pause_s)
            else:
                return reader, link, early
        raise RuntimeStartFailed(f"The runtime takes no connection: {hung_up}")

    async def _shake_hands_afar(
        self, remote: Remote
    ) -> tuple[asyncio.StreamReader, Link, list[Message]]:
        """Connect to a remote runtime: one try, since none is about to be started."""
        (reader, writer), token = await connect_remote(remote)
        address = parse_address(remote.address)
        shaken = False
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                link, early = await self._shake_hands(reader, writer, token)
            shaken = True
        except TimeoutError as err:
            raise RuntimeUnavailable(
                f"What listens at {address} does not answer. {behind_hint(address)}"
            ) from err
        except _WrongToken as err:
            raise RuntimeUnavailable(
                f"The runtime at {address} has another token than {remote.token_source}. Copy the "
                f"token file from the machine with the runtime again."
            ) from err
        except ProtocolError as err:
            raise RuntimeUnavailable(
                f"What listens at {address} is no dgemma runtime: {err}"
            ) from err
        except OSError as err:
            raise RuntimeUnavailable(f"{address} hung up: {err}. {behind_hint(address)}") from err
        finally:
            if not shaken:
                writer.close()
        return reader, link, early

    async def _shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
    ) -> tuple[Link, list[Message]]:
        protocol = Connection(Role.PEER)
        hello = Hello(
            protocol=PROTOCOL_VERSION, release=self._release, token=token, peer=self._name
        )
        writer.write(protocol.send(hello))
        messages: list[Message] = []
        while not messages:
            data = await reader.read(_READ_BYTES)
            if not data:
                protocol.receive_eof()
                raise ConnectionError("it hung up during the handshake")
            messages = protocol.receive(data)
        first, *early = messages
        if isinstance(first, Refused):
            writer.close()
            if first.code is RefusalCode.TOKEN:
                # The endpoint file is a dead runtime's, and a new one has taken its socket.
                raise _WrongToken(first.reason)
            remedy = (
                "Stop it with `dgemma stop` or end that process, and the next request starts a "
                "fitting one."
                if self.remote is None
                else f"Install the same version of dgemma on both machines; it runs at "
                f"{self.remote.address}."
            )
            raise ProtocolMismatch(
                f"The running runtime (dgemma {first.release}, protocol {first.protocol}, process "
                f"{first.pid}) refused this server (dgemma {self._release}, protocol "
                f"{PROTOCOL_VERSION}): {first.reason} {remedy}"
            )
        assert isinstance(first, Welcome), "the protocol's rules allow nothing else"
        return Link(writer, protocol, first), early

    # -- what comes back ----------------------------------------------------------------------

    async def _read(self, link: Link, reader: asyncio.StreamReader) -> None:
        reason = ""
        try:
            while data := await reader.read(_READ_BYTES):
                link.heard = asyncio.get_running_loop().time()
                for message in link.protocol.receive(data):
                    self._on_message(link, message)
            link.protocol.receive_eof()
        except (OSError, ProtocolError) as err:
            reason = str(err)
            log.warning("the connection to the runtime broke: %s", err)
        finally:
            if self._link is link:
                self._link = None
            if link.watch is not None:
                link.watch.cancel()
            with contextlib.suppress(OSError):
                link.writer.close()
            hint = f" {forward_hint(parse_address(self.remote.address))}" if self.remote else ""
            gone = RuntimeUnavailable(
                f"The connection to the runtime was lost: {reason or link.gone}.{hint}"
            )
            for future in (*(p.answer for p in link.pending.values()), *link.statuses):
                if not future.done():
                    future.set_exception(gone)
                    future.exception()  # somebody may have stopped waiting: no warning then

    async def _watch(self, link: Link) -> None:
        """Hang up on a remote runtime that owes an answer and has gone silent."""
        silent = await watch(
            lambda: bool(link.pending or link.statuses),
            lambda: link.heard,
            lambda: link.send(GetStatus()),
        )
        link.gone = f"nothing has come from it for {silent:.0f} s"
        link.writer.transport.abort()

    def _on_message(self, link: Link, message: Message) -> None:
        match message:
            case Draft(id=request):
                pending = link.pending.get(request)
                if pending is not None and pending.on_draft and not pending.answer.done():
                    pending.on_draft(message)
            case Done(id=request):
                pending = link.pending.pop(request)
                if not pending.answer.done():
                    pending.answer.set_result(message)
            case Failed(id=request, code=code, message=text):
                pending = link.pending.pop(request)
                if not pending.answer.done():
                    pending.answer.set_exception(DenoiseFailed(code, text))
            case Status():
                waiting, link.statuses[:] = list(link.statuses), []
                for future in waiting:
                    if not future.done():
                        future.set_result(message)
                self._on_status(message)
            case _:
                raise AssertionError(f"{type(message).__name__} passed the protocol's rules")

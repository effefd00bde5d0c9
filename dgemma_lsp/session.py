"""What one language server knows: settings, documents, the runtime, and what is under way.

Features call it; it calls nothing of LSP but what it is given to tell the editor with.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dgemma_lsp import methods
from dgemma_lsp.adapters import WorkspaceAdapters
from dgemma_lsp.documents import DocumentStore
from dgemma_lsp.ignored import is_ignored
from dgemma_lsp.infill.reuse import CandidateCache
from dgemma_lsp.infill.types import DeclineReason, Snapshot
from dgemma_lsp.pipeline import Outcome, Silence
from dgemma_lsp.proposals import Proposals
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_lsp.runtime_client.remote import remote_of
from dgemma_lsp.schemas.store import Schemas
from dgemma_lsp.settings import Settings, load
from dgemma_lsp.statistics.file import CountsFile
from dgemma_lsp.statistics.recorder import Recorder
from dgemma_lsp.surroundings import Surroundings
from dgemma_lsp.syntax.lines import Encoding
from dgemma_wire import endpoint
from dgemma_wire.errors import FailureCode
from dgemma_wire.messages import RewriteKind, Status

log = logging.getLogger(__name__)


CONFIGURED_S = 5.0
"""How long requests are held for a client that was asked for its settings and does not answer."""


Found = TypeVar("Found", bound=Outcome)
Kept = TypeVar("Kept")


class Superseded(Exception):
    """A newer request of the same document took this one's place."""


@dataclass
class Tally:
    """Counts for the status: why there was silence, and what came of the rest."""

    declined: Counter[str] = field(default_factory=Counter[str])
    rejected: Counter[str] = field(default_factory=Counter[str])
    silent: Counter[str] = field(default_factory=Counter[str])
    mended: Counter[str] = field(default_factory=Counter[str])
    shown: int = 0
    accepted: int = 0
    last_total_ms: float | None = None

    def add(self, outcome: Outcome) -> None:
        """Count one fill."""
        if outcome.declined is not None:
            self.declined[outcome.declined] += 1
        if outcome.silence is not None:
            self.silent[outcome.silence] += 1
        else:
            self.last_total_ms = outcome.times.total_ms
        self.mended.update(str(c.mended) for c in outcome.shown[:1] if c.mended is not None)
        self.rejected.update(
            str(c.verdict.reason) for c in outcome.candidates if not c.verdict.accepted
        )


class Session:
    """The state of one server.

    Args:
        release: This distribution's version.
        on_status: Called with every status that the runtime sends.
        on_problem: Called once for each different thing that is wrong, with its text.
        on_extended: Called when a draft is whole of which the beginning was shown.
    """

    def __init__(
        self,
        release: str,
        on_status: Callable[[Status], None],
        on_problem: Callable[[str], None],
        on_extended: Callable[[methods.ExtendedParams], None] = lambda _: None,
    ) -> None:
        self.release = release
        self.settings = Settings()
        self.encoding = Encoding.UTF16
        self.schemas = Schemas(self.tell_problem)
        self.documents = DocumentStore(self.schemas.check_for)
        self.surroundings = Surroundings(lambda: self.documents)
        self.cache = CandidateCache()
        self.proposals = Proposals()
        self.tally = Tally()
        self.recorder = Recorder(CountsFile(), self._text_of, time.time, _later, _apart)
        self.problem: str | None = None
        self.confirms_edits = False
        """Whether the client can have a person confirm the changes of an edit one by one."""
        self.configured = asyncio.Event()
        """Set once the client has had its chance to send settings."""
        self._layers: dict[str, object] = {}
        self._client: RuntimeClient | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._kept: set[asyncio.Task[Any]] = set()
        self._in_flight: dict[str, asyncio.Task[Any]] = {}
        self._on_status = on_status
        self._on_problem = on_problem
        self._on_extended = on_extended
        self._told: set[str] = set()
        self._salt = secrets.token_bytes(16)
        self.adapters = WorkspaceAdapters()
        self.schemas.configure(self.settings.schemas, self.settings.ignore)
        self.surroundings.configure(self.settings.context, self.settings.ignore)

    # -- settings -------------------------------------------------------------------------------

    def configure(self, layer: str, values: object) -> None:
        """Lay the settings an editor sent over the others; the earlier ones stay when they are bad.

        Raises:
            SettingsError: They are bad; the text names the place.
        """
        layers = {**self._layers, layer: values}
        settings = load(*(layers[name] for name in sorted(layers)))
        self._layers = layers
        changed = (settings.runtime, settings.runtime_command, remote_of(settings)) != (
            self.settings.runtime,
            self.settings.runtime_command,
            remote_of(self.settings),
        )
        if settings.adapter != self.settings.adapter:
            self.adapters.forget_refusals()
            self.cache.clear()
        if settings.schemas != self.settings.schemas:
            self.cache.clear()
        self.schemas.configure(settings.schemas, settings.ignore)
        self.surroundings.configure(settings.context, settings.ignore)
        self.recorder.enabled = settings.statistics
        self.settings = settings
        if changed and self._client is not None:
            self._let_go(self._client)
            self._client = None
            self.cache.clear()

    def _let_go(self, client: RuntimeClient) -> None:
        task = asyncio.create_task(client.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # -- runtime --------------------------------------------------------------------------------

    def client(self) -> RuntimeClient:
        """Return the client of the runtime that the settings name; connects when first used.

        Raises:
            AddressError: The runtime directory cannot be used.
        """
        if self._client is None:
            remote = remote_of(self.settings)
            self._client = RuntimeClient(
                self.settings.runtime,
                self.settings.runtime_command,
                None if remote else endpoint.runtime_directory(),
                self.release,
                name=f"dgemma-lsp {Path.cwd().name}",
                on_status=self._on_status,
                remote=remote,
            )
        return self._client

    @property
    def connected(self) -> bool:
        """Whether a runtime is at the other end now."""
        return self._client is not None and self._client.connected

    @property
    def offers(self) -> tuple[RewriteKind, ...]:
        """The rewrites a runtime said it can do, when one was connected; asks nobody."""
        welcome = None if self._client is None else self._client.last_welcome
        return () if welcome is None else welcome.capabilities.rewrites

    def adapter_for(self, uri: str) -> str:
        """Return the id of the adapter for a document; empty for the model's own."""
        return self.adapters.choose(self.settings.adapter, uri)

    async def close(self) -> None:
        """Cancel what is under way and hang up; the runtime goes on for other editors."""
        for task in (*self._in_flight.values(), *self._kept):
            task.cancel()
        self.recorder.close()
        self.surroundings.close()
        if self._client is not None:
            await self._client.close()
        if self._closing:
            await asyncio.wait(self._closing)

    async def until_configured(self) -> None:
        """Wait for the client's settings, which may forbid what is about to be done."""
        if self.configured.is_set():
            return
        with contextlib.suppress(TimeoutError):  # a client that never answers has none
            await asyncio.wait_for(self.configured.wait(), CONFIGURED_S)

    def _text_of(self, uri: str) -> str | None:
        document = self.documents.get(uri)
        return None if document is None else document.text

    # -- requests -------------------------------------------------------------------------------

    def decline(self, uri: str, *, invoked: bool) -> DeclineReason | None:
        """Return why the settings forbid a request, or ``None`` when they do not."""
        if self.settings.mode == "off":
            return DeclineReason.OFF
        if self.settings.mode == "manual" and not invoked:
            return DeclineReason.MANUAL_ONLY
        if is_ignored(uri, self.settings.ignore):
            return DeclineReason.IGNORED_FILE
        if uri not in self.documents:
            return DeclineReason.UNKNOWN_DOCUMENT
        return None

    async def newest(self, uri: str, work: Coroutine[Any, Any, Found]) -> Found:
        """Run a document's fill, ending the one that runs for it already.

        Rewrites call it with a key of their own: typing on must not end one.

        Raises:
            Superseded: A newer fill of the document ended this one.
        """
        older = self._in_flight.get(uri)
        if older is not None:
            older.cancel()
        task = asyncio.ensure_future(work)
        self._in_flight[uri] = task
        try:
            outcome = await task
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():  # the client gave this request up itself
                task.cancel()
                raise
            raise Superseded from None
        finally:
            if self._in_flight.get(uri) is task:
                del self._in_flight[uri]
        self.tally.add(outcome)
        self.adapters.note(outcome)
        if outcome.silence in (Silence.NO_RUNTIME, FailureCode.MODEL_UNAVAILABLE):
            self.tell_problem(outcome.message or "")
        elif outcome.silence is None:
            self.problem = None
        return outcome

    def keep(self, work: Coroutine[Any, Any, Kept]) -> asyncio.Task[Kept]:
        """Run work that may outlast the request it was begun for."""
        task = asyncio.ensure_future(work)
        self._kept.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._kept.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work in the background failed with %s", type(error).__name__)

    def tell_extended(self, snapshot: Snapshot, offset: int, text: str) -> None:
        """Tell the editor that a draft is whole of which the beginning was shown."""
        line, character = snapshot.parsed.position_at(offset, self.encoding)
        self._on_extended(
            methods.ExtendedParams(
                text_document=methods.DocumentId(uri=snapshot.uri, version=snapshot.version),
                position=methods.Position(line=line, character=character),
                text=text,
            )
        )

    def tell_problem(self, text: str) -> None:
        """Keep a problem for the status, and tell the person of it once."""
        self.problem = text
        log.warning("%s", text)
        if text not in self._told:
            self._told.add(text)
            self._on_problem(text)

    def document_key(self, uri: str) -> str:
        """Return what the runtime knows a document by: no path leaves the server."""
        return hashlib.blake2s(uri.encode(), key=self._salt, digest_size=8).hexdigest()


def _later(seconds: float, work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, work)


def _apart(work: Callable[[], None], ended: Callable[[bool], None]) -> None:
    """Run on a thread what may wait for a disk."""

    def done(future: asyncio.Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            log.info("the statistics cannot be written: %s", type(error).__name__)
        ended(error is None)

    asyncio.get_running_loop().run_in_executor(None, work).add_done_callback(done)

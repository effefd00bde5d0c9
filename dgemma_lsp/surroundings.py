"""What the model is shown from outside a document: brings the texts, keeps what was chosen.

The one place where the pure core of ``context`` meets open documents, the disk and the event loop.
Reading, parsing and choosing run on one thread of their own; a request waits for them a moment and
does without otherwise. Nothing is gathered for a model that has no use for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from dgemma_lsp.context.edits import EditLog, Place
from dgemma_lsp.context.gather import Chosen
from dgemma_lsp.documents import Document
from dgemma_lsp.infill import capture
from dgemma_lsp.infill.types import Budget, Snapshot
from dgemma_lsp.schemas.find import local_path
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_lsp.workspace_files import WorkspaceFiles
from dgemma_lsp.workspace_texts import Job, OpenText, WorkspaceTexts
from dgemma_wire.messages import Welcome

log = logging.getLogger(__name__)

OFF, OPEN, WORKSPACE = "off", "open", "workspace"

WAIT_S = 0.05
"""How long a request of somebody who types waits; reading files for the first time takes longer."""

PATIENT_S = 1.0
"""How long one waits that a person made."""

_MOST_SHARE = 2
"""Context takes up this fraction of the prefix at most, whatever a model says."""

_MOST_KEPT = 64
"""Documents for which it is remembered what was shown."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a request is made with: what is left for the document's own text, and the pieces."""

    budget: Budget
    pieces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Held:
    """What was shown for a document, and for what place in which state of everything else."""

    place: tuple[object, ...]
    chosen: Chosen
    pieces: tuple[str, ...]


@dataclass(slots=True)
class _State:
    held: dict[str, _Held] = field(default_factory=dict[str, _Held])
    recent: list[str] = field(default_factory=list[str])
    running: asyncio.Future[Chosen] | None = None


class Surroundings:
    """Gathers context for the documents of one session.

    Args:
        documents: Returns the open documents.
    """

    def __init__(self, documents: Callable[[], Iterable[Document]]) -> None:
        self._documents = documents
        self._mode = WORKSPACE
        self._ignore: tuple[str, ...] = ()
        self._folders: dict[str, Path] = {}
        self._edits = EditLog()
        self._state = _State()
        self._thread: ThreadPoolExecutor | None = None
        self._files = WorkspaceFiles((), ())
        self._texts = WorkspaceTexts(self._files)

    # -- settings and events --------------------------------------------------------------------

    def configure(self, mode: str, ignore: Sequence[str]) -> None:
        """Take the settings ``context`` and ``ignore``."""
        if (mode, tuple(ignore)) != (self._mode, self._ignore):
            self._mode, self._ignore = mode, tuple(ignore)
            if mode == OFF:
                self._edits = EditLog()
            self._renew()

    def open_folder(self, uri: str) -> None:
        """Take in a workspace folder; nothing outside of these is read."""
        path = local_path(uri)
        if path is not None:
            self._folders[uri] = path
            self._renew()

    def close_folder(self, uri: str) -> None:
        """Forget a workspace folder."""
        if self._folders.pop(uri, None) is not None:
            self._renew()

    def edited(self, uri: str, before: ParsedText, after: ParsedText) -> None:
        """Take note of an edit of an open document."""
        if self._mode != OFF and self._files.may_show(uri):
            self._edits.note(uri, before, after)
        self._looked_at(uri)

    def closed(self, uri: str) -> None:
        """Forget a document that is no longer open."""
        self._edits.forget(uri)
        self._state.held.pop(uri, None)
        if uri in self._state.recent:
            self._state.recent.remove(uri)

    def close(self) -> None:
        """Let go of the thread; work in hand is cut short."""
        self._texts.end()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    def _renew(self) -> None:
        self._files = WorkspaceFiles(tuple(self._folders.values()), self._ignore)
        self._texts = WorkspaceTexts(self._files)
        self._state = _State(recent=self._state.recent)

    def _looked_at(self, uri: str) -> None:
        recent = self._state.recent
        if recent[:1] != [uri]:
            if uri in recent:
                recent.remove(uri)
            recent.insert(0, uri)

    # -- requests -------------------------------------------------------------------------------

    async def around(
        self, snapshot: Snapshot, start: int, end: int, welcome: Welcome, *, patient: bool = False
    ) -> Around:
        """Return the pieces for a hole or a selection, and what they leave for the text itself.

        Never raises for what cannot be read. While a person types on in a line the pieces stay the
        same.

        Args:
            snapshot: The document.
            start: Where what the model is to write begins.
            end: Where the text goes on behind it.
            welcome: What the runtime said of its model.
            patient: Somebody asked and waits.
        """
        budget = capture.budget_for(welcome.limits)
        tokens = min(
            welcome.capabilities.context_tokens, welcome.limits.prefix_tokens // _MOST_SHARE
        )
        room = capture.chars_of(welcome.limits, tokens)
        if self._mode == OFF or room <= 0 or not self._files.may_show(snapshot.uri):
            return Around(budget)
        pieces = await self._pieces(snapshot, start, end, budget, room, patient=patient)
        used = sum(map(len, pieces))
        return Around(replace(budget, prefix_chars=max(1, budget.prefix_chars - used)), pieces)

    async def _pieces(
        self,
        snapshot: Snapshot,
        start: int,
        end: int,
        budget: Budget,
        room: int,
        *,
        patient: bool,
    ) -> tuple[str, ...]:
        uri, parsed, state = snapshot.uri, snapshot.parsed, self._state
        self._looked_at(uri)
        documents = [
            each for each in self._documents() if each.uri != uri and self._belongs(each.uri)
        ]
        others = tuple((each.uri, each.version) for each in documents)
        place = (parsed.lines.line(start), parsed.lines.count, room, others)
        held = state.held.get(uri)
        if held is not None and held.place == place:
            return held.pieces
        shown = () if held is None else held.pieces
        if sum(map(len, shown)) > room:
            shown = ()
        if state.running is not None and not state.running.done():
            if not patient:
                return shown
            await asyncio.wait((state.running,), timeout=PATIENT_S)
            if state is not self._state:
                return ()
        left = replace(budget, prefix_chars=max(1, budget.prefix_chars - room))
        job = Job(
            here=_open_text(snapshot),
            start=start,
            end=end,
            visible=capture.around(parsed, start, end, left),
            others=tuple(
                _open_text(each)
                for each in sorted(documents, key=lambda each: self._rank(each.uri))
            ),
            edits=self._edit_places(snapshot, documents),
            room=room,
            before=Chosen() if held is None else held.chosen,
            disk=self._mode == WORKSPACE,
        )
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="dgemma-context")
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._thread, self._texts.choose, job)
        state.running = running
        # A cancelled request leaves the work to the next one.
        await asyncio.wait((running,), timeout=PATIENT_S if patient else WAIT_S)
        if running.cancelled():  # the session ends
            return ()
        if state is not self._state or not running.done():
            running.add_done_callback(_noticed)
            return () if state is not self._state else shown
        error = running.exception()
        if error is not None:
            log.error("context cannot be gathered: %s", type(error).__name__)
            return ()
        chosen = running.result()
        pieces = chosen.pieces(snapshot.language)
        state.held.pop(uri, None)
        state.held[uri] = _Held(place, chosen, pieces)
        if len(state.held) > _MOST_KEPT:
            del state.held[next(iter(state.held))]
        return pieces

    def _rank(self, uri: str) -> int:
        recent = self._state.recent
        return recent.index(uri) if uri in recent else len(recent)

    def _belongs(self, uri: str) -> bool:
        """Whether an open document may be shown, and is of the workspace where there is one."""
        if not self._files.may_show(uri):
            return False
        path = local_path(uri)
        if path is None or not self._files.folders:
            return True
        return self._files.folder_of(path) is not None

    def _edit_places(
        self, snapshot: Snapshot, documents: Sequence[Document]
    ) -> tuple[tuple[Place, ParsedText], ...]:
        """The edited places, and the texts they lie in now, the newest first."""
        now = {each.uri: each.parsed for each in documents} | {snapshot.uri: snapshot.parsed}
        return tuple((place, now[place.uri]) for place in self._edits.places() if place.uri in now)


def _open_text(document: Document | Snapshot) -> OpenText:
    # The tree is taken here, where the text is not being edited.
    parsed = document.parsed
    return OpenText(document.uri, parsed, document.language, parsed.rough_tree)


def _noticed(future: asyncio.Future[Chosen]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("context cannot be gathered: %s", type(error).__name__)

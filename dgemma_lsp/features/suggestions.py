"""Candidates for a cursor, for every LSP request that asks for completions.

Clients differ in when they ask (after every key, or 200 ms later) and in whether they cancel what
is superseded (not all do), so waiting and cancelling are done here.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from dgemma_lsp import pipeline
from dgemma_lsp.infill.types import Candidate, DeclineReason, Hole, Snapshot
from dgemma_lsp.pipeline import Options, Outcome, Silence
from dgemma_lsp.session import Session, Superseded
from dgemma_wire.errors import AddressError

INVOKED_DEADLINE_FACTOR = 10
"""A person who asked waits longer than one who types; documented with ``deadlineMs``."""


@dataclass(frozen=True, slots=True)
class Suggested:
    """What may be shown: candidates, and the number that each is offered under."""

    candidates: tuple[Candidate, ...] = ()
    offers: tuple[int, ...] = ()


def asked_at(
    session: Session, uri: str, *, invoked: bool, selected: bool = False
) -> Snapshot | None:
    """Return the document to complete in, or ``None`` where the settings forbid it.

    ``selected`` says that an item of a completion menu is selected, which is left alone.
    """
    declined = session.decline(uri, invoked=invoked)
    if declined is None and selected:
        declined = DeclineReason.SELECTED_COMPLETION
    snapshot = session.documents.snapshot(uri)
    if declined is not None or snapshot is None:
        session.tally.add(Outcome(declined=declined or DeclineReason.UNKNOWN_DOCUMENT))
        return None
    return snapshot


async def suggest(session: Session, snapshot: Snapshot, offset: int, *, invoked: bool) -> Suggested:
    """Return what may be shown at an offset: from an earlier answer, or a new one."""
    began = time.perf_counter()
    session.recorder.requested(snapshot.language.name)
    wanted = session.settings.candidates if invoked else 1
    known = session.cache.lookup(snapshot, offset)
    if known is not None and len(known.candidates) >= (wanted if invoked else 0):
        return _offer(session, snapshot, offset, known.candidates, known.typed, began)
    head: asyncio.Future[tuple[Candidate, ...]] = asyncio.get_running_loop().create_future()
    work = session.keep(_finish(session, snapshot, offset, wanted, invoked, head))
    try:
        await asyncio.wait((work, head), return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        work.cancel()
        raise
    shown = work.result() if work.done() else head.result()
    now = session.documents.get(snapshot.uri)
    if now is None or now.version != snapshot.version:
        session.tally.silent[Silence.STALE] += 1
        return Suggested()
    return _offer(session, snapshot, offset, shown, 0, began)


def _offer(
    session: Session,
    snapshot: Snapshot,
    offset: int,
    candidates: tuple[Candidate, ...],
    typed: int,
    began: float,
) -> Suggested:
    session.tally.shown += bool(candidates)
    took = (time.perf_counter() - began) * 1000
    numbers = session.recorder.offered(candidates, snapshot, offset, typed, took)
    return Suggested(candidates, tuple(numbers))


async def _finish(
    session: Session,
    snapshot: Snapshot,
    offset: int,
    wanted: int,
    invoked: bool,
    head: asyncio.Future[tuple[Candidate, ...]],
) -> tuple[Candidate, ...]:
    """Return what may be shown; goes on when its sound head was shown already.

    The rest is then found by the next request, at the same place or further into the text.
    """

    def on_head(hole: Hole, candidate: Candidate) -> None:
        if not head.done():
            # The same place is not asked about twice while the rest is being mended.
            session.cache.store(snapshot, hole, (candidate,))
            head.set_result((candidate,))

    try:
        work = _ask(session, snapshot, offset, wanted, invoked, on_head)
        outcome = await session.newest(snapshot.uri, work)
    except Superseded:
        return ()
    except AddressError as err:
        session.tell_problem(str(err))
        return ()
    if outcome.hole is not None and outcome.times.runtime is not None:
        # Also when it comes too late: what was typed meanwhile may be its beginning.
        session.cache.store(snapshot, outcome.hole, outcome.candidates)
        if head.done() and outcome.shown and outcome.shown[0].text != head.result()[0].text:
            session.tell_extended(snapshot, offset, outcome.shown[0].text)
    return outcome.shown


async def _ask(
    session: Session,
    snapshot: Snapshot,
    offset: int,
    candidates: int,
    invoked: bool,
    on_head: pipeline.OnHead,
) -> Outcome:
    settings = session.settings
    if not invoked:
        await asyncio.sleep(settings.debounce_ms / 1000)
    options = Options(
        document=session.document_key(snapshot.uri),
        invoked=invoked,
        candidates=candidates,
        deadline_ms=settings.deadline_ms * (INVOKED_DEADLINE_FACTOR if invoked else 1),
        adapter=session.adapter_for(snapshot.uri),
        show_unsure=invoked,
        surroundings=session.surroundings,
    )
    return await pipeline.fill(snapshot, offset, options, session.client(), on_head=on_head)

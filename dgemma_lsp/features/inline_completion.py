"""``textDocument/inlineCompletion``: candidates for the cursor, or an empty list, never an error.

Clients differ in when they ask (after every key, or 200 ms later) and in whether they cancel what
is superseded (not all do), so waiting and cancelling are done here.
"""

from __future__ import annotations

import asyncio

from lsprotocol import types

from dgemma_lsp import pipeline
from dgemma_lsp.features.convert import to_items, to_offset
from dgemma_lsp.infill.types import Candidate, DeclineReason, Hole, Snapshot
from dgemma_lsp.pipeline import Options, Outcome, Silence
from dgemma_lsp.session import Session, Superseded
from dgemma_wire.errors import AddressError

INVOKED_DEADLINE_FACTOR = 10
"""A person who asked waits longer than one who types; documented with ``deadlineMs``."""


async def inline_completion(
    session: Session, params: types.InlineCompletionParams
) -> types.InlineCompletionList:
    """Answer one request."""
    uri, position = params.text_document.uri, params.position
    invoked = params.context.trigger_kind is types.InlineCompletionTriggerKind.Invoked
    nothing = types.InlineCompletionList(items=[])
    await session.until_configured()
    declined = session.decline(uri, invoked=invoked)
    if declined is None and params.context.selected_completion_info is not None:
        declined = DeclineReason.SELECTED_COMPLETION
    snapshot = session.documents.snapshot(uri)
    if declined is not None or snapshot is None:
        session.tally.add(Outcome(declined=declined or DeclineReason.UNKNOWN_DOCUMENT))
        return nothing
    offset = to_offset(snapshot, position.line, position.character, session.encoding)
    wanted = session.settings.candidates if invoked else 1
    known = session.cache.lookup(snapshot, offset)
    if known is not None and len(known.candidates) >= (wanted if invoked else 0):
        session.tally.shown += bool(known.candidates)
        items = to_items(known.candidates, position, uri, snapshot.version)
        return types.InlineCompletionList(items=items)
    head: asyncio.Future[tuple[Candidate, ...]] = asyncio.get_running_loop().create_future()
    work = session.keep(_finish(session, snapshot, offset, wanted, invoked, head))
    try:
        await asyncio.wait((work, head), return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        work.cancel()
        raise
    shown = work.result() if work.done() else head.result()
    now = session.documents.get(uri)
    if now is None or now.version != snapshot.version:
        session.tally.silent[Silence.STALE] += 1
        return nothing
    session.tally.shown += bool(shown)
    return types.InlineCompletionList(items=to_items(shown, position, uri, snapshot.version))


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
    )
    return await pipeline.fill(snapshot, offset, options, session.client(), on_head=on_head)

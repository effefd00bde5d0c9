"""``textDocument/inlineCompletion``: candidates for the cursor, or an empty list, never an error.

Clients differ in when they ask (after every key, or 200 ms later) and in whether they cancel what
is superseded (not all do), so waiting and cancelling are done here.
"""

from __future__ import annotations

import asyncio

from lsprotocol import types

from dgemma_lsp import pipeline
from dgemma_lsp.features.convert import to_items, to_offset
from dgemma_lsp.infill.types import DeclineReason, Snapshot
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
    try:
        outcome = await session.newest(uri, _ask(session, snapshot, offset, wanted, invoked))
    except Superseded:
        return nothing
    except AddressError as err:
        session.tell_problem(str(err))
        return nothing
    if outcome.hole is not None and outcome.times.runtime is not None:
        # Also when it comes too late: what was typed meanwhile may be its beginning.
        session.cache.store(snapshot, outcome.hole, outcome.candidates)
    now = session.documents.get(uri)
    if now is None or now.version != snapshot.version:
        session.tally.silent[Silence.STALE] += 1
        return nothing
    session.tally.shown += bool(outcome.shown)
    return types.InlineCompletionList(
        items=to_items(outcome.shown, position, uri, snapshot.version)
    )


async def _ask(
    session: Session, snapshot: Snapshot, offset: int, candidates: int, invoked: bool
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
    )
    return await pipeline.fill(snapshot, offset, options, session.client())

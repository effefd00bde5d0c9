"""``textDocument/inlineCompletion``: candidates for a cursor, or no items, never an error."""

from __future__ import annotations

from lsprotocol import types

from dgemma_lsp.features.convert import to_offset
from dgemma_lsp.features.items import to_items
from dgemma_lsp.features.suggestions import (
    INVOKED_DEADLINE_FACTOR as INVOKED_DEADLINE_FACTOR,
)
from dgemma_lsp.features.suggestions import asked_at, suggest
from dgemma_lsp.session import Session


async def inline_completion(
    session: Session, params: types.InlineCompletionParams
) -> types.InlineCompletionList:
    """Answer one request."""
    position = params.position
    invoked = params.context.trigger_kind is types.InlineCompletionTriggerKind.Invoked
    await session.until_configured()
    selected = params.context.selected_completion_info is not None
    snapshot = asked_at(session, params.text_document.uri, invoked=invoked, selected=selected)
    if snapshot is None:
        return types.InlineCompletionList(items=[])
    offset = to_offset(snapshot, position.line, position.character, session.encoding)
    found = await suggest(session, snapshot, offset, invoked=invoked)
    return types.InlineCompletionList(items=to_items(found.candidates, found.offers, position))

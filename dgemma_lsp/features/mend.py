"""``dgemma/mend``, and the same as a quick fix.

A quick fix costs nothing until it is chosen: offering it parses the neighbourhood and asks no
runtime, and the edit is made when the client resolves it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
from lsprotocol import types

from dgemma_lsp import mending, methods
from dgemma_lsp.features.convert import (
    covers,
    from_range,
    to_mend_result,
    to_offsets,
    to_preview,
    to_workspace_edit,
)
from dgemma_lsp.features.inline_completion import INVOKED_DEADLINE_FACTOR
from dgemma_lsp.infill.repairs.broken import find_broken, is_broken
from dgemma_lsp.infill.types import Declined, DeclineReason
from dgemma_lsp.mending import MendOutcome
from dgemma_lsp.pipeline import Options, Silence
from dgemma_lsp.session import Session, Superseded
from dgemma_wire import messages as wire
from dgemma_wire.errors import AddressError, FailureCode

KIND = types.CodeActionKind.QuickFix
TITLE = "Mend this region with dgemma"

Preview = Callable[[methods.PreviewParams], None]

_DATA = "mend"
"""Name under which an action's data holds the parameters; tells it from other actions of ours."""


async def mend(
    session: Session, params: methods.MendParams, preview: Preview | None = None
) -> methods.MendResult:
    """Answer one request; asked for by name, so ``manual`` mode does not hold it."""
    uri, version = params.text_document.uri, params.text_document.version
    await session.until_configured()
    snapshot = session.documents.snapshot(uri)
    declined = session.decline(uri, invoked=True)
    if snapshot is None or declined is not None:
        found = MendOutcome(declined=declined or DeclineReason.UNKNOWN_DOCUMENT)
        session.tally.add(found)
        return to_mend_result(found, None, session.encoding)
    if version is not None and version != snapshot.version:
        return _stale(session)
    start, end = to_offsets(snapshot, params.range, session.encoding)
    on_draft = None if preview is None else _drafts(params, preview)
    options = Options(
        # Not the fills' key: typing elsewhere in the document must not end a mend.
        document=session.document_key(f"mend {uri}"),
        invoked=True,
        candidates=params.candidates or session.settings.candidates,
        deadline_ms=params.deadline_ms or session.settings.deadline_ms * INVOKED_DEADLINE_FACTOR,
        seed=params.seed,
        draft_every_ms=None if on_draft is None else params.preview_every_ms,
        adapter=session.adapter_for(uri),
    )
    try:
        work = mending.run(snapshot, start, end, options, session.client, on_draft)
        found = await session.newest(f"mend {uri}", work)
    except Superseded:
        text = "could not mend: a newer request for the document took this one's place."
        found = MendOutcome(silence=FailureCode.SUPERSEDED, message=text)
    except AddressError as err:
        session.tell_problem(str(err))
        found = MendOutcome(silence=Silence.NO_RUNTIME, message=f"could not mend: {err}")
    now = session.documents.get(uri)
    if found.edit is not None and (now is None or now.version != snapshot.version):
        return _stale(session)
    return to_mend_result(found, snapshot, session.encoding)


def _drafts(params: methods.MendParams, preview: Preview) -> Callable[[wire.Draft], None] | None:
    """Return what turns drafts into previews, where they are wanted."""
    token = params.preview_token
    if token is None:
        return None

    return lambda draft: preview(to_preview(token, draft))


def _stale(session: Session) -> methods.MendResult:
    session.tally.silent[Silence.STALE] += 1
    text = "could not mend: the document has changed since; nothing was changed."
    found = MendOutcome(silence=Silence.STALE, message=text)
    return to_mend_result(found, None, session.encoding)


def code_actions(session: Session, params: types.CodeActionParams) -> list[types.CodeAction]:
    """Offer to mend what is broken at a range, without asking anybody.

    A syntax error of ours is mended where it is. Where the client alone sees an error, its range
    is mended, provided there is a syntax error nearby: only those can be seen to go away.
    """
    uri, wanted = params.text_document.uri, params.context.only
    if wanted is not None and not any(covers(str(kind), KIND.value) for kind in wanted):
        return []
    snapshot = session.documents.snapshot(uri)
    if snapshot is None or session.decline(uri, invoked=True) is not None:
        return []
    asked = from_range(params.range)
    start, end = to_offsets(snapshot, asked, session.encoding)
    told = [
        each
        for each in params.context.diagnostics
        if each.severity is types.DiagnosticSeverity.Error
        and _touch(to_offsets(snapshot, from_range(each.range), session.encoding), (start, end))
    ]
    range_ = asked if is_broken(snapshot, start, end) else None
    for each in told:
        there = from_range(each.range)
        if range_ is None and not isinstance(
            find_broken(snapshot, *to_offsets(snapshot, there, session.encoding)), Declined
        ):
            range_ = there
    if range_ is None:
        return []
    document = methods.DocumentId(uri=uri, version=snapshot.version)
    wants = methods.MendParams(text_document=document, range=range_)
    return [
        types.CodeAction(
            title=TITLE,
            kind=KIND,
            diagnostics=told or None,
            data={_DATA: msgspec.to_builtins(wants)},
        )
    ]


def is_mend(data: Any) -> bool:
    """Whether an action's data is what ``code_actions`` put there."""
    return isinstance(data, dict) and _DATA in cast("dict[str, Any]", data)


async def resolve(session: Session, action: types.CodeAction, data: Any) -> str | None:
    """Give a chosen action its edit; returns why there is none, in words.

    ``data`` is what ``is_mend`` said yes to.
    """
    try:
        params = msgspec.convert(data[_DATA], type=methods.MendParams)
    except msgspec.ValidationError:
        return "This action is not one of dgemma's."
    result = await mend(session, params)
    if result.edit is None:
        return result.message or result.reason
    action.edit = to_workspace_edit(result.edit)
    return None


def _touch(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]

"""``dgemma/rewrite``, ``dgemma/rewrites``, and the same as code actions.

A code action costs nothing until it is chosen: listing them asks no runtime and starts none, and
the edit is made when the client resolves the one that was picked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from lsprotocol import types

from dgemma_lsp import methods, rewriting
from dgemma_lsp.features.convert import (
    covers,
    from_range,
    to_confirmed_edit,
    to_offsets,
    to_preview,
    to_range,
    to_rewrite_result,
    to_workspace_edit,
)
from dgemma_lsp.features.inline_completion import INVOKED_DEADLINE_FACTOR
from dgemma_lsp.infill import rewrite as core
from dgemma_lsp.infill.types import Declined, DeclineReason, Selection, Snapshot
from dgemma_lsp.languages import by_id
from dgemma_lsp.pipeline import Options, Silence
from dgemma_lsp.rewriting import Rewritten
from dgemma_lsp.session import Session, Superseded
from dgemma_wire import messages as wire
from dgemma_wire.errors import AddressError, FailureCode, RuntimeUnavailable

KIND = types.CodeActionKind.RefactorRewrite

Preview = Callable[[methods.PreviewParams], None]


async def rewrite(
    session: Session, params: methods.RewriteParams, preview: Preview | None = None
) -> methods.RewriteResult:
    """Answer one request; asked for by name, so ``manual`` mode does not hold it."""
    uri, version = params.text_document.uri, params.text_document.version
    await session.until_configured()
    snapshot = session.documents.snapshot(uri)
    declined = session.decline(uri, invoked=True)
    if snapshot is None or declined is not None:
        found = Rewritten(declined=declined or DeclineReason.UNKNOWN_DOCUMENT)
        session.tally.add(found)
        return to_rewrite_result(found, None, session.encoding)
    if version is not None and version != snapshot.version:
        return _stale(session)
    start, end = to_offsets(snapshot, params.range, session.encoding)
    on_draft = drafts(session, snapshot, params.preview_token, preview)
    options = Options(
        # Not the fills' key: typing elsewhere in the document must not end a rewrite.
        document=session.document_key(f"rewrite {uri}"),
        invoked=True,
        candidates=params.candidates or session.settings.candidates,
        deadline_ms=params.deadline_ms or session.settings.deadline_ms * INVOKED_DEADLINE_FACTOR,
        seed=params.seed,
        draft_every_ms=None if on_draft is None else params.preview_every_ms,
        adapter=session.adapter_for(uri),
    )
    try:
        work = rewriting.run(
            snapshot,
            start,
            end,
            params.instruction,
            options,
            session.client(),
            pinned=[to_offsets(snapshot, each, session.encoding) for each in params.pinned],
            noise=params.noise,
            on_draft=on_draft,
        )
        found = await session.newest(f"rewrite {uri}", work)
    except Superseded:
        text = "A newer rewrite of the document took this one's place."
        found = Rewritten(silence=FailureCode.SUPERSEDED, message=text)
    except AddressError as err:
        session.tell_problem(str(err))
        found = Rewritten(silence=Silence.NO_RUNTIME, message=str(err))
    now = session.documents.get(uri)
    if found.edit is None:
        return to_rewrite_result(found, snapshot, session.encoding)
    if now is None or now.version != snapshot.version:
        return _stale(session)
    proposal = session.proposals.add(
        uri,
        found.start,
        found.old,
        found.hunks,
        found.instruction or params.instruction,
        noise=params.noise,
        seed=params.seed,
    )
    return to_rewrite_result(found, snapshot, session.encoding, proposal)


def drafts(
    session: Session, snapshot: Snapshot, token: str | int | None, preview: Preview | None
) -> rewriting.OnBlockDraft | None:
    """Return what sends a client the previews it asked for under a token, if it did."""
    if token is None or preview is None:
        return None

    def on_draft(canvas: int, runs: tuple[Selection, ...], draft: wire.Draft) -> None:
        ranges = tuple(to_range(snapshot, run.start, run.end, session.encoding) for run in runs)
        preview(to_preview(token, draft, canvas, ranges))

    return on_draft


def _stale(session: Session) -> methods.RewriteResult:
    session.tally.silent[Silence.STALE] += 1
    text = "The document has changed since; nothing was rewritten."
    return to_rewrite_result(Rewritten(silence=Silence.STALE, message=text), None, session.encoding)


async def rewrites(session: Session, params: methods.RewritesParams) -> methods.RewritesResult:
    """Say what the model offers; starts a runtime, which alone knows."""
    await session.until_configured()
    try:
        welcome = await session.client().welcome()
    except (AddressError, RuntimeUnavailable) as err:
        return methods.RewritesResult(rewrites=(), message=str(err))
    offers = welcome.capabilities.rewrites
    if params.language is not None:
        offers = core.offers_for(by_id(params.language), offers)
    anything = welcome.capabilities.instructions
    message = None
    if not offers and not anything:
        message = f"{welcome.model} was not trained for rewrites here."
    return methods.RewritesResult(rewrites=offers, instructions=anything, message=message)


def code_actions(session: Session, params: types.CodeActionParams) -> list[types.CodeAction]:
    """List the rewrites of a selection, without asking anybody."""
    uri, wanted = params.text_document.uri, params.context.only
    if wanted is not None and not any(covers(str(kind), KIND.value) for kind in wanted):
        return []
    invoked = params.context.trigger_kind is not types.CodeActionTriggerKind.Automatic
    empty = params.range.start == params.range.end
    snapshot = session.documents.snapshot(uri)
    declined = session.decline(uri, invoked=True)
    if snapshot is None or declined is not None or (empty and not invoked):
        return []
    start, end = to_offsets(snapshot, from_range(params.range), session.encoding)
    if isinstance(core.select(snapshot, start, end), Declined):
        return []
    document = methods.DocumentId(uri=uri, version=snapshot.version)
    return [
        types.CodeAction(
            title=f"dgemma: {offer.instruction}",
            kind=KIND,
            data=msgspec.to_builtins(
                methods.RewriteParams(
                    text_document=document,
                    range=from_range(params.range),
                    instruction=offer.instruction,
                )
            ),
        )
        for offer in core.offers_for(snapshot.language, session.offers)
        if not core.takes_argument(offer)  # a menu has no place to type one
    ]


async def resolve(session: Session, action: types.CodeAction, data: Any) -> str | None:
    """Give a chosen action its edit; returns why there is none, in words.

    ``data`` is what ``code_actions`` put there, as plain values.
    """
    try:
        params = msgspec.convert(data, type=methods.RewriteParams)
    except msgspec.ValidationError:
        return "This action is not one of dgemma's."
    result = await rewrite(session, params)
    if result.edit is None:
        return result.message or result.reason
    if session.confirms_edits:
        action.edit = to_confirmed_edit(result, action.title)
    else:
        action.edit = to_workspace_edit(result.edit)
    return None

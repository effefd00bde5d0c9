"""``dgemma/fill``: the same pipeline as a completion, with all that is known of the answer."""

from __future__ import annotations

from collections.abc import Callable

from dgemma_lsp import methods, pipeline
from dgemma_lsp.features.convert import to_fill_result, to_offset, to_preview
from dgemma_lsp.features.inline_completion import INVOKED_DEADLINE_FACTOR
from dgemma_lsp.infill.types import DeclineReason
from dgemma_lsp.pipeline import Options, Outcome
from dgemma_lsp.session import Session, Superseded
from dgemma_wire import messages as wire
from dgemma_wire.errors import AddressError, FailureCode

Preview = Callable[[methods.PreviewParams], None]


async def fill(
    session: Session, params: methods.FillParams, preview: Preview
) -> methods.FillResult:
    """Answer one request; asked for by name, so neither debounce nor ``manual`` mode hold it."""
    uri = params.text_document.uri
    await session.until_configured()
    snapshot = session.documents.snapshot(uri)
    declined = session.decline(uri, invoked=True)
    if snapshot is None or declined is not None:
        outcome = Outcome(declined=declined or DeclineReason.UNKNOWN_DOCUMENT)
        session.tally.add(outcome)
        return to_fill_result(outcome, None)
    offset = to_offset(snapshot, params.position.line, params.position.character, session.encoding)
    token = params.preview_token

    def on_draft(draft: wire.Draft) -> None:
        assert token is not None
        preview(to_preview(token, draft))

    options = Options(
        document=session.document_key(uri),
        invoked=True,
        candidates=params.candidates or session.settings.candidates,
        deadline_ms=params.deadline_ms or session.settings.deadline_ms * INVOKED_DEADLINE_FACTOR,
        max_steps=params.max_steps,
        seed=params.seed,
        draft_every_ms=None if token is None else params.preview_every_ms,
        show_unsure=True,
        adapter=session.adapter_for(uri),
        surroundings=session.surroundings,
    )
    try:
        work = pipeline.fill(
            snapshot, offset, options, session.client(), None if token is None else on_draft
        )
        outcome = await session.newest(uri, work)
    except Superseded:
        text = "A newer request for the document took this one's place."
        outcome = Outcome(silence=FailureCode.SUPERSEDED, message=text)
    except AddressError as err:
        session.tell_problem(str(err))
        outcome = Outcome(silence=pipeline.Silence.NO_RUNTIME, message=str(err))
    return to_fill_result(outcome, snapshot.version)

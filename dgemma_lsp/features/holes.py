"""``dgemma/holes`` and ``dgemma/fillHoles``: the marked holes of a document, and texts for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dgemma_lsp import filling, methods
from dgemma_lsp.features.convert import (
    to_fill_holes_result,
    to_offsets,
    to_preview,
    to_range,
)
from dgemma_lsp.features.inline_completion import INVOKED_DEADLINE_FACTOR
from dgemma_lsp.filling import FilledHoles, OnCanvas
from dgemma_lsp.infill.graphemes import is_border
from dgemma_lsp.infill.marks import Mark, Marked, find_marked
from dgemma_lsp.infill.types import DeclineReason, Snapshot
from dgemma_lsp.pipeline import Options, Silence
from dgemma_lsp.session import Session, Superseded
from dgemma_wire import messages as wire
from dgemma_wire.errors import AddressError, FailureCode

Preview = Callable[[methods.PreviewParams], None]

_STALE = "The document has changed since; nothing was changed."


async def holes(session: Session, params: methods.HolesParams) -> methods.HolesResult:
    """Answer one request; asks no runtime."""
    uri, version = params.text_document.uri, params.text_document.version
    await session.until_configured()
    snapshot = session.documents.snapshot(uri)
    declined = session.decline(uri, invoked=True)
    if snapshot is None or declined is not None:
        reason = declined or DeclineReason.UNKNOWN_DOCUMENT
        return methods.HolesResult(holes=(), message=str(reason))
    if version is not None and version != snapshot.version:
        return methods.HolesResult(holes=(), message=_STALE)
    found = _marked(session, snapshot, params.range)
    return methods.HolesResult(
        holes=tuple(
            methods.MarkedHole(
                range=to_range(snapshot, each.start, each.end, session.encoding),
                mark=str(each.mark),
            )
            for each in found
        ),
        message=None if found else filling.NOTHING_MARKED,
    )


async def fill_holes(
    session: Session, params: methods.FillHolesParams, preview: Preview | None = None
) -> methods.FillHolesResult:
    """Answer one request; asked for by name, so ``manual`` mode does not hold it."""
    uri, version = params.text_document.uri, params.text_document.version
    await session.until_configured()
    snapshot = session.documents.snapshot(uri)
    declined = session.decline(uri, invoked=True)
    if snapshot is None or declined is not None:
        return _declined(session, declined or DeclineReason.UNKNOWN_DOCUMENT)
    if version is not None and version != snapshot.version:
        return _stale(session, FilledHoles(), snapshot)
    if params.holes is None:
        marked = _marked(session, snapshot, params.range)
    else:
        given = _given(session, snapshot, params.holes)
        if isinstance(given, DeclineReason):
            return _declined(session, given)
        marked = given
    on_canvas = None if preview is None else _drafts(session, snapshot, params, preview)
    options = Options(
        # Not the fills' key: typing elsewhere in the document must not end it.
        document=session.document_key(f"holes {uri}"),
        invoked=True,
        candidates=session.settings.candidates,
        deadline_ms=params.deadline_ms or session.settings.deadline_ms * INVOKED_DEADLINE_FACTOR,
        seed=params.seed,
        draft_every_ms=None if on_canvas is None else params.preview_every_ms,
        show_unsure=True,
        surroundings=session.surroundings,
        adapter=session.adapter_for(uri),
    )
    try:
        work = filling.run(snapshot, marked, options, session.client(), on_canvas)
        found = await session.newest(f"holes {uri}", work)
    except Superseded:
        text = "A newer request for the document's holes took this one's place."
        found = FilledHoles(silence=FailureCode.SUPERSEDED, message=text)
    except AddressError as err:
        session.tell_problem(str(err))
        found = FilledHoles(silence=Silence.NO_RUNTIME, message=str(err))
    now = session.documents.get(uri)
    if now is None or now.version != snapshot.version:
        return _stale(session, found, snapshot)
    return to_fill_holes_result(found, snapshot, session.encoding)


def _marked(
    session: Session, snapshot: Snapshot, range_: methods.Range | None
) -> tuple[Marked, ...]:
    if range_ is None:
        return find_marked(snapshot)
    return find_marked(snapshot, *sorted(to_offsets(snapshot, range_, session.encoding)))


def _given(
    session: Session, snapshot: Snapshot, ranges: Sequence[methods.Range]
) -> tuple[Marked, ...] | DeclineReason:
    """The holes that a client names, in order; the same one twice is one."""
    places = sorted(
        {tuple(sorted(to_offsets(snapshot, each, session.encoding))) for each in ranges}
    )
    found: list[Marked] = []
    for start, end in places:
        if not is_border(snapshot.text, start) or not is_border(snapshot.text, end):
            return DeclineReason.OUT_OF_RANGE
        if found and (start < found[-1].end or start == found[-1].start):
            return DeclineReason.OVERLAPPING
        found.append(Marked(start, end, Mark.GIVEN))
    return tuple(found)


def _drafts(
    session: Session, snapshot: Snapshot, params: methods.FillHolesParams, preview: Preview
) -> OnCanvas | None:
    """Return what turns drafts into previews, where they are wanted."""
    token = params.preview_token
    if token is None:
        return None

    def on_canvas(draft: wire.Draft, canvas: int, marked: Sequence[Marked]) -> None:
        ranges = tuple(
            to_range(snapshot, each.start, each.end, session.encoding) for each in marked
        )
        preview(to_preview(token, draft, canvas, ranges))

    return on_canvas


def _declined(session: Session, reason: DeclineReason) -> methods.FillHolesResult:
    found = FilledHoles(declined=reason)
    session.tally.add(found)
    return to_fill_holes_result(found, None, session.encoding)


def _stale(session: Session, found: FilledHoles, snapshot: Snapshot) -> methods.FillHolesResult:
    """The document is another one now: what was found is told, and not made an edit."""
    session.tally.silent[Silence.STALE] += 1
    told = FilledHoles(silence=Silence.STALE, message=_STALE, model=found.model, times=found.times)
    return to_fill_holes_result(told, snapshot, session.encoding)

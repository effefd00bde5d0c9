"""Between LSP's types and ours: positions to offsets, candidates to items. The only place."""

from __future__ import annotations

from collections.abc import Iterable

from lsprotocol import types

from dgemma_lsp import methods
from dgemma_lsp.documents import Change, Position
from dgemma_lsp.infill.types import Candidate, Edit, Snapshot
from dgemma_lsp.mending import MendOutcome
from dgemma_lsp.pipeline import Outcome
from dgemma_lsp.rewriting import Rewritten
from dgemma_lsp.syntax.lines import Encoding
from dgemma_wire import messages as wire


def to_offset(snapshot: Snapshot, line: int, character: int, encoding: Encoding) -> int:
    """Return the offset of a position; one out of range is clamped, as LSP says."""
    return snapshot.parsed.offset_at(line, character, encoding)


def to_offsets(snapshot: Snapshot, range_: methods.Range, encoding: Encoding) -> tuple[int, int]:
    """Return the offsets of a range."""
    start, end = (
        to_offset(snapshot, at.line, at.character, encoding) for at in (range_.start, range_.end)
    )
    return start, end


def to_preview(token: str | int, draft: wire.Draft) -> methods.PreviewParams:
    """Return a draft of the runtime as a preview under a client's token."""
    return methods.PreviewParams(
        token=token,
        candidate=draft.candidate,
        step=draft.step,
        max_steps=draft.max_steps,
        spans=draft.spans,
    )


def covers(kind: str, other: str) -> bool:
    """Whether a kind of code action covers another, as ``refactor`` does ``refactor.rewrite``."""
    return not kind or other == kind or other.startswith(f"{kind}.")


def to_changes(
    changes: Iterable[types.TextDocumentContentChangeEvent],
) -> list[Change]:
    """Return the changes of a ``didChange``."""
    made: list[Change] = []
    for change in changes:
        if isinstance(change, types.TextDocumentContentChangePartial):
            start, end = change.range.start, change.range.end
            made.append(
                Change(
                    change.text,
                    Position(start.line, start.character),
                    Position(end.line, end.character),
                )
            )
        else:
            made.append(Change(change.text))
    return made


def to_items(
    candidates: Iterable[Candidate], position: types.Position, uri: str, version: int
) -> list[types.InlineCompletionItem]:
    """Return candidates as items that every client understands in the same way.

    The range is explicit and empty, since clients disagree on what is replaced without one; the
    text is a plain string, since one client expands a snippet without using its range; the
    command is the only sign of acceptance that clients give.
    """
    here = types.Range(start=position, end=position)
    return [
        types.InlineCompletionItem(
            insert_text=candidate.text,
            range=here,
            command=types.Command(
                title="Accepted",
                command=methods.ACCEPTED,
                arguments=[{"uri": uri, "version": version, "characters": len(candidate.text)}],
            ),
        )
        for candidate in candidates
    ]


def to_fill_result(outcome: Outcome, version: int | None) -> methods.FillResult:
    """Return an outcome as the result of ``dgemma/fill``."""
    shown = outcome.shown
    return methods.FillResult(
        text=shown[0].text if shown else None,
        reason=_reason(outcome),
        message=outcome.message,
        version=version,
        kind=None if outcome.hole is None else str(outcome.hole.kind),
        candidates=tuple(_candidate(each) for each in outcome.candidates),
        timings=_phases(outcome),
        model=outcome.model,
    )


def to_rewrite_result(
    found: Rewritten, snapshot: Snapshot | None, encoding: Encoding
) -> methods.RewriteResult:
    """Return what came of a rewrite as the result of ``dgemma/rewrite``."""
    return methods.RewriteResult(
        edit=_versioned(found.edit, snapshot, encoding),
        proposal=None,
        hunks=(),
        canvases=1,
        reason=_reason(found),
        message=found.message,
        instruction=found.instruction,
        candidates=tuple(_candidate(each) for each in found.candidates),
        timings=_phases(found),
        model=found.model,
    )


def to_mend_result(
    found: MendOutcome, snapshot: Snapshot | None, encoding: Encoding
) -> methods.MendResult:
    """Return what came of a mend as the result of ``dgemma/mend``."""
    region = None
    if found.region is not None and snapshot is not None:
        region = _range(snapshot, found.region.start, found.region.end, encoding)
    return methods.MendResult(
        edit=_versioned(found.edit, snapshot, encoding),
        region=region,
        how=None if found.how is None else str(found.how),
        rounds=found.rounds,
        errors_before=found.errors_before,
        errors_after=found.errors_after,
        reason=_reason(found),
        message=found.message,
        candidates=tuple(_candidate(each) for each in found.candidates),
        timings=_phases(found),
        model=found.model,
    )


def _versioned(
    edit: Edit | None, snapshot: Snapshot | None, encoding: Encoding
) -> methods.VersionedEdit | None:
    if edit is None or snapshot is None:
        return None
    range_ = _range(snapshot, edit.start, edit.end, encoding)
    change = methods.TextEdit(range=range_, new_text=edit.text)
    document = methods.DocumentId(uri=snapshot.uri, version=edit.version)
    return methods.VersionedEdit(
        document_changes=(methods.DocumentEdit(text_document=document, edits=(change,)),)
    )


def _range(snapshot: Snapshot, start: int, end: int, encoding: Encoding) -> methods.Range:
    return methods.Range(
        start=_position(snapshot, start, encoding), end=_position(snapshot, end, encoding)
    )


def _position(snapshot: Snapshot, offset: int, encoding: Encoding) -> methods.Position:
    line, character = snapshot.parsed.position_at(offset, encoding)
    return methods.Position(line=line, character=character)


def to_workspace_edit(edit: methods.VersionedEdit) -> types.WorkspaceEdit:
    """Return an edit of ours in LSP's types."""
    return types.WorkspaceEdit(
        document_changes=[
            types.TextDocumentEdit(
                text_document=types.OptionalVersionedTextDocumentIdentifier(
                    uri=document.text_document.uri, version=document.text_document.version
                ),
                edits=[
                    types.TextEdit(_to_range(change.range), change.new_text)
                    for change in document.edits
                ],
            )
            for document in edit.document_changes
        ]
    )


def _to_range(range_: methods.Range) -> types.Range:
    return types.Range(
        *(types.Position(at.line, at.character) for at in (range_.start, range_.end))
    )


def from_range(range_: types.Range) -> methods.Range:
    """Return a range of LSP's in our shape."""
    start, end = (
        methods.Position(line=at.line, character=at.character) for at in (range_.start, range_.end)
    )
    return methods.Range(start=start, end=end)


def _reason(outcome: Outcome) -> str | None:
    reason = outcome.declined or outcome.silence
    return None if reason is None else str(reason)


def _phases(outcome: Outcome) -> methods.Phases:
    times = outcome.times
    return methods.Phases(
        capture_ms=times.capture_ms,
        wire_ms=times.wire_ms,
        validate_ms=times.validate_ms,
        mend_ms=times.mend_ms,
        total_ms=times.total_ms,
        cached=False,
        runtime=times.runtime,
    )


def _candidate(candidate: Candidate) -> methods.CandidateResult:
    verdict = candidate.verdict
    return methods.CandidateResult(
        text=candidate.text,
        score=candidate.score,
        lowest=candidate.lowest,
        steps=candidate.steps,
        stopped=candidate.stopped,
        verdict=methods.VerdictResult(
            accepted=verdict.accepted,
            reason=None if verdict.reason is None else str(verdict.reason),
            parser=verdict.parser,
            errors_before=verdict.errors_before,
            errors_after=verdict.errors_after,
            trimmed=verdict.trimmed,
            faults=tuple(
                methods.FaultResult(
                    reason=str(fault.reason),
                    start=fault.start,
                    end=fault.end,
                    place=str(fault.place),
                    missing=fault.missing,
                    message=fault.message,
                )
                for fault in verdict.faults
            ),
        ),
        mended=None if candidate.mended is None else str(candidate.mended),
        rounds=candidate.rounds,
    )

"""Between LSP's types and ours: positions to offsets, candidates to items. The only place."""

from __future__ import annotations

from collections.abc import Iterable

from lsprotocol import types

from dgemma_lsp import methods
from dgemma_lsp.documents import Change, Position
from dgemma_lsp.filling import FilledHoles
from dgemma_lsp.infill.hunks import Hunk
from dgemma_lsp.infill.tokens import tokens_of
from dgemma_lsp.infill.types import Candidate, Edit, Snapshot
from dgemma_lsp.mending import MendOutcome
from dgemma_lsp.pipeline import Outcome
from dgemma_lsp.proposals import Proposal
from dgemma_lsp.rewriting import Rewritten
from dgemma_lsp.syntax.lines import Encoding
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_wire import messages as wire

_REWRITE = "dgemma.rewrite"
"""Name of the annotation that the changes of a rewrite have in common."""


def to_offset(snapshot: Snapshot, line: int, character: int, encoding: Encoding) -> int:
    """Return the offset of a position; one out of range is clamped, as LSP says."""
    return snapshot.parsed.offset_at(line, character, encoding)


def to_offsets(snapshot: Snapshot, range_: methods.Range, encoding: Encoding) -> tuple[int, int]:
    """Return the offsets of a range."""
    start, end = (
        to_offset(snapshot, at.line, at.character, encoding) for at in (range_.start, range_.end)
    )
    return start, end


def to_preview(
    token: str | int, draft: wire.Draft, canvas: int = 0, ranges: tuple[methods.Range, ...] = ()
) -> methods.PreviewParams:
    """Return a draft of the runtime as a preview under a client's token."""
    return methods.PreviewParams(
        token=token,
        candidate=draft.candidate,
        step=draft.step,
        max_steps=draft.max_steps,
        spans=draft.spans,
        canvas=canvas,
        ranges=ranges,
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
        timings=to_phases(outcome),
        model=outcome.model,
    )


def to_rewrite_result(
    found: Rewritten,
    snapshot: Snapshot | None,
    encoding: Encoding,
    proposal: Proposal | None = None,
) -> methods.RewriteResult:
    """Return what came of a rewrite as the result of ``dgemma/rewrite``."""
    return methods.RewriteResult(
        edit=_versioned(found.edit, snapshot, encoding),
        proposal=None if proposal is None else proposal.id,
        hunks=()
        if snapshot is None
        else tuple(
            _hunk(hunk, snapshot.parsed, found.start + hunk.start, encoding) for hunk in found.hunks
        ),
        canvases=found.canvases,
        reason=_reason(found),
        message=found.message,
        instruction=found.instruction,
        candidates=tuple(_candidate(each) for each in found.candidates),
        timings=to_phases(found),
        model=found.model,
    )


def to_open_hunks(
    proposal: Proposal, parsed: ParsedText, encoding: Encoding
) -> tuple[methods.HunkResult, ...]:
    """Return the open hunks of a proposal that was located in a text."""
    return tuple(
        _hunk(hunk, parsed, proposal.place(hunk, proposal.made)[0], encoding)
        for hunk in proposal.open
    )


def _hunk(hunk: Hunk, parsed: ParsedText, start: int, encoding: Encoding) -> methods.HunkResult:
    return methods.HunkResult(
        id=hunk.id,
        range=_text_range(parsed, start, start + len(hunk.old), encoding),
        old_text=hunk.old,
        new_text=hunk.new,
        tokens=tuple(
            methods.TokenResult(start=low, end=high, probability=probability)
            for low, high, probability in hunk.tokens
        ),
    )


def to_versioned(
    edits: Iterable[Edit], snapshot: Snapshot, encoding: Encoding
) -> methods.VersionedEdit:
    """Return edits of a document, which do not touch, as one for its version."""
    changes = tuple(
        methods.TextEdit(
            range=to_range(snapshot, each.start, each.end, encoding), new_text=each.text
        )
        for each in edits
    )
    document = methods.DocumentId(uri=snapshot.uri, version=snapshot.version)
    return methods.VersionedEdit(
        document_changes=(methods.DocumentEdit(text_document=document, edits=changes),)
    )


def to_fill_holes_result(
    found: FilledHoles, snapshot: Snapshot | None, encoding: Encoding
) -> methods.FillHolesResult:
    """Return what came of several holes as the result of ``dgemma/fillHoles``."""
    holes: list[methods.FilledHole] = []
    edits: list[methods.TextEdit] = []
    for each in found.holes if snapshot is not None else ():
        assert snapshot is not None
        range_ = to_range(snapshot, each.marked.start, each.marked.end, encoding)
        tokens: tuple[methods.TokenResult, ...] = ()
        if each.text is not None:
            edits.append(methods.TextEdit(range=range_, new_text=each.text))
            if each.candidate is not None:
                tokens = to_tokens(each.candidate, len(each.marked.lead))
        holes.append(
            methods.FilledHole(
                range=range_,
                mark=str(each.marked.mark),
                old_text=each.original,
                text=each.text,
                reason=each.reason,
                tokens=tokens,
            )
        )
    edit = None
    if edits and snapshot is not None:
        document = methods.DocumentId(uri=snapshot.uri, version=snapshot.version)
        change = methods.DocumentEdit(text_document=document, edits=tuple(edits))
        edit = methods.VersionedEdit(document_changes=(change,))
    return methods.FillHolesResult(
        holes=tuple(holes),
        edit=edit,
        canvases=found.canvases,
        reason=_reason(found),
        message=found.message,
        timings=to_phases(found),
        model=found.model,
    )


def to_tokens(candidate: Candidate, shift: int = 0) -> tuple[methods.TokenResult, ...]:
    """Return the tokens of a candidate's text, ``shift`` characters further on."""
    return tuple(
        methods.TokenResult(
            start=token.start + shift, end=token.end + shift, probability=token.probability
        )
        for token in tokens_of(candidate)
    )


def to_mend_result(
    found: MendOutcome, snapshot: Snapshot | None, encoding: Encoding
) -> methods.MendResult:
    """Return what came of a mend as the result of ``dgemma/mend``."""
    region = None
    if found.region is not None and snapshot is not None:
        region = to_range(snapshot, found.region.start, found.region.end, encoding)
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
        timings=to_phases(found),
        model=found.model,
    )


def _versioned(
    edit: Edit | None, snapshot: Snapshot | None, encoding: Encoding
) -> methods.VersionedEdit | None:
    return None if edit is None or snapshot is None else to_versioned([edit], snapshot, encoding)


def to_range(snapshot: Snapshot, start: int, end: int, encoding: Encoding) -> methods.Range:
    """Return a range of offsets as it travels."""
    return _text_range(snapshot.parsed, start, end, encoding)


def _text_range(parsed: ParsedText, start: int, end: int, encoding: Encoding) -> methods.Range:
    return methods.Range(
        start=_position(parsed, start, encoding), end=_position(parsed, end, encoding)
    )


def _position(parsed: ParsedText, offset: int, encoding: Encoding) -> methods.Position:
    line, character = parsed.position_at(offset, encoding)
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
                    types.TextEdit(to_lsp_range(change.range), change.new_text)
                    for change in document.edits
                ],
            )
            for document in edit.document_changes
        ]
    )


def to_confirmed_edit(result: methods.RewriteResult, label: str) -> types.WorkspaceEdit | None:
    """Return a rewrite as changes that a person confirms first, one for each hunk."""
    if result.edit is None:
        return None
    (document,) = result.edit.document_changes
    identifier = types.OptionalVersionedTextDocumentIdentifier(
        uri=document.text_document.uri, version=document.text_document.version
    )
    return types.WorkspaceEdit(
        document_changes=[
            types.TextDocumentEdit(
                text_document=identifier,
                edits=[
                    types.AnnotatedTextEdit(_REWRITE, to_lsp_range(hunk.range), hunk.new_text)
                    for hunk in result.hunks
                ],
            )
        ],
        change_annotations={
            _REWRITE: types.ChangeAnnotation(
                label, needs_confirmation=True, description=result.message
            )
        },
    )


def to_lsp_range(range_: methods.Range) -> types.Range:
    """Return a range of ours in LSP's type."""
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


def to_phases(outcome: Outcome) -> methods.Phases:
    """Return where an outcome's time went."""
    times = outcome.times
    return methods.Phases(
        capture_ms=times.capture_ms,
        wire_ms=times.wire_ms,
        validate_ms=times.validate_ms,
        second_ms=times.second_ms,
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
        tokens=to_tokens(candidate),
    )

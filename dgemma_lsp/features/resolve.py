"""``dgemma/resolve``: hunks of a proposed rewrite are taken, left, or done once more.

Taking and leaving ask no runtime; only a redo does, under the settings a rewrite is under.
"""

from __future__ import annotations

from dgemma_lsp import methods, redoing
from dgemma_lsp.features.convert import to_open_hunks, to_phases, to_versioned
from dgemma_lsp.features.inline_completion import INVOKED_DEADLINE_FACTOR
from dgemma_lsp.features.rewrite import Preview, drafts
from dgemma_lsp.infill.types import DeclineReason, Edit, Snapshot
from dgemma_lsp.pipeline import Options, Outcome, Silence
from dgemma_lsp.proposals import Proposal
from dgemma_lsp.redoing import Redone
from dgemma_lsp.session import Session, Superseded
from dgemma_wire.errors import AddressError, FailureCode


async def resolve(
    session: Session, params: methods.ResolveParams, preview: Preview | None = None
) -> methods.ResolveResult:
    """Answer one request."""
    await session.until_configured()
    proposal = session.proposals.get(params.proposal)
    if proposal is None:
        return _refused(
            DeclineReason.UNKNOWN_PROPOSAL,
            f"The proposal {params.proposal} is not known any more; ask for the rewrite again.",
        )
    snapshot = session.documents.snapshot(proposal.uri)
    if snapshot is None or not proposal.locate(snapshot.text):
        return _stale(session)
    if params.action == "show":
        return _resolved(_hunks(session, proposal, snapshot))
    known = {hunk.id for hunk in proposal.open}
    ids = known if params.hunks is None else set(params.hunks)
    if not ids or not ids <= known:
        return _refused(
            DeclineReason.NOT_OPEN, _not_open(ids, known), _hunks(session, proposal, snapshot)
        )
    match params.action:
        case "accept":
            return _accept(session, proposal, ids, snapshot)
        case "reject":
            proposal.reject(ids)
            return _resolved(_hunks(session, proposal, snapshot))
        case "redo":
            return await _redo(session, params, proposal, ids, snapshot, preview)


def _not_open(ids: set[int], known: set[int]) -> str:
    if not known:
        return "Every hunk of the proposal is decided on already."
    there = ", ".join(map(str, sorted(known)))
    if not ids:
        return f"No hunk was named; these are open: {there}."
    return f"Not open: {', '.join(map(str, sorted(ids - known)))}. These are: {there}."


def _accept(
    session: Session, proposal: Proposal, ids: set[int], snapshot: Snapshot
) -> methods.ResolveResult:
    """Take hunks: one edit for all of them, and the others as they then stand."""
    taken = [hunk for hunk in proposal.hunks if hunk.id in ids]
    places = [proposal.place(hunk, proposal.made) for hunk in taken]
    edits = [
        Edit(start, end, hunk.new, snapshot.version)
        for hunk, (start, end) in zip(taken, places, strict=True)
    ]
    parsed = snapshot.parsed
    for edit in reversed(edits):
        parsed = parsed.edited(edit.start, edit.end, edit.text)
    proposal.accept(ids)
    return methods.ResolveResult(
        edit=to_versioned(edits, snapshot, session.encoding),
        hunks=to_open_hunks(proposal, parsed, session.encoding),
        reason=None,
        message=None,
        timings=to_phases(Outcome()),
    )


async def _redo(
    session: Session,
    params: methods.ResolveParams,
    proposal: Proposal,
    ids: set[int],
    snapshot: Snapshot,
    preview: Preview | None,
) -> methods.ResolveResult:
    """Have hunks written once more; they stay as they were when nothing new comes of it."""
    uri = proposal.uri
    if (declined := session.decline(uri, invoked=True)) is not None:
        found = Redone(declined=declined)
        session.tally.add(found)
        return _resolved(_hunks(session, proposal, snapshot), found)
    on_draft = drafts(session, snapshot, params.preview_token, preview)
    proposal.redone += 1
    options = Options(
        document=session.document_key(f"rewrite {uri}"),
        invoked=True,
        candidates=session.settings.candidates,
        deadline_ms=params.deadline_ms or session.settings.deadline_ms * INVOKED_DEADLINE_FACTOR,
        seed=params.seed + proposal.seed + proposal.redone * redoing.TRIES,
        draft_every_ms=None if on_draft is None else params.preview_every_ms,
        adapter=session.adapter_for(uri),
    )
    try:
        work = redoing.run(
            snapshot,
            proposal,
            ids,
            params.instruction,
            params.noise,
            options,
            session.client(),
            on_draft,
        )
        found = await session.newest(f"rewrite {uri}", work)
    except Superseded:
        text = "A newer rewrite of the document took this one's place."
        found = Redone(silence=FailureCode.SUPERSEDED, message=text)
    except AddressError as err:
        session.tell_problem(str(err))
        found = Redone(silence=Silence.NO_RUNTIME, message=str(err))
    now = session.documents.snapshot(uri)
    if now is None or not proposal.locate(now.text):
        return _stale(session)
    still = {hunk.id for hunk in proposal.open}
    for number, renewed in found.renewed.items():
        if number in still:  # nobody decided about it meanwhile
            proposal.renew(number, renewed.text, renewed.tokens)
    return _resolved(_hunks(session, proposal, now), found)


def _hunks(
    session: Session, proposal: Proposal, snapshot: Snapshot
) -> tuple[methods.HunkResult, ...]:
    return to_open_hunks(proposal, snapshot.parsed, session.encoding)


def _resolved(
    hunks: tuple[methods.HunkResult, ...], found: Outcome | None = None
) -> methods.ResolveResult:
    found = Outcome() if found is None else found
    reason = found.declined or found.silence
    return methods.ResolveResult(
        edit=None,
        hunks=hunks,
        reason=None if reason is None else str(reason),
        message=found.message,
        timings=to_phases(found),
    )


def _refused(
    reason: str, message: str, hunks: tuple[methods.HunkResult, ...] = ()
) -> methods.ResolveResult:
    return methods.ResolveResult(
        edit=None, hunks=hunks, reason=str(reason), message=message, timings=to_phases(Outcome())
    )


def _stale(session: Session) -> methods.ResolveResult:
    session.tally.silent[Silence.STALE] += 1
    text = "The lines of the proposal have changed since; nothing was done. Ask for it again."
    return _refused(Silence.STALE, text)

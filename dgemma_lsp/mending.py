"""One mend of a broken region, round by round: the counterpart of ``rewriting`` for broken code.

A delimiter put in or taken out costs nothing and is tried first; only then is the runtime asked,
about ever wider regions, until a candidate passes, the rounds or the time are used up. Knows no LSP
types; whether the document has moved on meanwhile is its caller's question, for which the edit
names its version.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from dgemma_lsp.infill.repairs import mend
from dgemma_lsp.infill.repairs.broken import Broken, find_broken
from dgemma_lsp.infill.types import Candidate, Declined, DeclineReason, Edit, Selection, Snapshot
from dgemma_lsp.pipeline import (
    UNANSWERED,
    OnDraft,
    Options,
    Outcome,
    Silence,
    Times,
    denoise,
    silence_of,
    times_of,
    to_ask,
)
from dgemma_lsp.repairing import to_candidate
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire import messages as wire

_LEAST_MS = 50
"""Milliseconds below which another round is not worth its start."""


@dataclass(frozen=True, slots=True)
class MendOutcome(Outcome):
    """What came of a mend.

    Attributes:
        edit: The change, when there is a good one.
        how: What made it.
        region: What the edit was looked for in: the last region that was tried, or the change.
        rounds: How many regions the runtime was asked about; 0 when it was not.
        errors_before: Errors in the neighbourhood of the region.
        errors_after: The same with the edit made; as before when there is none.
    """

    edit: Edit | None = None
    how: mend.How | None = None
    region: Selection | None = None
    rounds: int = 0
    errors_before: int = 0
    errors_after: int = 0


async def run(
    snapshot: Snapshot,
    start: int,
    end: int,
    options: Options,
    client: Callable[[], RuntimeClient],
    on_draft: OnDraft | None = None,
) -> MendOutcome:
    """Mend the first fault that a range of offsets touches in a frozen document.

    Never raises for what the runtime cannot do: the outcome says so. Cancellation passes through,
    and cancels the runtime's work with it.

    Args:
        snapshot: The document.
        start: Where the range starts.
        end: Where it ends; equal to ``start`` for a cursor.
        options: How; the deadline is for all rounds together.
        client: Returns the runtime's client; not called when no model is needed.
        on_draft: Called with the canvas of every round while it is denoised.
    """
    began = time.perf_counter()
    found = find_broken(snapshot, start, end)
    if isinstance(found, Declined):
        return MendOutcome(declined=found.reason, message=f"could not mend: {found.message}")
    for broken in found:
        repaired = mend.repair_plainly(snapshot, broken)
        if repaired is not None:
            total = (time.perf_counter() - began) * 1000
            return _made(repaired, None, MendOutcome(times=Times(total_ms=total)))
    return await _ask(snapshot, found[0], options, client, on_draft, began)


async def _ask(
    snapshot: Snapshot,
    broken: Broken,
    options: Options,
    client: Callable[[], RuntimeClient],
    on_draft: OnDraft | None,
    began: float,
) -> MendOutcome:
    """Ask the runtime about one region after the other."""
    errors = len(broken.view.faults)
    outcome = MendOutcome(errors_before=errors, errors_after=errors)
    try:
        runtime = client()
        welcome = await runtime.welcome()  # free when connected; the limits are the model's
        regions = mend.regions(snapshot, broken, welcome.limits)
        outcome = replace(outcome, model=welcome.model)
        if not regions:
            text = (
                "could not mend: what is broken is longer than the "
                f"{welcome.limits.max_span_tokens} tokens that {welcome.model} can denoise."
            )
            return replace(outcome, declined=DeclineReason.TOO_LONG, message=text)
        for region in regions:
            left = _left_ms(options, began)
            if left is not None and left < _LEAST_MS and outcome.rounds:
                break
            captured = time.perf_counter()
            canvas = mend.lay_out(snapshot, region, welcome.limits)
            asked = time.perf_counter()
            now = replace(options, deadline_ms=left and max(_LEAST_MS, left))
            done, refused = await denoise(runtime, to_ask(canvas, now), on_draft)
            answered = time.perf_counter()
            candidates = [_checked(snapshot, broken, region, each) for each in done.candidates]
            repaired = mend.choose(snapshot, region, candidates)
            outcome = replace(
                outcome,
                candidates=_ordered([*outcome.candidates, *candidates], repaired is not None),
                region=region,
                rounds=outcome.rounds + 1,
                times=times_of(began, captured, asked, answered, time.perf_counter(), done.timings),
                adapter="" if refused else options.adapter,
                refused=refused or outcome.refused,
            )
            if repaired is not None:
                return _made(repaired, region, outcome)
            if refused is not None:
                options = replace(options, adapter="")
    except UNANSWERED as err:
        if not outcome.candidates:
            return replace(outcome, silence=silence_of(err), message=f"could not mend: {err}")
    return replace(outcome, silence=Silence.ALL_REJECTED, message=_refusal(outcome))


def _left_ms(options: Options, began: float) -> int | None:
    """Milliseconds of the deadline that are left for what is asked now."""
    if options.deadline_ms is None:
        return None
    return max(1, options.deadline_ms - int((time.perf_counter() - began) * 1000))


def _checked(
    snapshot: Snapshot, broken: Broken, region: Selection, found: wire.Candidate
) -> Candidate:
    # A draft that time cut short looks like any text, and would take code away.
    ended = found.stopped != "deadline"
    text, verdict = mend.check(snapshot, broken, region, found.texts[0], ended=ended)
    return to_candidate(found, text, verdict)


def _made(repaired: mend.Repaired, region: Selection | None, outcome: MendOutcome) -> MendOutcome:
    """Return an outcome with the edit that was found."""
    edit, effect = repaired.edit, repaired.effect
    return replace(
        outcome,
        edit=edit,
        how=repaired.how,
        region=region or Selection(edit.start, edit.end),
        errors_before=effect.before,
        errors_after=effect.after,
    )


def _ordered(candidates: Iterable[Candidate], mended: bool) -> tuple[Candidate, ...]:
    """Candidates as they came; the accepted ones first, once there are some."""
    if not mended:
        return tuple(candidates)
    return tuple(sorted(candidates, key=lambda each: not each.verdict.accepted))


def _refusal(outcome: MendOutcome) -> str:
    """Say in words why nothing was good enough."""
    reasons = Counter(str(each.verdict.reason) for each in outcome.candidates)
    told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    count = len(outcome.candidates)
    return (
        f"could not mend: of {count} {'candidate' if count == 1 else 'candidates'} in "
        f"{outcome.rounds} {'round' if outcome.rounds == 1 else 'rounds'} none was sound and kept "
        f"the code ({told or 'none came'})."
    )

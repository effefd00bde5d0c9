"""One rewrite from a selection to a checked edit: the counterpart of ``pipeline`` for lines.

Calls the pure core of ``infill`` and awaits the runtime. Knows no LSP types; whether the document
has moved on meanwhile is its caller's question, for which the edit names its version.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from dgemma_lsp.infill import rank, rewrite
from dgemma_lsp.infill.types import Candidate, Declined, Edit, Selection, Snapshot
from dgemma_lsp.pipeline import (
    UNANSWERED,
    Options,
    Outcome,
    denoise,
    judged,
    silence_of,
    times_of,
    to_ask,
)
from dgemma_lsp.repairing import to_candidate
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire import messages as wire


@dataclass(frozen=True, slots=True)
class Rewritten(Outcome):
    """What came of a rewrite.

    Attributes:
        instruction: The instruction in the model's own words, once it is known.
        edit: The best candidate in its place, when there is a good one.
    """

    instruction: str | None = None
    edit: Edit | None = None


async def run(
    snapshot: Snapshot,
    start: int,
    end: int,
    instruction: str,
    options: Options,
    client: RuntimeClient,
) -> Rewritten:
    """Rewrite the lines that a range of offsets touches in a frozen document.

    Never raises for what the runtime cannot do: the outcome says so. Cancellation passes through,
    and cancels the runtime's work with it.
    """
    began = time.perf_counter()
    selection = rewrite.select(snapshot, start, end)
    if isinstance(selection, Declined):
        return Rewritten(declined=selection.reason, message=selection.message)
    try:
        welcome = await client.welcome()
        captured = time.perf_counter()
        offers = welcome.capabilities.rewrites
        found = rewrite.find_instruction(instruction, snapshot.language, offers)
        if isinstance(found, Declined):
            return Rewritten(declined=found.reason, message=found.message, model=welcome.model)
        canvas = rewrite.lay_out(snapshot, selection, found, welcome.limits)
        if isinstance(canvas, Declined):
            return Rewritten(
                declined=canvas.reason,
                message=canvas.message,
                model=welcome.model,
                instruction=found,
            )
        asked = time.perf_counter()
        done, refused = await denoise(client, to_ask(canvas, options))
    except UNANSWERED as err:
        return Rewritten(silence=silence_of(err), message=str(err))
    answered = time.perf_counter()
    candidates = rank.order(_checked(snapshot, selection, each) for each in done.candidates)
    checked = time.perf_counter()
    best = next((c for c in candidates if c.verdict.accepted), None)
    return judged(
        Rewritten(
            candidates=candidates,
            model=welcome.model,
            times=times_of(began, captured, asked, answered, checked, done.timings),
            adapter="" if refused else options.adapter,
            refused=refused,
            instruction=found,
            edit=None
            if best is None
            else Edit(selection.start, selection.end, best.text, snapshot.version),
        )
    )


def _checked(snapshot: Snapshot, selection: Selection, found: wire.Candidate) -> Candidate:
    # A draft that time cut short looks like any text, and would take lines away.
    ended = found.complete and found.stopped != "deadline"
    text, verdict = rewrite.check(snapshot, selection, found.texts[0], ended=ended)
    return to_candidate(found, text, verdict)

"""Hunks of a proposed rewrite done once more, the rest of it clamped.

The model sees the document with the proposal made, but for the hunks it is to write again; what a
person rejected stands there as it was. A text that was shown for a hunk does not come again. Knows
no LSP types; the proposal itself is changed by the caller.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from dgemma_lsp.infill import hunks as core
from dgemma_lsp.infill.blocks import Block
from dgemma_lsp.infill.hunks import Change, Hunk, TokenRange
from dgemma_lsp.infill.judging.judge import judge_edit, main_reason
from dgemma_lsp.infill.rewrite import Checked
from dgemma_lsp.infill.types import Declined, DeclineReason, RejectReason, Selection, Snapshot
from dgemma_lsp.pipeline import UNANSWERED, Options, Outcome, silence_of
from dgemma_lsp.proposals import HunkState, Proposal
from dgemma_lsp.rewriting import OnBlockDraft, Passage, Wish, is_over, share_out, understood
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire import messages as wire

CANDIDATES = 4
"""Answers for one try at least: the likeliest is often the one that was shown."""

TRIES = 2
"""How often the model is asked, each time with another seed, before there is nothing new."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """Another text for a hunk, with its line breaks."""

    text: str
    tokens: tuple[TokenRange, ...] = ()


@dataclass(frozen=True, slots=True)
class Redone(Outcome):
    """What came of a redo.

    Attributes:
        instruction: The instruction in the model's own words, once it is known.
        renewed: New texts by the hunks' ids; those that stay as they were are not in it.
    """

    instruction: str | None = None
    renewed: dict[int, Renewed] = field(default_factory=dict[int, Renewed])


async def run(
    snapshot: Snapshot,
    proposal: Proposal,
    ids: Collection[int],
    instruction: str | None,
    noise: float | None,
    options: Options,
    client: RuntimeClient,
    on_draft: OnBlockDraft | None = None,
) -> Redone:
    """Write hunks of a proposal anew that was located in a frozen document.

    Never raises for what the runtime cannot do: the outcome says so. Cancellation passes through,
    and cancels the runtime's work with it.

    Args:
        snapshot: The document.
        proposal: The proposal, which stays as it is.
        ids: The hunks, which are open.
        instruction: Another one, in a person's words; ``None`` for the same.
        noise: Another one; ``None`` for the same.
        options: How; the deadline is for every block of every try.
        client: The runtime.
        on_draft: Called with the canvas of every block while it is denoised.
    """
    began = time.perf_counter()
    try:
        welcome = await client.welcome()
    except UNANSWERED as err:
        return Redone(silence=silence_of(err), message=str(err))
    told = proposal.instruction if instruction is None else instruction
    found = understood(told, snapshot, welcome)
    if isinstance(found, Declined):
        return Redone(declined=found.reason, message=found.message, model=welcome.model)
    stage = _Stage.of(snapshot, proposal, ids)
    shared, _ = share_out(stage.snapshot, stage.runs(), welcome)
    outcome = Redone(model=welcome.model, instruction=found)
    if not shared:
        text = "There is nothing to write again: the hunk is blank, or one line that is too long."
        return replace(outcome, declined=DeclineReason.TOO_LONG, message=text)
    alone = shared[0] if len(shared) == 1 else None
    options = replace(options, candidates=max(options.candidates, CANDIDATES))
    for number in range(TRIES):
        again = replace(options, seed=options.seed + number)
        passage = Passage(
            stage.snapshot,
            client,
            welcome,
            Wish(found, proposal.noise if noise is None else noise, again),
            None if on_draft is None else stage.drafts(on_draft),
            began,
            original=stage.original_of,
            also=lambda checked: None if alone is None else stage.also(alone, checked),
            fresh=stage.fresh,
            instead=stage.instead(),
        )
        await passage.go(shared)
        outcome = replace(
            outcome,
            candidates=(*outcome.candidates, *passage.candidates),
            times=passage.times,
            adapter=passage.wish.options.adapter,
            refused=passage.refused,
        )
        failure = passage.failure
        if failure is not None and (not passage.changes or is_over(failure)):
            return replace(outcome, silence=silence_of(failure), message=str(failure))
        if renewed := stage.renewed(passage.changes):
            return replace(outcome, renewed=renewed)
    reasons = sorted({str(each.verdict.reason or "unchanged") for each in outcome.candidates})
    return replace(
        outcome,
        silence=RejectReason.UNCHANGED,
        message="Nothing new was found; the hunks are as they were: "
        f"{', '.join(reasons) or 'no answer came'}.",
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a hunk stands that is to be redone, and the text that stands there meanwhile."""

    hunk: Hunk
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class _Stage:
    """The document with a proposal made, but for the hunks to be redone.

    Attributes:
        document: The document as it is.
        proposal: The proposal, located in it.
        snapshot: The document with it made.
        places: The hunks to be redone; their old text stands there, or the one that was proposed
            where there is no old one.
        original: The proposal's lines as they were, with the same text at the places.
        shifts: Offsets of the snapshot from which on the original has so many characters less.
    """

    document: Snapshot
    proposal: Proposal
    snapshot: Snapshot
    places: tuple[_Place, ...]
    original: str
    shifts: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, snapshot: Snapshot, proposal: Proposal, ids: Collection[int]) -> _Stage:
        """Set the stage for some hunks."""
        parts: list[str] = []
        originals: list[str] = []
        places: list[_Place] = []
        shifts: list[tuple[int, int]] = []
        at, done = proposal.at, 0
        for hunk in proposal.hunks:
            same = proposal.old[done : hunk.start]
            at, done = at + len(same), hunk.end
            rejected = proposal.states[hunk.id] is HunkState.REJECTED
            now, before = hunk.old if rejected else hunk.new, hunk.old
            if hunk.id in ids:
                now = before = hunk.old if hunk.old.strip() else hunk.new
                places.append(_Place(hunk, at, now))
            parts += [same, now]
            originals += [same, before]
            at += len(now)
            shifts.append((at, len(now) - len(before)))
        rest = proposal.old[done:]
        end = proposal.at + len(proposal.text(proposal.made))
        parsed = snapshot.parsed.edited(proposal.at, end, "".join([*parts, rest]))
        return cls(
            snapshot,
            proposal,
            replace(snapshot, parsed=parsed),
            tuple(places),
            "".join([*originals, rest]),
            tuple(shifts),
        )

    def runs(self) -> tuple[Selection, ...]:
        """What is to be written anew, without blank lines at the ends."""
        made: list[Selection] = []
        for place in self.places:
            head = len(place.text) - len(place.text.lstrip())
            text = place.text.rstrip()
            if text:
                line = self.snapshot.parsed.lines.line(place.start + head)
                start = self.snapshot.parsed.lines.start(line)
                last = self.snapshot.parsed.lines.line(place.start + len(text) - 1)
                made.append(Selection(start, self.snapshot.parsed.line_span(last)[1]))
        return tuple(made)

    def original_of(self, block: Block) -> str:
        """What a block was before the rewrite."""
        low, high = (self._back(offset) for offset in (block.start, block.end))
        return self.original[low:high]

    def _back(self, offset: int) -> int:
        more = sum(by for place, by in self.shifts if place <= offset)
        return offset - self.proposal.at - more

    def instead(self) -> tuple[str, ...]:
        """The texts that were proposed, of which one may be indented as a new one is."""
        return tuple(place.hunk.new for place in self.places)

    def drafts(self, on_draft: OnBlockDraft) -> OnBlockDraft:
        """``on_draft`` called with places in the document as it is."""

        def told(number: int, runs: tuple[Selection, ...], draft: wire.Draft) -> None:
            on_draft(number, tuple(self._in_document(run) for run in runs), draft)

        return told

    def _in_document(self, run: Selection) -> Selection:
        place = next(each for each in self.places if each.start <= run.start <= each.end)
        start, end = self.proposal.place(place.hunk, self.proposal.made)
        if place.text != place.hunk.old:
            return Selection(start, end)
        by = start - place.start
        return Selection(run.start + by, run.end + by)

    def also(self, block: Block, checked: Checked) -> RejectReason | None:
        """What is wrong with texts for all the places: shown before, or unsound among the rest."""
        changes = [
            Change(run.start, run.end, text)
            for run, text in zip(block.runs, checked.runs, strict=True)
        ]
        renewed = self.renewed(changes)
        return self._fault(renewed) if renewed else RejectReason.UNCHANGED

    def fresh(self, checked: Checked) -> bool:
        """Whether a text for a part of a place is not in one that was shown."""
        text = f"\n{_folded(checked.text)}\n"
        every = (text for each in self.places for text in self.proposal.shown[each.hunk.id])
        return all(text not in f"\n{_folded(shown)}\n" for shown in every)

    def renewed(self, changes: Sequence[Change]) -> dict[int, Renewed]:
        """The hunks that changes of the snapshot give a new text."""
        found: dict[int, Renewed] = {}
        for place in self.places:
            inside = [each for each in changes if place.start <= each.start <= place.end]
            if not inside:
                continue
            made = _with(place, inside)
            known = {_folded(text) for text in self.proposal.shown[place.hunk.id]}
            if _folded(made.text) not in {*known, _folded(place.hunk.old)}:
                found[place.hunk.id] = made
        return found

    def _fault(self, renewed: dict[int, Renewed]) -> RejectReason | None:
        """What new texts break in the document with the whole proposal made."""
        proposal = self.proposal
        taken = proposal.ids(HunkState.OPEN, HunkState.ACCEPTED)
        end = proposal.at + len(proposal.text(proposal.made))
        parsed = self.document.parsed.edited(proposal.at, end, proposal.text(taken))
        new = tuple(
            replace(hunk, new=renewed[hunk.id].text) if hunk.id in renewed else hunk
            for hunk in proposal.hunks
        )
        ours = [hunk for hunk in new if hunk.id in renewed]
        was = [hunk for hunk in proposal.hunks if hunk.id in renewed]
        start = core.place_of(ours[0], new, taken)
        low = core.place_of(was[0], proposal.hunks, taken)
        high = core.place_of(was[-1], proposal.hunks, taken) + len(was[-1].new)
        last = core.place_of(ours[-1], new, taken) + len(ours[-1].new)
        text = core.applied(proposal.old, new, taken)[start:last]
        snapshot = replace(self.document, parsed=parsed)
        return main_reason(judge_edit(snapshot, proposal.at + low, proposal.at + high, text).faults)


def _with(place: _Place, changes: Sequence[Change]) -> Renewed:
    """The text of a place with changes made in it."""
    parts: list[str] = []
    tokens: list[TokenRange] = []
    at, length = place.start, 0
    for change in changes:
        same = place.text[at - place.start : change.start - place.start]
        length += len(same)
        tokens += [TokenRange(a + length, b + length, sure) for a, b, sure in change.tokens]
        length += len(change.text)
        parts += [same, change.text]
        at = change.end
    rest = place.text[at - place.start :]
    text = "".join([*parts, rest])
    return Renewed(text if text.strip() else "", tuple(tokens))


def _folded(text: str) -> str:
    """A text without what nobody sees: blanks at the ends of lines, blank lines around it."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")

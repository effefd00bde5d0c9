"""One rewrite from a selection to a checked edit: the counterpart of ``pipeline`` for lines.

A selection goes through as many canvases as it needs, one after the other; a later one sees the new
text of the earlier ones. Calls the pure core of ``infill`` and awaits the runtime. Knows no LSP
types; whether the document has moved on meanwhile is its caller's question, for which the edit
names its version.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from dgemma_lsp.infill import blocks, hunks, rank, rewrite
from dgemma_lsp.infill.blocks import Block
from dgemma_lsp.infill.hunks import Change, Hunk
from dgemma_lsp.infill.rewrite import Checked
from dgemma_lsp.infill.trim import newline_of
from dgemma_lsp.infill.types import (
    Candidate,
    Declined,
    DeclineReason,
    Edit,
    RejectReason,
    Selection,
    Snapshot,
)
from dgemma_lsp.pipeline import (
    UNANSWERED,
    Options,
    Outcome,
    Refusal,
    Silence,
    Times,
    denoise,
    judged,
    silence_of,
    times_of,
    to_ask,
)
from dgemma_lsp.repairing import to_candidate
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire import messages as wire
from dgemma_wire.errors import DenoiseFailed, FailureCode, RuntimeUnavailable

OnBlockDraft = Callable[[int, tuple[Selection, ...], wire.Draft], None]
"""Called with a block's number, what its spans stand in for in the document, and the draft."""

_ENDS_ALL = (
    FailureCode.CANCELLED,
    FailureCode.SUPERSEDED,
    FailureCode.MODEL_UNAVAILABLE,
    FailureCode.SHUTTING_DOWN,
)
"""Failures after which the next block would fare no better."""


@dataclass(frozen=True, slots=True)
class Rewritten(Outcome):
    """What came of a rewrite.

    Attributes:
        instruction: The instruction in the model's own words, once it is known.
        edit: The whole rewrite as one change, when there is a good one.
        start: Where the lines begin that were to be rewritten.
        old: These lines, with their line breaks.
        hunks: Where the rewrite differs from them.
        canvases: Blocks that they were taken in.
    """

    instruction: str | None = None
    edit: Edit | None = None
    start: int = 0
    old: str = ""
    hunks: tuple[Hunk, ...] = ()
    canvases: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with lines.

    Attributes:
        instruction: In the model's own words.
        noise: Share of the old text that is made anew, over 0 up to 1.
        options: How; the deadline is for every block.
    """

    instruction: str
    noise: float
    options: Options


async def run(
    snapshot: Snapshot,
    start: int,
    end: int,
    instruction: str,
    options: Options,
    client: RuntimeClient,
    *,
    pinned: Iterable[tuple[int, int]] = (),
    noise: float = 1.0,
    on_draft: OnBlockDraft | None = None,
) -> Rewritten:
    """Rewrite the lines that a range of offsets touches in a frozen document.

    Never raises for what the runtime cannot do: the outcome says so. Cancellation passes through,
    and cancels the runtime's work with it.

    Args:
        snapshot: The document.
        start: Where the range starts.
        end: Where it ends.
        instruction: What is to be done, in a person's words.
        options: How; the deadline is for every block.
        client: The runtime.
        pinned: Ranges of offsets whose lines stay as they are.
        noise: Share of the old text that is made anew, over 0 up to 1.
        on_draft: Called with the canvas of every block while it is denoised.
    """
    began = time.perf_counter()
    selection = rewrite.select(snapshot, start, end)
    if isinstance(selection, Declined):
        return Rewritten(declined=selection.reason, message=selection.message)
    runs = blocks.runs_of(snapshot, selection, pinned)
    if not runs:
        text = "Every line of the selection is pinned; there is nothing left to rewrite."
        return Rewritten(declined=DeclineReason.ALL_PINNED, message=text)
    try:
        welcome = await client.welcome()
    except UNANSWERED as err:
        return Rewritten(silence=silence_of(err), message=str(err))
    found = understood(instruction, snapshot, welcome)
    if isinstance(found, Declined):
        return Rewritten(declined=found.reason, message=found.message, model=welcome.model)
    shared, too_long = share_out(snapshot, runs, welcome)
    outcome = Rewritten(model=welcome.model, instruction=found, canvases=len(shared))
    if not shared:
        return replace(outcome, declined=DeclineReason.TOO_LONG, message=_too_long(welcome))
    passage = Passage(snapshot, client, welcome, Wish(found, noise, options), on_draft, began)
    passage.left[DeclineReason.TOO_LONG] += len(too_long)
    await passage.go(shared)
    return _made(snapshot, selection, passage, outcome)


def understood(instruction: str, snapshot: Snapshot, welcome: wire.Welcome) -> str | Declined:
    """The instruction in the model's own words, or why it does not take it."""
    can = welcome.capabilities
    return rewrite.find_instruction(
        instruction, snapshot.language, can.rewrites, anything=can.instructions
    )


def share_out(
    snapshot: Snapshot, runs: Iterable[Selection], welcome: wire.Welcome
) -> tuple[tuple[Block, ...], tuple[Selection, ...]]:
    """Blocks for runs, and the lines that no canvas can hold.

    Models that were trained for certain kinds have seen one run of lines at a time; shown several,
    they write the lines between them once more.
    """
    together = welcome.capabilities.spans > 1
    return blocks.share_out(snapshot, runs, welcome.limits, together=together)


def _too_long(welcome: wire.Welcome) -> str:
    return (
        f"Every line of the selection is longer than the {welcome.limits.max_span_tokens} tokens "
        f"that {welcome.model} rewrites at once, and inside a line nothing is cut."
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    candidate: Candidate
    checked: Checked
    found: wire.Candidate


@dataclass(slots=True)
class Passage:
    """The way of some lines through canvas after canvas.

    Attributes:
        snapshot: The document as it is.
        client: The runtime.
        welcome: What it said of itself.
        wish: What is to be done.
        on_draft: Called with every canvas while it is denoised.
        began: When the request began, as ``time.perf_counter`` counts.
        original: What a block was before it was ever rewritten; ``None`` for what stands there.
        also: What else is wrong with an answer for a block, beyond the usual; ``None`` for nothing.
        fresh: Whether an answer is to be taken before a better one that is not.
        instead: Other texts that stood in a block's place, whose indentation is as good.
        changes: What came of it, in the snapshot's offsets.
        candidates: Of all blocks.
        left: Blocks that stay as they are, by the reason.
        failure: The first that the runtime could not do.
        refused: The adapter that could not be used.
        times: Of all blocks together.
    """

    snapshot: Snapshot
    client: RuntimeClient
    welcome: wire.Welcome
    wish: Wish
    on_draft: OnBlockDraft | None
    began: float
    original: Callable[[Block], str] | None = None
    also: Callable[[Checked], RejectReason | None] = lambda _: None
    fresh: Callable[[Checked], bool] = lambda _: True
    instead: tuple[str, ...] = ()
    changes: list[Change] = field(default_factory=list[Change])
    candidates: list[Candidate] = field(default_factory=list[Candidate])
    left: Counter[str] = field(default_factory=Counter[str])
    failure: Exception | None = None
    refused: Refusal | None = None
    times: Times = field(default_factory=Times)

    async def go(self, shared: Sequence[Block]) -> None:
        """Take the blocks one after the other; a later one sees what became of the earlier ones."""
        now, grown = self.snapshot, 0
        for number, block in enumerate(shared):
            there = _moved(block, grown)
            try:
                best = await self._one(now, there, block, number)
            except UNANSWERED as err:
                self.failure = self.failure or err
                over = _ends_all(err)
                self.left[silence_of(err)] += len(shared) - number if over else 1
                if over:
                    return
                continue
            if best is None:
                continue
            text = best.checked.text
            self.changes += _changes(block, best, newline_of(now.text))
            parsed = now.parsed.edited(there.start, there.end, text)
            now = replace(now, parsed=parsed)
            grown += len(text) - (there.end - there.start)

    async def _one(self, now: Snapshot, there: Block, block: Block, number: int) -> _Answer | None:
        """Ask about one block; ``there`` is where it lies now, ``block`` where it lay at first."""
        captured = time.perf_counter()
        original = None if self.original is None else self.original(block)
        canvas = rewrite.lay_out(
            now,
            there,
            self.wish.instruction,
            self.welcome.limits,
            noise=self.wish.noise,
            original=original,
        )
        on_draft = self.on_draft
        asked = time.perf_counter()
        done, refused = await denoise(
            self.client,
            to_ask(canvas, self.wish.options),
            None if on_draft is None else lambda draft: on_draft(number, block.runs, draft),
        )
        if refused is not None:
            self.refused = self.refused or refused
            self.wish = replace(self.wish, options=replace(self.wish.options, adapter=""))
        answered = time.perf_counter()
        answers = [self._checked(now, there, each) for each in done.candidates]
        order = rank.order(answer.candidate for answer in answers)
        self.candidates += order
        times = times_of(self.began, captured, asked, answered, time.perf_counter(), done.timings)
        self.times = _added(self.times, times, first=number == 0)
        kept = [
            next(each for each in answers if each.candidate is candidate)
            for candidate in order
            if candidate.verdict.accepted
        ]
        if kept:
            return next((each for each in kept if self.fresh(each.checked)), kept[0])
        reasons = {str(each.verdict.reason or RejectReason.EMPTY) for each in order}
        # That the model would leave the lines as they are is no failure.
        self.left.update([] if reasons == {RejectReason.UNCHANGED} else [sorted(reasons)[0]])
        return None

    def _checked(self, now: Snapshot, there: Block, found: wire.Candidate) -> _Answer:
        # A draft that time cut short looks like any text, and would take lines away.
        ended = found.complete and found.stopped != "deadline"
        checked = rewrite.check_block(now, there, found.texts, ended=ended, instead=self.instead)
        verdict = checked.verdict
        if verdict.accepted and (reason := self.also(checked)) is not None:
            verdict = replace(verdict, accepted=False, reason=reason)
        candidate = to_candidate(found, checked.text, verdict)
        if len(found.texts) > 1:  # the tokens of one run alone do not make up the text
            candidate = replace(candidate, raw=checked.text, tokens=())
        return _Answer(candidate, checked, found)


def _moved(block: Block, by: int) -> Block:
    return Block(
        block.start + by,
        block.end + by,
        tuple(Selection(run.start + by, run.end + by) for run in block.runs),
    )


def _changes(block: Block, best: _Answer, newline: str) -> Iterable[Change]:
    tokens = best.found.tokens or ((),) * len(block.runs)
    for run, text, raw, made in zip(
        block.runs, best.checked.runs, best.found.texts, tokens, strict=True
    ):
        pairs = ((token.chars, token.probability) for token in made)
        yield Change(run.start, run.end, text, rewrite.place_tokens(raw, pairs, newline))


def is_over(failure: Exception) -> bool:
    """Whether a failure says that nobody wants the answer any more."""
    return isinstance(failure, DenoiseFailed) and failure.code in (
        FailureCode.CANCELLED,
        FailureCode.SUPERSEDED,
    )


def _ends_all(err: Exception) -> bool:
    return isinstance(err, RuntimeUnavailable) or (
        isinstance(err, DenoiseFailed) and err.code in _ENDS_ALL
    )


def _added(sum_: Times, times: Times, *, first: bool) -> Times:
    """Times with those of one more block; ``total_ms`` runs from the beginning anyway."""
    if first or sum_.runtime is None or times.runtime is None:
        return times
    one, other = sum_.runtime, times.runtime
    runtime = msgspec.structs.replace(
        other,
        queue_ms=one.queue_ms + other.queue_ms,
        layout_ms=one.layout_ms + other.layout_ms,
        prefill_ms=one.prefill_ms + other.prefill_ms,
        step_ms=(*one.step_ms, *other.step_ms),
        total_ms=one.total_ms + other.total_ms,
        doubt_ms=one.doubt_ms + other.doubt_ms,
    )
    return Times(
        capture_ms=sum_.capture_ms + times.capture_ms,
        wire_ms=sum_.wire_ms + times.wire_ms,
        validate_ms=sum_.validate_ms + times.validate_ms,
        mend_ms=sum_.mend_ms + times.mend_ms,
        total_ms=times.total_ms,
        runtime=runtime,
    )


def _made(
    snapshot: Snapshot, selection: Selection, passage: Passage, outcome: Rewritten
) -> Rewritten:
    """Return an outcome with what came of a passage."""
    outcome = replace(
        outcome,
        candidates=tuple(passage.candidates),
        times=passage.times,
        adapter=passage.wish.options.adapter,
        refused=passage.refused,
    )
    if (failure := passage.failure) is not None and (not passage.changes or is_over(failure)):
        return replace(outcome, silence=silence_of(failure), message=str(failure))
    if not passage.changes:
        return judged(outcome)
    start, end = selection.start, whole_lines_end(snapshot, selection.end)
    old = snapshot.text[start:end]
    changes = (
        replace(each, start=each.start - start, end=each.end - start) for each in passage.changes
    )
    made = hunks.diff(old, changes, newline_of(snapshot.text))
    if not made:
        text = "The rewrite differs from the lines in blanks at their ends alone."
        return replace(outcome, silence=Silence.ALL_REJECTED, message=text)
    new = hunks.applied(old, made, {hunk.id for hunk in made})
    broken = old[selection.end - start :]
    return replace(
        outcome,
        start=start,
        old=old,
        hunks=made,
        edit=Edit(start, selection.end, new.removesuffix(broken), snapshot.version),
        message=_left(passage, outcome.canvases),
    )


def whole_lines_end(snapshot: Snapshot, end: int) -> int:
    """Where the line break ends of the line that ``end`` lies on."""
    parsed = snapshot.parsed
    below = parsed.lines.line(end) + 1
    return parsed.lines.start(below) if below < parsed.lines.count else len(parsed.text)


def _left(passage: Passage, canvases: int) -> str | None:
    """Say in words which blocks stay as they are, and why."""
    count = sum(passage.left.values())
    if not count:
        return None
    every = canvases + passage.left[DeclineReason.TOO_LONG]
    told = ", ".join(f"{reason} {n}" for reason, n in sorted(passage.left.items()) if n)
    return (
        f"{count} of {every} blocks {'was' if count == 1 else 'were'} left as "
        f"{'it is' if count == 1 else 'they are'}: {told}."
    )

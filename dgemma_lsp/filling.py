"""Several holes of a document filled together: the counterpart of ``pipeline`` for more than one.

Holes that fit share a canvas; those behind them come after, with what was found before as known
text. A hole without a sound text is tried once more, alone. Calls the pure core of ``infill`` and
awaits the runtime. Knows no LSP types; whether the document has moved on meanwhile is its caller's
question.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from dgemma_lsp.infill import rank
from dgemma_lsp.infill.marks import Marked
from dgemma_lsp.infill.several import Sheet
from dgemma_lsp.infill.types import Candidate, DeclineReason, RejectReason, Snapshot
from dgemma_lsp.pipeline import (
    UNANSWERED,
    Options,
    Outcome,
    Refusal,
    Silence,
    Times,
    denoise,
    silence_of,
    surrounded,
    to_ask,
)
from dgemma_lsp.repairing import Mending
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire import messages as wire
from dgemma_wire.errors import DenoiseFailed, FailureCode

log = logging.getLogger(__name__)

_LEAST_MS = 50
"""Milliseconds below which another canvas is not worth its start."""

NOTHING_MARKED = "There is no hole: no ___ that stands alone, no TODO: whose body is missing."

OnCanvas = Callable[[wire.Draft, int, Sequence[Marked]], None]
"""Called with a draft, the number of its canvas and the holes on it."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What came of one hole.

    Attributes:
        marked: The hole.
        original: What the document has there.
        text: What to put in its place; ``None`` when nothing sound was found.
        reason: Why not.
        candidate: What was tried last; ``None`` when nobody answered.
    """

    marked: Marked
    original: str
    text: str | None = None
    reason: str | None = None
    candidate: Candidate | None = None


@dataclass(frozen=True, slots=True)
class FilledHoles(Outcome):
    """What came of several holes.

    Attributes:
        holes: Each of them, in order.
        canvases: How many were denoised.
    """

    holes: tuple[Filled, ...] = ()
    canvases: int = 0


@dataclass(slots=True)
class _Work:
    """What is under way: the sheet, and what was found so far."""

    sheet: Sheet
    options: Options
    client: RuntimeClient
    welcome: wire.Welcome
    on_canvas: OnCanvas | None
    began: float
    found: dict[int, Candidate] = field(default_factory=dict[int, Candidate])
    failed: dict[int, str] = field(default_factory=dict[int, str])
    canvases: int = 0
    refused: Refusal | None = None
    times: Times = field(default_factory=Times)
    message: str | None = None

    def left_ms(self) -> int | None:
        """Milliseconds of the deadline that are left."""
        if self.options.deadline_ms is None:
            return None
        passed = int((time.perf_counter() - self.began) * 1000)
        return self.options.deadline_ms - passed


async def run(
    snapshot: Snapshot,
    marked: Sequence[Marked],
    options: Options,
    client: RuntimeClient,
    on_canvas: OnCanvas | None = None,
) -> FilledHoles:
    """Fill holes of a frozen document.

    Never raises for what the runtime cannot do: the outcome says so. Cancellation passes through,
    and cancels the runtime's work with it.

    Args:
        snapshot: The document.
        marked: The holes, in order and apart from each other.
        options: How; the deadline is for all of them together.
        client: The runtime.
        on_canvas: Called with the canvases while they are denoised.
    """
    began = time.perf_counter()
    if not marked:
        return FilledHoles(declined=DeclineReason.NO_HOLES, message=NOTHING_MARKED)
    sheet = Sheet(snapshot, marked)
    try:
        welcome = await client.welcome()
    except UNANSWERED as err:
        return FilledHoles(silence=silence_of(err), message=str(err), holes=_results(sheet, {}, {}))
    work = _Work(sheet, options, client, welcome, on_canvas, began)
    for group in sheet.groups(range(len(marked)), welcome.limits, welcome.capabilities.spans):
        await _fill(work, group)
    await _again(work)
    _take_back(work)
    if work.refused is not None:
        options = replace(options, adapter="")
    return _outcome(work, options)


async def _fill(work: _Work, group: Sequence[int]) -> None:
    """Denoise some holes on one canvas; on two where that turns out to be too small."""
    left = work.left_ms()
    if left is not None and left < _LEAST_MS:
        work.failed.update(dict.fromkeys(group, str(FailureCode.DEADLINE)))
        return
    started = time.perf_counter()
    number, on_canvas = work.canvases, work.on_canvas
    holes = [work.sheet.marked[each] for each in group]
    around = await surrounded(
        work.sheet.snapshot, holes[0].start, holes[-1].end, work.options, work.welcome
    )
    canvas = work.sheet.canvas(group, work.welcome.limits, around.budget)
    canvas = replace(canvas, context=around.pieces)
    asked = time.perf_counter()
    alone = len(group) == 1
    now = replace(work.options, deadline_ms=left)
    if not alone:  # texts of different answers need not fit each other
        now = replace(now, candidates=1)
    if work.refused is not None:
        now = replace(now, adapter="")
    ask = to_ask(canvas, now)
    try:
        done, refused = await denoise(
            work.client,
            ask,
            None if on_canvas is None else lambda draft: on_canvas(draft, number, holes),
        )
    except UNANSWERED as err:
        too_long = isinstance(err, DenoiseFailed) and err.code is FailureCode.CONTEXT_TOO_LONG
        if too_long and len(group) > 1:
            half = len(group) // 2
            await _fill(work, group[:half])
            await _fill(work, group[half:])
            return
        work.failed.update(dict.fromkeys(group, silence_of(err)))
        work.message = str(err)
        return
    answered = time.perf_counter()
    work.canvases += 1
    work.refused = refused or work.refused
    for index, each in enumerate(group):
        _take(work, each, index, done.candidates)
    checked = time.perf_counter()
    if alone:
        await _mend(work, group[0], ask if refused is None else _plain(ask))
    work.times = Times(
        capture_ms=work.times.capture_ms + (asked - started) * 1000,
        wire_ms=work.times.wire_ms + max(0.0, (answered - asked) * 1000 - done.timings.total_ms),
        validate_ms=work.times.validate_ms + (checked - answered) * 1000,
        mend_ms=work.times.mend_ms + (time.perf_counter() - checked) * 1000,
        runtime=_added(work.times.runtime, done.timings),
    )


def _take(work: _Work, number: int, index: int, answers: Sequence[wire.Candidate]) -> None:
    """Put the best sound text of a span into its hole."""
    candidates: list[Candidate] = []
    for answer in answers:
        text, verdict = work.sheet.check(number, answer.texts[index])
        tokens = answer.tokens[index] if answer.tokens else ()
        candidates.append(
            Candidate(
                text=text,
                raw=answer.texts[index],
                score=answer.score,
                lowest=answer.lowest,
                steps=answer.steps,
                stopped=answer.stopped,
                verdict=verdict,
                tokens=tuple((token.chars, token.probability) for token in tokens),
            )
        )
    if not candidates:
        work.failed[number] = Silence.ALL_REJECTED
        return
    best = rank.order(candidates)[0]
    work.found[number] = best
    work.failed.pop(number, None)
    if best.verdict.accepted:
        work.sheet.put(number, best.text)


async def _mend(work: _Work, number: int, ask: wire.Denoise) -> None:
    """Mend the draft of a hole that was alone on its canvas, if it is not sound."""
    first, means = work.found.get(number), work.options.mend
    if first is None or first.verdict.accepted or means is None:
        return
    site, left = work.sheet.site(number), work.left_ms()
    mending = Mending(
        site.snapshot,
        site.hole,
        ask,
        work.client,
        until=None if left is None else time.perf_counter() + left / 1000,
        most=work.welcome.limits.max_span_tokens,
        means=means,
    )
    try:
        mended = await mending.mend(first)
    except UNANSWERED as err:
        log.info("a draft could not be mended: %s", err)
        return
    work.found[number] = mended
    if mended.verdict.accepted:
        work.sheet.put(number, mended.text)


def _plain(ask: wire.Denoise) -> wire.Denoise:
    return msgspec.structs.replace(ask, adapter="")


async def _again(work: _Work) -> None:
    """Try every hole once more whose text was not sound, alone, with the others as known text."""
    for number, found in sorted(work.found.items()):
        if not found.verdict.accepted:
            # The same seed on the same canvas gives the same answer.
            work.options = replace(work.options, seed=work.options.seed + 1)
            await _fill(work, (number,))


def _take_back(work: _Work) -> None:
    """Take out of the sheet what is sound by itself, and not with the others."""
    while (number := work.sheet.unsound_together()) is not None:
        if work.sheet.texts[number] is None:
            break
        work.sheet.put(number, None)
        found = work.found[number]
        verdict = replace(found.verdict, accepted=False, reason=RejectReason.ADDS_SYNTAX_ERROR)
        work.found[number] = replace(found, verdict=verdict)


def _outcome(work: _Work, options: Options) -> FilledHoles:
    holes = _results(work.sheet, work.found, work.failed)
    times = replace(work.times, total_ms=(time.perf_counter() - work.began) * 1000)
    some = any(each.text is not None for each in holes)
    reasons = sorted({each.reason for each in holes if each.reason is not None})
    silence, message = None, None
    if not some:
        silence = Silence.ALL_REJECTED if work.found else (reasons[0] if reasons else None)
        told = ", ".join(reasons)
        message = work.message or f"No text was sound: {told or 'none came'}."
    return FilledHoles(
        candidates=tuple(work.found[number] for number in sorted(work.found)),
        silence=silence,
        message=message,
        model=work.welcome.model,
        times=times,
        adapter=options.adapter,
        refused=work.refused,
        holes=holes,
        canvases=work.canvases,
    )


def _results(
    sheet: Sheet, found: dict[int, Candidate], failed: dict[int, str]
) -> tuple[Filled, ...]:
    made: list[Filled] = []
    for number, marked in enumerate(sheet.marked):
        candidate = found.get(number)
        text = sheet.replacement(number)
        reason = failed.get(number)
        if text is None and reason is None and candidate is not None:
            reason = str(candidate.verdict.reason)
        if text is not None:
            reason = None
        made.append(Filled(marked, sheet.original(number), text, reason, candidate))
    return tuple(made)


def _added(before: wire.Timings | None, now: wire.Timings) -> wire.Timings:
    """The times of several canvases as one."""
    if before is None:
        return now
    return wire.Timings(
        queue_ms=before.queue_ms + now.queue_ms,
        layout_ms=before.layout_ms + now.layout_ms,
        prefill_ms=before.prefill_ms + now.prefill_ms,
        step_ms=(*before.step_ms, *now.step_ms),
        total_ms=before.total_ms + now.total_ms,
        prefix_tokens=now.prefix_tokens,
        cached_tokens=now.cached_tokens,
        doubt_ms=before.doubt_ms + now.doubt_ms,
    )

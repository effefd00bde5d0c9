"""From a rejected candidate to a sound one: by hand, by denoising parts of it again, or its head.

Calls the pure plan of ``infill.repair`` and awaits the runtime, round by round, while there is
time. What the runtime no longer keeps is sent again as text. Knows no LSP types.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from dgemma_lsp.infill import validate
from dgemma_lsp.infill.repairs import repair
from dgemma_lsp.infill.types import Candidate, Hole, Mended, Snapshot
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire import messages as wire
from dgemma_wire.errors import DenoiseFailed, FailureCode, RuntimeUnavailable

CANDIDATES = 2
"""Answers for the likeliest layout of a round: the likeliest, which may be the fault again, and a
drawn one."""

MOST_STEPS = 40
"""Denoise steps after which no further layout is tried: a new draft costs fewer."""

_LEAST_MS = 60
"""A round that has less time is not begun: the answer would be noise."""


@dataclass(frozen=True, slots=True)
class Means:
    """What mending may use.

    Attributes:
        by_hand: Delimiters may be put in or taken out.
        rounds: Rounds of denoising again at most.
        head: What is sound at the beginning may stand alone.
    """

    by_hand: bool = True
    rounds: int = repair.MAX_ROUNDS
    head: bool = True


@dataclass(slots=True)
class Mending:
    """One candidate's way to soundness.

    Attributes:
        snapshot: The document.
        hole: The hole.
        ask: What the candidate answered.
        client: The runtime.
        until: Time after which nothing is asked any more, as ``time.perf_counter`` counts;
            ``None`` for no bound.
        most: Positions that the model denoises at once.
        means: What may be used.
        on_head: Called with what is sound already, before the first round. What comes of the
            mending then extends it.
        step_ms: Time of every denoise step that was taken.
    """

    snapshot: Snapshot
    hole: Hole
    ask: wire.Denoise
    client: RuntimeClient
    until: float | None = None
    most: int = 256
    means: Means = Means()
    on_head: Callable[[Candidate], None] | None = None
    step_ms: list[float] = field(default_factory=list[float])

    async def mend(self, first: Candidate) -> Candidate:
        """Return a sound candidate, or ``first`` when none is to be had.

        A runtime that fails takes nothing back of what is sound without it.

        Raises:
            RuntimeUnavailable: The runtime went away.
            DenoiseFailed: It answered that it cannot.
        """
        if self.means.by_hand and (found := self._by_hand(first)) is not None:
            return found
        head = self._head(first) if self.means.head else None
        if head is not None and self.on_head is not None:
            self.on_head(head)
        try:
            found = await self._rounds(first, "" if head is None else head.text)
        except (DenoiseFailed, RuntimeUnavailable):
            if head is None:
                raise
            return head  # it was shown already
        return found or head or first

    def _by_hand(self, candidate: Candidate) -> Candidate | None:
        faults, language = candidate.verdict.faults, self.snapshot.language
        for text in repair.by_hand(candidate.text, faults, language):
            made = self._judged(candidate, text, Mended.BY_HAND)
            if made is not None:
                return made
        return None

    def _head(self, candidate: Candidate) -> Candidate | None:
        for text in repair.heads(candidate.text):
            made = self._judged(candidate, text, Mended.HEAD)
            if made is not None:
                return made
        return None

    def _judged(self, candidate: Candidate, text: str, how: Mended) -> Candidate | None:
        kept, verdict = validate.check(self.snapshot, self.hole, text)
        if not verdict.accepted:
            return None
        return replace(candidate, text=kept, verdict=verdict, mended=how)

    async def _rounds(self, first: Candidate, head: str) -> Candidate | None:
        current, steps = first, first.steps
        for number in range(self.means.rounds):
            draft = repair.make_draft(current.raw, current.tokens, current.draft)
            tried: list[Candidate] = []
            faults = current.verdict.faults
            for parts in repair.plan(draft, current.text, faults, number, self.most):
                if self._left_ms() < _LEAST_MS or len(self.step_ms) >= MOST_STEPS:
                    break
                answers = await self._again(draft, parts, number, 1 if tried else CANDIDATES)
                steps += max((answer.steps for answer in answers), default=0)
                tried += [self._candidate(answer, steps, number + 1) for answer in answers]
            sound = [each for each in tried if each.verdict.accepted and each.text.startswith(head)]
            if sound:
                best = max(sound, key=lambda each: each.score)
                return replace(best, mended=Mended.RENOISED)
            # Go on from what has the fewest faults; of equals from what is new.
            better = [each for each in tried if each.text != current.text]
            current = min([*better, current], key=lambda each: len(each.verdict.faults) or 99)
        return None

    def _candidate(self, found: wire.Candidate, steps: int, rounds: int) -> Candidate:
        text, verdict = validate.check(self.snapshot, self.hole, found.texts[0])
        return replace(to_candidate(found, text, verdict), steps=steps, rounds=rounds)

    def _left_ms(self) -> float:
        if self.until is None:
            return float("inf")
        return (self.until - time.perf_counter()) * 1000

    async def _again(
        self, draft: repair.Draft, parts: Sequence[repair.Part], number: int, candidates: int
    ) -> tuple[wire.Candidate, ...]:
        left = self._left_ms()
        deadline = None if left == float("inf") else max(1, int(left))
        seed = self.ask.seed + number + 1
        if draft.handle:
            again = wire.Renoise(
                document=self.ask.document,
                draft=draft.handle,
                spans=(tuple(_piece(part) for part in parts),),
                candidates=candidates,
                deadline_ms=deadline,
                seed=seed,
            )
            try:
                return self._noted(await self.client.renoise(again))
            except DenoiseFailed as err:
                if err.code is not FailureCode.DRAFT_GONE:
                    raise
        ask = msgspec.structs.replace(
            self.ask,
            segments=(*_segments(draft, parts, self.ask), *self.ask.segments[1:]),
            candidates=candidates,
            deadline_ms=deadline,
            seed=seed,
        )
        found = self._noted(await self.client.denoise(ask))
        return tuple(
            msgspec.structs.replace(
                each,
                texts=(repair.assemble(draft, parts, each.texts),),
                # The tokens of the free parts alone do not make up the text.
                tokens=(),
                draft=0,
            )
            for each in found
        )

    def _noted(self, done: wire.Done) -> tuple[wire.Candidate, ...]:
        self.step_ms.extend(done.timings.step_ms)
        return done.candidates


def to_candidate(found: wire.Candidate, text: str, verdict: validate.Verdict) -> Candidate:
    """Return a candidate of one span with what was made of its text."""
    tokens = found.tokens[0] if found.tokens else ()
    return Candidate(
        text=text,
        raw=found.texts[0],
        score=found.score,
        lowest=found.lowest,
        steps=found.steps,
        stopped=found.stopped,
        verdict=verdict,
        tokens=tuple((token.chars, token.probability) for token in tokens),
        draft=found.draft,
    )


def _piece(part: repair.Part) -> wire.Piece:
    match part:
        case repair.Keep():
            return wire.Kept(start=part.first, end=part.last)
        case repair.Write():
            return wire.Clamped(text=part.text)
        case repair.Redo():
            return wire.Free(tokens=part.tokens)


def _segments(
    draft: repair.Draft, parts: Sequence[repair.Part], ask: wire.Denoise
) -> Iterator[wire.Segment]:
    """The parts as segments of a request that knows nothing of the draft."""
    first = ask.segments[0]
    lines = first.max_lines if isinstance(first, wire.Free) else None
    for i, part in enumerate(parts):
        match part:
            case repair.Keep():
                yield wire.Clamped(text=repair.kept_text(draft, part))
            case repair.Write():
                yield wire.Clamped(text=part.text)
            case repair.Redo():
                # Lines are counted where the span ends; a part before that has its number.
                last = i == len(parts) - 1
                yield wire.Free(tokens=part.tokens, max_lines=lines if last else None)

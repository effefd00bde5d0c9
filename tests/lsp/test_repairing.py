"""Mending a rejected candidate: in which order, how often the runtime is asked, and with what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from dgemma_lsp.infill import segments, trigger, validate
from dgemma_lsp.infill.capture import capture
from dgemma_lsp.infill.types import Budget, Candidate, Hole, Mended, Snapshot
from dgemma_lsp.pipeline import Options, to_ask
from dgemma_lsp.repairing import Means, Mending, to_candidate
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire import messages as wire
from dgemma_wire.errors import DenoiseFailed, FailureCode
from tests.lsp.holes import at_cursor

LINE = "def area(w, h):\n    total = █\n    return total\n"
BLOCK = "def area(w, h):\n    █\n\n\nprint(area(1, 2))\n"
TIMINGS = wire.Timings(
    queue_ms=0.0,
    layout_ms=0.0,
    prefill_ms=0.0,
    step_ms=(1.0, 1.0),
    total_ms=2.0,
    prefix_tokens=4,
    cached_tokens=4,
)


def found(text: str, draft: int = 1) -> wire.Candidate:
    """A candidate with one token per character, all sure."""
    return wire.Candidate(
        texts=(text,),
        score=-0.1,
        lowest=0.5,
        steps=2,
        stopped="settled",
        draft=draft,
        tokens=(tuple(wire.SpanToken(1, 1.0) for _ in text),),
    )


@dataclass
class Runtime:
    """Answers in turn; keeps what it was asked."""

    answers: Sequence[str | FailureCode]
    asked: list[wire.Denoise | wire.Renoise] = field(default_factory=list)

    async def denoise(self, ask: wire.Denoise, on_draft: object = None) -> wire.Done:
        return self._answer(ask)

    async def renoise(self, again: wire.Renoise, on_draft: object = None) -> wire.Done:
        return self._answer(again)

    def _answer(self, asked: wire.Denoise | wire.Renoise) -> wire.Done:
        self.asked.append(asked)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, FailureCode):
            raise DenoiseFailed(answer, str(answer))
        return wire.Done(id=1, candidates=(found(answer, len(self.asked) + 1),), timings=TIMINGS)


def mending(
    source: str, runtime: Runtime, *, language: str = "python", means: Means | None = None
) -> Mending:
    snapshot, offset = at_cursor(source, language)
    hole = trigger.find_hole(snapshot, offset, invoked=True)
    assert isinstance(hole, Hole)
    context = capture(snapshot, hole, Budget(1000, 200))
    ask = to_ask(segments.lay_out(hole, context), Options(document="d"))
    return Mending(snapshot, hole, ask, cast("RuntimeClient", runtime), means=means or Means())


def rejected(work: Mending, text: str) -> Candidate:
    kept, verdict = validate.check(work.snapshot, work.hole, text)
    assert not verdict.accepted
    return to_candidate(found(text), kept, verdict)


def run(work: Mending, text: str) -> Candidate:
    return asyncio.run(work.mend(rejected(work, text)))


def test_a_lost_closer_is_put_in_without_asking() -> None:
    runtime = Runtime([])
    best = run(mending(LINE, runtime), "max(w, h")
    assert (best.text, best.mended, best.verdict.accepted) == ("max(w, h)", Mended.BY_HAND, True)
    assert runtime.asked == []


def test_a_faulty_token_is_denoised_again_and_the_rest_is_kept() -> None:
    runtime = Runtime(["w * h"])
    best = run(mending(LINE, runtime), "w * / h")
    assert (best.text, best.mended, best.rounds) == ("w * h", Mended.RENOISED, 1)
    again = runtime.asked[0]
    assert isinstance(again, wire.Renoise)
    assert again.draft == 1
    (pieces,) = again.spans
    assert any(isinstance(piece, wire.Kept) for piece in pieces)
    assert any(isinstance(piece, wire.Free) for piece in pieces)


def test_what_the_runtime_no_longer_keeps_is_sent_as_text() -> None:
    runtime = Runtime([FailureCode.DRAFT_GONE, "-"])
    best = run(mending(LINE, runtime), "w * / h")
    assert isinstance(runtime.asked[1], wire.Denoise)
    free = [s for s in runtime.asked[1].segments if isinstance(s, wire.Free)]
    known = "".join(s.text for s in runtime.asked[1].segments if isinstance(s, wire.Clamped))
    assert len(free) == 1
    assert known.startswith("w *")
    assert "return total" in known
    assert (best.text, best.mended) == ("w * - h", Mended.RENOISED)


def test_three_rounds_at_most_each_wider_than_the_one_before() -> None:
    runtime = Runtime(["w * / h"])
    best = run(mending(LINE, runtime, means=Means(by_hand=False)), "w * / h")
    assert not best.verdict.accepted
    assert best.mended is None
    assert len(runtime.asked) == 4  # the first round tries two lengths
    free = [
        sum(piece.tokens or 0 for piece in again.spans[0] if isinstance(piece, wire.Free))
        for again in runtime.asked
        if isinstance(again, wire.Renoise)
    ]
    assert free == sorted(free)


def test_each_round_goes_on_from_the_better_draft() -> None:
    sound, better = "a = w + h\n    b = w * h", "a = w + h\n    b = w * / h"
    runtime = Runtime([better, better, sound])
    only_rounds = Means(by_hand=False, head=False)
    best = run(mending(BLOCK, runtime, means=only_rounds), "a = w + / h\n    b = w * / h")
    assert (best.text, best.rounds) == (sound, 2)
    last = runtime.asked[-1]
    assert isinstance(last, wire.Renoise)
    assert last.draft == 2


def test_the_sound_head_is_told_at_once_and_never_lost() -> None:
    told: list[Candidate] = []
    runtime = Runtime(["something = else_", "other = 2"])
    work = mending(BLOCK, runtime, means=Means(by_hand=False))
    work.on_head = told.append
    best = run(work, "total = w * h\n    return total + / 2")
    assert [each.text for each in told] == ["total = w * h"]
    assert best.text.startswith("total = w * h")
    assert best.mended is Mended.HEAD


def test_a_mended_draft_extends_the_head_that_was_shown() -> None:
    runtime = Runtime(["total = w * h\n    return total * 2"])
    best = run(
        mending(BLOCK, runtime, means=Means(by_hand=False)),
        "total = w * h\n    return total + / 2",
    )
    assert (best.text, best.mended) == (
        "total = w * h\n    return total * 2",
        Mended.RENOISED,
    )


def test_without_time_nothing_is_asked() -> None:
    runtime = Runtime(["w * h"])
    work = mending(LINE, runtime)
    work.until = time.perf_counter()
    best = run(work, "w * / h")
    assert not best.verdict.accepted
    assert runtime.asked == []


def test_a_failing_runtime_is_the_callers_to_know() -> None:
    runtime = Runtime([FailureCode.OUT_OF_MEMORY])
    with pytest.raises(DenoiseFailed):
        run(mending(LINE, runtime), "w * / h")


def test_a_failing_runtime_takes_no_head_back() -> None:
    runtime = Runtime([FailureCode.DEADLINE])
    best = run(
        mending(BLOCK, runtime, means=Means(by_hand=False)),
        "total = w * h\n    return total + / 2",
    )
    assert (best.text, best.mended) == ("total = w * h", Mended.HEAD)


def test_the_document_is_never_changed() -> None:
    runtime = Runtime(["w * h"])
    work = mending(LINE, runtime)
    before: Snapshot = work.snapshot
    text = before.text
    run(work, "w * / h")
    assert before.text == text

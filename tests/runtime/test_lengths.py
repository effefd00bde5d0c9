"""How long a span is to be: proposals, the choice among them, and the judge of finished drafts."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from scripted_adapter import Prefix, TableAdapter  # noqa: E402

from dgemma_runtime.canvas import ClampedIds, FreeSlots, Layout, lay_out  # noqa: E402
from dgemma_runtime.engine import lengths, loop  # noqa: E402
from dgemma_runtime.engine.passes import answer  # noqa: E402
from dgemma_runtime.engine.state import Problem, State  # noqa: E402
from dgemma_runtime.models.base import (  # noqa: E402
    Acceptance,
    LengthSearch,
    Noise,
    NoiseKind,
    SamplerConfig,
)

pytestmark = pytest.mark.torch

VOCAB, MASK = 40, 1
NOISE = Noise(NoiseKind.MASK, VOCAB, MASK)
LAYOUT = Layout(head_rows=1, span_tokens=4, tail_tokens=8, canvas_tokens=32, empty_head_id=2)


def canvas_of(tokens: int) -> Problem:
    """Clamped 4, a span, clamped 9 10 11."""
    _, canvas = lay_out([4], [FreeSlots(tokens), ClampedIds((9, 10, 11))], LAYOUT)
    return loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=9,
        sample=False,
        end_ids=(),
        needed=lambda span, earlier, ids: None,
    )


def counts_on(canvas: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Every token is one more than the one before it, where that is known."""
    made = torch.zeros(len(rows), VOCAB)
    for i, row in enumerate(rows.tolist()):
        before = int(canvas[row - 1])
        if before != MASK:
            made[i, (before + 1) % VOCAB] = 8.0
    return made


@pytest.mark.parametrize(
    ("draft", "suffix", "at"),
    [
        ("a + b\n    return total", "\n    return total\n", 5),
        ("a + b)\n", ")\n", None),  # too little to tell
        ("b, c)\n    print(value)", ")\n    print(value)\n", 4),
        ("x\ny = other(1)\n", "y = other(1)", 2),  # the break is the span's
        ("x\n  y = other(1)\n", "\n  y = other(1)", 1),
        ("value = other(1) + 2\nvalue = other(1)", "\nvalue = other(1)", 20),
        ("nothing of it", "\nreturn total", None),
        ("", "return total", None),
        ("return  total", "return total", 0),
        ("if x:\n\n\n  return total", "\n\n  return total", 6),
        ("é = 1\r\nreturn total", "\r\nreturn total", 5),
    ],
)
def test_where_a_draft_meets_what_follows(draft: str, suffix: str, at: int | None) -> None:
    assert lengths.reentry(draft, suffix) == at


@given(
    middle=st.text("ab(= \n", max_size=20),
    suffix=st.text("cdefgh.:\n ", min_size=12, max_size=40),
)
def test_a_draft_that_goes_over_is_cut_before_what_follows(middle: str, suffix: str) -> None:
    at = lengths.reentry(middle + suffix, suffix)
    if len("".join(suffix.split())) < 8:
        return
    if "\n" in suffix[: len(suffix) - len(suffix.lstrip())] or at is not None:
        assert at is not None
        assert "".join(middle[:at].split()) == "".join(middle.split())


def runner(tokens: int, sureness: float = 0.0) -> lengths.Runner:
    each = lengths.start(canvas_of(tokens), NOISE, torch.Generator())
    each.sureness = sureness
    return each


def test_lengths_are_compared_after_what_length_alone_does() -> None:
    field = [runner(n, -0.5 * math.log(n)) for n in (1, 2, 4, 8)]
    assert [each.tokens for each in lengths.ranked(field, 0.0)] == [1, 2, 4, 8]
    field.append(runner(6, -0.5 * math.log(6) + 0.1))
    assert lengths.ranked(field, -0.5)[0].tokens == 6
    assert [each.tokens for each in lengths.ranked([runner(8), runner(2)], 0.0)] == [2, 8]


def test_neighbours_are_those_that_were_not_tried() -> None:
    assert lengths.neighbours(6, [1, 2, 4, 6, 8], 8) == [3, 5, 7]
    assert lengths.neighbours(1, [1, 2, 3, 4], 8) == []
    assert lengths.neighbours(8, [8], 9) == [5, 6, 7, 9]


def sure_of_three(canvas: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Sure of every token of a span of three, in no other."""
    made = torch.zeros(len(rows), VOCAB)
    span = (canvas == 9).nonzero()[0].item() - 1
    made[:, 5] = 12.0 if span == 3 else 1.0
    return made


def raced(
    search: LengthSearch, wide: int = 8, steps: int = 99, passes: int = 99
) -> tuple[list[lengths.Runner], TableAdapter, list[int]]:
    adapter = TableAdapter(sure_of_three)
    config = SamplerConfig(acceptance=Acceptance.LEADING_RUN, max_steps=None, run_confidence=0.9)
    field: list[int] = []

    def go_on(left: Sequence[lengths.Runner]) -> bool:
        field.append(len(left))
        return len(field) <= steps

    asks = lengths.race(
        adapter,
        Prefix(),
        [runner(n) for n in (1, 2, 3, 6)],
        NOISE,
        config,
        search,
        go_on,
        lambda: len(adapter.canvases) < passes,
        wide,
    )
    return answer(adapter, asks), adapter, field


@pytest.mark.parametrize("wide", [1, 3, 8])
def test_the_length_that_the_model_is_sure_of_wins(wide: int) -> None:
    left, adapter, field = raced(LengthSearch(keeps=(3, 1), slopes=(0.0, 0.0), patience=3), wide)
    assert [each.tokens for each in left] == [3]
    assert left[0].state.settled
    assert field[:3] == [4, 3, 1]
    for canvas in adapter.canvases:
        assert canvas[-3:].tolist() == [9, 10, 11]
        assert canvas[0] == 4


def test_a_race_is_over_some_steps_after_the_first_is_done() -> None:
    everybody = LengthSearch(keeps=(9,), slopes=(0.0,), patience=1)
    left, _, field = raced(everybody)
    assert left[0].tokens == 3
    steps = {each.tokens: each.state.steps for each in left}
    assert steps[3] == 1  # all at once
    assert steps[6] == 2
    assert len(field) == 3


def test_a_race_that_is_ended_within_a_step_has_those_that_had_theirs() -> None:
    search = LengthSearch(keeps=(9,), slopes=(0.0,), patience=9)
    left, adapter, _ = raced(search, wide=1, passes=3)
    assert [each.tokens for each in left] == [3, 1, 2]
    assert all(each.state.steps == 1 for each in left)
    assert len(adapter.canvases) == 3


def test_a_race_that_is_ended_has_drafts() -> None:
    left, _, _ = raced(LengthSearch(keeps=(9,), slopes=(0.0,), patience=9), steps=1)
    assert all(each.state.steps == 1 for each in left)
    assert all((each.state.best[each.problem.rows] == 5).all() for each in left)


@pytest.mark.parametrize("leave_one_out", [True, False])
def test_a_span_of_the_right_length_is_judged_the_best(leave_one_out: bool) -> None:
    adapter = TableAdapter(counts_on)
    drafts: list[tuple[Problem, State]] = []
    for tokens in (2, 4, 6):
        problem = canvas_of(tokens)
        state = loop.begin(problem, NOISE, torch.Generator())
        state.best[problem.rows] = torch.arange(5, 5 + tokens)  # 4 | 5 6 7 8 | 9 10 11
        drafts.append((problem, state))
    scores = answer(
        adapter,
        lengths.judge(drafts, Prefix(), NOISE, torch.Generator(), 2, leave_one_out=leave_one_out),
    )
    assert scores.index(max(scores)) == 1
    assert all(score <= 0 for score in scores)


def test_a_judge_without_anything_behind_the_span_has_only_its_tokens() -> None:
    _, canvas = lay_out([4], [FreeSlots(2)], LAYOUT)
    assert lengths.behind(canvas, 8) == []

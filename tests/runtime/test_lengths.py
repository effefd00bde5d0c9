"""How long a span is to be: proposals, the choice among them, and the judge of finished drafts."""

from __future__ import annotations

import math
import sys
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
from dgemma_runtime.models.base import Noise, NoiseKind  # noqa: E402

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


def test_probes_are_compared_after_what_length_alone_does() -> None:
    probes = [lengths.Probe(n, -0.5 * math.log(n)) for n in (1, 2, 4, 8)]
    assert lengths.ranked(probes, 0.0) == [1, 2, 4, 8]
    assert lengths.ranked([*probes, lengths.Probe(6, -0.5 * math.log(6) + 0.1)], -0.5)[0] == 6
    even = [lengths.Probe(n, -1.0) for n in (8, 2)]
    assert lengths.ranked(even, 0.0) == [2, 8]


def test_neighbours_take_what_room_is_left() -> None:
    assert lengths.spread([6, 2], 8, 3) == [6, 2, 7]
    assert lengths.spread([1], 8, 3) == [1, 2]
    assert lengths.spread([8], 8, 3) == [8, 7]
    assert lengths.spread([5, 5, 9], 8, 4) == [5, 6, 4, 8]
    assert lengths.spread([], 8, 3) == []


def test_a_probe_reads_every_length_in_one_pass() -> None:
    def sure_of_three(canvas: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        made = torch.zeros(len(rows), VOCAB)
        made[:, 5] = 9.0 if len(rows) == 3 else 1.0
        return made

    adapter = TableAdapter(sure_of_three)
    asks = lengths.probe([canvas_of(n) for n in (1, 3, 6)], Prefix(), NOISE, torch.Generator())
    found = answer(adapter, asks)
    assert [each.tokens for each in found] == [1, 3, 6]
    assert lengths.ranked(found, 0.0)[0] == 3
    for canvas, tokens in zip(adapter.canvases, (1, 3, 6), strict=True):
        assert (canvas == MASK).sum() == tokens
        assert canvas[-3:].tolist() == [9, 10, 11]


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

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.infill.capture import budget_for, capture
from dgemma_lsp.infill.graphemes import border_after, border_before, is_border
from dgemma_lsp.infill.segments import Canvas, Known, Span, lay_out
from dgemma_lsp.infill.types import Budget, Context, Hole, HoleKind
from tests.lsp.holes import at_cursor, snapshot

FAMILY = "👨‍👩‍👧"


@dataclass(frozen=True)
class Numbers:
    prefix_tokens: int = 1000
    canvas_tokens: int = 256
    span_tokens: int = 128
    chars_per_token: float = 3.0


def test_budget() -> None:
    assert budget_for(Numbers()) == Budget(2700, 345)
    assert budget_for(Numbers(canvas_tokens=1)).suffix_chars == 0


def test_a_short_text_is_kept_whole() -> None:
    snap, offset = at_cursor("a = 1\nb = █\nc = 3\n")
    assert capture(snap, Hole(offset, HoleKind.LINE), Budget(100, 100)) == Context(
        "a = 1\nb = ", "\nc = 3\n"
    )


def test_the_suffix_ends_at_a_line_border() -> None:
    snap, offset = at_cursor("f(█)\nsecond\nthird\n")
    hole = Hole(offset, HoleKind.MID_LINE)
    assert capture(snap, hole, Budget(9, 12)).suffix == ")\nsecond\n"
    assert capture(snap, hole, Budget(9, 8)).suffix == ")\n"
    assert capture(snap, hole, Budget(9, 1)).suffix == ")"
    assert capture(snap, hole, Budget(9, 0)).suffix == ""


def test_the_left_edge_stays_while_one_types() -> None:
    text = "value = compute(1, 2)\n" * 2_000
    budget = Budget(1_000, 100)
    starts: list[str] = []
    for typed in range(150):
        snap = snapshot(text + "x" * typed)
        context = capture(snap, Hole(len(snap.text), HoleKind.LINE), budget)
        assert budget.prefix_chars // 2 <= len(context.prefix) <= budget.prefix_chars
        assert context.prefix.startswith("value")
        starts.append(snap.text.rindex(context.prefix).__str__())
    assert len(set(starts)) <= 2


def test_a_line_longer_than_the_budget_is_cut_inside() -> None:
    snap = snapshot("x" * 500)
    context = capture(snap, Hole(250, HoleKind.MID_LINE), Budget(100, 40))
    assert (len(context.prefix), len(context.suffix)) == (100, 40)


@given(
    st.lists(
        st.sampled_from(["a", "\r\n", "\n", "\r", "é", "e\u0301", "漢", "😀", FAMILY, "🇩🇪", "한"]),
        max_size=60,
    ),
    st.integers(0, 60),
    st.integers(1, 40),
    st.integers(0, 40),
)
def test_any_cut_is_a_border(clusters: list[str], at: int, before: int, after: int) -> None:
    text = "".join(clusters)
    offset = border_after(text, len("".join(clusters[:at])))
    context = capture(snapshot(text, "plain"), Hole(offset, HoleKind.LINE), Budget(before, after))
    assert len(context.prefix) <= before
    assert len(context.suffix) <= after
    assert text[:offset].endswith(context.prefix)
    assert text[offset:].startswith(context.suffix)
    assert is_border(text, offset - len(context.prefix))
    assert is_border(text, offset + len(context.suffix))


@pytest.mark.parametrize(
    "cluster",
    ["\r\n", "e\u0301", FAMILY, "👍🏽", "🇩🇪", "❤\ufe0f", "\u1112\u1161\u11ab", "\ud83d\ude00"],
)
def test_clusters_are_not_split(cluster: str) -> None:
    text = f"漢{cluster}b"
    inner = range(2, 1 + len(cluster))
    assert [at for at in inner if is_border(text, at)] == []
    assert all(border_before(text, at) == 1 for at in inner)
    assert all(border_after(text, at) == 1 + len(cluster) for at in inner)


def test_canvas_of_a_hole() -> None:
    hole = Hole(3, HoleKind.MID_LINE)
    assert lay_out(hole, Context("a = ", ";\n")) == Canvas("a = ", (Span(1), Known(";\n")))
    assert lay_out(Hole(3, HoleKind.BLOCK), Context("a", "")) == Canvas("a", (Span(None),))

"""Several holes: what stands in, canvases, shares of tokens, the check alone and together."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.infill.marks import Mark, Marked, find_marked
from dgemma_lsp.infill.segments import Known, Span
from dgemma_lsp.infill.several import Sheet, share
from dgemma_lsp.infill.types import HoleKind, RejectReason
from tests.lsp.holes import snapshot


@dataclass(frozen=True)
class Limits:
    prefix_tokens: int = 512
    canvas_tokens: int = 128
    span_tokens: int = 48
    max_span_tokens: int = 48
    chars_per_token: float = 3.0


def sheet(text: str, language: str = "python") -> Sheet:
    snap = snapshot(text, language)
    return Sheet(snap, find_marked(snap))


def test_one_canvas_for_what_is_near() -> None:
    one = sheet("def add(a, b):\n    return ___\n\nprint(add(___, 2))\n")
    assert one.kinds == [HoleKind.LINE, HoleKind.MID_LINE]
    assert one.groups(range(2), Limits(), 8) == [[0, 1]]
    assert one.groups(range(2), Limits(), 1) == [[0], [1]]
    canvas = one.canvas([0, 1], Limits())
    assert canvas.prefix == "def add(a, b):\n    return "
    first, between, second, suffix = canvas.pieces
    assert isinstance(first, Span)
    assert isinstance(second, Span)
    assert (first.max_lines, second.max_lines) == (1, 1)
    assert between == Known("\n\nprint(add(")
    assert suffix == Known(", 2))\n")


def test_what_is_far_comes_later_and_sees_the_earlier_text() -> None:
    far = "x = 1\n" * 100
    one = sheet(f"a = ___\n{far}b = ___\n")
    assert one.groups(range(2), Limits(), 8) == [[0], [1]]
    first = one.canvas([0], Limits())
    assert first.prefix == "a = "
    assert all("___" not in piece.text for piece in first.pieces if isinstance(piece, Known))
    one.put(0, "'first'")
    later = one.canvas([1], Limits(prefix_tokens=4096))
    assert later.prefix == f"a = 'first'\n{far}b = "


def test_a_hole_alone_ends_its_canvas_before_the_next_one() -> None:
    one = sheet("a = ___\nb = ___\nc = 3\n")
    assert one.canvas([0], Limits()).pieces[1:] == (Known("\n"),)
    one.put(1, "2")
    assert one.canvas([0], Limits()).pieces[1:] == (Known("\nb = 2\nc = 3\n"),)


def test_the_body_of_a_todo_is_a_block_between_its_lead_and_tail() -> None:
    one = sheet("// TODO: add\nfunction f(a, b) {}\n", "javascript")
    assert one.kinds == [HoleKind.BLOCK]
    canvas = one.canvas([0], Limits())
    assert canvas.prefix.endswith("{\n    ")
    assert canvas.pieces[1] == Known("\n}\n")
    text, verdict = one.check(0, "return a + b;")
    assert verdict.accepted
    one.put(0, text)
    assert one.replacement(0) == "\n    return a + b;\n"
    assert one.unsound_together() is None


@pytest.mark.parametrize(
    ("text", "language", "good", "bad"),
    [
        ('{"a": ___, "b": ___}', "json", ["1", "[2]"], ["1", "]"]),
        ("def f(___):\n    return ___\n", "python", ["a", "a + 1"], ["a", "for for"]),
        ("x = f'{___} {___}'\n", "python", ["a", "b"], ["a", "("]),
        ("fn f() -> i32 {\n    let ___ = 1;\n    ___\n}\n", "rust", ["a", "a"], ["a", "let {"]),
        ("```python\nx = ___\ny = ___\n```\n", "markdown", ["1", "2"], ["1", "(("]),
    ],
)
def test_each_is_judged_among_the_others(
    text: str, language: str, good: list[str], bad: list[str]
) -> None:
    one = sheet(text, language)
    for number, raw in enumerate(good):
        kept, verdict = one.check(number, raw)
        assert (kept, verdict.accepted) == (raw, True), verdict
        one.put(number, kept)
    assert one.unsound_together() is None
    other = sheet(text, language)
    assert [other.check(n, raw)[1].accepted for n, raw in enumerate(bad)] == [True, False]


def test_a_hole_in_the_middle_of_a_line_is_one_line() -> None:
    one = sheet("x = (___)\n")
    text, verdict = one.check(0, "1,\n2")
    assert text == "1,"
    assert verdict.accepted


def test_what_is_only_unsound_together_is_found() -> None:
    one = sheet("x = ___\ny = ___\n")
    one.put(0, "'''")
    assert one.unsound_together() == 0
    one.put(0, "1")
    one.put(1, "(")
    assert one.unsound_together() == 1
    one.put(1, None)
    assert one.unsound_together() is None
    assert one.replacement(1) is None


def test_cursors_in_broken_code_disturb_each_other_little() -> None:
    text = "x = \ny = f(a, )\nz = a.\n"
    places = [text.index("= \n") + 2, text.index(")"), text.index(".") + 1]
    one = Sheet(snapshot(text), [Marked(at, at, Mark.GIVEN) for at in places])
    for number, raw in enumerate(["1", "b", "c"]):
        kept, verdict = one.check(number, raw)
        assert verdict.accepted, (raw, verdict)
        one.put(number, kept)
    assert one.unsound_together() is None


def test_a_range_that_is_given_is_replaced() -> None:
    text = "total = price + tax\n"
    start = text.index("price")
    one = Sheet(snapshot(text), [Marked(start, start + 5, Mark.GIVEN)])
    assert one.original(0) == "price"
    assert one.canvas([0], Limits()).prefix == "total = "
    kept, verdict = one.check(0, "cost")
    assert verdict.accepted
    one.put(0, kept)
    assert one.replacement(0) == "cost"
    assert one.check(0, ")")[1].reason is RejectReason.ADDS_SYNTAX_ERROR


@given(
    st.lists(st.sampled_from(list(HoleKind)), min_size=1, max_size=12),
    st.integers(32, 512),
    st.integers(8, 128),
)
def test_shares_are_fair_and_bounded(kinds: list[HoleKind], canvas: int, span: int) -> None:
    limits = Limits(canvas_tokens=canvas, span_tokens=span, max_span_tokens=span)
    sizes = share(kinds, [], limits)
    assert all(1 <= size <= span for size in sizes)
    by_kind = {kind: {s for k, s in zip(kinds, sizes, strict=True) if k is kind} for kind in kinds}
    assert all(len(each) == 1 for each in by_kind.values())  # the same kind, the same share
    assert max(by_kind.get(HoleKind.MID_LINE, {0})) <= min(by_kind.get(HoleKind.BLOCK, {10_000}))


@given(st.integers(1, 20), st.integers(0, 60))
def test_groups_keep_to_the_canvas(holes: int, between: int) -> None:
    limits = Limits()
    one = sheet(("#" + "x" * between + "\nx = ___\n") * holes)
    groups = one.groups(range(holes), limits, 8)
    assert [number for group in groups for number in group] == list(range(holes))
    for group in groups:
        canvas = one.canvas(group, limits)
        last = max(i for i, piece in enumerate(canvas.pieces) if isinstance(piece, Span))
        tokens = sum(
            (piece.tokens or limits.span_tokens)
            if isinstance(piece, Span)
            else len(piece.text) / limits.chars_per_token
            for piece in canvas.pieces[: last + 1]
        )
        assert tokens <= limits.canvas_tokens

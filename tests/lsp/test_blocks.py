from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.infill.blocks import Block, runs_of, share_out, span_tokens
from dgemma_lsp.infill.rewrite import assembled, check_block, lay_out, place_tokens, select
from dgemma_lsp.infill.segments import Known, Rewriting, Span
from dgemma_lsp.infill.types import Declined, RejectReason, Selection, Snapshot
from tests.lsp.holes import snapshot


@dataclass(frozen=True)
class Numbers:
    prefix_tokens: int = 400
    canvas_tokens: int = 256
    span_tokens: int = 24
    max_span_tokens: int = 48
    chars_per_token: float = 3.0


NUMBERS = Numbers()


def all_of(snap: Snapshot) -> Selection:
    found = select(snap, 0, len(snap.text))
    assert not isinstance(found, Declined)
    return found


def texts(snap: Snapshot, runs: tuple[Selection, ...]) -> list[str]:
    return [snap.text[run.start : run.end] for run in runs]


# -- pins ---------------------------------------------------------------------------------------

FIVE = "a\n\nb\nc\n\td\n"


@pytest.mark.parametrize(
    ("pinned", "expected"),
    [
        ([], ["a\n\nb\nc\n\td"]),
        ([(3, 4)], ["a", "c\n\td"]),
        ([(3, 3)], ["a", "c\n\td"]),
        ([(3, 5)], ["a", "c\n\td"]),  # up to the start of the next line
        ([(5, 3)], ["a", "c\n\td"]),
        ([(4, 5)], ["a", "c\n\td"]),
        ([(3, 6)], ["a", "\td"]),
        ([(0, 1), (7, 8)], ["b\nc"]),
        ([(2, 2)], ["a", "b\nc\n\td"]),
        ([(0, 99)], []),
        ([(99, 200)], ["a\n\nb\nc\n\td"]),
    ],
)
def test_runs_are_what_is_not_pinned(pinned: list[tuple[int, int]], expected: list[str]) -> None:
    snap = snapshot(FIVE, "generic")
    assert texts(snap, runs_of(snap, Selection(0, len(FIVE) - 1), pinned)) == expected


def test_lines_around_the_selection_cannot_be_pinned_into_it() -> None:
    snap = snapshot(FIVE, "generic")
    inner = Selection(3, 6)
    assert texts(snap, runs_of(snap, inner, [(0, 1), (7, 9)])) == ["b\nc"]


# -- one canvas ---------------------------------------------------------------------------------


def test_spans_stand_between_clamped_lines() -> None:
    snap = snapshot("x\r\na\r\nkeep  \r\nb\r\ny\r\n", "generic")
    block = Block.of(Selection(3, 4), Selection(14, 15))
    canvas = lay_out(snap, block, "i", NUMBERS, noise=0.5)
    one, _ = span_tokens(snap, block, NUMBERS)
    assert canvas.prefix == "x\n"
    assert canvas.pieces == (
        Span(start="a", noise=0.5),
        Known("\nkeep  \n"),
        Span(start="b", noise=0.5),
        Known("\ny\n"),
    )
    assert canvas.rewriting == Rewriting("i", "a\nkeep  \nb")
    plain = lay_out(snap, block, "i", NUMBERS, original="what it was")
    assert plain.pieces[0] == Span(tokens=one)
    assert plain.rewriting == Rewriting("i", "what it was")


def test_runs_share_a_canvas_only_where_the_model_can_do_that_and_they_fit() -> None:
    text = "first = 1\nkeep\nsecond = 2\n" + "keep this line too\n" * 40 + "third = 3\n"
    snap = snapshot(text)
    runs = runs_of(
        snap,
        all_of(snap),
        [(text.index("keep"), text.index("second")), (text.index("keep t"), text.index("third"))],
    )
    assert texts(snap, runs) == ["first = 1", "second = 2", "third = 3"]
    blocks, _ = share_out(snap, runs, NUMBERS, together=True)
    assert [block.runs for block in blocks] == [runs[:2], runs[2:]]
    room = sum(span_tokens(snap, blocks[0], NUMBERS))
    assert room <= NUMBERS.canvas_tokens
    assert max(span_tokens(snap, blocks[0], NUMBERS)) <= NUMBERS.max_span_tokens
    blocks, _ = share_out(snap, runs, NUMBERS, together=False)
    assert [block.runs for block in blocks] == [(run,) for run in runs]


@pytest.mark.parametrize(
    ("raws", "expected"),
    [
        (("x", "y"), "x\nkeep  \ny"),
        (("\nx\n\n", "y\nz\n"), "x\nkeep  \ny\nz"),
        (("", "y"), "keep  \ny"),
        (("x", " \n"), "x\nkeep  "),
    ],
)
def test_what_comes_back_is_put_between_them(raws: tuple[str, str], expected: str) -> None:
    snap = snapshot("a\nkeep  \nb\n", "generic")
    block = Block.of(Selection(0, 1), Selection(9, 10))
    checked = check_block(snap, block, raws)
    assert (checked.text, checked.verdict.accepted) == (expected, True)
    assert assembled(snap, block, checked.runs) == expected


def test_a_run_that_says_the_pinned_line_again_is_rejected() -> None:
    snap = snapshot("a = 1\nkeep()\nb = 2\nlast()\n")
    block = Block.of(Selection(0, 5), Selection(13, 18))
    for raws in (("x = 1\nkeep()", "y = 2"), ("x = 1", "y = 2\nlast()")):
        assert check_block(snap, block, raws).verdict.reason is RejectReason.REPEATS_SUFFIX
    unchanged = check_block(snap, block, ("a = 1", "b = 2 "))
    assert unchanged.verdict.reason is RejectReason.UNCHANGED
    nothing = check_block(snap, Block.of(Selection(0, 5)), ("\n",))
    assert nothing.verdict.reason is RejectReason.EMPTY


def test_tokens_are_placed_in_the_tidied_text() -> None:
    raw = "\n  a\n b \n\n"
    tokens = [(1, 0.1), (3, 0.2), (2, 0.3), (2, 0.4), (2, 0.5)]
    assert place_tokens(raw, tokens, "\r\n") == (
        (0, 3, 0.2),
        (3, 6, 0.3),
        (6, 7, 0.4),
    )
    assert place_tokens("\n \n", [(3, 0.5)], "\n") == ()


@given(st.text("ab \n漢", max_size=20), st.lists(st.integers(0, 4), max_size=12))
def test_placed_tokens_are_in_order_and_inside(raw: str, counts: list[int]) -> None:
    snap = snapshot("zzz\n", "generic")
    text = check_block(snap, Block.of(Selection(0, 3)), (raw,)).text
    placed = place_tokens(raw, [(count, 0.5) for count in counts], "\n")
    assert all(0 <= low < high <= len(text) for low, high, _ in placed)
    assert all(one.end <= other.start for one, other in pairwise(placed))


# -- long selections ----------------------------------------------------------------------------


def cut(text: str, language: str = "python", limits: Numbers = NUMBERS) -> list[str]:
    snap = snapshot(text, language)
    blocks, too_long = share_out(snap, [all_of(snap)], limits, together=True)
    assert not too_long
    return [snap.text[block.start : block.end] for block in blocks]


def test_what_fits_is_one_block() -> None:
    assert cut("x = 1\n" * 20) == [("x = 1\n" * 20).rstrip("\n")]


def test_python_is_cut_between_functions_then_statements() -> None:
    short = "def f{}(a):\n    b = a + 1\n    return b\n"
    pieces = cut("\n\n".join(short.format(n) for n in range(8)))
    assert all(piece.startswith("def ") for piece in pieces)
    assert all(piece.endswith("return b") for piece in pieces)
    body = "".join(f"    call(\n        {n},\n        'argument',\n    )\n" for n in range(12))
    pieces = cut(f"def long():\n{body}")
    assert len(pieces) > 2
    assert all(piece.count("(") == piece.count(")") for piece in pieces)


def test_braces_stay_with_what_they_close() -> None:
    one = "function f{}(a) {{\n  const b = a + 1;\n  return b;\n}}\n"
    pieces = cut("\n".join(one.format(n) for n in range(8)), "javascript")
    assert all(piece.count("{") == piece.count("}") for piece in pieces)


def test_a_nested_block_is_kept_whole_where_it_fits() -> None:
    inner = "    if a == {0}:\n        b = {0}\n        c = {0}\n"
    pieces = cut("def f(a, b, c):\n" + "".join(inner.format(n) for n in range(9)))
    assert all(piece.rstrip().rsplit("\n", 1)[-1].lstrip().startswith("c = ") for piece in pieces)


def test_without_a_grammar_blank_lines_and_indentation_decide() -> None:
    paragraph = "head {}\n  some words here\n  and some more words\n"
    pieces = cut("\n".join(paragraph.format(n) for n in range(12)), "generic")
    assert all(piece.startswith("head") for piece in pieces)
    pieces = cut("".join(paragraph.format(n) for n in range(12)), "generic")
    assert all(piece.startswith("head") for piece in pieces)


def test_only_a_line_that_is_too_long_by_itself_is_left_out() -> None:
    text = "a = 1\nb = [" + "1, " * 200 + "]\nc = 3\n"
    snap = snapshot(text)
    blocks, too_long = share_out(snap, [all_of(snap)], NUMBERS, together=True)
    assert [snap.text[block.start : block.end] for block in blocks] == ["a = 1", "c = 3"]
    assert [snap.text[each.start : each.start + 3] for each in too_long] == ["b ="]


def test_a_statement_longer_than_a_canvas_is_cut_at_a_line() -> None:
    items = "".join(f"    'the item with the number {n}',\n" for n in range(30))
    pieces = cut(f"items = [\n{items}]\n")
    assert "\n".join(pieces) == f"items = [\n{items}]"
    most = NUMBERS.max_span_tokens * NUMBERS.chars_per_token
    assert all(len(piece) <= most for piece in pieces)


LINES = st.lists(
    st.sampled_from(
        ["", "x = 1", "def f():", "    y = (", "        z", "    )", "\t漢🦜 = 2", "}"]
    ),
    max_size=40,
)


@given(LINES, st.sampled_from(["\n", "\r\n"]), st.sets(st.integers(0, 40)), st.booleans())
def test_blocks_cover_every_free_line_once_and_no_pinned_one(
    lines: list[str], newline: str, pins: set[int], together: bool
) -> None:
    text = newline.join(lines)
    snap = snapshot(text)
    selection = select(snap, 0, len(text))
    if isinstance(selection, Declined):
        return
    parsed = snap.parsed
    pinned = [parsed.line_span(line) for line in pins if line < parsed.lines.count]
    runs = runs_of(snap, selection, pinned)
    blocks, too_long = share_out(snap, runs, Numbers(max_span_tokens=8), together=together)
    every = [run for block in blocks for run in block.runs]
    assert every == sorted(every, key=lambda run: run.start)
    seen = [
        line
        for run in [*every, *too_long]
        for line in range(parsed.lines.line(run.start), parsed.lines.line(run.end) + 1)
    ]
    assert len(seen) == len(set(seen))
    assert not pins & set(seen)
    free = {line for line, said in enumerate(lines) if said.strip() and line not in pins}
    assert {line for line in seen if lines[line].strip()} == free

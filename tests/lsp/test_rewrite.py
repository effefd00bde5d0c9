from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.infill.blocks import Block
from dgemma_lsp.infill.rewrite import (
    check,
    find_instruction,
    lay_out,
    offers_for,
    select,
    takes_argument,
)
from dgemma_lsp.infill.segments import Canvas, Known, Rewriting, Span
from dgemma_lsp.infill.types import Declined, DeclineReason, RejectReason, Selection, Snapshot
from dgemma_lsp.languages import BY_ID, GENERIC
from tests.lsp.holes import snapshot

PYTHON, GO = BY_ID["python"], BY_ID["go"]
SOURCE = "import os\n\n\ndef f(a):\n    b = a\n    return b\n\n\nf(1)\n"


@dataclass(frozen=True)
class Numbers:
    prefix_tokens: int = 100
    canvas_tokens: int = 256
    span_tokens: int = 24
    max_span_tokens: int = 48
    chars_per_token: float = 3.0


@dataclass(frozen=True)
class One:
    kind: str
    instruction: str
    languages: tuple[str, ...] = ()


OFFERS = (
    One("types", "add type annotations", ("python",)),
    One("rename", "rename {a} to {b}"),
    One("again", "swap {a} and {b} and {a}"),
)


def selected(snap: Snapshot, text: str) -> Selection:
    start = snap.text.index(text)
    found = select(snap, start, start + len(text))
    assert isinstance(found, Selection)
    return found


def lines(snap: Snapshot, start: int, end: int) -> str | Declined:
    found = select(snap, start, end)
    return found if isinstance(found, Declined) else snap.text[found.start : found.end]


# -- which lines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("= a", "    b = a"),
        ("    b = a\n", "    b = a"),
        ("    b = a\n ", "    b = a\n    return b"),
        ("a\n    ret", "    b = a\n    return b"),
        ("\n\ndef f(a):\n", "def f(a):"),
        ("    return b\n\n\n", "    return b"),
        ("f(1)\n", "f(1)"),
    ],
)
def test_whole_lines_without_blank_ends(text: str, expected: str) -> None:
    snap = snapshot(SOURCE)
    start = SOURCE.index(text)
    assert lines(snap, start, start + len(text)) == expected
    assert lines(snap, start + len(text), start) == expected


def test_a_cursor_selects_its_line() -> None:
    at = SOURCE.index("= a")
    assert lines(snapshot(SOURCE), at, at) == "    b = a"
    assert lines(snapshot("x"), 0, 0) == "x"


def test_nothing_but_blanks_is_declined() -> None:
    for text, start, end in (("", 0, 0), ("x\n\n  \ny\n", 2, 5), ("x\n", 2, 2)):
        found = lines(snapshot(text), start, end)
        assert isinstance(found, Declined)
        assert found.reason is DeclineReason.NOTHING_SELECTED


@given(st.text("ab \t\r\n漢"), st.integers(0, 30), st.integers(0, 30))
def test_a_selection_begins_and_ends_with_text_of_whole_lines(text: str, a: int, b: int) -> None:
    snap = snapshot(text, "generic")
    found = select(snap, min(a, len(text)), min(b, len(text)))
    if isinstance(found, Declined):
        return
    inner = text[found.start : found.end]
    assert inner.split("\n")[0].strip()
    assert inner.strip()
    assert found.start == 0 or text[found.start - 1] in "\r\n"
    assert found.end == len(text) or text[found.end] in "\r\n"


# -- which instruction --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("add type annotations", "add type annotations"),
        ("  Add  type\tANNOTATIONS ", "add type annotations"),
        ("rename total to grandTotal", "rename total to grandTotal"),
        ("RENAME x TO self.X", "rename x to self.X"),
        ("rename to to from", "rename to to from"),
        ("swap x and y and x", "swap x and y and x"),
    ],
)
def test_the_models_own_words_go_out(asked: str, expected: str) -> None:
    assert find_instruction(asked, PYTHON, OFFERS) == expected


@pytest.mark.parametrize(
    "asked",
    ["", "add types", "rename x", "rename  to y", "rename to", "swap x and y and z", "rename {a}"],
)
def test_other_words_are_declined_with_what_is_known(asked: str) -> None:
    found = find_instruction(asked, PYTHON, OFFERS)
    assert isinstance(found, Declined)
    assert found.reason is DeclineReason.NOT_OFFERED
    assert found.message is not None
    assert "add type annotations; rename {a} to {b}" in found.message


def test_an_offer_holds_in_its_languages() -> None:
    assert isinstance(find_instruction("add type annotations", GO, OFFERS), Declined)
    assert find_instruction("rename a to b", GO, OFFERS) == "rename a to b"
    assert offers_for(GENERIC, OFFERS) == OFFERS[1:]
    assert [takes_argument(offer) for offer in OFFERS] == [False, True, True]
    found = find_instruction("anything", GO, OFFERS[:1])
    assert isinstance(found, Declined)
    assert found.message == "The model was not trained for rewrites in go."


# -- the canvas ---------------------------------------------------------------------------------


def test_the_canvas_is_a_span_and_what_follows() -> None:
    snap = snapshot(SOURCE)
    canvas = lay_out(snap, Block.of(selected(snap, "    b = a")), "rename b to c", Numbers())
    assert canvas == Canvas(
        "import os\n\n\ndef f(a):\n",
        (Span(tokens=48), Known("\n    return b\n\n\nf(1)\n")),
        Rewriting("rename b to c", "    b = a"),
    )


def test_at_the_end_of_a_file_there_is_a_line_break_all_the_same() -> None:
    for text in ("x = 1\ny = 2", "x = 1\ny = 2\n"):
        snap = snapshot(text)
        canvas = lay_out(snap, Block.of(selected(snap, "y = 2")), "i", Numbers())
        assert canvas.pieces[1] == Known("\n")


def test_models_see_plain_line_breaks() -> None:
    snap = snapshot("a\r\nb\r\nc\r\nd\r\n")
    canvas = lay_out(snap, Block.of(selected(snap, "b\r\nc")), "i", Numbers())
    assert (canvas.prefix, canvas.pieces[1]) == ("a\n", Known("\nd\n"))
    assert canvas.rewriting == Rewriting("i", "b\nc")


def test_the_context_gives_way_to_the_selection() -> None:
    text = "".join(f"line_{n} = {n}\n" for n in range(200))
    snap = snapshot(text)
    at = text.index("line_150")
    short = lay_out(snap, Block.of(Selection(at, at + 14)), "i", Numbers())
    long = lay_out(snap, Block.of(Selection(at, at + 8 * 15 + 7)), "i", Numbers())
    assert long.rewriting is not None
    assert len(long.prefix) < len(short.prefix)
    for canvas in (short, long):
        assert canvas.prefix.startswith("line_")
        assert text[:at].endswith(canvas.prefix)
        assert canvas.rewriting is not None
        assert len(canvas.prefix) + len(canvas.rewriting.original) <= 270


# -- the check ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("    c = a", None),
        ("    b: int = a\n    print(b)", None),
        ("    b = (a", RejectReason.ADDS_SYNTAX_ERROR),
        ("", RejectReason.EMPTY),
        (" \n\n", RejectReason.EMPTY),
        ("    b = a", RejectReason.UNCHANGED),
        ("    b = a  ", RejectReason.UNCHANGED),
        ("    c = a\n    return b", RejectReason.REPEATS_SUFFIX),
        ("    c = a\n>>>>>>> theirs", RejectReason.CONFLICT_MARKS),
        ("=======\n    c = a", RejectReason.CONFLICT_MARKS),
        ("  c = a", RejectReason.WRONG_INDENT),
        ("        c = a", RejectReason.WRONG_INDENT),
        ("    c = a\nreturn c", RejectReason.WRONG_INDENT),
    ],
)
def test_verdicts(raw: str, reason: RejectReason | None) -> None:
    snap = snapshot(SOURCE)
    before = (snap.text, str(snap.parsed.tree and snap.parsed.tree.root_node))
    text, verdict = check(snap, selected(snap, "    b = a"), raw)
    assert verdict.reason is reason
    assert verdict.accepted is (reason is None)
    assert text == raw.rstrip()
    assert (snap.text, str(snap.parsed.tree and snap.parsed.tree.root_node)) == before


def test_a_text_that_did_not_end_is_never_good() -> None:
    snap = snapshot(SOURCE)
    chosen = selected(snap, "    b = a")
    assert check(snap, chosen, "    c = a", ended=False)[1].reason is RejectReason.CUT_OFF


def test_blank_ends_go_and_the_indentation_stays() -> None:
    snap = snapshot(SOURCE)
    text, verdict = check(snap, selected(snap, "    b = a"), "\n    c = a\n\n    d = c\n \n")
    assert text == "    c = a\n\n    d = c"
    assert verdict.accepted
    assert verdict.trimmed == ("blank_ends",)


def test_the_documents_line_breaks_are_used() -> None:
    snap = snapshot(SOURCE.replace("\n", "\r\n"))
    text, verdict = check(snap, selected(snap, "    b = a"), "    c = a\n    d = c")
    assert text == "    c = a\r\n    d = c"
    assert verdict.accepted
    assert verdict.trimmed == ("line_endings",)


def test_a_broken_document_may_stay_broken_or_get_better() -> None:
    snap = snapshot("def f(:\n    b = a\n    return b\n")
    text, verdict = check(snap, selected(snap, "    b = a"), "    c = a")
    assert verdict.accepted
    assert verdict.errors_before == verdict.errors_after > 0
    text, verdict = check(snap, selected(snap, "def f(:"), "def f():")
    assert (text, verdict.accepted) == ("def f():", True)
    assert verdict.errors_after < verdict.errors_before


def test_an_empty_body_is_an_error() -> None:
    snap = snapshot(SOURCE)
    chosen = selected(snap, "    b = a\n    return b")
    assert check(snap, chosen, "    # nothing left")[1].reason is RejectReason.ADDS_SYNTAX_ERROR


def test_closers_below_are_no_repetition() -> None:
    snap = snapshot("if a then\n  if b then\n    c()\n  end\nend\n", "lua")
    chosen = selected(snap, "    c()")
    assert check(snap, chosen, "    if c then\n    d()\n    end")[1].accepted


def test_without_a_grammar_brackets_are_counted() -> None:
    snap = snapshot("start (\n  one two\n  three)\nend\n", "generic")
    chosen = selected(snap, "  one two")
    assert check(snap, chosen, "  one [two]")[1].accepted
    assert check(snap, chosen, "  one [two")[1].reason is RejectReason.ADDS_SYNTAX_ERROR
    assert check(snap, chosen, "  one 'two")[1].reason is RejectReason.ADDS_SYNTAX_ERROR


def test_a_long_document_is_judged_as_a_short_one_is() -> None:
    body = "".join(f"def f{n}(a):\n    b = a\n    return b\n\n\n" for n in range(3_000))
    snap = snapshot(body)
    at = body.index("f2000(a):\n") + len("f2000(a):\n")
    chosen = select(snap, at, at)
    assert isinstance(chosen, Selection)
    assert check(snap, chosen, "    c = a")[1].accepted
    assert check(snap, chosen, "    c = (a")[1].reason is RejectReason.ADDS_SYNTAX_ERROR
    # A selection larger than the excerpt around its start.
    far = Selection(at, body.index("f2200(a):") - len("def \n\n"))
    assert check(snap, far, body[far.start : far.end].replace("b = a", "b = a + 1"))[1].accepted
    wrong = body[far.start : far.end] + "\nx = ("
    assert check(snap, far, wrong)[1].reason is RejectReason.ADDS_SYNTAX_ERROR


DOCUMENTS = [
    ("python", SOURCE),
    ("javascript", "function f(a) {\n  return g(a);\n}\n"),
    ("go", "package m\n\nfunc f() {\n\tx := 1\n}\n"),
    ("generic", "a (b)\nc\n"),
]
WORDS = ["a", "return", "b", " ", "    ", "\n", "\r\n", "(", ")", "{", "}", "漢", '"', "=======\n"]


@given(
    st.sampled_from(DOCUMENTS),
    st.integers(0, 60),
    st.integers(0, 60),
    st.lists(st.sampled_from(WORDS), max_size=10).map("".join),
)
def test_check_keeps_every_word_and_settles(
    document: tuple[str, str], a: int, b: int, raw: str
) -> None:
    language, source = document
    snap = snapshot(source, language)
    chosen = select(snap, min(a, len(source)), min(b, len(source)))
    if isinstance(chosen, Declined):
        return
    text, verdict = check(snap, chosen, raw)
    assert text.split() == raw.split()
    again, second = check(snap, chosen, text)
    assert again == text
    assert (second.accepted, second.reason) == (verdict.accepted, verdict.reason)
    if verdict.accepted:
        assert verdict.errors_after <= verdict.errors_before

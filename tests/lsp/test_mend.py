"""Which region is mended, what is tried without a model, and what counts as a mend."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.infill.repairs.broken import Broken, fault_ranges, find_broken, is_broken
from dgemma_lsp.infill.repairs.delimiters import unmatched
from dgemma_lsp.infill.repairs.mend import (
    How,
    check,
    choose,
    closest,
    keeps_code,
    lay_out,
    regions,
    repair_plainly,
    smallest,
)
from dgemma_lsp.infill.segments import Canvas, Known, Span
from dgemma_lsp.infill.types import (
    Candidate,
    Declined,
    DeclineReason,
    Edit,
    RejectReason,
    Selection,
    Snapshot,
)
from dgemma_lsp.languages import BY_ID
from dgemma_lsp.syntax.errors import count_errors
from tests.lsp.holes import snapshot


@dataclass(frozen=True)
class Numbers:
    prefix_tokens: int = 200
    canvas_tokens: int = 256
    span_tokens: int = 24
    max_span_tokens: int = 48
    chars_per_token: float = 3.0


def at(snap: Snapshot, text: str = "") -> tuple[Broken, ...]:
    """What is broken at a text, or anywhere."""
    start = snap.text.index(text) if text else 0
    found = find_broken(snap, start, start + len(text) if text else len(snap.text))
    assert not isinstance(found, Declined), found
    return found


def applied(snap: Snapshot, edit: Edit) -> str:
    return snap.text[: edit.start] + edit.text + snap.text[edit.end :]


def plainly(source: str, language: str, place: str = "") -> tuple[str, How] | None:
    snap = snapshot(source, language, version=7)
    for broken in at(snap, place):
        found = repair_plainly(snap, broken)
        if found is not None:
            assert found.edit.version == 7
            assert found.effect.after < found.effect.before
            return applied(snap, found.edit), found.how
    return None


# -- without a model ------------------------------------------------------------------------------

INSERTIONS = [
    ("python", "def f(a, b|:\n    return a + b\n", ")"),
    ("python", "def f(a, b)|\n    return a + b\n", ":"),
    ("python", "x = [1, 2|\ny = 3\n", "]"),
    ("python", "x = foo(bar(1, 2|\ny = 1\n", "))"),
    ("python", "print('abc|)\nx = 1\n", "'"),
    ("python", "if a:\n    b()\nelse|\n    c()\n", ":"),
    ("json", '{"a": [1, 2|, "b": 3}\n', "]"),
    ("json", '{"a": 1| "b": 3}\n', ","),
    ("json", '{\n  "a": "x|,\n  "b": 3\n}\n', '"'),
    ("typescript", "function f(a: number| {\n  return a;\n}\n", ")"),
    ("typescript", "const x = foo(1, 2|;\nconst y = 2;\n", ")"),
    ("rust", "fn main() {\n    let x = vec![1, 2|;\n    go(x);\n}\n", "]"),
    ("rust", "fn main() {\n    let x = 1|\n    let y = 2;\n}\n", ";"),
    ("go", "package m\n\nfunc f(a int| {\n\treturn a\n}\n", ")"),
    ("lua", "local x = foo(1, 2|\nlocal y = 1\n", ")"),
    ("zzz", "a (b [c|)\n", "]"),
]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(("language", "marked", "missing"), INSERTIONS)
def test_a_missing_delimiter_is_put_in(
    language: str, marked: str, missing: str, newline: str
) -> None:
    marked = marked.replace("\n", newline)
    expected = marked.replace("|", missing)
    assert plainly(marked.replace("|", ""), language) == (expected, How.INSERTION)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("language", "source", "before", "text"),
    [
        # Indentation says which block was meant where the parser only knows the end of the file.
        (
            "typescript",
            "function f(a) {\n  if (a) {\n    g();\n  return a;\n}\n\nfunction h() {\n}\n",
            "\n  return",
            "\n  }",
        ),
        ("rust", "fn f() {\n    if x {\n        y();\n\n    z();\n}\n", "\n\n    z", "\n    }"),
        ("lua", "function f(a)\n  return a\n\nlocal x = 1\n", "\n\nlocal", "\nend"),
    ],
)
def test_a_block_is_closed_where_its_indentation_ends(
    language: str, source: str, before: str, text: str, newline: str
) -> None:
    source, before, text = (each.replace("\n", newline) for each in (source, before, text))
    place = source.index(before)
    assert plainly(source, language) == (source[:place] + text + source[place:], How.INSERTION)


@pytest.mark.parametrize(
    ("language", "marked"),
    [
        ("python", "def f(a, b):\n    return a + b|)|\n\nprint(f(1, 2))\n"),
        ("python", "x = abc|'|\ny = 1\n"),
        ("typescript", "const x = foo(1, 2)|)|;\nconst y = 2;\n"),
        ("rust", "fn f() {\n    g(1)|]|;\n}\n"),
        ("json", '{"a": 1, "b": 3}|}|\n'),
        ("json", '{"a": 1|,|, "b": 3}\n'),
        ("zzz", "a b|)|\n"),
    ],
)
def test_one_stray_delimiter_is_taken_out(language: str, marked: str) -> None:
    head, _, tail = marked.split("|")
    assert plainly(marked.replace("|", ""), language) == (head + tail, How.DELETION)


def test_wide_characters_before_the_error() -> None:
    source = "x = f('漢🦜👩‍👩‍👧', g(é, 1)\ny = 2\n"
    assert plainly(source, "python") == (source.replace("1)", "1))"), How.INSERTION)


def test_only_the_error_asked_for_is_mended() -> None:
    source = "const a = [1, 2;\nlet b = 1;\nlet c = 1;\nfoo(;\n"
    assert plainly(source, "typescript", "foo") == (source.replace("(;", "();"), How.INSERTION)
    first = source.replace("2;", "2];")
    assert plainly(source, "typescript", "const a") == (first, How.INSERTION)


def test_what_no_delimiter_mends_is_left_to_the_model() -> None:
    for language, source in [
        ("python", "def f(a, b):\n    return a +\n\nprint(f(1, 2))\n"),
        ("python", "if x = 3:\n    pass\n"),
        ("typescript", "const x = ;\nconst y = 2;\n"),
        ("rust", "fn f(a: i32, b i32) -> i32 {\n    a + b\n}\n"),
    ]:
        assert plainly(source, language) is None


def test_indentation_tells_brackets_apart() -> None:
    source = "f {\n  g {\n    h\n}\n"
    found = unmatched(source, BY_ID["typescript"])
    assert [each.offset for each in found.unclosed] == [source.index("{", 3)]
    assert found.stray == ()


# -- where ----------------------------------------------------------------------------------------


def test_a_fault_is_touched_where_it_comes_from() -> None:
    source = "x = 1\ndef f(a, b:\n    return a + b\n"
    snap = snapshot(source)
    for text, broken in [("def", True), ("b:", True), ("return", True), ("x =", False)]:
        place = source.index(text)
        assert is_broken(snap, place, place) is broken, text
    found = find_broken(snap, 2, 2)
    assert isinstance(found, Declined)
    assert (found.reason, found.message) == (
        DeclineReason.NOTHING_BROKEN,
        "There is a syntax error nearby, but not here.",
    )


def test_a_range_is_taken_as_it_is_when_another_checker_named_it() -> None:
    source = "x = 1\ny = 2\nz = = 4\n"
    (broken,) = at(snapshot(source), "x = 1")
    assert (broken.fault.start, broken.fault.end) == (0, 5)
    sound = find_broken(snapshot("x = 1\n"), 0, 5)
    assert isinstance(sound, Declined)
    assert sound.message == "There is no syntax error here."
    assert isinstance(find_broken(snapshot(""), 0, 0), Declined)


def test_a_long_document_is_mended_as_a_short_one_is() -> None:
    body = "".join(f"def f{n}(a):\n    b = a\n    return b\n\n\n" for n in range(3_000))
    source = body.replace("f2000(a):", "f2000(a:")
    place = source.index("f2000(a:")
    snap = snapshot(source)
    found = find_broken(snap, place, place)
    assert not isinstance(found, Declined)
    repaired = repair_plainly(snap, found[0])
    assert repaired is not None
    assert applied(snap, repaired.edit) == body
    assert isinstance(find_broken(snap, 0, 0), Declined)
    assert fault_ranges(snapshot(body)) == ()


# -- regions and the canvas -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "source", "expected"),
    [
        (
            "python",
            "def f(a):\n    x = 1\n    return a +\n\ny = 2\n",
            ["", "return a +", "def f(a):\n    x = 1\n    return a +"],
        ),
        ("python", "def f():\n    retrun a + b\n", ["a", "retrun a + b"]),
        ("typescript", "const x = ;\nconst y = 2;\n", ["", "=", "const x = ;\nconst y = 2;"]),
        (
            "rust",
            "fn f(a: i32, b i32) -> i32 {\n    a + b\n}\n",
            ["b", "fn f(a: i32, b i32) -> i32 {", "fn f(a: i32, b i32) -> i32 {\n    a + b\n}"],
        ),
        ("json", '{\n  "a": 1,\n  "b": = 3\n}\n', None),
    ],
)
def test_regions_widen(language: str, source: str, expected: list[str] | None) -> None:
    snap = snapshot(source, language)
    found = regions(snap, at(snap)[0], Numbers())
    texts = [source[each.start : each.end] for each in found]
    assert 1 <= len(found) <= 3
    assert [len(text) for text in texts] == sorted(len(text) for text in texts)
    if expected is not None:
        assert [text.strip() for text in texts][: len(expected)] == [e.strip() for e in expected]


def test_a_region_too_long_for_the_model_is_not_asked_for() -> None:
    source = "x = [" + "a b, " * 100 + "\n"
    snap = snapshot(source)
    for region in regions(snap, at(snap)[0], Numbers(max_span_tokens=10)):
        assert region.end - region.start <= 30


def test_the_canvas_blanks_the_region_and_clamps_the_rest() -> None:
    snap = snapshot("a = 1\r\nfor i n b:\r\n    c()\r\n")
    start = snap.text.index("i n")
    canvas = lay_out(snap, Selection(start, start + 3), Numbers())
    assert canvas == Canvas("a = 1\nfor ", (Span(max_lines=1, tokens=7), Known(" b:\n    c()\n")))
    whole = lay_out(snap, Selection(0, start + 3), Numbers(max_span_tokens=5))
    assert whole.pieces[0] == Span(max_lines=3, tokens=5)


# -- the check ------------------------------------------------------------------------------------

LOOP = "for i n range(3):\n    print(i)\n\n\nx = 1\n"


@pytest.mark.parametrize(
    ("raw", "text", "reason"),
    [
        ("for i in range(3):", "for i in range(3):", None),
        ("for i in range(20):", "for i in range(3):", None),  # the 3 was never wrong
        ("for item in range(3):\n", "for i in range(3):", None),
        ("for i in range(3): pass)", "for i in range(3): ", None),
        ("", "", RejectReason.EMPTY),
        (" \n", "", RejectReason.EMPTY),
        ("for i n range(3):", "for i n range(3):", RejectReason.UNCHANGED),
        ("if True:", "if True:", RejectReason.DROPS_CODE),
    ],
)
def test_verdicts(raw: str, text: str, reason: RejectReason | None) -> None:
    snap = snapshot(LOOP)
    tree = str(snap.parsed.tree and snap.parsed.tree.root_node)
    found, verdict = check(snap, at(snap)[0], Selection(0, LOOP.index("\n")), raw)
    assert verdict.reason is reason, found
    assert found.strip() == text.strip()
    assert verdict.accepted is (reason is None)
    assert (snap.text, str(snap.parsed.tree and snap.parsed.tree.root_node)) == (LOOP, tree)


def test_a_text_that_time_cut_short_is_never_good() -> None:
    snap = snapshot(LOOP)
    region = Selection(0, LOOP.index("\n"))
    found = check(snap, at(snap)[0], region, "for i in range(3):", ended=False)
    assert found[1].reason is RejectReason.CUT_OFF


def test_an_answer_that_breaks_what_stands_elsewhere_is_no_mend() -> None:
    snap = snapshot("x = = 1\ny = 2\nz = 3\n")
    region = Selection(0, 7)
    for raw in ("x = (1", 'x = """ 1', "x = [1"):
        text, verdict = check(snap, at(snap)[0], region, raw)
        assert not verdict.accepted or "(" not in text


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("retrun a + b", "return a + b", True),
        ("return a +", "return a + b", True),
        ("frm os import path", "assert os == path", False),
        ("frm os import path", "from os import path", True),
        ("x = 12 34 56", "x = 1", False),
        ("i 0", "in 10", False),
        ("save(user", "pass", False),
        ("save(user", "", False),
        ("*", "* height", True),
        ("*", "/ height", False),
        (",,", ",", True),
        ("'''", "1, 2,", False),
        ("", "anything", True),
        ("数量 = = 1", "数量 = 1", True),
    ],
)
def test_a_mend_keeps_the_code(old: str, new: str, kept: bool) -> None:
    assert keeps_code(old, new) is kept


def test_the_users_tokens_come_back() -> None:
    snap = snapshot("x = {'a': 1, 'b' 2}\n")
    region = Selection(snap.text.index("'b'"), snap.text.index("}"))
    assert closest(snap, region, "'b': 2, 'c") == "'b': 2"


def test_the_choice_is_fewest_errors_then_likeness_then_score() -> None:
    snap = snapshot(LOOP)
    region = Selection(0, LOOP.index("\n"))

    def candidate(text: str, score: float) -> Candidate:
        _, verdict = check(snap, at(snap)[0], region, "for i in range(3):")
        return Candidate(text, text, score, 0.5, 3, "settled", verdict)

    best = choose(
        snap,
        region,
        [candidate("for i in range(3) :", -0.1), candidate("for i in range(3):", -0.9)],
    )
    assert best is not None
    assert applied(snap, best.edit) == LOOP.replace(" n ", " in ")
    assert best.edit == Edit(6, 6, "i", 1)
    assert choose(snap, region, []) is None


@given(st.text("ab\r\n漢🦜é́", max_size=8), st.text("ab\r\n漢🦜é́", max_size=8))
def test_an_edit_is_the_smallest_that_gives_the_text(old: str, new: str) -> None:
    snap = snapshot(f"x{old}y", "zzz")
    edit = smallest(snap, Selection(1, 1 + len(old)), new)
    assert applied(snap, edit) == f"x{new}y"
    assert 1 <= edit.start <= edit.end <= 1 + len(old)
    if old == new:
        assert (edit.start, edit.text) == (edit.end, "")


PIECES = ["x = ", "(", ")", "[", "]", "{", "}", "1", ", ", "\n", "    ", "f", "'", '"', ":", "漢"]


@pytest.mark.parametrize("language", ["python", "typescript", "json", "rust"])
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=14))
def test_a_mend_never_makes_a_document_worse(language: str, pieces: list[str]) -> None:
    source = "".join(pieces)
    snap = snapshot(source, language)
    found = find_broken(snap, 0, len(source))
    if isinstance(found, Declined):
        return
    repaired = repair_plainly(snap, found[0])
    if repaired is None:
        return
    after = snapshot(applied(snap, repaired.edit), language)
    assert count_errors(after.parsed) < count_errors(snap.parsed)
    changed = len(repaired.edit.text.strip()) + repaired.edit.end - repaired.edit.start
    assert changed <= 4

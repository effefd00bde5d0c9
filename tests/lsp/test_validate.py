from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgemma_lsp.infill.rank import order
from dgemma_lsp.infill.trigger import find_hole
from dgemma_lsp.infill.trim import RULES, site_of, trim
from dgemma_lsp.infill.types import Candidate, Hole, RejectReason, Snapshot, Verdict
from dgemma_lsp.infill.validate import check
from dgemma_lsp.syntax.errors import count_errors
from tests.lsp.holes import hole_at, snapshot

DOCUMENTS = [
    ("python", "def f(a, b):\n    x = g(█, b)\n    return x\n"),
    ("python", "def f(a):\n    █\n    return a\n"),
    ("python", "def f(a):█\n\nclass A:\n    pass\n"),
    ("python", "x = (1,\ny = █\n"),
    ("python", "a = '漢😀█'\r\nb = 1\r\n"),
    ("python", "█"),
    ("javascript", "function f(a) {\n  return g(█);\n}\n"),
    ("javascript", "function f(a) {█\n}\n"),
    ("go", "package m\n\nfunc f() {\n\t█\n}\n"),
    ("rust", "fn f() -> u8 {\n    let x = █;\n    x\n}\n"),
    ("lua", "if a then\n  █\nend\n"),
    ("json", '{"a": █, "b": 1}\n'),
    ("generic", "foo(█)\nbar\n"),
]
WORDS = ["a", "b", "x", "return", "end", "g(", ", b)", ");", "1", "漢", "😀"]
BLANKS = [" ", "    ", "\n", "\r\n", "\t"]
RAW = st.lists(st.sampled_from([*WORDS, *BLANKS, *"()[]{}\"',;:=+#"]), max_size=14).map("".join)


def folded(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(DOCUMENTS), RAW)
def test_check_only_shortens_and_settles(document: tuple[str, str], raw: str) -> None:
    language, marked = document
    snap, hole = hole_at(marked, language)
    before = (snap.text, snap.parsed.tree and str(snap.parsed.tree.root_node))
    text, verdict = check(snap, hole, raw)
    assert folded(text) in folded(raw)
    assert bool(verdict.trimmed) == (text != raw)
    assert set(verdict.trimmed) <= {name for name, _ in RULES} | {"suffix_overlap"}
    again, second = check(snap, hole, text)
    assert again == text
    assert second.trimmed == ()
    if text.strip():
        assert (second.accepted, second.reason) == (verdict.accepted, verdict.reason)
    assert (snap.text, snap.parsed.tree and str(snap.parsed.tree.root_node)) == before
    if verdict.accepted:
        assert text.strip()
        assert verdict.reason is None
        assert verdict.errors_after <= verdict.errors_before


def placed(snap: Snapshot, hole: Hole, text: str) -> str:
    return snap.text[: hole.offset] + text + snap.text[hole.offset :]


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(DOCUMENTS), RAW)
def test_an_accepted_candidate_adds_no_error(document: tuple[str, str], raw: str) -> None:
    language, marked = document
    snap, hole = hole_at(marked, language)
    text, verdict = check(snap, hole, raw)
    line = snap.parsed.lines.line(hole.offset)
    if verdict.accepted and snap.parsed.line_text(line):
        fresh = snapshot(placed(snap, hole, text), language)
        assert count_errors(fresh.parsed) <= count_errors(snap.parsed)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_long_document_is_judged_like_a_short_one(share: float) -> None:
    unit = "class A{0}:\n    def f(self, a):\n        return [a, {0}]\n\n"
    text = "".join(unit.format(at) for at in range(12_500))
    snap = snapshot(text)
    at = text.index("[a, ", int((len(text) - 200) * share)) + 1
    hole = find_hole(snap, at)
    assert isinstance(hole, Hole)
    assert check(snap, hole, "self, ")[1] == Verdict(True, None, "python", 0, 0, ())
    assert check(snap, hole, "self], [")[1].accepted
    text, verdict = check(snap, hole, "(self, ")
    assert verdict.reason is RejectReason.ADDS_SYNTAX_ERROR


def test_line_endings_follow_the_document() -> None:
    snap, hole = hole_at("def f():█\r\n")
    text, verdict = check(snap, hole, "\n    a = 1\r    return a\n")
    assert text == "\r\n    a = 1\r\n    return a"
    assert verdict.trimmed == ("line_endings", "trailing_blanks")
    assert trim("a\r\n", site_of(*hole_at("█"))).text == "a"


def candidate(text: str, score: float, *, accepted: bool = True) -> Candidate:
    return Candidate(text, text, score, 0.5, 3, "settled", Verdict(accepted))


def test_order() -> None:
    best = candidate("a, b", -0.1)
    near = candidate("a,b ", -0.2)
    other = candidate("c", -0.3)
    rejected = candidate("d", -0.01, accepted=False)
    assert order([rejected, near, other, best]) == (best, other, rejected)
    assert order([]) == ()

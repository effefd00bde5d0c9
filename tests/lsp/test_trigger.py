from __future__ import annotations

import pytest

from dgemma_lsp.infill.trigger import find_hole, max_lines
from dgemma_lsp.infill.types import Declined, DeclineReason, Hole, HoleKind
from tests.lsp.holes import at_cursor, snapshot


@pytest.mark.parametrize(
    ("marked", "kind"),
    [
        ("f(█)", HoleKind.MID_LINE),
        ("x = █;", HoleKind.MID_LINE),
        ('"a█"', HoleKind.MID_LINE),
        ("█x = 1", HoleKind.MID_LINE),
        ("x = █", HoleKind.LINE),
        ("x = █  \t", HoleKind.LINE),
        ("█", HoleKind.LINE),
        ("x = 1\r\n█", HoleKind.LINE),
        ("x = 1█\r\ny", HoleKind.LINE),
        ("x = '漢😀█'", HoleKind.MID_LINE),
        ("if a:\r\n    █\r\n", HoleKind.BLOCK),
    ],
)
def test_kinds(marked: str, kind: HoleKind) -> None:
    snap, offset = at_cursor(marked)
    assert find_hole(snap, offset) == Hole(offset, kind)
    assert max_lines(kind) == (None if kind is HoleKind.BLOCK else 1)


def test_inside_a_word_only_when_invoked() -> None:
    snap, offset = at_cursor("val█ue")
    assert find_hole(snap, offset) == Declined(DeclineReason.INSIDE_WORD)
    assert find_hole(snap, offset, invoked=True) == Hole(offset, HoleKind.MID_LINE)


@pytest.mark.parametrize(("text", "offset"), [("a", -1), ("a", 2), ("a\r\nb", 2), ("e\u0301", 1)])
def test_out_of_range(text: str, offset: int) -> None:
    assert find_hole(snapshot(text), offset) == Declined(DeclineReason.OUT_OF_RANGE)


def test_large_and_broken_files() -> None:
    text = "def f(:\n" * 10 + "class A:\n    def f(self):\n        return 1\n\n" * 12_500
    snap = snapshot(text)
    offset = text.index("return 1", 300_000) + 7
    assert find_hole(snap, offset) == Hole(offset, HoleKind.MID_LINE)
    end = text.index("\n\n", 300_000) + 1
    assert isinstance(find_hole(snap, end), Hole)

"""Checks of Markdown: tables, fences, lists, and what is opened in a paragraph."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgemma_lsp.infill.judging import formats
from dgemma_lsp.infill.types import FaultPlace, RejectReason
from tests.lsp.holes import at_cursor

TABLE = "| a | b |\n| --- | :-: |\n"
CASES = {
    # tables
    "row": (f"{TABLE}█\n", "| 1 | 2 |", []),
    "row too long": (f"{TABLE}█\n", "| 1 | 2 | 3 |", ["| 1 | 2 | 3 |"]),
    "rows": (f"{TABLE}█\n", "| 1 | 2 |\n| 1 |\n| 3 | 4 |", ["| 1 |"]),
    "row completed": (f"{TABLE}| 1 █\n", "| 2 |", []),
    "row completed badly": (f"{TABLE}| 1 █\n", "| 2 | 3 |", ["| 2 | 3 |"]),
    "row by hand": (f"{TABLE}| 1 |\n█", "| 3 | 4 |\n", []),
    "escaped border": (f"{TABLE}█\n", "| 1 \\| x | 2 |", []),
    "no outer borders": ("a | b\n--|--\n█", "1 | 2\n3 | 4 | 5", ["3 | 4 | 5"]),
    "dashes": ("| a | b |\n█\n", "| --- | --- |", []),
    "dashes for one cell": ("| a | b |\n█\n", "| --- |", ["| --- |"]),
    "dashes malformed": ("| a | b |\n█\n", "| -:- | --- |", ["| -:- | --- |"]),
    "no dashes": ("█", "| a | b |\n| 1 | 2 |\n", ["| 1 | 2 |"]),
    "whole table": ("█", "| a | b |\n|---|---|\n| 名 | 😀 |\n", []),
    "crlf table": ("| a | b |\r\n|---|---|\r\n█\r\n", "| 1 |", ["| 1 |"]),
    "pipe in prose": ("Use █\n", "a | b to pipe", []),
    # fences
    "fence": ("█", "```py\nx = 1\n```\n", []),
    "fence left open": ("█", "```py\nx = 1\n", ["```"]),
    "fence closed below": ("█\n```\n", "```py\nx = 1", []),
    "fence of tildes": ("█", "~~~\n```\n", ["~~~"]),
    "longer fence": ("█", "````md\n```\n````\n", []),
    "fence that takes another's end": ("█\n\n```sh\nls\n```\n", "```py\nx = 1\n", ["```"]),
    "in a fence": ("```md\n█\n```\n", "**a\n| 1 |\n3. b\n5. c", []),
    "fence in a list": ("- a\n  █", "```\n  x\n  ```\n", []),
    "fence closed by the text": ("```py\nx = 1\n█", "```\n", []),
    # lists
    "next number": ("1. a\n2. b\n█\n", "3. c", []),
    "wrong number": ("1. a\n2. b\n█\n", "4. c", ["4."]),
    "all ones": ("1. a\n1. b\n█\n", "1. c", []),
    "all ones, then two": ("1. a\n1. b\n█\n", "2. c", ["2."]),
    "numbers in the text": ("1. a\n█\n", "2. b\n3. c\n5. d", ["5."]),
    "other bracket": ("1. a\n2. b\n█\n", "3) c", ["3)"]),
    "with a blank line": ("1. a\n\n2. b\n\n█\n", "3. c", []),
    "new list after prose": ("1. a\n2. b\n\nProse.\n\n█\n", "1. x\n2. y", []),
    "mark": ("- a\n█\n", "- b\n- c", []),
    "other mark": ("- a\n- b\n█\n", "* c", ["*"]),
    "nested": ("- a\n█\n", "  - b\n  - c\n- d", []),
    "nested by four": ("- a\n█\n", "    - b", []),
    "between levels": ("- a\n  - b\n█\n", " - c", ["-"]),
    "nested numbers": ("1. a\n   1. x\n   2. y\n█\n", "2. b\n   1. z", []),
    "after continuation": ("1. a\n   more\n█\n", "2. b", []),
    "after a fence": ("1. a\n   ```\n   7. x\n   ```\n█\n", "2. b", []),
    "flush right": (" 9. a\n█\n", "10. b", []),
    "tasks": ("- [x] a\n█\n", "- [ ] b", []),
    "rule": ("- a\n\n█\n", "***", []),
    "year": ("In the year\n█", "1984. That was it.", []),
    # what is opened
    "code": ("Use █\n", "`a` and ``b ` c``", []),
    "code left open": ("Use █\n", "`a and b", ["`"]),
    "code closed below": ("Use █` now\n", "`a", []),
    "code over lines": ("Use █\n", "`a\nb` now", []),
    "strong": ("It is █\n", "**bold** and *thin* and _so_", []),
    "strong left open": ("It is █\n", "**bold and", ["**"]),
    "emphasis left open": ("It is █\n", "*thin and", ["*"]),
    "strong closed by hand": ("It is █** now\n", "**bold", []),
    "strong opened by hand": ("It is **█\n", "bold", []),
    "three": ("It is █\n", "***both*** here", []),
    "names": ("Call █\n", "snake_case and _private and 2 * 3 * 4", []),
    "stars in code": ("Call █\n", "`**kwargs` now", []),
    "link": ("See █\n", "[a](https://b.example/c_(d)) and [b][c] and [c]", []),
    "link left open": ("See █\n", "[a and", ["["]),
    "address left open": ("See █\n", "[a](https://b", ["("]),
    "address closed below": ("See █)\n", "[a](https://b", []),
    "interval": ("For █\n", "x in [0, 1)", []),
    "other paragraph": ("█\n\nb**\n", "a **b", ["**"]),
    "two items": ("- a █\n- b\n", "`x", ["`"]),
    "crlf paragraph": ("a\r\nb\r\n█\r\n", "c\r\nd `e", ["`"]),
    "escaped": ("a █\n", r"\*b \`c \[d", []),
    "heading": ("█\n", "# a **b", ["**"]),
    "empty": ("█", "\n", []),
}


@pytest.mark.parametrize("case", CASES)
def test_markdown(case: str) -> None:
    marked, text, wrong = CASES[case]
    snapshot, offset = at_cursor(marked, "markdown")
    found = formats.faults(snapshot, offset, text)
    assert [text[fault.start : fault.end] for fault in found] == wrong
    assert {fault.reason for fault in found} <= {RejectReason.BAD_MARKUP}
    assert {fault.place for fault in found} <= {FaultPlace.INSIDE}
    assert all(fault.message for fault in found)


def test_what_is_missing_is_said() -> None:
    snapshot, offset = at_cursor("█", "markdown")
    assert [f.missing for f in formats.faults(snapshot, offset, "````\nx")] == ["````"]
    assert [f.missing for f in formats.faults(snapshot, offset, "a [b **c `d")] == ["]", "**", "`"]


PIECES = ["a", "*", "**", "_", "`", "```", "~~~", "[", "](", ")", "|", "-", "1.", "2)", "\\", ">"]
TEXTS = st.lists(st.sampled_from([*PIECES, " ", "  ", "\n", "\r\n", "\t", "名😀"]), max_size=20)


@settings(deadline=None, max_examples=120)
@given(TEXTS.map("".join), TEXTS.map("".join), TEXTS.map("".join))
def test_any_text_is_looked_at(before: str, text: str, after: str) -> None:
    snapshot, offset = at_cursor(f"{before}█{after}", "markdown")
    for fault in formats.faults(snapshot, offset, text):
        assert 0 <= fault.start < fault.end <= len(text)

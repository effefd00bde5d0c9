from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.syntax.lines import Encoding, LineIndex, advance, units

TEXTS = st.text(alphabet="ab \t\r\n\r\né漢😀\u0301\u2028", max_size=600)


def starts(text: str) -> list[int]:
    return [0, *(found.end() for found in re.finditer(r"\r\n|\r|\n", text))]


def same(index: LineIndex, text: str) -> None:
    wanted = starts(text)
    assert index.count == len(wanted)
    assert [index.start(line) for line in range(index.count)] == wanted
    for offset in range(len(text) + 1):
        assert index.line(offset) == sum(start <= offset for start in wanted) - 1


@given(TEXTS)
def test_line_starts(text: str) -> None:
    same(LineIndex.of(text), text)


@given(TEXTS, st.lists(st.tuples(st.integers(0, 600), st.integers(0, 600), TEXTS), max_size=6))
def test_splicing_equals_indexing_anew(text: str, edits: list[tuple[int, int, str]]) -> None:
    index = LineIndex.of(text)
    for one, two, new in edits:
        start, end = sorted((min(one, len(text)), min(two, len(text))))
        after = text[:start] + new + text[end:]
        index = index.spliced(start, end, after, len(after) - len(text))
        text = after
    same(index, text)


def test_a_carriage_return_meets_a_line_feed_at_a_block_border() -> None:
    text = "x\r" * 128 + "y\n" * 300
    index = LineIndex.of(text)
    after = text[:256] + "\n" + text[256:]
    same(index.spliced(256, 256, after, 1), after)


def test_many_lines() -> None:
    text = "line\n" * 50_000
    index = LineIndex.of(text)
    assert index.count == 50_001
    assert index.start(49_999) == 5 * 49_999
    after = text[:100_000] + text[200_000:]
    assert index.spliced(100_000, 200_000, after, -100_000).count == 30_001


@pytest.mark.parametrize(
    ("encoding", "width"), [(Encoding.UTF8, 4), (Encoding.UTF16, 2), (Encoding.UTF32, 1)]
)
def test_units_of_an_emoji(encoding: Encoding, width: int) -> None:
    assert units("a😀", encoding) == 1 + width
    assert advance("a😀b", 1 + width, encoding) == 2
    assert advance("a😀b", width, encoding) == 1
    assert advance("a😀b", 99, encoding) == 3


@given(st.text(max_size=30), st.sampled_from(list(Encoding)))
def test_advance_undoes_units(text: str, encoding: Encoding) -> None:
    for at in range(len(text) + 1):
        assert advance(text, units(text[:at], encoding), encoding) == at

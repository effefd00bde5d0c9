"""Spans are what their kind says, in every language."""

from __future__ import annotations

import ast
import re

import pytest

from dgemma_lsp.languages import GENERIC, by_id
from dgemma_lsp.syntax.brackets import balance
from dgemma_lsp.syntax.errors import count_errors
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_training.spans import SpanKind, editor_id
from tests.training.span_texts import KINDS, PYTHON, TEXTS, TYPED, around, draw, texts_of


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", TEXTS)
def test_spans_hold_something_and_end_with_it(language: str, kind: SpanKind) -> None:
    text = TEXTS[language]
    for span in draw(text, language, kind):
        assert 0 <= span.start < span.end <= len(text)
        assert text[span.end - 1].strip(), text[span.start : span.end]


@pytest.mark.parametrize("language", TEXTS)
def test_line_tails_run_from_inside_a_line_to_its_end(language: str) -> None:
    text = TEXTS[language]
    for span in draw(text, language, SpanKind.LINE_TAIL):
        before, after = around(text, span)
        assert "\n" not in text[span.start : span.end]
        assert before.strip()
        assert not after.strip()
        assert not re.match(r"\w\w", text[span.start - 1 : span.start + 1]), "inside a word"


@pytest.mark.parametrize("language", TEXTS)
def test_whole_lines_leave_the_indentation_and_nothing_else(language: str) -> None:
    text = TEXTS[language]
    for span in draw(text, language, SpanKind.WHOLE_LINE):
        before, after = around(text, span)
        assert not (before + after).strip()
        assert text[span.start].strip()
        assert "\n" not in text[span.start : span.end]


@pytest.mark.parametrize("language", TEXTS)
def test_middles_are_short_and_have_code_after_them(language: str) -> None:
    text = TEXTS[language]
    for span in draw(text, language, SpanKind.MIDDLE):
        assert "\n" not in text[span.start : span.end]
        assert span.end - span.start <= 40
        assert around(text, span)[1].strip()


def test_most_middles_have_their_borders_between_tokens() -> None:
    inside = [
        re.match(r"\w\w", PYTHON[offset - 1 : offset + 1]) is not None
        for span in draw(PYTHON, "python", SpanKind.MIDDLE, 400)
        for offset in (span.start, span.end)
    ]
    assert 0 < sum(inside) / len(inside) < 0.3


@pytest.mark.parametrize("language", TEXTS)
def test_arguments_stand_between_brackets_and_commas(language: str) -> None:
    text = TEXTS[language]
    for span in draw(text, language, SpanKind.ARGUMENTS):
        assert text[: span.start].rstrip()[-1] in "(,"
        assert text[span.end :].lstrip()[0] in "),"
        left = balance(text[span.start : span.end], GENERIC)
        assert not left.unclosed
        assert not left.unopened


@pytest.mark.parametrize("language", ["python", "kotlin"])
def test_arguments_are_all_or_one(language: str) -> None:
    text = 'x(1, "🍎, 漢")\ny(z(a), 漢字)\nw()\n'
    found = texts_of(text, language, SpanKind.ARGUMENTS)
    # Without a grammar a comma in a string counts as a comma.
    cut = {'"🍎, 漢"'} if language == "python" else {'"🍎', '漢"'}
    assert found == {'1, "🍎, 漢"', "1", "z(a), 漢字", "z(a)", "漢字", "a"} | cut


def test_conditions_of_python() -> None:
    assert texts_of(PYTHON, "python", SpanKind.CONDITION) == {
        "10",
        "3",
        '"漢字"',
        "count > LIMIT and fruit",
        "self.size + count",
        "total",
        "1",
        'os.listdir(".")',
        "total + 1",
        "Basket()",
        "[path for path in paths if path]",
        "value",
    }


def test_conditions_of_scripts_are_without_their_brackets() -> None:
    found = texts_of(TYPED, "typescript", SpanKind.CONDITION)
    assert found == {
        "3",
        "count > this.size && fruit",
        "this.size + count",
        "total",
        "a(fruit)",
        "total + 1",
        "new Basket(1, 2)",
        "basket",
    }


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("go", {'count > b.Size && fruit != ""', "i < total", "os.Args", "total + 1, nil"}),
        ("rust", {"count > self.size && !fruit.is_empty()", "0..total", "self.size + count"}),
        ("java", {"count > size && fruit != null", "size + count", "total + 1", "3"}),
        ("c", {"count > 3 && fruit", "total < count", "total + 1"}),
        ("kotlin", {'count > size && fruit != ""', "left > size", "size + count", "total + 1"}),
    ],
)
def test_conditions_of_other_languages(language: str, expected: set[str]) -> None:
    assert expected <= texts_of(TEXTS[language], language, SpanKind.CONDITION)


def test_right_sides_without_a_grammar_end_before_blanks_and_comments() -> None:
    text = "int a = b + 1 ; // why\nc = d--;\nreturn e; /* so */\nif (x == y) z();\n"
    assert texts_of(text, "kotlin", SpanKind.CONDITION) == {"b + 1", "d--", "e", "x == y"}


@pytest.mark.parametrize("language", TEXTS)
def test_two_lines_are_two_or_three_whole_ones(language: str) -> None:
    text = TEXTS[language]
    counts: set[int] = set()
    for span in draw(text, language, SpanKind.TWO_LINES):
        before, after = around(text, span)
        assert not (before + after).strip()
        counts.add(text.count("\n", span.start, span.end))
    assert counts == {1, 2}


@pytest.mark.parametrize("language", TEXTS)
def test_blocks_are_whole_statements(language: str) -> None:
    text = TEXTS[language]
    rules = by_id(editor_id(language))
    for span in draw(text, language, SpanKind.BLOCK):
        before, after = around(text, span)
        block = text[span.start : span.end]
        assert not (before + after).strip()
        assert 1 <= block.count("\n") <= 7
        if language == "python":
            ast.parse(text[: span.start] + "pass" + text[span.end :])
        elif rules.grammar is not None:
            rest = ParsedText(text[: span.start] + text[span.end :], rules.usable_grammar())
            assert count_errors(rest) == 0, block
        else:
            left = balance(block, GENERIC)
            assert not left.unclosed, block
            assert not left.unopened, block


def test_whole_bodies_are_among_the_blocks() -> None:
    body = "basket = Basket()\n" + PYTHON.partition("basket = Basket()\n")[2].rstrip()
    assert body in texts_of(PYTHON, "python", SpanKind.BLOCK)


def test_random_spans_cut_tokens_and_cross_lines() -> None:
    spans = draw(PYTHON, "python", SpanKind.RANDOM, 300)
    crossing = ["\n" in PYTHON[span.start : span.end] for span in spans]
    cutting = [
        re.match(r"\w\w", PYTHON[span.start - 1 : span.start + 1]) is not None for span in spans
    ]
    assert max(span.end - span.start for span in spans) <= 60
    assert 0.05 < sum(crossing) / len(spans) < 0.5
    assert sum(cutting) / len(spans) > 0.3


@pytest.mark.parametrize("language", TEXTS)
def test_nothing_is_missing_at_ends_of_lines_and_between_tokens(language: str) -> None:
    text = TEXTS[language]
    at_line_end = 0
    for span in draw(text, language, SpanKind.EMPTY):
        assert span.start == span.end
        assert not re.match(r"\w\w", text[span.start - 1 : span.start + 1])
        at_line_end += not around(text, span)[1].strip()
    assert 20 < at_line_end < 80

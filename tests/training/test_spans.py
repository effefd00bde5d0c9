"""Spans are what their kind says, in every language, and the same for the same seed."""

from __future__ import annotations

import ast
import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgemma_lsp.languages import GENERIC, by_id
from dgemma_lsp.syntax.brackets import balance
from dgemma_lsp.syntax.errors import count_errors
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_training.spans import Mix, Span, SpanKind, SpanSampler, editor_id

PYTHON = '''\
"""What it does."""

import os
from typing import Any

LIMIT = 10


class Basket(Any):
    """Some fruit 🍎."""

    size: int = 3
    name: str = "漢字"

    def add(self, fruit: str, count: int = 1) -> int:
        # Too many are too many.
        if count > LIMIT and fruit:
            raise ValueError(fruit, count)
        total = self.size + count
        self.size = total

        while total:
            total -= 1
        for item in os.listdir("."):
            print(item, len(item))
        return total + 1


def main(paths):
    basket = Basket()
    basket.add(
        "🍐",
        len(paths),
    )
    value = [path for path in paths if path]
    return value
'''

SCRIPT = """\
import { a } from "b";

/** A basket of fruit 🍎. */
export class Basket {
  size = 3;

  add(fruit, count = 1) {
    // Too many are too many.
    if (count > this.size && fruit) {
      throw new Error(fruit, count);
    }
    const total = this.size + count;
    this.size = total;
    for (const item of a(fruit)) {
      console.log(item, "漢字");
    }
    while (total) {
      a(total, 1);
    }
    return total + 1;
  }
}

export function main(paths, other) {
  const basket = new Basket(1, 2);
  basket.add(
    paths[0],
    other.length,
  );
  return basket;
}
"""

TYPED = (
    SCRIPT.replace("fruit, count = 1)", "fruit: string, count: number = 1): number")
    + """
interface Fruit {
  name: string;
  weight: number;
}
"""
)

JSX = (
    TYPED
    + """
export const View = (props: Fruit) => {
  const label = props.name;
  const weight = String(props.weight, 10);
  return <div title={label}>{weight}</div>;
};
"""
)

GO = """\
package fruit

import (
	"fmt"
	"os"
)

// Basket holds fruit 🍎.
type Basket struct {
	Size int
	Name string
}

func (b *Basket) Add(fruit string, count int) (int, error) {
	if count > b.Size && fruit != "" {
		return 0, fmt.Errorf("too many: %s %d", fruit, count)
	}
	total := b.Size + count
	b.Size = total
	for i := 0; i < total; i++ {
		fmt.Println(i, "漢字")
	}
	for _, name := range os.Args {
		fmt.Println(name, total)
	}
	return total + 1, nil
}
"""

RUST = """\
use std::fmt;

/// Holds fruit 🍎.
pub struct Basket {
    size: usize,
    name: String,
}

impl Basket {
    pub fn add(&mut self, fruit: &str, count: usize) -> usize {
        if count > self.size && !fruit.is_empty() {
            return fail(fruit, count);
        }
        let total = self.size + count;
        self.size = total;
        while total > self.size {
            println!("{} {}", total, "漢字");
        }
        for item in 0..total {
            show(item, total);
        }
        let kind = match total {
            0 => "none",
            _ => "some",
        };
        total + 1
    }
}
"""

JAVA = """\
package fruit;

import java.util.List;

/** Holds fruit 🍎. */
public class Basket {
    private int size = 3;

    public int add(String fruit, int count) {
        // Too many are too many.
        if (count > size && fruit != null) {
            throw new IllegalArgumentException(fruit + count, null);
        }
        int total = size + count;
        this.size = total;
        for (int i = 0; i < total; i++) {
            System.out.println(i, "漢字");
        }
        return total + 1;
    }
}
"""

C = """\
#include <stdio.h>

/* Adds 🍎. */
static int add(const char *fruit, int count)
{
    int total = 0;
    if (count > 3 && fruit) {
        return fail(fruit, count);
    }
    while (total < count) {
        total += 1;
        printf("%d %s", total, "漢字");
    }
    return total + 1;
}
"""

TEXTS = {
    "python": PYTHON,
    "javascript": SCRIPT,
    "typescript": TYPED,
    "tsx": JSX,
    "go": GO,
    "rust": RUST,
    "java": JAVA,
    "c": C,
}
KINDS = [kind for kind in SpanKind if kind is not SpanKind.EMPTY]


def draw(text: str, language: str, kind: SpanKind, count: int = 80) -> list[Span]:
    """Many spans of a kind; that there are some is part of what is tested."""
    sampler = SpanSampler(text, language)
    rng = random.Random(7)
    drawn = [sampler.sample(rng, 0, len(text), Mix.only(kind)) for _ in range(count)]
    spans = [span for span in drawn if span is not None]
    assert len(spans) > count // 2, f"{language} has no {kind}"
    assert {span.kind for span in spans} == {kind}
    return spans


def texts_of(text: str, language: str, kind: SpanKind, count: int = 400) -> set[str]:
    return {text[span.start : span.end] for span in draw(text, language, kind, count)}


def around(text: str, span: Span) -> tuple[str, str]:
    """What stands on the span's lines before and after it."""
    after = text.find("\n", span.end)
    before = text[text.rfind("\n", 0, span.start) + 1 : span.start]
    return before, text[span.end : after if after >= 0 else len(text)]


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


@pytest.mark.parametrize("language", ["python", "java"])
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
    ],
)
def test_conditions_of_other_languages(language: str, expected: set[str]) -> None:
    assert expected <= texts_of(TEXTS[language], language, SpanKind.CONDITION)


def test_right_sides_without_a_grammar_end_before_blanks_and_comments() -> None:
    text = "int a = b + 1 ; // why\nc = d--;\nreturn e; /* so */\nif (x == y) z();\n"
    assert texts_of(text, "c", SpanKind.CONDITION) == {"b + 1", "d--", "e", "x == y"}


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


@pytest.mark.parametrize("language", TEXTS)
def test_same_seed_same_spans(language: str) -> None:
    text = TEXTS[language]

    def spans(seed: int) -> list[Span | None]:
        sampler = SpanSampler(text, language)
        rng = random.Random(seed)
        return [sampler.sample(rng, 0, len(text), Mix.DEFAULT) for _ in range(50)]

    assert spans(1) == spans(1)
    assert spans(1) != spans(2)


@pytest.mark.parametrize("kind", SpanKind)
def test_spans_start_where_they_are_asked_to(kind: SpanKind) -> None:
    sampler = SpanSampler(PYTHON, "python")
    rng = random.Random(3)
    found = 0
    for low in range(0, len(PYTHON), 37):
        high = low + 60
        for span in (sampler.sample(rng, low, high, Mix.only(kind)) for _ in range(5)):
            if span is not None:
                found += 1
                assert low <= span.start < high
    assert found > 30


def test_shares_are_those_of_the_mix() -> None:
    sampler = SpanSampler(PYTHON, "python")
    rng = random.Random(5)
    drawn = [sampler.sample(rng, 0, len(PYTHON), Mix.DEFAULT) for _ in range(2000)]
    kinds = [span.kind for span in drawn if span is not None]
    assert sum(Mix.DEFAULT.shares.values()) == pytest.approx(1)
    for kind, share in Mix.DEFAULT.shares.items():
        assert kinds.count(kind) / len(kinds) == pytest.approx(share, rel=0.5)


def test_a_kind_without_a_place_leaves_its_share_to_the_others() -> None:
    sampler = SpanSampler("value\n", "python")
    mix = Mix({SpanKind.ARGUMENTS: 0.9, SpanKind.BLOCK: 0.9, SpanKind.WHOLE_LINE: 0.1})
    assert sampler.sample(random.Random(1), 0, 6, mix) == Span(0, 5, SpanKind.WHOLE_LINE)
    assert sampler.sample(random.Random(1), 0, 6, Mix.only(SpanKind.ARGUMENTS)) is None


@pytest.mark.parametrize(
    ("prose", "language", "share"),
    [
        ("# some words", "python", 0.1),
        ("import some", "python", 0.5),
        ('def f():\n    """Some words."""\n', "python", 0.2),
        ("// some words", "java", 0.1),
        ("import some;", "java", 0.5),
        ('x(1, """\nsome words""")', "python", 0.5),
        ("x(1, `\nsome ${words}`)", "typescript", 0.5),
        ("x(1, `\nsome words`)", "java", 0.5),
    ],
)
def test_prose_and_imports_are_drawn_less(prose: str, language: str, share: float) -> None:
    text = f"code(1)\n{prose}\n" * 50
    spans = draw(text, language, SpanKind.WHOLE_LINE, 1500)
    targets = [text[span.start : span.end] for span in spans]
    code = targets.count("code(1)")
    words = sum("some" in target.lower() for target in targets)
    assert words / code == pytest.approx(share, rel=0.35)


def test_lines_of_closers_are_drawn_less() -> None:
    text = "if (a) {\n  b();\n}\n" * 30
    targets = [text[s.start : s.end] for s in draw(text, "javascript", SpanKind.WHOLE_LINE, 900)]
    assert targets.count("}") / targets.count("b();") == pytest.approx(0.3, rel=0.35)


def test_what_is_code() -> None:
    text = '"""Doc."""\nx = 1  # why\ny = f("""a\nlong text""")\n})\n'
    sampler = SpanSampler(text, "python")

    def is_code(part: str, kind: SpanKind = SpanKind.RANDOM) -> bool:
        start = text.index(part)
        end = start if kind is SpanKind.EMPTY else start + len(part)
        return sampler.is_code(Span(start, end, kind))

    assert is_code("x = 1")
    assert is_code("x = 1", SpanKind.EMPTY)
    assert not is_code("Doc")
    assert not is_code("Doc", SpanKind.EMPTY)
    assert not is_code("1  # w")
    assert is_code('y = f("""a\nlong text""")')
    assert not is_code("long text")
    assert not is_code("})")
    assert not sampler.clean
    assert SpanSampler(PYTHON, "python").clean


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("text", ["", "\n", "   \n\t\n", " "])
def test_nothing_to_draw_from(text: str, language: str) -> None:
    sampler = SpanSampler(text, language)
    rng = random.Random(1)
    for kind in SpanKind:
        assert sampler.sample(rng, 0, len(text) + 1, Mix.only(kind)) is None
    assert sampler.sample(rng, 0, len(text) + 1, Mix.DEFAULT) is None


def test_no_range_no_span() -> None:
    sampler = SpanSampler(PYTHON, "python")
    rng = random.Random(1)
    assert sampler.sample(rng, 5, 5, Mix.DEFAULT) is None
    assert sampler.sample(rng, len(PYTHON) + 10, len(PYTHON) + 90, Mix.DEFAULT) is None


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.sampled_from("ab1 (){}[],:;=.#/\"'`\n\t🍎漢é\u200d"), max_size=120),
    language=st.sampled_from(sorted(TEXTS)),
    seed=st.integers(0, 9),
    borders=st.tuples(st.integers(-5, 130), st.integers(-5, 130)),
)
def test_any_text_gives_valid_spans(
    text: str, language: str, seed: int, borders: tuple[int, int]
) -> None:
    sampler = SpanSampler(text, language)
    rng = random.Random(seed)
    low, high = borders
    for kind in SpanKind:
        span = sampler.sample(rng, low, high, Mix.only(kind))
        if span is not None:
            assert low <= span.start < high
            assert 0 <= span.start <= span.end <= len(text)
            content = text[span.start : span.end]
            assert content == content.rstrip()
            assert bool(content) == (kind is not SpanKind.EMPTY)


def test_a_very_long_line_is_no_target_and_no_trouble() -> None:
    text = "x = [" + "a, " * 100_000 + "]\n"
    sampler = SpanSampler(text, "python")
    rng = random.Random(1)
    assert sampler.sample(rng, 0, len(text), Mix.only(SpanKind.WHOLE_LINE)) is None
    for _ in range(50):
        span = sampler.sample(rng, 0, len(text), Mix.DEFAULT)
        assert span is None or span.end - span.start <= 240


def test_drawing_costs_little() -> None:
    text = PYTHON * 32
    assert len(text) > 20_000
    sampler = SpanSampler(text, "python")
    rng = random.Random(1)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(12):
            sampler.sample(rng, 0, len(text), Mix.DEFAULT)
        best = min(best, time.perf_counter() - begun)
    # About 0.1 ms here.
    assert best < 0.01


@pytest.mark.parametrize("shares", [{}, {SpanKind.BLOCK: 0.0}, {SpanKind.BLOCK: -1.0}])
def test_a_mix_has_weights(shares: dict[SpanKind, float]) -> None:
    with pytest.raises(ValueError, match="not a mix"):
        Mix(shares)

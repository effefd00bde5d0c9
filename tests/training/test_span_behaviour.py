"""Spans are the same for the same seed, drawn by their shares, and valid in any text."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgemma_training.spans import Mix, Span, SpanKind, SpanSampler
from tests.training.span_texts import PYTHON, TEXTS, draw


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
        ("x(1, `\nsome words`)", "kotlin", 0.5),
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

"""What holds for any text: an accepted one adds no error, trimming only shortens, nothing hangs.

``DGEMMA_THOROUGH=1`` runs thousands of examples instead of dozens.
"""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgemma_lsp.infill.judging.judge import BUDGET_S, LONGEST_TEXT, judge, judge_edit
from dgemma_lsp.infill.trigger import find_hole
from dgemma_lsp.infill.types import Hole, HoleKind, RejectReason, Snapshot
from dgemma_lsp.infill.validate import check
from dgemma_lsp.languages import ALL, GENERIC, by_id
from dgemma_lsp.languages.base import Language
from dgemma_lsp.syntax.errors import count_errors, find_errors
from dgemma_lsp.syntax.tree import ParsedText

THOROUGH = os.environ.get("DGEMMA_THOROUGH") == "1"
EXAMPLES = settings(
    deadline=None,
    max_examples=4_000 if THOROUGH else 120,
    suppress_health_check=[HealthCheck.too_slow],
)

SOURCES = {
    "python": "class A:\n    def f(self, x):\n        '''doc'''\n        if x > 1:\n"
    "            return [x, (1, 'a')]\n        return {'k': f\"{x}\"}\n",
    "javascript": "function f(a, b) {\n  const x = `t ${a}`;\n  // why\n  if (a) {\n"
    "    return [x, { b }];\n  }\n  return g(a)(b);\n}\n",
    "typescript": "interface A { b: string }\nconst f = (a: A): string => {\n  return a.b;\n};\n",
    "tsx": "const A = (p: P) => {\n  return <div a={p.b}>text {p.c}</div>;\n};\n",
    "go": "package m\n\nfunc f(a int) (int, error) {\n\tif a > 0 {\n\t\treturn a, nil\n\t}\n"
    '\treturn g("x"), nil\n}\n',
    "rust": 'fn f(a: i32) -> i32 {\n    let s = r#"x"#;\n    match a {\n        1 => 2,\n'
    "        _ => a + 1,\n    }\n}\n",
    "lua": "local function f(a)\n  if a then\n    return { a, 'b' }\n  end\n"
    "  return a .. 'x'\nend\n",
    "json": '{\n  "a": [1, 2, {"b": null}],\n  "c": "d"\n}\n',
    "generic": "block (a) {\n  x = [1, 2]\n  y = 'text'\n}\n",
}
OTHER = "a {\n  b: c(d);\n}\n"
NOISE = st.text(alphabet="ab1(){}[]<>\"'`#/*\\=:;,. \n\t漢😀", max_size=10)


def placed(language: Language, prefix: str, suffix: str) -> tuple[Snapshot, Hole] | None:
    parsed = ParsedText(prefix + suffix, language.usable_grammar())
    snapshot = Snapshot("file:///a", 1, parsed, language)
    hole = find_hole(snapshot, len(prefix), invoked=True)
    return (snapshot, hole) if isinstance(hole, Hole) else None


@st.composite
def drafts(draw: st.DrawFn) -> tuple[Language, str, str, str]:
    """A language, what stands before and after a hole, and a draft much like what was there."""
    language = draw(st.sampled_from([*ALL, GENERIC]))
    source = SOURCES.get(language.name, OTHER)
    start = draw(st.integers(0, len(source)))
    end = min(len(source), start + draw(st.integers(0, 40)))
    middle = source[start:end]
    prefix, suffix = source[:start], source[end:]
    if draw(st.booleans()):  # a broken file
        at = draw(st.integers(0, len(suffix)))
        suffix = suffix[:at] + draw(NOISE) + suffix[at:]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(middle)))
        cut = min(len(middle), at + draw(st.integers(0, 6)))
        middle = middle[:at] + draw(NOISE) + middle[cut:]
    overrun = draw(st.integers(0, 30))
    return language, prefix, suffix, middle + (suffix[:overrun] if draw(st.booleans()) else "")


@EXAMPLES
@given(drafts())
def test_an_accepted_draft_adds_no_error(case: tuple[Language, str, str, str]) -> None:
    language, prefix, suffix, raw = case
    found = placed(language, prefix, suffix)
    if found is None:
        return
    snapshot, hole = found
    text, verdict = check(snapshot, hole, raw)
    assert verdict.accepted == (not verdict.faults)
    assert verdict.errors_after <= verdict.errors_before or verdict.faults
    for fault in verdict.faults:
        assert 0 <= fault.start <= fault.end <= len(text)
    grammar = language.usable_grammar()
    if verdict.accepted and grammar is not None:
        fresh = count_errors(ParsedText(prefix + text + suffix, grammar))
        assert fresh <= count_errors(ParsedText(prefix + suffix, grammar))


@EXAMPLES
@given(drafts())
def test_trimming_only_shortens_and_settles(case: tuple[Language, str, str, str]) -> None:
    language, prefix, suffix, raw = case
    found = placed(language, prefix, suffix)
    if found is None:
        return
    snapshot, hole = found
    text, verdict = check(snapshot, hole, raw)
    assert snapshot.text == prefix + suffix
    assert unified(text) in unified(raw)
    again, second = check(snapshot, hole, text)
    assert again == text
    assert second.trimmed == ()
    if text.strip():
        assert (second.accepted, second.reason, second.faults) == (
            verdict.accepted,
            verdict.reason,
            verdict.faults,
        )


def unified(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@EXAMPLES
@given(drafts(), st.integers(0, 30))
def test_an_edit_is_judged_like_a_count(case: tuple[Language, str, str, str], taken: int) -> None:
    language, prefix, suffix, text = case
    document = prefix + suffix
    grammar = language.usable_grammar()
    snapshot = Snapshot("file:///a", 1, ParsedText(document, grammar), language)
    start, end = len(prefix), min(len(document), len(prefix) + taken)
    found = judge_edit(snapshot, start, end, text)
    for fault in found.faults:
        assert 0 <= fault.start <= fault.end <= len(text)
    if found.errors_after > found.errors_before:
        assert found.faults
    if grammar is not None and not found.faults:
        new = document[:start] + text + document[end:]
        assert len(find_errors(ParsedText(new, grammar))) <= count_errors(
            ParsedText(document, grammar)
        )


@EXAMPLES
@given(
    st.sampled_from([*ALL, GENERIC]),
    st.one_of(st.text(max_size=80), st.binary(max_size=80).map(lambda b: b.decode("latin-1"))),
    st.one_of(
        st.text(max_size=60),
        st.binary(max_size=60).map(lambda b: b.decode("utf-8", "surrogateescape")),
    ),
    st.integers(0, 80),
)
def test_anything_at_all_gets_a_verdict(
    language: Language, document: str, raw: str, at: int
) -> None:
    at = min(at, len(document))
    found = placed(language, document[:at], document[at:])
    if found is None:
        return
    text, verdict = check(*found, raw)
    assert unified(text) in unified(raw)
    assert verdict.accepted == (verdict.reason is None)


HUGE = [*ALL, GENERIC] if THOROUGH else [by_id(name) for name in ("python", "typescript", "lua")]


@pytest.mark.parametrize("language", HUGE, ids=lambda each: each.name)
@pytest.mark.parametrize(
    "raw",
    [
        "(" * 10_000,
        "[" * 10_000 + "]" * 10_000,
        "{" * 10_000,
        "a." * 10_000,
        "x" * 1_000_000,
        "x = 1\n" * 5_000,
        "\n" * 20_000,
        '"' * 9_999,
        "/*" * 5_000,
    ],
    ids=lambda raw: raw[:3].strip() + "...",
)
def test_huge_texts_end_in_time(language: Language, raw: str) -> None:
    source = SOURCES.get(language.name, OTHER)
    at = source.index("(") + 1 if "(" in source else 1
    found = placed(language, source[:at], source[at:])
    assert found is not None
    began = time.process_time()
    check(*found, raw)
    judge(*found, raw)
    # No figure of merit, only "does not hang": some of these took minutes without bounds.
    assert time.process_time() - began < 20


@pytest.mark.parametrize("language", HUGE, ids=lambda each: each.name)
@pytest.mark.parametrize("unit", ["[", "a, ", "x = (1)\n", "漢 'a' "])
def test_huge_documents_end_in_time(language: Language, unit: str) -> None:
    half = unit * (500_000 // len(unit) if unit != "[" else 10_000)
    grammar = language.usable_grammar()
    parsed = ParsedText(half + half, grammar)
    work = parsed.parse_later(lambda: None)  # nobody parses a long text while others wait
    snapshot = Snapshot("file:///a", 1, parsed, language)
    began = time.process_time()
    check(snapshot, Hole(len(half), HoleKind.MID_LINE), "a, (b)")
    assert time.process_time() - began < 10
    del work


def test_a_text_beyond_measure_is_not_accepted() -> None:
    found = placed(ALL[0], "x = ", "\n")
    assert found is not None
    judgement = judge(*found, "1 + " * LONGEST_TEXT)
    assert not judgement.complete
    assert [fault.reason for fault in judgement.faults] == [RejectReason.UNSURE]


def test_a_parse_ends_when_the_time_is_up() -> None:
    found = placed(by_id("lua"), "f(", ")\n")
    assert found is not None
    ticks = iter([0.0, *[2 * BUDGET_S] * 5_000])
    late = judge(*found, "a." * 5_000, clock=lambda: next(ticks))
    assert not late.complete
    assert [fault.reason for fault in late.faults] == [RejectReason.UNSURE]


def test_no_check_begins_after_the_time_is_up() -> None:
    lines = "first = 1\nsecond = 2"
    found = placed(ALL[0], lines + "\n", "\n")
    assert found is not None
    ticks = iter([0.0, *[2 * BUDGET_S] * 50])
    late = judge(*found, lines, clock=lambda: next(ticks))
    assert not late.complete
    assert late.faults == ()
    in_time = judge(*found, lines, clock=lambda: 0.0)
    assert in_time.complete
    assert [fault.reason for fault in in_time.faults] == [RejectReason.REPEATS_LINE]

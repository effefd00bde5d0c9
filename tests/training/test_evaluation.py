"""What is asked and how an answer is judged: rows, judgements, systems, probes; no model."""

from __future__ import annotations

import ast
import gzip
import json
from pathlib import Path

import msgspec
import pytest

from dgemma_runtime.models import embedded_folder, resolve_spec
from dgemma_runtime.text import load_codec
from dgemma_training.documents import Document, Split, write_documents
from dgemma_training.evaluation import models
from dgemma_training.evaluation.asking import is_raw, raw_of
from dgemma_training.evaluation.items import (
    LENGTHS,
    EvaluationError,
    Item,
    Span,
    from_corpus,
    from_file,
    from_rows,
    mix_named,
    shuffled,
)
from dgemma_training.evaluation.judging import Judge, cut_at_tail, parses, similarity
from dgemma_training.evaluation.probes import PROBES, row_of
from dgemma_training.rows import Row
from dgemma_training.spans import Mix, SpanKind
from dgemma_wire.errors import ModelError
from tests.training.row_files import write_rows


@pytest.fixture(scope="module")
def span() -> Span:
    return Span(load_codec(embedded_folder() / "tokenizer.json"), 24)


def make_row(name: str = "1", **more: str) -> Row:
    fields = {"language": "python", "kind": "line_tail", "package": "p", "path": "a.py"}
    fields |= {"prefix": "def f(a):\n    return ", "middle": "a + 1", "suffix": "\n"} | more
    return Row(id=name, version="", licence="", empty_parses=False, **fields)


# -- rows -------------------------------------------------------------------------------------


def test_rows_are_sized_as_a_span_holds_them(span: Span) -> None:
    item = span.item(make_row())
    assert item.tokens == len(span.codec.encode(" a + 1"))  # the blank before it is the span's
    assert item.fits
    assert item.length == LENGTHS[0]
    assert span.item(make_row(middle="a + b + c")).length == LENGTHS[0]
    assert span.item(make_row(middle="alpha + beta - gamma * 2")).length == LENGTHS[1]
    most = "x" + " x" * 22
    assert span.item(make_row(prefix="", middle=most)).fits  # 23 and the end
    assert span.fits(most)
    assert not span.item(make_row(prefix="", middle=most + " x")).fits
    assert not span.fits(most + " x")


def test_rows_are_read_from_files(span: Span, tmp_path: Path) -> None:
    write_rows(tmp_path / "some.jsonl.gz", [make_row("1"), make_row("2")])
    found = from_file(tmp_path / "some.jsonl.gz", span)
    assert found.name == "some"
    assert [item.row.id for item in found.items] == ["1", "2"]
    assert all(item.test is None for item in found.items)
    first = from_file(tmp_path / "some.jsonl.gz", span, 1)
    assert len(first.items) == 1
    assert "the first 1 of 2" in first.source
    assert first.sha256 == found.sha256


def test_tasks_of_humaneval_are_rows_with_tests(span: Span, tmp_path: Path) -> None:
    task = {
        "task_id": "RandomSpan/HumanEval/7/1",
        "entry_point": "add",
        "prompt": "def add(a, b):\n    return a",
        "suffix": "b\n",
        "canonical_solution": " + ",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    }
    (tmp_path / "tasks.jsonl").write_text(json.dumps(task) + "\n\n")
    (item,) = from_file(tmp_path / "tasks.jsonl", span).items
    assert item.row.middle == " + "
    assert item.row.package == "RandomSpan/HumanEval/7"
    assert item.row.empty_parses  # "return ab"
    assert item.test is not None
    assert item.test.program.rstrip().endswith("check(add)")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("none.jsonl", None, "cannot be read"),
        ("empty.jsonl", b"", "holds no rows"),
        ("text.jsonl", b"hello\n", "no file of rows"),
        ("other.jsonl", b'{"a": 1}\n', "no file of rows"),
        ("twice.jsonl", 2 * msgspec.json.encode(make_row()) + b"\n", "no file of rows"),
        ("alike.jsonl", 2 * (msgspec.json.encode(make_row()) + b"\n"), "the same id"),
        ("cut.jsonl.gz", gzip.compress(b'{"a": 1}\n', mtime=0)[:-9], "no file of rows"),
        (
            "evil.jsonl",
            b'{"task_id":"a/1","entry_point":"f)(","prompt":"","suffix":"",'
            b'"canonical_solution":"","test":""}',
            "no name of a function",
        ),
    ],
)
def test_wrong_files_of_rows_are_refused(
    span: Span, tmp_path: Path, name: str, data: bytes | None, said: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(EvaluationError, match=said):
        from_file(tmp_path / name, span)


def test_rows_cut_from_a_corpus_fit(span: Span, tmp_path: Path) -> None:
    text = "".join(
        f"def f{n}(a):\n    total = a * {n} + len(a)\n    return total\n" for n in range(9)
    )
    documents = [
        Document(f"x = {n}\n{text}", "python", f"p{n}", "1", "MIT", "a.py", Split.TEST)
        for n in range(12)
    ]
    write_documents(tmp_path, documents)
    found = from_corpus(tmp_path, Split.TEST, 6, "headline", 1, span)
    assert len(found.items) == 6
    assert all(item.fits for item in found.items)
    assert found == from_corpus(tmp_path, Split.TEST, 6, "headline", 1, span)
    with pytest.raises(EvaluationError, match="gives no rows"):
        from_corpus(tmp_path, Split.VALIDATION, 6, "headline", 1, span)
    with pytest.raises(EvaluationError, match="holds no corpus"):
        from_corpus(tmp_path / "other", Split.TEST, 6, "headline", 1, span)


def test_mixes_have_names() -> None:
    assert mix_named("headline") is Mix.HEADLINE
    assert dict(mix_named("middle").shares) == {SpanKind.MIDDLE: 1.0}
    with pytest.raises(EvaluationError, match="there are headline"):
        mix_named("most")


def test_the_order_is_mixed_but_the_same_each_time(span: Span) -> None:
    rows = [make_row(str(n)) for n in range(30)]
    items = from_rows("r", "made", rows, span).items
    mixed = shuffled(items, 3)
    assert mixed != list(items)
    assert sorted(mixed, key=lambda item: int(item.row.id)) == list(items)
    assert mixed == shuffled(items, 3)


# -- judgements -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)],
)
def test_similarity_is_levenshteins(one: str, other: str, distance: int) -> None:
    longest = max(len(one), len(other), 1)
    assert similarity(one, other) == pytest.approx(1 - distance / longest)
    assert similarity(other, one) == similarity(one, other)


def test_a_completion_is_cut_where_it_says_the_rest_of_the_line() -> None:
    assert cut_at_tail("timeout=timeout) + 1", ")") == "timeout=timeout"
    assert cut_at_tail("f(a), g(b))", ", g(b))  ") == "f(a)"
    assert cut_at_tail("name", ")") == "name"
    assert cut_at_tail("name", "") == "name"  # nothing follows on the line
    assert cut_at_tail(")", ")") == ""


def test_blanks_at_the_ends_do_not_count() -> None:
    item = Item(make_row(), 4, True)
    right = Judge().judge(item, " a + 1\n")
    assert (right.exact, right.similarity, right.parses) == (True, 1.0, True)
    inside = Judge().judge(item, "a +  1")
    assert not inside.exact
    assert inside.parses


def test_files_are_parsed_by_their_languages_parser() -> None:
    assert parses("if a:\n    pass\n", "python")
    assert not parses("if a:\n", "python")  # tree-sitter would take it
    assert parses("const a: number = 1;\n", "typescript")
    assert not parses("const a: number = ;\n", "typescript")
    wrong = Judge().judge(Item(make_row(), 4, True), "a + (")
    assert wrong.parses is False
    unknown = Judge().judge(Item(make_row(language="plaintext"), 4, True), "a + (")
    assert unknown.parses is None


def test_a_context_that_does_not_parse_asks_for_no_further_error() -> None:
    row = make_row(prefix="        return b\n\n    def g(a):\n        return ", suffix="\n")
    with pytest.raises(SyntaxError):
        ast.parse(row.prefix + row.middle + row.suffix)
    judge = Judge()
    assert judge.judge(Item(row, 4, True), "a + 2").parses
    assert judge.judge(Item(row, 4, True), "a + (2").parses is False


# -- systems ----------------------------------------------------------------------------------


def test_systems_have_names() -> None:
    assert models.choice_named("product").run_confidence is None
    assert models.choice_named("parallel:0.7").run_confidence == 0.7
    strict = models.choice_named("left_to_right").run_confidence
    assert strict is not None
    assert strict > 1
    assert models.choice_named("base").base
    for wrong in ("parallel", "parallel:x", "product:1", "best"):
        with pytest.raises(EvaluationError, match="there are product"):
            models.choice_named(wrong)
    assert raw_of("product@new") == "product_raw@new"
    assert [is_raw(name) for name in ("product_raw@new", "product@_raw", "base")] == [
        True,
        False,
        False,
    ]


def test_adapters_have_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter.safetensors").write_bytes(name.encode())
    one, two = (tmp_path / name / "adapter.safetensors" for name in ("one", "two"))
    found = models.adapters_named([str(one), f"best={two}", "shipped"])
    assert [adapter.name for adapter in found] == ["one", "best", "shipped"]
    (tmp_path / "kept").mkdir()
    copies = models.kept(found, tmp_path / "kept")
    two.write_bytes(b"trained on")
    assert copies[1].file is not None
    assert copies[1].file.read_bytes() == b"two"
    assert copies[2].file is None
    names = [name for _, _, name in models.combinations([models.Choice("product")], copies)]
    assert names == ["product@one", "product@best", "product@shipped"]
    with pytest.raises(EvaluationError, match="alike"):
        models.adapters_named([str(one), str(one)])
    with pytest.raises(EvaluationError, match="no adapter"):
        models.adapters_named([str(tmp_path / "three.safetensors")])


def test_a_changed_model_shares_what_is_not_changed(tmp_path: Path) -> None:
    adapter = tmp_path / "new.safetensors"
    adapter.write_bytes(b"new")
    made = models.make_folder(
        "embedded",
        tmp_path / "made",
        adapter=adapter,
        sampler={"run_confidence": 1.1},
        max_span=48,
    )
    spec, own = resolve_spec(str(made)), resolve_spec("embedded")
    assert spec.sampler.run_confidence == 1.1
    assert spec.sampler.sample_top_k == own.sampler.sample_top_k
    assert spec.limits.max_span_tokens == 48
    assert spec.base == own.base
    assert (made / "adapter.safetensors").read_bytes() == b"new"
    tokenizer = (made / "tokenizer.json").read_bytes()
    assert tokenizer == (own.folder / "tokenizer.json").read_bytes()
    with pytest.raises(ModelError, match="no_such_field"):
        models.make_folder("embedded", tmp_path / "bad", sampler={"no_such_field": 1})


def test_probes_are_holes_with_one_right_text() -> None:
    assert len(PROBES) == 20
    assert sum(probe.language == "typescript" for probe in PROBES) == 5
    assert len({(probe.language, probe.name) for probe in PROBES}) == 20
    for number, probe in enumerate(PROBES):
        row = row_of(probe, number)
        assert parses(row.prefix + row.middle + row.suffix, row.language), probe.name
        assert not row.suffix.startswith(row.middle)

"""Rows are holes in real code, the same for the same seed, and read back whoever wrote them."""

from __future__ import annotations

import ast
import gzip
import itertools
import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from dgemma_training.documents import Document, Split
from dgemma_training.rows import (
    PREFIX_CHARS,
    SUFFIX_CHARS,
    Row,
    cut_rows,
    parses_without,
    read_rows,
)
from dgemma_training.spans import Mix, SpanKind
from tests.training.row_files import write_rows

FUNCTION = '''
def take_{n}(fruit, count=1):
    """Takes some of the fruit."""
    # Count first.
    if count > {n} and fruit:
        raise ValueError(fruit, count)
    total = fruit.size + count
    basket[{n}] = total
    return total + 1
'''


def document(
    package: str, number: int, *, text: str | None = None, language: str = "python"
) -> Document:
    if text is None:
        text = "import os\n" + "".join(
            FUNCTION.format(n=f"{package}_{number}_{n}") for n in range(8)
        )
    return Document(text, language, package, "1.0", "MIT", f"src/{package}/{number}.py", Split.TEST)


def corpus(packages: int = 6, files: int = 4) -> list[Document]:
    return [document(f"p{name}", number) for name in range(packages) for number in range(files)]


def short(middle: str) -> bool:
    return len(middle) <= 60


def cut(documents: list[Document], count: int = 24, **options: object) -> list[Row]:
    settings = {"seed": 1, "mix": Mix.HEADLINE, "fits": short, "max_package_share": 0.25}
    return cut_rows(documents, count=count, **(settings | options))  # pyright: ignore[reportArgumentType]


def test_rows_put_together_are_the_document() -> None:
    texts = {one.path: one.text for one in corpus()}
    rows = cut(corpus())
    assert len(rows) == 24
    assert len({row.id for row in rows}) == 24
    for row in rows:
        assert row.prefix + row.middle + row.suffix == texts[row.path]
        assert row.middle.strip()
        assert short(row.middle)
        assert (row.language, row.version, row.licence) == ("python", "1.0", "MIT")


def test_targets_are_code() -> None:
    for row in cut(corpus(), 40):
        assert "Takes" not in row.middle
        assert "#" not in row.middle


def test_kinds_have_their_exact_shares() -> None:
    assert Counter(row.kind for row in cut(corpus())) == {
        "whole_line": 12,
        "line_tail": 6,
        "middle": 6,
    }


def test_every_other_kind_can_be_cut() -> None:
    for kind in SpanKind:
        rows = cut(corpus(), 6, mix=Mix.only(kind), fits=lambda middle: len(middle) < 500)
        assert [row.kind for row in rows] == [kind.value] * 6
        assert all(bool(row.middle) == (kind is not SpanKind.EMPTY) for row in rows)


def test_rows_are_spread_over_packages_and_files() -> None:
    documents = corpus(5, 4) + [document("giant", number) for number in range(100)]
    rows = cut(documents, 24)
    assert Counter(row.package for row in rows).most_common(1)[0][1] <= 4
    assert max(Counter(row.path for row in rows).values()) == 1


def test_rows_of_one_file_are_few_and_never_overlap() -> None:
    documents = [document("only", 0)]
    rows = cut(documents, 5, max_package_share=1.0)
    assert len(rows) == 3
    places = sorted((len(row.prefix), len(row.prefix) + len(row.middle)) for row in rows)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(places))
    assert len(cut(documents, 40, max_package_share=0.05)) == 2


def test_same_seed_same_rows() -> None:
    assert cut(corpus()) == cut(corpus())
    assert cut(corpus()) != cut(corpus(), seed=2)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("def f(:\n    return 1\n" * 5, "python"),
        # The grammar takes it, Python does not.
        ("def f():\n\nvalue = take(1, 2)\n" * 5, "python"),
        ("function f( { return one }\n" * 5, "typescript"),
        ("first = one(1)\r\nsecond = two(2)\r\n", "python"),
        ("", "python"),
    ],
)
def test_unsound_documents_give_no_rows(text: str, language: str) -> None:
    bad = document("bad", 0, text=text, language=language)
    assert cut([bad], 5, max_package_share=1.0) == []
    rows = cut([bad, *corpus()])
    assert len(rows) == 24
    assert all("\r" not in row.prefix + row.middle + row.suffix for row in rows)


def test_copies_of_a_file_count_once() -> None:
    text = document("a", 0).text
    rows = cut([document("a", 0, text=text), document("b", 0, text=text)], 9, max_package_share=1.0)
    assert len(rows) == 3


def test_nothing_fits() -> None:
    assert cut(corpus(), fits=lambda middle: False) == []


def test_long_files_lose_far_lines() -> None:
    text = "".join(f"value_{number} = take(number, {number})\n" for number in range(900))
    for row in cut([document("long", n, text=f"x = {n}\n" + text) for n in range(8)], 16):
        assert 0 < len(row.prefix) <= PREFIX_CHARS
        assert len(row.suffix) <= SUFFIX_CHARS
        joined = row.prefix + row.middle + row.suffix
        assert f"\n{joined}" in "\n" + f"x = {row.path[-4]}\n" + text, "not cut at a line"
        assert joined.endswith("\n")


@pytest.mark.parametrize("language", ["typescriptreact", "go", "rust", "java"])
def test_other_languages(language: str) -> None:
    text = {
        "typescriptreact": "const view = (a: string) => {\n  return <p>{show(a, 1)}</p>;\n};\n",
        "go": "package a\n\nfunc add(a int, b int) int {\n\ttotal := a + b\n\treturn total\n}\n",
        "rust": "fn add(a: i32, b: i32) -> i32 {\n    let total = a + b;\n    return total;\n}\n",
        "java": "class A {\n    int add(int a, int b) {\n        return plus(a, b);\n    }\n}\n",
    }[language]
    rows = cut([document("a", 0, text=text, language=language)], 3, max_package_share=1.0)
    assert rows
    for row in rows:
        assert row.language == language
        assert row.prefix + row.middle + row.suffix == text


@pytest.mark.parametrize(
    ("language", "before", "middle", "after", "parses"),
    [
        ("python", "x = ", "1", "\n", False),
        ("python", "f(", "1", ")\n", True),
        ("python", "def f():\n    ", "return 1", "\n", False),
        ("python", "x = 1", "\n\0", "", True),
        ("python", "x = 1\0", "\n", "", False),
        ("typescript", "const x = ", "1", ";\n", False),
        ("tsx", "f(", "<p />", ");\n", True),
        ("java", "f(", "a(1)", ");\n", True),
        ("java", "f(", "a(1", "));\n", False),
        ("java", 'f("', 'a", "b', '");\n', True),
        ("java", "f(", '"a', '");\n', False),
    ],
)
def test_whether_an_empty_hole_parses(
    language: str, before: str, middle: str, after: str, parses: bool
) -> None:
    start = len(before)
    assert parses_without(before + middle + after, start, start + len(middle), language) is parses


def test_empty_parses_is_recorded() -> None:
    rows = cut(corpus(), 40)
    assert {row.empty_parses for row in rows} == {True, False}
    for row in rows:
        try:
            ast.parse(row.prefix + row.suffix)
        except SyntaxError:
            assert not row.empty_parses
        else:
            assert row.empty_parses


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_rows_are_read_as_written(tmp_path: Path, name: str) -> None:
    rows = cut(corpus())
    write_rows(tmp_path / name, rows)
    assert read_rows(tmp_path / name) == rows


FOREIGN = {
    "id": "tsx/block/001",
    "lang": "tsx",
    "kind": "single_line",
    "package": "fruit",
    "version": "2.1",
    "license": "MIT",
    "released": "2026-01-02",
    "file": "src/view.tsx",
    "span_offset": 4,
    "empty_parses": True,
    "prefix": "a();\n",
    "middle": 'b("🍎\u2028");',
    "suffix": "\n",
}


@pytest.mark.parametrize("packed", [True, False])
def test_rows_of_others(tmp_path: Path, packed: bool) -> None:
    lines = json.dumps(FOREIGN, ensure_ascii=False) + "\n\n"
    path = tmp_path / "rows"
    path.write_bytes(gzip.compress(lines.encode()) if packed else lines.encode())
    assert read_rows(path) == [
        Row(
            id="tsx/block/001",
            language="typescriptreact",
            kind="single_line",
            package="fruit",
            version="2.1",
            licence="MIT",
            path="src/view.tsx",
            prefix="a();\n",
            middle='b("🍎\u2028");',
            suffix="\n",
            empty_parses=True,
        )
    ]


def test_rows_without_a_field_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({k: v for k, v in FOREIGN.items() if k != "middle"}))
    with pytest.raises(msgspec.ValidationError, match="middle"):
        read_rows(path)
    path.write_text("no json")
    with pytest.raises(msgspec.DecodeError):
        read_rows(path)

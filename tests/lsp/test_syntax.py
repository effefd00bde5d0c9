from __future__ import annotations

import random

import pytest

from dgemma_lsp.languages import ALL, BY_ID, GENERIC, by_extension, by_id
from dgemma_lsp.syntax.brackets import balance, code_depths
from dgemma_lsp.syntax.errors import count_errors, find_errors
from dgemma_lsp.syntax.grammar import Grammar, GrammarMissing, GrammarSource, load_grammar
from dgemma_lsp.syntax.scope import block_expected
from dgemma_lsp.syntax.tree import EXCERPT_BYTES, ParsedText
from tests.lsp.holes import at_cursor

PYTHON = BY_ID["python"]


def parsed(text: str, language_id: str = "python") -> ParsedText:
    return ParsedText(text, by_id(language_id).usable_grammar())


@pytest.mark.parametrize("language", ALL, ids=lambda each: each.name)
def test_every_grammar_loads(language) -> None:
    assert isinstance(language.load_grammar(), Grammar)


def test_registry() -> None:
    assert by_id("jsonc").name == "json"
    assert by_id("typescriptreact").name == "tsx"
    assert by_id("cobol") is GENERIC
    assert by_extension("a/B.PY") is PYTHON
    assert by_extension("Makefile") is GENERIC


def test_a_missing_grammar_is_a_value() -> None:
    missing = load_grammar(GrammarSource("cobol", "tree_sitter_cobol"))
    assert isinstance(missing, GrammarMissing)
    assert "tree-sitter-cobol" in missing.message
    broken = load_grammar(GrammarSource("python", "tree_sitter_python", "no_such"))
    assert isinstance(broken, GrammarMissing)


def test_no_grammar_means_no_tree() -> None:
    text = ParsedText("a (").edited(0, 1, "b")
    assert text.tree is None
    assert text.rough_tree is None
    assert count_errors(text) == 0
    assert find_errors(text) == ()


def test_errors_are_innermost_and_in_characters() -> None:
    text = parsed("名 = [1, 2\nx = )\n")
    found = find_errors(text)
    assert len(found) == count_errors(text) >= 1
    assert all(0 <= fault.start <= fault.end <= len(text.text) for fault in found)
    missing = find_errors(parsed("f(1;\n", "javascript"))
    assert [fault.missing for fault in missing] == [")"]


def test_a_clean_text_has_no_errors() -> None:
    assert count_errors(parsed("x = 1\n")) == 0
    assert count_errors(parsed("")) == 0


def test_edit_leaves_the_original_alone() -> None:
    old = parsed("x = 1\n")
    tree = old.tree
    new = old.edited(4, 5, "(")
    assert new.text == "x = (\n"
    assert count_errors(new) == 1
    assert old.tree is tree
    assert count_errors(old) == 0


def test_bytes_and_characters() -> None:
    text = ParsedText("aé漢😀b")
    for offset, byte in enumerate((0, 1, 3, 6, 10, 11)):
        assert text.byte_at(offset) == byte
        assert text.offset_of_byte(byte) == offset


def big_python(lines: int) -> str:
    unit = "class C{0}:\n    def f(self, a):\n        '''é'''\n        x = [a, {0}]\n\n"
    return "".join(unit.format(at) for at in range(lines // 5))


@pytest.mark.parametrize("lines", [5_000, 50_000])
def test_excerpt_is_small_clean_and_in_place(lines: int) -> None:
    text = parsed(big_python(lines))
    rng = random.Random(1)
    for _ in range(10):
        at = text.text.index("x = [a", rng.randrange(len(text.text) - 200)) + 4
        excerpt = text.excerpt(at)
        assert len(excerpt.parsed.text) < 3 * EXCERPT_BYTES
        assert count_errors(excerpt.parsed) == 0
        around = text.text[at - 40 : at + 40]
        assert excerpt.parsed.text[excerpt.offset - 40 : excerpt.offset + 40] == around
        text = text.edited(at, at, "漢, ")


@pytest.mark.parametrize(
    ("language", "unit", "head", "foot", "hole"),
    [
        ("json", '  "k": [1, 2],\n', "{\n", '  "z": 0\n}\n', "[1"),
        ("javascript", "  m(a) {\n    return a;\n  }\n", "class A {\n", "}\n", "return a"),
        ("python", "    def m(self):\n        return 1\n", "class A:\n", "", "return 1"),
        ("rust", "    fn m(&self) -> u8 {\n        1\n    }\n", "impl A {\n", "}\n", "1\n"),
        ("go", "\tif a {\n\t\tb()\n\t}\n", "package m\n\nfunc f() {\n", "}\n", "b()"),
        ("lua", "  print(1, 2)\n", "function f()\n", "end\n", "1, 2"),
        ("typescript", "  m(a: string) {\n    return a;\n  }\n", "class A {\n", "}\n", "return a"),
    ],
)
def test_excerpt_of_one_long_node(
    language: str, unit: str, head: str, foot: str, hole: str
) -> None:
    text = parsed(head + unit * 4_000 + foot, language)
    for share in (0.01, 0.5, 0.97):
        at = text.text.index(hole, int(len(text.text) * share))
        excerpt = text.excerpt(at)
        assert len(excerpt.parsed.text) < 3 * EXCERPT_BYTES
        assert count_errors(excerpt.parsed) == 0, find_errors(excerpt.parsed)
        assert excerpt.parsed.text.startswith(head)
        assert excerpt.parsed.text[excerpt.offset :].startswith(hole)


def test_excerpt_at_any_offset_keeps_its_place() -> None:
    text = parsed(big_python(2_000) + "\n\n    \n")
    rng = random.Random(2)
    for at in [0, len(text.text), *(rng.randrange(len(text.text)) for _ in range(100))]:
        excerpt = text.excerpt(at)
        before = text.text[max(0, at - 30) : at]
        assert excerpt.parsed.text[: excerpt.offset].endswith(before)
        assert excerpt.parsed.text[excerpt.offset :].startswith(text.text[at : at + 30])


@pytest.mark.parametrize(
    ("language", "marked", "wanted"),
    [
        ("python", "def f():█", True),
        ("python", "def f():\n█", True),
        ("python", "def f():\n    █", True),
        ("python", "def f():\n    x = 1\n    █\n", True),
        ("python", "def f():\n    x = 1\n█\n", False),
        ("python", "def f():█\n    x = 1\n", False),
        ("python", "x = {\n    'a': 1,\n    █\n}\n", False),
        ("python", "x = '''\n    a\n    █\n'''\n", False),
        ("python", "def f(\n    a,\n    b):█", True),
        ("python", "x: int█", False),
        ("python", "█", False),
        ("python", "if a:  # why\n    █", True),
        ("javascript", "function f() {█}", False),
        ("javascript", "function f() {\n█\n}", True),
        ("javascript", "function f() {\n  a();\n█\n}", True),
        ("javascript", "f(\n  a,\n  █\n);", False),
        ("javascript", "const s = `\n█\n`;", False),
        ("javascript", "/*\n█\n*/", False),
        ("go", "package m\n\nfunc f() {\n\t█\n}\n", True),
        ("rust", "fn f() {█\n}\n", True),
        ("rust", "struct A {\n    a: u8,\n    █\n}\n", True),
        ("lua", "if a then\n  █\nend\n", True),
        ("lua", "for i = 1, 3 do█\nend", True),
        ("generic", "block:\n    █", True),
        ("generic", "f(\n  █\n", False),
        ("generic", "x {█\n}\n", True),
    ],
)
def test_where_a_block_is_expected(language: str, marked: str, wanted: bool) -> None:
    snapshot, offset = at_cursor(marked, language)
    assert block_expected(snapshot.parsed, offset, snapshot.language) is wanted


def test_balance() -> None:
    found = balance("f(a, '(', [1 # )\n", PYTHON)
    assert [bracket.char for bracket in found.unclosed] == ["(", "["]
    assert balance("(]", PYTHON).mismatched == 1
    assert balance("a)b]", PYTHON).unopened[1].offset == 3
    assert balance('x = """a\n"b', PYTHON).open_string == 4
    assert balance("'it", PYTHON).open_string == 0
    assert balance("fn f<'a>(x: &'a str) { ')' }", BY_ID["rust"]).unopened == ()
    assert balance("/* ( ", BY_ID["go"]).open_string == 0
    assert code_depths("a('(') )", PYTHON) == [0, 0, 1, None, None, 1, 0, 0]

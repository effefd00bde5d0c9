from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgemma_lsp.infill.injections import inner
from dgemma_lsp.infill.trigger import find_hole
from dgemma_lsp.infill.types import Hole, HoleKind, Snapshot
from dgemma_lsp.infill.validate import check
from dgemma_lsp.languages import by_id
from dgemma_lsp.syntax.errors import count_errors
from dgemma_lsp.syntax.tree import ParsedText

CURSOR = "‸"


def at_cursor(language_id: str, marked: str) -> tuple[Snapshot, int]:
    language = by_id(language_id)
    text = marked.replace(CURSOR, "", 1)
    parsed = ParsedText(text, language.usable_grammar())
    return Snapshot("file:///a.md", 7, parsed, language), marked.index(CURSOR)


def seen(language_id: str, marked: str) -> tuple[str, str]:
    """Name of the language at the cursor, and its text with the cursor in it."""
    outer, offset = at_cursor(language_id, marked)
    found, start = inner(outer, offset)
    assert outer.text[start : start + len(found.text)] == found.text
    assert 0 <= offset - start <= len(found.text)
    assert (found.uri, found.version) == (outer.uri, outer.version)
    if found is outer:
        assert start == 0
        return "outer", ""
    at = offset - start
    return found.language.name, found.text[:at] + CURSOR + found.text[at:]


@pytest.mark.parametrize(
    ("marked", "name", "text"),
    [
        ("a\n\n```python\nx = ‸\n```\nb\n", "python", "x = ‸\n"),
        ('```python title="x"\n‸\n```\n', "python", "‸\n"),
        ("```PY\nx‸\n```\n", "python", "x‸\n"),
        ("``` rust,ignore\nf(‸)\n```\n", "rust", "f(‸)\n"),
        ("```{.ruby .numberLines}\nx‸\n```\n", "ruby", "x‸\n"),
        ("```{python}\nx‸\n```\n", "python", "x‸\n"),
        ("```js{1,3}\nx‸\n```\n", "javascript", "x‸\n"),
        ("```c++\nx‸;\n```\n", "c++", "x‸;\n"),
        ("~~~ sh `x`\na ‸\n```\n~~~\n", "bash", "a ‸\n```\n"),
        ("````md\n```js\na‸\n```\n````\n", "javascript", "a‸\n"),
        ("````md\nb ‸\n```js\na\n```\n````\n", "markdown", "b ‸\n```js\na\n```\n"),
        ("```python\r\nx = ‸\r\n```\r\n", "python", "x = ‸\r\n"),
        ("# 漢😀\n\n```go\nvar 漢 = ‸\n```\n", "go", "var 漢 = ‸\n"),
        ("- a\n\n  ```js\n  f(‸);\n  ```\n", "javascript", "  f(‸);\n  "[:-2]),
        ("1. ```js\n   f(‸);\n   ```\n", "javascript", "   f(‸);\n"),
        ("- a\n  - b\n\n    ```py\n    x = ‸\n    ```\n", "python", "    x = ‸\n"),
        ("- ```js\n  f(‸\nout of the list\n```\n", "javascript", "  f(‸\n"),
        ("---\na: ‸\n---\n# T\n", "yaml", "a: ‸\n"),
        ("+++\na = ‸\n+++\n# T\n", "toml", "a = ‸\n"),
        ("```html\n<script>\nf(‸)\n</script>\n```\n", "javascript", "\nf(‸)\n"),
        # Not ended yet: up to the next blank line, or to the next fence.
        ("```python\nx = ‸\n\nSome words.\n", "python", "x = ‸\n"),
        ("```python\n‸", "python", "‸"),
        ("```python\ndef f():\n\n    ‸", "python", "def f():\n\n    ‸"),
        ("```python\nx = ‸\n```js\na\n```\n", "python", "x = ‸\n"),
        ("```python\nx\n```js\na‸\n```\n", "javascript", "a‸\n"),
        ("```python\nx = 1\n``‸\n", "python", "x = 1\n``‸\n"),
    ],
)
def test_in_markdown(marked: str, name: str, text: str) -> None:
    assert seen("markdown", marked) == (name, text)


@pytest.mark.parametrize(
    "marked",
    [
        "‸",
        "‸```python\nx\n```\n",
        "```pyt‸hon\nx\n```\n",
        "```python\nx\n‸```\n",
        "```python\nx\n```‸\n",
        "```python\nx\n```\n‸",
        "```python\n```\n‸\n",
        "```\n‸\n```\n",
        "```cobol\n‸\n```\n",
        "```mermaid\n‸\n",
        "``` a`b`\n‸\n```\n",
        "words\n\n    ```python\n    ‸\n    ```\n",
        "> ```python\n> ‸\n> ```\n",
        "- ```python\n  x\n\nout of the list ‸\n",
        "---\na: ‸\n",
        "# T\n---\na: ‸\n---\n",
        "---\na: 1\n---\n‸\n",
    ],
)
def test_not_in_markdown(marked: str) -> None:
    assert seen("markdown", marked)[0] == "outer"


@pytest.mark.parametrize(
    ("marked", "name", "text"),
    [
        ("<script>f(‸)</script>", "javascript", "f(‸)"),
        ("<script>‸</script>", "javascript", "‸"),
        ("<SCRIPT type=module src='a>b'>\n‸\n</Script>", "javascript", "\n‸\n"),
        ('<script lang="ts">let a: ‸</script>', "typescript", "let a: ‸"),
        ("<script type='application/ld+json'>{‸}</script>", "json", "{‸}"),
        ("<script>a</script>\n<style>a { ‸ }</style>", "css", "a { ‸ }"),
        ('<style media="print">a { ‸ }</style>', "css", "a { ‸ }"),
        ("<!-- <script> -->\n<style>‸</style>", "css", "‸"),
        ("<script>\r\nif (a < b) {‸}\r\n</script>\r\n", "javascript", "\r\nif (a < b) {‸}\r\n"),
        # Not ended yet.
        ("<head><script>\nf(‸\n</head>\n<body>\n", "javascript", "\nf(‸\n"),
        ("<style>\na {‸\n\n<p>b</p>", "css", "\na {‸\n"),
        ("<script>\nf(‸", "javascript", "\nf(‸"),
    ],
)
def test_in_html(marked: str, name: str, text: str) -> None:
    assert seen("html", marked) == (name, text)


@pytest.mark.parametrize(
    "marked",
    [
        "<p>‸</p>",
        "<script ‸>f()</script>",
        "<script>f()</‸script>",
        "<script>f()</script>‸",
        "<script type='text/template'><p>‸</p></script>",
        "<style lang='scss'>‸</style>",
        "<!-- <script> ‸ </script> -->",
        "<scripts>‸</scripts>",
        "<script src='a‸",
    ],
)
def test_not_in_html(marked: str) -> None:
    assert seen("html", marked)[0] == "outer"


def test_other_languages_hold_none() -> None:
    assert seen("python", 's = """\n```js\n‸\n```\n"""\n')[0] == "outer"


def test_a_fence_is_filled_and_judged_in_its_language() -> None:
    outer, offset = at_cursor("markdown", "It's a\n\n```python\ndef f(a):\n    ‸\n```\n\nText.\n")
    found, start = inner(outer, offset)
    hole = find_hole(found, offset - start)
    assert hole == Hole(offset - start, HoleKind.BLOCK)
    assert isinstance(hole, Hole)
    assert check(found, hole, "return a\n    b = (1,)")[1].accepted
    assert not check(found, hole, "return (a")[1].accepted
    # To Markdown itself, all of it is text.
    plain = find_hole(outer, offset)
    assert isinstance(plain, Hole)
    assert check(outer, plain, "return (a")[1].accepted


def test_a_fence_in_a_list_parses_with_its_indentation() -> None:
    marked = "- a\n\n  ```python\n  def f():\n      return 1\n\n  x = f(‸)\n  ```\n"
    outer, offset = at_cursor("markdown", marked)
    found, _ = inner(outer, offset)
    assert found.language.name == "python"
    assert count_errors(found.parsed) == 0


def test_a_long_document_takes_one_pass() -> None:
    unit = "Some words, and some more of them.\n\n- a\n\n  ```js\n  f(1);\n  ```\n\n"
    outer, offset = at_cursor("markdown", unit * 10_000 + "```python\nx = ‸\n```\n" + unit * 100)
    found, _ = inner(outer, offset)
    assert found.text == "x = \n"


PIECES = ["```", "```py", "~~~", "\n", "\r\n", "  ", "    ", "- ", "> ", "x", "`", "---\n", "漢😀"]
PIECES += ["<script>", "</script>", "<style>", "</style", "<!--", "-->", "'", '"', "<", ">"]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["markdown", "html"]),
    st.lists(st.sampled_from(PIECES), max_size=30),
    st.integers(0, 100),
)
def test_any_text_at_any_place(language: str, pieces: list[str], share: int) -> None:
    text = "".join(pieces)
    at = len(text) * share // 100
    seen(language, text[:at] + CURSOR + text[at:])

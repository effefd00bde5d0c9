"""Marked holes: which underscores and comments count, and what their texts stand between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.infill.marks import MOST_HOLES, Mark, Marked, find_marked
from tests.lsp.holes import snapshot


def found(text: str, language: str = "python") -> list[tuple[str, str]]:
    """What is replaced, and what it becomes when ``█`` is put in."""
    return [
        (text[each.start : each.end], f"{each.lead}█{each.tail}")
        for each in find_marked(snapshot(text, language))
    ]


@pytest.mark.parametrize(
    ("text", "language", "blanks"),
    [
        ("x = ___\n", "python", 1),
        ("x = __\n", "python", 0),
        ("___x = x___ + __init__\n", "python", 0),
        ("def f(a, ____):\n\treturn ___\n", "python", 2),
        ("x = '___'  # ___\n'''\n___\n'''\n", "python", 0),
        ("x = f'{___} ___'\n", "python", 1),
        ("const s = `a ${___} ___`;\n", "javascript", 1),
        ("数 = ___  # 🦜 ___\r\n", "python", 1),
        ('{"a": ___, "b": "___"}', "json", 1),
        ("# Head\n\n___\n\nName: ___\n", "markdown", 1),
        ("```python\nx = ___  # ___\n```\n", "markdown", 1),
        ("<p>___</p><script>let x = ___; // ___\n</script>", "html", 2),
        ("any text ___ there\n", "no-such-language", 1),
        ("", "python", 0),
        ("___", "python", 1),
        ("for ___ in (((___\n", "python", 2),
    ],
)
def test_blanks(text: str, language: str, blanks: int) -> None:
    marked = find_marked(snapshot(text, language))
    assert [each.mark for each in marked] == [Mark.BLANK] * blanks
    assert all(set(text[each.start : each.end]) == {"_"} for each in marked)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("language", "text", "holes"),
    [
        ("python", "def f():\n    # TODO: add\n    pass\n", [("pass", "█")]),
        ("python", "def f():\n    # todo(me): add\n    # all\n\n    ...\n", [("...", "█")]),
        (
            "python",
            "# TODO: sum\ndef f(\n    a,\n) -> int:\n    raise NotImplementedError('x')\n",
            [("raise NotImplementedError('x')", "█")],
        ),
        ("python", "class A:\n  # TODO: x\n  def f(self): ...\n", [(" ...", "\n    █")]),
        ("python", "def f():\n    # TODO: add\n\nx = 1\n", [("", "\n    █")]),
        ("python", "x = 1\n# TODO: read the file", [("", "\n█")]),
        ("python", "# TODO: later\nx = 1\n", []),
        ("python", "# TODO: later\ndef f():\n    pass\n    return 1\n", []),
        ("python", "# TODO later\npass\n", []),
        ("python", "x = 1  # TODO: no\npass\n", []),
        ("python", "'''\n# TODO: no\npass\n'''\n", []),
        ("python", "# TODO: any\n___\n", [("___", "█")]),
        ("javascript", "// TODO: add\nfunction f(a) {}\n", [("", "\n    █\n")]),
        ("javascript", "  // TODO: add\n  f() { }\n", [(" ", "\n      █\n  ")]),
        ("javascript", "// TODO: add\nfunction f(a) {\n}\n", [("\n", "\n    █\n")]),
        ("javascript", "function f() {\n\t/* TODO: x */\n}\n", [("", "\n\t█")]),
        (
            "java",
            "class A {\n  // TODO: x\n  int f() { throw new NotImplementedException(); }\n}\n",
            [(" throw new NotImplementedException(); ", "\n    █\n  ")],
        ),
        ("rust", "fn f() {\n    // TODO: add\n    todo!()\n}\n", [("todo!()", "█")]),
        (
            "go",
            '// TODO: add\nfunc f() {\n\tpanic("not implemented")\n}\n',
            [('panic("not implemented")', "█")],
        ),
        ("lua", "function f()\n  -- TODO: add\nend\n", [("", "\n  █")]),
        ("html", "<div>\n  <!-- TODO: a list -->\n</div>\n", [("", "\n  █")]),
    ],
)
def test_todos(language: str, text: str, holes: list[tuple[str, str]], newline: str) -> None:
    def turned(part: str) -> str:
        return part.replace("\n", newline)

    assert found(turned(text), language) == [
        (turned(what), turned(becomes)) for what, becomes in holes
    ]


def test_only_what_a_range_touches() -> None:
    text = "a = ___\nb = ___\nc = ___\n"
    snap = snapshot(text)
    assert [each.start for each in find_marked(snap, 8, 15)] == [12]
    assert [each.start for each in find_marked(snap, 7, 12)] == [4, 12]
    assert find_marked(snap, 16, 18) == ()


def test_a_form_is_cut_off() -> None:
    assert len(find_marked(snapshot("x = ___\n" * 500))) == MOST_HOLES


LINES = st.lists(
    st.sampled_from(
        [
            "x = ___",
            "# TODO: a",
            "pass",
            "",
            "def f():",
            "    # TODO: b",
            "    ...",
            "'''",
            "🦜",
            "{}",
        ]
    ),
    max_size=12,
)


@given(LINES, st.sampled_from(["python", "javascript", "markdown", "lua"]))
def test_holes_are_in_order_and_apart(lines: list[str], language: str) -> None:
    text = "\n".join(lines)
    marked = find_marked(snapshot(text, language))
    ends = [0, *(each.end for each in marked)]
    assert all(end <= each.start <= each.end for end, each in zip(ends, marked, strict=False))
    assert all(each.end <= len(text) for each in marked)
    assert len({(each.start, each.end) for each in marked}) == len(marked)
    assert all(isinstance(each, Marked) for each in marked)

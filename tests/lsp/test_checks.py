"""The checks that need no tree: what each finds, and what it lets pass."""

from __future__ import annotations

import pytest

from dgemma_lsp.infill.judging import checks
from dgemma_lsp.infill.trim import Site, site_of
from dgemma_lsp.infill.types import RejectReason
from tests.lsp.holes import hole_at


def site(marked: str, language: str = "python") -> Site:
    return site_of(*hole_at(marked, language))


def test_blank() -> None:
    assert checks.blank(" \n\t")
    assert checks.blank("")
    assert checks.blank(" a") == ()


@pytest.mark.parametrize(
    ("marked", "text", "found"),
    [
        ("alpha = 1\nbravo = 2\n█\n", "alpha = 1\nbravo = 2", True),
        ("alpha = 1\nbravo = 2\n█\n", "alpha = 1\nbravo = 2\nother = 3", True),
        ("alpha = 1\nbravo = 2\n█\n", "bravo = 2\nother = 3", False),
        ("█\nalpha = 1\nbravo = 2\n", "alpha = 1\nbravo = 2", True),
        ("alpha = 1\nbravo = 2\n█\n", "alpha = 1\nbravo = 3", False),
        ("f(\n)\n█\n", "f(\n)", False),
        ("  }\n}\n█", "  }\n}", False),
    ],
)
def test_several_lines_said_again(marked: str, text: str, found: bool) -> None:
    assert bool(checks.repeats_lines(text, site(marked))) == found


def test_the_line_said_again() -> None:
    assert checks.repeats_line("alpha = 1", site("alpha = 1\n█\n"))
    assert checks.repeats_line("alpha = 1", site("█\nalpha = 1\n"))
    assert checks.repeats_line("})", site("})\n█\n", "javascript")) == ()
    assert checks.repeats_line("endif", site("#endif\n#█\n", "generic")) == ()


def test_the_same_line_running() -> None:
    text = "a()\nprint(a)\nprint(a)\nprint(a)\nprint(a)"
    (fault,) = checks.repeats_itself(text, site("█"))
    assert text[fault.start : fault.end] == "print(a)"
    assert fault.start == text.index("print(a)", 20)
    assert checks.repeats_itself("print(a)\nb()\nprint(a)\nc()\nprint(a)", site("█")) == ()
    assert checks.repeats_itself("}\n}\n}\n}", site("█")) == ()
    data = site("rows = [\n  None,\n  None,\n  █\n]\n")
    assert checks.repeats_itself("None,\n  None,\n  None,", data) == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("self.self.self.self.", True),
        ("foo(foo(foo(foo(", True),
        ("a = not not not not b", True),
        ("the same the same the same the same", True),
        ("x, x, x, x, x, x, x, x, x, x, x, x, x", True),
        ("self.self.name", False),
        ("}}}}", False),
        ("))))))", False),
        ("0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0", False),
        ("int, int, int, int, int", False),
        ("'%s %s %s %s %s'", False),
        ("'\\t\\t\\t\\t\\t'", False),
        ("../../../../a", False),
        ("a[i][i][i]", False),
        ("------------", False),
    ],
)
def test_the_same_tokens_running(text: str, found: bool) -> None:
    assert bool(checks.stutters(text, site("█"))) == found


def test_a_document_that_stutters_may_go_on() -> None:
    around = site("x = very very very very long\ny = █\n")
    assert checks.stutters("very very very very short", around) == ()


@pytest.mark.parametrize(
    ("marked", "text", "found"),
    [
        ("name = 1\nf(█name)\n", "other", True),
        ("name = 1\nf(█name)\n", "other, ", False),
        ("name = 1\nmy_name = 2\nf(█name)\n", "my_", False),
        ("f(█name)\n", "other", False),
        ("ute = 1\ncomp█ute(1)\n", "l", False),
        ("f(█1)\nx = 1\n", "2", False),
        ("f(█)\n", "other", False),
    ],
)
def test_names_that_grow_together(marked: str, text: str, found: bool) -> None:
    assert bool(checks.runs_into_word(text, site(marked))) == found


def test_closers_said_again() -> None:
    (fault,) = checks.says_closers_again("a))", site("f(g(█)\n"))
    assert fault.reason is RejectReason.REPEATS_SUFFIX
    assert (fault.start, fault.end) == (2, 3)
    assert checks.says_closers_again("a", site("f(█)\n")) == ()
    assert checks.says_closers_again("a)", site("f(█]\n")) == ()
    assert checks.says_closers_again("a) + b", site("f(█)\n")) == ()


def test_tabs_among_spaces() -> None:
    spaces = site("def f():\n    a = 1\n    █\n")
    (fault,) = checks.mixes_tabs("b = 2\n\tc = 3", spaces)
    assert (fault.start, fault.end) == (6, 7)
    assert checks.mixes_tabs("b = 2\n    c = 3", spaces) == ()
    tabs = site("func f() {\n\ta()\n\t█\n}\n", "go")
    assert checks.mixes_tabs("b()\n    c()", tabs)
    assert checks.mixes_tabs("b()\n\tc(x,\n\t  y)", tabs) == ()
    assert checks.mixes_tabs("b()\n\tc()", site("/**\n * text\n */\n█", "javascript")) == ()

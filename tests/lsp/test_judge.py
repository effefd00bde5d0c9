from __future__ import annotations

import pytest

from dgemma_lsp.infill.judging.checks_tree import Placed, leaves_string, opens_string, wrong_indent
from dgemma_lsp.infill.judging.judge import judge, judge_edit, main_reason
from dgemma_lsp.infill.types import Fault, FaultPlace, Hole, HoleKind, RejectReason, Snapshot
from dgemma_lsp.languages import by_id
from dgemma_lsp.syntax.errors import Splice, SyntaxFault, added_faults
from dgemma_lsp.syntax.tree import LONG_CHARS, ParsedText
from tests.lsp.holes import at_cursor, hole_at, snapshot


def faults(marked: str, text: str, language: str = "python") -> tuple[Fault, ...]:
    return judge(*hole_at(marked, language), text).faults


def reasons(marked: str, text: str, language: str = "python") -> set[str]:
    return {str(fault.reason) for fault in faults(marked, text, language)}


# -- which errors are new -----------------------------------------------------------------------


def added(before: list[tuple[int, int]], after: list[tuple[int, int]], *, length: int) -> list[int]:
    """Starts of the faults that are new after ``length`` characters came in at 10 on 8 to 20."""
    splice = Splice(10, 10, length, 8, 20)
    old, new = ([SyntaxFault(*pair) for pair in part] for part in (before, after))
    return [fault.start for fault in added_faults(old, new, splice)]


def test_an_error_that_only_moved_is_an_old_one() -> None:
    assert added([(2, 4), (30, 31)], [(2, 4), (35, 36)], length=5) == []


def test_an_error_that_came_to_the_text_is_new_though_another_went() -> None:
    assert added([(30, 31)], [(11, 12)], length=5) == [11]


def test_an_error_on_the_line_of_the_hole_stands_for_one_in_the_text() -> None:
    assert added([(8, 9)], [(14, 15)], length=5) == []


def test_an_error_that_grew_over_the_text_is_an_old_one() -> None:
    assert added([(2, 6)], [(2, 14)], length=5) == []


def test_errors_that_recovery_moved_elsewhere_count_only_when_they_are_more() -> None:
    assert added([(50, 51)], [(70, 71)], length=5) == []
    assert added([(50, 51)], [(55, 56), (70, 71)], length=5) == [70]
    assert added([], [(70, 71)], length=5) == [70]


def test_a_broken_file_elsewhere_still_gets_help() -> None:
    broken = "def f(a):\n    return = 1\n\ndef g(a):\n    return a█\n"
    assert faults(broken, " + 1") == ()
    (fault,) = faults(broken, " + (1")
    assert fault.reason is RejectReason.ADDS_SYNTAX_ERROR


# -- where they are -----------------------------------------------------------------------------


def test_a_missing_delimiter_is_named_in_its_place() -> None:
    found = judge(*hole_at("const a = █;\nb();\n", "javascript"), "g(1")
    assert [(f.missing, f.start, f.end, f.place) for f in found.faults] == [(")", 3, 3, "inside")]


def test_a_fault_inside_is_a_range_of_the_text() -> None:
    (fault,) = faults("漢 = █\nb = 1\n", "[1, 2 3 )]")
    assert fault.place is FaultPlace.INSIDE
    assert 0 < fault.start < fault.end <= len("[1, 2 3 )]")


def test_a_fault_behind_the_text_is_clipped_to_its_end() -> None:
    found = faults("if (a) {\n  █\n}\nb();\n", "}", "javascript")
    assert found
    assert all(0 <= fault.start <= fault.end <= 1 for fault in found)
    assert FaultPlace.AFTER in {fault.place for fault in found}


def test_an_empty_body_is_a_fault_of_the_opener() -> None:
    (fault,) = faults("def f(a):\n    █\n    return a\n", "if a:")
    assert fault.message == "The body is empty."
    assert fault.start == fault.end == len("if a:")


def test_without_a_grammar_brackets_and_quotes_are_placed_too() -> None:
    fault = faults("f(█)\n", "a]", "generic")[0]
    assert (fault.start, fault.end, fault.place) == (1, 2, "inside")
    assert reasons("x = █\n", "'a", "generic") == {"adds_syntax_error"}
    assert faults("x = (█)\n", "a, (b)", "generic") == ()


def test_the_counts_and_the_parser_are_told() -> None:
    found = judge(*hole_at("if █:\n    pass\n"), "a")
    assert (found.errors_before, found.errors_after, found.parser) == (1, 0, "python")
    assert found.complete
    assert judge(*hole_at("x█", "generic"), "a").parser is None


def test_faults_come_in_order_of_place_and_the_most_telling_names_the_verdict() -> None:
    found = faults("function f() {\n  g(█);\n}\n", "a, [b", "javascript")
    assert list(found) == sorted(found, key=lambda fault: fault.start)
    assert main_reason(()) is None
    later = Fault(RejectReason.ADDS_SYNTAX_ERROR, 5, 6)
    assert main_reason((Fault(RejectReason.OPEN_STRING, 0, 6), later)) is later.reason


# -- edits --------------------------------------------------------------------------------------


def edit(text: str, old: str, new: str, language: str = "python") -> tuple[Fault, ...]:
    snap = snapshot(text, language)
    start = text.index(old)
    return judge_edit(snap, start, start + len(old), new).faults


def test_an_edit_may_keep_an_error_but_add_none() -> None:
    text = "def f(a):\n    return = a\n\nb = 1\n"
    assert edit(text, "return = a", "return = a + 1") == ()
    assert edit(text, "return = a", "return a") == ()
    assert edit(text, "b = 1", "b = (1") != ()


def test_an_edit_may_not_leave_a_body_empty() -> None:
    assert edit("if a:\n    b()\nc = 1\n", "    b()\n", "")


def test_an_edit_far_into_a_long_document() -> None:
    text = "def f(a):\n    return [a]\n\n" * 4_000
    snap = snapshot(text)
    start = text.index("return", len(text) // 2)
    end = text.index("return", start + 3_000)
    assert judge_edit(snap, start, end, text[start:end]).faults == ()
    (fault,) = judge_edit(snap, start, end, "return (a\n\ndef g():\n    ").faults[:1]
    assert fault.reason is RejectReason.ADDS_SYNTAX_ERROR


# -- checks with a tree -------------------------------------------------------------------------


def placed(marked: str, text: str, language: str = "python") -> Placed:
    snap, offset = at_cursor(marked, language)
    after = snap.parsed.edited(offset, offset, text)
    return Placed(snap.parsed, after, offset, offset, offset + len(text), snap.language)


@pytest.mark.parametrize(
    ("marked", "text", "wrong"),
    [
        ("def f():\n    a = 1\n    █\n", "b = 2\n    c = 3", False),
        ("def f():\n    a = 1\n    █\n", "b = 2\n  c = 3", True),
        ("def f():\n    a = 1\n    █\n", "if b:\n        c = 3\n    d = 4", False),
        ("def f():\n    a = 1\n    █\n", "if b:\n        c = 3\n      d = 4", True),
        ("def f():\n    a = 1\n    █\n", "g(\n  b,\n      c)", False),
        ("def f():\n    a = 1\n    █\n", "'''x\n  y'''\n    b = 1", False),
        ("def f():\n    a = 1\n    █\n", "# note\n    b = 1", False),
        ("def f():\n█    a = 1\n", "  b = 2\n", True),
        ("a = 1\n█", "b = 2; c = 3\nd = 4", False),
        ("class A:\n\tdef f(self):\n\t\t█\n", "a = 1\n\t\tb = 2", False),
    ],
)
def test_statements_of_a_block_stand_below_each_other(marked: str, text: str, wrong: bool) -> None:
    found = wrong_indent(placed(marked, text))
    assert bool(found) == wrong
    assert all(fault.reason is RejectReason.WRONG_INDENT for fault in found)


def test_a_string_that_takes_in_the_next_lines() -> None:
    marked = 'a = █\nb = """text"""\nc = """text"""\n'
    (fault,) = opens_string(placed(marked, '1 + """b'))
    assert (fault.start, fault.end) == (4, 8)
    assert opens_string(placed(marked, '"""b"""')) == ()
    assert opens_string(placed("f(█\n", "'a', 'b')")) == ()
    assert opens_string(placed("f(█ world')\n", "'hello")) == ()


def test_a_comment_that_takes_in_code() -> None:
    (fault,) = opens_string(placed("f(█, b)\n", "a  # what", "python"))
    assert fault.reason is RejectReason.OPEN_STRING
    assert opens_string(placed("f(a) █\n", "# what", "python")) == ()
    assert opens_string(placed("x = 1  # █ more\n", "and # more", "python")) == ()
    marked = "f(█);\n/* a */\ng();\n"
    assert opens_string(placed(marked, "a /* b", "javascript"))
    assert opens_string(placed(marked, "a /* b */", "javascript")) == ()


def test_code_where_a_string_goes_on() -> None:
    assert leaves_string(placed("# a █ b\n", "\nx = 1\n"))
    assert leaves_string(placed("# a █ b\n", "and c")) == ()
    assert leaves_string(placed("x = 'a █ b'\n", "' + y + '")) == ()
    assert leaves_string(placed("x = 'a █'\n", "b")) == ()


# -- long documents, parsed apart ---------------------------------------------------------------

UNIT = "def f{0}(a):\n    return [a, {0}]\n\n"
LONG = "".join(UNIT.format(at) for at in range(LONG_CHARS // 20))


def long_text() -> ParsedText:
    return ParsedText(LONG, by_id("python").usable_grammar())


def judged(parsed: ParsedText, text: str) -> tuple[Fault, ...]:
    snap = Snapshot("file:///a", 1, parsed, by_id("python"))
    at = parsed.text.index("[a, ", len(parsed.text) // 2) + 1
    return judge(snap, Hole(at, HoleKind.MID_LINE), text).faults


def test_a_long_document_is_judged_while_it_is_parsed() -> None:
    parsed = long_text()
    assert parsed.wants_parse
    work = parsed.parse_later(lambda: None)
    assert not parsed.wants_parse
    assert parsed.rough_tree is None
    assert judged(parsed, "b, ") == ()
    assert judged(parsed, "(b, ")
    typed = parsed.edited(0, 0, "x = 1\n")
    assert typed.rough_tree is None
    assert judged(typed, "(b, ")
    work()
    assert not typed.wants_parse
    for text in (parsed, typed, typed.edited(0, 0, "y = 2\n")):
        tree = text.rough_tree
        assert tree is not None
        assert tree.root_node.end_byte == len(text.text)
        assert judged(text, "b, ") == ()
        assert judged(text, "(b, ")
    assert parsed.tree is parsed.rough_tree


def test_a_stale_tree_serves_until_the_new_one_is_there() -> None:
    parsed = long_text()
    parsed.parse_later(lambda: None)()
    assert not parsed.wants_parse
    for at in range(1_100):
        parsed = parsed.edited(at, at, "#")
        if at % 100 == 0:
            assert parsed.rough_tree is not None
    assert parsed.wants_parse
    work = parsed.parse_later(lambda: None)
    stale = parsed.rough_tree
    assert stale is not None
    later = parsed.edited(0, 0, "#")
    assert not later.wants_parse
    assert later.rough_tree is not None
    work()
    fresh = ParsedText(later.text, later.grammar).tree
    assert fresh is not None
    assert later.tree is not None
    assert str(later.tree.root_node) == str(fresh.root_node)


def test_a_parse_that_is_ended_leaves_no_tree() -> None:
    parsed = long_text()
    assert not parsed.parse_while(lambda: False)
    assert parsed.parse_while(lambda: True)
    assert parsed.tree is not None


def test_typing_on_keeps_the_excerpt() -> None:
    parsed = long_text()
    at = parsed.text.index("[a, ", len(LONG) // 2) + 1
    for _ in range(300):
        parsed = parsed.edited(at, at, "漢, ")
        at += 3
        excerpt = parsed.excerpt(at)
        assert excerpt.parsed.text[: excerpt.offset].endswith(parsed.text[at - 50 : at])
        assert excerpt.parsed.text[excerpt.offset :].startswith(parsed.text[at : at + 50])


# -- a hole that is at fault itself, and a place where the parser is lost -------------------------


def test_an_ended_statement_is_what_a_text_is_measured_by() -> None:
    marked = "class A {\n  int f(int a) {\n    int x = █\n    return x;\n  }\n}\n"
    assert faults(marked, "Math.max(a, 1);", "java") == ()
    assert reasons(marked, "Math.max(a, 1;", "java") == {"adds_syntax_error"}


LOST = "function broken(a: {\n\nconst x = g(█);\n"


@pytest.mark.parametrize("text", ["1", "a as any", '"("', "(a), [b]"])
def test_a_sound_text_is_let_through_where_the_parser_is_lost(text: str) -> None:
    assert faults(LOST, text, "typescript") == ()


@pytest.mark.parametrize("text", ["a, (b", "[a", "f(a, {b)"])
def test_an_unmatched_bracket_is_found_where_the_parser_is_lost(text: str) -> None:
    found = faults(LOST, text, "typescript")
    assert found
    assert {fault.reason for fault in found} == {RejectReason.ADDS_SYNTAX_ERROR}


def test_a_text_that_makes_the_parser_lose_its_way_is_not_forgiven() -> None:
    marked = "const a = f({\n  b,\n  █\n  c,\n});\n"
    assert faults(marked, "'d'", "javascript")
    assert faults(marked, "d,", "javascript") == ()


def test_an_end_tag_too_many_is_a_fault_and_one_that_was_there_is_not() -> None:
    (fault,) = faults("<p>█</p>\n", "a</b>", "html")
    assert (fault.start, fault.end, fault.place) == (1, 5, FaultPlace.INSIDE)
    assert faults("<i></u></i>\n<p>█</p>\n", "a", "html") == ()
    assert faults("<i></u></i>\n<p>█</p>\n", "a</b>", "html")


def test_the_bracket_that_does_not_match_is_told_where_the_parser_is_lost() -> None:
    (fault,) = faults("def broken(:\n\nx = g(█)\n", "a, (b")
    assert (fault.start, fault.end, fault.place) == (3, 4, FaultPlace.INSIDE)

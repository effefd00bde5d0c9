from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.infill.hunks import (
    Change,
    Hunk,
    TokenRange,
    applied,
    clipped,
    diff,
    find_lines,
    lines_of,
    place_of,
)

OLD = "a\nb\nc\nd\n"


def made(old: str, *changes: Change, newline: str = "\n") -> list[tuple[int, str, str]]:
    return [(hunk.start, hunk.old, hunk.new) for hunk in diff(old, changes, newline)]


@pytest.mark.parametrize(
    ("old", "start", "end", "text", "expected"),
    [
        (OLD, 0, 7, "a\nb\nc\nd", []),
        (OLD, 0, 7, "a\nx\nc\nd", [(2, "b\n", "x\n")]),
        (OLD, 0, 7, "x\nb\nc\ny", [(0, "a\n", "x\n"), (6, "d\n", "y\n")]),
        (OLD, 0, 7, "a\nb\nnew\nc\nd", [(4, "", "new\n")]),
        (OLD, 0, 7, "a\nd", [(2, "b\nc\n", "")]),
        (OLD, 2, 5, "", [(2, "b\nc\n", "")]),
        (OLD, 6, 7, "d\ne", [(8, "", "e\n")]),
        ("a\nb", 0, 3, "a\nc", [(2, "b", "c")]),
        # A last line without a line break gets one when lines follow it, and loses it with them.
        ("a\nb", 0, 3, "a\nb\nc", [(2, "b", "b\nc")]),
        ("a\nb", 0, 3, "a", [(0, "a\nb", "a")]),
        ("", 0, 0, "a", [(0, "", "a")]),
    ],
)
def test_hunks_are_whole_lines(
    old: str, start: int, end: int, text: str, expected: list[tuple[int, str, str]]
) -> None:
    assert made(old, Change(start, end, text)) == expected


def test_hunks_that_touch_are_one_and_numbered_in_order() -> None:
    tokens = (TokenRange(0, 1, 0.5),)
    changes = (Change(0, 1, "x", tokens), Change(2, 3, "y", tokens), Change(6, 7, "z", tokens))
    first, second = diff(OLD, changes, "\n")
    assert (first.id, first.old, first.new) == (1, "a\nb\n", "x\ny\n")
    assert first.tokens == (TokenRange(0, 1, 0.5), TokenRange(2, 3, 0.5))
    assert (second.id, second.start, second.tokens) == (2, 6, tokens)


def test_lines_that_only_end_otherwise_keep_their_bytes() -> None:
    old = "a\r\nb\nc\r\nd\r\n"
    assert made(old, Change(0, 9, "a\r\nb\r\nx\r\nd"), newline="\r\n") == [(5, "c\r\n", "x\r\n")]


def test_tokens_follow_their_lines() -> None:
    tokens = tuple(TokenRange(at, at + 2, at / 10) for at in range(0, 8, 2))
    (hunk,) = diff("aa\nbb\ncc\n", [Change(0, 8, "aa\nxx\ncc", tokens)], "\n")
    assert hunk.new == "xx\n"
    assert hunk.tokens == (TokenRange(0, 1, 0.2), TokenRange(1, 3, 0.4))
    assert clipped(tokens, 3, 3) == ()


TEXTS = st.lists(st.sampled_from(["a", "b", " ", "", "漢🦜", "}"]), max_size=8)
BREAKS = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def changed_texts(draw: st.DrawFn) -> tuple[str, list[Change], str]:
    newline = draw(BREAKS)
    lines = draw(TEXTS)
    # A lone carriage return before a line feed would be one line break with it.
    other = "\r" if newline == "\r" else "\n"
    old = "".join(line + draw(st.sampled_from([newline, newline, other])) for line in lines)
    if draw(st.booleans()):
        old += "end"
    changes: list[Change] = []
    at = 0
    for line in lines_of(old):
        body = len(re.sub(r"[\r\n]+\Z", "", line))
        if draw(st.booleans()) and body:
            text = newline.join(draw(TEXTS))
            changes.append(Change(at, at + body, text if text.strip() else ""))
        at += len(line)
    return old, changes, newline


def unified(text: str) -> str:
    return re.sub(r"\r\n|\r|\n", "\n", text)


@given(changed_texts(), st.sets(st.integers(1, 8)))
def test_hunks_make_up_the_change_and_nothing_else(
    texts: tuple[str, list[Change], str], ids: set[int]
) -> None:
    old, changes, newline = texts
    hunks = diff(old, changes, newline)
    assert [hunk.id for hunk in hunks] == list(range(1, len(hunks) + 1))
    assert all(one.end < other.start for one, other in pairwise(hunks))
    assert all(hunk.old != hunk.new and old[hunk.start : hunk.end] == hunk.old for hunk in hunks)
    assert applied(old, hunks, ()) == old
    expected = old
    for change in reversed(changes):
        behind = re.match(r"\r\n|\r|\n", expected[change.end :])
        gone = behind is not None and not change.text
        end = change.end + (behind.end() if behind is not None and gone else 0)
        expected = expected[: change.start] + change.text + expected[end:]
    every = applied(old, hunks, {hunk.id for hunk in hunks})
    assert unified(every) == unified(expected)
    some = applied(old, hunks, ids)
    for hunk in hunks:
        at = place_of(hunk, hunks, ids)
        assert some[at:].startswith(hunk.new if hunk.id in ids else hunk.old)


# -- finding the lines again --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted", "near", "expected"),
    [
        ("a\nb\na\n", "a\n", 0, 0),
        ("a\nb\na\n", "a\n", 3, 4),
        ("a\nb\na\n", "a\n", 99, 4),
        ("a\nb\na\n", "a\n", -5, 0),
        ("xa\nb\n", "a\n", 1, None),
        ("a\nb\n", "a\nb", 0, 0),
        ("a\nbc\n", "a\nb", 0, None),
        ("\r\na\r\n", "a\r\n", 0, 2),
        ("\r\na\r\n", "\n", 0, None),
        ("x\r\n", "x\r", 0, None),
        ("", "a", 0, None),
        ("a", "", 0, None),
    ],
)
def test_lines_are_found_nearest_to_where_they_were(
    text: str, wanted: str, near: int, expected: int | None
) -> None:
    assert find_lines(text, wanted, near) == expected


@given(st.text("ab\n", max_size=30), st.text("ab\n", min_size=1, max_size=4), st.integers(-2, 32))
def test_no_nearer_place_is_missed(text: str, wanted: str, near: int) -> None:
    def whole(at: int) -> bool:
        end = at + len(wanted)
        starts = at == 0 or text[at - 1] == "\n"
        return starts and (end == len(text) or "\n" in (text[end - 1], text[end]))

    places = [at for at in range(len(text)) if text.startswith(wanted, at) and whole(at)]
    found = find_lines(text, wanted, near)
    if not places:
        assert found is None
    else:
        assert found in places
        assert abs(found - near) == min(abs(at - near) for at in places)


def test_hunks_know_where_they_end() -> None:
    assert Hunk(1, 3, "ab\n", "").end == 6

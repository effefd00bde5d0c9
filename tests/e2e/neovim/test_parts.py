"""The plugin's pure parts, called in a Neovim without a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.neovim import OLD, Neovim

pytestmark = pytest.mark.neovim

INIT = "vim.opt.runtimepath:prepend(vim.env.DGEMMA_PLUGIN); vim.g.dgemma_enabled = false"
LINES = st.lists(st.sampled_from(["", "a", "b", "  c", "價🦜", "a"]), max_size=8)
FAST = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neovim]:
    if not OLD.exists():
        why = "Neovim is missing: pip install -e '.[dev]' brings it"
        (pytest.fail if os.environ.get("DGEMMA_REQUIRE_ALL") == "1" else pytest.skip)(why)
    editor = Neovim(tmp_path_factory.mktemp("nvim"), {}, OLD, INIT)
    yield editor
    editor.close()


def call(editor: Neovim, function: str, *arguments: Any) -> Any:
    module, name = function.rsplit(".", 1)
    return editor.lua(f"return require('dgemma.{module}').{name}(...)", *arguments)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("total * rate", "total"),
        (" * rate", " *"),
        (" rate", " rate"),
        ("\n        count += 1", "\n        count"),
        ("):\n", "):"),
        ("   ", "   "),
        ("價格 * 2", "價格"),
        ("🦜' + x", "🦜"),
        ("\tx", "\tx"),
        ("a_b.c", "a_b"),
        ("", ""),
    ],
)
def test_next_word(bare: Neovim, text: str, word: str) -> None:
    assert call(bare, "words.word", text) == word


@pytest.mark.parametrize(
    ("text", "line"), [("a\nb", "a"), ("\nb\nc", "\nb"), ("a", "a"), ("\n\nb", "\n"), ("", "")]
)
def test_next_line(bare: Neovim, text: str, line: str) -> None:
    assert call(bare, "words.line", text) == line


@FAST
@given(text=st.text("ab \n\t價🦜(.", min_size=1, max_size=20))
def test_word_by_word_and_line_by_line_take_everything(bare: Neovim, text: str) -> None:
    for part in ("words.word", "words.line"):
        left = text
        while left:
            taken = call(bare, part, left)
            assert taken
            assert left.startswith(taken)
            left = left[len(taken) :]


@FAST
@given(
    before=st.text("a 價", max_size=4),
    typed=st.text("ab\n🦜", max_size=6),
    after=st.text("c)", max_size=4),
    other=st.text("ab", min_size=1, max_size=2),
)
def test_what_was_typed_at_an_anchor(
    bare: Neovim, before: str, typed: str, after: str, other: str
) -> None:
    anchor = {
        "buf": 1,
        "row": 3,
        "col": len(before.encode()),
        "before": before,
        "after": after,
        "count": 9,
        "tick": 1,
        "rows": 0,
        "foreign": False,
    }
    lines = (before + typed + after).split("\n")
    column = len((before + typed).rsplit("\n", 1)[-1].encode())
    count = 9 + typed.count("\n")
    assert call(bare, "words.typed", anchor, lines, count, column) == typed
    assert call(bare, "words.typed", anchor, lines, count + 1, column) is None
    assert call(bare, "words.typed", {**anchor, "foreign": True}, lines, count, column) is None
    changed = [*lines[:-1], lines[-1] + other]
    assert call(bare, "words.typed", anchor, changed, count, column) is None


@pytest.mark.parametrize(
    ("text", "typed", "rest"),
    [("abc", "ab", "c"), ("abc", "x", None), ("a", "a", ""), ("a", "", "a")],
)
def test_rest(bare: Neovim, text: str, typed: str, rest: str | None) -> None:
    assert call(bare, "words.rest", text, typed) == rest


def test_the_pause_follows_the_typing_within_bounds(bare: Neovim) -> None:
    delays = bare.lua(
        "local pace = require('dgemma.pace') local bounds = { min = 25, max = 300 } local made = {}"
        " for _, gap in ipairs({ 1, 100, 200, 2000 }) do local p, now = pace.new(), 0"
        "  for _ = 1, 60 do now = now + gap pace.key(p, now) end"
        "  made[#made + 1] = pace.delay(p, bounds) end return made"
    )
    # The last ones were pauses and no typing: what was assumed at first stays.
    assert delays == [25, 130, 260, 195]


@FAST
@given(old=LINES, new=LINES)
def test_all_hunks_make_the_new_text_and_none_the_old(
    bare: Neovim, old: list[str], new: list[str]
) -> None:
    hunks = call(bare, "hunks.between", old, new)
    assert call(bare, "hunks.apply", old, hunks) == new
    assert call(bare, "hunks.apply", old, []) == old
    assert (old == new) == (not hunks)
    touched = sum(hunk["count"] + len(hunk["lines"]) for hunk in hunks)
    assert touched <= len(old) + len(new)


@FAST
@given(
    lines=st.lists(st.text("ab價", max_size=3), min_size=1, max_size=5),
    text=st.text("xy\n", max_size=5),
    data=st.data(),
)
def test_changes_of_lines(bare: Neovim, lines: list[str], text: str, data: st.DataObject) -> None:
    whole = "\n".join(lines)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))

    def place(offset: int) -> tuple[int, int]:
        before = whole[:offset].split("\n")
        return len(before) - 1, len(before[-1].encode())

    (first, begin), (last, stop) = place(start), place(end)
    change = {"first": first, "from": begin, "last": last, "to": stop, "text": text}
    wanted = (whole[:start] + text + whole[end:]).split("\n")
    assert call(bare, "hunks.changed", lines, [change]) == wanted


def test_several_changes_and_carriage_returns(bare: Neovim) -> None:
    changes = [
        {"first": 0, "from": 0, "last": 1, "to": 0, "text": "x\r\ny\r\n"},
        {"first": 2, "from": 1, "last": 2, "to": 2, "text": "Z"},
        {"first": 3, "from": 0, "last": 3, "to": 0, "text": "end\n"},
    ]
    made = call(bare, "hunks.changed", ["a", "b", "cde"], changes)
    assert made == ["x", "y", "b", "cZe", "end"]


def test_arguments_of_an_instruction(bare: Neovim) -> None:
    instruction = "rename {a} to {b}, all of {a}"
    assert call(bare, "offers.arguments", instruction) == ["a", "b"]
    filled = call(bare, "offers.filled", instruction, {"a": "x%1", "b": "y"})
    assert filled == "rename x%1 to y, all of x%1"
    assert call(bare, "offers.matches", filled, {"instruction": instruction})
    assert not call(bare, "offers.matches", "rename x", {"instruction": instruction})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"dely": {}}, "unknown option `dely`"),
        ({"delay": {"min": "1"}}, "`delay` has the numbers"),
        ({"settings": True}, "`settings` must be a table, and is a boolean"),
    ],
)
def test_wrong_options_are_told_and_change_nothing(
    bare: Neovim, options: dict[str, Any], problem: str
) -> None:
    said = bare.lua(
        "local said = '' vim.notify = function(text) said = text end"
        " local made = require('dgemma.config').set(...) assert(made.delay.max == 300) return said",
        options,
    )
    assert problem in said


def test_nothing_is_loaded_before_it_is_used(bare: Neovim, tmp_path: Path) -> None:
    editor = Neovim(tmp_path, {}, OLD, INIT)
    try:
        loaded = editor.lua(
            "return vim.tbl_filter(function(n) return vim.startswith(n, 'dgemma') end,"
            " vim.tbl_keys(package.loaded))"
        )
        assert loaded == []
        assert editor.api.funcs.exists(":Dgemma") == 2
        assert editor.lua("return vim.fn.maparg('<Plug>(dgemma-accept)', 'i') ~= ''")
        ours = [
            each["lhs"]
            for mode in "nxi"
            for each in editor.api.api.get_keymap(mode)
            if each.get("desc", "").startswith("dgemma")
        ]
        assert len(ours) > 15
        assert all(lhs.startswith("<Plug>(dgemma-") for lhs in ours)
    finally:
        editor.close()

"""What the model was sure of, what became of its texts, and the pace, in a real Neovim."""

from __future__ import annotations

from typing import Any

import pytest
from support.neovim import Neovim

pytestmark = pytest.mark.neovim

DOUBT = "def doubt(alpha, beta, gamma):\n    return "
TEXT = "alpha + beta * gamma"
RECORD_NOTICES = """
vim.g.notices = {}
local client = require('dgemma.client').get(0)
if not client.noticed then
  client.noticed = true
  local notify = client.notify
  client.notify = function(self, method, params)
    if vim.startswith(method, 'dgemma/') then
      vim.g.notices = vim.list_extend(vim.g.notices, { { method, params } })
    end
    return notify(self, method, params)
  end
end
"""


def weak(nvim: Neovim) -> dict[str, str]:
    """Return the underlined texts and their groups."""
    found: dict[str, str] = {}
    lines = nvim.text().split("\n")
    for mark in nvim.marks("dgemma.confidence"):
        line = lines[mark["row"]].encode()
        found[line[mark["column"] : mark["end_col"]].decode()] = mark["hl_group"]
    return found


def accept(nvim: Neovim, keys: str = "A", after: str = "<Tab>") -> None:
    nvim.open(DOUBT + "│\n")
    nvim.type(keys)
    nvim.until(nvim.ghost, "a suggestion")
    nvim.type(after)
    nvim.until_text(DOUBT + TEXT)
    nvim.type("<Esc>")


def notices(nvim: Neovim) -> list[tuple[str, dict[str, Any]]]:
    return [(method.removeprefix("dgemma/"), params) for method, params in nvim.api.vars["notices"]]


def test_weak_tokens_are_underlined_in_three_levels(either: Neovim) -> None:
    accept(either)
    either.type(":Dgemma confidence<CR>")
    either.until(lambda: len(weak(either)) == 2, "the underlines")
    assert weak(either) == {"beta": "DgemmaWeak", "gamma": "DgemmaWeakest"}
    either.type('gg:execute "normal \\<Plug>(dgemma-weakest)"<CR>')
    either.until(lambda: either.cursor() == (2, 26), "the weakest")
    either.lua("require('dgemma').weakest()")
    either.until(lambda: either.cursor() == (2, 19), "the next one")
    either.type("ix<Esc>")
    either.until(lambda: weak(either) == {}, "no underlines after an edit")
    either.type(":Dgemma confidence<CR>")
    either.until_said("has been edited since")


def test_taking_them_away_by_the_command(nvim: Neovim) -> None:
    accept(nvim)
    nvim.type(":Dgemma confidence<CR>")
    nvim.until(lambda: len(weak(nvim)) == 2, "the underlines")
    nvim.type(":Dgemma confidence<CR>")
    nvim.until(lambda: weak(nvim) == {}, "no underlines")


def test_of_a_text_whose_beginning_was_typed_or_taken_word_by_word(nvim: Neovim) -> None:
    accept(nvim, "A", "alp<M-w><M-w><Tab>")
    nvim.type(":Dgemma confidence<CR>")
    nvim.until(lambda: len(weak(nvim)) == 2, "the underlines")
    assert weak(nvim) == {"beta": "DgemmaWeak", "gamma": "DgemmaWeakest"}


def test_shown_by_itself_where_that_is_wanted(nvim: Neovim) -> None:
    nvim.lua("require('dgemma').setup({ confidence = true, delay = { min = 0, max = 40 } })")
    try:
        accept(nvim)
        nvim.until(lambda: len(weak(nvim)) == 2, "the underlines")
    finally:
        nvim.lua("require('dgemma').setup({ delay = { min = 0, max = 40 } })")


def test_of_holes_that_were_accepted_together(nvim: Neovim) -> None:
    nvim.open("def holes(a):\n    '''漢字🦜'''\n    area(___, ___)\n    return ___\n")
    nvim.type(":Dgemma holes<CR>")
    nvim.until(lambda: nvim.marks("dgemma.diff"), "the texts")
    nvim.type(":Dgemma accept all<CR>:Dgemma confidence<CR>")
    nvim.until(lambda: weak(nvim) == {"height": "DgemmaWeaker"}, "the underline")


def test_it_says_that_nothing_was_accepted(nvim: Neovim) -> None:
    nvim.open("x = 1\n")
    nvim.type(":Dgemma confidence<CR>")
    nvim.until_said("nothing was accepted in this buffer")


def test_the_server_hears_what_was_shown_taken_and_refused(either: Neovim) -> None:
    either.open(DOUBT + "│\n")
    either.lua(RECORD_NOTICES)
    either.type("A")
    either.until_ghost(TEXT)
    (offer,) = [params["id"] for name, params in notices(either) if name == "didShow"]
    either.type("al")
    either.until_ghost(TEXT[2:])
    either.type("<M-w>")
    either.until_ghost(TEXT[5:])
    assert notices(either) == [
        ("didShow", {"id": offer}),
        ("didPartiallyAccept", {"id": offer, "length": 5}),
    ]
    either.type("<Tab><Esc>")
    either.until_text(DOUBT + TEXT)
    assert len(notices(either)) == 2


@pytest.mark.parametrize(("key", "why"), [("<M-x>", "dismissed"), ("-", "typed")])
def test_a_refusal_is_told_once(nvim: Neovim, key: str, why: str) -> None:
    nvim.open(DOUBT + "│\n")
    nvim.lua(RECORD_NOTICES)
    nvim.type("A")
    nvim.until_ghost(TEXT)
    nvim.type(key)
    nvim.until(lambda: any(name == "didReject" for name, _ in notices(nvim)), "the refusal")
    nvim.type("<Esc>")
    nvim.settle()
    (refused,) = [params for name, params in notices(nvim) if name == "didReject"]
    assert refused == {"id": notices(nvim)[0][1]["id"], "why": why}


def test_typing_it_to_its_end_or_leaving_is_no_refusal(nvim: Neovim) -> None:
    nvim.open(DOUBT + "│\n")
    nvim.lua(RECORD_NOTICES)
    nvim.type("A")
    nvim.until_ghost(TEXT)
    nvim.type(TEXT)
    nvim.until_text(DOUBT + TEXT)
    nvim.type("<Esc>")
    nvim.settle()
    nvim.type("gg:call setline(2, '    return ')<CR>GA")
    nvim.until_ghost(TEXT)
    nvim.type("<Esc>")
    nvim.settle()
    assert [name for name, _ in notices(nvim)] == ["didShow", "didShow"]


def test_statistics_are_shown_and_erased(either: Neovim) -> None:
    accept(either)
    either.type(":Dgemma stats<CR>")
    either.until(lambda: "counted on this machine" in either.text(), "the table")
    table = either.text().splitlines()
    assert table[-1].split()[0] == "all"
    assert int(table[-1].split()[2]) >= 1
    either.type("q:Dgemma stats erase<CR>")
    either.until_said("forgotten")
    either.type(":Dgemma stats<CR>")
    either.until(lambda: "counted on this machine" in either.text(), "the table")
    assert either.text().splitlines()[-1].split()[2] == "0"
    either.type("q")


def test_the_pause_follows_answers_and_what_becomes_of_them(nvim: Neovim) -> None:
    nvim.open("x = 1\n")
    delays = nvim.lua(
        "local pace = require('dgemma.pace') local bounds = { min = 0, max = 1000 }"
        " local p = pace.new() local made = { pace.delay(p, bounds) }"
        " for _ = 1, 40 do pace.answer(p, 15) end made[#made + 1] = pace.delay(p, bounds)"
        " for _ = 1, 40 do pace.fate(p, true) end made[#made + 1] = pace.delay(p, bounds)"
        " for _ = 1, 80 do pace.fate(p, false) end made[#made + 1] = pace.delay(p, bounds)"
        " for _ = 1, 40 do pace.answer(p, 15000) end made[#made + 1] = pace.delay(p, bounds)"
        " return made"
    )
    assert delays == [195, 100, 51, 149, 291]

"""Suggestions in a real Neovim: shown, typed into, accepted, cycled, dismissed. Keys are real."""

from __future__ import annotations

import pytest
from support.neovim import Neovim

pytestmark = pytest.mark.neovim

COUNT_REQUESTS = """
vim.g.asked, vim.g.cleared = 0, 0
local client, ghost = require('dgemma.client'), require('dgemma.ghost')
if not vim.g.counting then
  vim.g.counting = true
  local request, clear = client.request, ghost.clear
  client.request = function(...)
    if select(2, ...) == 'textDocument/inlineCompletion' then vim.g.asked = vim.g.asked + 1 end
    return request(...)
  end
  ghost.clear = function(...) vim.g.cleared = vim.g.cleared + 1; return clear(...) end
end
"""


def test_text_is_shown_and_accepted_with_tab(either: Neovim) -> None:
    either.open("def price(total, rate):\n    return │\n")
    accepted = either.status()["accepted"]
    either.type("A")
    either.until_ghost("total * rate")
    assert either.screen()[1] == "    return total * rate"
    assert either.text() == "def price(total, rate):\n    return "
    either.type("<Tab>")
    either.until_text("def price(total, rate):\n    return total * rate")
    assert either.cursor() == (2, 23)
    assert either.api.api.get_mode()["mode"] == "i"
    either.until(lambda: either.status()["accepted"] == accepted + 1, "the command of the item")


def test_undo_takes_back_the_accepted_text_and_nothing_else(either: Neovim) -> None:
    before = "def price(total, rate):\n    return "
    either.open(before + "│\n")
    either.type("A")
    either.until_ghost("total * rate")
    either.type("tot")
    either.until_ghost("al * rate")
    either.type("<Tab>  # yes<Esc>")
    either.until_text(before + "total * rate  # yes")
    for text in (before + "total * rate", before + "tot", before):
        either.type("u")
        either.until_text(text)


def test_tab_is_a_tab_where_nothing_is_shown(either: Neovim) -> None:
    either.open("nothing here│\n")
    either.type(":setlocal noexpandtab<CR>A<Tab>x")
    either.until_text("nothing here\tx")


def test_several_lines_are_drawn_below_and_accepted_line_by_line(nvim: Neovim) -> None:
    nvim.open("def loop(each):\n    for each in some:\n        │\nend = 1\n")
    accepted = nvim.status()["accepted"]
    nvim.type("A")
    nvim.until_ghost("total += each\n        count += 1")
    assert nvim.screen()[2:5] == ["        total += each", "        count += 1", "end = 1"]
    nvim.type("<M-l>")
    nvim.until_ghost("\n        count += 1")
    assert nvim.text().splitlines()[2] == "        total += each"
    assert nvim.status()["accepted"] == accepted
    nvim.type("<M-l>")
    nvim.until(lambda: nvim.status()["accepted"] == accepted + 1, "the last part's command")
    assert nvim.text().splitlines()[2:] == [
        "        total += each",
        "        count += 1",
        "end = 1",
    ]


def test_word_by_word(nvim: Neovim) -> None:
    nvim.open("def price(total, rate):\n    return │\n")
    nvim.type("A")
    nvim.until_ghost("total * rate")
    for taken, left in (("total", " * rate"), ("total *", " rate"), ("total * rate", "")):
        nvim.type("<M-w>")
        nvim.until_text(f"def price(total, rate):\n    return {taken}")
        nvim.until_ghost(left)
    nvim.type("<Esc>u")
    nvim.until_text("def price(total, rate):\n    return total *")


def test_in_the_middle_of_a_line(nvim: Neovim) -> None:
    nvim.open("def middle(total, rate):\n    price(│) + 1\n")
    nvim.type("i")
    nvim.until_ghost("total, rate")
    assert nvim.screen()[1] == "    price(total, rate) + 1"
    nvim.type("to")
    nvim.until_ghost("tal, rate")
    assert nvim.screen()[1] == "    price(total, rate) + 1"
    nvim.type("<Tab>")
    nvim.until_text("def middle(total, rate):\n    price(total, rate) + 1")


def test_several_lines_in_the_middle_of_a_line_are_drawn_as_they_will_be(nvim: Neovim) -> None:
    """The server answers with one line there; the drawing does not rely on it."""
    nvim.open("x = price(│)  # end\nlast\n")
    text = "\n\ttotal,\n    rate\n"
    nvim.lua("vim.bo.tabstop = 4; require('dgemma.ghost').show(0, 0, 10, ...)", text)
    drawn = nvim.screen()[:5]
    nvim.lua("require('dgemma.ghost').clear(0)")
    nvim.lua("vim.api.nvim_buf_set_text(0, 0, 10, 0, 10, vim.split(..., '\\n'))", text)
    assert (
        drawn == nvim.screen()[:5] == ["x = price(", "    total,", "    rate", ")  # end", "last"]
    )


def test_typing_into_it_asks_nothing_and_never_hides_it(either: Neovim) -> None:
    either.open("def loop(each):\n    for each in some:\n        │\n")
    either.type(":setlocal autoindent<CR>A")
    either.until_ghost("total += each\n        count += 1")
    either.settle()
    either.lua(COUNT_REQUESTS)
    either.type("total += ")
    either.until_ghost("each\n        count += 1")
    either.type("each<CR>cou")
    either.until_ghost("nt += 1")
    either.type("<BS><BS>")
    either.until_ghost("ount += 1")
    either.settle()
    assert (either.api.vars["asked"], either.api.vars["cleared"]) == (0, 0)
    either.type("<Tab>")
    either.until_text(
        "def loop(each):\n    for each in some:\n        total += each\n        count += 1"
    )


def test_another_key_drops_it_and_the_answer_is_for_the_new_text(nvim: Neovim) -> None:
    nvim.open("def price(total, rate):\n    return │\n")
    nvim.type("A")
    nvim.until_ghost("total * rate")
    nvim.lua(COUNT_REQUESTS)
    nvim.type("-")
    nvim.until(lambda: nvim.api.vars["cleared"] > 0, "the old one gone")
    nvim.until_ghost("total * rate")  # asked for anew, behind the dash
    assert nvim.api.vars["asked"] == 1
    nvim.type("<Tab>")
    nvim.until_text("def price(total, rate):\n    return -total * rate")


def test_no_answer_is_shown_for_a_text_that_has_gone(nvim: Neovim) -> None:
    nvim.open("def slow():\n    return │\n")
    nvim.type("A")
    nvim.until(lambda: nvim.lua("return require('dgemma.client').busy()"), "a request")
    nvim.lua("vim.api.nvim_buf_set_lines(0, 0, 0, false, { 'import x', 'def one():' })")
    nvim.settle()
    nvim.type("<Esc>")
    # The first answer was for line 2, which is line 4 now: never a suggestion at the old place.
    assert nvim.text() == "import x\ndef one():\ndef slow():\n    return "
    assert nvim.ghost() == ""
    nvim.type("GA")
    nvim.until_ghost("late" if "slow" in nvim.text().splitlines()[0] else "single")


def test_leaving_insert_mode_gives_the_request_up(nvim: Neovim) -> None:
    nvim.open("def slow():\n    return │\n")
    nvim.type("A")
    nvim.until(lambda: nvim.lua("return require('dgemma.client').busy()"), "a request")
    nvim.type("<Esc>")
    nvim.until(lambda: not nvim.lua("return require('dgemma.client').busy()"), "no request")
    assert nvim.ghost() == ""


def test_a_change_elsewhere_drops_it(nvim: Neovim) -> None:
    nvim.open("def price(total, rate):\n    return │\n\nother = 1\n")
    nvim.type("A")
    nvim.until_ghost("total * rate")
    nvim.lua(COUNT_REQUESTS)
    nvim.lua("vim.api.nvim_buf_set_lines(0, 3, 4, false, { 'other = 2' })")
    nvim.type("<Left><Right>")
    nvim.until(lambda: nvim.api.vars["asked"] == 1, "a new request")
    nvim.until_ghost("total * rate")


def test_candidates_in_turn(either: Neovim) -> None:
    either.open("def many():\n    return │\n")
    either.type("A")
    either.until_ghost("first")
    either.type("<M-n>")
    either.until_ghost("second")
    assert either.screen()[1] == "    return second (2/2)"
    either.type("<M-n>")
    either.until_ghost("first")
    either.type("<M-p>")
    either.until_ghost("second")
    either.type("<Tab>")
    either.until_text("def many():\n    return second")


def test_it_says_that_there_is_no_other_candidate(nvim: Neovim) -> None:
    nvim.open("def one():\n    return │\n")
    nvim.type("A")
    nvim.until_ghost("single")
    nvim.type("<M-n>")
    nvim.until_said("no other suggestion")
    nvim.until_ghost("single")


def test_dismissed_means_dismissed_until_the_text_changes(either: Neovim) -> None:
    either.open("def price(total, rate):\n    return │\n")
    either.type("A")
    either.until_ghost("total * rate")
    either.settle()
    either.lua(COUNT_REQUESTS)
    either.type("<M-x>")
    either.until_ghost("")
    either.type("<Esc>A")
    either.until(lambda: either.api.api.get_mode()["mode"] == "i", "insert mode")
    either.settle()
    assert either.ghost() == ""
    assert either.api.vars["asked"] == 0
    either.type("<M-t>")  # brought back without asking
    either.until_ghost("total * rate")
    assert either.api.vars["asked"] == 0
    either.type("<M-x>")
    either.until_ghost("")
    either.type("-")
    either.until_ghost("total * rate")


def test_trigger_from_normal_mode(nvim: Neovim) -> None:
    nvim.open("def middle(total, rate):\n    price(│) + 1\n")
    nvim.type(":Dgemma mode manual<CR>:Dgemma trigger<CR>")
    nvim.until_ghost("total, rate")
    nvim.type("<Tab><Esc>:Dgemma mode auto<CR>")
    nvim.until_text("def middle(total, rate):\n    price(total, rate) + 1")


def test_trigger_says_that_nothing_came(nvim: Neovim) -> None:
    nvim.open("nothing here│\n")
    nvim.type("A<M-t>")
    nvim.until_said("no suggestion for this place")


@pytest.mark.parametrize(
    ("off", "on"),
    [
        (":Dgemma disable<CR>", ":Dgemma enable<CR>"),
        (":Dgemma disable buffer<CR>", ":Dgemma toggle buffer<CR>"),
        (":Dgemma mode manual<CR>", ":Dgemma mode auto<CR>"),
        (":Dgemma mode off<CR>", ":Dgemma mode auto<CR>"),
        (":Dgemma snooze 5<CR>", ":Dgemma snooze 0<CR>"),
        (":let b:dgemma_enabled = v:false<CR>", ":unlet b:dgemma_enabled<CR>"),
        (":let g:dgemma_enabled = 0<CR>", ":let g:dgemma_enabled = 1<CR>"),
    ],
)
def test_switches(nvim: Neovim, off: str, on: str) -> None:
    nvim.open("def price(total, rate):\n    return │\n")
    nvim.lua(COUNT_REQUESTS)
    nvim.type(off + "A")
    nvim.until(lambda: nvim.api.api.get_mode()["mode"] == "i", "insert mode")
    nvim.settle()
    assert nvim.api.vars["asked"] == 0
    assert nvim.ghost() == ""
    nvim.type("<Esc>" + on + "A")
    nvim.until_ghost("total * rate")


def test_a_menu_with_a_selected_item_hides_it(either: Neovim) -> None:
    either.open("def price(total, rate):\n    return │\n")
    either.type(":set completeopt=menuone,noselect<CR>A")
    either.until_ghost("total * rate")
    either.type("<C-x><C-n>")
    either.until(lambda: either.api.funcs.pumvisible(), "the menu")
    either.until_ghost("total * rate")
    either.type("<C-n>")
    either.until_ghost("")
    either.type("<C-e>")
    either.until_ghost("total * rate")


def test_wide_characters(nvim: Neovim) -> None:
    nvim.open("# 價格 🦜\nname = '🦜'; y = │; z\n")
    nvim.type("i")
    nvim.until_ghost("價格 * '🦜' + x")
    nvim.type("<M-w>")
    nvim.until_ghost(" * '🦜' + x")
    nvim.type(" * '")
    nvim.until_ghost("🦜' + x")
    nvim.type("<Tab>")
    nvim.until_text("# 價格 🦜\nname = '🦜'; y = 價格 * '🦜' + x; z")


def test_carriage_returns_do_not_get_into_the_buffer(nvim: Neovim) -> None:
    file = nvim.open("def loop(each):\r\n    for each in some:\r\n        │\r\nend = 1\r\n")
    assert nvim.api.current.buffer.options["fileformat"] == "dos"
    nvim.type("A")
    nvim.until_ghost("total += each\n        count += 1")
    nvim.type("<Tab><Esc>:w<CR>")
    lines = [
        "def loop(each):",
        "    for each in some:",
        "        total += each",
        "        count += 1",
    ]
    nvim.until(
        lambda: file.read_bytes() == "\r\n".join([*lines, "end = 1", ""]).encode(), "the file"
    )


def test_tabs_are_drawn_as_wide_as_they_will_be(nvim: Neovim) -> None:
    nvim.open("def tabs():\n\tif x:\n\t\t│\n")
    nvim.type(":setlocal noexpandtab tabstop=4<CR>A")
    nvim.until_ghost("a = 1\n        b = 2")
    assert nvim.screen()[2:4] == ["        a = 1", "        b = 2"]
    nvim.type("<Tab>")
    nvim.until_text("def tabs():\n\tif x:\n\t\ta = 1\n\t\tb = 2")


def test_only_in_normal_file_buffers(nvim: Neovim) -> None:
    nvim.open("def price(total, rate):\n    return │\n")
    nvim.lua("vim.bo.buftype = 'nofile'")
    nvim.type("A<M-t>")
    nvim.until_said("suggestions are for normal file buffers")
    nvim.settle()
    assert nvim.ghost() == ""
    nvim.type("<Esc>")
    nvim.lua("vim.bo.buftype = ''")


def test_a_beginning_that_was_shown_is_extended_while_it_is_typed(nvim: Neovim) -> None:
    nvim.open("def price(total, rate):\n    return │\n")
    nvim.type("A")
    nvim.until_ghost("total * rate")
    version = nvim.lua("return vim.lsp.util.buf_versions[vim.api.nvim_get_current_buf()]")
    nvim.type("tot")
    nvim.until_ghost("al * rate")
    for told, shown in (
        ({"version": version + 1}, "al * rate"),  # of another text
        ({"character": 3}, "al * rate"),  # of another place
        ({"text": "rate * total"}, "al * rate"),  # not what was begun
        ({}, "al * rate + 1\n    # end"),
    ):
        nvim.lua(
            "local told = ... vim.lsp.handlers['dgemma/extended'](nil, {"
            " textDocument = { uri = vim.uri_from_bufnr(0), version = told.version },"
            " position = { line = 1, character = told.character }, text = told.text })",
            {"version": version, "character": 11, "text": "total * rate + 1\n    # end", **told},
        )
        nvim.until_ghost(shown)
    nvim.type("<Tab>")
    nvim.until_text("def price(total, rate):\n    return total * rate + 1\n    # end")


def test_neovims_own_inline_completion_is_left_alone(nvim12: Neovim) -> None:
    nvim12.lua("vim.lsp.inline_completion.enable(true)")
    try:
        nvim12.open("def price(total, rate):\n    return │\n")
        nvim12.type("A")

        def own() -> str:
            marks = nvim12.marks("nvim.lsp.inline_completion")
            return "".join(text for mark in marks for text, _ in mark["virt_text"])

        nvim12.until(lambda: own() == "total * rate", "Neovim's suggestion")
        assert nvim12.ghost() == ""
        nvim12.lua("vim.lsp.inline_completion.get()")
        nvim12.until_text("def price(total, rate):\n    return total * rate")
    finally:
        nvim12.lua("vim.lsp.inline_completion.enable(false)")

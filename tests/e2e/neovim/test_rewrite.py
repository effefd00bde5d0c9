"""Rewrites in a real Neovim: chosen from a list, shown as a difference, accepted hunk by hunk."""

from __future__ import annotations

import pytest
from support.neovim import Neovim

pytestmark = pytest.mark.neovim

BODY = "def add(a, b):\n    c = a + b\n    return c"
TIDY = "def add(one, two):\n    '''漢字🦜'''\n    c = one + two\n    return c"
REST = "\n\nprint(add(1, 2))"


def drawn(nvim: Neovim) -> tuple[list[int], list[str]]:
    """Return the rows that are marked as deleted, from 0, and the lines that are drawn."""
    deleted: list[int] = []
    added: list[str] = []
    for mark in nvim.marks("dgemma.diff"):
        if mark.get("hl_group") == "DgemmaDelete":
            deleted += range(mark["row"], mark["end_row"])
        added += [
            "".join(t for t, g in line if g == "DgemmaAdd") for line in mark.get("virt_lines", [])
        ]
    return deleted, added


def rewrite(nvim: Neovim, command: str = ":1,3Dgemma rewrite tidy up<CR>") -> None:
    nvim.open(BODY + REST + "\n")
    nvim.type(command)
    nvim.until(lambda: drawn(nvim)[1], "the difference")


def test_a_difference_is_shown_and_the_text_is_as_it_was(nvim: Neovim) -> None:
    rewrite(nvim)
    assert drawn(nvim) == ([0, 1], [*TIDY.splitlines()[:3]])
    assert nvim.text() == BODY + REST
    screen = nvim.screen()[:6]
    assert screen[0] == "def add(a, b):  1/1 tidy up: accept, reject or redo"
    assert screen[1:] == ["    c = a + b", *TIDY.splitlines()]


def test_accept_all_is_one_step_to_undo(nvim: Neovim) -> None:
    rewrite(nvim)
    nvim.type(":Dgemma accept all<CR>")
    nvim.until_text(TIDY + REST)
    assert drawn(nvim) == ([], [])
    nvim.type("u")
    nvim.until_text(BODY + REST)


def test_hunk_by_hunk(nvim: Neovim) -> None:
    nvim.open("a\nb\nc\nd\ne\n", attached=False)
    new = ["0", "a", "B", "B2", "c", "e", "f"]
    here = nvim.api.current.buffer.number
    nvim.lua("local b, new = ... assert(require('dgemma.diff').open(b, new, 'a test'))", here, new)
    assert len(drawn(nvim)[1]) == 4
    nvim.type("<M-a>")  # the first hunk: an insertion before the first line
    nvim.until_text("0\na\nb\nc\nd\ne")
    assert nvim.cursor()[0] == 3  # at the next hunk
    nvim.type("<M-x>")  # rejected
    nvim.until(lambda: drawn(nvim) == ([4], ["f"]), "two hunks")
    nvim.type("<M-n>")
    assert nvim.cursor()[0] == 6
    nvim.type("<M-n>")
    assert nvim.cursor()[0] == 5
    nvim.type("<M-a>")
    nvim.until_text("0\na\nb\nc\ne")
    nvim.type("<M-a>")
    nvim.until_text("0\na\nb\nc\ne\nf")
    assert nvim.lua("return require('dgemma').reviewing()") is False
    for text in ("0\na\nb\nc\ne", "0\na\nb\nc\nd\ne", "a\nb\nc\nd\ne"):
        nvim.type("u")
        nvim.until_text(text)


def test_reject_all(nvim: Neovim) -> None:
    rewrite(nvim)
    nvim.type(":Dgemma reject all<CR>")
    nvim.until(lambda: drawn(nvim) == ([], []), "no difference")
    assert nvim.text() == BODY + REST
    nvim.type(":Dgemma reject<CR>")
    nvim.until_said("no rewrite waits for a decision")


def test_a_change_of_its_own_line_takes_a_mend_back(nvim: Neovim) -> None:
    nvim.open("def add(a, b):\n    c = (a + b\n    return c\n")
    nvim.type(":2Dgemma mend<CR>")
    nvim.until(lambda: drawn(nvim) == ([1], ["    c = (a + b)"]), "the difference")
    nvim.type("ggO# above<Esc>Go# below<Esc>")
    nvim.until(lambda: drawn(nvim) == ([2], ["    c = (a + b)"]), "the difference, moved")
    nvim.type("3GA)<Esc>")
    nvim.until_said("the text was changed")
    assert drawn(nvim) == ([], [])
    nvim.type(":Dgemma accept all<CR>")
    nvim.until_said("no rewrite waits for a decision")


def test_an_answer_for_an_older_text_is_not_shown(nvim: Neovim) -> None:
    nvim.open("def late():\n    x = 1\n")
    nvim.type(":2Dgemma rewrite take long<CR>")
    nvim.until(lambda: nvim.marks("dgemma.rewrite"), "the note that it is under way")
    nvim.type("Goy = 2<Esc>")
    nvim.until_said("The document has changed since")
    assert drawn(nvim) == ([], [])
    assert nvim.marks("dgemma.rewrite") == []


def test_dismiss_ends_a_rewrite_that_is_under_way(nvim: Neovim) -> None:
    nvim.open("def late():\n    x = 1\n")
    nvim.type(":2Dgemma rewrite take long<CR>")
    nvim.until(lambda: nvim.marks("dgemma.rewrite"), "the note that it is under way")
    nvim.type("<M-x>")
    nvim.until(lambda: not nvim.marks("dgemma.rewrite"), "the note gone")
    assert not nvim.lua("return require('dgemma.client').busy()")


def test_chosen_from_a_list_with_arguments_and_history(nvim: Neovim) -> None:
    nvim.open("\n".join(["def f(a, b):", "    c = a + b", "    return c", ""]))
    nvim.lua(
        "vim.g.DGEMMA_REWRITES = nil"
        " local select = vim.ui.select"
        " vim.ui.select = function(items, options, done)"
        "  vim.g.listed = vim.tbl_map(options.format_item, items)"
        "  return select(items, options, done) end"
    )
    nvim.type("2GVj:Dgemma rewrite<CR>")
    nvim.until(lambda: nvim.api.api.get_mode()["mode"] == "c", "the list")
    nvim.type("2<CR>")
    nvim.type("c<CR>")  # the first argument
    nvim.type("total<CR>")
    nvim.until(
        lambda: drawn(nvim)[1] == ["    total = a + b", "    return total"], "the difference"
    )
    assert nvim.api.vars["listed"] == [
        "tidy up  (right in 80 %)",
        "rename {a} to {b}  (right in 50 %)",
        "take long  (right in 10 %)",
        "in your own words …",
    ]
    nvim.type("<M-x>")
    nvim.until(lambda: not drawn(nvim)[1], "nothing drawn")
    nvim.type(":2,3Dgemma rewrite<CR>")
    nvim.until(lambda: nvim.api.api.get_mode()["mode"] == "c", "the list")
    nvim.type("1<CR>")
    nvim.until(lambda: drawn(nvim)[1], "the difference again")
    assert nvim.api.vars["listed"][0] == "rename c to total  (again)"
    nvim.type(":Dgemma accept<CR>")
    nvim.until_text("def f(a, b):\n    total = a + b\n    return total")


def test_it_says_beforehand_when_the_model_offers_none(nvim: Neovim) -> None:
    """The script's model takes any instruction; what one says that does not is given here."""
    nvim.open("local x = 1\n", "a.lua")
    nvim.lua(
        "local client = require('dgemma.client') local request = client.request"
        " client.request = function(found, method, params, buf, done)"
        "  if method ~= 'dgemma/rewrites' then return request(found, method, params, buf, done) end"
        "  return request(found, method, params, buf, function(problem, result)"
        "   result.instructions, result.message = false, 'It was not trained for rewrites here.'"
        "   client.request = request done(problem, result) end) end"
    )
    nvim.type(":Dgemma rewrite<CR>")
    nvim.until_said("It was not trained for rewrites here.")


def test_it_says_why_nothing_came(nvim: Neovim) -> None:
    nvim.open("def f():\n    return 1\n")
    nvim.type(":Dgemma rewrite write a poem<CR>")
    nvim.until(nvim.said, "a reason")
    assert drawn(nvim) == ([], [])


def test_carriage_returns(nvim: Neovim) -> None:
    file = nvim.open(BODY.replace("\n", "\r\n") + "\r\n")
    nvim.type(":%Dgemma rewrite tidy up<CR>")
    nvim.until(lambda: drawn(nvim)[1], "the difference")
    nvim.type("<M-a>")
    nvim.until_text(TIDY)
    nvim.type(":w<CR>")
    wanted = (TIDY + "\n").replace("\n", "\r\n").encode()
    nvim.until(lambda: file.read_bytes() == wanted, "the file")


def test_mend(either: Neovim) -> None:
    broken = "def add(a, b):\n    c = (a + b\n    return c"
    either.open(broken + "\n")
    either.type(":2Dgemma mend<CR>")
    either.until(lambda: drawn(either) == ([1], ["    c = (a + b)"]), "the difference")
    either.type(":Dgemma accept<CR>")
    either.until_text(broken.replace("a + b", "a + b)"))
    either.type("u")
    either.until_text(broken)


def test_mend_says_that_nothing_is_broken(nvim: Neovim) -> None:
    nvim.open("def add(a, b):\n    return a + b\n")
    nvim.type(":%Dgemma mend<CR>")
    nvim.until(nvim.said, "a reason")
    assert drawn(nvim) == ([], [])

"""Rewrites hunk by hunk in a real Neovim: watched, accepted, rejected, redone, lines pinned."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support.neovim import Neovim

pytestmark = pytest.mark.neovim

AREA = "def area(w, h):\n    a = w * h\n    log(w)\n    log(h)\n    return a"
ABOVE = "# 漢字🦜\n"
BELOW = "\n\nprint(area(1, 2))"
FIRST, SECOND = ("    a = w * h", "    area = w * h"), ("    return a", "    return area")


def hunks(nvim: Neovim) -> list[tuple[int, str, str]]:
    """Return what is proposed: the row of each place from 0, the old line, the new ones."""
    made: dict[int, tuple[str, list[str]]] = {}
    lines = nvim.text().split("\n")
    for mark in nvim.marks("dgemma.diff"):
        old, new = made.setdefault(mark["row"], (lines[mark["row"]], []))
        del old
        new += [
            "".join(t for t, g in line if g == "DgemmaAdd") for line in mark.get("virt_lines", [])
        ]
    return [(row, old, "\n".join(new)) for row, (old, new) in sorted(made.items())]


def place(row: int, texts: tuple[str, str]) -> tuple[int, str, str]:
    return (row, *texts)


def until_hunks(nvim: Neovim, *wanted: tuple[int, str, str]) -> None:
    try:
        nvim.until(lambda: hunks(nvim) == list(wanted), f"the hunks {wanted}")
    except AssertionError as err:
        raise AssertionError(f"{hunks(nvim)}{nvim.marks(chr(100) + 'gemma.diff')} {err}") from None


def propose(nvim: Neovim, instruction: str = "speak up") -> None:
    nvim.open(ABOVE + AREA + BELOW + "\n")
    nvim.type(f":2,6Dgemma rewrite {instruction}<CR>")
    until_hunks(nvim, place(2, FIRST), place(5, SECOND))


def test_a_hunk_is_accepted_and_undone_as_one_step_and_open_again(either: Neovim) -> None:
    propose(either)
    assert either.cursor()[0] == 3
    either.type("<M-a>")
    either.until_text(ABOVE + AREA.replace(*FIRST) + BELOW)
    until_hunks(either, place(5, SECOND))
    assert either.cursor()[0] == 6
    either.type("u")
    either.until_text(ABOVE + AREA + BELOW)
    until_hunks(either, place(2, FIRST), place(5, SECOND))
    either.type("<C-r>")
    either.until_text(ABOVE + AREA.replace(*FIRST) + BELOW)
    either.type(":Dgemma accept all<CR>")
    either.until_text(ABOVE + AREA.replace(*FIRST).replace(*SECOND) + BELOW)
    until_hunks(either)


def test_all_at_once_is_one_step_to_undo(nvim: Neovim) -> None:
    propose(nvim)
    nvim.type(":Dgemma accept all<CR>")
    nvim.until_text(ABOVE + AREA.replace(*FIRST).replace(*SECOND) + BELOW)
    until_hunks(nvim)
    nvim.type("u")
    nvim.until_text(ABOVE + AREA + BELOW)


def test_keys_that_come_faster_than_answers_are_not_lost(nvim: Neovim) -> None:
    propose(nvim)
    nvim.type("<M-x><M-a>")
    nvim.until_text(ABOVE + AREA.replace(*SECOND) + BELOW)
    until_hunks(nvim)


def test_one_hunk_is_done_anew_and_the_rest_stays(either: Neovim) -> None:
    propose(either)
    either.type("G:Dgemma redo<CR>")  # the cursor is behind all hunks: the last one
    until_hunks(either, place(2, FIRST), (5, "    return a", "    return w * h"))
    either.type("<M-a>")
    either.until_text(ABOVE + AREA.replace("return a", "return w * h") + BELOW)
    until_hunks(either, place(2, FIRST))
    either.type("<M-x>")
    until_hunks(either)


def test_a_redo_that_finds_nothing_new_says_so_and_leaves_the_hunk(nvim: Neovim) -> None:
    propose(nvim)
    nvim.type("G:Dgemma redo<CR>")
    until_hunks(nvim, place(2, FIRST), (5, "    return a", "    return w * h"))
    nvim.type(":Dgemma redo<CR>")
    nvim.until_said("Nothing new was found")
    until_hunks(nvim, place(2, FIRST), (5, "    return a", "    return w * h"))


def test_a_redo_by_another_instruction_and_with_more_or_less_freedom(nvim: Neovim) -> None:
    propose(nvim)
    asked = (
        "vim.g.resolved = {} local client = require('dgemma.client') local request = client.request"
        " client.request = function(found, method, params, ...)"
        "  if method == 'dgemma/resolve' and params.action == 'redo' then"
        "   vim.g.resolved = vim.list_extend(vim.g.resolved, { params }) end"
        "  return request(found, method, params, ...) end"
    )
    nvim.lua(asked)
    nvim.type("G:Dgemma redo take all day<CR>")
    until_hunks(nvim, place(2, FIRST), (5, "    return a", "    return 1"))
    for command in ("closer", "closer", "bolder"):
        count = len(nvim.api.vars["resolved"])
        nvim.type(f":Dgemma {command}<CR>")
        nvim.until(lambda count=count: len(nvim.api.vars["resolved"]) > count, "a request")
        nvim.type("<M-x>")  # ends the redo, not the hunk
        nvim.until(lambda: not nvim.lua("return require('dgemma.client').busy()"), "its end")
        until_hunks(nvim, place(2, FIRST), (5, "    return a", "    return 1"))
    noises = [each.get("noise") for each in nvim.api.vars["resolved"]]
    # A redo that was ended leaves the freedom as it was.
    assert noises == [None, 0.5, 0.5, 1]
    assert len(nvim.api.vars["resolved"][1]["hunks"]) == 2


def test_the_text_may_be_edited_elsewhere(either: Neovim) -> None:
    propose(either)
    either.type("ggO# more<CR># lines<Esc>")
    moved = "# more\n# lines\n" + ABOVE
    either.until_text(moved + AREA + BELOW)
    until_hunks(either, place(4, FIRST), place(7, SECOND))
    either.type("Go# end<Esc>5G<M-a>")
    either.until_text(moved + AREA.replace(*FIRST) + BELOW + "\n# end")
    until_hunks(either, place(7, SECOND))


def test_an_edit_of_the_lines_takes_the_rest_back(nvim: Neovim) -> None:
    propose(nvim)
    nvim.type("4GA  # mine<Esc>")  # between the hunks
    nvim.until_said("the text was changed")
    until_hunks(nvim)
    nvim.type(":Dgemma accept<CR>")
    nvim.until_said("no rewrite waits for a decision")


def test_another_instruction_for_the_same_lines(nvim: Neovim) -> None:
    propose(nvim)
    nvim.type("G:Dgemma rewrite tidy up<CR>")  # the cursor is elsewhere, the lines are the same
    nvim.until(lambda: any("one + two" in new for _, _, new in hunks(nvim)), "the other rewrite")
    nvim.type(":Dgemma reject all<CR>")
    until_hunks(nvim)
    assert nvim.text() == ABOVE + AREA + BELOW


def test_the_canvas_is_drawn_over_the_lines_while_it_settles(either: Neovim) -> None:
    either.open(ABOVE + AREA + BELOW + "\n")
    either.lua(
        "vim.g.drawn = {} local clear = vim.api.nvim_buf_clear_namespace"
        " local ns = vim.api.nvim_create_namespace('dgemma.preview')"
        " vim.g.times = {} vim.api.nvim_buf_clear_namespace = function(buf, n, ...)"
        "  if n == ns then vim.g.times = vim.list_extend(vim.g.times, { vim.uv.now() }) end"
        "  return clear(buf, n, ...) end"
    )
    either.type(":2,6Dgemma rewrite go slowly<CR>")
    either.until(lambda: "    first = w" in either.screen()[2], "its second line")
    screen = either.screen()
    assert screen[0] == ABOVE.strip()
    assert screen[1].startswith("def area(w, h):")
    groups = {
        chunk[1] for mark in either.marks("dgemma.preview") for chunk in mark.get("virt_text", [])
    }
    assert "DgemmaSettled" in groups
    assert any("go slowly" in row and "/30" in row for row in screen)
    noisy = either.until(lambda: any("░" in row for row in either.screen()), "noise")
    assert noisy
    assert either.text() == ABOVE + AREA + BELOW
    either.until(lambda: not either.marks("dgemma.preview") and hunks(either), "the hunks")
    times: list[int] = either.api.vars["times"]
    gaps = [after - before for before, after in pairwise(times)]
    assert len(times) > 4
    assert sum(gap < 60 for gap in gaps) <= 3  # but for the end, when it is cleared
    # One line more than there were: nothing above moved, and what is below went down once.
    assert either.screen()[0] == ABOVE.strip()


def test_a_rewrite_that_is_watched_can_be_ended(nvim: Neovim) -> None:
    nvim.open(ABOVE + AREA + BELOW + "\n")
    nvim.type(":2,6Dgemma rewrite go slowly<CR>")
    nvim.until(lambda: nvim.marks("dgemma.preview"), "the canvas")
    nvim.type(":Dgemma cancel<CR>")
    nvim.until(lambda: not nvim.marks("dgemma.preview"), "nothing drawn")
    assert not nvim.marks("dgemma.rewrite")
    nvim.until(lambda: not nvim.lua("return require('dgemma.client').busy()"), "its end")
    nvim.type(":Dgemma cancel<CR>")
    nvim.until_said("nothing is under way")


def test_pinned_lines_stay_and_have_a_sign(either: Neovim) -> None:
    either.open("one = 0\nkept  =  (1)  # 漢\ntwo = 0\n")
    either.type(":2Dgemma pin<CR>")
    either.until(lambda: len(either.marks("dgemma.pins")) == 1, "the pin")
    assert either.screen()[1].startswith("▐")
    either.type(":%Dgemma rewrite pinned<CR>")
    until_hunks(either, (0, "one = 0", "one = 1"), (2, "two = 0", "two = 2"))
    either.type(":Dgemma accept all<CR>")
    either.until_text("one = 1\nkept  =  (1)  # 漢\ntwo = 2")
    either.type(":Dgemma unpin<CR>")
    either.until(lambda: not either.marks("dgemma.pins"), "no pins")


def test_pins_go_and_come_with_their_lines(nvim: Neovim) -> None:
    nvim.open("a = 1\nb = 2\nc = 3\nd = 4\n")
    nvim.api.command("nnoremap gp <Plug>(dgemma-pin)")
    nvim.api.command("xnoremap gp <Plug>(dgemma-pin)")
    rows = "return require('dgemma.pins').rows(0, 0, vim.api.nvim_buf_line_count(0) - 1)"
    nvim.type("2GVjgp")
    nvim.until(lambda: nvim.lua(rows) == [1, 2], "two pins")
    nvim.type("2Gdd")
    nvim.until(lambda: nvim.lua(rows) == [1], "one pin")
    nvim.type("u")
    nvim.until(lambda: nvim.lua(rows) == [1, 2], "two pins again")
    nvim.type("3Ggp")
    nvim.until(lambda: nvim.lua(rows) == [1], "one pin")
    nvim.type(":%Dgemma pin<CR>")
    nvim.until(lambda: nvim.lua(rows) == [0, 1, 2, 3], "all")
    nvim.type(":%Dgemma pin<CR>")
    nvim.until(lambda: nvim.lua(rows) == [], "none")


def test_everything_pinned_leaves_nothing_to_do(nvim: Neovim) -> None:
    nvim.open("one = 0\ntwo = 0\n")
    nvim.type(":%Dgemma pin<CR>:%Dgemma rewrite pinned<CR>")
    nvim.until_said("Every line of the selection is pinned")


def test_own_words_have_a_history(nvim: Neovim) -> None:
    nvim.open("one = 0\n")
    nvim.lua("vim.g.DGEMMA_REWRITES = { 'pinned' }")
    nvim.type(":%Dgemma rewrite<CR>")
    nvim.until(lambda: nvim.api.api.get_mode()["mode"] == "c", "the list")
    nvim.type("5<CR>")  # behind one used before and three that the model knows
    nvim.until(lambda: nvim.api.funcs.getcmdprompt() == "Rewrite: ", "the prompt")
    nvim.type("<Up><CR>")
    until_hunks(nvim, (0, "one = 0", "one = 1"))
    nvim.type(":Dgemma reject all<CR>")

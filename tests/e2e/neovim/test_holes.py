"""Marked holes in a real Neovim: all filled at once, accepted one by one."""

from __future__ import annotations

import pytest
from support.neovim import Neovim

pytestmark = pytest.mark.neovim

TEXT = "def holes(a):\n    '''漢字🦜'''\n    area(___, ___)\n    return ___\n"
FILLED = TEXT.replace("(___, ___)", "(width, height)").replace("___", "1").rstrip("\n")


def proposed(nvim: Neovim) -> list[tuple[int, int, str]]:
    """Return what is drawn for holes: row and column from 0, and the text."""
    return [
        (mark["row"], mark["column"], "".join(text for text, _ in mark["virt_text"]))
        for mark in nvim.marks("dgemma.diff")
        if mark.get("virt_text_pos") == "inline"
    ]


def fill(nvim: Neovim, command: str = "holes") -> None:
    nvim.open(TEXT)
    nvim.type(f":{command}<CR>" if " " in command else f":Dgemma {command}<CR>")
    nvim.until(lambda: len(proposed(nvim)) == 3, "three texts")


def test_all_are_shown_and_taken_one_by_one(either: Neovim) -> None:
    fill(either)
    assert proposed(either) == [(2, 12, "width"), (2, 17, "height"), (3, 14, "1")]
    assert either.text() == TEXT.rstrip("\n")
    screen = either.screen()
    assert screen[2].startswith("    area(___width, ___height)")
    assert "1/3 fill: accept or skip" in screen[2]
    assert either.cursor() == (3, 9)
    either.type("<M-a>")
    either.until_text(TEXT.replace("___", "width", 1).rstrip("\n"))
    assert either.cursor() == (3, 16)
    either.type("<M-n>")
    either.until(lambda: either.cursor() == (4, 11), "the next one")
    either.type("<M-p>")
    either.until(lambda: either.cursor() == (3, 16), "the one before")
    either.type(":Dgemma skip<CR>")
    either.until(lambda: len(proposed(either)) == 1, "one left")
    either.type("<M-a>")
    either.until_text(FILLED.replace("height", "___"))
    assert proposed(either) == []
    for text in (TEXT.replace("___", "width", 1).rstrip("\n"), TEXT.rstrip("\n")):
        either.type("u")
        either.until_text(text)


def test_all_at_once_is_one_step_to_undo(either: Neovim) -> None:
    fill(either)
    either.type(":Dgemma accept all<CR>")
    either.until_text(FILLED)
    either.type("u")
    either.until_text(TEXT.rstrip("\n"))


def test_a_hole_that_is_edited_is_left_out_and_the_others_stay(nvim: Neovim) -> None:
    fill(nvim)
    nvim.type("Goend = 1<Esc>ggO# above<Esc>")
    nvim.until(lambda: proposed(nvim)[0][:2] == (3, 12), "the texts moved along")
    nvim.type("4G0f_R123<Esc>")
    nvim.until_said("the text was changed")
    assert [text for _, _, text in proposed(nvim)] == ["height", "1"]
    nvim.type(":Dgemma accept all<CR>")
    wanted = FILLED.replace("width", "123")
    nvim.until_text(f"# above\n{wanted}\nend = 1")


def test_only_those_of_some_lines(nvim: Neovim) -> None:
    nvim.open(TEXT)
    nvim.type(":4Dgemma holes<CR>")
    nvim.until(lambda: proposed(nvim) == [(3, 14, "alone")], "one text")
    nvim.type("<M-x>")
    nvim.until(lambda: not proposed(nvim), "none")


def test_it_says_that_none_is_marked_without_asking_a_model(nvim: Neovim) -> None:
    nvim.open("x = 1\n")
    nvim.type(":Dgemma holes<CR>")
    nvim.until_said("no hole")


def test_the_canvas_is_drawn_in_the_line_and_can_be_ended(either: Neovim) -> None:
    either.open("# slow holes\ncall(___, ___)\n")
    either.type(":Dgemma holes<CR>")
    either.until(lambda: "call(" in either.screen()[1] and "░" in either.screen()[1], "noise")
    either.until(lambda: "/300" in either.screen()[1], "the step")
    assert "fill 2 holes" in either.screen()[1]
    either.type("<M-x>")
    either.until(lambda: not either.marks("dgemma.preview"), "nothing drawn")
    assert either.screen()[1] == "call(___, ___)"
    assert proposed(either) == []


def test_carriage_returns(nvim: Neovim) -> None:
    file = nvim.open(TEXT.replace("\n", "\r\n"))
    nvim.type(":Dgemma holes<CR>")
    nvim.until(lambda: len(proposed(nvim)) == 3, "three texts")
    nvim.type(":Dgemma accept all<CR>:w<CR>")
    nvim.until(
        lambda: file.read_bytes() == (FILLED + "\n").replace("\n", "\r\n").encode(), "the file"
    )

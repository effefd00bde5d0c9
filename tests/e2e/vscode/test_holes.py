"""Several holes at once, and how sure the model was, in a real VS Code."""

from __future__ import annotations

from typing import Any

from support.vscode_script import HOLES

FILLED = HOLES.replace("return ___", "return a + b").replace("___", "1")


def fill(code: Any, name: str, text: str = HOLES) -> Any:
    """Open a file and have its marked holes filled."""
    file = code.opened(name, text)
    code.command("dgemma: Fill All Holes")
    code.wait_lens("Fill All")
    return file


def weak(code: Any) -> int:
    """How many stretches are underlined as weak."""
    return code.page.evaluate(
        """() => [...document.querySelectorAll('.view-overlays .cdr, .view-line span')]
        .filter(each => ['dotted', 'dashed', 'double']
            .includes(getComputedStyle(each).borderBottomStyle)
            && parseFloat(getComputedStyle(each).borderBottomWidth) >= 2).length"""
    )


def hide(code: Any) -> None:
    """Press Escape until nothing is underlined; ghost text goes first where there is some."""

    def hidden() -> bool:
        if weak(code):
            code.press("Escape")
        return not weak(code)

    code.until("nothing underlined", hidden)


def test_holes_are_seen_together_and_filled_one_by_one(code: Any) -> None:
    file = fill(code, "holes.py")
    code.until("both", lambda: "a + b" in code.drawn() and "1" in code.drawn())
    code.picture("vscode-holes")
    code.saved(file, HOLES)  # nothing has changed yet
    code.lens("Fill 1/2")
    code.until("one left", lambda: code.lenses("Fill 1/1"))
    code.saved(file, HOLES.replace("return ___", "return a + b"))
    code.page.locator(".statusbar-item", has_text="Ln 5, Col 11").wait_for(timeout=60_000)
    code.click_editor()
    code.press("Control+Alt+Enter")
    code.no_lens()
    code.saved(file, FILLED)
    code.press("Control+z")
    code.saved(file, HOLES.replace("return ___", "return a + b"))
    code.press("Control+z")
    code.saved(file, HOLES)


def test_skip_next_all_and_none_by_keys(code: Any) -> None:
    holes, filled = (each.replace("# sums", "# sums 漢🦜") for each in (HOLES, FILLED))
    file = fill(code, "keys-of-holes.py", holes)
    code.click_editor()
    code.press("F7")
    code.page.locator(".statusbar-item", has_text="Ln 5, Col 11").wait_for(timeout=60_000)
    code.press("Control+Alt+Backspace")
    code.until("one left", lambda: code.lenses("Fill 1/1"))
    code.press("Control+Enter")
    code.no_lens()
    code.saved(file, holes.replace("return ___", "return a + b"))
    code.press("Control+z")
    code.command("dgemma: Fill All Holes")
    code.wait_lens("Fill All")
    code.click_editor()
    code.press("Control+Enter")  # both, in one step
    code.no_lens()
    code.saved(file, filled)
    code.press("Control+z")
    code.saved(file, holes)
    code.command("dgemma: Fill All Holes")
    code.wait_lens("Fill All")
    code.click_editor()
    code.press("Escape")
    code.no_lens()
    code.until("nothing drawn", lambda: not code.drawn())
    code.saved(file, holes)


def test_writing_into_a_hole_keeps_the_others_and_loses_nothing(code: Any) -> None:
    file = fill(code, "written.py")
    code.go_to(1, 1)
    code.type("# above\n")
    code.go_to(4, 15)
    code.type("own")
    code.until("the other", lambda: code.lenses("Fill 1/1"))
    code.press("Escape")  # what is offered for what was typed
    code.click_editor()
    code.lens("Fill 1/1")
    code.no_lens()
    code.saved(file, "# above\n" + HOLES.replace("___", "___own", 1).replace("(___", "(1"))


def test_an_edit_while_the_model_works_loses_nothing(code: Any) -> None:
    source = "# slow\ntotal = ___\ncount = ___\n"
    file = code.opened("slow.py", source)
    code.command("dgemma: Fill All Holes")
    code.wait_drawn("░")
    code.go_to(4, 1)
    code.type("x = 1")
    code.notice("changed")
    assert not code.lenses()
    code.press("Escape")
    code.saved(file, source + "x = 1")


def test_several_cursors(code: Any) -> None:
    file = code.opened("cursors.py", "# cursors\none = \ntwo = \n")
    code.go_to(2, 7)
    code.command("Add Cursor Below")
    code.until("cursors", lambda: code.page.locator(".cursors-layer .cursor").count() == 2)
    code.command("dgemma: Fill All Holes")
    code.wait_lens("Fill All")
    code.lens("Fill All")
    code.no_lens()
    code.saved(file, "# cursors\none = first\ntwo = second\n")


def test_without_a_mark_it_says_so(code: Any) -> None:
    code.opened("unmarked.py", "x = 1\n")
    code.command("dgemma: Fill All Holes")
    code.notice("There is no hole")
    assert not code.lenses()


def test_weak_tokens_of_a_suggestion(code: Any) -> None:
    code.settings(dgemma__confidence__afterAccept=True)
    file = code.opened("weak.py", "# weak\nx =\n")
    code.go_to(2, 4)
    code.type(" ")
    code.wait_ghost("a * b + c")
    code.press("Tab")
    code.until("three", lambda: weak(code) == 3)
    code.picture("vscode-confidence")
    code.command("dgemma: Jump to the Weakest Token")
    code.page.locator(".statusbar-item", has_text="(1 selected)").wait_for(timeout=60_000)
    code.page.locator(".statusbar-item", has_text="sure to 10 %").wait_for(timeout=60_000)
    code.type("d")
    code.until("two", lambda: weak(code) == 2)
    hide(code)
    code.saved(file, "# weak\nx = a * b + d\n")


def test_weak_tokens_are_shown_on_command_alone_unless_set(code: Any) -> None:
    code.opened("asked.py", "# weak\nx =\n")
    code.go_to(2, 4)
    code.type(" ")
    code.wait_ghost("a * b + c")
    code.press("Tab")
    code.until("taken", lambda: "dgemma.accepted" in code.sent("workspace/executeCommand"))
    assert not weak(code)
    code.command("dgemma: Show Weak Tokens")
    code.until("three", lambda: weak(code) == 3)
    hide(code)
    code.save()

"""Rewrites in a real VS Code: previews, pieces, redo, again, pins; and mending."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from support.runtimes import Scripted
from support.vscode_script import PLAIN, REWRITES, REWRITTEN, RULES

CHANGED = REWRITTEN.replace("c = a", "total = a").replace("return c", "return total")


def rewrite(code: Any, name: str, text: str = REWRITTEN) -> Path:
    """Open the file, and ask to rename the variable in its function."""
    file = code.opened(name, text)
    code.select_lines(3, 6)
    code.command("dgemma: Rewrite Selection")
    code.pick("rename {a} to {b}")
    code.answer("c", "Instead of {a}")
    code.answer("total", "Instead of {b}")
    code.wait_lens("Accept All")
    return file


def last(code: Any, method: str) -> dict[str, Any]:
    """The parameters of the last request of a method."""
    found = re.findall(r"\{.*", code.sent(method))
    return json.loads(found[-1])["params"]


def test_each_accepted_piece_is_one_step_of_undo(code: Any) -> None:
    file = rewrite(code, "rewrite.py")
    assert file.read_text() == REWRITTEN
    code.saved(file, REWRITTEN)  # nothing has changed yet
    code.lens("Accept")
    first = REWRITTEN.replace("c = a", "total = a")
    code.until("one piece left", lambda: code.lenses("Reject") == 2)  # its own, and for all
    code.saved(file, first)
    code.lens("Accept")
    code.no_lens()
    code.saved(file, CHANGED)
    code.click_editor()
    code.press("Control+z")
    code.saved(file, first)
    code.press("Control+z")
    code.saved(file, REWRITTEN)
    code.press("Control+Shift+z", "Control+Shift+z")
    code.saved(file, CHANGED)


def test_an_undo_opens_the_piece_again(code: Any) -> None:
    file = rewrite(code, "undone.py")
    code.click_editor()
    code.press("Control+Alt+Enter")  # the first, by its key
    code.until("one piece left", lambda: code.lenses("Reject") == 2)
    code.press("Control+z")
    code.until("both again", lambda: code.lenses("Reject") == 3)
    code.press("Control+Enter")
    code.no_lens()
    code.saved(file, CHANGED)


def test_reject_by_key_take_back_and_next(code: Any) -> None:
    file = rewrite(code, "rejected.py")
    code.click_editor()
    code.press("Control+Alt+Backspace")
    code.wait_lens("take back")
    code.lens("take back")
    code.until("both again", lambda: code.lenses("Reject") == 3)
    code.click_editor()
    code.press("F7")
    code.page.locator(".statusbar-item", has_text="Ln 6, Col 1").wait_for(timeout=60_000)
    code.press("Control+Alt+Backspace", "Shift+F7")
    code.page.locator(".statusbar-item", has_text="Ln 3, Col 1").wait_for(timeout=60_000)
    code.press("Control+Alt+Enter")
    code.no_lens()
    code.saved(file, REWRITTEN.replace("c = a", "total = a"))


def test_one_piece_is_redone_with_the_rest_kept(code: Any) -> None:
    file = rewrite(code, "redone.py", PLAIN)
    code.lens("Redo")
    code.wait_drawn("amount = a + b")
    assert last(code, "dgemma/resolve")["action"] == "redo"
    assert "return total" in code.drawn()
    code.until("lenses", lambda: code.lenses("Redo") == 2)
    code.page.locator(".notification-list-item").wait_for(state="hidden", timeout=60_000)
    code.picture("vscode-redo")
    code.click_editor()
    code.press("Control+Enter")
    code.no_lens()
    code.saved(file, PLAIN.replace("c = a", "amount = a").replace("return c", "return total"))
    code.press("Control+z")
    code.saved(file, PLAIN)


def test_again_closer_and_by_other_words(code: Any, scripted: Scripted) -> None:
    file = rewrite(code, "again.py")
    assert "noise" not in last(code, "dgemma/rewrite")
    code.lens("Again")
    code.pick("Closer to the old text")
    code.until("asked", lambda: last(code, "dgemma/rewrite").get("noise") == 0.5)
    code.wait_lens("Accept All")
    code.click_editor()
    code.press_for_list("Control+Shift+F7")
    code.pick("Bolder")
    code.until("asked", lambda: last(code, "dgemma/rewrite")["seed"] == 2)
    assert "noise" not in last(code, "dgemma/rewrite")
    code.wait_lens("Accept All")
    code.lens("Again")
    code.pick("Another instruction")
    code.pick("inline the variable")
    code.notice("")  # the script knows no answer to it
    code.no_lens()
    code.saved(file, REWRITTEN)


def test_accept_all_by_key_and_escape_rejects_all(code: Any) -> None:
    file = rewrite(code, "keys.py")
    code.go_to(1, 1)
    code.press("Control+Enter")
    code.no_lens()
    code.saved(file, CHANGED)
    file = rewrite(code, "escape.py")
    code.go_to(1, 1)
    code.press("Escape")
    code.no_lens()
    code.saved(file, REWRITTEN)
    code.select_lines(3, 6)
    code.command("dgemma: Rewrite Selection")
    code.pick("rename c to total")  # used before
    code.wait_lens("Accept All")
    code.go_to(1, 1)
    code.type("# moved down\n")  # elsewhere: the proposal moves along
    code.press("Control+Enter")
    code.no_lens()
    code.saved(file, "# moved down\n" + CHANGED)


def test_pinned_lines_are_kept_and_marked(code: Any) -> None:
    file = code.opened("pinned.py", REWRITTEN)
    code.go_to(5, 3)
    code.command("dgemma: Keep Lines in Rewrites")
    code.until("mark", lambda: code.page.locator('.glyph-margin-widgets [class*="ced-"]').count())
    code.go_to(1, 1)
    code.type("# pinned\n")  # the mark moves along
    code.select_lines(4, 7)
    code.command("dgemma: Rewrite Selection")
    code.pick("rename c to total")
    code.wait_lens("Accept All")
    (pinned,) = last(code, "dgemma/rewrite")["pinned"]
    assert (pinned["start"], pinned["end"]) == (
        {"line": 5, "character": 0},
        {"line": 6, "character": 0},
    )
    code.picture("vscode-pinned")
    code.click_editor()
    code.press("Control+Enter")
    code.no_lens()
    code.saved(file, "# pinned\n" + CHANGED)
    code.command("dgemma: Keep No Lines in Rewrites")
    code.until(
        "no mark", lambda: not code.page.locator('.glyph-margin-widgets [class*="ced-"]').count()
    )


def test_the_canvas_is_seen_while_it_is_denoised_and_can_be_stopped(code: Any) -> None:
    file = code.opened("canvas.py", PLAIN)
    code.select_lines(3, 6)
    code.command("dgemma: Rewrite Selection")
    code.pick("take your time")
    code.wait_drawn("░")
    code.until("tokens", lambda: "total = a" in code.drawn() and "░" in code.drawn())
    code.picture("vscode-preview")
    assert file.read_text() == PLAIN
    cancel = code.page.locator(".notification-list-item .monaco-button, .notification-list-item a")
    cancel.filter(has_text="Cancel").first.click(timeout=60_000)
    code.until("nothing drawn", lambda: not code.drawn())
    code.until("told", lambda: "$/cancelRequest" in code.sent("$/cancelRequest"))
    assert not code.lenses()
    code.saved(file, PLAIN)


def test_typing_into_a_proposal_puts_it_away(code: Any) -> None:
    file = rewrite(code, "typed.py")
    code.go_to(4, 17)
    code.type(" ")  # between two pieces, which stay
    code.press("Backspace")
    assert code.lenses("Reject") == 3
    code.go_to(3, 5)
    code.type("x")
    code.no_lens()
    code.press("Escape", "Backspace")
    code.saved(file, REWRITTEN)


def test_a_model_that_takes_any_words_or_none(code: Any, scripted: Scripted) -> None:
    file = code.opened("words.py", REWRITTEN)
    code.command("dgemma: Free GPU Memory")
    code.notice("model process")
    scripted.write(rules=RULES)
    try:
        code.select_lines(3, 6)
        code.command("dgemma: Rewrite Selection")
        code.notice("not trained for rewrites")
        code.command("dgemma: Free GPU Memory")
        code.notice("model process")
        scripted.write(rules=RULES, instructions=True)
        code.select_lines(3, 6)
        code.command("dgemma: Rewrite Selection")
        code.pick("in my own words")
        code.wait_lens("Accept All")
        code.click_editor()
        code.press("Control+Enter")
        code.no_lens()
        code.saved(
            file,
            REWRITTEN.replace(
                REWRITTEN[REWRITTEN.index("    c =") : REWRITTEN.index("\n\n\n")],
                "    return a + b",
            ),
        )
    finally:
        code.command("dgemma: Free GPU Memory")
        code.notice("model process")
        scripted.write(rules=RULES, rewrites=REWRITES)


def test_mending_a_broken_line(code: Any) -> None:
    source = "def add(a, b%s:\n    return a + b\n\n\nprint(add(1, 2))\n"
    file = code.opened("mend.py", source % "")
    code.go_to(1, 10)
    code.command("dgemma: Mend Region")
    code.wait_lens("Accept All")
    code.press("Control+Enter")
    code.no_lens()
    code.saved(file, source % ")")

"""Ghost text, modes, status and the rest in a real VS Code, with a scripted engine."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import Any

from support.runtimes import Scripted
from support.vscode_script import HEAD, SOURCE, WHOLE


def asked(code: Any) -> int:
    """Return how many completions were asked for so far."""
    return code.sent("textDocument/inlineCompletion").count("triggerKind")


def told(code: Any, method: str) -> dict[str, Any]:
    """The parameters of the last message of a method; empty when there was none."""
    found = re.findall(r"\{.*", code.sent(method))
    return json.loads(found[-1])["params"] if found else {}


def nothing_is_asked(code: Any, typed: str) -> None:
    """Type, and see that the server is told of it and asked nothing."""
    before, changes = asked(code), code.sent("textDocument/didChange").count('"text"')
    code.type(typed)
    code.until("the change", lambda: code.sent("textDocument/didChange").count('"text"') > changes)
    time.sleep(0.5)  # many times as long as VS Code and the extension wait before they ask
    assert asked(code) == before
    assert code.ghost() == ""


def test_ghost_text_is_seen_and_tab_takes_it(code: Any) -> None:
    file = code.opened("a.py", SOURCE.replace("return ", "retur"))
    code.go_to(2, 10)
    code.type("n ")
    code.wait_ghost("a + b")
    code.picture("vscode-ghost")
    code.press("Tab")
    code.saved(file, SOURCE.replace("return ", "return a + b"))
    code.until("the acceptance", lambda: "dgemma.accepted" in code.sent("workspace/executeCommand"))


def test_in_the_middle_of_a_line_beside_wide_characters(code: Any) -> None:
    source = "# 価格 🦜\ndef price(total, rate):\n    x = '🦜'; return round%s, 2)\n"
    file = code.opened("price.py", source % "")
    code.go_to(3, 1)
    code.press("End", *["ArrowLeft"] * len(", 2)"))
    code.type("(")
    code.wait_ghost("total * rate")
    code.press("Tab")
    code.saved(file, source % "(total * rate")


def test_the_server_is_told_what_became_of_a_suggestion(code: Any) -> None:
    source = "def price(total, rate):\n    return %s\n"
    file = code.opened("told.py", (source % "").replace("return ", "return"))
    code.go_to(2, 11)
    code.type(" ")
    code.wait_ghost("total * rate")
    code.until("shown", lambda: told(code, "dgemma/didShow"))
    code.press("Control+ArrowRight")
    code.until("partly", lambda: told(code, "dgemma/didPartiallyAccept").get("length") == 5)
    code.until("the rest", lambda: "* rate" in code.ghost() and "total" not in code.ghost())
    code.press("Escape")
    code.until("dismissed", lambda: told(code, "dgemma/didReject").get("why") == "dismissed")
    code.until("no ghost", lambda: not code.ghost())
    code.press("Control+Backspace", "Backspace")
    code.type(" ")
    code.wait_ghost("total * rate")
    code.type("x")
    code.until("typed", lambda: told(code, "dgemma/didReject").get("why") == "typed")
    code.press("Escape", "Backspace")
    code.saved(file, source % "")


def test_the_whole_of_a_draft_extends_its_beginning(code: Any) -> None:
    source = "# extended\ndef area(w, h):\n%s\n\n\nprint(area(1, 2))\n"
    file = code.opened("extended.py", source % "   ")
    code.go_to(3, 4)
    code.type(" ")
    code.wait_ghost(HEAD)
    code.wait_ghost("return total * 2")
    code.press("Tab")
    code.saved(file, source % f"    {WHOLE}")


def test_an_untitled_file(code: Any) -> None:
    code.command("File: New Untitled Text File", "New Untitled")
    code.page.locator(".tab.active", has_text="Untitled").wait_for(timeout=60_000)
    code.command("Change Language Mode")
    code.pick("Python")
    code.until("didOpen", lambda: "untitled:" in code.sent("textDocument/didOpen"))
    code.type("def add(a, b):\n    return ")
    code.wait_ghost("a + b")
    code.press("Tab")
    code.until("taken", lambda: "return a + b" in code.text())
    code.command("View: Revert and Close Editor")


def test_a_notebook_cell_is_continued_by_the_cells_before_it(code: Any) -> None:
    cells = ["%matplotlib inline\n", "def add(a, b):\n    return a + b\n", "total ="]
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": text.splitlines(keepends=True),
            }
            for text in cells
        ],
        "metadata": {"language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 2,
    }
    file = code.workspace / "cells.ipynb"
    file.write_text(json.dumps(notebook))
    code.press("Control+p")
    code.pick(file.name, str(file))
    last = code.page.locator(".notebook-editor .cell-editor-container .view-lines").last
    last.click(timeout=60_000)
    code.until("the cell", lambda: "# %matplotlib" in code.sent("textDocument/didChange"))
    code.press("Control+End")
    code.type(" ")
    code.wait_ghost("a + b")
    asked = told(code, "textDocument/inlineCompletion")
    assert asked["position"] == {"line": 5, "character": 8}
    code.picture("vscode-notebook")
    code.press("Tab")
    code.save()
    code.until("saved", lambda: "total = a + b" in file.read_text())
    code.command("View: Close All Editors")


def test_several_lines_in_a_file_with_windows_line_ends(code: Any) -> None:
    source = "# block\r\ndef count(values):\r\n    %s\r\n    return n\r\n"
    file = code.opened("block.py", source % "")
    code.go_to(3, 5)
    code.command("dgemma: Trigger Suggestion")
    code.wait_ghost("n += value")
    code.press("Tab")
    code.saved(file, source % "n = 0\r\n    for value in values:\r\n        n += value")


def test_word_by_word(code: Any) -> None:
    file = code.opened("word.py", SOURCE.replace("return ", "return"))
    code.go_to(2, 11)
    code.type(" ")
    code.wait_ghost("a + b")
    code.press("Control+ArrowRight")
    code.until("the rest", lambda: "+ b" in code.ghost() and "a +" not in code.ghost())
    code.press("Escape")
    code.saved(file, SOURCE.replace("return ", "return a"))


def test_modes_take_effect_without_a_reload(code: Any) -> None:
    file = code.opened("modes.py", SOURCE.replace("return ", "return"))
    code.settings(dgemma__mode="off")
    code.wait_state("off")
    code.go_to(2, 11)
    nothing_is_asked(code, " ")
    code.settings(dgemma__mode="manual")
    code.wait_state("only what you ask for")
    code.go_to(2, 12)
    nothing_is_asked(code, " ")
    before = asked(code)
    code.command("dgemma: Trigger Suggestion")
    code.wait_ghost("a + b")
    assert asked(code) > before
    code.press("Escape", "Backspace")
    code.command("dgemma: Toggle Suggestions")
    code.until("mode", lambda: code.read_setting("dgemma.mode") == "off")
    code.command("dgemma: Set Mode")
    code.pick("Automatic")
    code.wait_state("ready")
    code.press("Backspace")
    code.type(" ")
    code.wait_ghost("a + b")
    code.press("Tab")
    code.saved(file, SOURCE.replace("return ", "return a + b"))


def test_languages_and_files_that_are_left_alone(code: Any) -> None:
    off = {"dgemma__languages": {"lua": False}, "dgemma__disabledFiles": ["**/Generated/**"]}
    code.settings(**off)
    for name in ("language.lua", "generated/file.py", ".env"):
        code.opened(name, SOURCE.replace("return ", "return"))
        code.go_to(2, 11)
        nothing_is_asked(code, " ")
        code.command("dgemma: Trigger Suggestion")
        nothing_is_asked(code, "-")
        code.save()


def test_a_snooze_outlives_a_reload(code: Any) -> None:
    source = SOURCE.replace("return ", "return")
    code.opened("snooze.py", source)
    code.command("dgemma: Snooze")
    code.pick("15 minutes")
    code.wait_state("snoozed until")
    code.reload()
    code.wait_state("snoozed until")
    code.opened("snooze.py", source)
    code.go_to(2, 11)
    nothing_is_asked(code, " ")
    code.command("dgemma: Snooze")
    code.pick("Suggest again now")
    code.wait_state("ready")
    code.press("Backspace")
    code.type(" ")
    code.wait_ghost("a + b")
    code.press("Escape")
    code.save()


def test_each_folder_has_its_own_settings(code: Any) -> None:
    source = SOURCE.replace("return ", "return")
    code.opened(str(code.folder / "other/silent.py"), source)
    code.go_to(2, 11)
    nothing_is_asked(code, " ")
    code.save()
    code.opened("speaks.py", source)
    code.go_to(2, 11)
    code.type(" ")
    code.wait_ghost("a + b")
    code.press("Escape")
    code.save()


def test_a_killed_runtime_comes_back_while_one_types(code: Any, scripted: Scripted) -> None:
    file = code.opened("killed.py", SOURCE.replace("return ", "return"))
    code.go_to(2, 11)
    code.type(" ")
    code.wait_ghost("a + b")
    first = scripted.endpoint
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    code.press("Escape", "Backspace")
    code.type(" -")
    code.wait_ghost("a + b")
    second = scripted.endpoint
    assert second is not None
    assert second.pid != first.pid
    code.press("Tab")
    code.saved(file, SOURCE.replace("return ", "return -a + b"))

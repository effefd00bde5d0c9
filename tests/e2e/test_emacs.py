"""A real Emacs with the configuration of docs/other-editors.md: keys in, buffer and disk out."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.emacs import Emacs, can_be_had, missing
from support.lsp import settings
from support.runtimes import Scripted

UNDO = "\x1f"
COMPLETE = "\x1b\t"
FILL, REWRITE, ACTION = "\x03df", "\x03dr", "\x03da"
END = "\x1b>"

REWRITES = [
    {"kind": "inline", "instruction": "inline the variable", "success": 0.8},
    {"kind": "rename", "instruction": "rename {a} to {b}", "success": 0.5},
]
RULES: list[dict[str, Any]] = [
    {"when": "def slow", "text": "late", "steps": 40, "step_ms": 25},
    {"when": "def silent", "text": ""},
    {"when": "return ad", "text": "d(a, b)"},
    {"when": "def loop", "text": "total = 0\n    return total"},
    {"when": "漢🦜", "text": "'總🦜' + x"},
    {"instruction": "inline the variable", "text": "    return a + b  # 漢🦜"},
    {"instruction": "rename c to total", "text": "    total = a + b\n    return total"},
    {"when": "def add", "text": "a + b"},
]
BODY = "    c = a + b\n    return c\n"
SOURCE = f"# 漢🦜\ndef add(a, b):\n{BODY}\n\nprint(add(1, 2))\n"


@pytest.fixture(scope="module")
def emacs() -> Iterator[Emacs]:
    if why := missing():
        if os.environ.get("DGEMMA_REQUIRE_ALL") == "1" and can_be_had():
            pytest.fail(why)
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="dg-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DGEMMA_RUNTIME_DIR", str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        scripted = Scripted(folder, rules=RULES, rewrites=REWRITES)
        editor = Emacs(folder, settings(completion=True, deadlineMs=30_000))
        yield editor
        editor.close()
        scripted.kill()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_completion_is_inserted_and_undone(emacs: Emacs) -> None:
    before = "def add(a, b):\n    return "
    emacs.edit(before)
    emacs.type(END + COMPLETE)
    emacs.becomes(before + "a + b")
    emacs.type(UNDO)
    emacs.becomes(before)


def test_the_rest_of_a_word_that_was_typed(emacs: Emacs) -> None:
    emacs.edit("def add(a, b):\n    return ")
    emacs.type(END + "ad" + COMPLETE)
    emacs.becomes("def add(a, b):\n    return add(a, b)")


def test_a_completion_of_several_lines(emacs: Emacs) -> None:
    emacs.edit("def loop():\n    ")
    emacs.type(END + COMPLETE)
    emacs.becomes("def loop():\n    total = 0\n    return total")


def test_filling_inserts_at_point_and_is_one_step_to_undo(emacs: Emacs) -> None:
    before = "def loop():\n    \n\n\nloop()\n"
    emacs.edit(before)
    emacs.go("    ")
    emacs.type(FILL)
    after = before.replace("    \n", "    total = 0\n    return total\n")
    emacs.becomes(after)
    assert emacs.eval("(buffer-substring (line-beginning-position) (point))") == "    return total"
    emacs.type(UNDO)
    emacs.becomes(before)


def test_what_comes_too_late_is_not_inserted(emacs: Emacs) -> None:
    emacs.edit("def slow():\n    return \n")
    emacs.go("return ")
    emacs.type(FILL)
    emacs.says("dgemma: filling")
    emacs.type("1")
    emacs.says("you went on; nothing was inserted")
    assert emacs.text() == "def slow():\n    return 1\n"


def test_a_place_that_was_left_is_not_filled(emacs: Emacs) -> None:
    emacs.edit("def slow(a):\n    return \n")
    emacs.go("return ")
    emacs.type(FILL)
    emacs.says("dgemma: filling")
    emacs.type("\x1b<")
    emacs.says("you went on; nothing was inserted")
    assert emacs.text() == "def slow(a):\n    return \n"


def test_no_text_and_the_reason(emacs: Emacs) -> None:
    emacs.edit("def silent():\n    return \n")
    emacs.go("return ")
    emacs.type(FILL)
    emacs.says("dgemma: No candidate passed the validator: empty")
    assert emacs.text() == "def silent():\n    return \n"


def test_a_rewrite_is_one_step_to_undo(emacs: Emacs) -> None:
    emacs.edit(SOURCE)
    emacs.go("    c =", end=False)
    emacs.type("\x00\x0e\x0e" + REWRITE)
    emacs.asks()
    emacs.type("rename \t\r")
    emacs.until(lambda: "{a} is" in emacs.eval("(minibuffer-prompt)"), "the first place")
    emacs.type("c\r")
    emacs.until(lambda: "{b} is" in emacs.eval("(minibuffer-prompt)"), "the second place")
    emacs.type("total\r")
    emacs.becomes(SOURCE.replace(BODY, "    total = a + b\n    return total\n"))
    emacs.type(UNDO)
    emacs.becomes(SOURCE)


def test_a_rewrite_as_a_code_action(emacs: Emacs) -> None:
    emacs.edit(SOURCE)
    emacs.go("    c =", end=False)
    emacs.type("\x00\x0e\x0e" + ACTION)
    emacs.asks()
    emacs.type("dgemma: inline the variable\r")
    emacs.becomes(SOURCE.replace(BODY, "    return a + b  # 漢🦜\n"))
    emacs.type(UNDO)
    emacs.becomes(SOURCE)


def test_mending_as_a_quick_fix(emacs: Emacs) -> None:
    broken = "x = ('🦜', [1, 2)\ny = 3\n"
    emacs.edit(broken)
    emacs.go("🦜")
    emacs.type(ACTION)
    emacs.asks()
    emacs.type("\r")
    emacs.becomes(broken.replace("2)", "2])"))
    emacs.type(UNDO)
    emacs.becomes(broken)


def test_crlf_and_characters_of_two_units(emacs: Emacs) -> None:
    path = emacs.edit("# 漢🦜\r\nx = 1\r\ny = '🦜', \r\nz = 2\r\n".encode())
    emacs.go("'🦜', ")
    emacs.type(FILL)
    emacs.becomes("# 漢🦜\nx = 1\ny = '🦜', '總🦜' + x\nz = 2\n")
    emacs.type(UNDO)
    emacs.becomes("# 漢🦜\nx = 1\ny = '🦜', \nz = 2\n")
    emacs.type(COMPLETE)
    emacs.becomes("# 漢🦜\nx = 1\ny = '🦜', '總🦜' + x\nz = 2\n")
    emacs.type("\x18\x13")
    after = "# 漢🦜\r\nx = 1\r\ny = '🦜', '總🦜' + x\r\nz = 2\r\n".encode()
    emacs.until(lambda: path.read_bytes() == after, "the saved file")


def test_a_language_whose_mode_has_another_name(emacs: Emacs) -> None:
    broken = "const x = f([1, 2)\n"
    emacs.edit(broken, ".js")
    emacs.type(ACTION)
    emacs.asks()
    emacs.type("\r")
    emacs.becomes("const x = f([1, 2])\n")


def test_the_status_is_shown(emacs: Emacs) -> None:
    emacs.edit("x = 1\n")
    emacs.type("\x03ds")
    shown = '(let ((it (get-buffer "*dgemma*"))) (and it (with-current-buffer it (buffer-string))))'
    found = emacs.until(lambda: emacs.eval(shown), "the status")
    assert ":model" in found
    assert "scripted" in found


def test_the_menu_of_eglot_itself(emacs: Emacs) -> None:
    emacs.edit(SOURCE)
    emacs.go("    c =", end=False)
    emacs.type("\x00\x0e\x0e\x1bxeglot-code-actions\r")
    emacs.asks()
    emacs.type("dgemma: inline the variable\r")
    emacs.until(lambda: "Proceed?" in emacs.eval('(or (minibuffer-prompt) "")'), "eglot's question")
    emacs.type("y")
    emacs.becomes(SOURCE.replace(BODY, "    return a + b  # 漢🦜\n"))
    emacs.type(UNDO)
    emacs.becomes(SOURCE)

"""The packaged extension in a real VS Code, a real server and runtime, a scripted engine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import vscode
from support.runtimes import COMMAND, Scripted

REWRITES = [
    {"kind": "inline", "instruction": "inline the variable", "success": 0.8},
    {"kind": "rename", "instruction": "rename {a} to {b}", "success": 0.55},
]
RULES = [
    {
        "instruction": "rename c to total",
        "text": "    total = a + b\n    print('sum')\n    # this stays\n    return total",
    },
    {"when": "# block", "text": "n = 0\n    for value in values:\n        n += value"},
    {"when": "def add", "text": "a + b", "others": ["b + a"]},
    {"when": "price", "text": "total * rate"},
]
SOURCE = "def add(a, b):\n    return \n\n\nprint(add(1, 2))\n"
REWRITTEN = (
    "# 漢🦜\ndef add(a, b):\n    c = a + b\n    print('sum')\n    # this stays\n    return c\n\n\n"
    "print(add(1, 2))\n"
)


@pytest.fixture(scope="module")
def scripted() -> Iterator[Scripted]:
    before = dict(os.environ)
    path = Path(tempfile.mkdtemp(prefix="dg-"))
    os.environ["DGEMMA_RUNTIME_DIR"] = str(path)
    one = Scripted(path, rules=RULES, rewrites=REWRITES)
    yield one
    one.kill()
    os.environ.clear()
    os.environ.update(before)
    shutil.rmtree(path, ignore_errors=True)


SETTINGS = {
    "dgemma.runtimeCommand": list(COMMAND),
    "dgemma.runtime.model": "scripted",
    "dgemma.debounceMs": 20,
}


@pytest.fixture(scope="module")
def window(scripted: Scripted) -> Iterator[Any]:
    vscode.require()
    folder = Path(tempfile.mkdtemp(prefix="dg-code-"))
    with vscode.start(folder, SETTINGS) as code:
        yield code
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def code(window: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The window, with the settings as they were; with a picture of how the test left it."""
    window.settings()
    yield window
    window.picture(re.sub(r"\W+", "-", request.node.name))


def asked(code: Any) -> int:
    """Return how many completions were asked for so far."""
    return code.sent("textDocument/inlineCompletion").count("triggerKind")


def nothing_is_asked(code: Any, typed: str) -> None:
    before = asked(code)
    code.type(typed)
    time.sleep(1.5)
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


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("language.py", {"dgemma__languages": {"python": False}}),
        ("generated/file.py", {"dgemma__disabledFiles": ["**/Generated/**"]}),
        (".env", {}),
    ],
)
def test_languages_and_files_that_are_left_alone(code: Any, name: str, settings: Any) -> None:
    code.settings(**settings)
    code.opened(name, SOURCE.replace("return ", "return"))
    code.go_to(2, 11)
    nothing_is_asked(code, " ")
    code.command("dgemma: Trigger Suggestion")
    nothing_is_asked(code, "")
    code.save()


def test_snooze(code: Any) -> None:
    code.opened("snooze.py", SOURCE.replace("return ", "return"))
    code.command("dgemma: Snooze")
    code.pick("15 minutes")
    code.wait_state("snoozed until")
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


def rewrite(code: Any, name: str) -> Path:
    """Open the file, and ask to rename the variable in its function."""
    file = code.opened(name, REWRITTEN)
    code.select_lines(3, 6)
    code.command("dgemma: Rewrite Selection")
    code.pick("rename {a} to {b}")
    code.answer("c", "Instead of {a}")
    code.answer("total", "Instead of {b}")
    code.page.locator(".codelens-decoration", has_text="Accept All").wait_for(timeout=60_000)
    return file


def test_a_rewrite_is_decided_piece_by_piece_and_undone_in_one_step(code: Any) -> None:
    file = rewrite(code, "rewrite.py")
    code.picture("vscode-rewrite")
    assert file.read_text() == REWRITTEN
    code.saved(file, REWRITTEN)  # nothing has changed yet
    code.lens("Accept")
    code.until("decided", lambda: code.page.locator("a", has_text="Accepted: take back").count())
    code.saved(file, REWRITTEN)  # not before all is decided
    code.page.locator(".codelens-decoration").nth(1).locator("a", has_text="Reject").click()
    changed = REWRITTEN.replace("    c = a + b", "    total = a + b")
    code.until("no lens", lambda: not code.page.locator(".codelens-decoration").count())
    code.saved(file, changed)
    code.page.locator(".editor-instance .view-lines").first.click()
    code.press("Control+z")
    code.saved(file, REWRITTEN)
    code.press("Control+Shift+z")
    code.saved(file, changed)


def test_accept_all_by_key_and_escape_rejects_all(code: Any) -> None:
    file = rewrite(code, "keys.py")
    code.go_to(1, 1)
    code.press("Control+Enter")
    changed = REWRITTEN.replace("c = a", "total = a").replace("return c", "return total")
    code.until("no lens", lambda: not code.page.locator(".codelens-decoration").count())
    code.saved(file, changed)
    file = rewrite(code, "escape.py")
    code.go_to(1, 1)
    code.press("Escape")
    code.until("no lens", lambda: not code.page.locator(".codelens-decoration").count())
    code.saved(file, REWRITTEN)
    code.select_lines(3, 6)
    code.command("dgemma: Rewrite Selection")
    code.pick("rename c to total")  # used before
    code.page.locator(".codelens-decoration", has_text="Accept All").wait_for(timeout=60_000)
    code.go_to(1, 1)
    code.type("# moved down\n")  # elsewhere: the proposal moves along
    code.press("Control+Enter")
    code.until("no lens", lambda: not code.page.locator(".codelens-decoration").count())
    code.saved(file, "# moved down\n" + changed)


def test_mending_a_broken_line(code: Any) -> None:
    file = code.opened("mend.py", SOURCE.replace("return ", "return a + b").replace("b):", "b:"))
    code.go_to(1, 10)
    code.command("dgemma: Mend Region")
    code.page.locator(".codelens-decoration", has_text="Accept All").wait_for(timeout=60_000)
    code.press("Control+Enter")
    code.until("no lens", lambda: not code.page.locator(".codelens-decoration").count())
    code.saved(file, SOURCE.replace("return ", "return a + b"))


def test_typing_into_a_proposal_puts_it_away(code: Any) -> None:
    file = rewrite(code, "typed.py")
    code.go_to(4, 5)
    code.type("x")
    code.until("no lens", lambda: not code.page.locator(".codelens-decoration").count())
    code.press("Escape", "Backspace")
    code.saved(file, REWRITTEN)


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


def test_status_doctor_and_freeing_memory(code: Any, scripted: Scripted) -> None:
    code.opened("status.py", SOURCE)
    code.go_to(2, 12)
    code.command("dgemma: Trigger Suggestion")
    code.wait_ghost("a + b")
    code.command("dgemma: Show Status")
    listed = code.page.locator(".quick-input-list")
    code.until("the model", lambda: "scripted" in (listed.text_content() or ""))
    text = listed.text_content() or ""
    assert "cpu" in text
    assert "ready" in text
    assert "ms" in text
    code.pick("Free GPU Memory")
    code.notice("memory is free")
    code.until("the end of the runtime", lambda: scripted.endpoint is None)
    code.command("dgemma: Restart")
    code.wait_state("ready")


def test_a_model_that_offers_no_rewrites_says_so_first(code: Any, scripted: Scripted) -> None:
    code.opened("none.py", REWRITTEN)
    code.command("dgemma: Free GPU Memory")
    code.notice("model process")
    scripted.write(rules=RULES)
    try:
        code.select_lines(3, 6)
        code.command("dgemma: Rewrite Selection")
        code.notice("not trained for rewrites")
    finally:
        scripted.write(rules=RULES, rewrites=REWRITES)


def test_walkthrough(code: Any) -> None:
    code.open("walk.py", "")
    code.command("dgemma: Open Walkthrough")
    code.page.locator("text=Start with dgemma").first.wait_for(timeout=60_000)
    code.page.locator("text=Rewrite a selection").first.wait_for(timeout=60_000)
    code.command("View: Close All Editors")

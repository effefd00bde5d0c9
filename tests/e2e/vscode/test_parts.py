"""Status, models, statistics, settings and the walkthrough in a real VS Code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.hub import REPOSITORY, TinyHub
from support.runtimes import Scripted
from support.vscode_script import SOURCE


def ask(code: Any, name: str) -> None:
    """Ask for a suggestion, which starts the runtime."""
    code.opened(name, SOURCE)
    code.go_to(2, 12)
    code.command("dgemma: Trigger Suggestion")
    code.wait_ghost("a + b")


def listed(code: Any) -> str:
    """What stands in the list that is open."""
    return code.page.locator(".quick-input-list").text_content() or ""


def test_status_doctor_and_freeing_memory(code: Any, scripted: Scripted) -> None:
    ask(code, "status.py")
    code.command("dgemma: Show Status")
    code.until("the model", lambda: "scripted" in listed(code))
    text = listed(code)
    for fact in ("cpu", "float32", "ready", "ms", "Memory", "runs anywhere"):
        assert fact in text
    assert "Choose Model" in text
    code.pick("Free GPU Memory")
    code.notice("memory is free")
    code.until("the end of the runtime", lambda: scripted.endpoint is None)
    code.command("dgemma: Restart")
    code.wait_state("ready")


def test_statistics_are_shown_and_erased(code: Any) -> None:
    ask(code, "statistics.py")
    code.press("Tab")
    code.until("taken", lambda: "dgemma.accepted" in code.sent("workspace/executeCommand"))
    code.command("dgemma: Statistics")
    code.until("counts", lambda: "Accepted in part" in listed(code))
    code.pick("Erase")
    code.page.locator(".monaco-dialog-box .monaco-button", has_text="Erase").first.click()
    code.notice("are erased")


@pytest.fixture
def machine(code: Any) -> Iterator[Any]:
    """The machine's settings, put back afterwards as a person would."""
    file = code.folder / "user/Machine/settings.json"
    before = file.read_text()
    yield file
    if file.read_text() != before:
        file.write_text(before)
        code.reload()


def test_a_model_is_fetched_and_chosen(code: Any, hub: TinyHub, machine: Any) -> None:
    ask(code, "model.py")
    hub.faults.pause_s = 0.3
    try:
        code.command("dgemma: Choose Model")
        code.until("the models", lambda: REPOSITORY in listed(code))
        assert "to be fetched" in listed(code)
        assert "51.7 GB" in listed(code)
        assert "Apache-2.0" in listed(code)
        code.picture("vscode-models")
        code.pick(REPOSITORY)
        bar = code.page.locator(".notification-list-item", has_text="fetching")
        bar.wait_for(timeout=60_000)
        code.picture("vscode-fetching")
        bar.locator(".monaco-button, a", has_text="Cancel").first.click()
        code.notice("Stopped")
    finally:
        hub.faults.pause_s = 0.0
    assert json.loads(machine.read_text())["dgemma.runtime.model"] == "scripted"
    code.command("dgemma: Choose Model")
    code.pick(REPOSITORY)
    code.notice("from the next request on")
    code.until(
        "the setting",
        lambda: json.loads(machine.read_text())["dgemma.runtime.model"] == REPOSITORY,
    )
    code.command("dgemma: Choose Model")
    code.until("it is in use", lambda: f"{REPOSITORY}in use" in listed(code))
    code.press("Escape")


def test_walkthrough(code: Any) -> None:
    code.open("walk.py", "")
    code.command("dgemma: Open Walkthrough")
    code.page.locator("text=Start with dgemma").first.wait_for(timeout=60_000)
    code.page.locator("text=Rewrite a selection").first.wait_for(timeout=60_000)
    code.command("View: Close All Editors")

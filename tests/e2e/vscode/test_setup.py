"""A VS Code that finds no server: it asks once, and installs this repository when it is told to."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import vscode
from support.runtimes import COMMAND, Scripted

ROOT = Path(__file__).parent.parent.parent.parent
INSTALL_S = 400
"""pip builds the repository and fetches a dozen packages."""


@pytest.fixture
def code(run_dir: Path) -> Iterator[Any]:
    vscode.require()
    scripted = Scripted(run_dir, rules=[{"when": "def add", "text": "a + b"}])
    folder = Path(tempfile.mkdtemp(prefix="dg-code-"))
    settings = {
        "dgemma.server.command": [],
        "dgemma.server.package": str(ROOT),
        "dgemma.runtimeCommand": list(COMMAND),
        "dgemma.runtime.model": "scripted",
        "security.workspace.trust.enabled": True,
        "security.workspace.trust.startupPrompt": "never",
        "security.workspace.trust.banner": "never",
    }
    with vscode.start(folder, settings, trusted=False) as one:
        yield one
        one.picture("set-up")
    scripted.kill()
    shutil.rmtree(folder, ignore_errors=True)


def test_set_up_asks_once_can_be_stopped_and_installs_a_server(code: Any) -> None:
    code.open("setup.py", "def add(a, b):\n    return\n")
    code.wait_state("not trusted")  # nothing is even looked for
    assert not code.page.locator(".notification-list-item").count()
    code.command("Workspaces: Manage Workspace Trust")
    button = code.page.locator(".workspace-trust-editor .monaco-button", has_text="Trust")
    button.first.click(timeout=60_000)
    code.wait_state("not set up")
    code.press("Control+w")
    code.page.locator(".notification-list-item", has_text="No dgemma language server").wait_for()
    code.command("Notifications: Clear All Notifications")
    code.command("dgemma: Trigger Suggestion")
    time.sleep(2)
    assert not code.page.locator(".notification-list-item").count()
    storage = code.folder / "user/User/globalStorage/dgemma.dgemma/environment"
    code.command("dgemma: Set Up")
    code.until("the environment", (storage / "pyvenv.cfg").exists)
    code.page.locator(".notification-list-item a, .notification-list-item .monaco-button").filter(
        has_text="Cancel"
    ).first.click(timeout=60_000)
    code.until("it is gone", lambda: not storage.exists())
    assert "not set up" in code.state()
    code.command("dgemma: Set Up")
    code.until("the server", lambda: (storage / ".dgemma-complete").exists(), INSTALL_S)
    code.wait_state("ready")
    assert not list(storage.glob("lib/python*/site-packages/torch"))
    code.go_to(2, 11)
    code.type(" ")
    code.wait_ghost("a + b")
    code.command("dgemma: Doctor Report")
    code.page.locator(".tab", has_text="dgemma-doctor").wait_for(timeout=60_000)
    text = code.page.locator(".editor-instance .view-lines").first
    code.until("the report", lambda: "tree-sitter" in (text.text_content() or ""))

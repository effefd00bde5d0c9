"""A real VS Code in a real browser: code-server, the packaged extension, Chromium.

The server's input is recorded on its way, so that tests can see what was sent and what was not.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from playwright.sync_api import Page, Playwright
try:
    from playwright.sync_api import Error as PlaywrightError
    from playwright.sync_api import TimeoutError as PlaywrightTimeout
except ImportError:  # ``require`` says so
    PlaywrightError = PlaywrightTimeout = TimeoutError

ROOT = Path(__file__).parent.parent.parent
EXTENSION = ROOT / "editors/vscode"
WAIT_S = float(os.environ.get("DGEMMA_TEST_WAIT_S", "60"))
"""Long, since the machine may be busy; nothing here waits longer than it must."""

FLAGS = (
    "--auth=none",
    "--disable-telemetry",
    "--disable-update-check",
    "--disable-getting-started-override",
)
TRUSTED = ("--disable-workspace-trust",)
OPEN_S = 4 * WAIT_S
"""A first window on a busy machine takes its time."""
MACHINE = ("dgemma.server.", "dgemma.runtime")
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)

DRAWN = """() => [...document.querySelectorAll('.view-line span')]
    .map(span => ['::before', '::after']
        .map(side => getComputedStyle(span, side).content)
        .map(text => text.startsWith('"') ? JSON.parse(text) : '').join(''))
    .join('')"""

Found = TypeVar("Found")

_spec = importlib.util.spec_from_file_location("get_vscode", ROOT / "scripts/get_vscode.py")
assert _spec is not None
assert _spec.loader is not None
installed = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(installed)

QUIET_SETTINGS: dict[str, Any] = {
    "security.workspace.trust.enabled": False,
    "workbench.startupEditor": "none",
    "workbench.reduceMotion": "on",
    "workbench.editor.useModal": "off",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "chat.disableAIFeatures": True,
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "editor.suggestOnTriggerCharacters": False,
    "editor.wordBasedSuggestions": "off",
    "editor.autoClosingBrackets": "never",
    "editor.autoIndent": "none",
    "editor.minimap.enabled": False,
    "files.eol": "\n",
    "telemetry.telemetryLevel": "off",
    "update.mode": "none",
    "extensions.autoCheckUpdates": False,
}


def require() -> None:
    """Skip the test when something is missing; under `make test` fail it."""
    why = installed.missing()
    if importlib.util.find_spec("playwright") is None:
        why = "playwright is not installed: pip install -e '.[dev]'"
    if why is not None:
        pytest.fail(why) if os.environ.get("DGEMMA_REQUIRE_ALL") == "1" else pytest.skip(why)


def build(folder: Path) -> Path:
    """Package the extension as it stands, into a folder; tests in parallel take turns."""
    with FileLock(Path(tempfile.gettempdir()) / "dgemma-vscode-build.lock"):
        ran = subprocess.run(
            ["npm", "run", "package"], cwd=EXTENSION, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return Path(shutil.copy(EXTENSION / "out/dgemma.vsix", folder))


def until(what: str, look: Callable[[], Found | None], seconds: float = WAIT_S) -> Found:
    """Look again and again until there is something."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


class Code:
    """One code-server, and the page of one window of it."""

    def __init__(self, folder: Path, page: Page, port: int, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.page = page
        self.port = port
        self.base = settings
        self.sent_file = folder / "sent.log"
        self.workspace = folder / "work"
        self.root = {"folder": self.workspace}
        """What the window shows: a ``folder`` or a ``workspace``, which is a file."""

    until = staticmethod(until)

    # -- settings and files ---------------------------------------------------------------------

    def settings(self, **more: Any) -> None:
        """Make these the user's settings; in a window as a person does, for nobody watches files.

        Two underscores in a name stand for a dot.
        """
        written = {**self.base, **{name.replace("__", "."): more[name] for name in more}}
        if self.page.url == "about:blank":
            self.settings_file.parent.mkdir(parents=True, exist_ok=True)
            self.settings_file.write_text(json.dumps(written))
        elif json.loads(self.settings_file.read_text() or "{}") != written:
            self.command("Preferences: Open User Settings (JSON)")
            tab = self.page.locator(".tab.active", has_text="settings.json")
            tab.wait_for(timeout=WAIT_S * 1000)
            self.page.locator(".editor-instance .view-lines").first.click(timeout=WAIT_S * 1000)
            shown = self.page.locator(".editor-instance .view-lines").first
            self.press("Control+a", "Delete")
            until("an empty editor", lambda: not (shown.text_content() or "").strip("\xa0 "))
            self.page.keyboard.insert_text(json.dumps(written))
            until("the new text", lambda: (shown.text_content() or "").strip())
            self.save()
            until("settings", lambda: self.settings_file.read_text() == json.dumps(written))
            self.press("Control+w")
            tab.wait_for(state="hidden", timeout=WAIT_S * 1000)

    @property
    def settings_file(self) -> Path:
        return self.folder / "user/User/settings.json"

    def read_setting(self, name: str) -> Any:
        return json.loads(self.settings_file.read_text()).get(name)

    def open(self, name: str, text: str) -> Path:
        """Open a file, in a new window when there is none yet."""
        file = self.workspace / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
        if self.page.url == "about:blank":
            address = f"127.0.0.1:{self.port}"
            payload = json.dumps([["openFile", f"vscode-remote://{address}{file}"]])
            shown = {name: str(path) for name, path in self.root.items()}
            query = urllib.parse.urlencode({**shown, "payload": payload})
            self._load(f"http://{address}/?{query}")
        else:
            self.press("Control+p")
            self.pick(file.name, str(file))
        tab = self.page.locator(".tab.active", has_text=file.name)
        tab.wait_for(timeout=OPEN_S * 1000)
        self.page.locator(".editor-instance .view-lines").first.click(timeout=OPEN_S * 1000)
        return file

    def _load(self, url: str) -> None:
        """Load the window; once more when its connection hangs, as it did once in twenty times."""
        editor = self.page.locator(".editor-instance .view-lines").first
        self.page.goto(url, wait_until="commit", timeout=OPEN_S * 1000)
        try:
            editor.wait_for(timeout=2 * WAIT_S * 1000)
        except PlaywrightTimeout:
            self.page.goto(url, wait_until="commit", timeout=OPEN_S * 1000)
            editor.wait_for(timeout=OPEN_S * 1000)

    def reload(self) -> None:
        """Load the window anew, as a person does; the server is another one afterwards."""
        if self.sent_file.exists():
            self.sent_file.rename(self.sent_file.with_suffix(".earlier"))
        self.page.evaluate("() => { window.beforeReload = true }")
        self.command("Developer: Reload Window")
        until("a new page", self._is_new)
        item = self.page.locator('.statusbar-item[id*="dgemma.status"]').first
        item.wait_for(timeout=OPEN_S * 1000)

    def _is_new(self) -> bool:
        try:
            return bool(self.page.evaluate("() => !window.beforeReload"))
        except PlaywrightError:  # it is on its way
            return False

    def text(self) -> str:
        """What is to be seen of the active editor."""
        shown = self.page.locator(".editor-instance .view-lines").first
        return (shown.text_content() or "").replace("\xa0", " ")

    def opened(self, name: str, text: str) -> Path:
        """Open a file, and wait until the server has been told of it."""
        file = self.open(name, text)
        until("didOpen", lambda: file.as_uri() in self.sent("textDocument/didOpen"), OPEN_S)
        return file

    def sent(self, method: str) -> str:
        """Return the messages of a method that went to the server so far."""
        text = self.sent_file.read_text(errors="replace") if self.sent_file.exists() else ""
        parts = text.split("Content-Length: ")
        return "".join(part for part in parts if f'"method":"{method}"' in part)

    # -- hands and eyes -------------------------------------------------------------------------

    def _fill(self, text: str) -> None:
        box = self.page.locator(".quick-input-widget input[type=text]").first
        box.wait_for(state="visible", timeout=WAIT_S * 1000)
        box.fill(text)

    def answer(self, text: str, prompt: str = "") -> None:
        """Fill in the box that asks for something, in the words of its prompt."""
        asking = self.page.locator(".quick-input-widget", has_text=prompt)
        asking.wait_for(state="visible", timeout=WAIT_S * 1000)
        self._fill(text)
        self.press("Enter")

    def go_to(self, line: int, column: int) -> None:
        """Put the cursor at a place, counted from one."""
        self.press("Control+g")
        self.answer(f":{line}:{column}")
        place = f"Ln {line}, Col {column}"
        self.page.locator(".statusbar-item", has_text=place).wait_for(timeout=WAIT_S * 1000)

    def select_lines(self, first: int, last: int) -> None:
        """Select whole lines, counted from one."""
        self.go_to(first, 1)
        self.press(*["Shift+ArrowDown"] * (last - first + 1))

    def type(self, text: str, delay: float = 60) -> None:
        self.page.keyboard.type(text, delay=delay)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def command(self, title: str, typed: str | None = None) -> None:
        """Run a command by its title in the palette; typed is what finds it, but not first."""
        self.press("F1")
        if typed is None:
            self.pick(title, f">{title}")
        else:
            self._fill(f">{typed}")
            row = self.page.locator(".quick-input-list .monaco-list-row")
            row.filter(has=self.page.get_by_text(title, exact=True)).first.click()

    def pick(self, text: str, typed: str | None = None) -> None:
        """Choose the row with a text in the list that is open, having typed what finds it."""
        self._fill(text if typed is None else typed)
        row = self.page.locator(".quick-input-list .monaco-list-row.focused", has_text=text).first
        row.wait_for(state="visible", timeout=WAIT_S * 1000)
        self.press("Enter")
        row.wait_for(state="hidden", timeout=WAIT_S * 1000)

    def press_for_list(self, keys: str) -> None:
        """Press keys until a list is open: the first time the focus may still be on its way."""
        field = self.page.locator(".quick-input-widget input[type=text]").first
        for _ in range(5):
            self.press(keys)
            try:
                field.wait_for(state="visible", timeout=5000)
            except Exception as error:
                if type(error).__name__ != "TimeoutError":
                    raise
            else:
                return

    def ghost(self) -> str:
        """Return the ghost text that is to be seen, without line breaks."""
        parts = self.page.locator('[class*="ghost-text"]').all_text_contents()
        return "".join(parts).replace("\xa0", " ")

    def wait_ghost(self, text: str) -> None:
        until(f"ghost text {text!r}", lambda: text in self.ghost())

    def lens(self, title: str, number: int = 0) -> None:
        """Click a code lens with a title: the first one, or one counted from 0."""
        link = self.page.locator(".codelens-decoration a", has_text=title).nth(number)
        link.wait_for(state="visible", timeout=WAIT_S * 1000)
        link.click()

    def wait_lens(self, title: str) -> None:
        """Wait until there is a code lens with a title."""
        link = self.page.locator(".codelens-decoration", has_text=title).first
        link.wait_for(state="visible", timeout=WAIT_S * 1000)

    def lenses(self, title: str = "") -> int:
        """How many code lenses with a title there are."""
        return self.page.locator(".codelens-decoration a", has_text=title).count()

    def no_lens(self) -> None:
        """Wait until there is no code lens any more."""
        until("no lens", lambda: not self.lenses())

    def drawn(self) -> str:
        """What decorations put behind the text, in the order in which they stand."""
        text = self.page.evaluate(DRAWN)
        return text.replace("\xa0", " ")

    def wait_drawn(self, text: str) -> None:
        until(f"drawn {text!r}", lambda: text in self.drawn())

    def click_editor(self) -> None:
        """Put the focus into the editor."""
        self.command("View: Focus Active Editor Group")

    def notice(self, text: str) -> None:
        """Wait for a notification with a text, and close it."""
        notice = self.page.locator(".notification-list-item", has_text=text).first
        notice.wait_for(timeout=WAIT_S * 1000)
        self.command("Notifications: Clear All Notifications")

    def state(self) -> str:
        """Return what the status bar item tells a screen reader."""
        item = self.page.locator('.statusbar-item[id*="dgemma.status"] [aria-label]').first
        return item.get_attribute("aria-label", timeout=WAIT_S * 1000) or ""

    def wait_state(self, text: str) -> None:
        until(f"status {text!r}", lambda: text in self.state())

    def picture(self, name: str) -> None:
        """Keep a picture of the window in the folder of the variable, when there is one."""
        if folder := os.environ.get("DGEMMA_PICTURES"):
            self.page.screenshot(path=f"{folder}/{name}.png", animations="disabled")

    def save(self) -> None:
        self.press("Control+s")

    def saved(self, file: Path, text: str) -> None:
        """Save, and wait until the file has a text."""

        def same() -> bool:
            return file.read_bytes().decode() == text

        self.save()
        with contextlib.suppress(AssertionError):
            until("saved", same, 15)
        assert file.read_bytes().decode() == text


@dataclass
class _Playwright:
    """The one playwright that a process can have, for as long as somebody uses it."""

    one: Playwright | None = None
    users: int = 0


_PLAYWRIGHT = _Playwright()


@contextlib.contextmanager
def playwright() -> Iterator[Playwright]:
    """Lend the one playwright of this process.

    While it runs, an event loop runs in this thread: other tests want one of their own, so it ends
    with its last user.
    """
    from playwright.sync_api import sync_playwright

    lent = _PLAYWRIGHT
    if lent.one is None:
        lent.one = sync_playwright().start()
    lent.users += 1
    try:
        yield lent.one
    finally:
        lent.users -= 1
        if lent.users == 0:
            one, lent.one = lent.one, None
            one.stop()


@contextlib.contextmanager
def start(
    folder: Path, settings: dict[str, Any], *, trusted: bool = True, **env: str
) -> Iterator[Code]:
    """Start VS Code with the extension installed, and settings of dgemma.

    Args:
        folder: Where everything of it is kept.
        settings: Those of dgemma, and others that differ from ``QUIET_SETTINGS``.
        trusted: Whether folders are trusted without a question.
        env: Variables of its processes, over those of the test.
    """
    node, entry = str(installed.node()), str(installed.entry())
    user, extensions = str(folder / "user"), str(folder / "extensions")
    (folder / "work").mkdir(parents=True)
    places = ["--user-data-dir", user, "--extensions-dir", extensions]
    ran = subprocess.run(
        [node, entry, *places, "--install-extension", str(build(folder))],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    log, sent = folder / "lsp.log", folder / "sent.log"
    server = [sys.executable, "-m", "dgemma_lsp", "--log-file", str(log)]
    # tee keeps nothing back: what is in the file is what the server has got.
    shell = f"tee -a {shlex.quote(str(sent))} | {shlex.join(server)}"
    chosen = {"dgemma.server.command": ["sh", "-c", shell], **settings}
    # A window with a remote takes what may differ between machines from the machine's settings.
    machine = {name: chosen.pop(name) for name in list(chosen) if name.startswith(MACHINE)}
    (folder / "user/Machine").mkdir(parents=True, exist_ok=True)
    (folder / "user/Machine/settings.json").write_text(json.dumps(machine))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "code-server.log").open("wb") as output:
        process = subprocess.Popen(
            [
                node,
                entry,
                *FLAGS,
                *(TRUSTED if trusted else ()),
                "--bind-addr",
                f"127.0.0.1:{port}",
                *places,
            ],
            stdout=output,
            stderr=output,
            env={**os.environ, "XDG_DATA_HOME": str(folder / "data"), "PATH": _path(), **env},
            start_new_session=True,
        )
    try:
        until("code-server", lambda: _answers(f"http://127.0.0.1:{port}/healthz"))
        with playwright() as one:
            browser = one.chromium.launch(
                executable_path=str(installed.chromium()), args=list(BROWSER_FLAGS)
            )
            page = browser.new_page(viewport={"width": 1000, "height": 620})
            code = Code(folder, page, port, {**QUIET_SETTINGS, **chosen})
            code.settings()
            yield code
            browser.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _path() -> str:
    """Return the PATH without folders that have a dgemma: which one starts is for tests to say."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(each for each in folders if not Path(each, "dgemma").exists())


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False

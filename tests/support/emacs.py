"""A real Emacs in a terminal of its own that tests type into: keys in, buffers and messages out.

The configuration is what docs/other-editors.md shows, taken from the page itself.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/other-editors.md"
TIMEOUT = 60.0
"""Seconds to wait for a condition: long, for machines with other work; a good run waits little."""

HAS_EGLOT = "(progn (require 'package) (package-initialize) (require 'eglot))"

ERASE = "(let ((inhibit-read-only t)) (erase-buffer) nil)"

# A person's init file: theirs comes first, and what tests alone need behind it.
INIT = """
(require 'package)
(package-initialize)
(setq auto-save-default nil make-backup-files nil create-lockfiles nil ring-bell-function #'ignore
      eglot-sync-connect nil use-short-answers t)
(load {page} nil t)
(setq-default eglot-workspace-configuration (list :dgemma (json-parse-string {settings}
  :object-type 'plist :null-object nil :false-object :json-false)))
(require 'server)
(setq server-socket-dir {folder} server-name "emacs")
(server-start)
"""


def missing() -> str | None:
    """Return why there is no Emacs to test with, or ``None``."""
    if shutil.which("emacs") is None or shutil.which("emacsclient") is None:
        return "Emacs is missing: scripts/get_emacs"
    found = subprocess.run(
        ["emacs", "--batch", "--eval", HAS_EGLOT], capture_output=True, check=False
    )
    return None if found.returncode == 0 else "this Emacs has no eglot: scripts/get_emacs"


def can_be_had() -> bool:
    """Whether ``scripts/get_emacs`` can install one here."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def configuration() -> str:
    """Return the first block of Emacs Lisp on the page."""
    found = re.search(r"```elisp\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def lisp(text: str | Path) -> str:
    """Return a text as a string of Emacs Lisp."""
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


class Emacs:
    """One editor; the language servers it starts end with it."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        (folder / "dgemma.el").write_text(configuration())
        (folder / "init.el").write_text(
            INIT.format(
                page=lisp(folder / "dgemma.el"),
                settings=lisp(json.dumps(settings)),
                folder=lisp(folder),
            )
        )
        self.master, terminal = pty.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen(
            ["emacs", "-nw", "-q", "--no-splash", "-l", str(folder / "init.el")],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            cwd=folder,
            env=os.environ
            | {
                "HOME": str(folder),
                "TERM": "xterm",
                "LANG": "C.UTF-8",
                "LC_ALL": "C.UTF-8",
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            },
        )
        os.close(terminal)
        self.screen = bytearray()
        threading.Thread(target=self._drain, daemon=True).start()
        self.until((folder / "emacs").exists, "Emacs's server")
        self.files = 0

    def _drain(self) -> None:
        """Read what Emacs draws, or it would stop once the terminal's buffer is full."""
        with contextlib.suppress(OSError):
            while drawn := os.read(self.master, 65536):
                self.screen += drawn

    def close(self) -> None:
        """End the editor, its servers and its runtime's connections."""
        with contextlib.suppress(AssertionError):
            self.eval("(run-at-time 0 nil (lambda () (set-buffer-modified-p nil) (kill-emacs)))")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.master)

    def eval(self, code: str) -> Any:
        """Return the value of a form in the buffer that the person sees, as JSON has it."""
        form = (
            f"(with-current-buffer (window-buffer (selected-window)) (base64-encode-string"
            f" (encode-coding-string (json-encode {code}) 'utf-8) t))"
        )
        found = subprocess.run(
            ["emacsclient", "-s", str(self.folder / "emacs"), "--eval", form],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        return json.loads(base64.b64decode(found.stdout.strip().strip('"')))

    def type(self, keys: str) -> None:
        """Type keys, as a terminal sends them."""
        os.write(self.master, keys.encode())

    def until(self, condition: Callable[[], Any], what: str, seconds: float = TIMEOUT) -> Any:
        """Wait for a condition and return what it was in the end."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                shown = bytes(self.screen[-1500:]).decode(errors="replace")
                raise AssertionError(f"never came: {what}\n{shown!r}")
            time.sleep(0.02)
        return value

    def edit(self, text: str | bytes, suffix: str = ".py") -> Path:
        """Open a new file as a person does, and wait until its server answers."""
        self.files += 1
        path = self.folder / "work" / f"file{self.files}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.eval(f"(with-current-buffer (messages-buffer) {ERASE})")
        self.type(f"\x18\x06{path}\r")
        self.until(lambda: self.eval("(buffer-file-name)") == str(path), "the file")
        self.until(lambda: self.eval("(and (eglot-current-server) t)"), "the language server")
        return path

    def text(self) -> str:
        return self.eval("(buffer-substring-no-properties (point-min) (point-max))")

    def becomes(self, text: str) -> None:
        """Wait until the buffer is a text."""
        try:
            self.until(lambda: self.text() == text, "the text", 20)
        except AssertionError as err:
            told = self.eval("(with-current-buffer (messages-buffer) (buffer-string))")
            raise AssertionError(f"it is {self.text()!r}\n{told[-2000:]}\n{err}") from None

    def says(self, text: str) -> None:
        """Wait until a message since the file was opened holds a text."""
        told = "(with-current-buffer (messages-buffer) (buffer-string))"
        self.until(lambda: text in self.eval(told), f"a message with {text}", 20)

    def asks(self) -> None:
        """Wait until the minibuffer is being read from."""
        window = "(window-buffer (selected-window))"
        self.until(lambda: self.eval(f"(minibufferp {window})"), "a question")

    def go(self, text: str, *, end: bool = True) -> None:
        """Put the cursor behind, or before, the first place of a text."""
        place = "(match-end 0)" if end else "(match-beginning 0)"
        self.eval(
            f"(progn (goto-char (point-min)) (search-forward {lisp(text)}) (goto-char {place})"
            " (set-window-point (selected-window) (point)) nil)"
        )

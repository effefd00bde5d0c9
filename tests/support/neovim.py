"""A real Neovim that tests type into: keys in, buffer, marks and screen out."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvim

ROOT = Path(__file__).parent.parent.parent
PLUGIN = ROOT / "editors/neovim"
OLD = Path(sys.executable).parent / "nvim"
"""Neovim 0.11, which the extra ``dev`` brings."""
NEW_VARIABLE = "DGEMMA_NEOVIM_12"
"""Names the binary of a Neovim 0.12; without it the one on the PATH is looked at."""
STATE = "return select(2, pcall(function() return require('dgemma.status').state() end))"
"""What the plugin says of itself, or that there is none."""
TIMEOUT = 60.0
"""Seconds to wait for a condition: long, for machines with other work; a good run waits little."""
FLAGS = ("--headless", "-n", "-i", "NONE")
FOLDERS = ("config", "data", "state")  # the cache has the models

INIT = """
vim.opt.runtimepath:prepend(vim.env.DGEMMA_PLUGIN)
vim.opt.swapfile = false
vim.opt.shortmess:append('I')
vim.cmd('filetype on')
vim.g.notified = {}
vim.notify = function(text) vim.g.notified = vim.list_extend(vim.g.notified, { text }) end
vim.lsp.config('dgemma', {
  cmd = { vim.env.DGEMMA_PYTHON, '-m', 'dgemma_lsp', '--log-file', vim.env.DGEMMA_LOG_FILE },
  settings = { dgemma = vim.json.decode(vim.env.DGEMMA_SETTINGS) },
})
vim.g.dgemma = { delay = { min = 0, max = 40 } }
for lhs, name in pairs({
  ['<M-a>'] = 'accept', ['<M-w>'] = 'accept-word', ['<M-l>'] = 'accept-line',
  ['<M-n>'] = 'next', ['<M-p>'] = 'prev', ['<M-x>'] = 'dismiss', ['<M-t>'] = 'trigger',
}) do
  vim.keymap.set({ 'i', 'n' }, lhs, ('<Plug>(dgemma-%s)'):format(name))
end
vim.keymap.set('i', '<Tab>', function()
  return require('dgemma').visible() and '<Plug>(dgemma-accept)' or '<Tab>'
end, { expr = true, remap = true })
"""
"""A person's init.lua: the plugin, suggested maps, and a place where messages are kept."""


def new() -> Path | None:
    """Return a Neovim of 0.12 or later, when there is one."""
    named = os.environ.get(NEW_VARIABLE)
    fetched = OLD.parent.parent / "nvim12/usr/bin/nvim"  # where scripts/get_nvim puts it
    if named:
        return Path(named)
    return fetched if fetched.exists() else None


class Neovim:
    """One editor and its language server."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        program: Path = OLD,
        init: str = INIT,
        **environment: str,
    ) -> None:
        self.folder = folder
        (folder / "init.lua").write_text(init)
        socket = str(folder / "nvim")
        self.process = subprocess.Popen(
            [str(program), *FLAGS, "--listen", socket, "-u", str(folder / "init.lua")],
            env={
                **os.environ,
                **{f"XDG_{name.upper()}_HOME": str(folder / name) for name in FOLDERS},
                "DGEMMA_PLUGIN": str(PLUGIN),
                "DGEMMA_PYTHON": sys.executable,
                "DGEMMA_LOG_FILE": str(folder / "lsp.log"),
                "DGEMMA_SETTINGS": json.dumps(settings),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.api = _attach(socket, self.process)
        self.api.ui_attach(80, 24, rgb=True, ext_linegrid=True)
        self.files = 0

    def close(self) -> None:
        """End the editor; its server ends with it."""
        with contextlib.suppress(OSError, EOFError, pynvim.NvimError):
            self.api.command("qall!", async_=True)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.api.close()

    def lua(self, code: str, *arguments: Any) -> Any:
        return self.api.exec_lua(code, *arguments)

    def type(self, keys: str) -> None:
        """Type keys, as a person's terminal sends them; returns when they have been read."""
        left = keys
        while left:
            taken = self.api.input(left)
            left = left.encode()[taken:].decode()

    def until(self, condition: Callable[[], Any], what: str = "", seconds: float = TIMEOUT) -> Any:
        """Wait for a condition and return what it was in the end."""
        deadline = time.monotonic() + seconds
        while True:
            # A Neovim that waits for a key answers nothing else: it would be waited for forever.
            blocked = self.api.api.get_mode()["blocking"]
            if not blocked and (value := condition()):
                return value
            if time.monotonic() > deadline:
                about = "Neovim waits for a key" if blocked else self.describe()
                raise AssertionError(f"never came: {what}\n{about}")
            time.sleep(0.01)

    def describe(self) -> str:
        """Return what a person looking at a failure would want to see."""
        log = self.folder / "lsp.log"
        return "\n".join(
            [
                f"text: {self.text()!r}",
                f"ghost: {self.ghost()!r} mode: {self.api.api.get_mode()}",
                f"said: {self.said()}",
                f"state: {self.lua(STATE)}",
                f"messages: {self.api.command_output('messages')}",
                log.read_text()[-2000:] if log.exists() else "no log",
            ]
        )

    def open(self, text: str, name: str | None = None, *, attached: bool = True) -> Path:
        """Open a new file with a text; where ``│`` stands in it the cursor goes, in normal mode."""
        self.files += 1
        file = self.folder / (name or f"file{self.files}.py")
        at = text.find("│")
        file.write_bytes(text.replace("│", "").encode())
        self.type("<Esc>")
        self.until(lambda: self.api.api.get_mode()["mode"] == "n", "normal mode")
        self.lua(
            "vim.g.notified = {} vim.cmd('silent! tabonly! | silent! only!')"
            " vim.cmd.edit({ ..., bang = true })",
            str(file),
        )
        if attached:
            self.until(self.attached, "the language server")
        if at >= 0:
            before = text[:at].replace("\r\n", "\n")
            row = before.count("\n") + 1
            self.api.current.window.cursor = (row, len(before.rsplit("\n", 1)[-1].encode()))
        return file

    def attached(self) -> bool:
        return self.lua(
            "local c = require('dgemma.client').get(0); return c ~= nil and c.initialized == true"
        )

    def text(self) -> str:
        return "\n".join(self.api.current.buffer[:])

    def cursor(self) -> tuple[int, int]:
        row, column = self.api.current.window.cursor
        return row, column

    def marks(self, namespace: str) -> list[dict[str, Any]]:
        """Return the marks of a namespace: row and column from 0, and their details."""
        found = self.lua(
            "return vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace(...), 0, -1,"
            " { details = true })",
            namespace,
        )
        return [{"row": row, "column": column, **details} for _, row, column, details in found]

    def ghost(self) -> str:
        """Return the suggestion that is drawn, as text; empty without one."""
        rows = []
        for mark in self.marks("dgemma.ghost"):
            rows.append(_shown(mark["virt_text"]))
            rows += [_shown(chunks) for chunks in mark.get("virt_lines", [])]
        return "\n".join(rows)

    def until_ghost(self, text: str) -> None:
        self.until(lambda: self.ghost() == text, f"the suggestion {text!r}")

    def until_text(self, text: str) -> None:
        self.until(lambda: self.text() == text, f"the text {text!r}")

    def said(self) -> list[str]:
        return list(self.api.vars["notified"])

    def until_said(self, part: str) -> None:
        self.until(lambda: any(part in each for each in self.said()), f"the message {part!r}")

    def status(self) -> dict[str, Any]:
        return self.lua(
            "local c = require('dgemma.client').any(0)"
            " return c:request_sync('dgemma/status', vim.empty_dict(), 20000, 0).result"
        )

    def settle(self) -> None:
        """Wait until nothing is under way: every key read, no timer, no request."""
        self.until(
            lambda: (
                not self.api.api.get_mode()["blocking"]
                and not self.lua("return require('dgemma.suggest').waiting()")
            ),
            "quiet",
        )

    def screen(self) -> list[str]:
        """Return the screen's rows."""
        self.api.command("redraw")
        return self.lua(
            "local rows = {} for row = 1, vim.o.lines do local row_ = {}"
            " for col = 1, vim.o.columns do row_[col] = vim.fn.screenstring(row, col) end"
            " rows[row] = table.concat(row_):gsub('%s+$', '') end return rows"
        )


def _attach(socket: str, process: subprocess.Popen[bytes]) -> pynvim.Nvim:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            return pynvim.attach("socket", path=socket)
        except OSError as err:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Neovim did not start: {process.returncode}") from err
            time.sleep(0.01)


def _shown(chunks: list[list[Any]]) -> str:
    return "".join(text for text, group in chunks if group == "DgemmaGhost").rstrip(" ")

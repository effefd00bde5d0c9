"""Neovim's own ways, without the plugin: inline completion, the completion menu, `vim.pack`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.neovim import INIT, OLD, PLUGIN, Neovim
from support.runtimes import COMMAND, Scripted

from .conftest import newer

pytestmark = pytest.mark.neovim

PRICE = "def price(total, rate):\n    return │\n"
RULES = [{"when": "def price", "text": "total * rate"}]
SETTINGS: dict[str, Any] = {
    "runtimeCommand": list(COMMAND),
    "runtime": {"model": "scripted"},
    "debounceMs": 0,
}

PLAIN = """
vim.opt.swapfile = false
vim.cmd('filetype on')
vim.lsp.config('dgemma', { settings = { dgemma = vim.json.decode(vim.env.DGEMMA_SETTINGS) } })
vim.lsp.enable('dgemma')
vim.lsp.inline_completion.enable(true)
vim.keymap.set('i', '<Tab>', function()
  if not vim.lsp.inline_completion.get() then return '<Tab>' end
end, { expr = true, desc = 'Accept the suggestion' })
"""
"""The lines of editors/neovim/README.md; `lsp/dgemma.lua` is in the person's own folder."""

MENU = (
    INIT
    + """
vim.g.dgemma_enabled = nil
vim.lsp.config('dgemma', { init_options = { completion = true } })
vim.opt.completeopt = { 'menuone', 'noselect' }
vim.api.nvim_create_autocmd('LspAttach', {
  callback = function(event)
    vim.b[event.buf].dgemma_enabled = false
    vim.lsp.completion.enable(true, event.data.client_id, event.buf, { autotrigger = true })
  end,
})
"""
)

PACK = """
vim.opt.swapfile = false
vim.opt.messagesopt = 'wait:0,history:100'  -- it says a lot; nobody is here to press Enter
vim.cmd('filetype on')
vim.lsp.config('dgemma', { cmd = { vim.env.DGEMMA_PYTHON, '-m', 'dgemma_lsp' } })
vim.pack.add({ { src = vim.env.DGEMMA_REPOSITORY, name = 'dgemma' } }, { confirm = false })
"""


@pytest.fixture
def scripted(run_dir: Path) -> Iterator[Path]:
    one = Scripted(run_dir, rules=RULES)
    yield run_dir
    one.kill()


def on_path(folder: Path) -> dict[str, str]:
    (folder / "bin").mkdir()
    (folder / "bin/dgemma-lsp").symlink_to(Path(sys.executable).parent / "dgemma-lsp")
    return {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def client(nvim: Neovim) -> bool:
    return nvim.lua(
        "local c = vim.lsp.get_clients({ name = 'dgemma', bufnr = 0 })[1]"
        " return c ~= nil and c.initialized == true"
    )


def test_inline_completion_of_neovim_without_the_plugin(scripted: Path) -> None:
    program = newer()
    mine = scripted / "config/nvim/lsp"
    mine.mkdir(parents=True)
    shutil.copy(PLUGIN / "lsp/dgemma.lua", mine)
    more = {"DGEMMA_RUNTIME_DIR": str(scripted), **on_path(scripted)}
    nvim = Neovim(scripted, SETTINGS, program, PLAIN, **more)
    try:
        nvim.open(PRICE, attached=False)
        nvim.until(lambda: client(nvim), "the server")
        assert nvim.api.funcs.exists(":Dgemma") == 0
        nvim.api.current.window.cursor = (2, 10)
        nvim.type("A")

        def own() -> str:
            marks = nvim.marks("nvim.lsp.inline_completion")
            return "".join(text for mark in marks for text, _ in mark.get("virt_text", []))

        nvim.until(lambda: own() == "total * rate", "Neovim's suggestion")
        nvim.type("<Tab>")
        nvim.until_text("def price(total, rate):\n    return total * rate")
        ask = (
            "local c = vim.lsp.get_clients({ name = 'dgemma' })[1]"
            " return c:request_sync('dgemma/status', vim.empty_dict(), 20000, 0).result.accepted"
        )
        nvim.until(lambda: nvim.lua(ask) == 1, "the item's command")
    finally:
        nvim.close()


@pytest.mark.parametrize("version", ["0.11", "0.12"])
def test_the_completion_menu(version: str, scripted: Path) -> None:
    program = OLD if version == "0.11" else newer()
    nvim = Neovim(scripted, SETTINGS, program, MENU, DGEMMA_RUNTIME_DIR=str(scripted))
    try:
        nvim.open(PRICE)
        nvim.type("A<C-x><C-o>")
        nvim.until(lambda: nvim.api.funcs.pumvisible(), "the menu")
        words = [each["word"] for each in nvim.api.funcs.complete_info(["items"])["items"]]
        # Neovim 0.11 takes the first word alone of what has blanks in it.
        word = "total" if version == "0.11" else "total * rate"
        assert words == [word]
        assert nvim.ghost() == ""
        nvim.type("<C-n><C-y>")
        nvim.until_text(f"def price(total, rate):\n    return {word}")
        nvim.type("<Esc>Sreturn ")  # asked for by itself, behind a character that triggers
        nvim.until(lambda: nvim.api.funcs.pumvisible(), "the menu again")
    finally:
        nvim.close()


def test_vim_pack_takes_it_from_a_repository(tmp_path: Path) -> None:
    program = newer()
    source = tmp_path / "source"
    shutil.copytree(PLUGIN, source)
    git = ["git", "-C", str(source), "-c", "user.name=test", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "plugin"]):
        subprocess.run([*git, *command], check=True)
    nvim = Neovim(tmp_path, {}, program, PACK, DGEMMA_REPOSITORY=source.as_uri())
    try:
        nvim.until(lambda: nvim.api.funcs.exists(":Dgemma") == 2, "the plugin")
        nvim.open("x = 1\n")
        where = nvim.lua("return vim.api.nvim_get_runtime_file('plugin/dgemma.lua', false)[1]")
        assert where.startswith(str(tmp_path / "data"))
        nvim.api.command("silent help :Dgemma-rewrite")
        nvim.until(lambda: "instruction" in nvim.text(), "the help")
    finally:
        nvim.close()


def test_an_empty_table_of_settings_is_no_wrong_setting(tmp_path: Path) -> None:
    init = INIT.replace("vim.json.decode(vim.env.DGEMMA_SETTINGS)", "{ runtime = {} }")
    nvim = Neovim(tmp_path, {}, OLD, init)
    try:
        nvim.open("x = 1\n")
        assert nvim.status().get("problem") is None
        assert nvim.said() == []
    finally:
        nvim.close()

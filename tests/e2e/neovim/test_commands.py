"""``:Dgemma``, the status line, ``:checkhealth`` and loading, in a real Neovim."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from support.neovim import OLD, PLUGIN, Neovim

from dgemma_lsp.languages import ALL, BY_ID

pytestmark = pytest.mark.neovim

INIT_WITHOUT = """
vim.opt.runtimepath:prepend(vim.env.DGEMMA_PLUGIN)
require('dgemma').setup({ cmd = { 'no-such-server' }, command = { 'no-such-program' } })
"""


def complete(nvim: Neovim, line: str) -> list[str]:
    return list(nvim.api.funcs.getcompletion(line, "cmdline"))


def test_completion_of_the_command(nvim: Neovim) -> None:
    nvim.open("x = 1\n")
    assert complete(nvim, "Dgemma s") == ["skip", "snooze", "stats", "status", "stop"]
    assert complete(nvim, "Dgemma mode ") == ["auto", "manual", "off"]
    assert complete(nvim, "1,2Dgemma toggle b") == ["buffer"]
    assert complete(nvim, "Dgemma toggle buffer ") == []
    nvim.lua("vim.g.DGEMMA_REWRITES = { 'rename c to total' }")
    assert complete(nvim, "Dgemma rewrite rename c t") == ["to total"]
    assert complete(nvim, "Dgemma redo rename c t") == ["to total"]
    assert complete(nvim, "Dgemma redo a") == ["all"]
    assert complete(nvim, "Dgemma stats ") == ["erase"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("Dgemma nonsense", "there is no `nonsense`; there are accept, bolder"),
        ("Dgemma mode loud", ":Dgemma mode auto|manual|off"),
        ("Dgemma snooze soon", ":Dgemma snooze [minutes]"),
        ("Dgemma enable everything", ":Dgemma enable [buffer]"),
        ("Dgemma redo", "no rewrite waits for a decision"),
        ("Dgemma bolder", "no rewrite waits for a decision"),
        ("Dgemma cancel", "nothing is under way"),
    ],
)
def test_wrong_words_are_told(nvim: Neovim, command: str, said: str) -> None:
    nvim.open("x = 1\n")
    nvim.type(f":{command}<CR>")
    nvim.until_said(said)


def test_status_is_shown_in_a_window_that_q_closes(either: Neovim) -> None:
    either.open("def price(total, rate):\n    return │\n")
    either.type("A")
    either.until_ghost("total * rate")
    either.type("<Esc>:Dgemma<CR>")
    either.until(lambda: "dgemma" in either.text() and "model scripted" in either.text(), "it")
    assert "tidy up (right in 80 %)" in either.text()
    either.type("q")
    either.until(lambda: either.text().startswith("def price"), "the file again")


def test_status_line(nvim: Neovim) -> None:
    def line() -> str:
        return nvim.lua("return require('dgemma').statusline()")

    nvim.open("x = 1\n", "text.txt", attached=False)
    assert line() == ""
    nvim.open("def slow():\n    return │\n")
    assert line() == "dgemma"
    nvim.type("A")
    nvim.until(lambda: line() == "dgemma …", "busy")
    nvim.type("<Esc>")
    nvim.until(lambda: line() == "dgemma", "idle")
    for command, shown in {
        "mode manual": "dgemma manual",
        "mode off": "dgemma off",
        "mode auto": "dgemma",
        "disable buffer": "dgemma off",
        "enable buffer": "dgemma",
        "snooze": "dgemma zz",
        "enable": "dgemma",
    }.items():
        nvim.type(f":Dgemma {command}<CR>")
        nvim.until(lambda shown=shown: line() == shown, shown)


def test_stop_frees_the_runtime_and_the_next_request_starts_one(nvim: Neovim) -> None:
    nvim.open("def price(total, rate):\n    return │\n")
    nvim.type("A")
    nvim.until_ghost("total * rate")
    first = nvim.status()["runtime"]["pid"]
    nvim.type("<Esc>:Dgemma stop<CR>")
    nvim.until_said("its memory is free")
    assert nvim.status().get("runtime") is None  # Neovim drops nulls
    nvim.type("A-")
    nvim.until_ghost("total * rate")
    assert nvim.status()["runtime"]["pid"] != first


def test_restart_starts_the_server_anew(nvim: Neovim) -> None:
    nvim.open("def price(total, rate):\n    return │\n")
    before = nvim.lua("return require('dgemma.client').get(0).id")
    nvim.type(":Dgemma restart<CR>")
    nvim.until_said("started again")
    nvim.until(nvim.attached, "the server")
    assert nvim.lua("return require('dgemma.client').get(0).id") != before
    nvim.type("A")
    nvim.until_ghost("total * rate")


def test_the_mode_is_a_setting_of_the_server(nvim: Neovim) -> None:
    nvim.open("x = 1\n")
    nvim.type(":Dgemma mode manual<CR>")
    nvim.until(lambda: nvim.status()["mode"] == "manual", "the server's mode")
    nvim.type(":Dgemma mode auto<CR>")
    nvim.until(lambda: nvim.status()["mode"] == "automatic", "the server's mode")


def test_the_log(nvim: Neovim) -> None:
    nvim.open("x = 1\n")
    nvim.type(":Dgemma log<CR>")
    log = str(nvim.folder / "lsp.log")
    nvim.until(lambda: nvim.api.current.buffer.name == log, "the server's log")
    assert "client: Neovim" in nvim.text()


def test_the_doctor_speaks_in_a_scratch_buffer(nvim: Neovim) -> None:
    nvim.open("x = 1\n")
    program = str(Path(sys.executable).parent / "dgemma")
    nvim.lua("require('dgemma').setup({ command = { ... } })", program)
    nvim.type(":Dgemma doctor<CR>")
    nvim.until(lambda: "tree-sitter" in nvim.text(), "the report")
    assert nvim.api.current.buffer.options["buftype"] == "nofile"


def test_checkhealth(nvim: Neovim) -> None:
    nvim.open("x = 1\n")
    program = str(Path(sys.executable).parent / "dgemma")
    nvim.lua("require('dgemma').setup({ command = { ... } })", program)
    nvim.type(":checkhealth dgemma<CR>")
    nvim.until(lambda: "dgemma doctor" in nvim.text(), "the report")
    report = nvim.text()
    assert "OK server dgemma" in report.replace("✅ ", "")
    assert "the configuration 'dgemma' is enabled" in report
    assert "grammars: " in report
    assert "runtime: " in report
    nvim.type(":bwipeout!<CR>")


def test_checkhealth_says_what_is_missing(tmp_path: Path) -> None:
    editor = Neovim(tmp_path, {}, OLD, INIT_WITHOUT)
    try:
        editor.type(":checkhealth dgemma<CR>")
        editor.until(lambda: "dgemma doctor" in editor.text(), "the report")
        assert "'no-such-server' is not found" in editor.text()
        assert "pip install dgemma" in editor.text()
        assert "no-such-program is not found" in editor.text()
    finally:
        editor.close()


@pytest.mark.parametrize("way", ["start", "opt"])
def test_it_works_as_a_package_without_any_set_up(way: str, tmp_path: Path, run_dir: Path) -> None:
    """As :help packages has it; `opt` is what plugin managers and vim.pack do."""
    packages = tmp_path / "data/nvim/site/pack/some"
    (packages / way).mkdir(parents=True)
    shutil.copytree(PLUGIN, packages / way / "dgemma")  # help tags are written into it
    server = tmp_path / "bin/dgemma-lsp"
    server.parent.mkdir()
    server.symlink_to(Path(sys.executable).parent / "dgemma-lsp")
    path = {"PATH": f"{server.parent}{os.pathsep}{os.environ['PATH']}"}
    init = "vim.cmd.packadd('dgemma')" if way == "opt" else ""
    editor = Neovim(tmp_path, {}, OLD, init, **path)
    try:
        file = tmp_path / "a.py"
        file.write_text("x = 1\n")
        editor.api.command(f"edit {file}")
        editor.until(editor.attached, "the language server")
        assert editor.api.funcs.exists(":Dgemma") == 2
        # Not ALL: where Neovim's own folder cannot be written to, that waits for a key.
        editor.api.command(f"helptags {packages / way / 'dgemma/doc'}")
        editor.api.command("silent help :Dgemma")
        editor.until(lambda: "subcommand" in editor.text(), "the help")
        assert editor.api.command_output("messages") == ""  # nothing to complain of by default
    finally:
        editor.close()


def test_the_server_is_there_for_every_language_it_knows(nvim: Neovim) -> None:
    types: list[str] = nvim.lua("return vim.lsp.config.dgemma.filetypes")
    assert all(name in BY_ID for name in types)
    assert {BY_ID[name] for name in types} == set(ALL)


def test_help_has_a_tag_for_every_command_and_map(nvim: Neovim, tmp_path: Path) -> None:
    (tmp_path / "doc").mkdir()
    text = (PLUGIN / "doc/dgemma.txt").read_text()
    (tmp_path / "doc/dgemma.txt").write_text(text)
    nvim.api.command(f"helptags {tmp_path / 'doc'}")
    tags = {line.split("\t")[0] for line in (tmp_path / "doc/tags").read_text().splitlines()}
    names: list[Any] = nvim.lua("return vim.tbl_keys(require('dgemma.command').subcommands)")
    maps = {
        each["lhs"]
        for mode in "nxi"
        for each in nvim.api.api.get_keymap(mode)
        if each["lhs"].startswith("<Plug>(dgemma-")
    }
    assert {f":Dgemma-{name}" for name in names} | maps <= tags
    assert max(len(line) for line in text.splitlines()) <= 78

"""Processes that end, models and settings that change, while somebody types into a real Neovim."""

from __future__ import annotations

import os
import signal

import pytest
from support.neovim import Neovim

pytestmark = pytest.mark.neovim

PRICE = "def price(total, rate):\n    return │\n"


def runtime(nvim: Neovim) -> int:
    return nvim.until(lambda: (nvim.status().get("runtime") or {}).get("pid"), "a runtime")


def test_the_runtime_is_killed_while_somebody_types(either: Neovim) -> None:
    either.open(PRICE)
    either.type("A")
    either.until_ghost("total * rate")
    first = runtime(either)
    os.kill(first, signal.SIGKILL)
    either.type("tot")
    either.until_ghost("al * rate")  # needs no runtime
    either.type("<BS><BS><BS>-")
    either.until_ghost("total * rate")
    assert runtime(either) != first
    either.type("<Tab>")
    either.until_text("def price(total, rate):\n    return -total * rate")


def test_the_runtime_is_killed_while_it_works(nvim: Neovim) -> None:
    nvim.open("def slow():\n    return │\n")
    nvim.type("A")
    nvim.until(lambda: nvim.lua("return require('dgemma.client').busy()"), "a request")
    os.kill(runtime(nvim), signal.SIGKILL)
    nvim.type("-")
    nvim.until_ghost("late")
    assert not any("Error" in each for each in nvim.said())


def test_the_server_is_killed_and_started_again(nvim: Neovim) -> None:
    nvim.open(PRICE)
    nvim.type("A")
    nvim.until_ghost("total * rate")
    server = nvim.lua(
        "local id = require('dgemma.client').get(0).id"
        " for _, each in ipairs(vim.api.nvim_get_proc_children(vim.fn.getpid())) do"
        "  local info = vim.api.nvim_get_proc(each)"
        "  if info and info.name:find('python') then return each end end"
    )
    os.kill(server, signal.SIGKILL)
    nvim.until(lambda: nvim.lua("return require('dgemma').statusline()") == "", "no server")
    nvim.until_ghost("")
    nvim.type("x<M-t>")
    nvim.until_said("the language server is not attached")
    nvim.type("<Esc>:Dgemma restart<CR>")
    nvim.until_said("started again")
    nvim.until(nvim.attached, "the server")
    nvim.type("A")
    nvim.until_ghost("total * rate")


def test_another_model_from_the_next_request_on(nvim: Neovim) -> None:
    nvim.open(PRICE)
    nvim.type("A")
    nvim.until_ghost("total * rate")
    first = runtime(nvim)
    server = nvim.lua("return require('dgemma.client').get(0).id")
    try:
        nvim.lua("require('dgemma.models').use('another')")
        nvim.type("-")
        nvim.until_ghost("total * rate")
        assert runtime(nvim) != first
        assert nvim.lua("return require('dgemma.client').get(0).id") == server
    finally:
        nvim.type("<Esc>:Dgemma stop<CR>")
        nvim.until_said("its memory is free")
        nvim.lua("require('dgemma.models').use('scripted')")
    nvim.type("A-")
    nvim.until_ghost("total * rate")
    assert runtime(nvim) == first


def test_settings_take_effect_without_a_restart(either: Neovim) -> None:
    either.open("def many():\n    return │\n")
    server = either.lua("return require('dgemma.client').get(0).id")
    either.lua("require('dgemma').setup({ settings = { candidates = 1, runtime = {} } })")
    either.type("A")
    either.until_ghost("first")
    either.type("<M-n>")
    either.until_said("there is no other suggestion")
    either.lua("require('dgemma').setup({ settings = { candidates = 2 } })")
    either.type("-")
    either.until_ghost("first")
    either.type("<M-n>")
    either.until_ghost("second")
    assert either.lua("return require('dgemma.client').get(0).id") == server
    assert not any("settings" in each for each in either.said())


def test_a_wrong_setting_is_told_and_changes_nothing(nvim: Neovim) -> None:
    nvim.open(PRICE)
    nvim.lua("require('dgemma.client').configure({ candidates = 99 })")
    nvim.until_said("candidates")
    nvim.type("A")
    nvim.until_ghost("total * rate")
    nvim.lua("require('dgemma.client').configure({ candidates = 2 })")


@pytest.mark.parametrize(
    ("options", "off"),
    [
        ("{ filetypes = { python = false } }", True),
        ("{ filetypes = { ['*'] = false } }", True),
        ("{ filetypes = { ['*'] = false, python = true } }", False),
        ("{ exclude = { '**/dg-*/**' } }", True),
        ("{ exclude = { '**/other/**', '**/*.lua' } }", False),
    ],
)
def test_off_for_a_language_a_folder_or_a_file(nvim: Neovim, options: str, off: bool) -> None:
    nvim.open(PRICE)
    try:
        nvim.lua(f"require('dgemma').setup({options})")
        assert nvim.lua("return require('dgemma').statusline()") == (
            "dgemma off" if off else "dgemma"
        )
        nvim.type("A")
        if not off:
            nvim.until_ghost("total * rate")
            return
        nvim.type("<M-t>")
        nvim.until_said("suggestions are switched off here")
        nvim.lua("vim.b.dgemma_enabled = true")  # what is said of one buffer goes first
        nvim.type("x<BS>")
        nvim.until_ghost("total * rate")
    finally:
        nvim.lua("require('dgemma').setup({ delay = { min = 0, max = 40 } })")

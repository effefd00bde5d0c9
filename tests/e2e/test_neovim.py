"""A real Neovim with this repository's configuration: attach, ask, insert."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.runtimes import COMMAND, Scripted

ROOT = Path(__file__).parent.parent.parent
NVIM = Path(sys.executable).parent / "nvim"

SCRIPT = """
vim.opt.runtimepath:append(vim.env.DGEMMA_PLUGIN)
vim.lsp.config('dgemma', {
  cmd = { vim.env.DGEMMA_PYTHON, '-m', 'dgemma_lsp' },
  settings = { dgemma = vim.json.decode(vim.env.DGEMMA_SETTINGS) },
})
vim.lsp.enable('dgemma')
vim.cmd.edit(vim.env.DGEMMA_FILE)
vim.bo.filetype = 'python' -- `-u NONE` finds out no file types by itself
local client
assert(vim.wait(20000, function()
  client = vim.lsp.get_clients({ name = 'dgemma', bufnr = 0 })[1]
  return client ~= nil and client.initialized
end), 'no client')
local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
local width = vim.str_utfindex(vim.fn.getline(3), client.offset_encoding)
params.position = { line = 2, character = width }
params.context = { triggerKind = 1 }
local answer = client:request_sync('textDocument/inlineCompletion', params, 20000)
assert(answer and not answer.err, vim.inspect(answer))
local item = answer.result.items[1]
local start = item.range.start
vim.api.nvim_buf_set_text(0, start.line, start.character, start.line, start.character,
  vim.split(item.insertText, '\\n'))
client:request_sync('workspace/executeCommand', item.command, 5000)
local status = client:request_sync('dgemma/status', {}, 5000)
assert(status.result.accepted == 1, vim.inspect(status))
vim.cmd.write()
print(client.offset_encoding)
vim.cmd('qall!')
"""


@pytest.mark.neovim
def test_neovim_attaches_and_fills(run_dir: Path, tmp_path: Path) -> None:
    scripted = Scripted(run_dir, rules=[{"when": "価格", "text": "total * rate"}])
    file = tmp_path / "a.py"
    file.write_text("# 価格 🦜\ndef price(total, rate):\n    label = '🦜'; return \n")
    (tmp_path / "test.lua").write_text(SCRIPT)
    settings = {"runtimeCommand": list(COMMAND), "runtime": {"model": "scripted"}}
    ran = subprocess.run(
        [str(NVIM), "--headless", "-u", "NONE", "-i", "NONE", "-l", str(tmp_path / "test.lua")],
        env={
            **os.environ,
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "XDG_DATA_HOME": str(tmp_path / "data"),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "DGEMMA_PLUGIN": str(ROOT / "editors/neovim"),
            "DGEMMA_PYTHON": sys.executable,
            "DGEMMA_SETTINGS": json.dumps(settings),
            "DGEMMA_FILE": str(file),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    scripted.kill()
    shutil.rmtree(tmp_path / "state", ignore_errors=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert file.read_text().endswith("label = '🦜'; return total * rate\n")

"""Choosing and fetching models in a real Neovim, from a hub of the test's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.hub import REPOSITORY, TinyHub
from support.neovim import OLD, Neovim

pytestmark = pytest.mark.neovim

LISTED = (
    "vim.ui.select = function(items, options, done)"
    "  vim.g.listed = vim.tbl_map(options.format_item, items)"
    "  for _, item in ipairs(items) do if item.name == ... then done(item) return end end end"
)


def checkpoint(size: int = 200_000) -> dict[str, bytes]:
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return {
        "config.json": b'{"model_type": "diffusion_gemma"}',
        "tokenizer.json": b"{}",
        "model.safetensors": len(header).to_bytes(8, "little") + header + bytes(size),
    }


def test_a_model_is_chosen_fetched_ended_fetched_and_used(run_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dgemma_runtime"]
    with TinyHub(checkpoint()) as hub:
        settings = {"runtimeCommand": command, "runtime": {"mirror": hub.url}, "debounceMs": 0}
        editor = Neovim(
            run_dir, settings, OLD, DGEMMA_MODELS_DIR=str(tmp_path / "models"), no_proxy="127.0.0.1"
        )
        try:
            editor.open("x = 1\n")
            editor.lua(f"local name = ... {LISTED.replace('...', 'name')}", REPOSITORY)
            hub.faults.pause_s = 0.2
            editor.type(":Dgemma models<CR>")
            editor.until_said(f"fetching {REPOSITORY}")
            labels: list[str] = editor.api.vars["listed"]
            assert any(each.startswith("embedded") and "Apache-2.0" in each for each in labels)
            assert any(each.startswith(REPOSITORY) and "to be fetched" in each for each in labels)
            line = "return require('dgemma').statusline()"
            editor.until(lambda: "%" in editor.lua(line), "the progress")
            editor.type(":Dgemma models nothing/such<CR>")
            editor.until_said("there is no model `nothing/such`")
            editor.type(":Dgemma cancel<CR>")
            editor.until_said("the download was ended")
            editor.until(lambda: editor.lua(line) == "dgemma", "no progress")
            hub.faults.pause_s = 0.0
            editor.type(f":Dgemma models {REPOSITORY}<CR>")
            editor.until_said(f"the model is {REPOSITORY} from the next request on")
            model = "return vim.lsp.config.dgemma.settings.dgemma.runtime.model"
            assert editor.lua(model) == REPOSITORY
        finally:
            editor.close()

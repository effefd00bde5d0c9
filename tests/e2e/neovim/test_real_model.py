"""The real model in a real Neovim: a hole of the examples is filled and accepted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.neovim import ROOT, Neovim

pytestmark = [pytest.mark.neovim, pytest.mark.torch, pytest.mark.model]

HOLE = "        return "


@pytest.fixture
def editor(run_dir: Path) -> Iterator[Neovim]:
    made = Neovim(run_dir, {"deadlineMs": 6000})
    yield made
    made.lua("require('dgemma.client').any(0):request_sync('dgemma/stopRuntime', {}, 20000, 0)")
    made.close()


def test_a_hole_of_the_examples(editor: Neovim) -> None:
    lines = (ROOT / "examples/basket.py").read_text().splitlines()
    row = lines.index(HOLE)
    lines[row] += "│"
    editor.open("\n".join(lines) + "\n")
    editor.type(":Dgemma trigger<CR>")
    text = editor.until(editor.ghost, "a suggestion", seconds=240)  # torch has to be loaded
    editor.type("<Tab>")
    lines[row] = HOLE + text
    editor.until_text("\n".join(lines))
    status = editor.until(lambda: (s := editor.status())["accepted"] == 1 and s, "its command")
    assert status["runtime"]["state"] == "ready"
    assert status["runtime"]["model"].startswith("SmolLM2")

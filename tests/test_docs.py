"""What the documents name is there: settings, reasons, commands, keys, titles and maps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dgemma_lsp import methods
from dgemma_lsp.cli.main import parser
from dgemma_lsp.infill.types import DeclineReason, RejectReason
from dgemma_lsp.pipeline import Silence
from dgemma_wire.errors import FailureCode

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
VSCODE = ROOT / "editors/vscode"
REASONS = {
    str(each) for kind in (DeclineReason, RejectReason, Silence, FailureCode) for each in kind
}
PAGES = ("getting-started", "keys", "other-editors", "privacy", "troubleshooting")


def text_of(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def manifest() -> dict[str, Any]:
    return json.loads((VSCODE / "package.json").read_text(encoding="utf-8"))["contributes"]


def titles() -> set[str]:
    """Titles of the extension's commands."""
    words = json.loads((VSCODE / "package.nls.json").read_text(encoding="utf-8"))
    return {words[each["title"].strip("%")] for each in manifest()["commands"]}


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_a_page_names(page: str) -> None:
    known = set(re.findall(r"^## `(dgemma\.[\w.]+)`$", text_of("configuration"), re.MULTILINE))
    known |= {name for part in manifest()["configuration"] for name in part["properties"]}
    known |= {methods.ACCEPTED, methods.ACT, methods.RESTART_RUNTIME}
    named = set(re.findall(r"`#?(dgemma\.[A-Za-z.]+)\b", text_of(page))) - {"dgemma.el"}
    assert {each for each in named if each not in known} == set()


def test_reasons_are_those_of_the_code() -> None:
    tables = re.findall(r"^\| (`[a-z_`, ]+`) \|", text_of("troubleshooting"), re.MULTILINE)
    named = {each for row in tables for each in re.findall(r"`(\w+)`", row)}
    (dropped,) = re.findall(r"^Why single drafts.*?\n\n", text_of("troubleshooting"), re.S | re.M)
    named |= set(re.findall(r"`(\w+)`", dropped))
    assert named <= REASONS
    assert named >= REASONS


def test_keys_are_bound_as_the_page_says() -> None:
    text = text_of("keys")
    bound: set[str] = set()
    for each in manifest()["keybindings"]:
        keys = [key.capitalize() for key in each["key"].split("+")]
        bound.add("+".join(keys))
    vscode = {
        key
        for line in text.splitlines()
        if line.startswith("|")
        for key in re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", line.split("|")[2]))
        if not key.startswith((":", "___"))
    }
    assert vscode == bound


@pytest.mark.parametrize("page", ["keys", "getting-started", "troubleshooting"])
def test_commands_that_a_page_names(page: str) -> None:
    text = text_of(page)
    manual = (ROOT / "editors/neovim/doc/dgemma.txt").read_text(encoding="utf-8")
    for name in re.findall(r":Dgemma (\w+)", text):
        assert f"*:Dgemma-{name}*" in manual
    subcommands = parser().format_help()
    for name in re.findall(r"`dgemma (\w+)", text):
        assert re.search(rf"^\s+{name}\b", subcommands, re.MULTILINE), name


def test_titles_and_maps_of_the_page_of_keys() -> None:
    manual = (ROOT / "editors/neovim/doc/dgemma.txt").read_text(encoding="utf-8")
    own = {"Accept Next Line", "Cancel"}  # VS Code's
    for line in text_of("keys").splitlines():
        columns = [each.strip() for each in line.split("|")]
        if len(columns) < 5 or columns[1].startswith("---"):
            continue
        for title in re.findall(r"\*([^*]+)\*", columns[2].replace("… *for", "*for")):
            assert title in titles() | own | {"for This Language"}, title
        for name in re.findall(r"`([a-z-]+)`", columns[3]):
            where = rf"\*(<Plug>\(dgemma-{name}\)|:Dgemma-{name})\*"
            assert re.search(where, manual) or name in ("manual", "off"), name

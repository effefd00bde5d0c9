"""The VS Code extension as a package: types, lint, units, and a manifest that fits its code."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support import vscode

ROOT = Path(__file__).parent.parent.parent.parent
EXTENSION = ROOT / "editors/vscode"
SOURCES = sorted((EXTENSION / "src").glob("*.ts"))
MOST_BYTES = 300_000


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return json.loads((EXTENSION / "package.json").read_text())


@pytest.fixture(scope="module")
def tools() -> None:
    vscode.require()


def npm(*command: str) -> None:
    ran = subprocess.run(["npm", *command], cwd=EXTENSION, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]


@pytest.mark.usefixtures("tools")
def test_types_and_lint() -> None:
    npm("run", "check")


@pytest.mark.usefixtures("tools")
def test_units() -> None:
    npm("test")


@pytest.mark.usefixtures("tools")
def test_the_package_is_small_and_holds_what_is_needed(tmp_path: Path) -> None:
    file = vscode.build(tmp_path)
    assert file.stat().st_size < MOST_BYTES
    names = {name.removeprefix("extension/") for name in zipfile.ZipFile(file).namelist()}
    assert {"out/extension.js", "package.json", "package.nls.json", "icon.png"} <= names
    assert {"readme.md", "LICENSE.txt", "l10n/bundle.l10n.json"} <= names
    assert not [name for name in names if name.startswith(("src/", "test/", "node_modules/"))]


@pytest.mark.usefixtures("tools")
def test_the_texts_to_translate_are_all_in_the_bundle(tmp_path: Path) -> None:
    npm("exec", "--", "vscode-l10n-dev", "export", "--outDir", str(tmp_path), "src")
    made = json.loads((tmp_path / "bundle.l10n.json").read_text())
    kept = json.loads((EXTENSION / "l10n/bundle.l10n.json").read_text())
    assert made == kept, "run `npm run l10n` in editors/vscode"


def test_every_text_of_the_manifest_is_there_and_used(manifest: dict[str, Any]) -> None:
    texts = json.loads((EXTENSION / "package.nls.json").read_text())
    assert set(re.findall(r'"%(\w+)%"', json.dumps(manifest))) == set(texts)


def test_commands_are_contributed_registered_and_titled(manifest: dict[str, Any]) -> None:
    listed = {command["command"] for command in manifest["contributes"]["commands"]}
    code = (EXTENSION / "src/extension.ts").read_text()
    registered = {f"dgemma.{name}" for name in re.findall(r"register\(\s*'([\w.]+)'", code)}
    assert registered == listed
    everything = "".join(path.read_text() for path in SOURCES)
    used = set(re.findall(r"(?:lens|action|executeCommand)\([^;]*?'(dgemma\.[\w.]+)'", everything))
    used |= set(re.findall(r"command(?: =|:) '(dgemma\.[\w.]+)'", everything))
    menus = manifest["contributes"]["menus"]
    used |= {entry["command"] for entries in menus.values() for entry in entries}
    used |= {entry["command"] for entry in manifest["contributes"]["keybindings"]}
    texts = (EXTENSION / "package.nls.json").read_text()
    used |= set(re.findall(r"\(command:([\w.]+)\)", texts))
    assert {"dgemma.review.accept", "dgemma.freeMemory", "dgemma.toggleLanguage"} <= used
    assert used <= listed


def test_what_the_server_does_not_know_is_never_sent(manifest: dict[str, Any]) -> None:
    from dgemma_lsp.settings import load

    own, *others = manifest["contributes"]["configuration"]
    roots = {name.split(".")[1] for name in own["properties"]}
    code = (EXTENSION / "src/config.ts").read_text()
    listed = re.search(r"EXTENSION_ONLY = \[(.*?)\]", code, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"'(\w+)'", listed[1])) == roots
    sent: dict[str, Any] = {}
    for name, setting in (item for group in others for item in group["properties"].items()):
        *parents, last = name.split(".")[1:]
        place = sent
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = setting["default"]
    assert not roots & set(sent)
    assert load(sent) == load()  # the manifest's defaults are the server's


def test_untrusted_folders_name_no_programs(manifest: dict[str, Any]) -> None:
    groups = manifest["contributes"]["configuration"]
    names = {name for group in groups for name in group["properties"]}
    trust = manifest["capabilities"]["untrustedWorkspaces"]
    restricted = set(trust["restrictedConfigurations"])
    assert restricted <= names
    assert {name for name in names if "ommand" in name} <= restricted
    assert trust["supported"] == "limited"


def test_versions_are_exact_and_no_lock_file_is_kept(manifest: dict[str, Any]) -> None:
    for group in ("dependencies", "devDependencies"):
        for name, version in manifest[group].items():
            assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
    listed = subprocess.run(
        ["git", "ls-files", str(EXTENSION)], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    assert "lock" not in listed
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert manifest["version"] == version[1]


def test_modules_stay_small_and_say_what_they_own() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert text.startswith("// "), path.name
        assert text.count("\n") <= 350, path.name

"""One VS Code and one scripted runtime for all tests of a worker; each test opens its own files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import vscode
from support.hub import TinyHub
from support.runtimes import COMMAND, Scripted
from support.vscode_script import REWRITES, RULES

SIZE = 200_000
REAL = (sys.executable, "-m", "dgemma_runtime")
BOTH = (
    f'case " $* " in *" models "*) exec {shlex.join(REAL)} "$@";; esac;'
    f' exec {shlex.join(COMMAND)} "$@"'
)
"""The real runtime for what it knows of models, the scripted one for everything else."""
SETTINGS = {
    "dgemma.runtimeCommand": ["sh", "-c", BOTH, "sh"],
    "dgemma.runtime.model": "scripted",
    "dgemma.debounceMs": 20,
}


@pytest.fixture(scope="package")
def scripted() -> Iterator[Scripted]:
    before = os.environ.get("DGEMMA_TEST_SCRIPT")
    path = Path(tempfile.mkdtemp(prefix="dg-"))
    one = Scripted(path, rules=RULES, rewrites=REWRITES)
    yield one
    one.kill()
    if before is None:
        del os.environ["DGEMMA_TEST_SCRIPT"]
    else:
        os.environ["DGEMMA_TEST_SCRIPT"] = before
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="package")
def hub() -> Iterator[TinyHub]:
    header = json.dumps({"a": {"dtype": "U8", "shape": [SIZE], "data_offsets": [0, SIZE]}}).encode()
    files = {
        "config.json": b'{"model_type": "diffusion_gemma"}',
        "tokenizer.json": b"{}",
        "model.safetensors": len(header).to_bytes(8, "little") + header + bytes(SIZE),
    }
    with TinyHub(files) as one:
        yield one


@pytest.fixture(scope="package")
def window(scripted: Scripted, hub: TinyHub) -> Iterator[Any]:
    vscode.require()
    folder = Path(tempfile.mkdtemp(prefix="dg-code-"))
    env = {
        "DGEMMA_RUNTIME_DIR": str(scripted.directory),
        "DGEMMA_MODELS_DIR": str(folder / "models"),
        "no_proxy": "127.0.0.1",
    }
    settings = {**SETTINGS, "dgemma.runtime.mirror": hub.url}
    with vscode.start(folder, settings, trusted=True, **env) as code:
        other, both = folder / "other", folder / "both.code-workspace"
        (other / ".vscode").mkdir(parents=True)
        (other / ".vscode/settings.json").write_text('{"dgemma.languages": {"python": false}}')
        both.write_text(json.dumps({"folders": [{"path": "work"}, {"path": "other"}]}))
        code.root = {"workspace": both}
        yield code
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def code(window: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The window, with the settings as they were; with a picture of how the test left it."""
    window.settings()
    yield window
    window.picture(re.sub(r"\W+", "-", request.node.name))

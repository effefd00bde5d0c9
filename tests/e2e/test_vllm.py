"""An editor, the real server, a real runtime process, and a server of the team's behind it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.lsp import Start, settings, starting
from support.tiny_vllm import TinyVllm, make_certificates, serving
from support.vllm_files import server, write_files

from dgemma_wire import endpoint

SOURCE = "def add(a, b):\n    return \n\nprint(add(1, 2))\n"
AT = SOURCE.index("return ") + len("return ")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "files", canvas=256)


@pytest.fixture
def team(files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TinyVllm]:
    monkeypatch.setenv("DGEMMA_VLLM_API_KEY", "a-key")
    one = server(files, "a + b", canvas=256, key="a-key")
    _, certificate = make_certificates(tmp_path)
    with serving(one, certificate=certificate):
        yield one


@pytest_asyncio.fixture
async def start(run_dir: Path) -> AsyncIterator[Start]:
    async for one in starting(run_dir):
        yield one
    end_all(run_dir)


def end_all(run_dir: Path) -> None:
    for path in run_dir.glob("*.json"):
        found = endpoint.read_endpoint(path)
        if found is not None:
            os.kill(found.pid, signal.SIGKILL)


def told(team: TinyVllm, files: Path, tmp_path: Path) -> dict[str, Any]:
    runtime = {
        "model": f"vllm:{team.url}",
        "vllmFiles": str(files),
        "vllmCaFile": str(tmp_path / "ca.pem"),
    }
    return {**settings(), "runtimeCommand": [], "runtime": runtime}


async def test_fill_and_what_the_status_says(
    start: Start, team: TinyVllm, files: Path, tmp_path: Path
) -> None:
    editor = await start(told(team, files, tmp_path))
    uri = editor.open(SOURCE)
    items = await editor.complete(uri, AT)
    assert [item.insert_text for item in items] == ["a + b"]
    status = await editor.request("dgemma/status", {})
    assert status["runtime"]["device"] == "vllm"
    assert f"source text is sent to {team.url}" in status["runtime"]["deviceReason"]
    team.key = "another"
    other = editor.open(SOURCE.replace("add", "plus"), "b.py")
    assert await editor.complete(other, AT + 1) == []
    problem = (await editor.request("dgemma/status", {}))["problem"]
    assert "refuses the key" in problem
    assert "a-key" not in problem


async def test_the_doctor(team: TinyVllm, files: Path, tmp_path: Path, run_dir: Path) -> None:
    ran = await asyncio.to_thread(
        subprocess.run,
        [
            *(str(Path(sys.executable).parent / "dgemma-runtime"), "--probe"),
            *("--model", f"vllm:{team.url}", "--vllm-files", str(files)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = json.loads(ran.stdout)
    assert said["elsewhere"] == f"vllm:{team.url}: source text is sent there"
    assert said["files"]["tokenizer.json"] == str(files / "tokenizer.json")
    assert "device" not in said
    assert team.asked == []  # the doctor looks, and asks nobody

"""An editor whose runtime is on another machine: the real server, a real forward between."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.afar import Afar, running_afar
from support.forward import Forward, forwarding
from support.lsp import Start, settings, starting

RULES = [
    {"when": "# slow", "text": "late", "steps": 100, "step_ms": 20},
    {"when": "def add", "text": "a + b", "others": ["b + a"]},
]
SOURCE = "def add(a, b):\n    return \n\nprint(add(1, 2))\n"
AT = SOURCE.index("return ") + len("return ")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("DGEMMA_TOKEN", raising=False)
    with tempfile.TemporaryDirectory(prefix="dg-") as name:
        yield Path(name)


@pytest_asyncio.fixture
async def afar(elsewhere: Path, tmp_path: Path) -> AsyncIterator[Afar]:
    async with running_afar(elsewhere, tmp_path, rules=RULES) as one:
        yield one


@pytest_asyncio.fixture
async def forward(afar: Afar) -> AsyncIterator[Forward]:
    async with forwarding(afar.target) as one:
        yield one


@pytest_asyncio.fixture
async def start(run_dir: Path) -> AsyncIterator[Start]:
    async for one in starting(run_dir):
        yield one


def remote(forward: Forward, afar: Afar, **more: Any) -> dict[str, Any]:
    """Settings of a remote runtime, and a command that would leave a mark if it were run."""
    marker = afar.token_file.parent / "started"
    address = f"tcp://127.0.0.1:{forward.port}"
    there = {"runtimeAddress": address, "runtimeTokenFile": str(afar.token_file)}
    command = [sys.executable, "-c", f"open({str(marker)!r}, 'w')"]
    return {**settings(), "runtimeCommand": command, **there, **more}


async def test_fill_through_a_forward(
    start: Start, afar: Afar, forward: Forward, run_dir: Path
) -> None:
    editor = await start(remote(forward, afar))
    uri = editor.open(SOURCE)
    assert [i.insert_text for i in await editor.complete(uri, AT)] == ["a + b", "b + a"]
    status = await editor.request("dgemma/status", {})
    assert afar.process is not None
    assert status["runtime"]["pid"] == afar.process.pid
    assert status["problem"] is None
    # An editor's restart would leave it ended for good.
    stopped = await editor.request("dgemma/stopRuntime", None)
    assert not stopped["stopped"]
    assert "another machine's" in stopped["message"]
    assert afar.process.poll() is None
    # Nothing of this machine's own runtime directory was made, read or started.
    assert set(os.listdir(run_dir)) <= {"lsp.log"}
    assert not (afar.token_file.parent / "started").exists()


async def test_it_breaks_and_comes_back(start: Start, afar: Afar, forward: Forward) -> None:
    editor = await start(remote(forward, afar))
    uri = editor.open("# slow\n" + SOURCE)
    at = AT + len("# slow\n")
    task = asyncio.create_task(editor.complete(uri, at))
    for _ in range(200):
        if forward.connections:
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    await forward.down()
    assert await asyncio.wait_for(task, 5) == []  # answered, with nothing
    assert await editor.complete(uri, at) == []
    status = await editor.request("dgemma/status", {})
    assert not status["connected"]
    assert "Is the forward up? ssh -N" in status["problem"]
    assert not (afar.token_file.parent / "started").exists()
    await forward.up()
    other = editor.open(SOURCE, "b.py")
    assert [i.insert_text for i in await editor.complete(other, AT)] == ["a + b", "b + a"]
    status = await editor.request("dgemma/status", {})
    assert status["connected"]
    assert status["problem"] is None


async def test_settings_that_cannot_be_used(start: Start, afar: Afar, forward: Forward) -> None:
    afar.write_token("y" * 40)
    editor = await start(remote(forward, afar))
    uri = editor.open(SOURCE)
    assert await editor.complete(uri, AT) == []
    problem = (await editor.request("dgemma/status", {}))["problem"]
    assert "has another token" in problem
    assert "y" * 40 not in problem
    # The address is corrected while the server runs: it leaves the one and takes the other.
    await reconfigure(editor, remote(forward, afar, runtimeAddress="tcp://gpu-host:7777"))
    assert await editor.complete(uri, AT) == []
    problem = (await editor.request("dgemma/status", {}))["problem"]
    assert "encrypted" in problem
    assert "ssh -N" in problem


async def reconfigure(editor: Any, config: dict[str, Any]) -> None:
    from lsprotocol import types

    editor.client.set_configuration({"dgemma": config})
    editor.client.workspace_did_change_configuration(
        types.DidChangeConfigurationParams({"dgemma": config})
    )
    await editor.request("dgemma/status", {})


def run_dgemma(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "dgemma"), *arguments],
        env={**os.environ, "DGEMMA_RUNTIME_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_the_doctor_knows_the_address(
    afar: Afar, forward: Forward, run_dir: Path, tmp_path: Path
) -> None:
    place = ("--runtime-address", f"127.0.0.1:{forward.port}")
    token = ("--runtime-token-file", str(afar.token_file))

    async def findings() -> dict[str, Any]:
        ran = await asyncio.to_thread(
            run_dgemma, "doctor", "--json", *place, *token, directory=run_dir
        )
        return {f["name"]: (f["value"], f["ok"]) for f in json.loads(ran.stdout)}

    found = await findings()
    assert "on another machine" in found["runtime"][0]
    assert found["address"] == (f"tcp://127.0.0.1:{forward.port}", True)
    assert found["token"] == (str(afar.token_file), True)
    assert afar.process is not None
    assert found["process"][0].startswith(str(afar.process.pid))
    await forward.down()
    value, good = (await findings())["process"]
    assert good is False
    assert "Is the forward up?" in value
    afar.token_file.chmod(stat.S_IRUSR | stat.S_IROTH)
    value, good = (await findings())["address"]
    assert good is False
    assert "chmod 600" in value
    await forward.up()


async def test_the_command_line_fills_through_a_forward(
    afar: Afar, forward: Forward, run_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "a.py"
    source.write_text(SOURCE)
    ran = await asyncio.to_thread(
        run_dgemma,
        "fill",
        f"{source}:2:12",
        "--runtime-address",
        f"tcp://127.0.0.1:{forward.port}",
        "--runtime-token-file",
        str(afar.token_file),
        directory=run_dir,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "a + b"

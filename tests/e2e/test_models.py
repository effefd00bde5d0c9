"""Models as an editor sees them: listed, pulled with a bar that can be cancelled, and chosen."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types
from support.editors import Editor
from support.hub import REPOSITORY, TinyHub
from support.lsp import Start, settings, starting
from support.runtimes import Scripted

from dgemma_wire import endpoint

REAL = [sys.executable, "-m", "dgemma_runtime"]


def checkpoint(size: int = 200_000) -> dict[str, bytes]:
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return {
        "config.json": b'{"model_type": "diffusion_gemma"}',
        "tokenizer.json": b"{}",
        "model.safetensors": len(header).to_bytes(8, "little") + header + bytes(size),
    }


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyHub]:
    monkeypatch.setenv("DGEMMA_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with TinyHub(checkpoint()) as one:
        yield one


@pytest_asyncio.fixture
async def start(run_dir: Path, hub: TinyHub) -> AsyncIterator[Start]:
    async for one in starting(run_dir):
        yield one


def with_models(hub: TinyHub, **runtime: Any) -> dict[str, Any]:
    return settings(runtimeCommand=REAL, runtime={"mirror": hub.url, **runtime})


def rows(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert result["message"] is None
    return {model["name"]: model for model in result["models"]}


async def test_a_model_is_listed_pulled_and_listed_as_here(start: Start, hub: TinyHub) -> None:
    editor = await start(with_models(hub, model=REPOSITORY), work_done_progress=True)
    before = rows(await editor.request("dgemma/models", {}))
    assert before[REPOSITORY]["current"]
    assert not before[REPOSITORY]["installed"]
    assert before[REPOSITORY]["sizeMb"] == 51680
    assert before["embedded"]["licence"] == "Apache-2.0"
    result = await editor.request("dgemma/pullModel", {"name": REPOSITORY})
    assert result == {"pulled": True, "message": None}
    assert rows(await editor.request("dgemma/models", {}))[REPOSITORY]["installed"]
    (reports,) = editor.client.progress_reports.values()
    assert (reports[0].kind, reports[-1].kind) == ("begin", "end")
    assert reports[0].cancellable
    assert reports[-1].message == "fetched"
    assert any(getattr(report, "percentage", None) == 100 for report in reports[1:-1])


async def test_a_listing_is_kept_for_a_moment(start: Start, hub: TinyHub) -> None:
    editor = await start(with_models(hub))
    await editor.request("dgemma/models", {})
    began = time.monotonic()
    for _ in range(5):
        await editor.request("dgemma/models", {})
    assert time.monotonic() - began < 0.5  # a process each would take seconds


async def test_the_server_answers_while_a_pull_goes_on(start: Start, hub: TinyHub) -> None:
    hub.faults.pause_s = 0.1
    editor = await start(with_models(hub), work_done_progress=True)
    pull = asyncio.create_task(editor.request("dgemma/pullModel", {"name": REPOSITORY}))
    assert await asyncio.to_thread(hub.busy.wait, 30)
    began = time.monotonic()
    assert (await editor.request("dgemma/status", {}))["release"]
    assert time.monotonic() - began < 1
    assert not pull.done()
    hub.faults.pause_s = 0.0
    assert (await pull)["pulled"]


async def test_the_bars_button_stops_a_pull_and_what_came_is_kept(
    start: Start, hub: TinyHub, tmp_path: Path
) -> None:
    hub.faults.pause_s = 0.2
    editor = await start(with_models(hub), work_done_progress=True)
    pull = asyncio.create_task(editor.request("dgemma/pullModel", {"name": REPOSITORY}))
    assert await asyncio.to_thread(hub.busy.wait, 30)
    await asyncio.sleep(0.5)
    (token,) = editor.client.progress_reports
    editor.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token))
    result = await asyncio.wait_for(pull, 10)
    assert not result["pulled"]
    assert "kept" in result["message"]
    asked = len(hub.asked)
    await asyncio.sleep(0.5)
    assert len(hub.asked) == asked  # nobody goes on
    (part,) = (tmp_path / "models").rglob("*.part")
    kept = part.stat().st_size
    assert kept > 0
    hub.faults.pause_s = 0.0
    assert (await editor.request("dgemma/pullModel", {"name": REPOSITORY}))["pulled"]
    assert f"bytes={kept}-" in [headers.get("range") for _, _, headers in hub.asked]


async def test_the_editors_end_is_the_pulls_end(
    run_dir: Path, hub: TinyHub, tmp_path: Path
) -> None:
    hub.faults.pause_s = 0.2
    editor = await Editor.start(with_models(hub))
    pull = asyncio.create_task(editor.request("dgemma/pullModel", {"name": REPOSITORY}))
    assert await asyncio.to_thread(hub.busy.wait, 30)
    await asyncio.wait_for(editor.stop(), 10)
    pull.cancel()
    await asyncio.gather(pull, return_exceptions=True)
    parts = list((tmp_path / "models").rglob("*.part"))  # more when the machine is slow
    sizes = [part.stat().st_size for part in parts]
    assert sizes
    await asyncio.sleep(1.0)
    assert [part.stat().st_size for part in parts] == sizes


@pytest.mark.parametrize(
    ("name", "says"), [("no-such-model", "no model 'no-such-model'"), ("--offline", "--offline")]
)
async def test_what_cannot_be_pulled_is_told(
    start: Start, hub: TinyHub, name: str, says: str
) -> None:
    editor = await start(with_models(hub), work_done_progress=True)
    result = await editor.request("dgemma/pullModel", {"name": name})
    assert not result["pulled"]
    assert says in result["message"]
    (reports,) = editor.client.progress_reports.values()
    assert says in reports[-1].message


async def test_offline_and_gated_are_told(start: Start, hub: TinyHub) -> None:
    editor = await start(with_models(hub, offline=True))
    result = await editor.request("dgemma/pullModel", {"name": REPOSITORY})
    assert "`offline`" in result["message"]
    assert hub.asked == []
    hub.faults.token = "hf_secret"
    editor = await start(with_models(hub))
    result = await editor.request("dgemma/pullModel", {"name": REPOSITORY})
    assert "HF_TOKEN is not set" in result["message"]


async def test_without_a_runtime_there_is_a_message(start: Start) -> None:
    editor = await start(settings(runtimeCommand=["/no/such/runtime"]))
    result = await editor.request("dgemma/models", {})
    assert result["models"] == []
    assert "/no/such/runtime cannot be started" in result["message"]
    result = await editor.request("dgemma/pullModel", {"name": "embedded"})
    assert "/no/such/runtime cannot be started" in result["message"]


async def test_another_model_takes_effect_at_once(start: Start, run_dir: Path) -> None:
    """A second runtime is started for it; the first one ends by itself when nobody needs it."""
    source = "def add(a, b):\n    return \n"
    scripted = Scripted(run_dir, rules=[{"when": "def add", "text": "a + b"}])
    editor = await start(settings(runtime={"model": "scripted"}))
    uri = editor.open(source)
    at = source.index("return ") + len("return ")
    assert [item.insert_text for item in await editor.complete(uri, at)] == ["a + b"]
    scripted.write(rules=[{"when": "def add", "text": "b + a"}])
    editor.client.set_configuration({"dgemma": settings(runtime={"model": "scripted-2"})})
    editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(None))
    await asyncio.sleep(0.2)
    # The answer of the first model is forgotten with it.
    assert [item.insert_text for item in await editor.complete(uri, at)] == ["b + a"]
    one, two = (
        endpoint.read_endpoint(endpoint.endpoint_path(run_dir, name))
        for name in ("scripted", "scripted-2")
    )
    assert one is not None
    assert two is not None
    assert one.pid != two.pid
    status = await editor.request("dgemma/status", {})
    assert status["runtime"]["pid"] == two.pid
    for each in (one, two):
        os.kill(each.pid, signal.SIGKILL)


async def test_a_model_that_is_not_here_is_told_with_the_way_to_it(
    start: Start, hub: TinyHub
) -> None:
    editor = await start(with_models(hub, model=REPOSITORY))
    uri = editor.open("x = \n")
    assert await editor.complete(uri, 4) == []
    (message,) = editor.client.messages
    assert f"dgemma models pull {REPOSITORY}" in message.message


def dgemma(*words: str) -> subprocess.CompletedProcess[str]:
    program = "from dgemma_lsp.cli.main import main; raise SystemExit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=120
    )


def test_the_command_line_runs_the_runtimes_command(hub: TinyHub) -> None:
    pulled = dgemma("models", "pull", REPOSITORY, "--mirror", hub.url)
    assert pulled.returncode == 0, pulled.stderr
    told = json.loads(dgemma("models", "list", "--json").stdout)["models"]
    assert {row["name"]: row["presence"] for row in told}[REPOSITORY] == "installed"
    assert dgemma("models", "verify", REPOSITORY).returncode == 0
    assert dgemma("models", "nonsense").returncode == 2
    helped = dgemma("models", "--help")
    assert helped.returncode == 0
    assert "pull" in helped.stdout


@pytest.mark.torch
def test_the_doctor_says_whether_the_model_fits(hub: TinyHub, run_dir: Path) -> None:
    told = {f["name"]: f for f in json.loads(dgemma("doctor", "--json").stdout)}
    assert told["memory"]["ok"]
    assert "fits" in told["memory"]["value"]
    told = {
        f["name"]: f for f in json.loads(dgemma("doctor", "--json", "--model", REPOSITORY).stdout)
    }
    assert f"dgemma models pull {REPOSITORY}" in told["model files"]["value"]
    assert " GB in " in told["memory"]["value"]

"""The commands ``dgemma train`` and ``dgemma eval`` as a person meets them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))


from dgemma_lsp.cli import main as front
from dgemma_training.cli import Progress, main

pytestmark = pytest.mark.torch


def dgemma(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from dgemma_lsp.cli.main import main; sys.exit(main({list(arguments)!r}))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "arguments",
    [("train",), ("train", "run"), ("train", "collect"), ("train", "export"), ("eval",)],
)
def test_every_command_has_help(arguments: tuple[str, ...]) -> None:
    ran = dgemma(*arguments, "--help")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"usage: dgemma {' '.join(arguments)}")
    assert len(ran.stdout) > 300


def test_nothing_asked_for_is_wrong_usage() -> None:
    ran = dgemma("train")
    assert ran.returncode == 2
    assert "--on PATH" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--on", "/nowhere/at/all"], "is no folder"),
        (["train", "curves", "/nowhere"], "Give the folder of a run"),
        (["train", "export", "/nowhere", "/tmp/model-of-nothing"], "no checkpoint"),
        (["eval", "--rows", "/nowhere.jsonl"], "cannot be read"),
        (["eval", "--corpus", "/nowhere", "--count", "3"], "dgemma train collect"),
        (["eval"], "Nothing to measure"),
    ],
)
def test_what_is_missing_is_said_without_a_traceback(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_without_torch_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(front.importlib.util, "find_spec", lambda name: None)
    assert front.main(["train", "--on", "."]) == 1
    assert "pip install 'dgemma[train]'" in capsys.readouterr().err


def test_progress_outside_a_terminal_is_lines_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress()
    for i in range(1000):
        progress("working", i / 1000)
    progress.end()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= 2
    assert "working" in lines[0]


@pytest.mark.model
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_terminated_run_keeps_what_it_has(tmp_path: Path) -> None:
    from test_real_run import corpus

    run = tmp_path / "run"
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "from dgemma_training.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    flags = ["train", "run", str(run), "--corpus", str(corpus(tmp_path)), "--profile", "tiny"]
    flags += ["--rank", "4", "--steps", "100000", "--rewrites", "0", "--validations", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *flags], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    log = run / "log.jsonl"
    deadline = time.monotonic() + 240
    while not (log.exists() and log.read_text().count("\n") >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)  # also where the shell had switched it off
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "goes on from here" in said
    assert (run / "checkpoint" / "state.json").exists()
    assert (run / "adapter.safetensors").exists()

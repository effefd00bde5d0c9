"""The command line with the real model: server, socket, runtime, weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dgemma_lsp.cli.main import main

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.torch, pytest.mark.model]
SOURCE = "def add(a, b):\r\n    return \r\n\r\n\r\nprint(add(1, 2))\r\n"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A runtime of this module's own, ended behind it; logs stay out of the user's folder."""
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="dg-")
    env = {**os.environ, "DGEMMA_RUNTIME_DIR": folder}
    env["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield env
    dgemma(env, "stop")
    shutil.rmtree(folder, ignore_errors=True)


def dgemma(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from dgemma_lsp.cli.main import main; raise SystemExit(main())",
    ]
    return subprocess.run(
        [*command, *arguments], env=env, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "add.py"
    path.write_bytes(SOURCE.encode())
    return path


def test_json_has_everything(environment: dict[str, str], file: Path) -> None:
    ran = dgemma(environment, "fill", f"{file}:2:12", "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["text"] == "a + b"  # the simplest of holes; the model knows this one
    assert told["kind"] == "line"
    assert told["verdict"]["accepted"]
    assert told["verdict"]["parser"] == "python"
    assert told["steps"] >= 1
    assert -5 < told["candidates"][0]["score"] <= 0
    runtime = told["timings"]["runtime"]
    assert len(runtime["stepMs"]) >= told["steps"]
    assert all(milliseconds > 0 for milliseconds in runtime["stepMs"])
    assert file.read_bytes() == SOURCE.encode()


def test_diff_and_write_keep_line_ends(environment: dict[str, str], file: Path) -> None:
    ran = dgemma(environment, "fill", f"{file}:2:12", "--diff")
    assert ran.returncode == 0, ran.stderr
    assert "+    return a + b" in ran.stdout
    assert file.read_bytes() == SOURCE.encode()
    file.chmod(0o640)
    assert dgemma(environment, "fill", f"{file}:2:12", "--write").returncode == 0
    assert file.read_bytes() == SOURCE.replace("return ", "return a + b").encode()
    assert file.stat().st_mode & 0o777 == 0o640


def test_watch_is_plain_when_it_is_no_terminal(environment: dict[str, str], file: Path) -> None:
    ran = dgemma(environment, "fill", f"{file}:2:12", "--watch")
    assert ran.returncode == 0, ran.stderr
    assert "    2 |     return ⟦a + b⟧" in ran.stdout
    assert "python parses" in ran.stdout
    assert "\x1b" not in ran.stdout


def test_same_seed_same_answer(environment: dict[str, str], file: Path) -> None:
    place = [f"{file}:5:7", "--json", "--candidates", "3", "--seed", "7"]
    once, again = (json.loads(dgemma(environment, "fill", *place).stdout) for _ in range(2))
    assert once["candidates"] == again["candidates"]


def test_the_cache_changes_times_not_output(environment: dict[str, str], file: Path) -> None:
    cold = json.loads(dgemma(environment, "fill", f"{file}:2:12", "--json").stdout)
    dgemma(environment, "stop")
    fresh = json.loads(dgemma(environment, "fill", f"{file}:2:12", "--json").stdout)
    warm = json.loads(dgemma(environment, "fill", f"{file}:2:12", "--json").stdout)
    assert fresh["timings"]["runtime"]["cachedTokens"] == 0
    assert warm["timings"]["runtime"]["cachedTokens"] > 0
    assert cold["text"] == fresh["text"] == warm["text"]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nowhere.py:1:1", "cannot be read"),
        ("add.py", "FILE:LINE:COL"),
        ("add.py:99:1", "there is no line 99"),
        ("add.py:2:99", "columns 1 to 12"),
        ("add.py:0:1", "there is no line 0"),
        ("latin.py:1:1", "not UTF-8"),
    ],
)
def test_wrong_places_are_told(
    environment: dict[str, str], file: Path, place: str, says: str
) -> None:
    (file.parent / "latin.py").write_bytes(b"x = '\xe9'\n")
    ran = dgemma(environment, "fill", str(file.parent / place))
    assert ran.returncode == 1
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_wrong_model_is_told(environment: dict[str, str], file: Path) -> None:
    ran = dgemma(environment, "fill", f"{file}:2:12", "--model", "no/such/model")
    assert ran.returncode == 1
    assert "no/such/model" in ran.stderr
    assert "embedded" in ran.stderr


def test_doctor(environment: dict[str, str]) -> None:
    ran = dgemma(environment, "doctor")
    assert ran.returncode == 0, ran.stdout
    for word in ("torch", "transformers", "grammars", "device", "because", "process"):
        assert word in ran.stdout
    bad = dgemma(environment, "doctor", "--model", "no/such/model")
    assert bad.returncode == 1
    assert "BAD" in bad.stdout


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["fill"],
        ["rewrite"],
        ["mend"],
        ["holes"],
        ["stats"],
        ["doctor"],
        ["lsp"],
        ["serve"],
        ["stop"],
    ],
)
def test_help_is_there(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: dgemma" in capsys.readouterr().out


def test_the_demo_fills_real_holes(environment: dict[str, str]) -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts/demo.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "holes filled by SmolLM2" in ran.stdout
    assert "return ⟦self.price * self.count⟧" in ran.stdout

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dgemma_lsp.adapters import WorkspaceAdapters
from dgemma_lsp.pipeline import Outcome, Refusal, Times
from dgemma_lsp.settings import load
from dgemma_wire import adapters as wire
from dgemma_wire.errors import SettingsError
from dgemma_wire.messages import Timings

RUNTIME = Timings(
    queue_ms=0,
    layout_ms=0,
    prefill_ms=0,
    step_ms=(),
    total_ms=0,
    prefix_tokens=0,
    cached_tokens=0,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="XDG names the folder")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def make(name: str, stamp: int = 1) -> None:
    path = wire.make_adapter_folder(name) / wire.WEIGHTS_FILE
    path.touch()
    os.utime(path, ns=(stamp, stamp))


@pytest.fixture
def workspace(tmp_path: Path) -> tuple[WorkspaceAdapters, Path]:
    root = tmp_path / "my repo"
    (root / "inner").mkdir(parents=True)
    made = WorkspaceAdapters()
    made.open(root.as_uri(), root)
    return made, root


def test_a_workspaces_adapter_is_used_once_it_is_there(
    workspace: tuple[WorkspaceAdapters, Path],
) -> None:
    adapters, root = workspace
    uri = (root / "a b.py").as_uri()
    assert adapters.choose("auto", uri) == ""
    make(wire.adapter_id(root))
    assert adapters.choose("auto", uri) == wire.adapter_id(root)
    assert adapters.choose("auto", uri.replace("%20", " ")) == wire.adapter_id(root)
    assert adapters.choose("off", uri) == ""
    for elsewhere in ("untitled:1", root.as_uri() + "-other/a.py", "file:///a.py"):
        assert adapters.choose("auto", elsewhere) == ""


def test_the_innermost_folder_counts(workspace: tuple[WorkspaceAdapters, Path]) -> None:
    adapters, root = workspace
    inner = root / "inner"
    adapters.open(inner.as_uri() + "/", inner)
    for path in (root, inner):
        make(wire.adapter_id(path))
    assert adapters.choose("auto", (inner / "a.py").as_uri()) == wire.adapter_id(inner)
    adapters.close(inner.as_uri())
    assert adapters.choose("auto", (inner / "a.py").as_uri()) == wire.adapter_id(root)


def test_an_id_in_the_settings_is_named_even_when_it_is_missing() -> None:
    """So that the person is told of it."""
    assert WorkspaceAdapters().choose("team", "file:///a.py") == "team"


def test_a_refused_adapter_is_named_again_when_its_file_changes() -> None:
    adapters = WorkspaceAdapters()
    make("team")
    adapters.note(Outcome(refused=Refusal("team", "of another model")))
    assert adapters.problem == "of another model"
    assert adapters.choose("team", "file:///a.py") == ""
    make("other")
    assert adapters.choose("other", "file:///a.py") == "other"
    make("team", stamp=2)
    assert adapters.choose("team", "file:///a.py") == "team"
    adapters.note(Outcome(adapter="team", times=Times(runtime=RUNTIME)))
    assert (adapters.used, adapters.problem) == ("team", None)


def test_a_missing_adapter_is_named_again_when_it_appears() -> None:
    adapters = WorkspaceAdapters()
    adapters.note(Outcome(refused=Refusal("team", "no such adapter")))
    assert adapters.choose("team", "file:///a.py") == ""
    make("team")
    assert adapters.choose("team", "file:///a.py") == "team"
    adapters.note(Outcome(refused=Refusal("team", "torn")))
    adapters.forget_refusals()
    assert adapters.choose("team", "file:///a.py") == "team"
    assert adapters.problem is None


def test_what_was_used_last_is_known() -> None:
    adapters = WorkspaceAdapters()
    adapters.note(Outcome(adapter="team", times=Times(runtime=RUNTIME)))
    adapters.note(Outcome())  # declined: nobody answered
    assert adapters.used == "team"
    adapters.note(Outcome(times=Times(runtime=RUNTIME)))
    assert adapters.used == ""


@pytest.mark.parametrize("value", ["../x", "", "Team", "a/b", "a\n"])
def test_the_setting_takes_ids_only(value: str) -> None:
    with pytest.raises(SettingsError, match="adapter"):
        load({"adapter": value})
    assert load({"adapter": "team-1"}).adapter == "team-1"

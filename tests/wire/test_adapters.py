"""The ids of adapters: stable, distinct, and never a way out of their directory."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_wire.adapters import (
    WEIGHTS_FILE,
    adapter_folder,
    adapter_id,
    adapter_stamp,
    adapters_directory,
    is_adapter_id,
    make_adapter_folder,
)
from dgemma_wire.errors import AddressError


def test_an_id_is_readable_and_the_folders_own(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "My Project!", tmp_path / "b" / "My Project!"
    for path in (one, other):
        path.mkdir(parents=True)
    assert adapter_id(one).startswith("my-project-")
    assert adapter_id(one) == adapter_id(one / ".." / "My Project!")
    assert adapter_id(one) != adapter_id(other)
    assert len(adapter_id(one).rsplit("-", 1)[1]) == 12


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_to_a_workspace_is_that_workspace(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert adapter_id(tmp_path / "link") == adapter_id(tmp_path / "real")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=80))
def test_every_folder_name_makes_a_valid_id(name: str) -> None:
    assert is_adapter_id(adapter_id(Path("/work") / name))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "A", "ä", "a" * 65, "a\n", "a\0"]
)
def test_what_is_no_id_is_refused(name: str, tmp_path: Path) -> None:
    assert not is_adapter_id(name)
    with pytest.raises(AddressError):
        adapter_folder(name, tmp_path)
    with pytest.raises(AddressError):
        make_adapter_folder(name, tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_folder_is_the_users_alone(tmp_path: Path) -> None:
    directory = tmp_path / "data" / "adapters"
    folder = make_adapter_folder("x-1", directory)
    folder.chmod(0o755)
    assert make_adapter_folder("x-1", directory) == folder
    for path in (folder, directory):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(AddressError, match="cannot be made"):
        make_adapter_folder("x", tmp_path)


def test_the_stamp_changes_with_the_weights(tmp_path: Path) -> None:
    assert adapter_stamp("x", tmp_path) is None
    weights = make_adapter_folder("x", tmp_path) / WEIGHTS_FILE
    weights.touch()
    first = adapter_stamp("x", tmp_path)
    os.utime(weights, ns=(0, 5))
    assert adapter_stamp("x", tmp_path) == 5 != first


@pytest.mark.skipif(sys.platform != "linux", reason="XDG names the folder")
def test_the_directory_is_in_the_users_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert adapters_directory() == tmp_path / "dgemma" / "adapters"

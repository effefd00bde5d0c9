"""Who may find a runtime, and what a broken endpoint file does."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from dgemma_wire import endpoint
from dgemma_wire.errors import AddressError

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_the_directory_is_private(tmp_path: Path) -> None:
    where = {endpoint.DIRECTORY_VARIABLE: str(tmp_path / "a" / "run")}
    path = endpoint.runtime_directory(where)
    assert mode(path) == 0o700
    path.chmod(0o755)
    assert mode(endpoint.runtime_directory(where)) == 0o700


@posix
def test_a_link_or_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AddressError, match="not a folder"):
        endpoint.runtime_directory({endpoint.DIRECTORY_VARIABLE: str(tmp_path / "link")})
    (tmp_path / "file").touch()
    with pytest.raises(AddressError, match=endpoint.DIRECTORY_VARIABLE):
        endpoint.runtime_directory({endpoint.DIRECTORY_VARIABLE: str(tmp_path / "file")})


@pytest.mark.skipif(
    sys.platform == "win32" or os.getuid() != 0, reason="only root can give a folder away"
)
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(AddressError, match="another user"):
        endpoint.runtime_directory({endpoint.DIRECTORY_VARIABLE: str(tmp_path)})
    os.chown(tmp_path, os.getuid(), os.getgid())


@posix
def test_the_endpoint_file_is_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    one = endpoint.Endpoint(token=endpoint.new_token(), pid=1, release="1", path="/s")
    endpoint.write_endpoint(path, one)
    assert mode(path) == 0o600
    assert endpoint.read_endpoint(path) == one
    assert one.token not in one.describe()
    assert [file.name for file in tmp_path.iterdir()] == ["m.json"]


@posix
def test_a_folder_that_others_can_write_above_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    where = {endpoint.DIRECTORY_VARIABLE: str(tmp_path / "shared" / "run")}
    with pytest.raises(AddressError, match="Other users could replace"):
        endpoint.runtime_directory(where)
    (tmp_path / "shared").chmod(0o1777)  # as /tmp is
    assert mode(endpoint.runtime_directory(where)) == 0o700


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"token": 5}', b"\xff\xfe", b'{"pid":1}'])
def test_a_torn_endpoint_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.json").write_bytes(content)
    assert endpoint.read_endpoint(tmp_path / "m.json") is None


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    one = endpoint.Endpoint(token="t", pid=1, release="1")
    with pytest.raises(AddressError, match="No space left"):
        endpoint.write_endpoint(tmp_path / "m.json", one)
    assert not list(tmp_path.iterdir())


def test_model_keys_are_short_and_distinct() -> None:
    assert endpoint.model_key("embedded") == "embedded"
    long = "/models/" + "deep/" * 40 + "DiffusionGemma 26B (it)"
    assert len(endpoint.model_key(long)) <= 25
    assert endpoint.model_key(long) != endpoint.model_key(long + "/")
    assert endpoint.model_key("/a/x") != endpoint.model_key("/b/x")


def test_a_socket_path_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="shorter folder"):
        endpoint.socket_path(tmp_path / ("x" * 100), "embedded")

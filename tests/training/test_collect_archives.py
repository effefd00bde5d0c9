"""From archives to a corpus: safety, fetching again, shares, and a whole run without a network."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import tarfile
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from dgemma_training.collect import collect, fetch, sources
from dgemma_training.collect.archives import ArchiveError, read_members
from dgemma_training.collect.fetch import FetchError, fetch_all
from dgemma_training.collect.packages import Form, PinnedPackage, Registry
from dgemma_training.collect.sources import read_package
from dgemma_training.documents import Split, read_documents


def everything(_path: str) -> bool:
    return True


def quiet(_what: str, _share: float) -> None:
    pass


def tarball(path: Path, members: Mapping[str, str | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                file.addfile(content)
            else:
                entry = tarfile.TarInfo(name)
                entry.size = len(content.encode())
                file.addfile(entry, io.BytesIO(content.encode()))
    return path


def wheel(path: Path, members: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = "/etc/passwd"
    return entry


UNSAFE = {"../up.py": "x", "/root.py": "x", "a/../../b.py": "x", "c:\\d.py": "x"}


def test_unsafe_names_and_links_in_tars(tmp_path: Path) -> None:
    links = {
        "soft.py": link("soft.py", tarfile.SYMTYPE),
        "hard.py": link("hard.py", tarfile.LNKTYPE),
        "pipe.py": link("pipe.py", tarfile.FIFOTYPE),
    }
    path = tarball(tmp_path / "a.tar.gz", {**UNSAFE, **links, "good/a.py": "y"})
    assert list(read_members(path, everything)) == [("good/a.py", b"y")]
    assert os.listdir(tmp_path) == ["a.tar.gz"]


def test_unsafe_names_and_links_in_zips(tmp_path: Path) -> None:
    path = wheel(tmp_path / "a.whl", {**UNSAFE, "good/a.py": "y"})
    with zipfile.ZipFile(path, "a") as file:
        entry = zipfile.ZipInfo("soft.py")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(entry, "/etc/passwd")
    assert list(read_members(path, everything)) == [("good/a.py", b"y")]


@pytest.mark.parametrize("name", ["a.whl", "a.tgz"])
def test_bombs(tmp_path: Path, name: str) -> None:
    make = wheel if name.endswith("whl") else tarball
    path = make(tmp_path / name, {f"{n}.py": "0" * 100_000 for n in range(20)})
    assert path.stat().st_size < 100_000
    assert len(list(read_members(path, everything, max_bytes=2_000_000))) == 20
    with pytest.raises(ArchiveError, match="beyond"):
        list(read_members(path, everything, max_bytes=1_999_999))


@pytest.mark.parametrize("name", ["a.whl", "a.tgz"])
def test_a_large_member_is_passed_over(tmp_path: Path, name: str) -> None:
    make = wheel if name.endswith("whl") else tarball
    path = make(tmp_path / name, {"large.py": "0" * 2_000_001, "small.py": "0"})
    assert list(read_members(path, everything)) == [("small.py", b"0")]


@pytest.mark.parametrize("name", ["a.whl", "a.tgz", "a.tar.gz", "a.exe"])
def test_broken_archives(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ArchiveError, match=r"a\."):
        list(read_members(path, everything))


# -- fetching -------------------------------------------------------------------------------------


def pinned(
    name: str,
    split: Split = Split.TRAIN,
    registry: Registry = Registry.PYPI,
    form: Form = Form.WHEEL,
) -> PinnedPackage:
    return PinnedPackage(registry, name, "1.0", split, form)


class FakeRegistry:
    """Delivers archives and counts what it was asked for."""

    def __init__(self, members: Mapping[str, Mapping[str, str]]) -> None:
        self.members = members
        self.asked: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, package: PinnedPackage, folder: Path) -> None:
        with self.lock:
            self.asked.append(package.name)
        if package.name not in self.members:
            (folder / "half.whl").write_bytes(b"cut off")
            raise FetchError("no such version")
        make = wheel if package.registry is Registry.PYPI else tarball
        ending = "whl" if package.registry is Registry.PYPI else "tgz"
        make(folder / f"archive.{ending}", self.members[package.name])


def test_fetching_is_resumed(tmp_path: Path) -> None:
    packages = [pinned("a"), pinned("missing"), pinned("@s/b", registry=Registry.NPM)]
    registry = FakeRegistry({"a": {"a.py": ""}, "@s/b": {"package/b.ts": ""}})
    seen: list[tuple[str, float]] = []

    def report(name: str, share: float) -> None:
        seen.append((name, share))

    first = fetch_all(packages, tmp_path, jobs=2, report=report, download=registry)
    assert [each.package.name for each in first] == ["a", "missing", "@s/b"]
    assert [each.archive is not None for each in first] == [True, False, True]
    assert first[1].error == "no such version"
    assert seen[-1] == ("@s/b", 1.0)
    assert sorted(registry.asked) == ["@s/b", "a", "missing", "missing"]

    registry.asked.clear()
    again = fetch_all(packages, tmp_path, jobs=2, report=quiet, download=registry)
    assert again == first
    assert registry.asked == ["missing", "missing"]
    assert not list(tmp_path.glob(".part-*"))


def test_a_delivery_without_an_archive_is_an_error(tmp_path: Path) -> None:
    def nothing(_package: PinnedPackage, _folder: Path) -> None:
        pass

    (result,) = fetch_all([pinned("a")], tmp_path, jobs=1, report=quiet, download=nothing)
    assert result.archive is None
    assert result.error == "no archive was delivered"


@pytest.mark.skipif(sys.platform == "win32", reason="the fake client is a shell script")
@pytest.mark.parametrize(
    ("package", "start", "needed", "banned", "end"),
    [
        (pinned("@s/b", registry=Registry.NPM), "pack", "--ignore-scripts", "", "@s/b@1.0"),
        (pinned("a"), "-m pip download", "--only-binary", "unearth", "a==1.0"),
        # pip would run the build backend of an sdist.
        (pinned("a", form=Form.SDIST), "-m unearth", "--no-binary", "pip", "a==1.0"),
    ],
)
def test_clients_run_no_package_code(
    package: PinnedPackage,
    start: str,
    needed: str,
    banned: str,
    end: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = tmp_path / "bin" / "npm"
    client.parent.mkdir()
    client.write_text('#!/bin/sh\necho "$@" > archive.tgz\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "executable", str(client))
    folder = tmp_path / "out"
    folder.mkdir()
    fetch.download_archive(package, folder)
    line = (folder / "archive.tgz").read_text().strip()
    assert line.startswith(start)
    assert line.endswith(end)
    assert needed in line.split()
    assert banned not in line.split()

    client.write_text('#!/bin/sh\necho "ERROR: no such thing" >&2\nexit 1\n')
    with pytest.raises(FetchError, match="no such thing"):
        fetch.download_archive(package, folder)


# -- one package ----------------------------------------------------------------------------------


def module(seed: str, lines: int = 20) -> str:
    return "".join(
        f"def {seed}_{n}(argument_{n}):\n    return {seed}_{n + 1}\n" for n in range(lines)
    )


METADATA = {"a-1.0.dist-info/METADATA": "Metadata-Version: 2.4\nName: a\nLicense-Expression: MIT\n"}


def test_a_refused_package_gives_nothing(tmp_path: Path) -> None:
    refused = {"a-1.0.dist-info/METADATA": "License-Expression: GPL-3.0-only\n"}
    path = wheel(tmp_path / "a.whl", {"a/b.py": module("b"), **refused})
    read = read_package(pinned("a"), path)
    assert not read.verdict.accepted
    assert read.documents == []


def test_scripts_beside_their_typescript_are_dropped(tmp_path: Path) -> None:
    members = {
        "package/package.json": '{"license": "MIT"}',
        "package/src/one.ts": "".join(
            f"export function one{n}(a: number): number {{\n  return a * {n};\n}}\n"
            for n in range(20)
        ),
        "package/lib/one.js": "".join(
            f"export function one{n}(a) {{\n  return a * {n};\n}}\n" for n in range(20)
        ),
        "package/lib/two.js": "".join(
            f"export function two{n}(a) {{\n  return a + {n};\n}}\n" for n in range(20)
        ),
    }
    package = pinned("b", registry=Registry.NPM)
    read = read_package(package, tarball(tmp_path / "b.tgz", members))
    assert sorted(d.path for d in read.documents) == ["lib/two.js", "src/one.ts"]
    assert read.dropped == {"built": 1}
    only = read_package(package, tmp_path / "b.tgz", languages={"typescript"})
    assert [d.path for d in only.documents] == ["src/one.ts"]


def test_an_sdist_is_read_without_its_outer_folder(tmp_path: Path) -> None:
    members = {
        "a-1.0/PKG-INFO": "License-Expression: MIT\n",
        "a-1.0/a/b.py": module("b"),
        "a-1.0/a/vendor/PKG-INFO": "License-Expression: GPL-3.0-only\n",
    }
    package = pinned("a", form=Form.SDIST)
    read = read_package(package, tarball(tmp_path / "a-1.0.tar.gz", members))
    (document,) = read.documents
    assert (document.path, document.licence, document.language) == ("a/b.py", "MIT", "python")


def test_tests_are_at_most_a_third(tmp_path: Path) -> None:
    members = {f"a/m{n}.py": module(f"m{n}") for n in range(10)}
    members |= {f"a/tests/t{n}.py": module(f"t{n}") for n in range(10)}
    read = read_package(pinned("a"), wheel(tmp_path / "a.whl", {**members, **METADATA}))
    tests = [d for d in read.documents if "/tests/" in d.path]
    assert len(tests) == 5
    assert len(read.documents) == 15
    assert read.dropped == {"cap": 5}


def test_a_package_has_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {f"a/m{n}.py": module(f"m{n}") for n in range(10)} | METADATA
    path = wheel(tmp_path / "a.whl", members)
    size = len(module("m1"))
    monkeypatch.setattr(sources, "MAX_LANGUAGE_BYTES", 4 * size + 1)
    read = read_package(pinned("a"), path)
    assert len(read.documents) == 4
    # The same ones however the archive is ordered.
    turned = wheel(tmp_path / "b.whl", dict(reversed(members.items())))
    assert read_package(pinned("a"), turned).documents == read.documents


# -- the whole way --------------------------------------------------------------------------------


def test_a_corpus(tmp_path: Path) -> None:
    shared = module("shared", 40)
    registry = FakeRegistry(
        {
            "held": {"held/a.py": module("held", 40), "held/b.py": shared, **METADATA},
            "tuned": {"tuned/a.py": module("tuned"), **METADATA},
            "clean": {
                "clean/a.py": module("clean"),
                "clean/broken.py": module("broken") + "def (",
                "clean/copy_of_held.py": shared,
                "clean/part_of_held.py": module("mine", 60) + module("held", 8),
                "clean/row.py": module("other") + module("row", 10),
                **METADATA,
            },
            "copyleft": {"x/y.py": module("y"), "x-1.dist-info/METADATA": "License: GPL\n"},
        }
    )
    packages = [pinned("held", Split.TEST), pinned("tuned", Split.VALIDATION), pinned("clean")]
    packages += [pinned("copyleft"), pinned("gone")]
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prefix": module("row", 10), "middle": "x"}) + "\n")
    folder = tmp_path / "corpus"
    reported: list[str] = []

    def report(what: str, _share: float) -> None:
        reported.append(what.split()[0])

    def run(into: Path, limit: int | None = None) -> list[tuple[str, str]]:
        summary = collect(
            into,
            exclude=[rows],
            jobs=1,
            report=report,
            downloads=tmp_path / "downloads",
            packages=packages,
            download=registry,
            limit=limit,
        )
        assert json.loads((into / "summary.json").read_text())["dropped"] == summary.dropped
        return [(d.split, d.path) for d in read_documents(into)]

    entries = run(folder)
    assert set(entries) == {
        ("test", "held/a.py"),
        ("test", "held/b.py"),
        ("validation", "tuned/a.py"),
        ("train", "clean/a.py"),
    }
    assert dict.fromkeys(reported) == dict.fromkeys(
        ["fetch", "read", "drop", "decontaminate", "write"]
    )
    accounts = {each["name"]: each for each in json.loads((folder / "packages.json").read_text())}
    assert accounts["clean"]["files"] == 1
    assert accounts["clean"]["dropped"] == {
        "syntax": 1,
        "duplicate": 1,
        "held_out": 1,
        "evaluation_row": 1,
    }
    assert accounts["clean"]["bytes_by_language"] == {"python": len(module("clean"))}
    assert accounts["copyleft"]["licence"] == "GPL"
    assert not accounts["copyleft"]["accepted"]
    assert accounts["gone"]["problem"] == "no such version"

    # The order is the corpus's own, whatever the list's.
    packages.reverse()
    assert run(tmp_path / "again") == entries
    assert [split for split, _ in run(tmp_path / "trial", limit=1)].count("validation") == 1


def test_a_wrong_exclusion_file_costs_no_download(tmp_path: Path) -> None:
    registry = FakeRegistry({})
    with pytest.raises(FileNotFoundError):
        collect(
            tmp_path,
            exclude=[tmp_path / "none"],
            report=quiet,
            packages=[pinned("a")],
            download=registry,
        )
    assert registry.asked == []

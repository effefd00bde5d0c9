"""Which files of a person's folder are learned from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dgemma_training.documents import Split
from dgemma_training.folders import FolderError, read_folder

CODE = "".join(
    f"def function_{i}(left, right):\n    return left + right * {i}\n\n\n" for i in range(20)
)


def paths(root: Path) -> set[str]:
    return {document.path for document in read_folder(root)}


def write(root: Path, name: str, text: str = CODE) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)


def test_version_control_says_what_is_ones_own(tmp_path: Path) -> None:
    git(tmp_path, "init")
    write(tmp_path, ".gitignore", "generated/\n")
    write(tmp_path, "tracked.py")
    git(tmp_path, "add", "tracked.py")
    write(tmp_path, "new.py")
    write(tmp_path, "generated/made.py")
    write(tmp_path, "deleted.py")
    git(tmp_path, "add", "deleted.py")
    (tmp_path / "deleted.py").unlink()
    assert paths(tmp_path) == {"tracked.py", "new.py"}


def test_without_version_control_hidden_and_installed_files_are_left_out(tmp_path: Path) -> None:
    for name in ("a.py", "deep/er/b.ts", ".cache/c.py", "node_modules/x/d.js", "venv/e.py"):
        write(tmp_path, name)
    assert paths(tmp_path) == {"a.py", "deep/er/b.ts"}


def test_secrets_are_never_read(tmp_path: Path) -> None:
    write(tmp_path, "a.py")
    write(tmp_path, ".env", CODE)
    write(tmp_path, "secrets/keys.py")
    write(tmp_path, "credentials.py")
    from dgemma_lsp.ignored import is_ignored
    from dgemma_lsp.settings import Settings

    named = {
        name
        for name in ("secrets/keys.py", "credentials.py")
        if is_ignored((tmp_path / name).as_uri(), Settings().ignore)
    }
    assert named  # or this test tests nothing
    assert not paths(tmp_path) & named


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, "private.py")
    root = tmp_path / "root"
    write(root, "a.py")
    (root / "link.py").symlink_to(outside / "private.py")
    (root / "folder").symlink_to(outside)
    assert paths(root) == {"a.py"}


def test_line_ends_are_made_one_kind(tmp_path: Path) -> None:
    write(tmp_path, "a.py", CODE.replace("\n", "\r\n"))
    (document,) = read_folder(tmp_path)
    assert "\r" not in document.text
    assert document.split is Split.TRAIN


def test_what_cannot_be_learned_from_says_so(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no source file"):
        read_folder(tmp_path)
    with pytest.raises(FolderError, match="no folder"):
        read_folder(tmp_path / "missing")
    write(tmp_path, "binary.py", "\0\0\0" * 500)
    write(tmp_path, "short.py", "x = 1\n")
    with pytest.raises(FolderError, match="no source file"):
        read_folder(tmp_path)

"""Every hole file: kind of hole, trimming and verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lsp.holes import DATA, check_file

FILES = sorted(DATA.glob("*/*.hole"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_hole_file(path: Path) -> None:
    check_file(path)


def test_hole_files_are_found() -> None:
    assert FILES

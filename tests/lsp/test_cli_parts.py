"""Parts of the command line that need no process: places, writing, drawing."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from dgemma_lsp.cli.fill import PlaceError, Target, place_at, read_target, write
from dgemma_lsp.cli.render import Canvas, Piece, surroundings
from dgemma_lsp.methods import PreviewParams
from dgemma_wire.messages import DraftToken, TokenState

SOURCE = "x = 1\r\ny = '🦜'; z = \r\n"


def target(path: Path) -> Target:
    path.write_bytes(SOURCE.encode())
    return read_target(f"{path}:2:14")


def test_columns_count_characters_and_crlf_is_one_line_end(tmp_path: Path) -> None:
    place = target(tmp_path / "a.py").place
    assert place.text[: place.offset].endswith("z = ")
    assert place_at("a", SOURCE, 3, 1).offset == len(SOURCE)
    assert place_at("a", "", 1, 1).offset == 0


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = target(tmp_path / "a.py")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PlaceError, match="No space left on device"):
        write(one, "something else")
    assert one.path.read_bytes() == SOURCE.encode()
    assert [file.name for file in tmp_path.iterdir()] == ["a.py"]


def test_a_file_that_changed_meanwhile_is_not_written(tmp_path: Path) -> None:
    one = target(tmp_path / "a.py")
    one.path.write_text("the person typed on")
    with pytest.raises(PlaceError, match="changed while it was being filled"):
        write(one, "something else")
    assert one.path.read_text() == "the person typed on"


def test_writing_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    target(tmp_path / "real.py")
    (tmp_path / "link.py").symlink_to(tmp_path / "real.py")
    write(read_target(f"{tmp_path / 'link.py'}:1:1"), "new\r\n")
    assert (tmp_path / "link.py").is_symlink()
    assert (tmp_path / "real.py").read_bytes() == b"new\r\n"


def test_the_lines_around_a_hole() -> None:
    place = place_at("a", "1\n2\n3\n4(\n5\n6\n7\n8\n", 4, 3)
    rows = surroundings(place, [Piece("a,\n  b)", "s")])
    shown = [(number, "".join(piece.text for piece in pieces)) for number, pieces in rows]
    assert shown == [
        (1, "1"),
        (2, "2"),
        (3, "3"),
        (4, "4(a,"),
        (None, "  b)"),
        (5, "5"),
        (6, "6"),
        (7, "7"),
    ]


def test_a_terminal_is_drawn_over() -> None:
    out = io.StringIO()
    canvas = Canvas(out, live=True, place=place_at("a", "f()\n", 1, 3))
    tokens = (DraftToken("a", TokenState.SETTLED), DraftToken("", TokenState.NOISE))
    preview = PreviewParams(token="t", candidate=0, step=1, max_steps=8, spans=(tokens,))
    canvas.preview(preview)
    first = out.getvalue()
    assert "1 of 2 positions settled" in first
    canvas.preview(preview)
    assert out.getvalue()[len(first) :].startswith(f"\x1b[{first.count(chr(10))}A\x1b[J")

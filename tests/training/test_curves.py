"""The picture of a run's log."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dgemma_training.curves import LogError, draw, read_log


def entry(what: str, step: int, loss: float, shape: str = "fill") -> dict[str, object]:
    return {
        "what": what, "step": step, "canvases": step * 24, "shape": shape, "loss": loss,
        "second": loss - 0.1, "right": step % 7, "asked": 10,
    }  # fmt: skip


def log(path: Path, entries: list[dict[str, object]], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(e) + "\n" for e in entries) + tail)
    return path


def test_a_step_that_was_done_again_counts_once_and_a_cut_line_not_at_all(tmp_path: Path) -> None:
    path = log(
        tmp_path / "log.jsonl",
        [entry("step", 1, 5.0), entry("step", 2, 9.0), entry("step", 2, 4.0)],
        '{"what": "step", "st',
    )
    assert [e["loss"] for e in read_log(path)] == [5.0, 4.0]


def test_the_picture_is_sound_and_shows_every_curve(tmp_path: Path) -> None:
    entries = [entry("step", i, 5 - i / 100) for i in range(1, 200)]
    entries += [entry("step", i, 9.0, "rewrite") for i in range(200, 220)]
    entries += [entry("validation", i, 4.5 - i / 100, "") for i in range(50, 201, 50)]
    svg = draw(read_log(log(tmp_path / "log.jsonl", entries)), "A <run> & more")
    root = ElementTree.fromstring(svg)
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 5
    for line in lines:
        points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
        assert len(points) > 1
        assert all(0 <= x <= 860 and 0 <= y <= 600 for x, y in points)
    assert "A &lt;run&gt; &amp; more" in svg


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_that_has_just_begun_can_be_drawn(tmp_path: Path, count: int) -> None:
    entries = [entry("step", i + 1, 5.0) for i in range(count)]
    ElementTree.fromstring(draw(read_log(log(tmp_path / "log.jsonl", entries)), "t"))


def test_no_log_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="folder of a run"):
        read_log(tmp_path / "log.jsonl")
    with pytest.raises(LogError, match="empty"):
        read_log(log(tmp_path / "log.jsonl", []))

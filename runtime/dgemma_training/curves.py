"""A run's log as a picture: losses and accuracy over canvases, as one SVG.

Reads the log and writes text; knows nothing of the training itself.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dgemma_wire.errors import DgemmaError

_WIDTH, _HEIGHT = 860, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 44, 42
_GRID, _TEXT, _QUIET = "#d0d4da", "#1f2328", "#59636e"
_COLOURS = {"training": "#9aa4b0", "validation": "#0b62c4", "second pass": "#c2570c"}


class LogError(DgemmaError):
    """A log cannot be drawn."""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: points (canvases, value)."""

    name: str
    points: tuple[tuple[float, float], ...]


def read_log(path: Path) -> list[dict[str, object]]:
    """Return a run's entries; of a step that was done twice after a cut, the later one.

    Raises:
        LogError: There is no log, or nothing in it.
    """
    entries: dict[tuple[object, object], dict[str, object]] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the last line of a run that was cut off
            entries[entry["what"], entry["step"]] = entry
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error}. Give the folder of a run.") from error
    if not entries:
        raise LogError(f"{path} is empty: the run has not done a step yet.")
    return sorted(entries.values(), key=lambda entry: _number(entry["step"]))


def draw(entries: Sequence[dict[str, object]], title: str) -> str:
    """Return an SVG with the losses above and the accuracy below."""
    fills = [e for e in entries if e["what"] == "step" and e["shape"] == "fill"]
    checks = [e for e in entries if e["what"] == "validation"]
    losses = [
        Line("training", _smooth(_points(fills, "loss"))),
        Line("validation", _points(checks, "loss")),
        Line("second pass", _points(checks, "second")),
    ]
    accuracy = [
        Line("training", _smooth(_shares(fills))),
        Line("validation", _shares(checks)),
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{2 * _HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {2 * _HEIGHT}" font-family="system-ui, sans-serif" '
        f'font-size="13" role="img"><title>{html.escape(title)}</title>',
        f'<rect width="{_WIDTH}" height="{2 * _HEIGHT}" fill="#ffffff"/>',
        _panel(losses, "Loss of an undecided token, nats", 0, ""),
        _panel(accuracy, "Next token right, %", _HEIGHT, " %"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _points(entries: Sequence[dict[str, object]], name: str) -> tuple[tuple[float, float], ...]:
    return tuple((_number(e["canvases"]), _number(e[name])) for e in entries)


def _shares(entries: Sequence[dict[str, object]]) -> tuple[tuple[float, float], ...]:
    return tuple(
        (_number(e["canvases"]), 100 * _number(e["right"]) / _number(e["asked"]))
        for e in entries
        if e["asked"]
    )


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _smooth(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Return running means, so that single batches do not hide the course."""
    width = max(1, len(points) // 40)
    return tuple(
        (points[i][0], sum(y for _, y in points[max(0, i - width + 1) : i + 1]) / min(i + 1, width))
        for i in range(width - 1, len(points), max(1, width // 4))
    )


def _panel(lines: Sequence[Line], title: str, top: float, unit: str) -> str:
    shown = [line for line in lines if line.points]
    if not shown:
        return ""
    xs = [x for line in shown for x, _ in line.points]
    ys = [y for line in shown for _, y in line.points]
    right = max(max(xs), 1.0)
    step = _round_step((max(ys) - min(ys)) / 4 or 1.0)
    low = step * int(min(ys) // step)
    high = step * (int(max(ys) // step) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - _RIGHT) * x / right
        down = top + _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - y) / (high - low)
        return across, down

    out = [f'<text x="{_LEFT}" y="{top + 22}" fill="{_TEXT}" font-weight="600">{title}</text>']
    value = low
    while value <= high + step / 2:
        x, y = place(0, value)
        out.append(
            f'<line x1="{x}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>'
        )
        label = f"{value:g}{unit}"
        out.append(
            f'<text x="{x - 8}" y="{y + 4:.1f}" fill="{_QUIET}" text-anchor="end">{label}</text>'
        )
        value = round(value + step, 10)
    across = _round_step(right / 5)
    for i in range(int(right // across) + 1):
        x, y = place(i * across, low)
        text = f"{i * across / 1000:g}k" if i else "0"
        end = "" if (i + 1) * across <= right else " canvases"
        out.append(
            f'<text x="{x:.1f}" y="{y + 20:.1f}" fill="{_QUIET}" text-anchor="middle">'
            f"{text}{end}</text>"
        )
    key = _WIDTH - _RIGHT
    for line in reversed(shown):
        colour = _COLOURS[line.name]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*p) for p in line.points))
        width = 1.4 if line.name == "training" else 2.4
        out.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        )
        if line.name != "training":
            out += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
                for x, y in (place(*p) for p in line.points)
            ]
        out.append(
            f'<text x="{key}" y="{top + 22}" fill="{colour}" text-anchor="end">{line.name}</text>'
        )
        key -= 8 * len(line.name) + 20
    return "\n".join(out)


def _round_step(rough: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten."""
    size = 10.0 ** len(str(int(rough))) / 10 if rough >= 1 else 1.0
    while size > rough:
        size /= 10
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)

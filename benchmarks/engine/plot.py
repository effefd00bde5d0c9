"""Milliseconds of a denoise step over the length of the canvas, with the floor, as one SVG.

Reads a record; text out. Both axes are logarithmic, so that equal factors look equal.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.engine.sizes import SIZES
from benchmarks.engine.summary import result

_WIDTH, _HEIGHT = 860, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 236, 52, 52
_GRID, _TEXT, _QUIET = "#d0d4da", "#1f2328", "#59636e"
_COLOURS = ("#0b62c4", "#1a7f37", "#8250df")
_THEIRS, _COMPILED = "#c2570c", "#953800"


_Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: points (canvas, milliseconds)."""

    name: str
    colour: str
    points: tuple[tuple[int, float], ...]
    dashed: bool = False


def draw(record: Mapping[str, Any]) -> str:
    """Return the SVG of a record."""
    lines = [line for line in _lines(record) if len(line.points) > line.dashed]
    machine = record["hardware"]
    title = "Milliseconds of a denoise step over the length of the canvas"
    under = (
        f"{machine.get('gpu') or machine['cpu']}, size {record['size']}, random weights, "
        f"{record['date']}; p50"
    )
    body = _frame(lines) if lines else []
    return (
        "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
                f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="system-ui, sans-serif" '
                f'font-size="13" role="img"><title>{html.escape(title)}</title>',
                f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
                f'<text x="{_LEFT}" y="22" fill="{_TEXT}" font-weight="600">{title}</text>',
                f'<text x="{_LEFT}" y="40" fill="{_QUIET}">{html.escape(under)}</text>',
                *body,
                "</svg>",
            ]
        )
        + "\n"
    )


def _lines(record: Mapping[str, Any]) -> list[Line]:
    size = SIZES[record["size"]]
    made: list[Line] = []
    for form, colour in zip(size.forms, _COLOURS, strict=True):
        rows = (result(record, f"steps {form}") or {}).get("canvases", ())
        points = tuple((row["canvas"], row["ours_ms"]["p50"]) for row in rows)
        made.append(Line(f"this engine, {form}", colour, points))
        floors = tuple(
            (row["canvas"], row["floor_copied_uniform_ms"])
            for row in record["summary"]["floors"]
            if row["form"] == form and row["together"] == 1 and "floor_copied_uniform_ms" in row
        )
        made.append(Line(f"memory's floor, {form}", colour, floors, dashed=True))
        if form == size.plain:
            whole = tuple((row["canvas"], row["ours_whole_ms"]["p50"]) for row in rows)
            made.append(Line("this engine, whole canvas", "#59636e", whole))
            theirs = tuple((row["canvas"], row["generate_ms"]["p50"]) for row in rows)
            made.append(Line(f"generate(), {form}", _THEIRS, theirs))
            found = (result(record, "generate(), compiled") or {}).get("canvases", ())
            compiled = tuple(sorted((row["canvas"], row["generate_ms"]["p50"]) for row in found))
            made.append(Line(f"generate(), {form}, compiled", _COMPILED, compiled))
    return made


def _frame(lines: Sequence[Line]) -> list[str]:
    """Return axes, curves, and their names at their right ends."""
    xs = sorted({x for line in lines for x, _ in line.points})
    ys = [max(y, 1e-3) for line in lines for _, y in line.points]
    low, high = math.log10(min(ys)) - 0.08, math.log10(max(ys)) + 0.08
    right = _WIDTH - _RIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        span = math.log2(xs[-1] / xs[0]) or 1.0
        across = _LEFT + (right - _LEFT) * math.log2(x / xs[0]) / span
        share = (math.log10(max(y, 1e-3)) - low) / (high - low)
        return across, _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * share

    out: list[str] = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for factor in (1, 2, 5):
            value = factor * 10.0**power
            if not low <= math.log10(value) <= high:
                continue
            _, y = place(xs[0], value)
            out.append(
                f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" fill="{_QUIET}" text-anchor="end">'
                f"{value:g}</text>"
            )
    for x in xs:
        across, _ = place(x, 1.0)
        out.append(
            f'<text x="{across:.1f}" y="{_HEIGHT - _BOTTOM + 20}" fill="{_QUIET}" '
            f'text-anchor="middle">{x}</text>'
        )
    out.append(
        f'<text x="{(_LEFT + right) / 2:.1f}" y="{_HEIGHT - 10}" fill="{_QUIET}" '
        'text-anchor="middle">positions of the canvas</text>'
    )
    for line in lines:
        placed = [place(*point) for point in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        width = 1.4 if line.dashed else 2.4
        out.append(
            f'<polyline points="{path}" fill="none" stroke="{line.colour}" '
            f'stroke-width="{width}"{dash}/>'
        )
        if not line.dashed:
            out += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line.colour}"/>' for x, y in placed
            ]
    return out + _names(lines, place, right)


def _names(lines: Sequence[Line], place: _Place, right: float) -> list[str]:
    """Write the curves' names right of them, from the top, none over another."""
    ends = sorted((place(*line.points[-1])[1], number) for number, line in enumerate(lines))
    out: list[str] = []
    last = -math.inf
    for left, (y, number) in zip(range(len(ends), 0, -1), ends, strict=True):
        lowest = _HEIGHT - _BOTTOM - 17 * (left - 1)  # so that the others have room under it
        last = max(min(y + 4, lowest), last + 17)
        line = lines[number]
        out.append(
            f'<text x="{right + 16}" y="{last:.1f}" fill="{line.colour}">'
            f"{html.escape(line.name)}</text>"
        )
    return out

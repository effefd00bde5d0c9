"""The figures as one SVG: exact match per system with its interval, in all and by kind and length.

Text in, text out.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from dgemma_training.evaluation.asking import is_raw
from dgemma_training.evaluation.figures import FITTING, Figures, SystemFigures

_WIDTH, _PANEL = 980, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 34, 44
_HEAD, _KEY = 30, 20
_GRID, _TEXT, _QUIET = "#d0d4da", "#1f2328", "#59636e"
_COLOURS = ("#0b62c4", "#c2570c", "#1a7f37", "#8250df", "#9aa4b0", "#bf3989", "#6e7781", "#953800")

_PARTS: tuple[tuple[str, Callable[[SystemFigures], Mapping[str, Figures]]], ...] = (
    ("Exact match, %", lambda found: found.groups),
    ("Exact match by kind, %", lambda found: found.kinds),
    ("Exact match by length, %", lambda found: found.lengths),
)


class Measured(Protocol):
    """A set of rows with the figures of each system."""

    @property
    def name(self) -> str:
        """Of the rows."""
        ...

    @property
    def systems(self) -> dict[str, SystemFigures]:
        """By name."""
        ...


def draw(sets: Sequence[Measured]) -> str:
    """Return an SVG with three panels for every set of rows."""
    shown = [each for each in sets if each.systems]
    body: list[str] = []
    top = 0.0
    for each in shown:
        names = [name for name in each.systems if not is_raw(name)]
        colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
        body.append(
            f'<text x="{_LEFT}" y="{top + 20}" fill="{_TEXT}" font-size="15" '
            f'font-weight="600">{html.escape(each.name)}</text>'
        )
        top += _HEAD
        body.append(_key(colours, top))
        top += _KEY * (1 + (len(names) - 1) // 4)
        for title, part in _PARTS:
            figures = {name: part(each.systems[name]) for name in names}
            body.append(_panel(title, figures, colours, top))
            top += _PANEL
    height = max(top, 1)
    title = "Exact match of each system on " + ", ".join(each.name for each in shown)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:g}" '
            f'viewBox="0 0 {_WIDTH} {height:g}" font-family="system-ui, sans-serif" '
            f'font-size="12" role="img"><title>{html.escape(title)}</title>',
            f'<rect width="{_WIDTH}" height="{height:g}" fill="#ffffff"/>',
            *body,
            "</svg>\n",
        ]
    )


def _key(colours: Mapping[str, str], top: float) -> str:
    parts: list[str] = []
    for number, (name, colour) in enumerate(colours.items()):
        x, y = _LEFT + 225 * (number % 4), top + _KEY * (number // 4)
        parts.append(f'<rect x="{x}" y="{y}" width="11" height="11" fill="{colour}"/>')
        label = html.escape(name)
        parts.append(f'<text x="{x + 16}" y="{y + 10}" fill="{_TEXT}">{label}</text>')
    return "".join(parts)


def _panel(
    title: str,
    systems: Mapping[str, Mapping[str, Figures]],
    colours: Mapping[str, str],
    top: float,
) -> str:
    parts = list(dict.fromkeys(part for found in systems.values() for part in found))
    values = [
        100 * (found.exact.high if found.exact.high is not None else found.exact.value)
        for system in systems.values()
        for found in system.values()
        if found.exact is not None
    ]
    most = min(100.0, 10 * (int(max(values, default=0) // 10) + 1))
    floor = top + _PANEL - _BOTTOM

    def height(value: float) -> float:
        return (floor - top - _TOP) * 100 * value / most

    out = [f'<text x="{_LEFT}" y="{top + 20}" fill="{_TEXT}">{html.escape(title)}</text>']
    step = 10 if most <= 50 else 20
    for value in range(0, int(most) + 1, step):
        y = floor - height(value / 100)
        out.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{_GRID}"/><text x="{_LEFT - 8}" y="{y + 4:.1f}" fill="{_QUIET}" '
            f'text-anchor="end">{value}</text>'
        )
    room = (_WIDTH - _LEFT - _RIGHT) / max(1, len(parts))
    bar = min(40.0, 0.8 * room / max(1, len(systems)))
    for number, part in enumerate(parts):
        middle = _LEFT + room * (number + 0.5)
        rows = max((found[part].rows for found in systems.values() if part in found), default=0)
        out.append(
            f'<text x="{middle:.1f}" y="{floor + 18:.1f}" fill="{_TEXT}" text-anchor="middle">'
            f"{html.escape(part if part != FITTING else 'all that fit')}</text>"
            f'<text x="{middle:.1f}" y="{floor + 33:.1f}" fill="{_QUIET}" '
            f'text-anchor="middle">{rows} rows</text>'
        )
        start = middle - bar * len(systems) / 2
        for place, (name, found) in enumerate(systems.items()):
            if part in found:
                x = start + bar * place
                out.append(_bar(found[part], x, bar, floor, height, colours[name], name))
    return "\n".join(out)


def _bar(
    found: Figures,
    x: float,
    width: float,
    floor: float,
    height: Callable[[float], float],
    colour: str,
    name: str,
) -> str:
    exact = found.exact
    if exact is None:
        return ""
    tall = height(exact.value)
    label = html.escape(f"{name}: {100 * exact.value:.1f} %")
    made = (
        f'<rect x="{x + 1:.1f}" y="{floor - tall:.1f}" width="{width - 2:.1f}" '
        f'height="{tall:.1f}" fill="{colour}"><title>{label}</title></rect>'
    )
    if exact.low is None or exact.high is None:
        return made
    middle = x + width / 2
    return made + (
        f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{floor - height(exact.low):.1f}" '
        f'y2="{floor - height(exact.high):.1f}" stroke="{_TEXT}" stroke-width="1.3"/>'
    )

"""Draw docs/images/demo.svg: real fills of the examples, step by step, as an animated picture.

Every frame is a draft that the runtime sent; only the time between frames is stretched.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from demo import holes

from dgemma_lsp import methods
from dgemma_lsp.cli.client import editor
from dgemma_lsp.cli.fill import open_place
from dgemma_lsp.cli.render import Piece, Place, summary, surroundings
from dgemma_wire.messages import DraftToken, TokenState

OUT = Path(__file__).parent.parent / "docs/images/demo.svg"
SHOWN = (2, 7, 9)
"""Which holes of the demo, counted from 1."""

CHAR, ROW, LEFT, TOP, WIDTH, ROWS = 8.4, 20, 16, 52, 900, 9
STEP_S, HOLD_S = 0.22, 2.6
COLOURS = {"settled": "#3fb950", "guess": "#d29922", "noise": "#6e7681", None: "#c9d1d9"}


@dataclass(frozen=True)
class Frame:
    """One picture: rows of pieces, a caption, and how long it stands."""

    rows: list[tuple[int | None, list[Piece]]]
    title: str
    note: str
    seconds: float


def token(each: DraftToken) -> Piece:
    """Return a draft's token as it is drawn."""
    if each.state is TokenState.NOISE:
        return Piece("░", "noise")
    return Piece(each.text, str(each.state))


def frames_of(
    place: Place, title: str, previews: list[methods.PreviewParams], result: methods.FillResult
) -> list[Frame]:
    """Return the frames of one hole."""
    name = f"{title} — {place.name}:{place.line}:{place.column}"
    made = [Frame(surroundings(place, [Piece("│", "guess")]), name, "a hole", 1.0)]
    for preview in previews:
        if preview.candidate == 0:
            note = f"denoise step {preview.step}"
            pieces = [token(each) for each in preview.spans[0]]
            made.append(Frame(surroundings(place, pieces), name, note, STEP_S))
    assert result.text is not None, f"nothing came for {name}"
    rows = surroundings(place, [Piece(result.text, "settled")])
    return [*made, Frame(rows, name, summary(result), HOLD_S)]


def draw(frames: list[Frame]) -> str:
    """Return the frames as one SVG that plays them over and over."""
    total = sum(frame.seconds for frame in frames)
    height = TOP + ROWS * ROW + 44
    styles, groups, at = [], [], 0.0
    for number, frame in enumerate(frames):
        start, end = 100 * at / total, 100 * (at + frame.seconds) / total
        at += frame.seconds
        last = number == len(frames) - 1
        styles.append(
            f"@keyframes f{number}{{0%{{opacity:{int(number == 0)}}}"
            f"{start:.3f}%{{opacity:1}}{end:.3f}%{{opacity:{int(last)}}}100%{{opacity:{int(last)}}}}}"
            f"#f{number}{{animation:f{number} {total:.2f}s step-end infinite}}"
        )
        shown = "" if last else ' opacity="0"'
        groups.append(f'<g id="f{number}"{shown}>{body(frame, height)}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="ui-monospace,SFMono-Regular,Menlo,DejaVu Sans Mono,monospace" '
        f'font-size="14" role="img" aria-label="Holes in source files denoised step by step">'
        f"<style>{''.join(styles)}</style>"
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>'
        f"{''.join(groups)}</svg>\n"
    )


def body(frame: Frame, height: int) -> str:
    """Return the marks of one frame."""
    out = [text(LEFT, 28, frame.title, "#8b949e")]
    for index, (number, pieces) in enumerate(frame.rows):
        y = TOP + index * ROW
        out.append(text(LEFT, y, f"{number or '':>3}", "#6e7681"))
        x = LEFT + 5 * CHAR
        for piece in pieces:
            shown = piece.text.expandtabs(4)
            if shown.strip():
                blanks = len(shown) - len(shown.lstrip())
                colour = COLOURS[piece.style]
                out.append(text(x + blanks * CHAR, y, shown.strip(), colour, bool(piece.style)))
            x += len(shown) * CHAR
    out.append(text(LEFT, height - 20, frame.note, "#8b949e", size=12))
    return "".join(out)


def text(x: float, y: float, value: str, colour: str, bold: bool = False, size: int = 14) -> str:
    """Return one run of text; a fixed width keeps columns in line whatever the font."""
    weight = ' font-weight="bold"' if bold else ""
    width = f'textLength="{len(value) * CHAR * size / 14:.1f}" lengthAdjust="spacingAndGlyphs"'
    return (
        f'<text x="{x:.1f}" y="{y}" fill="{colour}" font-size="{size}"{weight} {width} '
        f'xml:space="preserve">{escape(value)}</text>'
    )


async def record() -> list[Frame]:
    """Fill the holes and return their frames."""
    frames: list[Frame] = []
    options = argparse.Namespace(candidates=1, max_steps=None, deadline_ms=None, seed=0)
    async with editor({}, [], lambda *_: None) as client:
        for number in SHOWN:
            hole = holes()[number - 1]
            target = hole.target()
            # Once before, so that the model is warm as for a person at work.
            await client.fill(open_place(client, target, options, preview=False))
            previews: list[methods.PreviewParams] = []
            params = open_place(client, target, options, preview=True)
            result = await client.fill(params, previews.append)
            frames += frames_of(target.place, hole.about, previews, result)
    return frames


def main() -> int:
    """Run the command; returns its exit status."""
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(draw(asyncio.run(record())), encoding="utf-8")
    print(f"wrote {OUT.relative_to(Path.cwd()) if OUT.is_relative_to(Path.cwd()) else OUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

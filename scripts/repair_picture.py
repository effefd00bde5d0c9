"""Draw docs/images/repair.svg: a real draft with its faults, what is redone, what came of it.

Looks for a hole in the examples whose draft does not pass and is mended by denoising parts of it
again; nothing in the picture is made up.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from dgemma_lsp.infill import capture, segments, trigger, validate
from dgemma_lsp.infill.repairs import repair
from dgemma_lsp.infill.types import Candidate, Fault, Hole, Mended, Snapshot
from dgemma_lsp.languages import by_extension
from dgemma_lsp.pipeline import Options, to_ask
from dgemma_lsp.repairing import Means, Mending, to_candidate
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_training.evaluation.asking import private_directory, running

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs/images/repair.svg"
CHAR, ROW, LEFT, TOP, WIDTH = 8.4, 20, 16, 30, 900
TEXT, DIM, KEPT, FAULT, NEW = "#c9d1d9", "#8b949e", "#58a6ff", "#f85149", "#3fb950"


@dataclass(frozen=True)
class Found:
    """A draft that was mended."""

    name: str
    snapshot: Snapshot
    hole: Hole
    first: Candidate
    parts: tuple[repair.Part, ...]
    best: Candidate


@dataclass(frozen=True)
class Piece:
    """A run of characters, its colour, and the colour behind it."""

    text: str
    colour: str = TEXT
    behind: str = ""


async def look(path: Path, text: str, client: RuntimeClient) -> Found | None:
    """Ask for holes inside the lines of a file until one's draft is mended by a first round."""
    language = by_extension(path)
    at = 0
    for line in text.splitlines(keepends=True):
        for column, char in enumerate(line.rstrip("\n")):
            if char in "(=, " and line[:column].strip():
                start, end = at + column + 1, at + len(line.rstrip("\n"))
                parsed = ParsedText(text[:start] + text[end:], language.usable_grammar())
                found = await _mended(
                    Snapshot(path.as_uri(), 1, parsed, language), start, path.name, client
                )
                if found is not None:
                    return found
        at += len(line)
    return None


async def _mended(
    snapshot: Snapshot, offset: int, name: str, client: RuntimeClient
) -> Found | None:
    hole = trigger.find_hole(snapshot, offset, invoked=True)
    if not isinstance(hole, Hole):
        return None
    limits = (await client.welcome()).limits
    context = capture.capture(snapshot, hole, capture.budget_for(limits))
    ask = to_ask(segments.lay_out(hole, context), Options(document=name))
    answer = (await client.denoise(ask)).candidates[0]
    first = to_candidate(answer, *validate.check(snapshot, hole, answer.texts[0]))
    inside = [fault for fault in first.verdict.faults if fault.end > fault.start]
    if first.verdict.accepted or not inside:
        return None
    draft = repair.make_draft(first.raw, first.tokens, first.draft)
    layouts = repair.plan(draft, first.text, first.verdict.faults, 0)
    kept = [parts for parts in layouts if any(isinstance(part, repair.Keep) for part in parts)]
    mending = Mending(snapshot, hole, ask, client, means=Means(by_hand=False, head=False))
    best = await mending.mend(first)
    if best.mended is not Mended.RENOISED or best.rounds != 1 or not kept:
        return None
    line = snapshot.parsed.position_at(offset)[0] + 1
    return Found(f"{name}:{line}", snapshot, hole, first, kept[0], best)


def draw(found: Found) -> str:
    """Return the picture: the draft, the round, and the outcome, one under the other."""
    draft = repair.make_draft(found.first.raw, found.first.tokens)
    panels = [
        ("the draft, and what the parser objects to", _faulty(found.first)),
        ("clamped tokens, and the positions that are denoised again", _round(draft, found.parts)),
        (f"after {found.best.rounds} round", [Piece(found.best.text, NEW)]),
    ]
    body, y = [_text(LEFT, TOP, found.name, DIM)], TOP + 10
    for title, pieces in panels:
        y += 34
        body.append(_text(LEFT, y, title, DIM, 12))
        for row in _rows(found, pieces):
            y += ROW
            body.append(_line(row, y))
    height = y + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="ui-monospace,SFMono-Regular,Menlo,DejaVu Sans Mono,monospace" role="img" '
        'aria-label="A broken draft, the part that is denoised again, and the mended draft">'
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>{"".join(body)}</svg>\n'
    )


def _faulty(first: Candidate) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    faults: list[Fault] = sorted(first.verdict.faults, key=lambda fault: fault.start)
    for fault in faults:
        pieces.append(Piece(first.text[at : fault.start], TEXT))
        shown = first.text[fault.start : fault.end] or f"⟨{fault.missing or ' '}⟩"
        pieces.append(Piece(shown, "#ffffff", FAULT))
        at = max(at, fault.end)
    return [*pieces, Piece(first.text[at:], TEXT)]


def _round(draft: repair.Draft, parts: tuple[repair.Part, ...]) -> list[Piece]:
    pieces: list[Piece] = []
    for part in parts:
        match part:
            case repair.Keep():
                pieces.append(Piece(repair.kept_text(draft, part), KEPT))
            case repair.Write():
                pieces.append(Piece(part.text, KEPT))
            case repair.Redo():
                pieces.append(Piece("░" * part.tokens, DIM, "#30363d"))
    return pieces


def _rows(found: Found, pieces: list[Piece]) -> list[list[Piece]]:
    """The line of the hole with the pieces in it, and a line of the file above and below."""
    parsed, offset = found.snapshot.parsed, found.hole.offset
    line = parsed.lines.line(offset)
    start, end = parsed.line_span(line)
    here = [Piece(parsed.text[start:offset]), *pieces, Piece(parsed.text[offset:end])]
    rows: list[list[Piece]] = [[]]
    for piece in here:
        first, *more = piece.text.split("\n")
        rows[-1].append(replace(piece, text=first))
        rows += [[replace(piece, text=part)] for part in more]
    above = [[Piece(parsed.line_text(line - 1), DIM)]] if line else []
    below = [[Piece(parsed.line_text(line + 1), DIM)]] if line + 1 < parsed.lines.count else []
    return [*above, *rows, *below]


def _line(pieces: list[Piece], y: int) -> str:
    out: list[str] = []
    x = LEFT + 2 * CHAR
    for piece in pieces:
        width = len(piece.text) * CHAR
        if piece.behind and piece.text:
            out.append(
                f'<rect x="{x:.1f}" y="{y - 15}" width="{width:.1f}" height="{ROW}" '
                f'fill="{piece.behind}"/>'
            )
        if piece.text.strip():
            blanks = len(piece.text) - len(piece.text.lstrip())
            out.append(_text(x + blanks * CHAR, y, piece.text.strip(), piece.colour))
        x += width
    return "".join(out)


def _text(x: float, y: int, value: str, colour: str, size: int = 14) -> str:
    width = len(value) * CHAR * size / 14
    return (
        f'<text x="{x:.1f}" y="{y}" fill="{colour}" font-size="{size}" textLength="{width:.1f}" '
        f'lengthAdjust="spacingAndGlyphs" xml:space="preserve">{escape(value)}</text>'
    )


async def record(texts: dict[Path, str]) -> Found | None:
    """Look through the files until a draft is found that was mended."""
    with private_directory() as directory:
        async with running("embedded", directory) as one:
            for path, text in texts.items():
                found = await look(path, text, one.client)
                if found is not None:
                    return found
    return None


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("files", nargs="*", type=Path, help="Where to look (default: examples).")
    paths = parser.parse_args().files or sorted((ROOT / "examples").glob("*.*"))
    texts = {
        path.resolve(): path.read_text(encoding="utf-8") for path in paths if path.suffix != ".json"
    }
    found = asyncio.run(record(texts))
    if found is None:
        print("No draft in these files needed mending and could be.", file=sys.stderr)
        return 1
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(draw(found), encoding="utf-8")
    print(f"wrote {OUT}: {found.first.text!r} became {found.best.text!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

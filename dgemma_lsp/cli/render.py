"""Drawing a hole in its surroundings: the canvas while it denoises, and the text that came of it.

On a terminal the picture is drawn over itself at each draft; elsewhere one plain line says how far
it is, and the finished picture follows. Knows no LSP and no files.
"""

from __future__ import annotations

import difflib
import shutil
import sys
import unicodedata
from dataclasses import dataclass
from typing import TextIO

from dgemma_lsp.methods import FillResult, PreviewParams
from dgemma_wire.messages import DraftToken, TokenState

CONTEXT_LINES = 3

_RESET = "\x1b[0m"
_STYLES = {
    TokenState.SETTLED: "\x1b[1;32m",
    TokenState.GUESS: "\x1b[33m",
    TokenState.NOISE: "\x1b[2m",
}
_DIM, _BOLD, _RED = "\x1b[2m", "\x1b[1m", "\x1b[31m"
_NOISE = "░"
_MAX_NOISE = 24


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text in one style; ``None`` is the document's own."""

    text: str
    style: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A hole in a file.

    Attributes:
        name: The file, as the person wrote it.
        text: The whole document.
        offset: Where the hole is, in characters.
        line: The same counted from 1.
        column: Characters, counted from 1.
    """

    name: str
    text: str
    offset: int
    line: int
    column: int


class Canvas:
    """Draws one hole.

    Args:
        out: Where to.
        live: Draw over the last picture, in colour; else plain text, once.
        place: The hole.
    """

    def __init__(self, out: TextIO, live: bool, place: Place) -> None:
        self._out = out
        self.live = live
        self._place = place
        self._drawn = 0

    def preview(self, preview: PreviewParams) -> None:
        """Draw a draft."""
        tokens = preview.spans[0] if preview.spans else ()
        settled = sum(token.state is TokenState.SETTLED for token in tokens)
        note = f"step {preview.step}  {settled} of {len(tokens)} positions settled"
        if preview.candidate:
            note = f"candidate {preview.candidate + 1}  {note}"
        self._draw([_token(token) for token in _shorten(tokens)], note)

    def loading(self, message: str, share: float | None) -> None:
        """Show that the model is on its way."""
        if self.live and message:
            self._clear()
            part = "" if share is None else f" {share:4.0%}"
            self._out.write(f"{_DIM}{message}{part}{_RESET}\n")
            self._out.flush()
            self._drawn = 1

    def done(self, result: FillResult) -> None:
        """Draw the result in its surroundings, or say why there is none."""
        if result.text is None:
            note = f"no text: {result.message or result.reason}"
            self._draw([Piece("▁" if self.live else "[]", _RED)], note)
        else:
            self._draw([Piece(result.text, _STYLES[TokenState.SETTLED])], summary(result))
        self._drawn = 0

    def _draw(self, pieces: list[Piece], note: str) -> None:
        self._clear()
        width = shutil.get_terminal_size((100, 24)).columns if self.live else 10_000
        rows = surroundings(self._place, pieces, marks=not self.live)
        lines = [self._row(number, row, width) for number, row in rows]
        note, _ = _fit(f"       {note}", width - 1)
        lines.append(f"{_DIM}{note}{_RESET}" if self.live else note)
        self._out.write("\n".join(lines) + "\n")
        self._out.flush()
        self._drawn = len(lines) if self.live else 0

    def _clear(self) -> None:
        if self.live and self._drawn:
            self._out.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _row(self, number: int | None, pieces: list[Piece], width: int) -> str:
        head = f"{number:>5}" if number is not None else "     "
        left = max(10, width - 9)
        shown: list[str] = []
        for piece in pieces:
            text, left = _fit(piece.text.expandtabs(4), left)
            styled = self.live and piece.style is not None and text
            shown.append(f"{piece.style}{text}{_RESET}" if styled else text)
        bar = f"{_DIM}{head} │{_RESET}" if self.live else f"{head} |"
        return f"{bar} {''.join(shown)}".rstrip()


def surroundings(
    place: Place, pieces: list[Piece], *, marks: bool = False
) -> list[tuple[int | None, list[Piece]]]:
    """Return the lines around a hole with pieces in it: line numbers, and what stands there.

    Lines that the pieces add have no number. ``marks`` puts brackets around the pieces, for want
    of colour.
    """
    lines = place.text.splitlines() or [""]
    if place.text.endswith(("\n", "\r")):
        lines.append("")
    at = place.line - 1
    before, after = lines[at][: place.column - 1], lines[at][place.column - 1 :]
    if marks:
        pieces = [Piece("⟦"), *pieces, Piece("⟧")]
    rows: list[tuple[int | None, list[Piece]]] = [
        (n + 1, [Piece(lines[n])]) for n in range(max(0, at - CONTEXT_LINES), at)
    ]
    row = [Piece(before)]
    number: int | None = at + 1
    for piece in pieces:
        first, *more = piece.text.replace("\r\n", "\n").split("\n")
        row.append(Piece(first, piece.style))
        for text in more:
            rows.append((number, row))
            number, row = None, [Piece(text, piece.style)]
    row.append(Piece(after))
    rows.append((number, row))
    rows += [(n + 1, [Piece(lines[n])]) for n in range(at + 1, min(len(lines), at + 4))]
    return rows


def summary(result: FillResult) -> str:
    """Return one line on how a result came to be: verdict, steps and times."""
    chosen = next(c for c in result.candidates if c.verdict.accepted)
    times, verdict = result.timings, chosen.verdict
    judged = f"{verdict.parser} parses" if verdict.parser else "brackets balance (no grammar)"
    if verdict.errors_after:
        judged = f"{verdict.parser or 'brackets'}: no new error, {verdict.errors_after} elsewhere"
    if verdict.trimmed:
        judged += f", trimmed: {' '.join(verdict.trimmed)}"
    parts = [f"✓ {judged}", f"{times.total_ms:.0f} ms", f"{chosen.steps} steps"]
    if times.runtime is not None:
        steps = sorted(times.runtime.step_ms)
        middle = steps[len(steps) // 2] if steps else 0.0
        parts += [
            f"{middle:.0f} ms a step",
            f"prefill {times.runtime.prefill_ms:.0f} ms",
            f"rest {times.capture_ms + times.wire_ms + times.validate_ms:.1f} ms",
        ]
    return "  ".join(parts)


def _token(token: DraftToken) -> Piece:
    if token.state is TokenState.NOISE:
        return Piece(_NOISE, _STYLES[token.state])
    return Piece(token.text, _STYLES[token.state])


def _shorten(tokens: tuple[DraftToken, ...]) -> tuple[DraftToken, ...]:
    """Return the tokens without most of a long tail of noise."""
    noise = 0
    for token in reversed(tokens):
        if token.state is not TokenState.NOISE:
            break
        noise += 1
    return tokens[: len(tokens) - max(0, noise - _MAX_NOISE)]


def _fit(text: str, room: int) -> tuple[str, int]:
    """Return as much of a text as fits in ``room`` columns, and the columns left."""
    for index, char in enumerate(text):
        wide = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if wide > room:
            return text[:index], 0
        room -= wide
    return text, room


def print_diff(place: Place, changed: str) -> None:
    """Print what a changed document differs in, as a unified diff."""
    sys.stdout.writelines(
        difflib.unified_diff(
            place.text.splitlines(keepends=True),
            changed.splitlines(keepends=True),
            f"a/{place.name}",
            f"b/{place.name}",
        )
    )

"""Whether to answer at an offset, and what kind of hole stands there.

Code behind the cursor is no reason to decline: the rest of the line is clamped, so a hole in the
middle of a line is the best case and not the worst. Settings, modes and ignored files are the
features' business.
"""

from __future__ import annotations

from dgemma_lsp.infill.graphemes import is_border
from dgemma_lsp.infill.types import Declined, DeclineReason, Hole, HoleKind, Snapshot
from dgemma_lsp.syntax.scope import block_expected


def find_hole(snapshot: Snapshot, offset: int, *, invoked: bool = False) -> Hole | Declined:
    """The hole at ``offset``, or why there is none.

    Args:
        snapshot: The document.
        offset: Where the cursor stands.
        invoked: A person asked, so that even a cursor inside a word is answered.
    """
    text = snapshot.text
    if not 0 <= offset <= len(text) or not is_border(text, offset):
        return Declined(DeclineReason.OUT_OF_RANGE)
    if not invoked and _splits_word(text, offset):
        return Declined(DeclineReason.INSIDE_WORD)
    line, _ = snapshot.parsed.position_at(offset)
    _, end = snapshot.parsed.line_span(line)
    if text[offset:end].strip():
        return Hole(offset, HoleKind.MID_LINE)
    if block_expected(snapshot.parsed, offset, snapshot.language):
        return Hole(offset, HoleKind.BLOCK)
    return Hole(offset, HoleKind.LINE)


def max_lines(kind: HoleKind) -> int | None:
    """Lines a text for a hole of ``kind`` may take up; ``None`` for no bound."""
    return None if kind is HoleKind.BLOCK else 1


def _splits_word(text: str, offset: int) -> bool:
    return 0 < offset < len(text) and _is_word(text[offset - 1]) and _is_word(text[offset])


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"

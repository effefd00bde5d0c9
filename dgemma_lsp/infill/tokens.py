"""How sure the model was of each part of a candidate's text, where the text is still its own.

Trimming and mending change a text after the model wrote it. What corresponds is found by matching
the two; characters that nobody denoised have no token.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

from dgemma_lsp.infill.types import Candidate

_LONGEST = 4_000
"""Characters beyond which only a common beginning or end is matched: matching takes squares."""


@dataclass(frozen=True, slots=True)
class TextToken:
    """A stretch of a text and the probability of the token that made it, 0 to 1."""

    start: int
    end: int
    probability: float


def tokens_of(candidate: Candidate, typed: int = 0) -> tuple[TextToken, ...]:
    """The tokens of a candidate's text in order, as far as they are known.

    ``typed`` is how many characters of the model's text came before it, at least.
    """
    own: list[TextToken] = []
    at = 0
    for chars, probability in candidate.tokens:
        if chars:
            own.append(TextToken(at, at + chars, probability))
        at += chars
    if at != len(candidate.raw):  # they are not of this text
        return ()
    if candidate.text == candidate.raw:
        return tuple(own)
    found: list[TextToken] = []
    for low, there, length in _common(candidate.raw, candidate.text, typed):
        for token in own:
            start, end = max(token.start, low), min(token.end, low + length)
            if start < end:
                moved = there - low
                found.append(TextToken(start + moved, end + moved, token.probability))
    return tuple(found)


def _common(raw: str, text: str, least: int) -> list[tuple[int, int, int]]:
    """Stretches of ``raw`` that ``text`` has in the same order: both starts, and the length."""
    at = raw.find(text, least) if text else -1
    if at >= 0:
        return [(at, 0, len(text))]
    if len(raw) > _LONGEST or len(text) > _LONGEST:
        head = next(
            (i for i, (one, other) in enumerate(zip(raw, text, strict=False)) if one != other),
            min(len(raw), len(text)),
        )
        return [(0, 0, head)]
    matched = SequenceMatcher(None, raw, text, autojunk=False).get_matching_blocks()
    return [(block.a, block.b, block.size) for block in matched if block.size]

"""The stretch of an open text that resembles the place of a hole the most.

Words in common over words in all (Jaccard), as several editors' assistants do it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

WINDOW_LINES = 10
_STEP_LINES = 5
_LEAST = 0.2
_MOST_CHARS = 100_000
_LEAST_WORDS = 6
_WORD = re.compile(r"[^\W\d]\w\w+")


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a text, without its last line break, and how much it resembles, 0 to 1."""

    source: str
    text: str
    likeness: float


def most_similar(place: str, texts: Iterable[tuple[str, str]]) -> Window | None:
    """Return the most similar stretch of several texts, or ``None`` where nothing is similar.

    Args:
        place: The lines around the hole.
        texts: Name and content of each text.
    """
    here = frozenset(_WORD.findall(place))
    best: Window | None = None
    if len(here) < _LEAST_WORDS:
        return None
    for source, text in texts:
        if len(text) > _MOST_CHARS:
            continue
        for start, words in _windows(text):
            both = len(here & words)
            likeness = both / (len(here) + len(words) - both)
            if likeness >= _LEAST and (best is None or likeness > best.likeness):
                lines = text.split("\n")[start : start + WINDOW_LINES]
                best = Window(source, _trimmed(lines), likeness)
    return best if best is not None and best.text else None


@lru_cache(maxsize=64)
def _windows(text: str) -> tuple[tuple[int, frozenset[str]], ...]:
    lines = text.split("\n")
    words = [frozenset(_WORD.findall(line)) for line in lines]
    return tuple(
        (start, found)
        for start in range(0, len(lines), _STEP_LINES)
        if len(found := frozenset[str]().union(*words[start : start + WINDOW_LINES]))
        >= _LEAST_WORDS
    )


def _trimmed(lines: list[str]) -> str:
    """Lines without blank ones at either end and what they are all indented by."""
    while lines and not lines[0].strip():
        lines = lines[1:]
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    margin = min((len(s) - len(s.lstrip()) for s in lines if s.strip()), default=0)
    return "\n".join(line[margin:].rstrip() for line in lines)

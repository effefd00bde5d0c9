"""The last few edited places of all documents, as compact diffs.

A place is remembered as the lines it had before the first edit and the lines it takes up now, so
what was typed and taken back leaves nothing. Documents are known by address; whether one may be
shown at all is its owner's question.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from dgemma_lsp.syntax.tree import ParsedText

MOST = 6
"""Places that are remembered."""

_NEAR_LINES = 3
"""Edits so close to each other are one place."""

_LINES = 8
_LINE_CHARS = 160
_MOST_CHARS = 1_000_000
"""Edits of longer texts are not followed: finding their place takes longer than a key may."""

_PLACE_LINES = 60
"""A place that grew longer is no place any more but a file."""


@dataclass(frozen=True, slots=True)
class Place:
    """One edited place; lines count from 0, and ``end`` is behind the last one.

    Attributes:
        uri: The document.
        before: The text before the first edit of the place.
        old: First line of the place in that text, and the line behind its last.
        now: The same in the text as it is now.
    """

    uri: str
    before: ParsedText
    old: tuple[int, int]
    now: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """A place as text: where, and the lines that went and came, as in a diff."""

    uri: str
    text: str


class EditLog:
    """Follows the edits of all documents."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: list[Place] = []  # the one edited last is the last one

    def note(self, uri: str, before: ParsedText, after: ParsedText) -> None:
        """Take in an edit: the lines in which two versions of a document differ."""
        if max(len(before.text), len(after.text)) > _MOST_CHARS:
            self.forget(uri)
            return
        start, old_end, new_end = _changed(before, after)
        if (start, start) == (old_end, new_end):
            return
        grown = new_end - old_end
        joined: list[Place] = []
        others: list[Place] = []
        for place in self._places:
            if place.uri != uri or place.now[1] + _NEAR_LINES < start:
                others.append(place)
            elif place.now[0] > old_end + _NEAR_LINES:
                others.append(replace(place, now=(place.now[0] + grown, place.now[1] + grown)))
            else:
                joined.append(place)
        if len(joined) == 1:
            place = joined[0]
            low = min(start, place.now[0])
            high = max(old_end, place.now[1])
            # Around the place the two texts agree line by line.
            old = (
                place.old[0] - (place.now[0] - low),
                place.old[1] + (high - place.now[1]),
            )
            grew = Place(uri, place.before, old, (low, high + grown))
        else:  # two places that became one have no text in common that was before both
            grew = Place(uri, before, (start, old_end), (start, new_end))
        if grew.old[0] >= 0 and max(grew.now[1] - grew.now[0], old_end - start) <= _PLACE_LINES:
            others.append(grew)
        self._places = others[-MOST:]

    def forget(self, uri: str) -> None:
        """Forget a document's places."""
        self._places = [place for place in self._places if place.uri != uri]

    def places(self) -> tuple[Place, ...]:
        """Return the places, the newest first."""
        return tuple(reversed(self._places))


def shown(place: Place, now: ParsedText) -> Shown | None:
    """Return a place as a diff without context; ``None`` where nothing is left of the edit."""
    old = _lines(place.before, *place.old)
    new = _lines(now, *place.now)
    marked: list[str] = []
    for tag, low, high, new_low, new_high in difflib.SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if tag != "equal":
            marked += ["-" + line[:_LINE_CHARS] for line in old[low:high] if line.strip()]
            marked += ["+" + line[:_LINE_CHARS] for line in new[new_low:new_high] if line.strip()]
    if not marked:
        return None
    if len(marked) > _LINES:  # what came says more than what went
        marked = [line for line in marked if line.startswith("+")][:_LINES] or marked[:_LINES]
    return Shown(place.uri, "\n".join(marked))


def _lines(parsed: ParsedText, start: int, end: int) -> list[str]:
    return [parsed.line_text(line) for line in range(max(0, start), min(end, parsed.lines.count))]


def _changed(before: ParsedText, after: ParsedText) -> tuple[int, int, int]:
    """First line that differs, and the lines behind the last one that does in each text."""
    head = _common(before.text, after.text)
    rest = min(len(before.text), len(after.text)) - head
    tail = _common(before.text[::-1], after.text[::-1], rest) if rest else 0
    if head == len(before.text) == len(after.text):
        return 0, 0, 0
    line = before.lines.line(head)
    return (
        line,
        before.lines.line(len(before.text) - tail) + 1,
        after.lines.line(len(after.text) - tail) + 1,
    )


def _common(left: str, right: str, limit: int | None = None) -> int:
    """Length of the common head of two texts, by halving: strings compare fast."""
    low, high = 0, min(len(left), len(right))
    if limit is not None:
        high = min(high, limit)
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

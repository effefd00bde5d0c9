"""Where a rewrite differs from what it replaces: whole lines, one hunk for each place.

Offsets count characters of the old text, which is whole lines with their line breaks. A line that
only ends otherwise is no difference, so that what nobody changed keeps its bytes. Knows no
document, no model, and not which hunks a person took.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import accumulate
from typing import NamedTuple

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_BREAK = re.compile(r"\r\n|\r|\n")


class TokenRange(NamedTuple):
    """Characters that one token made, and its probability when it was accepted, 0 to 1."""

    start: int
    end: int
    probability: float


@dataclass(frozen=True, slots=True)
class Change:
    """New lines in the place of old ones.

    Attributes:
        start: Where the old lines begin in the old text.
        end: Where the last of them ends, without its line break.
        text: The new lines without the last line break, the others being the document's; empty
            when nothing stands for them.
        tokens: Of ``text``, in order; empty when they are not known.
    """

    start: int
    end: int
    text: str
    tokens: tuple[TokenRange, ...] = ()


@dataclass(frozen=True, slots=True)
class Hunk:
    """One place of difference.

    Attributes:
        id: Stays the same for as long as the rewrite is talked about.
        start: Where the old lines begin in the old text.
        old: The old lines with their line breaks; empty for an insertion.
        new: What is to stand there; empty for a deletion.
        tokens: Of ``new``, in order; empty when they are not known.
    """

    id: int
    start: int
    old: str
    new: str
    tokens: tuple[TokenRange, ...] = ()

    @property
    def end(self) -> int:
        """Where the old lines end in the old text."""
        return self.start + len(self.old)


def lines_of(text: str) -> list[str]:
    """The lines of a text with their line breaks; the last one may have none."""
    return _LINE.findall(text)


def diff(old: str, changes: Iterable[Change], newline: str) -> tuple[Hunk, ...]:
    """The hunks of changes of a text, numbered from 1; those that touch are one.

    Args:
        old: Whole lines with their line breaks; the last one may have none.
        changes: In order of place and apart.
        newline: The line break of the document.
    """
    found: list[Hunk] = []
    for change in changes:
        for hunk in _hunks(old, change, newline):
            if found and found[-1].end == hunk.start:
                found[-1] = _joined(found[-1], hunk)
            else:
                found.append(hunk)
    # What one change takes away another may bring.
    differ = (hunk for hunk in found if hunk.old != hunk.new)
    return tuple(replace(hunk, id=number) for number, hunk in enumerate(differ, start=1))


def _hunks(old: str, change: Change, newline: str) -> Iterator[Hunk]:
    # The line break after the old lines belongs to them, if there is one.
    behind = _BREAK.match(old, change.end)
    before = lines_of(old[change.start : change.end if behind is None else behind.end()])
    after = lines_of(change.text)
    if after and behind is not None:
        after[-1] += newline
    keys = [[_BREAK.sub("\n", line) for line in lines] for lines in (before, after)]
    starts = [*accumulate(map(len, before), initial=change.start)]
    news = [*accumulate(map(len, after), initial=0)]
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        if tag != "equal":
            yield Hunk(
                0,
                starts[i1],
                "".join(before[i1:i2]),
                "".join(after[j1:j2]),
                clipped(change.tokens, news[j1], news[j2]),
            )


def clipped(tokens: Iterable[TokenRange], low: int, high: int) -> tuple[TokenRange, ...]:
    """The tokens of characters ``low`` to ``high``, counted from there."""
    return tuple(
        TokenRange(max(start, low) - low, min(end, high) - low, probability)
        for start, end, probability in tokens
        if max(start, low) < min(end, high)
    )


def _joined(first: Hunk, second: Hunk) -> Hunk:
    by = len(first.new)
    moved = (TokenRange(start + by, end + by, sure) for start, end, sure in second.tokens)
    return replace(
        first,
        old=first.old + second.old,
        new=first.new + second.new,
        tokens=(*first.tokens, *moved),
    )


def applied(old: str, hunks: Sequence[Hunk], ids: Collection[int]) -> str:
    """The text with some of the hunks made.

    Args:
        old: The text that the hunks are of.
        hunks: All of them, in order.
        ids: Those to make.
    """
    parts: list[str] = []
    at = 0
    for hunk in hunks:
        parts += [old[at : hunk.start], hunk.new if hunk.id in ids else hunk.old]
        at = hunk.end
    return "".join([*parts, old[at:]])


def place_of(hunk: Hunk, hunks: Sequence[Hunk], ids: Collection[int]) -> int:
    """Where a hunk begins in what ``applied`` returns for ``ids``."""
    earlier = (each for each in hunks if each.start < hunk.start and each.id in ids)
    return hunk.start + sum(len(each.new) - len(each.old) for each in earlier)


def find_lines(text: str, wanted: str, near: int) -> int | None:
    """Where whole lines stand in a text, nearest to an offset; ``None`` when they do not.

    ``wanted`` ends with a line break, or is looked for before one or at the end of the text.
    """
    if not wanted:
        return None
    below = _search(text, wanted, near, forwards=True)
    above = _search(text, wanted, near - 1, forwards=False)
    places = [at for at in (below, above) if at is not None]
    return min(places, key=lambda at: abs(at - near), default=None)


def _search(text: str, wanted: str, at: int, *, forwards: bool) -> int | None:
    while True:
        if forwards:
            at = text.find(wanted, max(0, at))
        else:
            at = -1 if at < 0 else text.rfind(wanted, 0, at + len(wanted))
        if at < 0:
            return None
        if _stands_whole(text, at, at + len(wanted)):
            return at
        at += 1 if forwards else -1


def _stands_whole(text: str, start: int, end: int) -> bool:
    """Whether a range begins and ends at the borders of lines."""
    if start and text[start - 1] not in "\r\n":
        return False
    if start and text[start - 1 : start + 1] == "\r\n":
        return False  # inside of a line break
    if text[end - 1 : end + 1] == "\r\n":
        return False
    return end == len(text) or text[end - 1] in "\r\n" or text[end] in "\r\n"

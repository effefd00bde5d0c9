"""Where a text may be cut without splitting what a person sees as one character.

Covers what source code holds: line breaks, combining marks, emoji sequences, flags, Hangul
syllables and surrogate halves. It is not a full implementation of Unicode's UAX 29.
"""

from __future__ import annotations

import unicodedata

_ZERO_WIDTH_JOINER = "\u200d"
_FURTHEST = 64
"""A cluster is not followed further than this: no real one is as long."""


def is_border(text: str, at: int) -> bool:
    """Whether no cluster of ``text`` spans the place before character ``at``."""
    if at <= 0 or at >= len(text):
        return True
    left, right = text[at - 1], text[at]
    if left < "\x80" and right < "\x80":
        return not (left == "\r" and right == "\n")
    if left in "\r\n" or right in "\r\n":
        return True
    if _extends(right) or left == _ZERO_WIDTH_JOINER:
        return False
    if _is_flag_half(left) and _is_flag_half(right):
        return _flag_halves_before(text, at) % 2 == 0
    if "\ud800" <= left <= "\udbff" and "\udc00" <= right <= "\udfff":
        return False
    return not _joins_hangul(left, right)


def border_after(text: str, at: int) -> int:
    """The first border at or after ``at``."""
    for place in range(max(0, at), min(len(text), at + _FURTHEST)):
        if is_border(text, place):
            return place
    return min(len(text), at + _FURTHEST)


def border_before(text: str, at: int) -> int:
    """The last border at or before ``at``."""
    for place in range(min(at, len(text)), max(0, at - _FURTHEST), -1):
        if is_border(text, place):
            return place
    return max(0, at - _FURTHEST)


def _extends(char: str) -> bool:
    return (
        char == _ZERO_WIDTH_JOINER
        or unicodedata.category(char) in ("Mn", "Me", "Mc")
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= char <= "\U000e007f"  # tags of regional flags
    )


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _flag_halves_before(text: str, at: int) -> int:
    count = 0
    while count < at and count < _FURTHEST and _is_flag_half(text[at - 1 - count]):
        count += 1
    return count


def _joins_hangul(left: str, right: str) -> bool:
    if "\u1100" <= left <= "\u115f":  # leading consonant
        return "\u1100" <= right <= "\u11a7" or "\uac00" <= right <= "\ud7a3"
    if "\u1160" <= left <= "\u11a7" or "\uac00" <= left <= "\ud7a3":  # vowel or syllable
        return "\u1160" <= right <= "\u11ff"
    return "\u11a8" <= left <= "\u11ff" and "\u11a8" <= right <= "\u11ff"

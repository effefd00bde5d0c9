"""Line starts of a text and the column arithmetic of the LSP position encodings.

The index is immutable. An edit replaces only the blocks of lines it touches, so that its cost
follows the splice and not the document. Line breaks are ``\\n``, ``\\r\\n`` and a lone ``\\r``, as
in LSP. This module knows no trees and no documents.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from enum import StrEnum
from itertools import accumulate
from typing import TypeAlias

_BLOCK_LINES = 128
_BREAK = re.compile(r"\r\n|\r|\n")

_Block: TypeAlias = tuple[int, tuple[int, ...]]
"""Characters of the block, and its line starts counted from its own start."""


class Encoding(StrEnum):
    """What one unit of a column is."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


class LineIndex:
    """Where the lines of one text start."""

    __slots__ = ("_blocks", "_chars", "_rows")

    def __init__(self, blocks: tuple[_Block, ...]) -> None:
        self._blocks = blocks
        self._chars = list(accumulate((block[0] for block in blocks), initial=0))
        self._rows = list(accumulate((len(block[1]) for block in blocks), initial=0))

    @classmethod
    def of(cls, text: str) -> LineIndex:
        """Index a whole text."""
        return cls(_blocks(text, 0, len(text), last=True))

    @property
    def count(self) -> int:
        """Number of lines; a text that ends in a line break has an empty last line."""
        return self._rows[-1]

    def start(self, line: int) -> int:
        """Offset of the first character of ``line``, which must exist."""
        block = bisect_right(self._rows, line) - 1
        return self._chars[block] + self._blocks[block][1][line - self._rows[block]]

    def line(self, offset: int) -> int:
        """The line that ``offset`` lies on; the end of the text lies on the last line."""
        block = min(bisect_right(self._chars, offset), len(self._blocks)) - 1
        starts = self._blocks[block][1]
        return self._rows[block] + bisect_right(starts, offset - self._chars[block]) - 1

    def spliced(self, start: int, end: int, text: str, grown: int) -> LineIndex:
        """The index after characters ``start`` to ``end`` were replaced.

        Args:
            start: First replaced character, in the old text.
            end: One past the last replaced character, in the old text.
            text: The whole new text.
            grown: By how many characters the text became longer (negative: shorter).
        """
        first = min(bisect_right(self._chars, start), len(self._blocks)) - 1
        if first and start == self._chars[first]:
            first -= 1  # a carriage return may stand there that now meets a line feed
        last = min(bisect_right(self._chars, end), len(self._blocks)) - 1
        at_end = last == len(self._blocks) - 1
        low = self._chars[first]
        high = self._chars[last + 1] + grown
        fresh = _blocks(text, low, high, last=at_end)
        return LineIndex(self._blocks[:first] + fresh + self._blocks[last + 1 :])


def _blocks(text: str, low: int, high: int, *, last: bool) -> tuple[_Block, ...]:
    if text.find("\r", low, high) < 0:
        lengths = [len(piece) + 1 for piece in text[low:high].split("\n")]
        starts = list(accumulate(lengths, initial=0))
        starts.pop()
    else:
        starts = [0, *(found.end() for found in _BREAK.finditer(text[low:high]))]
    if not last:
        starts.pop()  # it is the first line of the block that follows
    blocks: list[_Block] = []
    for at in range(0, len(starts), _BLOCK_LINES):
        part = starts[at : at + _BLOCK_LINES]
        ended = starts[at + _BLOCK_LINES] if at + _BLOCK_LINES < len(starts) else high - low
        blocks.append((ended - part[0], tuple(start - part[0] for start in part)))
    return tuple(blocks)


def units(text: str, encoding: Encoding) -> int:
    """Length of ``text`` in units of ``encoding``."""
    if encoding is Encoding.UTF32 or text.isascii():
        return len(text)
    if encoding is Encoding.UTF8:
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text) + sum(char > "\uffff" for char in text)


def advance(text: str, count: int, encoding: Encoding) -> int:
    """Characters of ``text`` that fit into ``count`` units; a split character does not count."""
    if encoding is Encoding.UTF32 or text.isascii():
        return max(0, min(count, len(text)))
    used = 0
    for at, char in enumerate(text):
        used += _width(char, encoding)
        if used > count:
            return at
    return len(text)


def _width(char: str, encoding: Encoding) -> int:
    code = ord(char)
    if encoding is Encoding.UTF16:
        return 2 if code > 0xFFFF else 1
    return 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4

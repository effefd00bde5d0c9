"""Brackets and quotes by surface rules, for broken code and for languages without a grammar.

One regular expression per language finds comments, strings and brackets; everything else is
skipped. It is a rough reading and never the last word where a tree exists.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from dgemma_lsp.languages.base import Language


@dataclass(frozen=True, slots=True)
class Bracket:
    """One bracket outside of strings and comments."""

    offset: int
    char: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What does not match up in a text.

    Attributes:
        unclosed: Opening brackets without a closing one, outermost first.
        unopened: Closing brackets without an opening one, in order.
        mismatches: Closing brackets that met another kind of opening one, in order.
        open_string: Offset of a string or block comment that the text does not end, or -1.
    """

    unclosed: tuple[Bracket, ...]
    unopened: tuple[Bracket, ...]
    mismatches: tuple[Bracket, ...]
    open_string: int

    @property
    def mismatched(self) -> int:
        """How many closing brackets met another kind of opening one."""
        return len(self.mismatches)


def balance(text: str, language: Language) -> Balance:
    """Match the brackets and quotes of ``text``."""
    pairs = dict(language.brackets)
    closers = {close: open_ for open_, close in language.brackets}
    unclosed: list[Bracket] = []
    unopened: list[Bracket] = []
    mismatches: list[Bracket] = []
    open_string = -1
    for found in _tokens(language).finditer(text):
        token = found.group()
        if found.lastgroup is not None:
            open_string = found.start()
        elif token in pairs:
            unclosed.append(Bracket(found.start(), token))
        elif token in closers:
            if not unclosed:
                unopened.append(Bracket(found.start(), token))
            elif unclosed.pop().char != closers[token]:
                mismatches.append(Bracket(found.start(), token))
    return Balance(tuple(unclosed), tuple(unopened), tuple(mismatches), open_string)


def code_depths(text: str, language: Language) -> list[int | None]:
    """Depth of brackets before each character; ``None`` inside strings and comments."""
    pairs = dict(language.brackets)
    closers = {close for _, close in language.brackets}
    depths: list[int | None] = []
    depth = 0
    for found in _tokens(language).finditer(text):
        depths.extend([depth] * (found.start() - len(depths)))
        token = found.group()
        if token in pairs:
            depths.append(depth)
            depth += 1
        elif token in closers:
            depths.append(depth)
            depth -= 1
        else:
            # The first character still stands in code.
            depths.extend([depth, *([None] * (len(token) - 1))])
    depths.extend([depth] * (len(text) - len(depths)))
    return depths


@functools.cache
def _tokens(language: Language) -> re.Pattern[str]:
    parts: list[str] = []
    if language.block_comment:
        start, end = map(re.escape, language.block_comment)
        parts.append(f"{start}.*?{end}|(?P<open_comment>{start}.*)")
    if language.line_comment:
        parts.append(re.escape(language.line_comment) + r"[^\r\n]*")
    # The unended long forms stand before the short ones: else three quotes would read as an empty
    # string and the start of another.
    longs = [re.escape(quote) for quote in language.long_quotes]
    parts.extend(rf"{mark}(?:\\.|(?!{mark}).)*?{mark}" for mark in longs)
    if longs:
        parts.append(f"(?P<open_long>(?:{'|'.join(longs)}).*)")
    shorts = [re.escape(quote) for quote in language.quotes]
    parts.extend(rf"{mark}(?:\\[^\r\n]|[^{mark}\\\r\n])*{mark}" for mark in shorts)
    if shorts:
        parts.append(rf"(?P<open_short>(?:{'|'.join(shorts)})[^\r\n]*)")
    if language.char_quote:
        mark = re.escape(language.char_quote)
        parts.append(rf"{mark}(?:\\[^\r\n]{{1,8}}?|[^\\\r\n]){mark}")
    chars = "".join(re.escape(char) for pair in language.brackets for char in pair)
    parts.append(f"[{chars}]")
    return re.compile("|".join(parts), re.DOTALL)

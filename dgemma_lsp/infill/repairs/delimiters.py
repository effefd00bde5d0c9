"""Changes of one delimiter that may mend a broken place, to be tried without asking any model.

A text cut off in the middle of typing most often lacks a closing bracket, a quote or the mark that
opens a block, or has one too many. Indentation tells which block a bracket was meant for where the
brackets alone do not. These are guesses in the order of their plausibility; whether one is any good
is for the parser to say. Knows texts and offsets only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dgemma_lsp.infill.trim import newline_of
from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.brackets import Bracket, code_depths
from dgemma_lsp.syntax.errors import SyntaxFault
from dgemma_lsp.syntax.scope import indent_width, leading_blanks, opens_block

_BREAK = re.compile(r"\r\n|\r|\n")
_WORD = re.compile(r"\w")
_MARKS = ":;,"
"""What may follow a closing bracket at the end of a line."""
_MOST_CLOSERS = 4
"""Brackets that one guess closes at once."""
_MOST_COMMAS = 6
_LISTS = frozenset({"object", "array"})
"""The blocks of a language of mere data, where a comma is all that can be missing between two."""


@dataclass(frozen=True, slots=True)
class Change:
    """A text to put in the place of ``start`` to ``end``: an insertion, or a deletion."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Unclosed:
    """An opening bracket that nothing closes; ``seen`` is where that shows, or the text's end."""

    offset: int
    char: str
    seen: int


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Brackets without a partner, each in order of place."""

    unclosed: tuple[Unclosed, ...]
    stray: tuple[Bracket, ...]


def unmatched(text: str, language: Language) -> Unmatched:
    """Find the brackets outside of strings and comments that have no partner.

    A closing bracket that heads its line belongs to the opening one whose line is indented alike,
    where there is one: those opened in between were left open.
    """
    closers = {close: open_ for open_, close in language.brackets}
    openers = set(closers.values())
    stack: list[Bracket] = []
    unclosed: list[Unclosed] = []
    stray: list[Bracket] = []
    # Only the characters that open and close count: depths are ``None`` inside strings.
    for offset, depth in enumerate(code_depths(text, language)):
        char = text[offset]
        if depth is None or (char not in openers and char not in closers):
            continue
        if char in openers:
            stack.append(Bracket(offset, char))
            continue
        partner = _partner(text, stack, offset, closers[char])
        if partner is None:
            stray.append(Bracket(offset, char))
            continue
        unclosed.extend(Unclosed(left.offset, left.char, offset) for left in stack[partner + 1 :])
        del stack[partner:]
    unclosed.extend(Unclosed(left.offset, left.char, len(text)) for left in stack)
    unclosed.sort(key=lambda each: each.offset)
    return Unmatched(tuple(unclosed), tuple(stray))


def _partner(text: str, stack: list[Bracket], offset: int, opener: str) -> int | None:
    """Which bracket of a stack a closing one belongs to."""
    places = [at for at, bracket in enumerate(stack) if bracket.char == opener]
    if not places:
        return None
    start = _line_start(text, offset)
    if not text[start:offset].strip():
        width = indent_width(text[start:offset])
        top = indent_width(_line(text, stack[places[-1]].offset))
        alike = [at for at in places if indent_width(_line(text, stack[at].offset)) == width]
        if width < top and alike:
            return alike[-1]
    return places[-1]


def changes(
    text: str, fault: SyntaxFault, brackets: Unmatched, language: Language
) -> tuple[Change, ...]:
    """Guesses at what mends a fault, most plausible first, none of them twice.

    Args:
        text: A text that contains the fault.
        fault: What a parser objects to.
        brackets: The text's brackets without a partner.
        language: The text's language.
    """
    guesses: list[Change] = []
    near = [left for left in brackets.unclosed if left.offset < max(fault.end, fault.start + 1)]
    if not near:
        # A stray bracket further down may close what was left open here.
        opened = unmatched(text[: fault.start], language).unclosed
        near = [left for left in opened if not _opens_blocks(left, language)]
    for left in reversed(near[-_MOST_CLOSERS:]):
        guesses += _block_closers(text, left, language)
    if _WORD.search(fault.missing) and is_delimiter(fault.missing, language):
        guesses += _word_closers(text, fault, language)
    elif is_delimiter(fault.missing, language):
        guesses.append(Change(fault.start, fault.start, fault.missing))
    for places, closers in _left_open(text, near[-_MOST_CLOSERS:], language):
        guesses += [Change(at, at, closers) for at in [*places, *_around(text, fault)]]
    guesses += _openers(text, fault, language)
    guesses += _quotes(text, fault, language)
    guesses += _strays(text, fault, brackets, language)
    if language.block_nodes == _LISTS:
        guesses += [Change(at, at, ",") for at in _between(text, fault)]
    return tuple(dict.fromkeys(guesses))


def _opens_blocks(left: Unclosed, language: Language) -> bool:
    return dict(language.brackets)[left.char] == language.block_closer


def is_delimiter(missing: str, language: Language) -> bool:
    """Whether what a grammar misses is written as it is named, unlike an identifier."""
    return bool(missing) and (not _WORD.search(missing) or missing == language.block_closer)


def _block_closers(text: str, left: Unclosed, language: Language) -> list[Change]:
    """The end of a block in braces, on a line of its own behind what is indented deeper."""
    closer = dict(language.brackets)[left.char]
    head = _line(text, left.offset)
    ends = _BREAK.split(text[left.offset + 1 : _line_end(text, left.offset)])[0]
    if ends.strip() or closer != language.block_closer:
        return []
    return [_closed_block(text, left.offset, closer, head)]


def _word_closers(text: str, fault: SyntaxFault, language: Language) -> list[Change]:
    """The end of a block in words: where indentation ends the nearest one that opens above."""
    found: list[Change] = []
    at = fault.start
    while at >= 0 and len(found) < _MOST_CLOSERS:
        start = _line_start(text, at)
        head = text[start : _line_end(text, start)]
        if opens_block(head, language):
            found.append(_closed_block(text, start, fault.missing, head))
        at = start - 1
    return found


def _closed_block(text: str, offset: int, closer: str, head: str) -> Change:
    """Close the block that the line of ``offset`` opens, before the first line not in it."""
    width = indent_width(head)
    end = _line_end(text, offset)
    for start, line in _lines_from(text, end):
        if line.strip():
            if indent_width(line) <= width:
                break
            end = start + len(line.rstrip())
    return Change(end, end, f"{newline_of(text)}{leading_blanks(head)}{closer}")


def _left_open(
    text: str, near: list[Unclosed], language: Language
) -> Iterator[tuple[list[int], str]]:
    """Where closing brackets may stand, and which: for the last one open, and for all its line."""
    if not near:
        return
    pairs = dict(language.brackets)
    last = near[-1]
    line = _line_start(text, last.offset)
    same = [left for left in near if left.offset >= line]
    for lefts in (same[-1:], same):
        closers = "".join(pairs[left.char] for left in reversed(lefts))
        yield _closing_places(text, last), closers


def _closing_places(text: str, left: Unclosed) -> list[int]:
    """Ends of the line that a bracket opens on, before its last marks and commas, and what shows.

    A bracket is closed on its own line more often than on a later one.
    """
    low, high = left.offset + 1, min(_line_end(text, left.offset), left.seen)
    at = low + len(text[low:high].rstrip())
    places: list[int] = []
    bare = at
    while bare > low and (text[bare - 1] in _MARKS or text[bare - 1].isspace()):
        bare -= 1
    opened = text[low:at].rstrip("{ \t")
    places += [bare, low + len(opened), at]
    if left.seen < len(text):
        places.append(low + len(text[low : left.seen].rstrip()))
    places += [low + found.start() for found in re.finditer(",", text[low:at])][::-1][:6]
    return list(dict.fromkeys(places))


def _around(text: str, fault: SyntaxFault) -> list[int]:
    """Behind the text before a fault, at it unless it heads its line, and behind it."""
    before = len(text[: fault.start].rstrip())
    heads = not text[_line_start(text, fault.start) : fault.start].strip()
    return list(dict.fromkeys([before, *([] if heads else [fault.start]), fault.end]))


def _between(text: str, fault: SyntaxFault) -> list[int]:
    """Where a value may end: at the fault's border, and at the ends of its lines."""
    ends = _around(text, fault)
    at = fault.start
    while at < fault.end and len(ends) < _MOST_COMMAS:
        end = _line_end(text, at)
        ends.append(at + len(text[at:end].rstrip()))
        at = end + 1
    return ends


def _openers(text: str, fault: SyntaxFault, language: Language) -> list[Change]:
    """The mark that opens a block, on a line that would open one with it."""
    found: list[Change] = []
    for line_start in _lines_at_fault(text, fault):
        line = text[line_start : _line_end(text, line_start)]
        end = line_start + len(line.rstrip())
        if not line.strip() or opens_block(line, language):
            if language.block is BlockRule.WORDS and line.strip():
                head = text[line_start : _line_end(text, line_start)]
                found.append(_closed_block(text, line_start, language.block_closer, head))
            continue
        if language.block is BlockRule.INDENT and opens_block(f"{line.rstrip()}:", language):
            found.append(Change(end, end, ":"))
    return found


def _quotes(text: str, fault: SyntaxFault, language: Language) -> list[Change]:
    """The other quote of a string that a line leaves open, before what closes around it."""
    found: list[Change] = []
    fault_line = _line_start(text, fault.start)
    above = _line_start(text, len(text[:fault_line].rstrip()))
    for line_start in dict.fromkeys([fault_line, above]):
        end = _line_end(text, line_start)
        end = line_start + len(text[line_start:end].rstrip())
        for quote in language.quotes:
            first = text.rfind(quote, line_start, end)
            if text.count(quote, line_start, end) % 2 == 0:
                continue
            at = end
            places = [end]
            while at > first + 1 and (text[at - 1] in ")]}" + _MARKS or text[at - 1].isspace()):
                at -= 1
                places.append(at)
            found += [Change(place, place, quote) for place in reversed(places)]
    return found


def _strays(text: str, fault: SyntaxFault, brackets: Unmatched, language: Language) -> list[Change]:
    """One closing bracket or quote too many."""
    found: list[Change] = []
    alone = text[fault.start : fault.end].strip()
    closers = {close for _, close in language.brackets}
    if alone in closers or alone in language.quotes or (alone and alone in _MARKS):
        at = text.index(alone, fault.start)
        found.append(Change(at, at + 1, ""))
    low, high = _line_start(text, fault.start), _line_end(text, max(fault.start, fault.end - 1))
    alone_there = [low + each.offset for each in unmatched(text[low:high], language).stray]
    for offset in [*(each.offset for each in brackets.stray), *reversed(alone_there)]:
        if low <= offset < high:
            found.append(Change(offset, offset + 1, ""))
    # A quote that ends its line and opens nothing.
    for quote in language.quotes:
        if len(alone) > 1 and alone.endswith(quote) and alone.count(quote) == 1:
            at = fault.start + text[fault.start : fault.end].rindex(quote)
            found.append(Change(at, at + 1, ""))
    return found


def _lines_at_fault(text: str, fault: SyntaxFault) -> Iterable[int]:
    """Starts of the fault's first line, and of the one before it where the fault heads its line."""
    start = _line_start(text, fault.start)
    starts = [start]
    if not text[start : fault.start].strip():
        above = len(text[:start].rstrip())
        if above:
            starts.insert(0, _line_start(text, above))
    return starts


def _lines_from(text: str, offset: int) -> Iterator[tuple[int, str]]:
    """The lines behind the one that ends at ``offset``, with their starts."""
    while offset < len(text):
        found = _BREAK.match(text, offset)
        if found is None:
            return
        start = found.end()
        offset = _line_end(text, start)
        yield start, text[start:offset]


def _line(text: str, offset: int) -> str:
    return text[_line_start(text, offset) : _line_end(text, offset)]


def _line_start(text: str, offset: int) -> int:
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def _line_end(text: str, offset: int) -> int:
    found = _BREAK.search(text, offset)
    return len(text) if found is None else found.start()

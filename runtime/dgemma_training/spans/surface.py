"""The same tables for languages without a grammar, by lines, brackets and indentation.

A rough reading: what it finds looks like an argument or a block, and may be none. Knows nothing
of kinds and chances.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left

from dgemma_training.spans.places import (
    Intervals,
    Lines,
    Prose,
    Statement,
    Statements,
    Tables,
    short,
)

_HASH = frozenset({"shellscript", "ruby", "perl", "r", "yaml", "toml", "dockerfile", "makefile"})
_HASH |= {"python", "elixir", "julia"}
_DASHES = frozenset({"sql", "haskell", "elm", "lua"})

_STRINGS = r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`[^`]*`"
_SLASH_TOKENS = re.compile(rf"(?P<comment>//[^\n]*|/\*.*?\*/)|{_STRINGS}|[()\[\]{{}}]", re.DOTALL)
_HASH_TOKENS = re.compile(rf"(?P<comment>#[^\n]*)|{_STRINGS}|[()\[\]{{}}]", re.DOTALL)
_DASH_TOKENS = re.compile(rf"(?P<comment>--[^\n]*)|{_STRINGS}|[()\[\]{{}}]", re.DOTALL)

_OPEN = "([{"
_CLOSE = ")]}"
_CALL = re.compile(r"\w$")
_DECIDES = re.compile(r"\b(?:if|while|for|foreach|switch|match|catch|until)\s*$")
_IMPORT = re.compile(
    r"^[ \t]*(?:import|from|use|using|package|#[ \t]*include|require)\b[^\n]*$", re.MULTILINE
)
_RIGHT_SIDE = re.compile(
    r"^[ \t]*(?:return[ \t]+|[^\n=\"'(]*[^\s=!<>][ \t]*=[ \t]*)(?P<value>[^\s=>][^\n]*?)"
    r"[ \t]*[;,]?[ \t]*(?:(?<=[\s;,])(?://|/\*|#|--)[^\n]*)?$",
    re.MULTILINE,
)
_MOST_LINES = 40
"""A statement with more lines than this is in no block anyway."""


def read_surface(text: str, language_id: str, lines: Lines) -> Tables:
    """Note the places of a text by surface rules."""
    comments: list[tuple[int, int]] = []
    texts: list[tuple[int, int]] = []
    brackets: list[tuple[int, str]] = []
    for found in _tokens(language_id).finditer(text):
        if found.lastgroup is not None:
            comments.append(found.span())
        elif found.group() in _OPEN + _CLOSE:
            brackets.append((found.start(), found.group()))
        elif "\n" in found.group():
            texts.append(found.span())
    lists: list[tuple[int, int]] = []
    items: list[tuple[int, int]] = []
    conditions: list[tuple[int, int]] = []
    for start, end, commas in _pairs(text, brackets):
        before = text[max(0, start - 80) : start]
        if _DECIDES.search(before):
            conditions.append(_stripped(text, start + 1, end))
        elif _CALL.search(before):
            lists.append(_stripped(text, start + 1, end))
            borders = [start, *commas, end]
            if commas:
                pairs = itertools.pairwise(borders)
                items.extend(_stripped(text, left + 1, right) for left, right in pairs)
    conditions.extend(found.span("value") for found in _RIGHT_SIDE.finditer(text))
    prose = {
        Prose.COMMENT: Intervals(comments),
        Prose.DOCSTRING: Intervals(()),
        Prose.IMPORT: Intervals(found.span() for found in _IMPORT.finditer(text)),
        Prose.TEXT: Intervals(texts),
    }
    return Tables(
        Intervals(short(lists)),
        Intervals(short(items)),
        Intervals(short(conditions)),
        Statements(_runs(lines, brackets)),
        prose,
        True,
    )


def _tokens(language_id: str) -> re.Pattern[str]:
    if language_id in _HASH:
        return _HASH_TOKENS
    return _DASH_TOKENS if language_id in _DASHES else _SLASH_TOKENS


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    inner = text[start:end]
    start += len(inner) - len(inner.lstrip())
    return start, start + len(inner.strip())


def _pairs(text: str, brackets: list[tuple[int, str]]) -> list[tuple[int, int, list[int]]]:
    """Round brackets that match, each with the commas that lie directly inside of it."""
    found: list[tuple[int, int, list[int]]] = []
    open_: list[tuple[int, str, list[int]]] = []
    at = 0
    for offset, char in brackets:
        if open_:
            open_[-1][2].extend(at + hit.start() for hit in re.finditer(",", text[at:offset]))
        at = offset + 1
        if char in _OPEN:
            open_.append((offset, char, []))
        elif open_ and _OPEN.index(open_[-1][1]) == _CLOSE.index(char):
            start, _, commas = open_.pop()
            if char == ")":
                found.append((start, offset, commas))
        else:
            # Nothing outside of a bracket that does not match can be trusted.
            open_.clear()
    return found


def _runs(lines: Lines, brackets: list[tuple[int, str]]) -> list[tuple[Statement, ...]]:
    """Statements as lines with all that is indented below them, where their brackets match."""
    offsets = [offset for offset, _ in brackets]
    units: dict[int, Statement] = {}
    count = len(lines.begins)
    for index in range(count):
        depth = lines.indent(index)
        last, level, at = index, 0, bisect_left(offsets, lines.begins[index])
        while last < count and last - index < _MOST_LINES:
            while level >= 0 and at < len(brackets) and offsets[at] < lines.ends[last]:
                level += 1 if brackets[at][1] in _OPEN else -1
                at += 1
            following = lines.indent(last + 1) if last + 1 < count else 0
            if level < 0 or (level == 0 and following <= depth):
                break
            last += 1
        else:
            continue
        if level == 0:
            numbers = lines.numbers
            units[index] = Statement(
                lines.begins[index], lines.ends[last], numbers[index], numbers[last]
            )
    return _chained(lines, units)


def _chained(lines: Lines, units: dict[int, Statement]) -> list[tuple[Statement, ...]]:
    index_of = {number: index for index, number in enumerate(lines.numbers)}
    runs: list[tuple[Statement, ...]] = []
    seen: set[int] = set()
    for index in units:
        run: list[Statement] = []
        at: int | None = index
        while at in units and at not in seen and lines.indent(at) == lines.indent(index):
            seen.add(at)
            run.append(units[at])
            after = index_of[units[at].last] + 1
            at = after if after < len(lines.begins) else None
        if run:
            runs.append(tuple(run))
    return runs

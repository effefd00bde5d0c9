"""Places in one text, in the order of their starts, so that a draw is a bisection and not a walk.

Offsets count characters. Knows no trees, no languages, no kinds and no chances.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

_LONGEST_LIST = 240
"""Characters of the longest argument list or condition worth filling in one go."""


class Prose(StrEnum):
    """Text that is not quite what code is: worth less to learn from."""

    COMMENT = "comment"
    DOCSTRING = "docstring"
    IMPORT = "import"
    TEXT = "text"
    """A string that spans lines."""


class Intervals:
    """Ranges of characters in the order of their starts, without doubles."""

    __slots__ = ("ends", "starts")

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(set(ranges))
        self.starts = [start for start, _ in ordered]
        self.ends = [end for _, end in ordered]

    def between(self, low: int, high: int) -> range:
        """Indices of the ranges that start in [``low``, ``high``)."""
        return range(bisect_left(self.starts, low), bisect_left(self.starts, high))

    def holds(self, offset: int) -> bool:
        """Whether a range covers the character at ``offset``; for ranges that do not overlap."""
        index = bisect_right(self.starts, offset) - 1
        return index >= 0 and offset < self.ends[index]

    def touches(self, start: int, end: int) -> bool:
        """Whether a range shares a character with another one; for ranges not overlapping."""
        index = bisect_left(self.starts, end) - 1
        return index >= 0 and self.ends[index] > start


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that has its lines to itself.

    Attributes:
        start: Its first character.
        end: The end of its last line, without trailing blanks.
        first: Its first line.
        last: Its last line.
    """

    start: int
    end: int
    first: int
    last: int


class Statements:
    """Runs of statements that follow each other in one body."""

    __slots__ = ("_places", "_starts", "runs")

    def __init__(self, runs: Iterable[tuple[Statement, ...]]) -> None:
        self.runs = tuple(runs)
        self._places = sorted(
            (statement.start, number, index)
            for number, run in enumerate(self.runs)
            for index, statement in enumerate(run)
        )
        self._starts = [place[0] for place in self._places]

    def between(self, low: int, high: int) -> range:
        """Numbers for ``following`` of the statements that start in [``low``, ``high``)."""
        return range(bisect_left(self._starts, low), bisect_left(self._starts, high))

    def following(self, number: int) -> tuple[Statement, ...]:
        """A statement and what follows it in its run."""
        _, run, index = self._places[number]
        return self.runs[run][index:]

    def is_first(self, number: int) -> bool:
        """Whether a statement begins its run."""
        return self._places[number][2] == 0


@dataclass(frozen=True, slots=True)
class Tables:
    """What was found in one text.

    Attributes:
        lists: The insides of argument and parameter lists.
        items: Single arguments and parameters of lists that have several.
        conditions: Conditions, what is looped over, returned values, right sides.
        statements: What a block can be made of.
        prose: What is not code.
        clean: Whether the grammar took the whole text; true without one.
    """

    lists: Intervals
    items: Intervals
    conditions: Intervals
    statements: Statements
    prose: Mapping[Prose, Intervals]
    clean: bool


class Lines:
    """The lines that hold something, as ranges without indentation and trailing blanks."""

    __slots__ = ("_starts", "begins", "ends", "numbers")

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self.begins: list[int] = []
        self.ends: list[int] = []
        self.numbers: list[int] = []
        for number, (start, line) in enumerate(zip(self._starts, text.split("\n"), strict=True)):
            content = line.strip()
            if content:
                self.begins.append(start + len(line) - len(line.lstrip()))
                self.ends.append(self.begins[-1] + len(content))
                self.numbers.append(number)

    def number(self, offset: int) -> int:
        """The line, counted from 0, that ``offset`` lies on."""
        return bisect_right(self._starts, offset) - 1

    def indent(self, index: int) -> int:
        """Width of the indentation of a line that holds something, in characters."""
        return self.begins[index] - self._starts[self.numbers[index]]

    def at(self, offset: int) -> int | None:
        """Index of the line whose content covers ``offset`` or ends there."""
        index = bisect_right(self.begins, offset) - 1
        return index if index >= 0 and offset <= self.ends[index] else None


def short(ranges: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Those ranges that are worth filling in one go."""
    return (pair for pair in ranges if 0 < pair[1] - pair[0] <= _LONGEST_LIST)

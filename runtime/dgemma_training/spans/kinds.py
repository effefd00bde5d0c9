"""The kinds of text that people ask for at a cursor, and how often each is drawn.

Knows no texts and no trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar


class SpanKind(StrEnum):
    """What is missing at the cursor."""

    LINE_TAIL = "line_tail"
    """From a token border inside a line to the line's end."""
    WHOLE_LINE = "whole_line"
    """A line without its indentation."""
    MIDDLE = "middle"
    """Part of a line, with code on the same line before or after it."""
    ARGUMENTS = "arguments"
    """All or one of the arguments of a call, or of the parameters of a function."""
    CONDITION = "condition"
    """What is decided on, looped over, returned or assigned."""
    TWO_LINES = "two_lines"
    """Two or three whole lines, wherever the syntax has its borders."""
    BLOCK = "block"
    """Two to eight whole lines that are consecutive statements."""
    RANDOM = "random"
    """Any few characters, inside of tokens too."""
    EMPTY = "empty"
    """A place where nothing is missing."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text, in characters; ``start`` equals ``end`` for ``SpanKind.EMPTY`` only."""

    start: int
    end: int
    kind: SpanKind


@dataclass(frozen=True, slots=True)
class Mix:
    """How often each kind is drawn.

    Attributes:
        shares: Weight per kind; they need not add up to one. Kinds left out are never drawn.

    Raises:
        ValueError: A weight is negative, or none is above 0.
    """

    shares: Mapping[SpanKind, float]

    DEFAULT: ClassVar[Mix]
    """The mix for training."""

    HEADLINE: ClassVar[Mix]
    """The mix of the figures that are reported first: what is asked for at a cursor."""

    def __post_init__(self) -> None:
        if any(share < 0 for share in self.shares.values()) or not any(self.shares.values()):
            raise ValueError(f"not a mix of span kinds: {dict(self.shares)}")
        object.__setattr__(self, "shares", MappingProxyType(dict(self.shares)))

    @classmethod
    def only(cls, kind: SpanKind) -> Mix:
        """Nothing but one kind."""
        return cls({kind: 1.0})


Mix.DEFAULT = Mix(
    {
        SpanKind.WHOLE_LINE: 0.30,
        SpanKind.LINE_TAIL: 0.22,
        SpanKind.MIDDLE: 0.10,
        SpanKind.ARGUMENTS: 0.10,
        SpanKind.CONDITION: 0.06,
        SpanKind.TWO_LINES: 0.06,
        SpanKind.BLOCK: 0.06,
        SpanKind.RANDOM: 0.07,
        SpanKind.EMPTY: 0.03,
    }
)
Mix.HEADLINE = Mix({SpanKind.WHOLE_LINE: 0.50, SpanKind.LINE_TAIL: 0.25, SpanKind.MIDDLE: 0.25})

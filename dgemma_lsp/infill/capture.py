"""The context of a hole: text before and after it, cut to a budget at sensible borders.

The left edge moves in steps of many lines, so that the text a runtime has already read stays the
head of the next request while a person types. Tokens are unknown here; a budget counts characters.
"""

from __future__ import annotations

from typing import Protocol

from dgemma_lsp.infill.graphemes import border_after, border_before
from dgemma_lsp.infill.types import Budget, Context, Hole, Snapshot
from dgemma_lsp.syntax.tree import ParsedText

_EDGE_STEPS = 4
"""The left edge moves by this fraction of the budget, which is thus used to 3/4 at least."""

_TOKEN_MARGIN = 0.9
"""Dense code has fewer characters a token than is typical; beyond its limit a runtime drops the
head of the prefix at every request anew, and its cache never hits."""


class Limits(Protocol):
    """The numbers of a model that a budget follows from."""

    @property
    def prefix_tokens(self) -> int:
        """Tokens of prefix that are kept."""
        ...

    @property
    def canvas_tokens(self) -> int:
        """Positions of a canvas, spans and clamped text together."""
        ...

    @property
    def span_tokens(self) -> int:
        """Positions of a span that names no size."""
        ...

    @property
    def chars_per_token(self) -> float:
        """Typical characters of source code per token."""
        ...


def budget_for(limits: Limits) -> Budget:
    """The budget that fits a model."""
    per_token = limits.chars_per_token * _TOKEN_MARGIN
    clamped = max(0, limits.canvas_tokens - limits.span_tokens)
    return Budget(int(limits.prefix_tokens * per_token), int(clamped * per_token))


def chars_of(limits: Limits, tokens: int) -> int:
    """Characters of text that take up no more than ``tokens``, as a rule."""
    return int(max(0, tokens) * limits.chars_per_token * _TOKEN_MARGIN)


def capture(snapshot: Snapshot, hole: Hole, budget: Budget) -> Context:
    """What the model sees around ``hole``."""
    return around(snapshot.parsed, hole.offset, hole.offset, budget)


def around(parsed: ParsedText, start: int, end: int, budget: Budget) -> Context:
    """What the model sees before ``start`` and after ``end``."""
    left = _left_edge(parsed, start, max(1, budget.prefix_chars))
    right = _right_edge(parsed, end, max(0, budget.suffix_chars))
    return Context(parsed.text[left:start], parsed.text[end:right])


def _left_edge(parsed: ParsedText, offset: int, budget: int) -> int:
    least = offset - budget
    if least <= 0:
        return 0
    step = max(1, budget // _EDGE_STEPS)
    stepped = -(-least // step) * step
    line_start = parsed.lines.start(parsed.lines.line(offset))
    if line_start < least:  # the current line alone is too long
        return min(offset, border_after(parsed.text, least))
    if stepped >= line_start:
        return line_start
    line = parsed.lines.line(stepped)
    edge = parsed.lines.start(line)
    return edge if edge == stepped else parsed.lines.start(line + 1)


def _right_edge(parsed: ParsedText, offset: int, budget: int) -> int:
    most = offset + budget
    if most >= len(parsed.text):
        return len(parsed.text)
    # Up to and with the last line break that fits; else the current line, cut.
    edge = parsed.lines.start(parsed.lines.line(most))
    return edge if edge > offset else max(offset, border_before(parsed.text, most))

"""Draws spans from one text: which kind, where it starts, where it ends.

The chances live here; what there is to draw from comes from ``tables``. The generator of random
numbers is the caller's, so the same one gives the same spans.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from dgemma_lsp.languages import by_id
from dgemma_training.spans.kinds import Mix, Span, SpanKind
from dgemma_training.spans.places import Lines, Prose
from dgemma_training.spans.surface import read_surface
from dgemma_training.spans.tables import read_tree

_Range: TypeAlias = tuple[int, int]

_DECLINED: _Range = (-1, -1)
"""A draw that led nowhere; another one of the same kind may do."""

_TRIES = 12
"""Draws of one kind that may be turned down before it counts as having no place."""

_SKIPPED: Mapping[Prose, float] = MappingProxyType(
    {Prose.COMMENT: 0.9, Prose.DOCSTRING: 0.8, Prose.IMPORT: 0.5, Prose.TEXT: 0.5}
)
"""Share of the draws turned down; the first kind of prose that holds a place counts."""

_SKIPPED_CLOSERS = 0.7
"""Lines without a word, mostly closing brackets: every text is full of them."""

_INSIDE_TOKENS = 0.2
"""Share of the middles that start and end at any character."""

_LONGEST_LINE = 240
_LONGEST_MIDDLE = 40
_LONGEST_RANDOM = 60
_BLOCK_LINES = range(2, 9)
_WINDOW = 4 * _LONGEST_MIDDLE
"""Characters on each side of a place in a long line that are split into tokens."""

_ALIASES: Mapping[str, str] = MappingProxyType({"tsx": "typescriptreact", "jsx": "javascriptreact"})

_TOKEN = re.compile(
    r"\w+|\.\.\.|[-=]>|:[:=]|[<>]{2}=?|\*\*=?|//=?|&&=?|\|\|=?|\?\?=?|\?\.|===?|!==?"
    r"|[-+*/%&|^<>]=|\+\+|--|\S"
)
_WORD = re.compile(r"\w")


def editor_id(language: str) -> str:
    """The editor protocol's id of a language that may be given in its usual short form."""
    return _ALIASES.get(language, language)


class SpanSampler:
    """Spans of one text, which is parsed once."""

    def __init__(self, text: str, language: str) -> None:
        """Parse ``text``.

        Args:
            text: The text, with ``\\n`` line ends.
            language: A language id of the editor protocol, or the usual short form of one. A
                language without a grammar is read by lines and brackets.
        """
        self.text = text
        self._lines = Lines(text)
        rules = by_id(editor_id(language))
        grammar = rules.usable_grammar()
        if grammar is None:
            self._tables = read_surface(text, editor_id(language), self._lines)
        else:
            self._tables = read_tree(text, rules, grammar, self._lines)
        self._draws: Mapping[SpanKind, Callable[[random.Random, int, int], _Range | None]] = {
            SpanKind.LINE_TAIL: self._line_tail,
            SpanKind.WHOLE_LINE: self._whole_line,
            SpanKind.MIDDLE: self._middle,
            SpanKind.ARGUMENTS: self._arguments,
            SpanKind.CONDITION: self._condition,
            SpanKind.TWO_LINES: self._two_lines,
            SpanKind.BLOCK: self._block,
            SpanKind.RANDOM: self._random,
            SpanKind.EMPTY: self._empty,
        }

    @property
    def clean(self) -> bool:
        """Whether the grammar took the whole text; true for a language without one."""
        return self._tables.clean

    def is_code(self, span: Span) -> bool:
        """Whether a span has a word, unless empty, and is no prose.

        Prose is what touches a comment or docstring, or starts inside a string that spans lines.
        """
        end = max(span.end, span.start + 1)
        if any(
            self._tables.prose[kind].touches(span.start, end)
            for kind in (Prose.COMMENT, Prose.DOCSTRING)
        ):
            return False
        if self._tables.prose[Prose.TEXT].holds(span.start):
            return False
        return span.kind is SpanKind.EMPTY or (
            _WORD.search(self.text, span.start, span.end) is not None
        )

    def sample(self, rng: random.Random, low: int, high: int, mix: Mix) -> Span | None:
        """Draw one span that starts in [``low``, ``high``).

        A kind that has no place there leaves its share to the others.

        Returns:
            The span, which never is only whitespace unless empty; ``None`` when there is nothing
            to draw.
        """
        low, high = max(0, low), min(high, len(self.text) + 1)
        shares = {kind: share for kind, share in mix.shares.items() if share > 0}
        if low >= high:
            return None
        while shares:
            kind = rng.choices(list(shares), list(shares.values()))[0]
            # The same kind again, or those that are turned down often would lose their share.
            for _ in range(_TRIES):
                drawn = self._draws[kind](rng, low, high)
                if drawn is None:
                    break
                span = Span(*drawn, kind)
                if self._wanted(rng, span, low, high):
                    return span
            del shares[kind]
        return None

    def _wanted(self, rng: random.Random, span: Span, low: int, high: int) -> bool:
        if not low <= span.start < high:
            return False
        if span.kind is SpanKind.EMPTY:
            return True
        if not self.text[span.start : span.end].strip():
            return False
        for kind, chance in _SKIPPED.items():
            if self._tables.prose[kind].holds(span.start):
                if rng.random() < chance:
                    return False
                break
        return _WORD.search(self.text, span.start, span.end) is not None or (
            span.kind not in (SpanKind.WHOLE_LINE, SpanKind.TWO_LINES)
            or rng.random() >= _SKIPPED_CLOSERS
        )

    # -- lines --------------------------------------------------------------------------------

    def _line_tail(self, rng: random.Random, low: int, high: int) -> _Range | None:
        line = self._line_over(rng, low, high)
        if line is None:
            return None
        begin, end = self._lines.begins[line], self._lines.ends[line]
        borders = [
            offset
            for offset in self._borders(max(begin, end - _LONGEST_LINE), end)
            if begin < offset < end and low <= offset < high
        ]
        return (rng.choice(borders), end) if borders else _DECLINED

    def _whole_line(self, rng: random.Random, low: int, high: int) -> _Range | None:
        line = self._line_from(rng, low, high)
        if line is None:
            return None
        begin, end = self._lines.begins[line], self._lines.ends[line]
        return (begin, end) if end - begin <= _LONGEST_LINE else _DECLINED

    def _two_lines(self, rng: random.Random, low: int, high: int) -> _Range | None:
        line = self._line_from(rng, low, high)
        if line is None:
            return None
        begin = self._lines.begins[line]
        last = line + rng.choice((1, 1, 2))
        if last >= len(self._lines.begins):
            return _DECLINED
        # A blank line between two lines is one of them.
        held = self._lines.numbers[last] - self._lines.numbers[line]
        end = self._lines.ends[last]
        return (begin, end) if held <= 2 and end - begin <= 2 * _LONGEST_LINE else _DECLINED

    def _middle(self, rng: random.Random, low: int, high: int) -> _Range | None:
        line = self._line_over(rng, low, high)
        if line is None:
            return None
        begin, end = self._lines.begins[line], self._lines.ends[line]
        first, last = max(begin, low), min(end, high)
        if first >= last:
            return _DECLINED
        # Only part of a long line is looked at.
        near = rng.randrange(first, last)
        borders = self._borders(max(begin, near - _WINDOW), min(end, near + _WINDOW))
        if rng.random() < _INSIDE_TOKENS:
            borders = list(range(borders[0], borders[-1])) if borders else []
        starts = [offset for offset in borders if first <= offset < last]
        if not starts:
            return _DECLINED
        start = rng.choice(starts)
        # What reaches the line's end is another kind.
        ends = [o for o in borders if start < o <= start + _LONGEST_MIDDLE and o < end]
        return self._trimmed(start, rng.choice(ends)) if ends else _DECLINED

    # -- syntax -------------------------------------------------------------------------------

    def _arguments(self, rng: random.Random, low: int, high: int) -> _Range | None:
        tables = [self._tables.lists, self._tables.items]
        tables = [table for table in tables if table.between(low, high)]
        if not tables:
            return None
        table = rng.choice(tables)
        index = rng.choice(table.between(low, high))
        return table.starts[index], table.ends[index]

    def _condition(self, rng: random.Random, low: int, high: int) -> _Range | None:
        table = self._tables.conditions
        found = table.between(low, high)
        if not found:
            return None
        index = rng.choice(found)
        return table.starts[index], table.ends[index]

    def _block(self, rng: random.Random, low: int, high: int) -> _Range | None:
        statements = self._tables.statements
        found = statements.between(low, high)
        if not found:
            return None
        number = rng.choice(found)
        following = statements.following(number)
        first = following[0]
        comments = self._tables.prose[Prose.COMMENT]
        ends: list[int] = []
        for statement in following:
            held = statement.last - first.first + 1
            if held > _BLOCK_LINES[-1]:
                break
            # A comment at the end belongs to what follows.
            if held in _BLOCK_LINES and not comments.holds(statement.start):
                ends.append(statement.end)
        if not ends:
            return _DECLINED
        # Whole bodies are what is asked for after the head of a function.
        whole = ends[-1] == following[-1].end and statements.is_first(number)
        return first.start, ends[-1] if whole and rng.random() < 0.5 else rng.choice(ends)

    # -- anything -----------------------------------------------------------------------------

    def _random(self, rng: random.Random, low: int, high: int) -> _Range | None:
        if not self.text:
            return None
        start = rng.randrange(low, high)
        end = min(len(self.text), start + rng.randint(1, _LONGEST_RANDOM))
        break_ = self.text.find("\n", start, end)
        if break_ >= 0 and rng.random() < 0.7:
            end = break_
        return self._trimmed(start, end)

    def _empty(self, rng: random.Random, low: int, high: int) -> _Range | None:
        line = self._line_over(rng, low, high)
        if line is None:
            return None
        begin, end = self._lines.begins[line], self._lines.ends[line]
        if low <= end < high and rng.random() < 0.5:
            return end, end
        first, last = max(begin, low), min(end, high)
        if first >= last:
            return _DECLINED
        near = rng.randrange(first, last)
        borders = self._borders(max(begin, near - _WINDOW), min(end, near + _WINDOW))
        borders = [offset for offset in borders if first <= offset < last]
        if not borders:
            return _DECLINED
        place = rng.choice(borders)
        return place, place

    # -- places -------------------------------------------------------------------------------

    def _line_from(self, rng: random.Random, low: int, high: int) -> int | None:
        """A line whose content starts in [``low``, ``high``)."""
        found = range(bisect_left(self._lines.begins, low), bisect_left(self._lines.begins, high))
        return rng.choice(found) if found else None

    def _line_over(self, rng: random.Random, low: int, high: int) -> int | None:
        """A line whose content, its end included, has a place in [``low``, ``high``)."""
        found = range(bisect_left(self._lines.ends, low), bisect_left(self._lines.begins, high))
        return rng.choice(found) if found else None

    def _borders(self, start: int, end: int) -> list[int]:
        """Where tokens start and end in part of a line, in order."""
        borders: set[int] = set()
        for found in _TOKEN.finditer(self.text, start, end):
            borders.update(found.span())
        return sorted(borders)

    def _trimmed(self, start: int, end: int) -> _Range:
        return start, start + len(self.text[start:end].rstrip())

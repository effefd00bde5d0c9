"""A text with its line index and syntax tree.

``ParsedText`` never changes what it shows; lines and tree are worked out when they are first
asked for. An edit gives a new value that remembers the edited tree of the old one, so several
edits cost one parse. Offsets count characters; tree-sitter's bytes do not leave ``syntax``.
This module knows no documents, versions or languages beyond the grammar it is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import tree_sitter

from dgemma_lsp.syntax.excerpt import cuts
from dgemma_lsp.syntax.grammar import Grammar
from dgemma_lsp.syntax.lines import Encoding, LineIndex, advance, units

EXCERPT_BYTES = 8_000
"""About 200 lines; a parse from nothing takes 1 to 3 ms."""

_MAX_STALE_EDITS = 1_000


@dataclass(frozen=True, slots=True)
class _Edit:
    """One splice in tree-sitter's terms."""

    start: int
    old_end: int
    new_end: int
    start_point: tuple[int, int]
    old_end_point: tuple[int, int]
    new_end_point: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Part of a text around an offset, and where that offset is in it."""

    parsed: ParsedText
    offset: int


class ParsedText:
    """An immutable text; ``grammar`` is ``None`` for a text without a tree."""

    __slots__ = (
        "_base",
        "_excerpt",
        "_lines",
        "_pending",
        "_stale",
        "_tree",
        "grammar",
        "text",
    )

    def __init__(self, text: str, grammar: Grammar | None = None) -> None:
        self.text = text
        self.grammar = grammar
        self._lines: LineIndex | None = None
        self._tree: tree_sitter.Tree | None = None
        # A tree of an older text, the edits it has not seen yet, and how many since its parse.
        self._base: tree_sitter.Tree | None = None
        self._pending: tuple[_Edit, ...] = ()
        self._stale = 0
        self._excerpt: tuple[int, Excerpt] | None = None

    # -- lines --------------------------------------------------------------------------------

    @property
    def lines(self) -> LineIndex:
        """Where the lines start."""
        if self._lines is None:
            self._lines = LineIndex.of(self.text)
        return self._lines

    def line_span(self, line: int) -> tuple[int, int]:
        """Start and end of a line, without its line break."""
        start = self.lines.start(line)
        if line + 1 >= self.lines.count:
            return start, len(self.text)
        end = self.lines.start(line + 1) - 1
        if end > start and self.text[end] == "\n" and self.text[end - 1] == "\r":
            end -= 1
        return start, end

    def line_text(self, line: int) -> str:
        """A line without its line break."""
        start, end = self.line_span(line)
        return self.text[start:end]

    def offset_at(self, line: int, column: int, encoding: Encoding = Encoding.UTF32) -> int:
        """Character offset of a position; out of range is clamped as LSP says."""
        if line < 0:
            return 0
        if line >= self.lines.count:
            return len(self.text)
        start, end = self.line_span(line)
        if encoding is Encoding.UTF32:
            return min(start + max(0, column), end)
        # No unit is longer than a character, so what is further right cannot matter.
        return start + advance(
            self.text[start : min(end, start + max(0, column))], column, encoding
        )

    def position_at(self, offset: int, encoding: Encoding = Encoding.UTF32) -> tuple[int, int]:
        """Line and column of a character offset."""
        offset = max(0, min(offset, len(self.text)))
        line = self.lines.line(offset)
        return line, units(self.text[self.lines.start(line) : offset], encoding)

    # -- bytes --------------------------------------------------------------------------------

    def byte_at(self, offset: int) -> int:
        """UTF-8 byte offset of a character offset."""
        if self.text.isascii():
            return offset
        return len(_encoded(self.text[:offset]))

    def offset_of_byte(self, byte: int) -> int:
        """Character offset of a UTF-8 byte offset; within a character, the character's start."""
        if self.text.isascii():
            return byte
        # Every character has at least one byte, so the first ``byte`` characters are enough.
        return len(_encoded(self.text[:byte])[:byte].decode("utf-8", "ignore")) if byte else 0

    # -- edits --------------------------------------------------------------------------------

    def edited(self, start: int, end: int, new_text: str) -> ParsedText:
        """The text with characters ``start`` to ``end`` replaced; this one stays as it is."""
        after = ParsedText(self.text[:start] + new_text + self.text[end:], self.grammar)
        if self._lines is not None:
            grown = len(new_text) - (end - start)
            after._lines = self._lines.spliced(start, end, after.text, grown)
        base = self._tree or self._base
        if base is not None:
            if len(self._pending) >= _MAX_STALE_EDITS:
                base = self.rough_tree
            after._base = base
            pending = () if base is self._tree else self._pending
            after._pending = (*pending, self._edit(start, end, new_text))
            after._stale = 1 if base is self._tree else self._stale + 1
        return after

    def _edit(self, start: int, end: int, new_text: str) -> _Edit:
        start_byte = self.byte_at(start)
        row = self.text.count("\n", 0, start)
        line_start = self.text.rfind("\n", 0, start) + 1
        point = (row, len(_encoded(self.text[line_start:start])))
        old_end, old_end_point = _moved(start_byte, point, self.text[start:end])
        new_end, new_end_point = _moved(start_byte, point, new_text)
        return _Edit(start_byte, old_end, new_end, point, old_end_point, new_end_point)

    # -- trees --------------------------------------------------------------------------------

    @property
    def tree(self) -> tree_sitter.Tree | None:
        """The syntax tree of exactly this text, or ``None`` without a grammar."""
        if self._tree is None and self.grammar is not None:
            parser = tree_sitter.Parser(self.grammar.language)
            old = self._with_edits()
            data = _encoded(self.text)
            self._tree = parser.parse(data) if old is None else parser.parse(data, old)
            self._base = None
            self._pending = ()
            self._stale = 0
        return self._tree

    @property
    def rough_tree(self) -> tree_sitter.Tree | None:
        """A tree whose nodes lie where this text has them but may miss what edits changed.

        Far cheaper than ``tree`` on a long text; a true parse happens every few hundred edits.
        """
        if self._tree is not None or self._base is None or self._stale > _MAX_STALE_EDITS:
            return self.tree
        self._base = self._with_edits()
        self._pending = ()
        return self._base

    def _with_edits(self) -> tree_sitter.Tree | None:
        if self._base is None or not self._pending:
            return self._base
        tree = self._base.copy()
        for edit in self._pending:
            tree.edit(
                edit.start,
                edit.old_end,
                edit.new_end,
                edit.start_point,
                edit.old_end_point,
                edit.new_end_point,
            )
        return tree

    def excerpt(self, offset: int) -> Excerpt:
        """The neighbourhood of ``offset``; the whole text where that is short."""
        if len(self.text) <= 2 * EXCERPT_BYTES or self.grammar is None:
            return Excerpt(self, offset)
        if self._excerpt is None or self._excerpt[0] != offset:
            self._excerpt = (offset, self._cut_excerpt(offset))
        return self._excerpt[1]

    def _cut_excerpt(self, offset: int) -> Excerpt:
        tree = self.rough_tree
        byte = self.byte_at(offset)
        ranges = [] if tree is None else cuts(tree, byte, EXCERPT_BYTES)
        data = _encoded(self.text)
        kept: list[bytes] = []
        at = 0
        moved = byte
        for low, high in ranges:
            kept.append(data[at:low])
            at = high
            if high <= byte:
                moved -= high - low
        kept.append(data[at:])
        text = b"".join(kept)
        before = _decoded(text[:moved])
        parsed = ParsedText(before + _decoded(text[moved:]), self.grammar)
        return Excerpt(parsed, len(before))


def _moved(byte: int, point: tuple[int, int], text: str) -> tuple[int, tuple[int, int]]:
    data = _encoded(text)
    rows = data.count(b"\n")
    tail = len(data) - (data.rfind(b"\n") + 1)
    return byte + len(data), (point[0] + rows, tail if rows else point[1] + tail)


def _encoded(text: str) -> bytes:
    # Editors can send lone surrogates; they must keep a length rather than raise.
    return text.encode("utf-8", "surrogatepass")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")

"""A text with its line index and syntax tree.

``ParsedText`` never changes what it shows; lines and tree are worked out when they are first
asked for. An edit gives a new value that remembers the edited tree of the old one, so several
edits cost one parse. Offsets count characters; tree-sitter's bytes do not leave ``syntax``.
This module knows no documents, versions or languages beyond the grammar it is given, and starts
no threads: whoever wants a long text parsed elsewhere takes the work with ``parse_later``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tree_sitter

from dgemma_lsp.syntax.excerpt import cuts, window
from dgemma_lsp.syntax.grammar import Grammar
from dgemma_lsp.syntax.lines import Encoding, LineIndex, advance, units
from dgemma_lsp.syntax.parse import Edit, decoded, edited, encoded, moved, parse

EXCERPT_BYTES = 4_000
"""About 100 lines; a parse from nothing takes about half a millisecond."""

WIDE_BYTES = 4 * EXCERPT_BYTES
"""For a second look."""

_LARGEST = 3
"""How many times the size asked for an excerpt may have; a long line cannot be cut by its tree."""

_SHORT_CHARS = 5 * EXCERPT_BYTES
"""A text of this size is parsed from nothing: built on an older tree, a parse of broken code may
settle on other errors, or on none, and what is said of a text must not depend on its history."""

_MARGIN = EXCERPT_BYTES // 8
"""Characters of an excerpt that must remain on both sides for it to be used again."""

LONG_CHARS = 40_000
"""About 1 000 lines; a longer text is not parsed where somebody waits. Some 8 ms."""

_MAX_STALE_EDITS = 1_000


class _Slot:
    """Where the tree of one text goes; ``begun`` when it is being parsed elsewhere."""

    __slots__ = ("begun", "tree")

    def __init__(self, tree: tree_sitter.Tree | None = None) -> None:
        self.tree = tree
        self.begun = False


@dataclass(frozen=True, slots=True)
class _Base:
    """The tree of an older text, the edits it has not seen, and how many since it was parsed."""

    slot: _Slot
    edits: tuple[Edit, ...]
    age: int

    def after(self, edit: Edit) -> _Base:
        return _Base(self.slot, (*self.edits, edit), self.age + 1)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Part of a text around an offset, and where that offset is in it."""

    parsed: ParsedText
    offset: int


@dataclass(frozen=True, slots=True)
class _Window:
    """An excerpt that holds all of the text from ``low`` to ``high``.

    ``shift`` is how much further to the left a character of it stands in the excerpt. ``blind``
    says that it was cut for want of a tree.
    """

    low: int
    high: int
    shift: int
    parsed: ParsedText
    blind: bool = False


class ParsedText:
    """An immutable text; ``grammar`` is ``None`` for a text without a tree."""

    __slots__ = ("_bases", "_lines", "_own", "_window", "grammar", "text")

    def __init__(self, text: str, grammar: Grammar | None = None) -> None:
        self.text = text
        self.grammar = grammar
        self._lines: LineIndex | None = None
        self._own = _Slot()
        # The newest first; only the last one surely has its tree.
        self._bases: tuple[_Base, ...] = ()
        self._window: _Window | None = None

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
        return len(encoded(self.text[:offset]))

    def offset_of_byte(self, byte: int) -> int:
        """Character offset of a UTF-8 byte offset; within a character, the character's start."""
        if self.text.isascii():
            return byte
        # Every character has at least one byte, so the first ``byte`` characters are enough.
        return len(encoded(self.text[:byte])[:byte].decode("utf-8", "ignore")) if byte else 0

    # -- edits --------------------------------------------------------------------------------

    def edited(self, start: int, end: int, new_text: str) -> ParsedText:
        """The text with characters ``start`` to ``end`` replaced; this one stays as it is."""
        after = ParsedText(self.text[:start] + new_text + self.text[end:], self.grammar)
        if self._lines is not None:
            grown = len(new_text) - (end - start)
            after._lines = self._lines.spliced(start, end, after.text, grown)
        if self._own.tree is not None or self._own.begun or self._bases:
            edit = self._edit(start, end, new_text)
            own = _Base(self._own, (), 0)
            bases = () if self._own.tree is not None else self._bases
            if self._own.tree is not None or self._own.begun:
                bases = (own, *bases)
            after._bases = tuple(base.after(edit) for base in _useful(bases))
        after._window = self._edited_window(start, end, new_text)
        return after

    def _edit(self, start: int, end: int, new_text: str) -> Edit:
        start_byte = self.byte_at(start)
        row = self.text.count("\n", 0, start)
        line_start = self.text.rfind("\n", 0, start) + 1
        point = (row, len(encoded(self.text[line_start:start])))
        old_end, old_end_point = moved(start_byte, point, self.text[start:end])
        new_end, new_end_point = moved(start_byte, point, new_text)
        return Edit(start_byte, old_end, new_end, point, old_end_point, new_end_point)

    # -- trees --------------------------------------------------------------------------------

    @property
    def tree(self) -> tree_sitter.Tree | None:
        """The syntax tree of exactly this text, or ``None`` without a grammar."""
        if self._own.tree is None and self.grammar is not None:
            parser = tree_sitter.Parser(self.grammar.language)
            old = self._old_tree()
            data = encoded(self.text)
            self._own.tree = parser.parse(data) if old is None else parser.parse(data, old)
            self._bases = ()
        return self._own.tree

    def parse_while(self, go_on: Callable[[], bool]) -> bool:
        """Parse this text unless ``go_on`` says no meanwhile; whether ``tree`` is there now.

        Broken texts can take a hundred times as long as sound ones.
        """
        if self._own.tree is None and self.grammar is not None:
            tree = parse(self.grammar, encoded(self.text), self._old_tree(), go_on)
            if tree is None:
                return False
            self._own.tree = tree
            self._bases = ()
        return True

    @property
    def rough_tree(self) -> tree_sitter.Tree | None:
        """A tree whose nodes lie where this text has them but may miss what edits changed.

        Far cheaper than ``tree`` on a long text; a short one is parsed anew every few hundred
        edits. ``None`` while a long text is parsed elsewhere for the first time.
        """
        if self._own.tree is not None:
            return self._own.tree
        ready = _ready(self._bases)
        if ready is None:
            return None if self._own.begun or self._bases else self.tree
        if ready.age > _MAX_STALE_EDITS and len(self.text) <= LONG_CHARS:
            return self.tree
        if ready.edits:
            slot = _Slot(self._edited_tree())
            awaited = self._bases[: self._bases.index(ready)]
            self._bases = (*awaited, _Base(slot, (), ready.age))
            return slot.tree
        return ready.slot.tree

    @property
    def wants_parse(self) -> bool:
        """Whether a long text should be parsed elsewhere: it has no tree yet, or a stale one."""
        if self.grammar is None or len(self.text) <= LONG_CHARS:
            return False
        if self._own.tree is not None or self._own.begun:
            return False
        ready = _ready(self._bases)
        if ready is None:
            return not self._bases
        return ready.age > _MAX_STALE_EDITS and self._bases[0] is ready

    def parse_later(self, pause: Callable[[], None]) -> Callable[[], None]:
        """Take the work of parsing this text, to be called once and on any thread.

        Until it is done this text and those edited from it make do with an older tree or none.
        tree-sitter keeps the interpreter to itself while it works; ``pause`` is called about every
        half millisecond and may let other threads have it.
        """
        slot = self._own
        grammar = self.grammar
        if grammar is None or slot.tree is not None:
            return lambda: None
        slot.begun = True
        data = encoded(self.text)
        old = self._edited_tree()

        def go_on() -> bool:
            pause()
            return True

        def work() -> None:
            try:
                slot.tree = parse(grammar, data, old, go_on)
            finally:
                slot.begun = False

        return work

    def _old_tree(self) -> tree_sitter.Tree | None:
        """What a parse of this text may build on."""
        return None if len(self.text) <= _SHORT_CHARS else self._edited_tree()

    def _edited_tree(self) -> tree_sitter.Tree | None:
        ready = _ready(self._bases)
        if ready is None or ready.slot.tree is None or not ready.edits:
            return None if ready is None else ready.slot.tree
        return edited(ready.slot.tree, ready.edits)

    # -- excerpts -----------------------------------------------------------------------------

    def excerpt(self, start: int, end: int | None = None) -> Excerpt:
        """The neighbourhood of a range; the whole text where that is short.

        It holds the range as one piece, and its offset is that of ``start``.
        """
        end = start if end is None else end
        if len(self.text) <= 2 * EXCERPT_BYTES or self.grammar is None:
            return Excerpt(self, start)
        found = self._window
        if (
            found is None
            or not self._covers(found, start, end, _MARGIN)
            or (found.blind and self.rough_tree is not None)
        ):
            self._window = found = self._cut_window(start, end)
        return Excerpt(found.parsed, start - found.shift)

    def wide_excerpt(self, start: int, end: int) -> Excerpt:
        """A larger neighbourhood, made anew: where a small one may have been cut amiss.

        The tree of a broken text can have its borders elsewhere than the text will have them once
        it is whole.
        """
        if len(self.text) <= 2 * WIDE_BYTES or self.grammar is None:
            return Excerpt(ParsedText(self.text, self.grammar), start)
        found = self._cut_window(start, end, WIDE_BYTES)
        return Excerpt(found.parsed, start - found.shift)

    def _covers(self, window: _Window, start: int, end: int, margin: int) -> bool:
        """Whether a window reaches beyond a range, or to the end of the text, on both sides."""
        left = window.low == 0 or start - window.low >= margin
        right = window.high == len(self.text) or window.high - end >= margin
        return left and right

    def _edited_window(self, start: int, end: int, new_text: str) -> _Window | None:
        found = self._window
        if found is None or not self._covers(found, start, end, _MARGIN):
            return None
        grown = len(new_text) - (end - start)
        if len(found.parsed.text) + grown > _LARGEST * EXCERPT_BYTES:
            return None
        parsed = found.parsed.edited(start - found.shift, end - found.shift, new_text)
        return _Window(found.low, found.high + grown, found.shift, parsed, found.blind)

    def _cut_window(self, start: int, end: int, limit: int = EXCERPT_BYTES) -> _Window:
        tree = self.rough_tree
        if tree is not None:
            low_byte = self.byte_at(start)
            high_byte = low_byte + len(encoded(self.text[start:end]))
            ranges = cuts(tree, low_byte, high_byte, limit)
            left = [pair for pair in ranges if pair[1] <= low_byte]
            right = [pair for pair in ranges if pair[1] > low_byte]
            data = encoded(self.text)
            head = decoded(_without(data, left, 0, low_byte))
            tail = decoded(_without(data, right, high_byte, len(data)))
            if len(head) + len(tail) <= _LARGEST * limit:
                low = start - len(decoded(data[left[-1][1] : low_byte])) if left else 0
                high = len(self.text)
                if right:
                    high = end + len(decoded(data[high_byte : right[0][0]]))
                parsed = ParsedText(head + self.text[start:end] + tail, self.grammar)
                return _Window(low, high, start - len(head), parsed)
        low, high = window(self.text, start, end, limit)
        parsed = ParsedText(self.text[low:high], self.grammar)
        return _Window(low, high, low, parsed, blind=tree is None)


def _useful(bases: tuple[_Base, ...]) -> tuple[_Base, ...]:
    """Those up to the first that has its tree."""
    ready = _ready(bases)
    return bases if ready is None else bases[: bases.index(ready) + 1]


def _ready(bases: tuple[_Base, ...]) -> _Base | None:
    return next((base for base in bases if base.slot.tree is not None), None)


def _without(data: bytes, ranges: list[tuple[int, int]], start: int, end: int) -> bytes:
    """Bytes ``start`` to ``end`` without ``ranges``, which lie between them in order."""
    kept: list[bytes] = []
    for low, high in ranges:
        kept.append(data[start:low])
        start = high
    return b"".join([*kept, data[start:end]])

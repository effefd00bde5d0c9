"""From a parsed text to its value tree, by grammar; and the tree with a text put in.

The last few results are kept, since several checks look at the same candidate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from tree_sitter import Node

from dgemma_lsp.schemas import from_json, from_toml, from_yaml
from dgemma_lsp.schemas.values import Reader, TooManyValues, Value, ValueTree
from dgemma_lsp.syntax.tree import ParsedText

MAX_CHARS = 200_000
"""Longer documents are not looked at: reading one takes time in proportion to its length."""

_READERS: dict[str, Callable[[Node, Reader, int], Value | None]] = {
    "json": lambda root, reader, _: from_json.read(root, reader),
    "toml": lambda root, reader, _: from_toml.read(root, reader),
    "yaml": from_yaml.read,
}

GRAMMARS = frozenset(_READERS)
"""The grammars whose trees can be read."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A text in its place in a document.

    Attributes:
        tree: What the document says with the text in it.
        start: First byte of the text.
        end: Byte behind its last one.
        data: The document with the text in it, in UTF-8.
        without: The document without it.
    """

    tree: ValueTree
    start: int
    end: int
    data: bytes
    without: ParsedText

    def touches(self, start: int, end: int) -> bool:
        """Whether a range of bytes and the text have a byte in common."""
        return start < self.end and end > self.start

    def holds(self, start: int, end: int) -> bool:
        """Whether a range lies in the text altogether."""
        return self.start <= start and end <= self.end

    def char_range(self, start: int, end: int) -> tuple[int, int]:
        """The part of a range of bytes that is the text's, as characters of the text."""
        low = min(max(self.start, start), self.end)
        high = max(low, min(end, self.end))
        return _chars(self.data[self.start : low]), _chars(self.data[self.start : high])


@lru_cache(maxsize=4)
def placed(without: ParsedText, offset: int, text: str) -> Placed | None:
    """Return a text put at a character offset, or ``None`` when there is nothing to be seen."""
    if len(without.text) + len(text) > MAX_CHARS:
        return None
    start = without.byte_at(offset)
    edited = without.edited(offset, offset, text)
    tree = values_of(edited, start)
    if tree is None:
        return None
    end = start + len(text.encode("utf-8", "surrogatepass"))
    return Placed(tree, start, end, edited.text.encode("utf-8", "surrogatepass"), without)


@lru_cache(maxsize=4)
def values_of(parsed: ParsedText, byte: int = 0) -> ValueTree | None:
    """Return what a document says, or ``None`` when that cannot be seen.

    Args:
        parsed: The document.
        byte: The place that matters, in a file that can hold several documents.
    """
    grammar, tree = parsed.grammar, None
    if grammar is not None and grammar.name in _READERS and len(parsed.text) <= MAX_CHARS:
        tree = parsed.tree
    if grammar is None or tree is None:
        return None
    reader = Reader(parsed.text.encode("utf-8", "surrogatepass"))
    try:
        root = _READERS[grammar.name](tree.root_node, reader, byte)
    except TooManyValues:
        return None
    return None if root is None else ValueTree(root, tuple(reader.repeats))


def _chars(data: bytes) -> int:
    # Bytes that go on with a character do not count; lone surrogates keep their length so.
    return sum((byte & 0xC0) != 0x80 for byte in data)

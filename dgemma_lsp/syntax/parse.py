"""tree-sitter by bytes: parsing in steps that can be ended, edits, and ways through a tree.

Everything counts UTF-8 bytes here. Knows no texts and no lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import tree_sitter

from dgemma_lsp.syntax.grammar import Grammar

_READ_BYTES = 4_096
_ASK_EVERY = 32
"""tree-sitter reports progress about every 15 microseconds; it holds the interpreter meanwhile."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One splice in tree-sitter's terms."""

    start: int
    old_end: int
    new_end: int
    start_point: tuple[int, int]
    old_end_point: tuple[int, int]
    new_end_point: tuple[int, int]


def edited(tree: tree_sitter.Tree, edits: Iterable[Edit]) -> tree_sitter.Tree:
    """A copy of a tree whose nodes lie where edits moved them."""
    tree = tree.copy()
    for edit in edits:
        tree.edit(
            edit.start,
            edit.old_end,
            edit.new_end,
            edit.start_point,
            edit.old_end_point,
            edit.new_end_point,
        )
    return tree


def parse(
    grammar: Grammar, data: bytes, old: tree_sitter.Tree | None, go_on: Callable[[], bool]
) -> tree_sitter.Tree | None:
    """The tree of a text, or ``None`` when ``go_on``, asked now and then, wants no more of it."""
    calls = 0

    def read(byte: int, _: object) -> bytes:
        return data[byte : byte + _READ_BYTES]

    def progress(_: int, _error: bool) -> bool:
        nonlocal calls
        calls += 1
        return calls % _ASK_EVERY == 0 and not go_on()

    parser = tree_sitter.Parser(grammar.language)
    try:
        if old is None:
            return parser.parse(read, progress_callback=progress)
        return parser.parse(read, old, progress_callback=progress)
    except ValueError:  # tree-sitter's word for a parse that was ended
        return None


def path_to(tree: tree_sitter.Tree, byte: int) -> list[tree_sitter.Node]:
    """The nodes around a place from the root on; of two neighbours that meet there the second.

    Asking a node for its parent costs a walk from the root, which deep nesting makes dear.
    """
    path: list[tree_sitter.Node] = []
    cursor = tree.walk()
    while True:
        node = cursor.node
        if node is not None:
            path.append(node)
        if cursor.goto_first_child_for_byte(byte) is None:
            return path
        node = cursor.node
        if node is None or not node.start_byte <= byte <= node.end_byte:
            return path


def moved(byte: int, point: tuple[int, int], text: str) -> tuple[int, tuple[int, int]]:
    """Where a byte and its point come to lie when ``text`` is put before them."""
    data = encoded(text)
    rows = data.count(b"\n")
    tail = len(data) - (data.rfind(b"\n") + 1)
    return byte + len(data), (point[0] + rows, tail if rows else point[1] + tail)


def encoded(text: str) -> bytes:
    """UTF-8 of any string."""
    # Editors can send lone surrogates; they must keep a length rather than raise.
    return text.encode("utf-8", "surrogatepass")


def decoded(data: bytes) -> str:
    """The string of such bytes."""
    return data.decode("utf-8", "surrogatepass")

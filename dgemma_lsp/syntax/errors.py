"""Where a tree has errors: ERROR and MISSING nodes, the innermost ones only.

Outer ERROR nodes wrap inner ones and say nothing of their own. Only subtrees that contain an
error are looked into. This module judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from tree_sitter import Node, Tree

from dgemma_lsp.syntax.tree import ParsedText


@dataclass(frozen=True, slots=True)
class SyntaxFault:
    """One innermost ERROR or MISSING node, as a range of characters.

    ``missing`` names what the grammar expected there, and is empty for an ERROR node.
    """

    start: int
    end: int
    missing: str = ""


def count_errors(parsed: ParsedText) -> int:
    """Number of innermost ERROR and MISSING nodes; 0 without a grammar."""
    tree = parsed.tree
    return 0 if tree is None else len(_innermost(tree))


def find_errors(parsed: ParsedText) -> tuple[SyntaxFault, ...]:
    """The innermost ERROR and MISSING nodes in order of their place in the text."""
    tree = parsed.tree
    if tree is None:
        return ()
    return tuple(
        SyntaxFault(
            parsed.offset_of_byte(node.start_byte),
            parsed.offset_of_byte(node.end_byte),
            node.type if node.is_missing else "",
        )
        for node in _innermost(tree)
    )


def count_hollow(parsed: ParsedText, node_type: str, start: int, end: int) -> int:
    """Number of nodes of a type that hold nothing, on the lines of a range or next to them.

    Some grammars take an empty body where the language takes none, and report no error.
    """
    tree = parsed.tree
    if tree is None:
        return 0
    low = parsed.byte_at(_past_blanks(parsed.text, start, -1))
    high = parsed.byte_at(_past_blanks(parsed.text, end, 1))
    count = 0
    stack: list[Node] = [tree.root_node]
    while stack:
        node = stack.pop()
        if node.type == node_type and node.start_byte == node.end_byte:
            count += 1
        stack.extend(c for c in node.children if c.end_byte >= low and c.start_byte <= high)
    return count


def _past_blanks(text: str, offset: int, step: int) -> int:
    """The first place from ``offset`` on, or before it, that is next to no blank."""
    while 0 < offset < len(text) and text[offset - 1 if step < 0 else offset].isspace():
        offset += step
    return offset


def _innermost(tree: Tree) -> list[Node]:
    found: list[Node] = []
    # An explicit stack: a broken text can nest deeper than Python's recursion limit.
    stack: list[Node] = [tree.root_node] if tree.root_node.has_error else []
    while stack:
        node = stack.pop()
        inner = [child for child in node.children if child.has_error]
        if inner:
            stack.extend(reversed(inner))
        elif node.is_error or node.is_missing:
            found.append(node)
    return found

"""Which parts of a long text can be left out when only the neighbourhood of a place matters.

A grammar may need time in proportion to the whole document to parse again after one keystroke
(Python's does: its nodes are rarely reused). Checks around a hole therefore work on an excerpt:
the document without the far siblings of the hole's ancestors. Whole list items are left out
(statements, members, array elements), so what remains is as well-formed as the document was.

The tree given here may be older than the text as long as its edits were applied: borders of nodes
away from the edits stay exact. This module knows byte offsets only.
"""

from __future__ import annotations

import re

from tree_sitter import Node, Tree

_MAX_DEPTH = 200

_FLUSH = re.compile(r"\n(?=[^\s})\]])")
"""The line break before a line that is not indented and closes nothing."""

_LEAST_CUT = 512
"""Bytes not worth a cut; keeps a short head such as a package clause."""


def cuts(tree: Tree, start: int, end: int, limit: int) -> list[tuple[int, int]]:
    """Byte ranges to leave out so that about ``limit`` bytes around a range remain, in order.

    None of them touches ``start`` to ``end``.
    """
    left: list[tuple[int, int]] = []
    right: list[tuple[int, int]] = []
    node = tree.root_node
    for _ in range(_MAX_DEPTH):
        if node.end_byte - node.start_byte <= limit:
            break
        first = _containing(node, start)
        last = first if end == start else _containing(node, end)
        if first is None or last is None:
            break
        cut = _before(node, start - limit // 2, min(first.start_byte, start), limit)
        if cut is not None:
            left.append(cut)
        cut = _after(node, end + limit // 2, max(last.end_byte, end), limit)
        if cut is not None:
            right.append(cut)
        if first.id != last.id:
            break
        node = first
    return left + right[::-1]


def window(text: str, start: int, end: int, limit: int) -> tuple[int, int]:
    """About ``limit`` characters around a range, for want of a tree.

    From a line that starts in column 0 to before another one, where there are such lines nearby.
    """
    low = max(0, start - limit // 2)
    high = min(len(text), end + limit // 2)
    if low > 0:
        found = _FLUSH.search(text, low, start)
        low = found.start() + 1 if found is not None else low
    if high < len(text):
        every = list(_FLUSH.finditer(text, end, high))
        high = every[-1].start() + 1 if every else high
    return low, high


# Every search walks with a cursor of its own: ``TreeCursor.copy`` of tree-sitter 0.25 and 0.26
# crashes the process when the copy outlives a node of the original.


def _containing(parent: Node, byte: int) -> Node | None:
    """The child at ``byte``, or the one before it: what trails a block still belongs to it."""
    cursor = parent.walk()
    if cursor.goto_first_child_for_byte(byte) is None:
        return cursor.node if cursor.goto_last_child() else None
    node = cursor.node
    if node is not None and node.start_byte > byte and cursor.goto_previous_sibling():
        return cursor.node
    return node


def _before(parent: Node, low: int, inner_start: int, limit: int) -> tuple[int, int] | None:
    """What to cut between the first list item and the first item kept."""
    cursor = parent.walk()
    if low <= 0 or cursor.goto_first_child_for_byte(low) is None:
        return None
    kept = cursor.node
    while kept is not None and (
        not kept.is_named or (kept.start_byte < inner_start and kept.end_byte - low > limit)
    ):
        if kept.start_byte >= inner_start or not cursor.goto_next_sibling():
            return None
        kept = cursor.node
    if kept is None or kept.start_byte > inner_start:
        return None
    first = _first_item(parent, cursor.field_name)
    if first is None or kept.start_byte - first.start_byte < _LEAST_CUT:
        return None
    return first.start_byte, kept.start_byte


def _after(parent: Node, high: int, inner_end: int, limit: int) -> tuple[int, int] | None:
    """What to cut between the last item kept and the last list item."""
    cursor = parent.walk()
    if cursor.goto_first_child_for_byte(high) is None:
        return None
    kept = cursor.node
    while kept is not None and not kept.is_named:
        if not cursor.goto_next_sibling():
            return None
        kept = cursor.node
    if kept is None:
        return None
    begin = kept.end_byte
    if kept.start_byte >= inner_end and kept.end_byte - high > limit:
        begin = kept.start_byte
    last = _last_item(parent, cursor.field_name)
    if last is None or begin < inner_end or last.end_byte - begin < _LEAST_CUT:
        return None
    return begin, last.end_byte


def _first_item(parent: Node, field: str | None) -> Node | None:
    cursor = parent.walk()
    more = cursor.goto_first_child()
    while more:
        node = cursor.node
        if node is not None and node.is_named and cursor.field_name == field:
            return node
        more = cursor.goto_next_sibling()
    return None


def _last_item(parent: Node, field: str | None) -> Node | None:
    cursor = parent.walk()
    more = cursor.goto_last_child()
    while more:
        node = cursor.node
        if node is not None and node.is_named and cursor.field_name == field:
            return node
        more = cursor.goto_previous_sibling()
    return None

"""Where a tree has errors: ERROR and MISSING nodes, the innermost ones only, and which are new.

Outer ERROR nodes wrap inner ones and say nothing of their own. Only subtrees that contain an
error are looked into, save for the nodes that some grammars have for a fault of their own. What
errors are worth is not known here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tree_sitter import Node, Query, QueryCursor, Tree

from dgemma_lsp.syntax.grammar import Grammar
from dgemma_lsp.syntax.parse import path_to
from dgemma_lsp.syntax.tree import ParsedText


@dataclass(frozen=True, slots=True)
class SyntaxFault:
    """One innermost ERROR or MISSING node, as a range of characters.

    ``missing`` names what the grammar expected there, and is empty for an ERROR node. ``hollow``
    marks a body that holds nothing where the language wants something.
    """

    start: int
    end: int
    missing: str = ""
    hollow: bool = False


def count_errors(parsed: ParsedText) -> int:
    """Number of innermost ERROR and MISSING nodes; 0 without a grammar."""
    tree = parsed.tree
    return 0 if tree is None else len(_innermost(tree))


def find_errors(
    parsed: ParsedText, fault_nodes: frozenset[str] = frozenset()
) -> tuple[SyntaxFault, ...]:
    """The innermost ERROR and MISSING nodes in order of their place in the text.

    Nodes of the types ``fault_nodes`` count as well.
    """
    tree = parsed.tree
    if tree is None:
        return ()
    nodes = _innermost(tree)
    if fault_nodes and parsed.grammar is not None:
        nodes += _named(tree, parsed.grammar, fault_nodes)
        nodes.sort(key=lambda node: (node.start_byte, node.end_byte))
    return tuple(
        SyntaxFault(
            parsed.offset_of_byte(node.start_byte),
            parsed.offset_of_byte(node.end_byte),
            node.type if node.is_missing else "",
        )
        for node in nodes
    )


def lost_between(parsed: ParsedText, low: int, start: int, end: int) -> bool:
    """Whether one ERROR node starts before ``low`` and holds what is between ``start`` and ``end``.

    Nothing in it is where the grammar wants it, so one error more or less there tells little.
    """
    tree = parsed.tree
    if tree is None or not tree.root_node.has_error:
        return False
    first, last, top = (parsed.byte_at(place) for place in (low, start, end))
    return any(
        node.is_error and node.start_byte < first and node.end_byte >= top
        for node in path_to(tree, last)
    )


def find_hollow(
    parsed: ParsedText, node_type: str, start: int, end: int
) -> tuple[SyntaxFault, ...]:
    """The nodes of a type that hold nothing, on the lines of a range or next to them.

    Some grammars take an empty body where the language takes none, and report no error.
    """
    tree = parsed.tree
    if tree is None:
        return ()
    low = parsed.byte_at(past_blanks(parsed.text, start, -1))
    high = parsed.byte_at(past_blanks(parsed.text, end, 1))
    found: list[SyntaxFault] = []
    stack: list[Node] = [tree.root_node]
    while stack:
        node = stack.pop()
        if node.type == node_type and node.start_byte == node.end_byte:
            at = parsed.offset_of_byte(node.start_byte)
            found.append(SyntaxFault(at, at, hollow=True))
        stack.extend(c for c in node.children if c.end_byte >= low and c.start_byte <= high)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Splice:
    """A text of ``length`` characters took the place of ``start`` to ``end``.

    Faults that reach into ``low`` to ``high``, the lines around, are about what is missing there.
    """

    start: int
    end: int
    length: int
    low: int
    high: int


def added_faults(
    before: Sequence[SyntaxFault], after: Sequence[SyntaxFault], splice: Splice
) -> tuple[SyntaxFault, ...]:
    """The faults of a text after a splice that it did not have before, in its own offsets.

    A fault is an old one when it lies where an old one came to lie. Next to the splice recovery
    may settle elsewhere, so while there are no more faults than before, one that overlaps an old
    one, or lies away from the splice altogether, is taken for an old one too. At least
    ``len(after) - len(before)`` are returned.
    """
    old = [_moved(fault, splice) for fault in before]
    rest: list[SyntaxFault] = []
    for fault in after:
        if fault in old:
            old.remove(fault)
        else:
            rest.append(fault)
    low, high = splice.start, splice.start + splice.length
    if len(after) > len(before):
        # More than before: only those are old that kept one of their ends.
        return tuple(f for f in rest if not _taken(f, old, _shares_an_end))
    top = splice.high + splice.length - (splice.end - splice.start)
    old = [
        replace(f, start=min(f.start, low), end=max(f.end, high))
        if f.start <= top and f.end >= splice.low
        else f
        for f in old
    ]
    rest = [f for f in rest if not _taken(f, old, _overlap)]
    return tuple(f for f in rest if f.start <= high and f.end >= low)


def _moved(fault: SyntaxFault, splice: Splice) -> SyntaxFault:
    """Where a fault lies after a splice; one that touches the splice covers the new text."""
    grown = splice.length - (splice.end - splice.start)
    new_end = splice.start + splice.length
    start, end = fault.start, fault.end
    if start > splice.end:
        start += grown
    elif start > splice.start:
        start = splice.start
    if end >= splice.end:
        end += grown
    elif end > splice.start:
        end = new_end
    return replace(fault, start=start, end=max(start, end))


def _taken(
    fault: SyntaxFault, old: list[SyntaxFault], same: Callable[[SyntaxFault, SyntaxFault], bool]
) -> bool:
    """Whether an old fault is the same one, which then stands for no other."""
    for at, other in enumerate(old):
        if same(fault, other):
            del old[at]
            return True
    return False


def _shares_an_end(one: SyntaxFault, other: SyntaxFault) -> bool:
    alike = (one.missing, one.hollow) == (other.missing, other.hollow)
    return alike and (one.start == other.start or one.end == other.end)


def _overlap(one: SyntaxFault, other: SyntaxFault) -> bool:
    return one.start <= other.end and other.start <= one.end


def past_blanks(text: str, offset: int, step: int) -> int:
    """The first place from ``offset`` on, or before it, that is next to no blank."""
    while 0 < offset < len(text) and text[offset - 1 if step < 0 else offset].isspace():
        offset += step
    return offset


def _named(tree: Tree, grammar: Grammar, types: frozenset[str]) -> list[Node]:
    """The nodes of some types, without those that hold an error, which is counted by itself."""
    found = QueryCursor(_query(grammar, types)).captures(tree.root_node).get("fault", [])
    return [node for node in found if not node.has_error]


@functools.cache
def _query(grammar: Grammar, types: frozenset[str]) -> Query:
    return Query(grammar.language, " ".join(f"({kind}) @fault" for kind in sorted(types)))


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

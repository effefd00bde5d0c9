"""Checks on a candidate that need the tree of the text with the candidate in its place.

They look at few nodes: those around the candidate. Offsets of what they take count in an excerpt,
those of the faults they return in the candidate's text.
"""

from __future__ import annotations

from dataclasses import dataclass

from tree_sitter import Node, Tree

from dgemma_lsp.infill.types import Fault, FaultPlace, RejectReason
from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.parse import path_to
from dgemma_lsp.syntax.scope import indent_width
from dgemma_lsp.syntax.tree import ParsedText


@dataclass(frozen=True, slots=True)
class Placed:
    """A text in its place, and the place without it.

    Attributes:
        before: The excerpt with what stood there before.
        after: The excerpt with the text.
        start: Where the text starts in both.
        old_end: Where what it replaces ends in ``before``.
        end: Where it ends in ``after``.
        language: Their language.
    """

    before: ParsedText
    after: ParsedText
    start: int
    old_end: int
    end: int
    language: Language

    @property
    def length(self) -> int:
        """Characters of the text."""
        return self.end - self.start


def opens_string(placed: Placed) -> tuple[Fault, ...]:
    """A string or comment that starts in the text takes in what was code behind it.

    One that ends on the line is left to the parser: what it takes in may have been meant for it.
    """
    tree, old = placed.after.tree, placed.before.tree
    if tree is None or old is None:
        return ()
    place = _code_behind(placed)
    if place is None:
        return ()
    node = _opaque_at(tree, placed.after.byte_at(place), placed.language)
    if node is None:
        return ()
    first = placed.after.offset_of_byte(node.start_byte)
    if not placed.start <= first < placed.end:
        return ()
    back = place - placed.length + (placed.old_end - placed.start)
    if _opaque_at(old, placed.before.byte_at(back), placed.language) is not None:
        return ()
    return (Fault(RejectReason.OPEN_STRING, first - placed.start, placed.length),)


def leaves_string(placed: Placed) -> tuple[Fault, ...]:
    """The place lies in a string or comment, and the text makes code of what follows in it."""
    tree, old = placed.after.tree, placed.before.tree
    if tree is None or old is None:
        return ()
    outer = _opaque_at(old, placed.before.byte_at(placed.old_end), placed.language)
    if outer is None or placed.before.offset_of_byte(outer.start_byte) >= placed.start:
        return ()
    byte = placed.after.byte_at(placed.end)
    if _opaque_at(tree, byte, placed.language) is not None:
        return ()
    rest = placed.after.text[placed.end :].split("\n", 1)[0]
    if not rest.strip() or len(_quote_end(old, outer)) >= len(rest.strip()):
        return ()
    return (Fault(RejectReason.OPEN_STRING, 0, placed.length),)


def wrong_indent(placed: Placed) -> tuple[Fault, ...]:
    """A statement of the text does not stand below the one before it in the same block.

    Only statements that begin their lines are compared, so that nothing is said of what stands in
    brackets or strings.
    """
    tree = placed.after.tree
    if tree is None or placed.language.block is not BlockRule.INDENT:
        return ()
    low, high = placed.after.byte_at(placed.start), placed.after.byte_at(placed.end)
    faults: list[Fault] = []
    stack: list[Node] = [tree.root_node]
    while stack:
        node = stack.pop()
        if node.child_count == 0:
            continue
        children = [c for c in node.children if c.end_byte >= low and c.start_byte <= high]
        if node.type in placed.language.block_nodes:
            faults.extend(_uneven(node, placed, low, high))
        stack.extend(children)
    return tuple(sorted(faults, key=lambda fault: fault.start)[:1])


# -- parts --------------------------------------------------------------------------------------


def _uneven(block: Node, placed: Placed, low: int, high: int) -> list[Fault]:
    """Statements of a block that start in the text, in another column than the one before."""
    faults: list[Fault] = []
    column = -1
    inside = False
    for child in block.named_children:
        if child.start_byte > high and not inside:
            break
        if child.is_error or child.type == "comment":
            continue
        at = placed.after.offset_of_byte(child.start_byte)
        line_start = placed.after.text.rfind("\n", 0, at) + 1
        blanks = placed.after.text[line_start:at]
        if blanks.strip():
            inside = low <= child.start_byte < high
            continue  # `a = 1; b = 2`, or the body of `if a: b`
        here = indent_width(blanks)
        starts_inside = low <= child.start_byte < high
        if column >= 0 and here != column and (starts_inside or inside):
            at = min(max(at, placed.start), placed.end) - placed.start
            place = FaultPlace.INSIDE if starts_inside else FaultPlace.AFTER
            faults.append(Fault(RejectReason.WRONG_INDENT, at, at, place))
        column = here
        inside = starts_inside
        if child.start_byte > high:
            break
    return faults


def _code_behind(placed: Placed) -> int | None:
    """The first character behind the text that nobody could mean to be in a string.

    That is on a later line, or behind a comment that starts in the text.
    """
    text = placed.after.text
    end = text.find("\n", placed.end)
    end = len(text) if end < 0 else end
    tail = text[placed.end : end]
    mark = placed.language.line_comment
    if tail.strip() and mark is not None and mark in text[placed.start : placed.end]:
        return placed.end + len(tail) - len(tail.lstrip())
    rest = text[end:]
    return end + len(rest) - len(rest.lstrip()) if rest.strip() else None


def _opaque_at(tree: Tree, byte: int, language: Language) -> Node | None:
    """The outermost string or comment that holds the character at a place, not as its first."""
    for node in path_to(tree, byte):
        if node.type in language.opaque_nodes and node.start_byte < byte < node.end_byte:
            return node
    return None


def _quote_end(tree: Tree, node: Node) -> str:
    """The last token of a string; a comment has none."""
    last = node.child(node.child_count - 1) if node.child_count else None
    text = None if last is None or (last.is_named and last.type != "string_end") else last.text
    return "" if text is None else text.decode("utf-8", "replace")

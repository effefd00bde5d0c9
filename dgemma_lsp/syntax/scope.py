"""Where a block is expected: an empty body, or a place where a statement of a block starts.

The tree answers what kind of place it is (string, list, block); indentation and the language's
opener answer what a tree cannot say while the body is still missing. Nothing here decides what to
do about it.
"""

from __future__ import annotations

import functools
import re

from tree_sitter import Node

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.brackets import balance
from dgemma_lsp.syntax.parse import path_to
from dgemma_lsp.syntax.tree import ParsedText

_NEAR_LINES = 200
"""How far the search for a neighbouring line goes."""

_BACK_LINES = 30
"""How far back brackets are matched where there is no tree."""


def block_expected(parsed: ParsedText, offset: int, language: Language) -> bool:
    """Whether several lines belong at ``offset``, after which its line must be blank."""
    line, _ = parsed.position_at(offset)
    start, end = parsed.line_span(line)
    before = parsed.text[start:offset]
    if parsed.text[offset:end].strip():
        return False
    place = _place(parsed, offset, language)
    if place in ("opaque", "bracket"):
        return False
    if before.strip():
        return opens_block(before, language) and not _has_body(parsed, line, language)
    return _starts_statement(parsed, line, before, place, language)


def opens_block(line: str, language: Language) -> bool:
    """Whether a block opens at the end of ``line``."""
    return _opener(language).search(line) is not None


def indent_width(line: str) -> int:
    """Columns of the blanks at the head of ``line``; a tab counts to the next multiple of 8."""
    return len(leading_blanks(line).expandtabs(8))


def leading_blanks(line: str) -> str:
    """The blanks at the head of ``line``."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def previous_line(parsed: ParsedText, line: int) -> str | None:
    """The nearest line above ``line`` that is not blank."""
    for at in range(line - 1, max(-1, line - 1 - _NEAR_LINES), -1):
        text = parsed.line_text(at)
        if text.strip():
            return text
    return None


def next_line(parsed: ParsedText, line: int) -> str | None:
    """The nearest line below ``line`` that is not blank."""
    for at in range(line + 1, min(parsed.lines.count, line + 1 + _NEAR_LINES)):
        text = parsed.line_text(at)
        if text.strip():
            return text
    return None


def _has_body(parsed: ParsedText, line: int, language: Language) -> bool:
    """Whether the block that ``line`` opens has content already."""
    below = next_line(parsed, line)
    if below is None:
        return False
    if language.block is BlockRule.INDENT or language.block_closer not in below:
        return indent_width(below) > indent_width(parsed.line_text(line))
    return not below.strip().startswith(language.block_closer)


def _starts_statement(
    parsed: ParsedText, line: int, before: str, place: str, language: Language
) -> bool:
    """Whether a statement of a block starts on the blank line ``line``."""
    above = previous_line(parsed, line)
    if above is None:
        return False
    if opens_block(above, language):
        below = next_line(parsed, line)
        # Behind a block that is there already, column 0 is outside of it.
        return bool(before) or below is None or indent_width(below) <= indent_width(above)
    if before and indent_width(above) >= indent_width(before):
        return True
    return place == "block"


def _place(parsed: ParsedText, offset: int, language: Language) -> str:
    """``opaque``, ``bracket``, ``block`` (inside one, below the top level) or ``unknown``."""
    if parsed.grammar is None:
        line, _ = parsed.position_at(offset)
        head = parsed.text[parsed.lines.start(max(0, line - _BACK_LINES)) : offset]
        found = balance(head, language)
        if found.open_string >= 0:
            return "opaque"
        if found.unclosed and found.unclosed[-1].char != "{":
            return "bracket"
        return "unknown"
    excerpt = parsed.excerpt(offset)
    tree = excerpt.parsed.tree
    if tree is None:
        return "unknown"
    byte = excerpt.parsed.byte_at(excerpt.offset)
    for node in reversed(path_to(tree, byte)):
        if node.type in language.opaque_nodes and _inside(node, byte):
            return "opaque"
        if node.type in language.bracket_nodes and _inside(node, byte):
            return "bracket"
        if node.type in language.block_nodes and node.id != tree.root_node.id:
            # An indented block covers only its statements, so its border says nothing.
            inside = _inside(node, byte) and language.block is not BlockRule.INDENT
            return "block" if inside else "unknown"
    return "unknown"


def _inside(node: Node, byte: int) -> bool:
    return node.start_byte < byte < node.end_byte


@functools.cache
def _opener(language: Language) -> re.Pattern[str]:
    return re.compile(language.opener)

"""Comparing pieces of JavaScript and TypeScript by their tokens.

Line breaks, semicolons at a statement's end, trailing commas, quotes and the parentheses around
an arrow function's one parameter make no difference; comments do. Knows no kinds.
"""

from __future__ import annotations

import re

from tree_sitter import Node

from dgemma_lsp.languages import by_id
from dgemma_lsp.syntax.errors import count_errors
from dgemma_lsp.syntax.tree import ParsedText

_WHOLE = frozenset({"string", "template_string", "regex", "comment"})
_CLOSING = frozenset(")]}")
_BEFORE_ARROW = frozenset({"async", "return", "default", "await", "yield", "of", "case"})


def leaves(node: Node) -> list[Node]:
    """The leaves below a node in order; literals and comments count as leaves."""
    found: list[Node] = []
    stack = [node]
    while stack:
        at = stack.pop()
        if at.child_count == 0 or at.type in _WHOLE:
            found.append(at)
        else:
            stack.extend(reversed(at.children))
    return found


def tokens(text: str, language: str) -> list[str]:
    """A fragment's tokens in a normal form; what does not parse gives tokens all the same."""
    tree = ParsedText(text, by_id(language).usable_grammar()).tree
    if tree is None:
        return text.split()
    found: list[str] = []
    for leaf in leaves(tree.root_node):
        spelt = (leaf.text or b"").decode("utf-8", "replace")
        if not spelt:
            continue
        if leaf.type == "string":
            spelt = _requoted(spelt)
        elif leaf.type == "comment":
            spelt = " ".join(spelt.split())
        if spelt in _CLOSING and found and found[-1] in (",", ";"):
            found.pop()
        if spelt == ";" and (not found or found[-1] in ("}", ";")):
            continue
        found.append(spelt)
    while found and found[-1] == ";":
        found.pop()
    return _bare_parameters(found)


def _requoted(token: str) -> str:
    inner = token[1:-1]
    return token if re.search(r"[\"'\\]", inner) else f'"{inner}"'


def _bare_parameters(found: list[str]) -> list[str]:
    """Put ``x =>`` for ``(x) =>``."""
    out: list[str] = []
    for spelt in found:
        bare = len(out) >= 3 and out[-1] == ")" and out[-3] == "(" and out[-2].isidentifier()
        head = out[-4] if len(out) > 3 else ""
        # ``f(x) =>`` is part of something else, or an error.
        if spelt == "=>" and bare and (head in _BEFORE_ARROW or not head.isidentifier()):
            out[-3:] = [out[-2]]
        out.append(spelt)
    return out


def same_script(
    answer: str, expected: str, language: str, *, before: str = "", after: str = ""
) -> bool:
    """Whether two runs of whole lines are the same code and as sound in their place."""
    if tokens(answer, language) != tokens(expected, language):
        return False
    if not (before or after):
        return True
    grammar = by_id(language).usable_grammar()
    given = count_errors(ParsedText(before + answer + after, grammar))
    return given <= count_errors(ParsedText(before + expected + after, grammar))

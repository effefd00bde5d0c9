"""Where a text has arguments, conditions, statements and prose, read off its syntax tree once.

The places are found with one tree-sitter query per language. Knows no kinds and no chances.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections.abc import Iterable

import tree_sitter

from dgemma_lsp.languages import Language
from dgemma_lsp.syntax.grammar import Grammar
from dgemma_training.spans.places import (
    Intervals,
    Lines,
    Prose,
    Statement,
    Statements,
    Tables,
    short,
)

_ARGUMENTS = ("argument_list", "arguments", "parameters", "formal_parameters", "parameter_list")
_ARGUMENTS += ("token_tree",)
_COMMENTS = ("comment", "line_comment", "block_comment")
_IMPORTS = ("import_statement", "import_from_statement", "future_import_statement")
_IMPORTS += ("import_declaration", "use_declaration", "extern_crate_declaration", "package_clause")
_RETURNS = ("return_statement", "return_expression", "yield", "assert_statement")
_RIGHT_SIDES: tuple[tuple[str, str], ...] = (
    ("assignment", "right"),
    ("augmented_assignment", "right"),
    ("assignment_expression", "right"),
    ("augmented_assignment_expression", "right"),
    ("compound_assignment_expr", "right"),
    ("assignment_statement", "right"),
    ("short_var_declaration", "right"),
    ("variable_declarator", "value"),
    ("public_field_definition", "value"),
    ("let_declaration", "value"),
    ("const_item", "value"),
    ("var_spec", "value"),
    ("const_spec", "value"),
    ("pair", "value"),
    ("for_statement", "right"),
    ("for_in_statement", "right"),
    ("range_clause", "right"),
    ("for_expression", "value"),
    ("match_expression", "value"),
    ("expression_switch_statement", "value"),
    ("switch_statement", "value"),
)
_AFTER_STATEMENT = re.compile(r"[ \t;,]*(?:(?:#|//|--).*)?$", re.MULTILINE)


class _Offsets:
    """Characters from bytes, in time that follows the number of characters beyond ASCII."""

    __slots__ = ("_ends", "_surplus")

    def __init__(self, text: str) -> None:
        self._ends: list[int] = []
        self._surplus: list[int] = [0]
        for found in re.finditer(r"[^\x00-\x7f]", text):
            extra = len(found.group().encode("utf-8", "surrogatepass")) - 1
            total = self._surplus[-1] + extra
            self._ends.append(found.end() + total)
            self._surplus.append(total)

    def of(self, byte: int) -> int:
        if not self._ends:
            return byte
        return byte - self._surplus[bisect_right(self._ends, byte)]


def read_tree(text: str, language: Language, grammar: Grammar, lines: Lines) -> Tables:
    """Parse a text and note its places."""
    tree = tree_sitter.Parser(grammar.language).parse(text.encode("utf-8", "surrogatepass"))
    offsets = _Offsets(text)

    def span(first: tree_sitter.Node, last: tree_sitter.Node | None = None) -> tuple[int, int]:
        start = offsets.of(first.start_byte)
        end = offsets.of((last or first).end_byte)
        # Some grammars count the line break to the node, as Rust's does for doc comments.
        return start, start + len(text[start:end].rstrip())

    found = tree_sitter.QueryCursor(_query(grammar, language)).captures(tree.root_node)
    lists: list[tuple[int, int]] = []
    items: list[tuple[int, int]] = []
    for node in found.get("arguments", ()):
        inner = [child for child in node.named_children if not child.is_extra]
        if inner and text.startswith("(", offsets.of(node.start_byte)):
            lists.append(span(inner[0], inner[-1]))
            # A macro's tokens are not its arguments.
            if len(inner) > 1 and node.type != "token_tree":
                items.extend(map(span, inner))
    conditions: list[tuple[int, int]] = []
    for node in found.get("value", ()):
        inner = node.named_children if node.type == "parenthesized_expression" else [node]
        if inner:
            conditions.append(span(inner[0], inner[-1]))
    for node in found.get("return", ()):
        inner = [child for child in node.named_children if not child.is_extra]
        if inner:
            conditions.append(span(inner[0], inner[-1]))
    found[Prose.TEXT] = [
        node for node in found.get(Prose.TEXT, ()) if node.start_point.row < node.end_point.row
    ]
    runs: list[tuple[Statement, ...]] = []
    for node in found.get("body", ()):
        runs.extend(_runs(text, lines, map(span, node.named_children)))
    return Tables(
        Intervals(short(lists)),
        Intervals(short(items)),
        Intervals(short(conditions)),
        Statements(runs),
        {kind: Intervals(map(span, _outermost(found.get(kind, ())))) for kind in Prose},
        not tree.root_node.has_error,
    )


def _outermost(nodes: Iterable[tree_sitter.Node]) -> Iterable[tree_sitter.Node]:
    """Nodes that lie in no other one of them; a template can hold templates."""
    end = -1
    for node in sorted(nodes, key=lambda node: (node.start_byte, -node.end_byte)):
        if node.start_byte >= end:
            end = node.end_byte
            yield node


def _runs(
    text: str, lines: Lines, places: Iterable[tuple[int, int]]
) -> Iterable[tuple[Statement, ...]]:
    run: list[Statement] = []
    for start, end in places:
        first, last = lines.at(start), lines.at(end)
        if first is None or last is None:
            continue
        begins = lines.begins[first] == start
        if begins and _AFTER_STATEMENT.match(text, end):
            run.append(
                Statement(start, lines.ends[last], lines.numbers[first], lines.numbers[last])
            )
        elif begins or not run or run[-1].last != lines.numbers[first]:
            # It shares a line with something else. A comment behind a statement does no harm.
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


@functools.cache
def _query(grammar: Grammar, language: Language) -> tree_sitter.Query:
    known = grammar.language

    def has(kind: str) -> bool:
        return known.id_for_node_kind(kind, True) is not None

    def all_of(kinds: Iterable[str], name: str) -> list[str]:
        return [f"({kind}) @{name}" for kind in sorted(kinds) if has(kind)]

    patterns = [
        *all_of(_ARGUMENTS, "arguments"),
        *all_of(_RETURNS, "return"),
        *all_of(_COMMENTS, Prose.COMMENT),
        *all_of(_IMPORTS, Prose.IMPORT),
        *all_of(language.opaque_nodes.difference(_COMMENTS, {"jsx_text"}), Prose.TEXT),
        *all_of(language.block_nodes, "body"),
        *(
            f"({kind} {field}: (_) @value)"
            for kind, field in _RIGHT_SIDES
            if has(kind) and _takes(known, kind, field)
        ),
    ]
    if known.field_id_for_name("condition") is not None:
        patterns.append("(_ condition: (_) @value)")
    if language.name == "python":
        patterns.append(f"(expression_statement . (string) .) @{Prose.DOCSTRING}")
    return tree_sitter.Query(known, "\n".join(patterns))


def _takes(known: tree_sitter.Language, kind: str, field: str) -> bool:
    """Whether a grammar's nodes of a kind can have a field."""
    try:
        tree_sitter.Query(known, f"({kind} {field}: (_) @value)")
    except tree_sitter.QueryError:
        return False
    return True

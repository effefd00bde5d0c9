"""JavaScript, with and without JSX."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

BLOCK_NODES = frozenset({"program", "statement_block", "class_body", "switch_body"})
OPAQUE_NODES = frozenset({"string", "comment", "template_string", "regex", "jsx_text"})
BRACKET_NODES = frozenset(
    {
        "arguments",
        "formal_parameters",
        "array",
        "object",
        "array_pattern",
        "object_pattern",
        "parenthesized_expression",
        "subscript_expression",
        "named_imports",
        "export_clause",
    }
)
OPENER = r"\{\s*(?://.*)?$"

JAVASCRIPT = Language(
    name="javascript",
    ids=("javascript", "javascriptreact", "javascript.jsx"),
    extensions=(".js", ".jsx", ".mjs", ".cjs"),
    grammar=GrammarSource("javascript", "tree_sitter_javascript"),
    block=BlockRule.BRACES,
    opener=OPENER,
    block_closer="}",
    line_comment="//",
    block_comment=("/*", "*/"),
    long_quotes=("`",),
    fillers=("'x'",),
    block_nodes=BLOCK_NODES,
    opaque_nodes=OPAQUE_NODES,
    bracket_nodes=BRACKET_NODES,
)

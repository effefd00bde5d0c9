"""Rust."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

RUST = Language(
    name="rust",
    ids=("rust",),
    extensions=(".rs",),
    grammar=GrammarSource("rust", "tree_sitter_rust"),
    block=BlockRule.BRACES,
    opener=r"\{\s*(?://.*)?$",
    block_closer="}",
    line_comment="//",
    block_comment=("/*", "*/"),
    quotes=('"',),
    char_quote="'",
    block_nodes=frozenset(
        {
            "source_file",
            "block",
            "declaration_list",
            "match_block",
            "enum_variant_list",
            "field_declaration_list",
        }
    ),
    opaque_nodes=frozenset(
        {"string_literal", "raw_string_literal", "char_literal", "line_comment", "block_comment"}
    ),
    bracket_nodes=frozenset(
        {
            "arguments",
            "parameters",
            "array_expression",
            "tuple_expression",
            "parenthesized_expression",
            "field_initializer_list",
            "index_expression",
            "token_tree",
            "use_list",
        }
    ),
)

"""Go."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

GO = Language(
    name="go",
    ids=("go",),
    extensions=(".go",),
    aliases=("golang",),
    grammar=GrammarSource("go", "tree_sitter_go"),
    block=BlockRule.BRACES,
    opener=r"\{\s*(?://.*)?$",
    block_closer="}",
    line_comment="//",
    block_comment=("/*", "*/"),
    long_quotes=("`",),
    block_nodes=frozenset(
        {
            "source_file",
            "block",
            "statement_list",
            "field_declaration_list",
            "interface_type",
            "expression_switch_statement",
            "select_statement",
        }
    ),
    opaque_nodes=frozenset(
        {"interpreted_string_literal", "raw_string_literal", "rune_literal", "comment"}
    ),
    bracket_nodes=frozenset(
        {
            "argument_list",
            "parameter_list",
            "literal_value",
            "index_expression",
            "parenthesized_expression",
            "import_spec_list",
        }
    ),
)

"""C."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

OPENER = r"\{\s*(?://.*)?$"
BLOCK_NODES = frozenset(
    {
        "translation_unit",
        "compound_statement",
        "declaration_list",
        "field_declaration_list",
        "enumerator_list",
    }
)
OPAQUE_NODES = frozenset({"string_literal", "system_lib_string", "char_literal", "comment"})
BRACKET_NODES = frozenset(
    {
        "argument_list",
        "parameter_list",
        "initializer_list",
        "parenthesized_expression",
        "subscript_expression",
        "preproc_params",
    }
)

C = Language(
    name="c",
    ids=("c",),
    extensions=(".c", ".h"),
    grammar=GrammarSource("c", "tree_sitter_c"),
    block=BlockRule.BRACES,
    opener=OPENER,
    block_closer="}",
    line_comment="//",
    block_comment=("/*", "*/"),
    quotes=('"',),
    char_quote="'",
    fillers=("x;",),
    block_nodes=BLOCK_NODES,
    opaque_nodes=OPAQUE_NODES,
    bracket_nodes=BRACKET_NODES,
)

"""Java."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

JAVA = Language(
    name="java",
    ids=("java",),
    extensions=(".java",),
    grammar=GrammarSource("java", "tree_sitter_java"),
    block=BlockRule.BRACES,
    opener=r"\{\s*(?://.*)?$",
    block_closer="}",
    line_comment="//",
    block_comment=("/*", "*/"),
    quotes=('"',),
    long_quotes=('"""',),
    char_quote="'",
    fillers=("x;",),
    block_nodes=frozenset(
        {
            "program",
            "block",
            "constructor_body",
            "class_body",
            "interface_body",
            "annotation_type_body",
            "enum_body",
            "enum_body_declarations",
            "module_body",
            "switch_block",
        }
    ),
    opaque_nodes=frozenset(
        {"string_literal", "character_literal", "line_comment", "block_comment"}
    ),
    bracket_nodes=frozenset(
        {
            "argument_list",
            "annotation_argument_list",
            "formal_parameters",
            "inferred_parameters",
            "array_initializer",
            "array_access",
            "parenthesized_expression",
            "resource_specification",
            "type_arguments",
            "type_parameters",
        }
    ),
)

"""C#."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

CSHARP = Language(
    name="c#",
    ids=("csharp", "cs"),
    extensions=(".cs", ".csx"),
    aliases=("c-sharp",),
    grammar=GrammarSource("c-sharp", "tree_sitter_c_sharp"),
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
            "compilation_unit",
            "block",
            "declaration_list",
            "accessor_list",
            "enum_member_declaration_list",
            "switch_body",
        }
    ),
    opaque_nodes=frozenset(
        {
            "string_literal",
            "verbatim_string_literal",
            "raw_string_literal",
            "character_literal",
            "comment",
        }
    ),
    bracket_nodes=frozenset(
        {
            "argument_list",
            "attribute_argument_list",
            "attribute_list",
            "bracketed_argument_list",
            "parameter_list",
            "bracketed_parameter_list",
            "initializer_expression",
            "collection_expression",
            "parenthesized_expression",
            "tuple_expression",
            "type_argument_list",
            "type_parameter_list",
        }
    ),
)

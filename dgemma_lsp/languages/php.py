"""PHP, with the HTML around it."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

PHP = Language(
    name="php",
    ids=("php",),
    extensions=(".php", ".phtml"),
    grammar=GrammarSource("php", "tree_sitter_php", "language_php"),
    block=BlockRule.BRACES,
    opener=r"\{\s*(?://.*|#.*)?$",
    block_closer="}",
    line_comment="//",
    block_comment=("/*", "*/"),
    fillers=("$x;", "$x"),
    block_nodes=frozenset(
        {
            "program",
            "compound_statement",
            "colon_block",
            "declaration_list",
            "enum_declaration_list",
            "switch_block",
            "match_block",
        }
    ),
    opaque_nodes=frozenset(
        {"string", "encapsed_string", "heredoc", "nowdoc", "shell_command_expression", "comment"}
        | {"text"}
    ),
    bracket_nodes=frozenset(
        {
            "arguments",
            "formal_parameters",
            "array_creation_expression",
            "list_literal",
            "subscript_expression",
            "parenthesized_expression",
            "anonymous_function_use_clause",
        }
    ),
)

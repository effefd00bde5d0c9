"""Python."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

PYTHON = Language(
    name="python",
    ids=("python",),
    extensions=(".py", ".pyi", ".pyw"),
    aliases=("python3",),
    grammar=GrammarSource("python", "tree_sitter_python"),
    block=BlockRule.INDENT,
    # The last alternative is the end of a signature or condition that spans lines.
    opener=r"^\s*(?:(?:async\s+)?(?:def|for|with)|class|if|elif|else|while|try|except|finally|match"
    r"|case)\b.*:\s*(?:#.*)?$|[\])}](?:\s*->[^:]*)?:\s*(?:#.*)?$",
    line_comment="#",
    long_quotes=('"""', "'''"),
    block_nodes=frozenset({"module", "block"}),
    hollow_node="block",
    bracket_nodes=frozenset(
        {
            "argument_list",
            "parameters",
            "list",
            "tuple",
            "set",
            "dictionary",
            "subscript",
            "parenthesized_expression",
            "list_comprehension",
            "dictionary_comprehension",
            "generator_expression",
        }
    ),
)

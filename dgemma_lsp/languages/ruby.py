"""Ruby."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

RUBY = Language(
    name="ruby",
    ids=("ruby",),
    extensions=(".rb", ".rake", ".gemspec", ".ru"),
    file_names=("Gemfile", "Rakefile", "Guardfile", "Vagrantfile"),
    grammar=GrammarSource("ruby", "tree_sitter_ruby"),
    block=BlockRule.WORDS,
    # A word that opens a body at the head of a line or behind `=`, unless the line also ends it
    # (`def name = value`, `if a then b end`); or `do` and `{` with their parameters.
    opener=r"(?:^|=)\s*(?:def(?!.*\)?\s=\s)|class|module|if|elsif|else|unless|while|until|for|case"
    r"|when|in|begin|rescue|ensure)\b(?!.*\b(?:end\b|then\s+\S))[^#]*(?:#.*)?$"
    r"|(?:\bdo|\{)\s*(?:\|[^|]*\|)?\s*(?:#.*)?$",
    block_closer="end",
    line_comment="#",
    block_comment=("=begin", "=end"),
    block_nodes=frozenset(
        {
            "program",
            "body_statement",
            "block_body",
            "then",
            "else",
            "do",
            "begin",
            "class",
            "module",
        }
        | {"method", "singleton_method", "do_block", "block", "if", "unless", "case", "case_match"}
    ),
    opaque_nodes=frozenset(
        {"string", "string_array", "symbol_array", "subshell", "regex", "heredoc_body", "comment"}
    ),
    bracket_nodes=frozenset(
        {
            "argument_list",
            "method_parameters",
            "lambda_parameters",
            "array",
            "hash",
            "element_reference",
            "parenthesized_statements",
        }
    ),
)

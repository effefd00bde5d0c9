"""SQL: what most dialects share."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

SQL = Language(
    name="sql",
    ids=("sql", "mysql", "plsql", "pgsql", "sqlite"),
    extensions=(".sql", ".psql", ".ddl"),
    aliases=("postgres", "postgresql"),
    grammar=GrammarSource("sql", "tree_sitter_sql"),
    block=BlockRule.WORDS,
    # A list that opens at the end of the line, or a word whose clause may start on the next one; a
    # blank behind the word announces the clause.
    opener=r"(?i)(?:\(\s*|\b(?:select|distinct|from|where|having|by|on|set|values|returning|as|begin"
    r"|then|else|loop|declare|union|all|except|intersect|with))(?:\s*--.*)?$",
    block_closer="END",
    line_comment="--",
    block_comment=("/*", "*/"),
    brackets=(("(", ")"), ("[", "]")),
    block_nodes=frozenset({"program", "block", "column_definitions"}),
    opaque_nodes=frozenset({"comment", "marginalia"}),
    bracket_nodes=frozenset({"invocation", "list", "parenthesized_expression"}),
)

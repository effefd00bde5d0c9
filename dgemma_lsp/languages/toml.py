"""TOML."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

TOML = Language(
    name="toml",
    ids=("toml",),
    extensions=(".toml",),
    file_names=("Cargo.lock", "poetry.lock", "uv.lock", "Pipfile"),
    grammar=GrammarSource("toml", "tree_sitter_toml"),
    block=BlockRule.BRACES,
    # The head of a table, or an array that goes on on the next line.
    opener=r"^\s*\[[^=]*\]\s*(?:#.*)?$|[\[{]\s*(?:#.*)?$",
    block_closer="]",
    line_comment="#",
    long_quotes=('"""', "'''"),
    placeholder="0",
    fillers=("x = 0",),
    block_nodes=frozenset({"document", "table", "table_array_element", "array"}),
    bracket_nodes=frozenset({"inline_table"}),
)

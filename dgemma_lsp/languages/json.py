"""JSON, with and without comments."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

JSON = Language(
    name="json",
    ids=("json", "jsonc"),
    extensions=(".json", ".jsonc"),
    grammar=GrammarSource("json", "tree_sitter_json"),
    block=BlockRule.BRACES,
    opener=r"[{\[]\s*$",
    block_closer="}",
    # Comments are allowed by the grammar; plain JSON files have none, so nothing is lost.
    line_comment="//",
    block_comment=("/*", "*/"),
    quotes=('"',),
    placeholder="0",
    fillers=('"x": 0', '"x": 0,'),
    block_nodes=frozenset({"object", "array"}),
)

"""CSS."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

CSS = Language(
    name="css",
    ids=("css", "postcss"),
    extensions=(".css", ".pcss"),
    grammar=GrammarSource("css", "tree_sitter_css"),
    block=BlockRule.BRACES,
    opener=r"\{\s*(?:/\*.*\*/\s*)?$",
    block_closer="}",
    block_comment=("/*", "*/"),
    block_nodes=frozenset({"stylesheet", "block", "keyframe_block_list"}),
    opaque_nodes=frozenset({"string_value", "comment", "js_comment"}),
    bracket_nodes=frozenset({"arguments", "attribute_selector", "parenthesized_value"}),
)

"""Markdown; code in its fences is read by ``infill.injections``.

The wheel has a grammar for blocks and one for what stands in a line. The first is enough here:
nothing in a line is ever an error.
"""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

MARKDOWN = Language(
    name="markdown",
    ids=("markdown",),
    extensions=(".md", ".markdown"),
    grammar=GrammarSource("markdown", "tree_sitter_markdown"),
    block=BlockRule.INDENT,
    # A heading, a line that announces something, or a fence that names its language.
    opener=r"^#{1,6}\s+\S.*$|:\s*$|^\s*(?:`{3,}|~{3,})\s*[\w{.][^`]*$",
    block_comment=("<!--", "-->"),
    brackets=(("[", "]"), ("(", ")")),
    # Quotes and apostrophes are letters here.
    quotes=(),
    block_nodes=frozenset({"list"}),
    opaque_nodes=frozenset(),
    bracket_nodes=frozenset({"pipe_table"}),
)

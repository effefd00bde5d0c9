"""Lua."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

LUA = Language(
    name="lua",
    ids=("lua",),
    extensions=(".lua",),
    grammar=GrammarSource("lua", "tree_sitter_lua"),
    block=BlockRule.WORDS,
    opener=r"(?:\b(?:then|do|else|repeat)|\bfunction\b[^()]*\([^()]*\))\s*(?:--.*)?$",
    block_closer="end",
    line_comment="--",
    block_comment=("--[[", "]]"),
    block_nodes=frozenset({"chunk", "block"}),
    bracket_nodes=frozenset(
        {
            "arguments",
            "parameters",
            "table_constructor",
            "parenthesized_expression",
            "bracket_index_expression",
        }
    ),
)

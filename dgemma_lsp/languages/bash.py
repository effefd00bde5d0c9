"""Shell scripts, read as Bash."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

BASH = Language(
    name="bash",
    ids=("shellscript", "bash", "sh", "zsh", "ksh"),
    extensions=(".sh", ".bash", ".zsh", ".ksh"),
    file_names=(".bashrc", ".bash_profile", ".bash_aliases", ".profile", ".zshrc", "PKGBUILD"),
    aliases=("shell", "shell-script"),
    grammar=GrammarSource("bash", "tree_sitter_bash"),
    block=BlockRule.WORDS,
    opener=r"(?:\b(?:then|do|else)|[{(]|\bcase\b.*\bin|^\s*[^\s()]+\))\s*(?:#.*)?$",
    # One of several; for the others indentation tells where a body ends.
    block_closer="done",
    line_comment="#",
    block_nodes=frozenset(
        {
            "program",
            "compound_statement",
            "do_group",
            "if_statement",
            "elif_clause",
            "else_clause",
            "case_statement",
            "case_item",
            "subshell",
        }
    ),
    opaque_nodes=frozenset(
        {"string", "raw_string", "ansi_c_string", "heredoc_body", "regex", "comment"}
    ),
    bracket_nodes=frozenset(
        {"array", "test_command", "arithmetic_expansion", "expansion", "parenthesized_expression"}
    ),
)

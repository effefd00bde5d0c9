"""YAML."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

YAML = Language(
    name="yaml",
    ids=("yaml", "dockercompose", "github-actions-workflow", "yaml.docker-compose", "yaml.ansible"),
    extensions=(".yaml", ".yml"),
    file_names=(".clang-format", ".clang-tidy"),
    grammar=GrammarSource("yaml", "tree_sitter_yaml"),
    block=BlockRule.INDENT,
    # A key without a value, or with the mark of a block scalar. A blank typed behind the colon
    # announces a value on the line.
    opener=r":(?:\s+[|>][-+\d]*\s*)?(?:\s+#.*)?$",
    line_comment="#",
    brackets=(("[", "]"), ("{", "}")),
    placeholder="0",
    block_nodes=frozenset({"block_mapping", "block_sequence"}),
    # Text starts anywhere in a block scalar, so that one is not among them.
    opaque_nodes=frozenset({"double_quote_scalar", "single_quote_scalar", "comment"}),
    bracket_nodes=frozenset({"flow_mapping", "flow_sequence"}),
)

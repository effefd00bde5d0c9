"""TypeScript and TSX; two grammars from one wheel."""

from __future__ import annotations

import dataclasses

from dgemma_lsp.languages.javascript import BLOCK_NODES, BRACKET_NODES, JAVASCRIPT, OPAQUE_NODES
from dgemma_lsp.syntax.grammar import GrammarSource

_MODULE = "tree_sitter_typescript"

TYPESCRIPT = dataclasses.replace(
    JAVASCRIPT,
    name="typescript",
    ids=("typescript",),
    extensions=(".ts", ".mts", ".cts"),
    grammar=GrammarSource("typescript", _MODULE, "language_typescript"),
    fillers=("'x'", "x;"),
    block_nodes=BLOCK_NODES | {"interface_body", "object_type", "enum_body"},
    opaque_nodes=OPAQUE_NODES,
    bracket_nodes=BRACKET_NODES | {"type_arguments", "type_parameters", "tuple_type"},
)

TSX = dataclasses.replace(
    TYPESCRIPT,
    name="tsx",
    ids=("typescriptreact", "typescript.tsx"),
    extensions=(".tsx",),
    grammar=GrammarSource("tsx", _MODULE, "language_tsx"),
    fillers=("'x'",),
)

"""C++: C and what it adds."""

from __future__ import annotations

import dataclasses

from dgemma_lsp.languages.c import BRACKET_NODES, OPAQUE_NODES, C
from dgemma_lsp.syntax.grammar import GrammarSource

CPP = dataclasses.replace(
    C,
    name="c++",
    ids=("cpp", "cuda-cpp"),
    extensions=(
        ".cc",
        ".cpp",
        ".cxx",
        ".hh",
        ".hpp",
        ".hxx",
        ".ipp",
        ".inl",
        ".tpp",
        ".cu",
        ".cuh",
    ),
    aliases=("cplusplus",),
    grammar=GrammarSource("cpp", "tree_sitter_cpp"),
    opaque_nodes=OPAQUE_NODES | {"raw_string_literal"},
    bracket_nodes=BRACKET_NODES
    | {
        "template_argument_list",
        "template_parameter_list",
        "lambda_capture_specifier",
        "subscript_argument_list",
        "condition_clause",
    },
)

"""All kinds for JavaScript and TypeScript."""

from __future__ import annotations

from dgemma_training.rewrites import script_expressions, script_functions, script_statements
from dgemma_training.rewrites.base import Kind
from dgemma_training.rewrites.script_source import ScriptSource

SCRIPT_KINDS: tuple[Kind[ScriptSource], ...] = (
    *script_expressions.KINDS,
    *script_functions.KINDS,
    *script_statements.KINDS,
)

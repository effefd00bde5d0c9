"""All Python kinds."""

from __future__ import annotations

from dgemma_training.rewrites import (
    python_branches,
    python_expressions,
    python_functions,
    python_loops,
    python_modules,
    python_names,
    python_strings,
)
from dgemma_training.rewrites.base import Kind
from dgemma_training.rewrites.python_source import PythonSource

PYTHON_KINDS: tuple[Kind[PythonSource], ...] = (
    *python_expressions.KINDS,
    *python_strings.KINDS,
    *python_names.KINDS,
    *python_functions.KINDS,
    *python_branches.KINDS,
    *python_loops.KINDS,
    *python_modules.KINDS,
)

"""Whether an answer does what a kind of rewrite asks.

The answer must be the same code as the expected one; formatting is free, and so is what the kind
leaves open, such as a docstring's wording. Where the text around it parses, answers are compared
in place; a cut-out context, or none, falls back to the lines themselves. Finds no rewrites.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from dgemma_training.rewrites.python_code import (
    Normal,
    comments,
    parsed,
    same_fragment,
    same_tree,
)

_FEWEST_WORDS = 2
"""Words a docstring needs to say anything."""


def same_python(
    kind: str, answer: str, expected: str, *, before: str = "", after: str = ""
) -> bool:
    """Whether a Python answer does what the kind asks."""
    normal = _NORMAL.get(kind)
    if before or after:
        wanted = parsed(before + expected + after)
        if wanted is not None:
            given = parsed(before + answer + after)
            return (
                given is not None
                and comments(answer) == comments(expected)
                and same_tree(given, wanted, normal)
            )
    return same_fragment(answer, expected, normal)


class _Docstrings(ast.NodeTransformer):
    """Makes all docstrings of one line that say something the same."""

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        match node.body[0]:
            case ast.Expr(value=ast.Constant(value=str() as text) as constant):
                if len(text.split()) >= _FEWEST_WORDS and "\n" not in text.strip():
                    constant.value = "docstring"
            case _:
                pass
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)


_OPPOSITE: Mapping[type[ast.cmpop], type[ast.cmpop]] = MappingProxyType(
    {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
    | {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Lt: ast.GtE, ast.GtE: ast.Lt}
    | {ast.Gt: ast.LtE, ast.LtE: ast.Gt}
)


class _Negations(ast.NodeTransformer):
    """Moves every ``not`` as far in as it goes, so that equal conditions are equal trees."""

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=ast.UnaryOp(op=ast.Not(), operand=inner)):
                return inner
            case ast.UnaryOp(op=ast.Not(), operand=ast.Compare(ops=[sign]) as inner):
                inner.ops = [_OPPOSITE[type(sign)]()]
                return inner
            case ast.UnaryOp(op=ast.Not(), operand=ast.BoolOp(op=joint, values=values) as inner):
                inner.op = ast.Or() if isinstance(joint, ast.And) else ast.And()
                inner.values = [
                    cast(ast.expr, self.visit(ast.UnaryOp(ast.Not(), value))) for value in values
                ]
                return inner
            case _:
                return node


class _Elses(ast.NodeTransformer):
    """Puts what follows a branch that leaves into its ``else``: both are the same."""

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(node, name, _nested(cast(list[object], value)))
        return node


def _nested(block: list[object]) -> list[object]:
    for at, item in enumerate(block):
        leaves = isinstance(item, ast.If) and isinstance(item.body[-1], ast.Return | ast.Raise)
        if isinstance(item, ast.If) and leaves and not item.orelse:
            item.orelse = cast(list[ast.stmt], _nested(block[at + 1 :]))
            return block[: at + 1]
    return block


def _with(transformer: type[ast.NodeTransformer]) -> Normal:
    return lambda tree: cast(ast.Module, transformer().visit(tree))


_NORMAL: Mapping[str, Normal] = MappingProxyType(
    {
        "docstring": _with(_Docstrings),
        "invert_if": _with(_Negations),
        "early_return": _with(_Negations),
        "ternary_to_if": _with(_Elses),
    }
)

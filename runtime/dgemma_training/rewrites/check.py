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

_DECORATED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
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
            if given is None or comments(answer) != comments(expected):
                return False
            first = before.count("\n") + 1
            cuts = _cut(given, first, answer), _cut(wanted, first, expected)
            return cuts[0] == cuts[1] and same_tree(given, wanted, normal)
    return same_fragment(answer, expected, normal)


def _cut(tree: ast.Module, first: int, middle: str) -> tuple[int, int]:
    """Drop the top-level statements before and after some lines; their text is the same anyway.

    Returns how many of each were dropped.
    """
    last = first + middle.count("\n")
    body = tree.body
    low = sum((node.end_lineno or node.lineno) < first for node in body)
    high = sum(_first_line(node) > last for node in body)
    tree.body = body[low : len(body) - high]
    return low, high


def _first_line(node: ast.stmt) -> int:
    marks = node.decorator_list if isinstance(node, _DECORATED) else []
    return min((mark.lineno for mark in marks), default=node.lineno)


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

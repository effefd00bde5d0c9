"""Python conditions and blocks put in another form: negated, moved to another indentation.

Knows no kind.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from dgemma_training.rewrites.python_source import PythonSource

_MOST_BODY = 3
"""Statements of a branch that is moved; more would not fit the limits."""
_FLIPPED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_SIZES: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", ">="),
    ast.GtE: (">=", "<"),
    ast.Gt: (">", "<="),
    ast.LtE: ("<=", ">"),
}


def negated(source: PythonSource, test: ast.expr) -> str | None:
    """The condition that holds when ``test`` does not; ``None`` where it would read badly."""
    if not source.one_line(test):
        return None
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return source.segment(inner)
        case ast.Compare(left=left, ops=[sign], comparators=[right]):
            signs = _FLIPPED.get(type(sign))
            if signs is None and (_is_len(left) or _is_len(right)):
                # Only sizes are sure to be ordered: ``not a < b`` is ``a >= b`` for numbers, but
                # neither for sets nor for NaN.
                signs = _SIZES.get(type(sign))
            start, end = source.span(left)[1], source.span(right)[0]
            words = source.text[start:end]
            if signs is None or words.strip() != signs[0]:
                return None
            flipped = words.replace(*signs)
            whole = source.segment(test)
            low = source.span(test)[0]
            return whole[: start - low] + flipped + whole[end - low :]
        case ast.Name() | ast.Attribute() | ast.Call() | ast.Subscript():
            return f"not {source.segment(test)}"
        case ast.BoolOp():
            return f"not ({source.segment(test)})"
        case _:
            return None


def _is_len(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


def movable(source: PythonSource, block: Sequence[ast.stmt]) -> bool:
    """Whether statements can be indented anew: short, on their own lines, no long strings."""
    return (
        len(block) <= _MOST_BODY
        and source.alone(*block)
        and not any(
            isinstance(node, ast.Constant | ast.JoinedStr)
            and node.lineno != (node.end_lineno or node.lineno)
            for statement in block
            for node in ast.walk(statement)
        )
    )


def shifted(source: PythonSource, block: Sequence[ast.stmt], indent: str) -> str:
    """Whole lines of statements, moved to another indentation."""
    start, end = source.block_span(*block)
    old = len(source.indent(block[0]))
    return "\n".join(
        indent + line[old:] if line.strip() else line for line in source.text[start:end].split("\n")
    )

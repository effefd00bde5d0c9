"""Python kinds about ``if``, conditional expressions and ``try``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from random import Random

from dgemma_training.rewrites.base import Edit, Kind, Site
from dgemma_training.rewrites.python_blocks import movable, negated, shifted
from dgemma_training.rewrites.python_source import PythonSource

_PYTHON = ("python",)
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_LONGEST_ACTION = 48
_LONGEST_LINE = 100


def _is_elif(source: PythonSource, node: ast.If) -> bool:
    return source.segment(node).startswith("elif")


def _has_else(source: PythonSource, node: ast.If) -> bool:
    """Whether an ``else`` follows, not an ``elif``."""
    match node.orelse:
        case []:
            return False
        case [ast.If() as inner]:
            return not _is_elif(source, inner)
        case _:
            return True


def _branches(source: PythonSource, node: ast.If) -> bool:
    """Whether an ``if`` is a statement of its own whose body starts on the next line."""
    return (
        not _is_elif(source, node)
        and node.body[0].lineno > node.lineno
        and source.one_line(node.test)
        and (not node.orelse or node.orelse[0].lineno > (node.body[-1].end_lineno or 0) + 1)
    )


def _rest(source: PythonSource, node: ast.stmt) -> list[ast.stmt]:
    """The statements after a node in its block."""
    parent = source.parent(node)
    for _, value in ast.iter_fields(parent) if parent is not None else ():
        if isinstance(value, list) and node in value:
            after = value[value.index(node) + 1 :]
            return [item for item in after if isinstance(item, ast.stmt)]
    return []


def find_remove_else(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``else`` after a branch that leaves, against none."""
    for node in source.all(ast.If):
        if not isinstance(node.body[-1], _LEAVES) or not _branches(source, node):
            continue
        start = source.block_span(node)[0]
        done = source.span(node.body[-1])[1]
        if _has_else(source, node) and movable(source, node.orelse):
            if source.alone(node):
                end = source.span(node.orelse[-1])[1]
                new = "\n" + shifted(source, node.orelse, source.indent(node))
                yield Site((Edit(done, end, new),), rows=(start, end))
            continue
        rest = [] if node.orelse else _rest(source, node)
        if not rest or not isinstance(rest[-1], _LEAVES) or not movable(source, rest):
            continue
        if source.alone(node, *rest):
            end = source.span(rest[-1])[1]
            indent = source.indent(node)
            old = f"\n{indent}else:\n" + shifted(source, rest, indent + source.step())
            yield Site((Edit(done, end, old, undoes=True),), rows=(start, end))


def _exit_of(source: PythonSource, node: ast.If) -> str | None:
    """What leaves the block that a node is the end of: nothing after it would be skipped."""
    match source.parent(node):
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return "return"
        case ast.For(body=body) | ast.AsyncFor(body=body) | ast.While(body=body) if node in body:
            return "continue"
        case _:
            return None


def find_early_return(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A body within an ``if`` against a guard clause before it."""
    for node in source.all(ast.If):
        word = _exit_of(source, node)
        opposite = negated(source, node.test)
        if word is None or opposite is None or node.orelse or not _branches(source, node):
            continue
        rest = _rest(source, node)
        indent, step = source.indent(node), source.step()
        start = source.span(node)[0]
        if not rest and movable(source, node.body) and source.alone(node):
            if isinstance(node.body[-1], _LEAVES):
                continue
            body = shifted(source, node.body, indent)
            new = f"if {opposite}:\n{indent}{step}{word}\n{body}"
            yield Site((Edit(start, source.span(node)[1], new),))
        elif rest and movable(source, rest) and source.alone(node, *rest):
            bare = source.segment(node.body[0]) == word
            if len(node.body) == 1 and bare and not isinstance(rest[-1], _LEAVES):
                body = shifted(source, rest, indent + step)
                old = f"if {opposite}:\n{body}"
                yield Site((Edit(start, source.span(rest[-1])[1], old, undoes=True),))


def find_invert_if(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``if`` and ``else`` against the same with the condition negated."""
    for node in source.all(ast.If):
        opposite = negated(source, node.test)
        if opposite is None or not _has_else(source, node) or not _branches(source, node):
            continue
        if movable(source, node.body) and movable(source, node.orelse) and source.alone(node):
            indent = source.indent(node)
            inner = indent + source.step()
            one = shifted(source, node.orelse, inner)
            two = shifted(source, node.body, inner)
            yield Site((source.edit(node, f"if {opposite}:\n{one}\n{indent}else:\n{two}"),))


def _statement_head(source: PythonSource, node: ast.stmt) -> tuple[str, ast.expr] | None:
    """A statement up to its value, and the value: ``x = `` or ``return ``."""
    match node:
        case ast.Return(value=ast.expr() as value):
            head = "return "
        case ast.Assign(targets=[target], value=value):
            head = f"{source.segment(target)} = "
        case ast.AugAssign(target=target, value=value):
            head = source.text[source.span(node)[0] : source.span(value)[0]]
        case _:
            return None
    return (head, value) if source.segment(node) == head + source.segment(value) else None


def _ternaries(source: PythonSource) -> Iterator[tuple[ast.stmt, str]]:
    """Statements whose value is a conditional expression, and the ``if`` that does the same."""
    for node in source.all(ast.IfExp):
        statement = source.parent(node)
        if not isinstance(statement, ast.stmt) or not source.alone(statement):
            continue
        found = _statement_head(source, statement)
        parts = (node.test, node.body, node.orelse)
        nested = any(isinstance(part, ast.IfExp | ast.Lambda) for part in parts)
        if found is None or found[1] is not node or nested:
            continue
        if not source.one_line(node):
            continue
        test, one, two = (source.segment(part) for part in parts)
        indent = source.indent(statement)
        inner = f"\n{indent}{source.step()}{found[0]}"
        if isinstance(statement, ast.Return):
            yield statement, f"if {test}:{inner}{one}\n{indent}{found[0]}{two}"
        else:
            yield statement, f"if {test}:{inner}{one}\n{indent}else:{inner}{two}"


def _choices(source: PythonSource) -> Iterator[tuple[int, int, str]]:
    """Ranges of an ``if`` with two like statements, and the one statement that does the same."""
    for node in source.all(ast.If):
        if len(node.body) != 1 or not _branches(source, node):
            continue
        other = node.orelse
        if not other and isinstance(node.body[0], ast.Return):
            other = _rest(source, node)[:1]
        elif not _has_else(source, node):
            continue
        if len(other) != 1 or not source.alone(node, *other):
            continue
        one, two = (_statement_head(source, item) for item in (node.body[0], other[0]))
        if one is None or two is None or one[0] != two[0]:
            continue
        if any(isinstance(value, ast.IfExp | ast.Lambda | ast.Tuple) for _, value in (one, two)):
            continue
        test = source.segment(node.test)
        new = f"{one[0]}{source.segment(one[1])} if {test} else {source.segment(two[1])}"
        if "\n" not in new and len(new) + node.col_offset <= _LONGEST_LINE:
            yield source.span(node)[0], source.span(other[0])[1], new


def find_ternary_to_if(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``x = a if c else b`` against an ``if`` statement."""
    for statement, long in _ternaries(source):
        yield Site((source.edit(statement, long),))
    for start, end, short in _choices(source):
        yield Site((Edit(start, end, short, undoes=True),))


def find_if_to_ternary(source: PythonSource, rng: Random) -> Iterator[Site]:
    """An ``if`` statement against ``x = a if c else b``."""
    for statement, long in _ternaries(source):
        yield Site((source.edit(statement, long, undoes=True),))
    for start, end, short in _choices(source):
        yield Site((Edit(start, end, short),))


def _nested_ifs(source: PythonSource) -> Iterator[tuple[ast.If, str]]:
    """An ``if`` in an ``if``, and the two as one."""
    for node in source.all(ast.If):
        match node:
            case ast.If(
                test=one, body=[ast.If(test=two, body=body, orelse=[]) as inner], orelse=[]
            ):
                pass
            case _:
                continue
        fits = _branches(source, node) and _branches(source, inner) and source.alone(node)
        if fits and movable(source, body):
            parts = [
                f"({source.segment(test)})"
                if isinstance(test, ast.IfExp | ast.Lambda | ast.NamedExpr)
                or (isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or))
                else source.segment(test)
                for test in (one, two)
            ]
            inside = shifted(source, body, source.indent(node) + source.step())
            yield node, f"if {' and '.join(parts)}:\n{inside}"


def _joint_ifs(source: PythonSource) -> Iterator[tuple[ast.If, str]]:
    """An ``if`` with two conditions, and the same as two."""
    for node in source.all(ast.If):
        match node:
            case ast.If(test=ast.BoolOp(op=ast.And(), values=[one, two]), orelse=[]):
                pass
            case _:
                continue
        if _branches(source, node) and source.alone(node) and movable(source, node.body):
            indent, step = source.indent(node), source.step()
            inside = shifted(source, node.body, indent + step + step)
            head = f"if {source.segment(one)}:\n{indent}{step}if {source.segment(two)}:"
            yield node, f"{head}\n{inside}"


def find_merge_if(source: PythonSource, rng: Random) -> Iterator[Site]:
    """Nested ``if``s against one with ``and``."""
    for node, new in _nested_ifs(source):
        yield Site((source.edit(node, new),))
    for node, old in _joint_ifs(source):
        yield Site((source.edit(node, old, undoes=True),))


def find_split_if(source: PythonSource, rng: Random) -> Iterator[Site]:
    """One ``if`` with ``and`` against nested ones."""
    for node, old in _nested_ifs(source):
        yield Site((source.edit(node, old, undoes=True),))
    for node, new in _joint_ifs(source):
        yield Site((source.edit(node, new),))


def find_wrap_try(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A statement against the same within ``try``, with what to catch and what to do then."""
    for node in source.all(ast.Try):
        match node:
            case ast.Try(
                body=[_] as body,
                handlers=[ast.ExceptHandler(type=ast.expr() as caught, name=name, body=[action])],
                orelse=[],
                finalbody=[],
            ):
                pass
            case _:
                continue
        if not (movable(source, body) and source.alone(node) and source.alone(action)):
            continue
        done = source.segment(action)
        if "\n" in done or len(done) > _LONGEST_ACTION or not source.one_line(caught):
            continue
        error = source.segment(caught) + (f" as {name}" if name else "")
        indent = source.indent(node)
        old = shifted(source, body, indent)[len(indent) :]
        values = {"error": error, "action": done}
        yield Site((source.edit(node, old, undoes=True),), values)


KINDS: tuple[Kind[PythonSource], ...] = (
    Kind(
        "remove_else",
        _PYTHON,
        ("remove the unneeded else", "remove the else after return", "drop the else"),
        find_remove_else,
        weight=2.0,
    ),
    Kind(
        "early_return",
        _PYTHON,
        ("use a guard clause", "exit early instead of nesting", "un-nest with a guard clause"),
        find_early_return,
        weight=2.0,
    ),
    Kind(
        "invert_if",
        _PYTHON,
        ("invert the if", "negate the condition and swap the branches", "swap if and else"),
        find_invert_if,
        weight=2.0,
    ),
    Kind(
        "ternary_to_if",
        _PYTHON,
        ("use an if statement", "expand the ternary", "replace the conditional expression"),
        find_ternary_to_if,
        weight=1.3,
    ),
    Kind(
        "if_to_ternary",
        _PYTHON,
        ("use a conditional expression", "make it a ternary", "write the if as one expression"),
        find_if_to_ternary,
        weight=1.3,
    ),
    Kind(
        "merge_if",
        _PYTHON,
        ("merge the nested ifs", "combine the conditions with and", "join the two ifs"),
        find_merge_if,
        weight=2.0,
    ),
    Kind(
        "split_if",
        _PYTHON,
        ("split the condition into nested ifs", "nest the ifs", "use two ifs instead of and"),
        find_split_if,
        weight=1.5,
    ),
    Kind(
        "wrap_try",
        _PYTHON,
        ("catch {error} and {action}", "wrap in try, on {error} {action}"),
        find_wrap_try,
        has_argument=True,
        weight=2.5,
    ),
)

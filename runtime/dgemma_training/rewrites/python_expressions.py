"""Python kinds within one expression or one simple statement."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Iterator
from random import Random

from dgemma_training.rewrites.base import Edit, Kind, Site
from dgemma_training.rewrites.python_source import PythonSource

_PYTHON = ("python",)

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.BitOr: "|",
    ast.BitAnd: "&",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
_MIRRORED: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: ">",
    ast.LtE: ">=",
    ast.Gt: "<",
    ast.GtE: "<=",
}
_ATOMS = (
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.Call,
    ast.Constant,
    ast.List,
    ast.Dict,
    ast.Set,
    ast.JoinedStr,
    ast.ListComp,
)


def is_plain(node: ast.expr) -> bool:
    """Whether evaluating an expression twice is as good as once: names and their attributes."""
    match node:
        case ast.Name():
            return True
        case ast.Attribute(value=value):
            return is_plain(value)
        case ast.Subscript(value=value, slice=index):
            return is_plain(value) and isinstance(index, ast.Constant | ast.Name)
        case _:
            return False


def operand(source: PythonSource, node: ast.expr) -> str:
    """A node's source, in parentheses unless it binds as tightly as can be."""
    text = source.segment(node)
    return text if isinstance(node, _ATOMS) else f"({text})"


def _between(source: PythonSource, left: ast.expr, right: ast.expr) -> str:
    return source.text[source.span(left)[1] : source.span(right)[0]]


def find_is_none(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``x == None`` against ``x is None``, and the same with ``!=``."""
    for node in source.all(ast.Compare):
        if len(node.ops) != 1 or not _is_none(node.comparators[0]):
            continue
        words = _between(source, node.left, node.comparators[0])
        start = source.span(node.left)[1]
        new = {
            ast.Eq: words.replace("==", "is"),
            ast.NotEq: words.replace("!=", "is not"),
            ast.Is: words.replace("is", "=="),
            ast.IsNot: words.replace("is not", "!="),
        }.get(type(node.ops[0]), words)
        if new != words and "\n" not in words:
            undoes = isinstance(node.ops[0], ast.Is | ast.IsNot)
            yield Site((Edit(start, start + len(words), new, undoes),))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def find_not_in(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``not x in y`` against ``x not in y``, and ``not x is y`` against ``x is not y``."""
    for node in source.all(ast.Compare):
        if len(node.ops) != 1:
            continue
        left, right = node.left, node.comparators[0]
        words = _between(source, left, right)
        parent = source.parent(node)
        if isinstance(node.ops[0], ast.NotIn | ast.IsNot):
            long, short = (
                ("not in", "in") if isinstance(node.ops[0], ast.NotIn) else ("is not", "is")
            )
            # After these a ``not`` would not read, or not bind, as it should.
            if words.count(long) == 1 and isinstance(
                parent, ast.If | ast.BoolOp | ast.Return | ast.While | ast.Assert | ast.IfExp
            ):
                new = f"not {source.segment(left)}{words.replace(long, short)}"
                start, end = source.span(node)[0], source.span(right)[0]
                yield Site((Edit(start, end, new, undoes=True),))
        elif isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.Not):
            short = {ast.In: "in", ast.Is: "is"}.get(type(node.ops[0]))
            if short is None or source.text[: source.span(node)[0]].endswith("("):
                continue
            long = "not in" if short == "in" else "is not"
            new = f"{source.segment(left)}{words.replace(short, long)}{source.segment(right)}"
            yield Site((source.edit(parent, new),))


def find_augmented_assign(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``x = x + 1`` against ``x += 1``."""
    for node in source.all(ast.AugAssign):
        sign = _OPERATORS.get(type(node.op))
        if sign is not None and is_plain(node.target) and not _broken_up(source, node.value):
            target = source.segment(node.target)
            new = f"{target} = {target} {sign} {operand(source, node.value)}"
            yield Site((source.edit(node, new, undoes=True),))
    for node in source.all(ast.Assign):
        value = node.value
        if not (isinstance(value, ast.BinOp) and len(node.targets) == 1):
            continue
        sign = _OPERATORS.get(type(value.op))
        target = source.segment(node.targets[0])
        if (
            sign is not None
            and is_plain(node.targets[0])
            and source.segment(value.left) == target
            and not isinstance(value.right, ast.List)
            and source.segment(node).startswith(f"{target} = {target} {sign} ")
        ):
            rest = source.segment(node)[len(f"{target} = {target} {sign} ") :]
            yield Site((source.edit(node, f"{target} {sign}= {rest}"),))


def _broken_up(source: PythonSource, node: ast.expr) -> bool:
    """Whether parentheses that are not the node's own may hold it together."""
    return not source.one_line(node) or isinstance(node, ast.List | ast.Tuple | ast.Yield)


def find_yoda(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``0 == x`` against ``x == 0``."""
    for node in source.all(ast.Compare):
        sign = _MIRRORED.get(type(node.ops[0]))
        left, right = node.left, node.comparators[0]
        if len(node.ops) != 1 or sign is None or not source.one_line(node):
            continue
        first, second = isinstance(left, ast.Constant), isinstance(right, ast.Constant)
        simple = is_plain(right if first else left) or isinstance(
            right if first else left, ast.Call
        )
        parts = source.segment(left), source.segment(right)
        whole = source.segment(node)
        if first != second and simple and "(" not in _between(source, left, right):
            if not whole.startswith(parts[0]) or not whole.endswith(parts[1]):
                continue
            yield Site((source.edit(node, f"{parts[1]} {sign} {parts[0]}", undoes=second),))


def find_dict_get(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``d[k] if k in d else x`` against ``d.get(k, x)``."""
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for kind in (ast.Import, ast.ImportFrom)
        for node in source.all(kind)
        for alias in node.names
    }
    for node in source.all(ast.Call):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name) as table, attr="get"),
                args=[key, *rest],
                keywords=[],
            ) if (
                name not in imported
                and "request" not in name
                and "queue" not in name
                and len(rest) < 2
                and (is_plain(key) or isinstance(key, ast.Constant))
                and source.one_line(node)
                and isinstance(source.parent(node), ast.Assign | ast.Return | ast.keyword)
            ):
                other = source.segment(rest[0]) if rest else "None"
                text = source.segment(key)
                new = f"{source.segment(table)}[{text}] if {text} in {name} else {other}"
                yield Site((source.edit(node, new, undoes=True),))
            case _:
                pass
    for node in source.all(ast.IfExp):
        match node:
            case ast.IfExp(
                test=ast.Compare(left=key, ops=[ast.In()], comparators=[table]),
                body=ast.Subscript(value=taken, slice=index),
                orelse=other,
            ) if (
                is_plain(table)
                and (is_plain(key) or isinstance(key, ast.Constant))
                and source.segment(taken) == source.segment(table)
                and source.segment(index) == source.segment(key)
                and (is_plain(other) or isinstance(other, ast.Constant))
            ):
                rest = "" if _is_none(other) else f", {source.segment(other)}"
                new = f"{source.segment(table)}.get({source.segment(key)}{rest})"
                yield Site((source.edit(node, new),))
            case _:
                pass


def find_isinstance_tuple(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``isinstance(x, A) or isinstance(x, B)`` against ``isinstance(x, (A, B))``."""
    for node in source.all(ast.Call):
        match node:
            case ast.Call(
                func=ast.Name(id="isinstance"), args=[value, ast.Tuple(elts=[_, _, *_] as types)]
            ) if len(types) <= 3 and is_plain(value) and source.one_line(node):
                tested = source.segment(value)
                parts = [f"isinstance({tested}, {source.segment(kind)})" for kind in types]
                new = " or ".join(parts)
                if isinstance(source.parent(node), ast.BoolOp | ast.UnaryOp | ast.Compare):
                    new = f"({new})"
                yield Site((source.edit(node, new, undoes=True),))
            case _:
                pass
    for node in source.all(ast.BoolOp):
        calls = [_isinstance(source, value) for value in node.values]
        if isinstance(node.op, ast.Or) and all(calls):
            pairs = [call for call in calls if call is not None]
            if len({tested for tested, _ in pairs}) == 1:
                types = ", ".join(kind for _, kind in pairs)
                yield Site((source.edit(node, f"isinstance({pairs[0][0]}, ({types}))"),))


def _isinstance(source: PythonSource, node: ast.expr) -> tuple[str, str] | None:
    match node:
        case ast.Call(func=ast.Name(id="isinstance"), args=[value, kind]) if is_plain(
            value
        ) and is_plain(kind):
            return source.segment(value), source.segment(kind)
        case _:
            return None


def find_chained_comparison(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``a < x and x < b`` against ``a < x < b``."""
    for node in source.all(ast.Compare):
        if len(node.ops) != 2 or not is_plain(node.comparators[0]) or not source.one_line(node):
            continue
        middle = source.segment(node.comparators[0])
        start, end = source.span(node.comparators[0])
        parent = source.parent(node)
        if isinstance(parent, ast.If | ast.Return | ast.Assert | ast.While):
            yield Site((Edit(start, end, f"{middle} and {middle}", undoes=True),))
    for node in source.all(ast.BoolOp):
        match node:
            case ast.BoolOp(
                op=ast.And(),
                values=[
                    ast.Compare(ops=[ast.Lt() | ast.LtE()], comparators=[one]),
                    ast.Compare(left=two, ops=[ast.Lt() | ast.LtE()]),
                ],
            ) if (
                is_plain(one)
                and source.segment(one) == source.segment(two)
                and _between(source, one, two) == " and "
            ):
                yield Site((Edit(source.span(one)[1], source.span(two)[1], ""),))
            case _:
                pass


def find_dict_literal(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``dict(a=1)`` against ``{"a": 1}``."""
    for node in source.all(ast.Call):
        match node:
            case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords) if keywords:
                pairs = [
                    (item.arg, source.segment(item.value))
                    for item in keywords
                    if item.arg is not None
                ]
                if len(pairs) == len(keywords) and source.one_line(node):
                    inner = ", ".join(f'"{name}": {value}' for name, value in pairs)
                    yield Site((source.edit(node, f"{{{inner}}}"),))
            case _:
                pass
    for node in source.all(ast.Dict):
        names = [
            key.value
            for key in node.keys
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        ]
        usable = all(name.isidentifier() and name.isascii() for name in names)
        if not (names and usable and len(names) == len(node.keys) == len(set(names))):
            continue
        if source.one_line(node) and not any(keyword.iskeyword(name) for name in names):
            values = [source.segment(value) for value in node.values]
            pairs = zip(names, values, strict=True)
            inner = ", ".join(f"{name}={value}" for name, value in pairs)
            if 'u"' not in source.segment(node) and not any(
                isinstance(n, ast.NamedExpr) for n in ast.walk(node)
            ):
                yield Site((source.edit(node, f"dict({inner})", undoes=True),))


KINDS: tuple[Kind[PythonSource], ...] = (
    Kind(
        "is_none",
        _PYTHON,
        ("compare to None with is", "use `is None`", "fix the comparison to None"),
        find_is_none,
        together=True,
    ),
    Kind(
        "not_in",
        _PYTHON,
        ("use not in", "use `not in` and `is not`", "move the not into the comparison"),
        find_not_in,
        together=True,
    ),
    Kind(
        "augmented_assign",
        _PYTHON,
        ("use an augmented assignment", "use += and the like", "shorten the assignment"),
        find_augmented_assign,
        together=True,
        weight=1.5,
    ),
    Kind(
        "yoda",
        _PYTHON,
        ("put the constant on the right", "no yoda condition", "swap the comparison"),
        find_yoda,
        together=True,
        weight=0.8,
    ),
    Kind(
        "dict_get",
        _PYTHON,
        ("use dict.get", "use get with a default", "replace the lookup with .get()"),
        find_dict_get,
        together=True,
        weight=4.0,
    ),
    Kind(
        "isinstance_tuple",
        _PYTHON,
        ("use one isinstance call", "merge the isinstance calls", "use a tuple of types"),
        find_isinstance_tuple,
        together=True,
        weight=4.0,
    ),
    Kind(
        "chained_comparison",
        _PYTHON,
        ("chain the comparisons", "use a chained comparison"),
        find_chained_comparison,
        together=True,
        weight=4.0,
    ),
    Kind(
        "dict_literal",
        _PYTHON,
        ("use a dict literal", "replace dict() with a literal", "use braces for the dict"),
        find_dict_literal,
        together=True,
        weight=2.0,
    ),
)

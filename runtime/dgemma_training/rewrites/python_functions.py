"""Python kinds about a function's header: docstring, annotations, parameters, async."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from random import Random

from dgemma_training.rewrites.base import Edit, Kind, Site
from dgemma_training.rewrites.python_source import FunctionNode, PythonSource

_PYTHON = ("python",)
_LONGEST_BODY = 30
"""Lines of a body that a reader of the header can be asked to have read."""


def find_docstring(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A header against the header with its docstring's first line."""
    for node in source.functions():
        first = node.body[0]
        if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
            continue
        text = first.value.value
        if not isinstance(text, str) or first.lineno == node.lineno or len(node.body) < 2:
            continue
        summary = text.strip().split("\n\n")[0].strip()
        if not re.fullmatch(r"[A-Z][^\n\\\"]{8,90}[.\w)`']", summary) or not source.alone(first):
            continue
        if len(summary.split()) < 3:
            continue
        start, end = source.span(first)
        head = source.head_end(node)
        indent = source.indent(first)
        if source.text[head:start].strip():
            continue
        short = f'\n{indent}"""{summary}"""'
        rows = source.rows
        selected = rows.start(rows.line_at(source.offset(node.lineno, node.col_offset)))
        if source.one_line(first):
            yield Site((Edit(head, end, "", undoes=True),), rows=(selected, end))
        else:
            # Only the summary is asked for: the answer is shorter than what the real code has.
            yield Site(
                (Edit(head, end, "", undoes=True), Edit(head, end, short)), rows=(selected, end)
            )


_STUBS = frozenset({"abstractmethod", "overload"})
"""Decorators of functions whose body does not tell what they return."""
_NEW_PARAMETERS = (
    "verbose=False",
    "timeout=None",
    "name=None",
    "limit=10",
    "strict=True",
    "default=None",
    "encoding='utf-8'",
    "debug=False",
    "callback=None",
    "max_size=100",
    "key=None",
    "retries=3",
    "force=False",
    "logger=None",
    "prefix=''",
)


def _own_nodes(node: FunctionNode) -> Iterator[ast.AST]:
    """The nodes of a function's body without those of functions in it."""
    stack: list[ast.AST] = list(node.body)
    while stack:
        inner = stack.pop()
        yield inner
        if not isinstance(inner, FunctionNode | ast.Lambda | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(inner))


def _literal_type(node: ast.expr) -> str | None:
    """The type of an expression that can be of no other."""
    match node:
        case ast.Constant(value=bool()):
            return "bool"
        case ast.Constant(value=int()):
            return "int"
        case ast.Constant(value=float()):
            return "float"
        case ast.Constant(value=str()) | ast.JoinedStr():
            return "str"
        case ast.Constant(value=bytes()):
            return "bytes"
        case _:
            return None


def _result_type(node: ast.expr) -> str | None:
    match node:
        case ast.UnaryOp(op=ast.Not()):
            return "bool"
        case ast.Compare(ops=[ast.Is() | ast.IsNot() | ast.In() | ast.NotIn()]):
            return "bool"
        case ast.Call(func=ast.Name(id="isinstance" | "any" | "all" | "callable" | "hasattr")):
            return "bool"
        case ast.Call(func=ast.Name(id="len")):
            return "int"
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str()), attr="join" | "format")):
            return "str"
        case _:
            return _literal_type(node)


def returned_type(node: FunctionNode) -> str | None:
    """What a function returns where its body leaves no doubt; ``None`` elsewhere."""
    length = (node.end_lineno or node.lineno) - node.lineno
    marks = {
        part.attr if isinstance(part, ast.Attribute) else part.id
        for decorator in node.decorator_list
        for part in ast.walk(decorator)
        if isinstance(part, ast.Attribute | ast.Name)
    }
    if length > _LONGEST_BODY or marks & _STUBS:
        return None
    values: list[ast.expr | None] = []
    for inner in _own_nodes(node):
        if isinstance(inner, ast.Yield | ast.YieldFrom):
            return None
        if isinstance(inner, ast.Return):
            values.append(inner.value)
    if all(value is None for value in values):
        says_nothing = all(
            isinstance(item, ast.Pass | ast.Raise)
            or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            for item in node.body
        )
        # A body that only raises, or none, belongs to a base class: its results are elsewhere.
        return None if says_nothing or isinstance(node.body[-1], ast.Raise) else "None"
    types = {None if value is None else _result_type(value) for value in values}
    if len(types) != 1 or not isinstance(node.body[-1], ast.Return):
        return None
    return types.pop()


def find_return_type(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A header without a return type against one with it."""
    for node in source.functions():
        kind = returned_type(node)
        if kind is None or node.body[0].lineno == node.lineno:
            continue
        start = source.offset(node.lineno, node.col_offset)
        low = max((source.span(arg)[1] for arg in _parameters(node)), default=start)
        head = source.text[low : source.head_end(node)]
        if node.returns is not None:
            text = source.segment(node.returns)
            arrow = f" -> {text}:"
            if text == kind and head.count(arrow) == 1 and "#" not in head:
                at = low + head.index(arrow)
                edit = Edit(at, at + len(arrow) - 1, "", undoes=True)
                yield Site((edit,), rows=(start, source.head_end(node)))
        elif head.rstrip().endswith("):") and "->" not in head:
            at = low + head.rindex("):") + 1
            yield Site((Edit(at, at, f" -> {kind}"),), rows=(start, source.head_end(node)))


def _parameters(node: FunctionNode) -> list[ast.expr | ast.arg]:
    """Parameters, annotations included, and their defaults."""
    arguments = node.args
    others = [arg for arg in (arguments.vararg, arguments.kwarg) if arg is not None]
    defaults = [*arguments.defaults, *(item for item in arguments.kw_defaults if item is not None)]
    return [
        *arguments.posonlyargs,
        *arguments.args,
        *others,
        *arguments.kwonlyargs,
        *defaults,
    ]


def _with_defaults(node: FunctionNode) -> Iterator[tuple[ast.arg, ast.expr]]:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    if arguments.defaults:
        yield from zip(positional[-len(arguments.defaults) :], arguments.defaults, strict=True)
    for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            yield arg, default


def find_parameter_types(source: PythonSource, rng: Random) -> Iterator[Site]:
    """Parameters with literal defaults: without annotations against with them."""
    for node in source.functions():
        edits: list[Edit] = []
        for arg, default in _with_defaults(node):
            kind = _literal_type(default)
            if kind is None or not source.one_line(default):
                continue
            start, end = source.span(arg)[0], source.span(default)[1]
            value = source.segment(default)
            if source.text[start:end] == f"{arg.arg}: {kind} = {value}":
                edits.append(Edit(start, end, f"{arg.arg}={value}", undoes=True))
            elif source.text[start:end] == f"{arg.arg}={value}":
                edits.append(Edit(start, end, f"{arg.arg}: {kind} = {value}"))
        if edits and node.body[0].lineno > node.lineno:
            start = source.offset(node.lineno, node.col_offset)
            yield Site(tuple(edits), rows=(start, source.head_end(node)))


def find_add_parameter(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A header without a last parameter against one with it."""
    for node in source.functions():
        arguments = node.args
        extra = arguments.vararg or arguments.kwarg or arguments.kwonlyargs
        if extra or not arguments.args or node.body[0].lineno == node.lineno:
            continue
        start = source.offset(node.lineno, node.col_offset)
        window = start, source.head_end(node)
        ends = sorted(source.span(part)[1] for part in _parameters(node))
        last = arguments.args[-1]
        low = source.span(last)[0]
        text = source.text[low : ends[-1]]
        before = [end for end in ends if end <= low]
        if arguments.defaults and before and "\n" not in text:
            gap = source.text[before[-1] : low]
            if gap.strip() == ",":
                edit = Edit(before[-1], ends[-1], "", undoes=True)
                yield Site((edit,), {"parameter": text}, rows=window)
        new = rng.choice(_NEW_PARAMETERS)
        name = new.split("=")[0]
        if source.text[ends[-1] :].startswith(")") and not re.search(
            rf"\b{name}\b", source.text[slice(*window)]
        ):
            edit = Edit(ends[-1], ends[-1], f", {new}")
            yield Site((edit,), {"parameter": new}, rows=window)


def find_make_async(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``def`` against ``async def``, where the body awaits."""
    for node in source.all(ast.AsyncFunctionDef):
        start = source.offset(node.lineno, node.col_offset)
        waits = any(isinstance(inner, ast.Await) for inner in _own_nodes(node))
        if waits and source.text.startswith("async def ", start):
            edit = Edit(start, start + len("async "), "", undoes=True)
            yield Site((edit,), rows=(start, source.head_end(node)))


KINDS: tuple[Kind[PythonSource], ...] = (
    Kind(
        "docstring",
        _PYTHON,
        ("add a docstring", "document the function", "write a one-line docstring"),
        find_docstring,
        weight=1.2,
    ),
    Kind(
        "return_type",
        _PYTHON,
        ("add the return type", "annotate the return type", "say what the function returns"),
        find_return_type,
        weight=0.7,
    ),
    Kind(
        "parameter_types",
        _PYTHON,
        (
            "add types to the parameters with defaults",
            "annotate the parameters that have defaults",
            "add type hints by the defaults",
        ),
        find_parameter_types,
        weight=1.5,
    ),
    Kind(
        "add_parameter",
        _PYTHON,
        ("add a parameter {parameter}", "add {parameter} to the parameters", "take {parameter}"),
        find_add_parameter,
        has_argument=True,
        weight=0.6,
    ),
    Kind(
        "make_async",
        _PYTHON,
        ("make it async", "make the function async", "use async def"),
        find_make_async,
        weight=3.0,
    ),
)

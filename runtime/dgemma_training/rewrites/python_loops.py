"""Python kinds about loops, comprehensions and ``with``."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from dgemma_training.rewrites.base import Edit, Kind, Site
from dgemma_training.rewrites.python_blocks import movable, negated, shifted
from dgemma_training.rewrites.python_expressions import is_plain
from dgemma_training.rewrites.python_source import PythonSource, names_in

_PYTHON = ("python",)
_LONGEST_LINE = 100
_TIED = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


@dataclass(frozen=True, slots=True)
class _Collected:
    """What a comprehension and the loop that does the same have in common.

    Attributes:
        start: Where its first statement starts.
        end: Where its last one ends.
        head: The assignment up to its value: ``x = `` or ``x: list[int] = ``.
        name: What is assigned to.
        item: The element's source, or ``key: value``.
        target: The loop variable's source.
        over: The iterable's source.
        test: The condition's source, or nothing.
        brackets: Brackets of the comprehension.
    """

    start: int
    end: int
    head: str
    name: str
    item: str
    target: str
    over: str
    test: str
    brackets: str

    def comprehension(self) -> str:
        """As one statement."""
        test = f" if {self.test}" if self.test else ""
        inner = f"{self.item} for {self.target} in {self.over}{test}"
        return f"{self.head}{self.brackets[0]}{inner}{self.brackets[1]}"

    def loop(self, indent: str, step: str) -> str:
        """As a loop that fills an empty collection."""
        if self.brackets == "[]":
            empty, fill = "[]", f"{self.name}.append({self.item})"
        elif ": " in self.item:
            key, value = self.item.split(": ", 1)
            empty, fill = "{}", f"{self.name}[{key}] = {value}"
        else:
            empty, fill = "set()", f"{self.name}.add({self.item})"
        inner = indent + step
        lines = [f"{self.head}{empty}", f"{indent}for {self.target} in {self.over}:"]
        if self.test:
            lines.append(f"{inner}if {self.test}:")
            inner += step
        return "\n".join((*lines, inner + fill))


def _assigned(source: PythonSource, node: ast.AST | None) -> tuple[str, str, ast.expr] | None:
    """Head, name and value of an assignment to one name."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            pass
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            pass
        case _:
            return None
    if isinstance(source.parent(node), ast.ClassDef):
        # A comprehension does not see the names of the class it is in.
        return None
    start = source.span(node)[0]
    head = source.text[start : source.span(value)[0]]
    return (head, name, value) if head.endswith("= ") and "\n" not in head else None


def _sealed(source: PythonSource, inside: list[ast.AST], target: ast.expr, name: str) -> bool:
    """Whether the loop variable is used nowhere else, and the collection not within."""
    scope = source.function_of(target) or source.tree
    loop_names = {node.id for node in names_in(target)}
    within = [node for part in inside for node in names_in(part)]
    if any(node.id == name for node in within):
        return False
    if any(isinstance(node, _TIED) for part in inside for node in ast.walk(part)):
        return False
    used = sum(node.id in loop_names for node in within)
    return used == sum(node.id in loop_names for node in names_in(scope))


def _comprehensions(source: PythonSource) -> Iterator[_Collected]:
    for kind, brackets in ((ast.ListComp, "[]"), (ast.SetComp, "{}"), (ast.DictComp, "{}")):
        for node in source.all(kind):
            statement = source.parent(node)
            found = _assigned(source, statement)
            if found is None or not isinstance(statement, ast.stmt):
                continue
            if not source.alone(statement) or len(node.generators) != 1:
                continue
            clause = node.generators[0]
            if (
                clause.is_async
                or len(clause.ifs) > 1
                or not _sealed(source, [node], clause.target, found[1])
            ):
                continue
            elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            parts = [*elements, clause.target, clause.iter, *clause.ifs]
            if not all(source.one_line(part) for part in parts):
                continue
            item = ": ".join(source.segment(part) for part in elements)
            if isinstance(node, ast.DictComp) and item.count(": ") > 1:
                continue
            start, end = source.span(statement)
            test = source.segment(clause.ifs[0]) if clause.ifs else ""
            yield _Collected(
                start,
                end,
                found[0],
                found[1],
                item,
                source.segment(clause.target),
                source.segment(clause.iter),
                test,
                brackets,
            )


def _loops(source: PythonSource) -> Iterator[_Collected]:
    for block in source.blocks:
        for one, two in itertools.pairwise(block):
            found = _assigned(source, one)
            match two:
                case ast.For(
                    target=target, iter=over, body=[ast.If(orelse=[]) as branch], orelse=[]
                ):
                    test, inner = branch.test, branch.body
                case ast.For(target=target, iter=over, body=[_] as inner, orelse=[]):
                    test = None
                case _:
                    continue
            if found is None or len(inner) != 1 or not source.alone(one, two):
                continue
            filled = _filled(source, found[1], found[2], inner[0])
            parts = [target, over, *([test] if test is not None else [])]
            if filled is None or not all(source.one_line(part) for part in parts):
                continue
            item, brackets, elements = filled
            if not _sealed(source, [*elements, *parts], target, found[1]):
                continue
            collected = _Collected(
                source.span(one)[0],
                source.span(two)[1],
                found[0],
                found[1],
                item,
                source.segment(target),
                source.segment(over),
                "" if test is None else source.segment(test),
                brackets,
            )
            if len(collected.comprehension()) + one.col_offset <= _LONGEST_LINE:
                yield collected


def _filled(
    source: PythonSource, name: str, empty: ast.expr, node: ast.stmt
) -> tuple[str, str, list[ast.AST]] | None:
    """What a statement puts into a collection, the collection's brackets, and the parts."""
    match empty, node:
        case (
            ast.List(elts=[]),
            ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id=filled), attr="append"), args=[item]
                )
            ),
        ) if filled == name:
            return source.segment(item), "[]", [item]
        case (
            ast.Dict(keys=[]),
            ast.Assign(targets=[ast.Subscript(value=ast.Name(id=filled), slice=key)], value=value),
        ) if filled == name:
            item = f"{source.segment(key)}: {source.segment(value)}"
            return (item, "{}", [key, value]) if item.count(": ") == 1 else None
        case _:
            return None


def find_comprehension_to_loop(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A comprehension against a loop."""
    for found in _comprehensions(source):
        yield Site((Edit(found.start, found.end, _loop(source, found)),))
    for found in _loops(source):
        yield Site((Edit(found.start, found.end, found.comprehension(), undoes=True),))


def find_loop_to_comprehension(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A loop against a comprehension."""
    for found in _comprehensions(source):
        yield Site((Edit(found.start, found.end, _loop(source, found), undoes=True),))
    for found in _loops(source):
        yield Site((Edit(found.start, found.end, found.comprehension()),))


def _loop(source: PythonSource, found: _Collected) -> str:
    rows = source.rows
    indent = source.text[rows.start(rows.line_at(found.start)) : found.start]
    return found.loop(indent, source.step())


def find_enumerate(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``range(len(x))`` against ``enumerate(x)``."""
    for node in source.all(ast.For):
        match node:
            case ast.For(
                target=ast.Tuple(elts=[ast.Name(id=index), ast.Name(id=item)]),
                iter=ast.Call(func=ast.Name(id="enumerate"), args=[over], keywords=[]),
            ) if is_plain(over) and node.body[0].lineno == node.lineno + 1:
                pass
            case _:
                continue
        inner = source.indent(node.body[0])
        sequence = source.segment(over)
        start = source.span(node)[0]
        end = source.head_end(node)
        if source.text[start:end].endswith("):"):
            head = f"for {index} in range(len({sequence})):\n{inner}{item} = {sequence}[{index}]"
            yield Site((Edit(start, end, head, undoes=True),))


def find_with_open(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``f = open(...)`` and ``f.close()`` against ``with``."""
    for node in source.all(ast.With):
        match node:
            case ast.With(
                items=[
                    ast.withitem(context_expr=ast.Call() as call, optional_vars=ast.Name(id=name))
                ],
                body=body,
            ):
                pass
            case _:
                continue
        opened = source.segment(call.func)
        leaves = any(isinstance(item, ast.Return | ast.Raise) for item in body)
        if opened.rsplit(".")[-1] != "open" or leaves or not source.one_line(call):
            continue
        if source.alone(node) and movable(source, body) and body[0].lineno > node.lineno:
            indent = source.indent(node)
            inside = shifted(source, body, indent)
            old = f"{name} = {source.segment(call)}\n{inside}\n{indent}{name}.close()"
            yield Site((source.edit(node, old, undoes=True),))


def find_any_all(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A loop that returns as soon as it knows against ``any`` or ``all``."""
    for node in source.all(ast.Return):
        match node.value:
            case ast.Call(
                func=ast.Name(id="any" | "all" as word),
                args=[ast.GeneratorExp(elt=item, generators=[clause])],
            ) if not clause.ifs and not clause.is_async and source.alone(node):
                pass
            case _:
                continue
        test = source.segment(item) if word == "any" else negated(source, item)
        parts = (item, clause.target, clause.iter)
        if test is None or not all(source.one_line(part) for part in parts):
            continue
        if not _sealed(source, [node], clause.target, ""):
            continue
        indent, step = source.indent(node), source.step()
        inner = indent + step
        over = source.segment(clause.iter)
        old = (
            f"for {source.segment(clause.target)} in {over}:\n{inner}if {test}:\n"
            f"{inner}{step}return {word == 'any'}\n{indent}return {word == 'all'}"
        )
        yield Site((source.edit(node, old, undoes=True),), {"function": f"{word}()"})


KINDS: tuple[Kind[PythonSource], ...] = (
    Kind(
        "comprehension_to_loop",
        _PYTHON,
        ("use a for loop", "expand the comprehension", "replace the comprehension with a loop"),
        find_comprehension_to_loop,
        weight=2.5,
    ),
    Kind(
        "loop_to_comprehension",
        _PYTHON,
        ("use a comprehension", "replace the loop with a comprehension", "make it one expression"),
        find_loop_to_comprehension,
        weight=2.5,
    ),
    Kind(
        "enumerate",
        _PYTHON,
        ("use enumerate", "replace range(len()) with enumerate", "loop with enumerate"),
        find_enumerate,
        weight=2.5,
    ),
    Kind(
        "with_open",
        _PYTHON,
        ("use a with statement", "open the file with `with`", "close the file automatically"),
        find_with_open,
        weight=4.0,
    ),
    Kind(
        "any_all",
        _PYTHON,
        ("use {function}", "replace the loop with {function}"),
        find_any_all,
        has_argument=True,
        weight=4.0,
    ),
)

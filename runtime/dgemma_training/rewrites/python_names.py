"""Python kinds about names: renaming, naming a result, and doing without the name."""

from __future__ import annotations

import ast
import builtins
import itertools
import keyword
import re
from collections import defaultdict
from collections.abc import Iterator
from random import Random

from dgemma_training.rewrites.base import Edit, Kind, Site
from dgemma_training.rewrites.names import another_name
from dgemma_training.rewrites.python_source import FunctionNode, PythonSource

_RESERVED = frozenset(keyword.kwlist) | frozenset(dir(builtins))
_MOST_WINDOWS = 60
_RESULTS = ("result", "value", "output", "answer", "res", "ret", "data")
_WORTH_A_NAME = (ast.Call, ast.BinOp, ast.ListComp, ast.Compare, ast.Await)


def _locals_of(source: PythonSource, function: FunctionNode) -> dict[str, list[tuple[int, int]]]:
    """Where a function's own names are, by name; names shared with other scopes are left out."""
    spots: dict[str, list[tuple[int, int]]] = defaultdict(list)
    own: set[str] = set()
    foreign: set[str] = {"self", "cls"}
    stack: list[ast.AST] = [function.args, *function.body]
    while stack:
        node = stack.pop()
        match node:
            case ast.JoinedStr():
                continue
            case ast.Name(id=name, ctx=context):
                spots[name].append(source.span(node))
                if not isinstance(context, ast.Load):
                    own.add(name)
            case ast.arg(arg=name):
                start = source.span(node)[0]
                spots[name].append((start, start + len(name)))
                own.add(name)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                foreign.update(names)
            case ast.ExceptHandler(name=str() as name) | ast.alias(asname=str() as name):
                # Their places are not in the tree.
                foreign.add(name)
            case _:
                pass
        stack.extend(ast.iter_child_nodes(node))
    return {name: places for name, places in spots.items() if name in own - foreign}


def find_rename(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A local name within one to three logical lines, from the real name or back to it."""
    functions = source.functions()
    rng.shuffle(functions)
    rows = source.rows
    found = 0
    for function in functions:
        words: set[str] | None = None
        for name, spots in _locals_of(source, function).items():
            if name.startswith("__") or name in _RESERVED or found >= _MOST_WINDOWS:
                continue
            if words is None:
                words = set(re.findall(r"\w+", source.segment(function)))
            line = rows.line_at(rng.choice(spots)[0])
            first, last = rows.row(line)
            for _ in range(rng.choice((0, 0, 1, 1, 2))):
                if last + 1 >= rows.count or not rows.line(last + 1).strip():
                    break
                last = rows.row(last + 1)[1]
            start, end = rows.start(first), rows.end(last)
            site = _renamed(source, name, spots, (start, end), words | _RESERVED, rng)
            if site is not None:
                found += 1
                yield site


def _renamed(
    source: PythonSource,
    name: str,
    spots: list[tuple[int, int]],
    window: tuple[int, int],
    taken: set[str],
    rng: Random,
) -> Site | None:
    start, end = window
    selected = source.text[start:end]
    inside = sorted({spot for spot in spots if start <= spot[0] < end})
    known = {low for low, _ in inside}
    for match in re.finditer(rf"\b{re.escape(name)}\b", selected):
        at = start + match.start()
        # An attribute or a keyword of the same name stays; anything else (a string, a comment,
        # an f-string's field) would leave open what the answer should be.
        stays = source.text[:at].endswith(".") or re.match(r"=[^=]", source.text[at + len(name) :])
        if at not in known and not stays:
            return None
    new = another_name(name, taken, rng)
    if new is None or not inside:
        return None
    undoes = rng.random() < 0.5
    edits = tuple(Edit(low, high, new, undoes) for low, high in inside)
    old, asked = (new, name) if undoes else (name, new)
    return Site(edits, {"old": old, "new": asked}, rows=(start, end))


def find_extract_variable(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``return f(x)`` against ``name = f(x)`` and ``return name``."""
    for node in source.all(ast.Return):
        value = node.value
        name = rng.choice(_RESULTS)
        if not isinstance(value, _WORTH_A_NAME) or not source.one_line(node):
            continue
        if source.alone(node) and not re.search(rf"\b{name}\b", source.segment(node)):
            indent = source.indent(node)
            new = f"{name} = {source.segment(value)}\n{indent}return {name}"
            yield Site((source.edit(node, new),), {"name": name})
    for start, end, name, value in _named_results(source):
        yield Site((Edit(start, end, f"return {value}", undoes=True),), {"name": name})


def find_inline_variable(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``name = f(x)`` and ``return name`` against ``return f(x)``."""
    for start, end, name, value in _named_results(source):
        yield Site((Edit(start, end, f"return {value}"),), {"name": name})
    for site in find_extract_variable(source, rng):
        edit = site.edits[0]
        if not edit.undoes:
            undone = Edit(edit.start, edit.end, edit.new, undoes=True)
            yield Site((undone,), site.values)


def _named_results(source: PythonSource) -> Iterator[tuple[int, int, str, str]]:
    """Pairs of ``name = value`` and ``return name``: their range, the name and the value."""
    for block in source.blocks:
        for one, two in itertools.pairwise(block):
            match one, two:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value),
                    ast.Return(value=ast.Name(id=returned)),
                ) if name == returned and source.alone(one, two) and source.one_line(one):
                    text = source.segment(value)
                    if not re.search(rf"\b{name}\b", text):
                        yield source.span(one)[0], source.span(two)[1], name, text
                case _:
                    pass


KINDS: tuple[Kind[PythonSource], ...] = (
    Kind(
        "rename_local",
        ("python",),
        ("rename {old} to {new}", "change the name {old} to {new}", "call it {new}, not {old}"),
        find_rename,
        has_argument=True,
        weight=1.3,
    ),
    Kind(
        "extract_variable",
        ("python",),
        (
            "assign the result to {name}, then return it",
            "extract a variable {name}",
            "name the returned value {name}",
        ),
        find_extract_variable,
        has_argument=True,
        weight=0.7,
    ),
    Kind(
        "inline_variable",
        ("python",),
        ("inline {name}", "return it directly without {name}", "remove the variable {name}"),
        find_inline_variable,
        has_argument=True,
        weight=0.7,
    ),
)

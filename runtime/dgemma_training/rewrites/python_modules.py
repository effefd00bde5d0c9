"""Python kinds about imports, and about statements whose change is all in the instruction."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from random import Random

from dgemma_training.rewrites.base import Edit, Kind, Site
from dgemma_training.rewrites.python_source import PythonSource

_PYTHON = ("python",)
_LEVELS = frozenset({"debug", "info", "warning", "error", "exception"})
_LOGGERS = frozenset({"logger", "log", "logging", "_logger", "LOGGER", "LOG", "_LOGGER", "_log"})
_WORDS = ("default", "name", "unknown", "main", "value", "en", "left", "blue", "test", "user")


def import_key(node: ast.Import | ast.ImportFrom) -> tuple[int, str]:
    """What imports are sorted by: plain ones first, then by module."""
    if isinstance(node, ast.Import):
        return 0, node.names[0].name.lower()
    return 1, ("." * node.level + (node.module or "")).lower()


def _import_blocks(source: PythonSource) -> Iterator[list[ast.Import | ast.ImportFrom]]:
    """Runs of imports of one line each, on lines next to each other, nothing like them around."""
    for block in source.blocks:
        run: list[ast.Import | ast.ImportFrom] = []
        for node in [*block, None]:
            follows = node is not None and run and node.lineno == (run[-1].end_lineno or 0) + 1
            if run and not (follows and isinstance(node, ast.Import | ast.ImportFrom)):
                yield run
                run = []
            if isinstance(node, ast.Import | ast.ImportFrom):
                run.append(node)


def find_sort_imports(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A group of imports out of order against the same sorted."""
    for run in _import_blocks(source):
        keys = [import_key(node) for node in run]
        whole = all(source.one_line(node) for node in run) and source.alone(*run)
        future = any(key[1] == "__future__" for key in keys)
        if not (2 <= len(run) <= 5 and whole and not future and len(set(keys)) == len(keys)):
            continue
        start, end = source.block_span(*run)
        lines = source.text[start:end].split("\n")
        if len(lines) != len(run):
            continue
        if keys == sorted(keys):
            mixed = list(lines)
            while mixed == lines:
                rng.shuffle(mixed)
            yield Site((Edit(start, end, "\n".join(mixed), undoes=True),))
        else:
            order = sorted(range(len(run)), key=lambda index: keys[index])
            yield Site((Edit(start, end, "\n".join(lines[index] for index in order)),))


def find_sort_names(source: PythonSource, rng: Random) -> Iterator[Site]:
    """Names of one ``from`` import out of order against the same sorted."""
    for node in source.all(ast.ImportFrom):
        names = [alias.name for alias in node.names]
        if len(names) < 2 or not source.one_line(node) or not source.alone(node):
            continue
        start, end = source.span(node)
        text = source.text[start:end]
        written = [
            name + (f" as {a.asname}" if a.asname else "")
            for name, a in zip(names, node.names, strict=True)
        ]
        listed = ", ".join(written)
        # Cases are sorted in more ways than one.
        one_case = len({name[:1].isupper() for name in names}) == 1 and not any(
            name.isupper() for name in names
        )
        if not text.endswith(f"import {listed}") or not one_case or len(set(names)) < len(names):
            continue
        low = end - len(listed)
        if names == sorted(names, key=str.lower):
            mixed = list(written)
            while mixed == written:
                rng.shuffle(mixed)
            yield Site((Edit(low, end, ", ".join(mixed), undoes=True),))
        else:
            new = ", ".join(sorted(written, key=str.lower))
            yield Site((Edit(low, end, new),))


def find_split_imports(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``import a, b`` against one import per line."""
    for node in source.all(ast.Import):
        if 2 <= len(node.names) <= 5 and source.alone(node) and source.one_line(node):
            parts = source.segment(node).removeprefix("import ").split(",")
            new = f"\n{source.indent(node)}".join(f"import {part.strip()}" for part in parts)
            yield Site((source.edit(node, new),))
    for run in _import_blocks(source):
        plain = [node for node in run if isinstance(node, ast.Import) and len(node.names) == 1]
        if 2 <= len(plain) == len(run) <= 4 and source.alone(*run):
            names = [source.segment(node).removeprefix("import ") for node in run]
            start, end = source.span(run[0])[0], source.span(run[-1])[1]
            yield Site((Edit(start, end, f"import {', '.join(names)}", undoes=True),))


def find_raise_from(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``raise`` in a handler against the same with its cause."""
    for node in source.all(ast.Raise):
        if isinstance(node.exc, ast.Call) and isinstance(node.cause, ast.Name):
            start, end = source.span(node.exc)[1], source.span(node)[1]
            if source.text[start:end] == f" from {node.cause.id}" and source.alone(node):
                edit = Edit(start, end, "", undoes=True)
                yield Site((edit,), {"name": node.cause.id}, rows=source.span(node))


def find_use_logger(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``print`` against a logger's method."""
    for node in source.all(ast.Call):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr=level) as method,
                args=[ast.Constant() | ast.JoinedStr() | ast.Name() | ast.BinOp()],
                keywords=[],
            ) if name in _LOGGERS and level in _LEVELS:
                edit = source.edit(method, "print", undoes=True)
                yield Site((edit,), {"method": f"{name}.{level}"})
            case _:
                pass


def find_replace_value(source: PythonSource, rng: Random) -> Iterator[Site]:
    """A constant against another that the instruction names."""
    constants = [node for node in source.all(ast.Constant) if _is_value(source, node)]
    for node in rng.sample(constants, min(len(constants), 40)):
        old = source.segment(node)
        new = _other_value(old, rng)
        undoes = rng.random() < 0.5
        start, end = source.span(node)
        rows = source.rows
        low, high = rows.row(rows.line_at(start))
        line = source.text[rows.start(low) : rows.end(high)]
        # The instruction must name one place.
        alone = len(re.findall(rf"(?<![\w.]){re.escape(old)}(?![\w.])", line)) == 1
        if new != old and alone and new not in line:
            values = {"old": new, "new": old} if undoes else {"old": old, "new": new}
            yield Site((Edit(start, end, new, undoes),), values, rows=(start, end))


def _is_value(source: PythonSource, node: ast.Constant) -> bool:
    if isinstance(source.parent(node), ast.Expr) or not source.one_line(node):
        return False
    if isinstance(node.value, str):
        return re.fullmatch(r"[\"'][a-z_-]{3,12}[\"']", source.segment(node)) is not None
    return isinstance(node.value, int | float) and source.segment(node)[0].isdigit()


def _other_value(old: str, rng: Random) -> str:
    if not old[0].isdigit():
        return f"{old[0]}{rng.choice(_WORDS)}{old[0]}"
    if "." in old:
        return rng.choice(("0.5", "1.5", "0.25", "2.0", "0.01", "0.9"))
    return str(rng.choice((2, 3, 4, 5, 8, 10, 12, 16, 20, 32, 50, 64, 100, 128, 256, 1000)))


KINDS: tuple[Kind[PythonSource], ...] = (
    Kind(
        "sort_imports",
        _PYTHON,
        ("sort the imports", "put the imports in order", "order the imports"),
        find_sort_imports,
        weight=0.4,
    ),
    Kind(
        "sort_names",
        _PYTHON,
        ("sort the imported names", "put the names in order"),
        find_sort_names,
        together=True,
        weight=0.8,
    ),
    Kind(
        "split_imports",
        _PYTHON,
        ("one import per line", "split the import"),
        find_split_imports,
        weight=2.0,
    ),
    Kind(
        "raise_from",
        _PYTHON,
        ("raise from {name}", "chain the exception to {name}"),
        find_raise_from,
        has_argument=True,
        weight=3.0,
    ),
    Kind(
        "use_logger",
        _PYTHON,
        ("use {method} instead of print", "replace print with {method}", "log with {method}"),
        find_use_logger,
        has_argument=True,
        weight=3.0,
    ),
    Kind(
        "replace_value",
        _PYTHON,
        ("replace {old} with {new}", "change {old} to {new}", "use {new}, not {old}"),
        find_replace_value,
        has_argument=True,
        weight=0.4,
    ),
)

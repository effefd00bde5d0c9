"""Python kinds about formatted strings: f-strings against ``%`` and ``str.format``.

F-strings are read from their source rather than from the tree, whose positions inside f-strings
are not to be relied on before Python 3.12.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from dgemma_training.rewrites.base import Kind, Site
from dgemma_training.rewrites.python_code import parsed
from dgemma_training.rewrites.python_source import PythonSource

_STRING = re.compile(
    r"""(?P<prefix>[A-Za-z]*)(?P<quote>"{3}|'{3}|"|')(?P<body>.*)(?P=quote)$""", re.S
)
_PERCENT = re.compile(r"%(?P<kind>[sr%])|%(?P<other>.)")
_NAME = re.compile(r"[A-Za-z_]\w*$")


@dataclass(frozen=True, slots=True)
class _Field:
    """One replacement field: ``{expression!conversion:spec}``."""

    expression: str
    conversion: str = ""
    spec: str = ""


_Part = str | _Field


@dataclass(frozen=True, slots=True)
class _Literal:
    quote: str
    body: str


def _literal(text: str, prefix: str) -> _Literal | None:
    """A string literal of one piece with exactly this prefix."""
    match = _STRING.match(text)
    if match is None or match["prefix"] != prefix or "\n" in text:
        return None
    quote, body = match["quote"], match["body"]
    # Two literals next to each other would match as one.
    return None if re.search(r"(?<!\\)" + quote, body) else _Literal(quote, body)


def _split_f(body: str) -> list[_Part] | None:
    """The parts of an f-string's body; literal parts keep their doubled braces."""
    parts: list[_Part] = []
    text = ""
    at = 0
    while at < len(body):
        pair = body[at : at + 2]
        if pair in ("{{", "}}"):
            text += pair
            at += 2
        elif body[at] == "{":
            end = _field_end(body, at + 1)
            field = None if end is None else _field(body[at + 1 : end])
            if end is None or field is None:
                return None
            parts += [text, field]
            text = ""
            at = end + 1
        elif body[at] == "}":
            return None
        else:
            text += body[at]
            at += 1
    return [*parts, text]


def _field_end(body: str, at: int) -> int | None:
    """The brace that closes a field; fields with quotes and brackets in them are told apart."""
    depth, quote = 0, ""
    while at < len(body):
        char = body[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            if depth == 0:
                return at if char == "}" else None
            depth -= 1
        at += 1
    return None


def _field(text: str) -> _Field | None:
    match = re.match(
        r"(?P<expression>.+?)(?:!(?P<conversion>[rsa]))?(?::(?P<spec>[^{}:]*))?$", text
    )
    if match is None:
        return None
    expression = match["expression"]
    tree = parsed(expression)
    simple = (
        tree is not None
        and expression == expression.strip()
        and len(tree.body) == 1
        and isinstance(tree.body[0], ast.Expr)
        and isinstance(tree.body[0].value, ast.Name | ast.Attribute | ast.Subscript | ast.Call)
    )
    if not simple:
        return None
    return _Field(expression, match["conversion"] or "", match["spec"] or "")


def _as_f(literal: _Literal, parts: list[_Part]) -> str | None:
    """The f-string of some parts, or ``None`` where Python before 3.12 would not take it."""
    inner = ""
    for part in parts:
        if isinstance(part, str):
            inner += part
            continue
        if any(char in part.expression for char in (literal.quote, "\\", "\n", "#")):
            return None
        if part.expression.startswith("{"):
            return None
        conversion = f"!{part.conversion}" if part.conversion else ""
        spec = f":{part.spec}" if part.spec else ""
        inner += f"{{{part.expression}{conversion}{spec}}}"
    return f"f{literal.quote}{inner}{literal.quote}"


def _as_format(literal: _Literal, parts: list[_Part], *, named: bool) -> str | None:
    """The ``str.format`` call of some parts; by name where every expression is a name."""
    inner = ""
    arguments: list[str] = []
    for part in parts:
        if isinstance(part, str):
            inner += part
            continue
        conversion = f"!{part.conversion}" if part.conversion else ""
        spec = f":{part.spec}" if part.spec else ""
        inner += f"{{{part.expression if named else ''}{conversion}{spec}}}"
        argument = f"{part.expression}={part.expression}" if named else part.expression
        if not (named and argument in arguments):
            arguments.append(argument)
    return f"{literal.quote}{inner}{literal.quote}.format({', '.join(arguments)})"


def _as_percent(literal: _Literal, parts: list[_Part]) -> str | None:
    """The ``%`` formatting of some parts, where there are no format specifications."""
    inner = ""
    arguments: list[str] = []
    for part in parts:
        if isinstance(part, str):
            inner += part.replace("{{", "{").replace("}}", "}").replace("%", "%%")
        elif part.spec or part.conversion == "a":
            return None
        else:
            inner += "%r" if part.conversion == "r" else "%s"
            arguments.append(part.expression)
    # A lone argument that happened to be a tuple would be taken apart.
    lone = len(arguments) == 1 and not arguments[0].endswith(")")
    values = arguments[0] if lone else f"({', '.join(arguments)}{',' * (len(arguments) == 1)})"
    return f"{literal.quote}{inner}{literal.quote} % {values}"


def _f_parts(source: PythonSource, node: ast.JoinedStr) -> tuple[_Literal, list[_Part]] | None:
    literal = _literal(source.segment(node), "f") if source.one_line(node) else None
    parts = None if literal is None else _split_f(literal.body)
    if literal is None or parts is None or len(parts) < 2:
        return None
    return literal, parts


def _format_parts(source: PythonSource, node: ast.Call) -> tuple[_Literal, list[_Part]] | None:
    """The parts of ``"...".format(...)`` with positional or named fields, each used once."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str()) as text, attr="format"),
            args=args,
            keywords=keywords,
        ):
            literal = _literal(source.segment(text), "")
            parts = (
                None if literal is None else _split_f(re.sub(r"\{(?=[!:}])", "{_", literal.body))
            )
        case _:
            return None
    if literal is None or parts is None or any(isinstance(arg, ast.Starred) for arg in args):
        return None
    given = {item.arg: source.segment(item.value) for item in keywords if item.arg is not None}
    waiting = [source.segment(arg) for arg in args]
    filled: list[_Part] = []
    used: list[str] = []
    for part in parts:
        if isinstance(part, str):
            filled.append(part)
            continue
        if part.expression == "_":
            if not waiting:
                return None
            expression = waiting.pop(0)
        elif part.expression in given and part.expression not in used:
            used.append(part.expression)
            expression = given[part.expression]
        else:
            return None
        filled.append(_Field(expression, part.conversion, part.spec))
    complete = not waiting and len(used) == len(given) == len(keywords)
    return (literal, filled) if complete and len(filled) > 1 else None


def _percent_parts(source: PythonSource, node: ast.BinOp) -> tuple[_Literal, list[_Part]] | None:
    """The parts of ``"..." % ...`` with plain ``%s`` and ``%r`` fields."""
    match node:
        case ast.BinOp(left=ast.Constant(value=str()) as text, op=ast.Mod(), right=right):
            literal = _literal(source.segment(text), "")
        case _:
            return None
    if literal is None:
        return None
    if isinstance(right, ast.Tuple):
        waiting = [source.segment(item) for item in right.elts]
    elif isinstance(right, ast.Attribute | ast.Subscript | ast.Call | ast.Name):
        waiting = [source.segment(right)]
    else:
        return None
    parts: list[_Part] = []
    at = 0
    for match in _PERCENT.finditer(literal.body):
        parts.append(_doubled(literal.body[at : match.start()]))
        at = match.end()
        if match["other"] is not None or (match["kind"] != "%" and not waiting):
            return None
        if match["kind"] == "%":
            parts.append("%")
            continue
        conversion = "r" if match["kind"] == "r" else ""
        parts.append(_Field(waiting.pop(0), conversion))
    parts.append(_doubled(literal.body[at:]))
    return None if waiting or len(parts) < 2 else (literal, parts)


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _simple(parts: list[_Part]) -> bool:
    """Whether every expression reads well and parses where a field wants it."""
    fields = [part for part in parts if isinstance(part, _Field)]
    return bool(fields) and all(_field(part.expression) is not None for part in fields)


def find_f_string(source: PythonSource, rng: Random) -> Iterator[Site]:
    """``%`` and ``str.format`` against f-strings."""
    for node in source.all(ast.JoinedStr):
        found = _f_parts(source, node)
        if found is None or isinstance(source.parent(node), ast.Attribute | ast.BinOp):
            continue
        literal, parts = found
        fields = [part for part in parts if isinstance(part, _Field)]
        named = rng.random() < 0.2 and all(_NAME.match(field.expression) for field in fields)
        old = _as_format(literal, parts, named=named)
        if rng.random() < 0.5:
            old = _as_percent(literal, parts) or old
        if old is not None:
            yield Site((source.edit(node, old, undoes=True),))
    for node in source.all(ast.Call):
        yield from _to_f(source, node, _format_parts(source, node))
    for node in source.all(ast.BinOp):
        yield from _to_f(source, node, _percent_parts(source, node))


def _to_f(
    source: PythonSource, node: ast.expr, found: tuple[_Literal, list[_Part]] | None
) -> Iterator[Site]:
    if found is None or not source.one_line(node) or not _simple(found[1]):
        return
    new = _as_f(*found)
    if new is not None:
        yield Site((source.edit(node, new),))


def find_format_call(source: PythonSource, rng: Random) -> Iterator[Site]:
    """F-strings and ``%`` against ``str.format``."""
    for node in source.all(ast.JoinedStr):
        found = _f_parts(source, node)
        if found is not None and not isinstance(source.parent(node), ast.Attribute | ast.BinOp):
            new = _as_format(*found, named=False)
            if new is not None:
                yield Site((source.edit(node, new),))
    for node in source.all(ast.Call):
        found = _format_parts(source, node)
        positional = found is not None and not node.keywords and _simple(found[1])
        if found is not None and positional and source.one_line(node):
            old = _as_f(*found) if rng.random() < 0.7 else _as_percent(*found)
            if old is not None:
                yield Site((source.edit(node, old, undoes=True),))


KINDS: tuple[Kind[PythonSource], ...] = (
    Kind(
        "f_string",
        ("python",),
        ("use an f-string", "convert to an f-string", "format with an f-string"),
        find_f_string,
        together=True,
        weight=2.0,
    ),
    Kind(
        "format_call",
        ("python",),
        ("use str.format", "replace the f-string with .format()", "convert to .format()"),
        find_format_call,
        together=True,
    ),
)

"""JavaScript and TypeScript kinds about functions and declarations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from tree_sitter import Node

from dgemma_training.rewrites.base import Edit, Kind, Site
from dgemma_training.rewrites.script_source import (
    LANGUAGES,
    TYPED,
    ScriptSource,
    field,
    one_line,
)

_BOUND = re.compile(r"\b(this|arguments|super|new\.target)\b")
_LONGEST_BODY = 30
_NEW_PARAMETERS = (
    "verbose = false",
    "timeout = 1000",
    "limit = 10",
    "options = {}",
    "name = ''",
    "strict = true",
    "depth = 0",
    "callback = null",
    "retries = 3",
    "debug = false",
    "force = false",
    "index = 0",
)
_LITERALS = {"number": "number", "string": "string", "true": "boolean", "false": "boolean"}


def _find_keyword(source: ScriptSource, word: str, rng: Random) -> Iterator[Site]:
    for node in source.all("lexical_declaration"):
        kind = field(node, "kind")
        if kind is not None and kind.type == word:
            old = "let" if word == "const" and rng.random() < 0.5 else "var"
            if all(field(item, "value") is not None for item in node.named_children):
                yield Site((source.edit(kind, old, undoes=True),))


def find_use_const(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``var`` or ``let`` against ``const``."""
    yield from _find_keyword(source, "const", rng)


def find_use_let(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``var`` against ``let``."""
    yield from _find_keyword(source, "let", rng)


def _as_function(source: ScriptSource, node: Node) -> Edit | None:
    """The edit that makes a function expression of an arrow function."""
    body = field(node, "body")
    given = field(node, "parameters") or field(node, "parameter")
    if body is None or given is None or _BOUND.search(source.segment(node)):
        return None
    start = source.span(node)[0]
    if source.text[start : source.span(given)[0]].strip() not in ("", "async"):
        return None
    parameters = source.segment(given)
    if given.type == "identifier":
        parameters = f"({parameters})"
    low, high = source.span(given)[1], source.span(body)[0]
    kind = source.text[low:high].split("=>")[0].strip()
    word = "async function" if source.segment(node).startswith("async") else "function"
    head = f"{word} {parameters}{kind} "
    if body.type == "statement_block":
        return Edit(start, high, head)
    value = source.segment(body)
    if body.type == "parenthesized_expression":
        value = value[1:-1].strip()
    if not one_line(body):
        return None
    return Edit(start, source.span(node)[1], f"{head}{{ return {value}; }}")


def _as_arrow(source: ScriptSource, node: Node) -> Edit | None:
    """The edit that makes an arrow function of a function expression without a name."""
    body, given = field(node, "body"), field(node, "parameters")
    text = source.segment(node)
    if body is None or given is None or field(node, "name") is not None or _BOUND.search(text):
        return None
    # An arrow function binds less tightly than a function: not where it is called or a member.
    roomy = node.parent is not None and node.parent.type in (
        "arguments",
        "pair",
        "variable_declarator",
        "assignment_expression",
        "return_statement",
    )
    if not roomy or "*" in text[:12] or field(node, "type_parameters") is not None:
        return None
    low, high = source.span(given)[1], source.span(body)[0]
    kind = source.text[low:high].strip()
    word = "async " if text.startswith("async") else ""
    return Edit(source.span(node)[0], high, f"{word}{source.segment(given)}{kind} => ")


def find_arrow_function(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """Function expressions against arrow functions."""
    for node in source.all("arrow_function"):
        edit = _as_function(source, node)
        body = field(node, "body")
        # A body that is an expression has two ways to be written as an arrow function.
        if edit is not None and body is not None and body.type == "statement_block":
            yield Site((Edit(edit.start, edit.end, edit.new, undoes=True),))
    for node in source.all("function_expression"):
        edit = _as_arrow(source, node)
        if edit is not None:
            yield Site((edit,))


def find_function_expression(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """Arrow functions against function expressions."""
    for node in source.all("arrow_function"):
        edit = _as_function(source, node)
        if edit is not None:
            yield Site((edit,))
    for node in source.all("function_expression"):
        edit = _as_arrow(source, node)
        if edit is not None:
            yield Site((Edit(edit.start, edit.end, edit.new, undoes=True),))


def _arrow_bodies(source: ScriptSource) -> Iterator[tuple[Edit, bool]]:
    """Edits between the two kinds of arrow bodies, and whether they make a block."""
    for node in source.all("arrow_function"):
        body = field(node, "body")
        if body is None or re.search(r"//|/\*", source.segment(body)):
            continue
        if body.type != "statement_block":
            value = source.segment(body)
            bare = body.type == "parenthesized_expression"
            indent, stop = source.indent(node), source.stop()
            if one_line(body) and source.indent(body) == indent:
                inner = value[1:-1].strip() if bare else value
                new = f"{{\n{indent}{source.step()}return {inner}{stop}\n{indent}}}"
                yield source.edit(body, new), True
        elif len(body.named_children) == 1 and body.named_children[0].type == "return_statement":
            given = body.named_children[0].named_children
            if len(given) == 1 and one_line(given[0]):
                value = source.segment(given[0])
                if given[0].type in ("object", "sequence_expression"):
                    value = f"({value})"
                yield source.edit(body, value), False


def find_arrow_block(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """An arrow function of an expression against one with a block."""
    for edit, makes_block in _arrow_bodies(source):
        yield Site((Edit(edit.start, edit.end, edit.new, undoes=not makes_block),))


def find_arrow_expression(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """An arrow function with a block against one of an expression."""
    for edit, makes_block in _arrow_bodies(source):
        yield Site((Edit(edit.start, edit.end, edit.new, undoes=makes_block),))


def find_export(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """A declaration against the same exported."""
    for node in source.all("export_statement"):
        inner = field(node, "declaration")
        if inner is not None and source.segment(node).startswith("export "):
            low, high = source.span(node)[0], source.span(inner)[0]
            if source.text[low:high] == "export ":
                yield Site((Edit(low, high, "", undoes=True),))


def find_make_async(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """A function against an async one, where the body awaits."""
    for node in source.all("function_declaration", "method_definition", "arrow_function"):
        first = next((child for child in node.children if child.type == "async"), None)
        body = field(node, "body")
        if first is None or body is None:
            continue
        if any(inner.type == "await_expression" for inner in source.own_nodes(body)):
            start, end = source.span(first)
            if source.text[end : end + 1] == " ":
                edit = Edit(start, end + 1, "", undoes=True)
                yield Site((edit,), rows=(start, source.span(body)[0]))


def find_add_parameter(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """A function without a last parameter against one with it."""
    for node in source.all("function_declaration", "method_definition"):
        given = field(node, "parameters")
        items = [] if given is None else given.named_children
        if given is None or not items or not one_line(given):
            continue
        texts = [source.segment(item) for item in items]
        if any(text.startswith("...") or "/*" in text for text in texts):
            continue
        low, end = source.span(items[-1])
        if len(items) > 1:
            start = source.span(items[-2])[1]
            if source.text[start:low].strip() == "," and len(texts[-1]) < 40:
                edit = Edit(start, end, "", undoes=True)
                yield Site((edit,), {"parameter": texts[-1]}, rows=(start, end))
        new = rng.choice(_NEW_PARAMETERS)
        if source.text[end : end + 1] == ")" and new.split(" ")[0] not in source.segment(given):
            edit = Edit(end, end, f", {new}")
            yield Site((edit,), {"parameter": new}, rows=(low, end))


def returned_type(source: ScriptSource, node: Node) -> str | None:
    """What a function returns where its body leaves no doubt; ``None`` elsewhere."""
    body = field(node, "body")
    text = source.segment(node)
    if body is None or body.type != "statement_block" or "async" in text[: text.find("(")]:
        return None
    if text.count("\n") > _LONGEST_BODY or not body.named_children or "*" in text[:20]:
        return None
    last = body.named_children[-1].type
    kinds: set[str | None] = set()
    for inner in source.own_nodes(body):
        if inner.type == "return_statement":
            value = inner.named_children
            kinds.add(_value_type(source, value[0]) if value else "void")
    if not kinds:
        return None if last == "throw_statement" else "void"
    if len(kinds) != 1 or (kinds != {"void"} and last != "return_statement"):
        return None
    return kinds.pop()


def _value_type(source: ScriptSource, node: Node) -> str | None:
    if node.type == "template_string":
        return "string"
    if node.type == "unary_expression" and source.segment(node).startswith("!"):
        return "boolean"
    if node.type == "binary_expression":
        sign = field(node, "operator")
        comparing = sign is not None and sign.type in ("===", "!==", "<", ">", "<=", ">=")
        return "boolean" if comparing else None
    return _LITERALS.get(node.type)


def find_return_type(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """A function without a return type against one with it."""
    for node in source.all("function_declaration", "method_definition"):
        given, body, written = (field(node, name) for name in ("parameters", "body", "return_type"))
        kind = returned_type(source, node)
        name = field(node, "name")
        if kind is None or given is None or body is None or name is None:
            continue
        if source.segment(name) == "constructor" or source.segment(node).startswith("set "):
            continue
        at = source.span(given)[1]
        rows = source.span(name)[0], source.span(body)[0]
        if written is None:
            yield Site((Edit(at, at, f": {kind}"),), rows=rows)
        elif source.segment(written) == f": {kind}":
            yield Site((Edit(at, source.span(written)[1], "", undoes=True),), rows=rows)


def find_parameter_types(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """Parameters with literal defaults: without types against with them."""
    for node in source.all("formal_parameters"):
        edits: list[Edit] = []
        for item in node.named_children:
            name, value, kind = (field(item, part) for part in ("pattern", "value", "type"))
            if name is None or value is None or name.type != "identifier":
                continue
            wanted = _LITERALS.get(value.type)
            start, end = source.span(name)[1], source.span(value)[0]
            if wanted is None:
                continue
            if kind is None and source.text[start:end] == " = ":
                edits.append(Edit(start, end, f": {wanted} = "))
            elif kind is not None and source.text[start:end] == f": {wanted} = ":
                edits.append(Edit(start, end, " = ", undoes=True))
        if edits:
            yield Site(tuple(edits))


KINDS: tuple[Kind[ScriptSource], ...] = (
    Kind(
        "use_const",
        LANGUAGES,
        ("use const", "declare with const", "make it const"),
        find_use_const,
        together=True,
        weight=0.8,
    ),
    Kind(
        "use_let",
        LANGUAGES,
        ("use let", "declare with let", "replace var with let"),
        find_use_let,
        together=True,
    ),
    Kind(
        "arrow_function",
        LANGUAGES,
        ("use an arrow function", "convert to an arrow function", "make it an arrow function"),
        find_arrow_function,
        together=True,
    ),
    Kind(
        "function_expression",
        LANGUAGES,
        ("use a function expression", "replace the arrow function with function"),
        find_function_expression,
        together=True,
        weight=0.6,
    ),
    Kind(
        "arrow_block",
        LANGUAGES,
        ("add braces and a return", "give the arrow function a block", "use a block body"),
        find_arrow_block,
        together=True,
    ),
    Kind(
        "arrow_expression",
        LANGUAGES,
        ("remove the braces and the return", "use an expression body"),
        find_arrow_expression,
        together=True,
    ),
    Kind(
        "export",
        LANGUAGES,
        ("export it", "add export", "make it an export"),
        find_export,
        together=True,
        weight=3.0,
    ),
    Kind(
        "make_async",
        LANGUAGES,
        ("make it async", "make the function async", "use async"),
        find_make_async,
        weight=1.5,
    ),
    Kind(
        "add_parameter",
        LANGUAGES,
        ("add a parameter {parameter}", "add {parameter} to the parameters", "take {parameter}"),
        find_add_parameter,
        has_argument=True,
        weight=0.6,
    ),
    Kind(
        "return_type",
        TYPED,
        ("add the return type", "annotate the return type", "say what the function returns"),
        find_return_type,
    ),
    Kind(
        "parameter_types",
        TYPED,
        (
            "add types to the parameters with defaults",
            "annotate the parameters that have defaults",
            "add types by the defaults",
        ),
        find_parameter_types,
        together=True,
        weight=3.0,
    ),
)

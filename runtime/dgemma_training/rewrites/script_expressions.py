"""JavaScript and TypeScript kinds within one expression."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from tree_sitter import Node

from dgemma_training.rewrites.base import Edit, Kind, Site
from dgemma_training.rewrites.script_source import (
    LANGUAGES,
    ScriptSource,
    field,
    is_plain,
    one_line,
)

_SIGNS = frozenset({"+", "-", "*", "/", "%", "|", "&", "<<", ">>"})
_ATOMS = frozenset(
    {
        "identifier",
        "member_expression",
        "subscript_expression",
        "call_expression",
        "number",
        "string",
        "template_string",
        "this",
        "array",
        "parenthesized_expression",
    }
)
_ROOMY = frozenset(
    {
        "variable_declarator",
        "return_statement",
        "assignment_expression",
        "arguments",
        "pair",
        "parenthesized_expression",
        "arrow_function",
        "template_substitution",
    }
)
"""Parents under which an expression of any precedence stays whole."""
_PLAIN_TEXT = re.compile(r"[^\\`$'\"\n]*")


def _operator(node: Node) -> str:
    sign = field(node, "operator")
    return "" if sign is None else sign.type


def _sides(node: Node) -> tuple[Node, Node] | None:
    left, right = field(node, "left"), field(node, "right")
    return None if left is None or right is None else (left, right)


def _roomy(node: Node) -> bool:
    return node.parent is not None and node.parent.type in _ROOMY


def find_strict_equality(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``==`` against ``===``."""
    for node in source.all("binary_expression"):
        sign, sides = field(node, "operator"), _sides(node)
        if sign is None or sides is None:
            continue
        if sign.type in ("===", "!=="):
            yield Site((source.edit(sign, sign.type[:-1], undoes=True),))
        elif sign.type in ("==", "!=") and not any(side.type == "null" for side in sides):
            # ``x == null`` is the usual way to ask for undefined, too.
            yield Site((source.edit(sign, sign.type + "="),))


def find_augmented_assign(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``x = x + 1`` against ``x += 1``."""
    for node in source.all("augmented_assignment_expression"):
        sides = _sides(node)
        sign = _operator(node)[:-1]
        if sides is None or sign not in _SIGNS or not is_plain(sides[0]) or not one_line(node):
            continue
        target, value = (source.segment(side) for side in sides)
        if sides[1].type not in _ATOMS:
            value = f"({value})"
        yield Site((source.edit(node, f"{target} = {target} {sign} {value}", undoes=True),))
    for node in source.all("assignment_expression"):
        sides = _sides(node)
        if sides is None or sides[1].type != "binary_expression" or not is_plain(sides[0]):
            continue
        inner, sign = _sides(sides[1]), _operator(sides[1])
        if inner is None or sign not in _SIGNS or not one_line(node):
            continue
        target = source.segment(sides[0])
        if source.segment(inner[0]) == target:
            yield Site((source.edit(node, f"{target} {sign}= {source.segment(inner[1])}"),))


def find_template_literal(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """Strings joined with ``+`` against template literals."""
    for node in source.all("template_string"):
        parent = node.parent
        if parent is None or parent.type not in _ROOMY or not one_line(node):
            continue
        old = _joined(source, node)
        if old is not None:
            yield Site((source.edit(node, old, undoes=True),))
    for node in source.all("binary_expression"):
        parent = node.parent
        inner = parent is not None and parent.type == "binary_expression"
        if _operator(node) != "+" or inner or not one_line(node):
            continue
        new = _template(source, _terms(node))
        if new is not None:
            yield Site((source.edit(node, new),))


def _joined(source: ScriptSource, node: Node) -> str | None:
    """A template literal's parts joined with ``+``; ``None`` where they need escapes."""
    quote = source.quote()
    parts: list[str] = []
    at = source.span(node)[0] + 1
    for child in node.named_children:
        if child.type == "string_fragment":
            continue
        inner = child.named_children
        start, end = source.span(child)
        text = source.text[at:start]
        if child.type != "template_substitution" or len(inner) != 1:
            return None
        if not _PLAIN_TEXT.fullmatch(text) or inner[0].type not in _ATOMS - {"template_string"}:
            return None
        if text:
            parts.append(f"{quote}{text}{quote}")
        parts.append(source.segment(inner[0]))
        at = end
    text = source.text[at : source.span(node)[1] - 1]
    if not parts or not _PLAIN_TEXT.fullmatch(text):
        return None
    if text:
        parts.append(f"{quote}{text}{quote}")
    if not any(part.startswith(quote) for part in parts[:2]):
        # One of the first two must be a string, or ``+`` would add numbers.
        parts.insert(0, quote * 2)
    return " + ".join(parts)


def _terms(node: Node) -> list[Node]:
    """The operands of a chain of ``+``."""
    sides = _sides(node)
    if node.type != "binary_expression" or _operator(node) != "+" or sides is None:
        return [node]
    return [*_terms(sides[0]), sides[1]]


def _template(source: ScriptSource, terms: list[Node]) -> str | None:
    texts = [node for node in terms if node.type == "string"]
    if not texts or len(texts) == len(terms) or not any(n.type == "string" for n in terms[:2]):
        return None
    inner = ""
    for node in terms:
        text = source.segment(node)
        if node.type == "string":
            if not re.fullmatch(r"[^\\`$\n]*", text):
                return None
            inner += text[1:-1]
        elif node.type in _ATOMS and "`" not in text:
            bare = node.type == "parenthesized_expression"
            inner += f"${{{text[1:-1] if bare else text}}}"
        else:
            return None
    return f"`{inner}`"


def find_optional_chaining(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``a && a.b`` against ``a?.b``."""
    for sign in source.all("optional_chain"):
        node = sign.parent
        inner = None if node is None else field(node, "object") or field(node, "function")
        if node is None or inner is None or not is_plain(inner):
            continue
        top = _chain(node)
        text, start = source.segment(top), source.span(top)[0]
        target = source.segment(inner)
        at = source.span(sign)[0] - start
        if text.count("?.") != 1 or not _roomy(top) or not one_line(top):
            continue
        rest = text[at + 2 :]
        dot = "" if rest[:1] in "([" else "."
        yield Site((source.edit(top, f"{target} && {target}{dot}{rest}", undoes=True),))
    for node in source.all("binary_expression"):
        sides = _sides(node)
        asks = node.parent is not None and node.parent.type == "parenthesized_expression"
        if _operator(node) != "&&" or sides is None or not is_plain(sides[0]) or not asks:
            continue
        left, right = (source.segment(side) for side in sides)
        member = sides[1].type in ("member_expression", "call_expression")
        if member and right.startswith(f"{left}.") and one_line(node):
            yield Site((source.edit(node, f"{left}?.{right[len(left) + 1 :]}"),))


def _chain(node: Node) -> Node:
    """The whole of the members and calls that a node starts."""
    while (parent := node.parent) is not None:
        inner = field(parent, "object") or field(parent, "function")
        if parent.type not in ("member_expression", "call_expression", "subscript_expression"):
            return node
        if inner is None or inner.id != node.id:
            return node
        node = parent
    return node


def find_nullish(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``||`` or a comparison with null and undefined against ``??``."""
    for node in source.all("binary_expression"):
        sides = _sides(node)
        if _operator(node) != "??" or sides is None or not _roomy(node) or not one_line(node):
            continue
        left, right = (source.segment(side) for side in sides)
        old = f"{left} || {right}"
        if is_plain(sides[0]) and rng.random() < 0.5:
            old = f"{left} !== null && {left} !== undefined ? {left} : {right}"
        if sides[0].type in _ATOMS and sides[1].type in _ATOMS | {
            "object",
            "true",
            "false",
            "null",
        }:
            yield Site((source.edit(node, old, undoes=True),))


def find_shorthand(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``{ a: a }`` against ``{ a }``."""
    for node in source.all("shorthand_property_identifier"):
        name = source.segment(node)
        yield Site((source.edit(node, f"{name}: {name}", undoes=True),))
    for node in source.all("pair"):
        key, value = field(node, "key"), field(node, "value")
        if key is None or value is None or value.type != "identifier":
            continue
        if key.type == "property_identifier" and source.segment(key) == source.segment(value):
            yield Site((source.edit(node, source.segment(value)),))


def find_includes(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``indexOf`` compared with -1 against ``includes``."""
    for node in source.all("call_expression"):
        method, given = field(node, "function"), field(node, "arguments")
        if method is None or given is None or method.type != "member_expression":
            continue
        name = field(method, "property")
        if name is None or source.segment(name) != "includes" or not one_line(node):
            continue
        parent = node.parent
        negative = parent is not None and source.segment(parent) == f"!{source.segment(node)}"
        whole = parent if negative and parent is not None else node
        if not _roomy(whole) or len(given.named_children) != 1:
            continue
        low, high = source.span(name)
        start, end = source.span(node)
        old = source.text[start:low] + "indexOf" + source.text[high:end]
        sign = "===" if negative else "!=="
        yield Site((source.edit(whole, f"{old} {sign} -1", undoes=True),))


def find_object_spread(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``Object.assign({}, a)`` against ``{ ...a }``."""
    for node in source.all("object"):
        items = node.named_children
        if not items or items[0].type != "spread_element" or not one_line(node):
            continue
        spread = [source.segment(item)[3:] for item in items if item.type == "spread_element"]
        rest = [source.segment(item) for item in items if item.type != "spread_element"]
        leading = all(item.type == "spread_element" for item in items[: len(spread)])
        if leading and is_plain(items[0].named_children[0]) and _roomy(node):
            last = [f"{{ {', '.join(rest)} }}"] if rest else []
            old = f"Object.assign({', '.join(['{}', *spread, *last])})"
            yield Site((source.edit(node, old, undoes=True),))


def find_destructure(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``const a = b.a`` against ``const { a } = b``."""
    for node in source.all("lexical_declaration"):
        items = node.named_children
        if len(items) != 1 or not source.alone(node):
            continue
        name, value, word = field(items[0], "name"), field(items[0], "value"), field(node, "kind")
        if name is None or value is None or word is None or field(items[0], "type") is not None:
            continue
        start = source.span(word)[0]
        end = source.span(items[0])[1]
        if name.type == "object_pattern" and is_plain(value):
            parts = name.named_children
            simple = all(part.type == "shorthand_property_identifier_pattern" for part in parts)
            if not (parts and simple and len(parts) <= 3):
                continue
            over = source.segment(value)
            rows = [
                f"{word.type} {source.segment(part)} = {over}.{source.segment(part)}"
                for part in parts
            ]
            old = f"{source.stop()}\n{source.indent(node)}".join(rows)
            yield Site((Edit(start, end, old, undoes=True),))
        elif name.type == "identifier" and value.type == "member_expression" and is_plain(value):
            member, over = field(value, "property"), field(value, "object")
            if member is None or over is None or source.segment(member) != source.segment(name):
                continue
            new = f"{word.type} {{ {source.segment(name)} }} = {source.segment(over)}"
            yield Site((Edit(start, end, new),))


KINDS: tuple[Kind[ScriptSource], ...] = (
    Kind(
        "strict_equality",
        LANGUAGES,
        ("use strict equality", "use ===", "compare strictly"),
        find_strict_equality,
        together=True,
        weight=0.7,
    ),
    Kind(
        "augmented_assign",
        LANGUAGES,
        ("use an augmented assignment", "use += and the like", "shorten the assignment"),
        find_augmented_assign,
        together=True,
        weight=1.5,
    ),
    Kind(
        "template_literal",
        LANGUAGES,
        ("use a template literal", "use a template string", "replace + with a template literal"),
        find_template_literal,
        together=True,
        weight=2.0,
    ),
    Kind(
        "optional_chaining",
        LANGUAGES,
        ("use optional chaining", "use ?.", "replace && with ?."),
        find_optional_chaining,
        together=True,
        weight=2.0,
    ),
    Kind(
        "nullish",
        LANGUAGES,
        ("use ??", "use the nullish operator", "use nullish coalescing"),
        find_nullish,
        together=True,
        weight=3.0,
    ),
    Kind(
        "shorthand_property",
        LANGUAGES,
        ("use shorthand properties", "shorten the properties"),
        find_shorthand,
        together=True,
    ),
    Kind(
        "includes",
        LANGUAGES,
        ("use includes", "replace indexOf with includes"),
        find_includes,
        together=True,
        weight=4.0,
    ),
    Kind(
        "object_spread",
        LANGUAGES,
        ("use object spread", "replace Object.assign with spread"),
        find_object_spread,
        together=True,
        weight=4.0,
    ),
    Kind(
        "destructure",
        LANGUAGES,
        ("use destructuring", "destructure it", "unpack with destructuring"),
        find_destructure,
        weight=2.0,
    ),
)

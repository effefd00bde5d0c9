"""Values of a JSON text, with or without comments."""

from __future__ import annotations

import json

from tree_sitter import Node

from dgemma_lsp.schemas.values import MAX_DEPTH, Reader, Value, parts

_WORDS = {"true": True, "false": False, "null": None}


def read(root: Node, reader: Reader) -> Value | None:
    """Return the document's value, or ``None`` where there is none to be seen."""
    if root.is_error:
        return None
    found = parts(root)
    return _value(found[0], reader, 0) if found else None


def _value(node: Node, reader: Reader, depth: int) -> Value | None:
    kind = node.type
    if kind == "object":
        return _object(node, reader, depth)
    if kind == "array":
        return _array(node, reader, depth)
    if kind in _WORDS:
        return reader.scalar(node, _WORDS[kind])
    if node.has_error:
        return None
    try:
        return reader.scalar(node, json.loads(reader.said(node), strict=False))
    except ValueError:  # a number or an escape that only the grammar takes
        return None


def _object(node: Node, reader: Reader, depth: int) -> Value | None:
    if depth > MAX_DEPTH:
        return None
    reader.counted()
    made = Value(node.start_byte, node.end_byte, {}, closed=_closed(node))
    for pair in parts(node):
        key = pair.child_by_field_name("key")
        value = pair.child_by_field_name("value")
        name = None if key is None or key.has_error else _value(key, reader, depth)
        if name is None or not isinstance(name.data, str):
            continue
        # A value behind an error is that of another key: ``"a": tru, "b": 1``.
        broken = value is None or value.is_missing or any(c.is_error for c in pair.children)
        held = None if value is None or broken else _value(value, reader, depth + 1)
        if held is None:
            held = reader.unknown(pair.end_byte, pair.end_byte)
        reader.put(made, name.data, (name.start, name.end), held)
    return made


def _array(node: Node, reader: Reader, depth: int) -> Value | None:
    if depth > MAX_DEPTH:
        return None
    reader.counted()
    made = Value(node.start_byte, node.end_byte, [], closed=_closed(node))
    for part in parts(node):
        item = _value(part, reader, depth + 1)
        if item is not None:
            reader.append(made, item)
    return made


def _closed(node: Node) -> bool:
    last = node.child(node.child_count - 1) if node.child_count else None
    return last is not None and not last.is_missing and last.type in ("}", "]")

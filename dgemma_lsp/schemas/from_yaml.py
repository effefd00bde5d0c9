"""Values of a YAML text: block and flow style, anchors, merge keys, the core schema's types."""

from __future__ import annotations

import json
import re
from typing import cast

from tree_sitter import Node

from dgemma_lsp.schemas.values import MAX_DEPTH, Reader, Value, parts

_CONTAINERS = {
    "block_mapping": True,
    "flow_mapping": True,
    "block_sequence": False,
    "flow_sequence": False,
}
"""Node types of containers, and whether they are mappings."""

_FOLD = re.compile(r"[ \t]*\r?\n[ \t]*")
_MERGE = "<<"

Anchors = dict[str, tuple[Value, int]]
"""What each anchor stands for, and of how many values that is made."""


def read(root: Node, reader: Reader, byte: int) -> Value | None:
    """Return the value of the document of a stream in which ``byte`` lies."""
    if root.is_error:
        return None
    documents = [node for node in parts(root) if node.type == "document"]
    if not documents:
        return None
    here = [node for node in documents if node.start_byte <= byte]
    nodes = [node for node in parts((here or documents)[-1 if here else 0]) if _is_node(node)]
    return _value(nodes[0], reader, {}, 0) if nodes else None


def _is_node(node: Node) -> bool:
    return node.type in ("block_node", "flow_node")


def _value(node: Node, reader: Reader, anchors: Anchors, depth: int) -> Value | None:
    tag = anchor = ""
    before = reader.count
    made: Value | None = None
    for part in parts(node):
        if part.type == "tag":
            tag = reader.said(part)
        elif part.type == "anchor":
            anchor = reader.said(part)[1:]
        else:
            made = _content(part, reader, anchors, depth)
    if tag and made is not None:
        if tag == "!!str" and not made.members and not made.items:
            made.data = reader.text[made.start : made.end].decode("utf-8", "replace")
        elif tag not in ("!!map", "!!seq"):
            made = reader.unknown(made.start, made.end)
    if anchor and made is not None:
        anchors[anchor] = (made, reader.count - before)
    return made


def _content(node: Node, reader: Reader, anchors: Anchors, depth: int) -> Value | None:
    kind = node.type
    if kind in _CONTAINERS:
        return _container(node, reader, anchors, depth)
    if kind == "alias":
        held = anchors.get(reader.said(node)[1:])
        if held is None:
            return reader.unknown(node.start_byte, node.end_byte)
        # Aliases of aliases grow without bound; each use counts for all that it brings.
        reader.counted(held[1])
        return Value(node.start_byte, node.end_byte, held[0].data, unknown=held[0].unknown)
    if node.has_error:
        return None
    said = reader.said(node)
    if kind == "plain_scalar":
        inner = parts(node)
        return _plain(node, inner[0].type if inner else "", said, reader)
    if kind == "single_quote_scalar":
        return reader.scalar(node, _FOLD.sub(" ", said[1:-1].replace("''", "'")))
    if kind == "double_quote_scalar":
        return reader.scalar(node, _double_quoted(said))
    if kind == "block_scalar":
        lines = said.splitlines()[1:]
        made = reader.scalar(node, "\n".join(line.strip() for line in lines))
        made.end = _last(reader, node)
        return made
    return None


def _plain(node: Node, kind: str, said: str, reader: Reader) -> Value:
    if kind == "null_scalar":
        return reader.scalar(node, None)
    if kind == "boolean_scalar":
        return reader.scalar(node, said.lower() == "true")
    try:
        if kind == "integer_scalar":
            return reader.scalar(node, int(said, 0 if said[:2] in ("0x", "0o") else 10))
        if kind == "float_scalar":
            return reader.scalar(node, float(said))
    except ValueError:  # thousands of digits, ``.inf`` or ``.nan``
        return reader.unknown(node.start_byte, node.end_byte)
    return reader.scalar(node, _FOLD.sub(" ", said))


def _double_quoted(said: str) -> str:
    try:
        return str(json.loads(_FOLD.sub(" ", said), strict=False))
    except ValueError:  # an escape that only YAML has
        return said[1:-1]


def _container(node: Node, reader: Reader, anchors: Anchors, depth: int) -> Value | None:
    if depth > MAX_DEPTH:
        return None
    reader.counted()
    last = node.child(node.child_count - 1) if node.child_count else None
    closed = last is not None and not last.is_missing and last.type in ("}", "]")
    mapping = _CONTAINERS[node.type]
    end = node.end_byte if closed else _last(reader, node)
    made = Value(node.start_byte, end, {} if mapping else [], closed=closed)
    for part in parts(node):
        if mapping:
            _pair(made, part, reader, anchors, depth + 1)
        else:
            _item(made, part, reader, anchors, depth + 1)
    return made


def _item(owner: Value, node: Node, reader: Reader, anchors: Anchors, depth: int) -> None:
    if node.type == "flow_pair":
        made = Value(node.start_byte, node.end_byte, {})
        _pair(made, node, reader, anchors, depth + 1)
        reader.append(owner, made)
        return
    inner = [node] if _is_node(node) else [part for part in parts(node) if _is_node(part)]
    value = _value(inner[0], reader, anchors, depth) if inner else None
    if value is None:
        value = reader.unknown(node.end_byte, node.end_byte)
    reader.append(owner, value)


def _pair(owner: Value, node: Node, reader: Reader, anchors: Anchors, depth: int) -> None:
    # A flow mapping may hold keys alone.
    key = node if _is_node(node) else node.child_by_field_name("key")
    name = None if key is None or key.has_error else _value(key, reader, anchors, depth)
    if name is None or name.members or name.items or name.unknown:
        return
    text = name.data if isinstance(name.data, str) else None
    if text is None:
        text = reader.text[name.start : name.end].decode("utf-8", "replace")
    broken = any(child.is_error for child in node.children)
    held = None if broken or _is_node(node) else node.child_by_field_name("value")
    value = None if held is None else _value(held, reader, anchors, depth)
    if value is None:
        value = reader.unknown(node.end_byte, node.end_byte)
    if text == _MERGE:
        _merge(owner, value)
    else:
        reader.put(owner, text, (name.start, name.end), value)


def _merge(owner: Value, value: Value) -> None:
    """Take over what a merge key brings; the object's own members win wherever they stand."""
    if not isinstance(owner.data, dict):
        return
    data = cast("dict[str, object]", owner.data)
    brought = cast("list[object]", value.data if isinstance(value.data, list) else [value.data])
    for more in brought:
        if isinstance(more, dict):
            for key, held in cast("dict[str, object]", more).items():
                data.setdefault(key, held)


def _last(reader: Reader, node: Node) -> int:
    """The end of a node without the blanks that block style lets it have."""
    end = node.end_byte
    while end > node.start_byte and reader.text[end - 1 : end].isspace():
        end -= 1
    return end

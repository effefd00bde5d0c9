"""Values of a TOML text: tables, arrays of tables and dotted keys put where they belong."""

from __future__ import annotations

import tomllib

from tree_sitter import Node

from dgemma_lsp.schemas.values import MAX_DEPTH, Reader, Value, parts

_KEYS = frozenset({"bare_key", "quoted_key", "dotted_key"})

_Key = tuple[str, tuple[int, int]]
"""One part of a key and its range."""


def read(root: Node, reader: Reader) -> Value | None:
    """Return the document's value, or ``None`` where there is none to be seen."""
    if root.is_error:
        return None
    made = Value(root.start_byte, root.end_byte, {})
    opened: set[int] = set()
    for node in parts(root):
        if node.type == "pair":
            _pair(made, node, reader, 0)
            continue
        keys = _header(node, reader)
        table = _table(made, keys, node, reader, opened) if keys else None
        if table is None:
            continue
        for pair in parts(node):
            if pair.type == "pair":
                _pair(table, pair, reader, 0)
    return made


def _header(node: Node, reader: Reader) -> list[_Key]:
    if node.type not in ("table", "table_array_element"):
        return []
    named = [part for part in parts(node) if part.type in _KEYS]
    return _keys(named[0], reader) if named else []


def _table(
    root: Value, keys: list[_Key], node: Node, reader: Reader, opened: set[int]
) -> Value | None:
    """The table that a header opens; ``None`` where something else stands."""
    owner = root
    for name, place in keys[:-1]:
        inner = _inner(owner, name, place, reader)
        if inner is None:
            return None
        inner.end = max(inner.end, node.end_byte)
        owner = inner
    name, place = keys[-1]
    held = owner.members.get(name)
    if node.type == "table_array_element":
        if held is None:
            reader.counted()
            array = Value(node.start_byte, node.end_byte, [])
            reader.put(owner, name, place, array)
        else:
            array = held.value
        if not isinstance(array.data, list) or array.closed:
            return None
        table = _new_table(node, reader)
        reader.append(array, table)
        array.end = table.end
        return table
    if held is None:
        table = _new_table(node, reader)
        reader.put(owner, name, place, table)
    elif isinstance(held.value.data, dict) and id(held.value) not in opened:
        table = held.value  # it was made on the way to one of its own tables
        table.start, table.end = min(table.start, node.start_byte), max(table.end, node.end_byte)
    else:
        table = _new_table(node, reader)
        reader.put(owner, name, place, table)  # notes the repetition
        return None
    opened.add(id(table))
    return table


def _new_table(node: Node, reader: Reader) -> Value:
    reader.counted()
    end = node.end_byte
    while end > node.start_byte and reader.text[end - 1 : end].isspace():
        end -= 1
    return Value(node.start_byte, end, {})


def _inner(owner: Value, name: str, place: tuple[int, int], reader: Reader) -> Value | None:
    """The table below ``owner`` by a name: the last of an array of them, or a new one."""
    held = owner.members.get(name)
    if held is None:
        reader.counted()
        made = Value(*place, {})
        reader.put(owner, name, place, made)
        return made
    value = held.value
    if value.items and not value.closed:
        value.end = max(value.end, place[1])
        value = value.items[-1]
    return value if isinstance(value.data, dict) and not value.closed else None


def _pair(owner: Value, node: Node, reader: Reader, depth: int) -> None:
    named = parts(node)
    if not named or named[0].type not in _KEYS:
        return
    keys = _keys(named[0], reader)
    if not keys or len(keys) > MAX_DEPTH:
        return
    for name, place in keys[:-1]:
        inner = _inner(owner, name, place, reader)
        if inner is None:
            return
        inner.end = max(inner.end, node.end_byte)
        owner = inner
    # A value behind an error belongs to something else: ``a = [1`` above ``b = 1``.
    broken = any(child.is_error for child in node.children)
    value = _value(named[1], reader, depth) if len(named) > 1 and not broken else None
    if value is None:
        value = reader.unknown(node.end_byte, node.end_byte)
    reader.put(owner, *keys[-1], value)


def _keys(node: Node, reader: Reader) -> list[_Key]:
    """The parts of a key; empty where one cannot be read."""
    found: list[_Key] = []
    stack = [node]
    while stack:
        part = stack.pop()
        if part.type == "dotted_key":
            stack.extend(reversed(parts(part)))
            continue
        said = reader.said(part)
        name = said if part.type == "bare_key" else _scalar(said)
        if not isinstance(name, str):
            return []
        found.append((name, (part.start_byte, part.end_byte)))
    return found


def _value(node: Node, reader: Reader, depth: int) -> Value | None:
    if node.type in ("array", "inline_table"):
        return _container(node, reader, depth)
    if node.has_error:
        return None
    said = reader.said(node)
    if node.type.endswith(("date", "time")):
        return reader.scalar(node, said)  # JSON has dates as strings only
    data = _scalar(said)
    return reader.scalar(node, data) if isinstance(data, str | int | float) else None


def _container(node: Node, reader: Reader, depth: int) -> Value | None:
    if depth > MAX_DEPTH:
        return None
    reader.counted()
    table = node.type == "inline_table"
    last = node.child(node.child_count - 1) if node.child_count else None
    closed = last is not None and not last.is_missing and last.type in ("}", "]")
    made = Value(node.start_byte, node.end_byte, {} if table else [], closed=closed)
    for part in parts(node):
        if table:
            _pair(made, part, reader, depth + 1)
        elif (item := _value(part, reader, depth + 1)) is not None:
            reader.append(made, item)
    return made


def _scalar(said: str) -> object:
    if said[:1] in "\"'" and said[0] not in said[1:-1] and "\\" not in said and "\n" not in said:
        return said[1:-1]
    try:
        return tomllib.loads(f"x = {said}")["x"]
    except ValueError:
        return None

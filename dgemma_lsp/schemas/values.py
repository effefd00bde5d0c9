"""What a JSON, YAML or TOML text says, each value with its place in the text.

The tree of the grammar is read, so broken parts are left out and the rest still counts. Places are
UTF-8 bytes, as the grammar has them. Nothing is known here of schemas or candidates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from tree_sitter import Node

MAX_DEPTH = 60
"""Deeper values are left out: the readers and the schema library call themselves."""

MAX_VALUES = 10_000
"""Values in one document, those repeated through aliases counted each time."""

Scalar = str | int | float | bool | None


@dataclass(slots=True)
class Value:
    """One value and where it stands.

    Attributes:
        start: First byte.
        end: Byte behind the last one.
        data: The value in Python's types; ``dict`` and ``list`` hold the data of what is below.
        closed: Whether it is a container with a closing bracket of its own.
        unknown: Whether the data says nothing: not written yet, or in a way not understood.
        members: What an object has, by key, but for what it takes over from elsewhere.
        items: What an array has.
    """

    start: int
    end: int
    data: object = None
    closed: bool = False
    unknown: bool = False
    members: dict[str, Member] = field(default_factory=dict[str, "Member"])
    items: list[Value] = field(default_factory=list["Value"])


@dataclass(slots=True)
class Member:
    """One key of an object with its value; the range is the key's."""

    start: int
    end: int
    value: Value


@dataclass(frozen=True, slots=True)
class Repeat:
    """A key that an object has already; the range is the key's, ``first`` where the other is."""

    key: str
    start: int
    end: int
    first: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ValueTree:
    """A document's value and the keys that it repeats."""

    root: Value
    repeats: tuple[Repeat, ...] = ()

    def at(self, path: Iterable[str | int]) -> Value:
        """The value at a path; the last one above it that stands in the text where none does."""
        value = self.root
        for step in path:
            if isinstance(step, str):
                member = value.members.get(step)
                if member is None:
                    break
                value = member.value
            elif step < len(value.items):
                value = value.items[step]
            else:
                break
        return value


class TooManyValues(Exception):
    """The document says more than is looked at."""


@dataclass(slots=True)
class Reader:
    """The text that is read, and what has come up so far."""

    text: bytes
    repeats: list[Repeat] = field(default_factory=list[Repeat])
    count: int = 0

    def said(self, node: Node) -> str:
        """The text of a node."""
        return self.text[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def counted(self, values: int = 1) -> None:
        """Count values that were read.

        Raises:
            TooManyValues: There are more than are looked at.
        """
        self.count += values
        if self.count > MAX_VALUES:
            raise TooManyValues

    def scalar(self, node: Node, data: Scalar) -> Value:
        """A value of a node without parts."""
        self.counted()
        return Value(node.start_byte, node.end_byte, data)

    def unknown(self, start: int, end: int) -> Value:
        """A value that says nothing."""
        self.counted()
        return Value(start, end, unknown=True)

    def put(self, owner: Value, key: str, place: tuple[int, int], value: Value) -> None:
        """Add a member to an object; a second one of the same name is noted and left out."""
        held = owner.members.get(key)
        if held is not None:
            self.repeats.append(Repeat(key, *place, (held.start, held.end)))
            return
        owner.members[key] = Member(*place, value)
        data = owner.data
        if isinstance(data, dict):
            data[key] = value.data

    def append(self, owner: Value, value: Value) -> None:
        """Add an item to an array."""
        owner.items.append(value)
        if isinstance(owner.data, list):
            cast("list[object]", owner.data).append(value.data)


def parts(node: Node) -> list[Node]:
    """The children that carry meaning and are whole."""
    return [
        child
        for child in node.named_children
        if not (child.is_error or child.is_missing or child.type == "comment")
    ]

"""What in a document breaks its schema because of a text that is put into it.

The whole document is compared with the text in its place, and only errors that the text brings
count: those in its own values, and those of the values around it that were not there before. What
a person goes on writing mends is no error: a property may still be missing from an object that the
text leaves open. Reads no files; ``validator`` knows the library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from dgemma_lsp.infill.types import Fault, RejectReason, Snapshot
from dgemma_lsp.schemas.messages import message
from dgemma_lsp.schemas.read import Placed, placed, values_of
from dgemma_lsp.schemas.validator import OutOfTime, SchemaError, Validator, clock
from dgemma_lsp.schemas.values import Member, Value

BUDGET_S = 0.05
"""How long one comparison may take; nothing is found in a document that needs longer."""

MAX_FAULTS = 20

_FOR_GOOD = frozenset(
    {
        "",
        "type",
        "additionalProperties",
        "unevaluatedProperties",
        "propertyNames",
        "additionalItems",
        "unevaluatedItems",
        "items",
        "maxItems",
        "maxProperties",
        "uniqueItems",
    }
)
"""Keywords that an object or array breaks whatever more is written into it."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class DocumentSchema:
    """A schema as a check of candidates, each within ``budget_s`` seconds of work."""

    validator: Validator
    budget_s: float = BUDGET_S

    def faults(self, snapshot: Snapshot, offset: int, text: str) -> tuple[Fault, ...]:
        """Return what ``text`` breaks at a character offset, in order of place.

        Raises:
            BadSchema: The schema turned out to be none.
        """
        put = placed(snapshot.parsed, offset, text)
        if put is None:
            return ()
        until = clock() + self.budget_s
        try:
            errors = self.validator.errors(put.tree.root.data, until, _around(put))
            return _in_order(put, self._added(put, errors, until))
        except OutOfTime:
            return ()

    def _added(
        self, put: Placed, errors: tuple[SchemaError, ...], until: float
    ) -> list[tuple[Range, SchemaError]]:
        """The errors that the text brings, each with the bytes that are to blame."""
        found: list[tuple[Range, SchemaError]] = []
        known: frozenset[object] | None = None
        for error in errors:
            blamed = _blamed(error, put) if _decided(error, put) else []
            if blamed and _is_wide(error, put):
                known = self._known(put, until) if known is None else known
                if known is _UNSEEN or _key(error) in known:
                    continue
            found.extend(blamed)
        return found

    def _known(self, put: Placed, until: float) -> frozenset[object]:
        """The errors of the document without the text."""
        tree = values_of(put.without, put.start)
        if tree is None:
            return _UNSEEN
        without = Placed(tree, put.start, put.start, b"", put.without)
        errors = self.validator.errors(tree.root.data, until, _around(without))
        return frozenset(_key(error) for error in errors if _decided(error, without))


def _around(put: Placed) -> set[int]:
    """The identities of all objects and arrays that the text, or the place for it, stands in."""
    found: set[int] = set()
    stack = [put.tree.root]
    while stack:
        value = stack.pop()
        found.add(id(value.data))
        below = [*(member.value for member in value.members.values()), *value.items]
        if not below:
            found.update(_parts(value.data))
        stack.extend(one for one in below if _meets(one, put))
    return found


def _parts(data: object) -> Iterator[int]:
    """What is taken over from elsewhere, as by an alias, is looked at throughout."""
    stack: list[object] = [data]
    seen: set[int] = set()
    while stack:
        one = stack.pop()
        here = id(one)
        if here in seen or not isinstance(one, dict | list):
            continue
        seen.add(here)
        yield here
        held = cast("dict[str, object] | list[object]", one)
        stack.extend(held.values() if isinstance(held, dict) else held)


_UNSEEN = frozenset[object]({None})
"""In place of the errors of a document whose values cannot be seen."""


def _key(error: SchemaError) -> object:
    return error.path, error.schema_path


def _decided(error: SchemaError, put: Placed) -> bool:
    """Whether nothing that is still written at the place could mend an error."""
    value = put.tree.at(error.path)
    if value.unknown:
        return False
    if _names_a_key(error, value):
        return True
    if not isinstance(value.data, dict | list):
        if put.holds(value.start, value.end) or not _meets(value, put):
            return True
        return _was_open(error, value, put)
    if error.branches:
        return all(any(_decided(inner, put) for inner in branch) for branch in error.branches)
    if error.keyword in ("enum", "const") and not any(
        isinstance(one, dict | list) for one in _wanted(error)
    ):
        return True
    return error.keyword in _FOR_GOOD or _is_finished(value, put)


def _wanted(error: SchemaError) -> list[object]:
    """The values that are allowed, where an error is about that."""
    wanted = error.expected
    if error.keyword == "enum" and isinstance(wanted, list):
        return [*cast("list[object]", wanted)]
    return [wanted]


def _meets(value: Value, put: Placed) -> bool:
    """Whether the text, or the empty place for it, stands in a value or next to it."""
    return value.start <= put.end and value.end >= put.start


def _was_open(error: SchemaError, value: Value, put: Placed) -> bool:
    """Whether a value that the text only completes could have been completed rightly."""
    before = put.data[value.start : put.start].decode("utf-8", "replace").strip().lstrip("\"'")
    after = put.data[put.end : value.end].decode("utf-8", "replace").strip().rstrip("\"'")
    if put.start == put.end:
        return False
    if not before and not after:
        return True
    if error.keyword in ("enum", "const"):
        said = [one if isinstance(one, str) else json.dumps(one) for one in _wanted(error)]
        return any(one.startswith(before) and one.endswith(after) for one in said)
    return any(_was_open(inner, value, put) for branch in error.branches for inner in branch)


def _is_finished(value: Value, put: Placed) -> bool:
    """Whether the text begins an object or array and ends it too."""
    if not put.holds(value.start, value.end):
        return False
    return value.closed or bool(put.data[value.end : put.end].strip())


def _is_wide(error: SchemaError, put: Placed) -> bool:
    """Whether what is wrong is a value around the text, and not a name that the text brings."""
    value = put.tree.at(error.path)
    if _names_a_key(error, value) or not isinstance(value.data, dict | list):
        return False
    return not put.holds(value.start, value.end)


def _blamed(error: SchemaError, put: Placed) -> list[tuple[Range, SchemaError]]:
    """What of the text an error is about; nothing when it is about something else."""
    value = put.tree.at(error.path)
    if _names_a_key(error, value):
        names = error.names or (str(error.instance),)
        members = [value.members[name] for name in names if name in value.members]
        return [((m.start, m.end), error) for m in members if _brings(m, error, put)]
    if not put.touches(value.start, value.end):
        return []
    if error.branches and isinstance(value.data, dict | list):
        best = min(
            (_rated(branch, error, put) for branch in error.branches), key=lambda one: one[0]
        )
        if best[1]:
            return best[1]
    return [((value.start, value.end), error)]


def _rated(
    branch: tuple[SchemaError, ...], error: SchemaError, put: Placed
) -> tuple[tuple[bool, bool, int, int], list[tuple[Range, SchemaError]]]:
    """How far a branch is from what was meant, least first, and what it blames."""
    decided = [inner for inner in branch if _decided(inner, put)]
    blamed = [one for inner in decided for one in _blamed(inner, put)]
    value = put.tree.at(error.path)
    other_type = any(
        one.keyword in ("type", "enum", "const") and one.path == error.path
        for one in decided
        if not _names_a_key(one, value)
    )
    deepest = max((len(one.path) for one in decided), default=0)
    return (other_type, not blamed, len(decided), -deepest), blamed


def _names_a_key(error: SchemaError, value: Value) -> bool:
    if error.names:
        return True
    # The names of an object's properties are compared without a path of their own.
    is_name = isinstance(error.instance, str) and isinstance(value.data, dict)
    return is_name and "propertyNames" in error.schema_path


def _brings(member: Member, error: SchemaError, put: Placed) -> bool:
    """Whether a key is the text's own doing."""
    if not put.touches(member.start, member.end):
        return False
    if put.holds(member.start, member.end):
        return True
    before = put.data[member.start : put.start].decode("utf-8", "replace").lstrip("\"'")
    known = error.schema.get("properties")
    names = cast("dict[str, object]", known) if isinstance(known, dict) else {}
    return not before or any(name.startswith(before) for name in names)


def _in_order(put: Placed, found: list[tuple[Range, SchemaError]]) -> tuple[Fault, ...]:
    made: dict[Range, Fault] = {}
    for (start, end), error in found:
        low, high = put.char_range(start, end)
        reason = RejectReason.BREAKS_SCHEMA
        made.setdefault((low, high), Fault(reason, low, high, message=message(error)))
    return tuple(made[place] for place in sorted(made))[:MAX_FAULTS]

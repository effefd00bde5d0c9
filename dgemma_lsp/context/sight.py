"""The names in sight of a hole: which, how near, and through what they are reached.

By words and not by a tree: the line with the hole is seldom whole. The word that the hole touches
is left out, since it is still being typed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_NEAR_LINES = 40
_AFTER_LINES = 12
_NEAR_CHARS = 6_000
_HALF_LINES = 8
_USE = re.compile(r"(?P<dot>(?:\?\.|\.|->|::)[ \t]*)?(?P<name>[^\W\d]\w*)")
_CUT_HEAD = re.compile(r"\A\w+")
_CUT_TAIL = re.compile(r"\w+\Z")
_OPEN = re.compile(r"(?P<name>[^\W\d]\w*)[ \t]*(?:\?\.|\.|->|::)[ \t]*\Z")


@dataclass(frozen=True, slots=True)
class Use:
    """How a name is used: the least distance in lines, plainly and as a member.

    ``of`` are the names it is a member of; an empty one stands for any expression.
    """

    plain: int | None = None
    member: int | None = None
    of: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sight:
    """The names near a hole; ``opened`` is the one of which the hole is a member, if any."""

    uses: Mapping[str, Use] = field(default_factory=dict[str, Use])
    opened: str = ""

    def plain(self, name: str) -> float:
        """How much the plain uses of a name count, 0 to 1."""
        use = self.uses.get(name)
        return 0.0 if use is None else _weight(use.plain)

    def member(self, name: str, of: str | None = None) -> float:
        """How much its uses as a member count; only as one of ``of``, where that is given."""
        use = self.uses.get(name)
        if use is None or (of is not None and of not in use.of):
            return 0.0
        return _weight(use.member)


def _weight(distance: int | None) -> float:
    return 0.0 if distance is None else 1 / (1 + distance / _HALF_LINES)


def sight_of(before: str, after: str) -> Sight:
    """Return the names in the text before and after a hole."""
    before = _CUT_TAIL.sub("", before[-_NEAR_CHARS:])
    opened = _OPEN.search(before[-200:])
    uses: dict[str, Use] = {}
    for distance, line in enumerate(reversed(before.split("\n")[-_NEAR_LINES:])):
        _add(uses, line, distance)
    after = _CUT_HEAD.sub("", after[: _NEAR_CHARS // 2])
    for distance, line in enumerate(after.split("\n")[:_AFTER_LINES]):
        _add(uses, line, distance + 1)
    return Sight(uses, "" if opened is None else opened["name"])


def _add(uses: dict[str, Use], line: str, distance: int) -> None:
    last, end = "", -1
    for found in _USE.finditer(line):
        name = found["name"]
        use = uses.get(name, Use())
        if found["dot"]:
            near = distance if use.member is None else min(use.member, distance)
            of = last if found.start() == end else ""
            uses[name] = Use(use.plain, near, use.of | {of})
        else:
            near = distance if use.plain is None else min(use.plain, distance)
            uses[name] = Use(near, use.member, use.of)
        last, end = name, found.end()

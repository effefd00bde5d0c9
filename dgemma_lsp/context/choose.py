"""Which of the things worth knowing fit a budget, and in an order that stays.

Everything before a hole is read anew from the first character that differs, so pieces are kept as
they are, and in their places, until others are clearly worth more. Sizes are characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WORTH_CHANGING = 1.3
"""Others must be worth this much more than what is there before anything moves."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing worth knowing.

    Attributes:
        source: What a reader is told of where it comes from, such as a path in the workspace.
        text: Whole lines without the last line break.
        worth: How much it is wanted; over 0.
        name: What it defines; empty for what is no definition.
        container: The type it is a member of; empty for what stands by itself.
        head: First line of that type, and ``tail`` its last, empty for none.
        tail: See ``head``.
    """

    source: str
    text: str
    worth: float
    name: str = ""
    container: str = ""
    head: str = ""
    tail: str = ""

    @property
    def closes(self) -> bool:
        """Whether nothing can follow inside of it."""
        return not self.text.partition("\n")[0].endswith(":") or self.text.endswith("...")

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same thing again."""
        return self.source, self.container, self.text


def rendered(items: Sequence[Item], comment: tuple[str, str]) -> tuple[str, ...]:
    """Return the pieces for items, one for each run of the same source.

    Args:
        items: In their order.
        comment: What starts and ends a comment of the language of the hole.
    """
    pieces: list[str] = []
    source: str | None = None
    container = ""
    for at, item in enumerate(items):
        lines: list[str] = []
        if item.source != source:
            pieces.append("")
            lines.append(f"{comment[0]} {item.source}{comment[1]}")
        if item.container and (item.source, item.container) != (source, container):
            lines.append(item.head)
        inside = "    " if item.tail == "" else "  "
        body = item.text.split("\n")
        lines += [inside + line for line in body] if item.container else body
        following = items[at + 1] if at + 1 < len(items) else None
        ends = following is None or (following.source, following.container) != (
            item.source,
            item.container,
        )
        if item.container and item.tail and ends:
            lines.append(item.tail)
        pieces[-1] += "\n".join(lines) + "\n"
        source = item.source
        # Where indentation alone says so, members go on behind the type itself.
        container = item.container or ("" if item.closes else item.name)
    return tuple(pieces)


def size(items: Sequence[Item], comment: tuple[str, str]) -> int:
    """Characters of the pieces for items."""
    return sum(len(piece) for piece in rendered(items, comment))


def choose(
    wanted: Iterable[Item], before: Sequence[Item], budget: int, comment: tuple[str, str]
) -> tuple[Item, ...]:
    """Return the items to show, in order, their pieces at most ``budget`` characters.

    Args:
        wanted: What is worth knowing now.
        before: What was shown last; the answer begins with as much of it as is worth its place.
        budget: Characters for all pieces.
        comment: What starts and ends a comment of the language of the hole.
    """
    known: dict[tuple[str, str, str], Item] = {}
    for item in sorted(wanted, key=lambda each: -each.worth):
        known.setdefault(item.key, item)
    best = _filled((), known.values(), budget, comment)
    kept = [known[old.key] for old in before if old.key in known]
    if size(kept, comment) > budget:
        kept = []
    settled = _filled(kept, known.values(), budget, comment)
    if before and _worth(best) <= _WORTH_CHANGING * _worth(settled):
        return settled
    # What stays keeps its place: the head of the text is then the same as before.
    chosen = {item.key for item in best}
    staying = [known[old.key] for old in before if old.key in chosen]
    held = {item.key for item in staying}
    ordered = (*staying, *(item for item in best if item.key not in held))
    return ordered if size(ordered, comment) <= budget else best


def _filled(
    kept: Sequence[Item], wanted: Iterable[Item], budget: int, comment: tuple[str, str]
) -> tuple[Item, ...]:
    """``kept`` and behind it the best of the others that fit, those of one source together."""
    held = {item.key for item in kept}
    chosen: list[Item] = []
    for item in wanted:
        if item.key in held or len(item.text) > budget:
            continue
        grown = [*kept, *_grouped([*chosen, item])]
        if size(grown, comment) <= budget:
            chosen.append(item)
    return (*kept, *_grouped(chosen))


def _grouped(items: Sequence[Item]) -> list[Item]:
    """Items by source and type, each in the order of its first."""
    order: dict[tuple[str, str], int] = {}
    sources: dict[str, int] = {}
    for item in items:
        sources.setdefault(item.source, len(sources))
        order.setdefault((item.source, item.container or item.name), len(order))

    def place(item: Item) -> tuple[int, int, bool]:
        group = order[item.source, item.container or item.name]
        return sources[item.source], group, bool(item.container)

    return sorted(items, key=place)


def _worth(items: Iterable[Item]) -> float:
    return sum(item.worth for item in items)

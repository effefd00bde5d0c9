"""From a hole and the texts around it to everything worth knowing there, with its worth.

The weights say what is shown first where room is short: what the place uses by name, then what it
has imported, then what other open texts have to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dgemma_lsp.context.choose import Item
from dgemma_lsp.context.definitions import Definition
from dgemma_lsp.context.imports import Import, submodules
from dgemma_lsp.context.sight import Sight
from dgemma_lsp.languages.base import BlockRule, Language

_OWN = 3.0
_ENCLOSING = 2.0
_IMPORTED = 3.0
_IMPORTED_UNUSED = 0.4
_OPENED = 2.0
_MEMBER = 1.5
_OPEN = 1.5
_HOPS = 12
"""Texts that are looked at for one imported name that others hand on."""

MOST = 60
"""Items that are looked at further."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text and what it defines.

    Attributes:
        name: What a reader is told of where it comes from.
        language: Its language.
        found: What it defines.
        imports: What it imports.
    """

    name: str
    language: Language
    found: tuple[Definition, ...]
    imports: tuple[Import, ...] = ()


class Sources(Protocol):
    """The texts that may be looked at, by keys of their owner's choice."""

    def source(self, key: str) -> Source | None:
        """Return a text; ``None`` for one that cannot be had."""
        ...

    def targets(self, key: str, imported: Import) -> tuple[str, ...]:
        """Return the keys of what an import of the text ``key`` means."""
        ...


@dataclass(frozen=True, slots=True)
class Here:
    """The text with the hole.

    Attributes:
        key: What it is known by among the sources.
        sight: The names near the hole.
        shown: First and last byte of what the model sees of it anyway.
        hole: Byte of the hole.
    """

    key: str
    sight: Sight
    shown: tuple[int, int]
    hole: int


def items(here: Here, sources: Sources, open_keys: Sequence[str]) -> list[Item]:
    """Return everything worth knowing at a hole, most worth first.

    Args:
        here: The text with the hole, which is one of the sources.
        sources: All texts.
        open_keys: The open ones of them, the one last looked at first.
    """
    own = sources.source(here.key)
    if own is None:
        return []
    in_view = {
        each.name
        for each in own.found
        if not each.container and here.shown[0] <= each.start < here.shown[1]
    }
    found = list(_own(here, own))
    seen = {here.key}
    for key, definition, worth in _imported(here, own, sources):
        source = sources.source(key)
        if source is not None:
            seen.add(key)
            found.append(_item(source, definition, worth))
    for key in open_keys:
        source = None if key in seen else sources.source(key)
        if source is None or not akin(source.language, own.language):
            continue
        for definition in source.found:
            worth = _OPEN * here.sight.plain(definition.name)
            if worth and not definition.container:
                found.append(_item(source, definition, worth))
    found = [item for item in found if item.container or item.name not in in_view]
    found.sort(key=lambda item: -item.worth)
    return found[:MOST]


def _own(here: Here, source: Source) -> Iterator[Item]:
    """What the text itself defines out of sight."""
    low, high = here.shown
    around = {
        each.name
        for each in source.found
        if not each.container and each.start <= here.hole <= each.end
    }
    self_like = here.sight.opened in ("self", "this", "cls")
    for each in source.found:
        if low <= each.start < high:
            continue
        if each.container:
            if each.name.startswith("__"):  # the constructor stands with its type
                continue
            worth = _OWN * here.sight.member(each.name)
            if each.container in around:
                worth = max(worth, _ENCLOSING if self_like else 0.0)
            else:
                worth /= 3
        else:
            worth = _OWN * here.sight.plain(each.name)
            if each.name in around:
                worth = max(worth, _ENCLOSING)
        if worth:
            yield _item(source, each, worth)


_Found: TypeAlias = tuple[str, Definition, float]


def _imported(here: Here, own: Source, sources: Sources) -> Iterator[_Found]:
    """What the imports of the text with the hole bring into its reach."""
    sight = here.sight
    for imported in own.imports:
        for key in sources.targets(here.key, imported):
            if imported.through:
                yield from _through(key, imported.through, sources, sight)
            source = sources.source(key) if imported.everything else None
            for each in () if source is None else source.found:
                worth = _IMPORTED * sight.plain(each.name)
                if worth and not each.container:
                    yield key, each, worth
        for name, original in imported.names:
            handed = _named(here.key, imported, original, sources, set())
            if handed is not None:
                yield from _known(name, *handed, sources, sight)
        for name, module in submodules(imported, own.language):
            for key in sources.targets(here.key, module):
                yield from _through(key, name, sources, sight)


def _through(key: str, name: str, sources: Sources, sight: Sight) -> Iterator[_Found]:
    """What is reached through the name of a module."""
    source = sources.source(key)
    opened = _OPENED if name == sight.opened else 0.0
    for each in () if source is None else source.found:
        worth = max(_IMPORTED * sight.member(each.name, name), opened)
        if worth and not each.container:
            yield key, each, worth


def _known(
    name: str, key: str, definition: Definition, sources: Sources, sight: Sight
) -> Iterator[_Found]:
    """An imported definition under its name here, and its members that are used."""
    opened = _OPENED if name == sight.opened else 0.0
    yield key, definition, max(_IMPORTED * sight.plain(name), _IMPORTED_UNUSED)
    source = sources.source(key)
    for member in () if source is None else source.found:
        if member.container == definition.name and not member.name.startswith("__"):
            worth = max(_MEMBER * sight.member(member.name), opened)
            if worth:
                yield key, member, worth


def _named(
    key: str, imported: Import, name: str, sources: Sources, seen: set[tuple[str, str]]
) -> tuple[str, Definition] | None:
    """What an import of the text ``key`` calls ``name``, followed to where it is defined."""
    for target in sources.targets(key, imported):
        if (target, name) in seen or len(seen) >= _HOPS:
            continue
        seen.add((target, name))
        source = sources.source(target)
        if source is None:
            continue
        for each in source.found:
            if each.name == name and not each.container:
                return target, each
        for further in source.imports:
            original = further.original(name)
            if original is not None:
                handed = _named(target, further, original, sources, seen)
                if handed is not None:
                    return handed
    return None


def _item(source: Source, each: Definition, worth: float) -> Item:
    if not each.container:
        return Item(source.name, each.text, worth, each.name)
    head = _HEADS.get(source.language.name, _brace_head)(each.container)
    tail = {BlockRule.BRACES: "}", BlockRule.WORDS: "end"}.get(source.language.block, "")
    return Item(source.name, each.text, worth, each.name, each.container, head, tail)


def _brace_head(name: str) -> str:
    return f"class {name} {{"


_HEADS: Mapping[str, Callable[[str], str]] = {
    "python": lambda name: f"class {name}:",
    "ruby": lambda name: f"class {name}",
    "rust": lambda name: f"impl {name} {{",
}


def akin(one: Language, other: Language) -> bool:
    """Whether definitions of one language say something in the other."""
    families = ({"javascript", "typescript", "tsx"}, {"c", "cpp"})
    return one.name == other.name or any({one.name, other.name} <= family for family in families)

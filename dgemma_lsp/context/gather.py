"""From everything worth knowing to the pieces of text that go before a document.

What changes seldom comes first: definitions, then text that resembles the place, then recent edits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dgemma_lsp.context.choose import Item, choose, rendered, size
from dgemma_lsp.context.similar import most_similar
from dgemma_lsp.languages.base import Language

_EDITS_SHARE = 4
"""Recent edits may take up this fraction of the room."""

_SIMILAR_SHARE = 2
"""Similar text may take up this fraction of it, and comes only where definitions leave it free."""

_AROUND_LINES = 10


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is shown: definitions and similar text in their order, then edits."""

    lasting: tuple[Item, ...] = ()
    edits: tuple[Item, ...] = ()

    def pieces(self, language: Language) -> tuple[str, ...]:
        """The text of it, for a document of a language."""
        return rendered((*self.lasting, *self.edits), comment_of(language))


def comment_of(language: Language) -> tuple[str, str]:
    """What starts and ends a comment; a number sign where a language has none."""
    if language.line_comment:
        return language.line_comment, ""
    if language.block_comment:
        return language.block_comment[0], " " + language.block_comment[1]
    return "#", ""


def around_hole(before: str, after: str) -> str:
    """The lines next to a hole, by which similar text is looked for."""
    return "\n".join(
        [
            *before[-4000:].split("\n")[-_AROUND_LINES:],
            *after[:1000].split("\n")[: _AROUND_LINES // 2],
        ]
    )


def gather(
    wanted: Sequence[Item],
    place: str,
    texts: Sequence[tuple[str, str]],
    edits: Sequence[tuple[str, str]],
    budget: int,
    language: Language,
    before: Chosen,
) -> Chosen:
    """Choose what is shown at a hole; its pieces have at most ``budget`` characters together.

    Args:
        wanted: Definitions, most worth first.
        place: The lines around the hole.
        texts: Names and contents of texts in which similar stretches are looked for.
        edits: Names and diffs of recent edits, the newest first.
        budget: Characters.
        language: That of the document with the hole.
        before: What was shown last, kept as far as it is still worth it.
    """
    comment = comment_of(language)
    shown_edits = _edits(edits, budget // _EDITS_SHARE, comment)
    room = budget - size(shown_edits, comment)
    held = [item for item in before.lasting if item.key in {each.key for each in wanted}]
    lasting = choose(wanted, held, room, comment)
    window = None
    if room - size(lasting, comment) > budget // _SIMILAR_SHARE:
        window = most_similar(place, texts)
    if window is not None:
        item = Item(window.source, window.text, window.likeness)
        if size((*lasting, item), comment) <= room:
            lasting = (*lasting, item)
    return Chosen(lasting, shown_edits)


def _edits(
    edits: Sequence[tuple[str, str]], budget: int, comment: tuple[str, str]
) -> tuple[Item, ...]:
    """Edits as comments, as many of the newest as fit, the newest last."""
    chosen: list[Item] = []
    for name, diff in edits:
        lines = [f"{comment[0]} {line}{comment[1]}" for line in diff.split("\n")]
        item = Item(f"changed in {name}", "\n".join(lines), 1.0)
        if any(each.source == item.source for each in chosen):
            # One head line serves both, so they stand next to each other.
            at = next(i for i, each in enumerate(chosen) if each.source == item.source)
            grown = [*chosen]
            grown[at] = replace(chosen[at], text=f"{item.text}\n{chosen[at].text}")
        else:
            grown = [item, *chosen]
        if size(grown, comment) <= budget:
            chosen = grown
    return tuple(chosen)

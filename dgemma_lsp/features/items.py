"""Candidates as items of completions: inline ones, and those of a menu."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lsprotocol import types

from dgemma_lsp import methods
from dgemma_lsp.features.convert import to_lsp_range, to_range
from dgemma_lsp.infill.trim import is_word
from dgemma_lsp.infill.types import Candidate, Snapshot
from dgemma_lsp.syntax.lines import Encoding


def to_items(
    candidates: Iterable[Candidate], offers: Iterable[int], position: types.Position
) -> list[types.InlineCompletionItem]:
    """Return candidates as items that every client understands in the same way.

    The range is explicit and empty, since clients disagree on what is replaced without one; the
    text is a plain string, since one client expands a snippet without using its range; the
    command is the only sign of acceptance that clients give, and its argument the offer's number.
    """
    here = types.Range(start=position, end=position)
    return [
        types.InlineCompletionItem(
            insert_text=candidate.text,
            range=here,
            command=to_command(number),
        )
        for candidate, number in zip(candidates, offers, strict=True)
    ]


def to_completion_items(
    candidates: Iterable[Candidate],
    offers: Iterable[int],
    snapshot: Snapshot,
    offset: int,
    encoding: Encoding,
    *,
    markdown: bool = True,
) -> list[types.CompletionItem]:
    """Return candidates as items of a menu.

    Clients filter by what stands before the cursor, so an item begins with the word there.
    """
    start = offset
    while start > 0 and is_word(snapshot.text[start - 1]):
        start -= 1
    word = snapshot.text[start:offset]
    range_ = to_lsp_range(to_range(snapshot, start, offset, encoding))
    items: list[types.CompletionItem] = []
    for rank, (candidate, number) in enumerate(zip(candidates, offers, strict=True)):
        text = word + candidate.text
        first = next((line.strip() for line in text.splitlines() if line.strip()), text)
        items.append(
            types.CompletionItem(
                label=first,
                kind=types.CompletionItemKind.Text,
                detail="dgemma",
                documentation=_fenced(text, snapshot) if markdown else text,
                sort_text=f"{rank:04}",
                filter_text=first if first.startswith(word) else word,
                insert_text_format=types.InsertTextFormat.PlainText,
                insert_text_mode=types.InsertTextMode.AsIs,
                text_edit=types.TextEdit(range_, text),
                command=to_command(number),
            )
        )
    return items


def _fenced(text: str, snapshot: Snapshot) -> types.MarkupContent:
    """Return a text in a fence that is longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    language = snapshot.language.ids[0] if snapshot.language.ids else ""
    value = f"{fence}{language}\n{text}\n{fence}"
    return types.MarkupContent(types.MarkupKind.Markdown, value)


def to_command(offer: int) -> types.Command:
    """Return the command that an item runs when it was accepted."""
    return types.Command(title="Accepted", command=methods.ACCEPTED, arguments=[offer])

"""What a text must keep to in structured documents beyond the grammar, by language.

JSON, YAML and TOML: no key twice, and the schema when the snapshot has one. Markdown: its own
checks. Every other language has none. The one entry point for whoever judges a candidate.
"""

from __future__ import annotations

from dgemma_lsp.infill.judging import markdown
from dgemma_lsp.infill.types import Fault, RejectReason, Snapshot
from dgemma_lsp.schemas.read import GRAMMARS, placed

_KEY_CHARS = 60


def faults(snapshot: Snapshot, offset: int, text: str) -> tuple[Fault, ...]:
    """Return what ``text`` at a character offset adds that is wrong in its format, in order."""
    if snapshot.language.name == "markdown":
        return markdown.faults(snapshot, offset, text)
    grammar = snapshot.parsed.grammar
    if grammar is None or grammar.name not in GRAMMARS:
        return ()
    found = list(duplicate_keys(snapshot, offset, text))
    if snapshot.schema is not None:
        found.extend(snapshot.schema.faults(snapshot, offset, text))
    return tuple(sorted(found, key=lambda fault: (fault.start, fault.end)))


def duplicate_keys(snapshot: Snapshot, offset: int, text: str) -> tuple[Fault, ...]:
    """Return the keys in ``text`` that their object has already, above or below."""
    put = placed(snapshot.parsed, offset, text)
    if put is None:
        return ()
    found: dict[tuple[int, int], Fault] = {}
    for repeat in put.tree.repeats:
        ranges = [(repeat.start, repeat.end), repeat.first]
        # Of two keys in the text the second one is to blame.
        ours = next((one for one in ranges if put.touches(*one)), None)
        if ours is None:
            continue
        start, end = put.char_range(*ours)
        key = repeat.key if len(repeat.key) <= _KEY_CHARS else repeat.key[: _KEY_CHARS - 1] + "…"
        message = f"The key `{key}` is there twice."
        found[start, end] = Fault(RejectReason.DUPLICATE_KEY, start, end, message=message)
    return tuple(found[place] for place in sorted(found))

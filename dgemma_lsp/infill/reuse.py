"""Candidates that still fit: at the same hole, or while a person types into them.

A hole is recognised by the text around it, not by its offset or version, so edits elsewhere and
backspacing do not lose it. Bounded per document and in documents; knows no clock and no runtime.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dgemma_lsp.infill.types import Candidate, Hole, HoleKind, Snapshot
from dgemma_lsp.syntax.brackets import balance

_BEFORE_CHARS = 512
_AFTER_CHARS = 256

_AUTO_CLOSED = ")]}\"'`"
_MAX_AUTO_CLOSED = 4
"""Editors close brackets and quotes while one types; so many of them may stand at the cursor."""


@dataclass(frozen=True, slots=True)
class Reused:
    """Candidates for the offset asked about.

    Attributes:
        kind: The kind of the hole they were made for.
        candidates: What is left of them to insert, best first; empty when all were rejected.
        typed: How many characters of them the person has typed since.
    """

    kind: HoleKind
    candidates: tuple[Candidate, ...]
    typed: int


@dataclass(frozen=True, slots=True)
class _Entry:
    before: str
    after: str
    kind: HoleKind
    candidates: tuple[Candidate, ...]
    longest: int


class CandidateCache:
    """The last answered holes of the last documents; the least recently used goes first."""

    __slots__ = ("_documents", "_entries", "_holes")

    def __init__(self, *, documents: int = 16, holes: int = 32) -> None:
        self._documents = documents
        self._holes = holes
        self._entries: OrderedDict[str, OrderedDict[tuple[str, str], _Entry]] = OrderedDict()

    def store(self, snapshot: Snapshot, hole: Hole, candidates: Iterable[Candidate]) -> None:
        """Remember the answer for ``hole``; rejected candidates are left out."""
        before, after = _around(snapshot.text, hole.offset)
        kept = tuple(each for each in candidates if each.verdict.accepted)
        longest = max((len(each.text) for each in kept), default=0)
        entries = self._entries.setdefault(snapshot.uri, OrderedDict())
        self._entries.move_to_end(snapshot.uri)
        entries[before, after] = _Entry(before, after, hole.kind, kept, longest)
        entries.move_to_end((before, after))
        while len(entries) > self._holes:
            entries.popitem(last=False)
        while len(self._entries) > self._documents:
            self._entries.popitem(last=False)

    def lookup(self, snapshot: Snapshot, offset: int) -> Reused | None:
        """What an earlier answer still has for ``offset``; ``None`` means the model must be asked.

        An answer without candidates is an answer: at the very same hole nothing would come of
        asking again.
        """
        entries = self._entries.get(snapshot.uri)
        if entries is None:
            return None
        text = snapshot.text
        exact = entries.get(_around(text, offset))
        if exact is not None:
            self._touch(snapshot.uri, exact)
            return Reused(exact.kind, exact.candidates, 0)
        for entry in reversed(entries.values()):
            found = _typed_into(entry, snapshot, offset)
            if found is not None:
                self._touch(snapshot.uri, entry)
                return found
        return None

    def forget(self, uri: str) -> None:
        """Drop all that is known of a document."""
        self._entries.pop(uri, None)

    def clear(self) -> None:
        """Drop everything; for a change of model or settings."""
        self._entries.clear()

    def _touch(self, uri: str, entry: _Entry) -> None:
        self._entries[uri].move_to_end((entry.before, entry.after))
        self._entries.move_to_end(uri)


def _typed_into(entry: _Entry, snapshot: Snapshot, offset: int) -> Reused | None:
    """The remainders, when the text from the entry's hole to ``offset`` begins its candidates."""
    text = snapshot.text
    closed = _auto_closed(entry, text, offset)
    if not entry.candidates or closed is None:
        return None
    low = max(0, offset - entry.longest - len(entry.before))
    window = text[low:offset]
    at = window.rfind(entry.before)
    while at >= 0:
        # Shorter than the bound means that the hole's context began with the document.
        if len(entry.before) == _BEFORE_CHARS or low + at == 0:
            typed = window[at + len(entry.before) :]
            rest = _remainders(entry, typed, closed, snapshot)
            if rest:
                return Reused(entry.kind, rest, len(typed))
        at = window.rfind(entry.before, 0, at + len(entry.before) - 1) if at else -1
    return None


def _remainders(
    entry: _Entry, typed: str, closed: str, snapshot: Snapshot
) -> tuple[Candidate, ...]:
    rest: list[Candidate] = []
    for candidate in entry.candidates:
        if not typed or not candidate.text.startswith(typed):
            continue
        left = candidate.text[len(typed) :]
        if closed:
            left = _up_to_closer(left, closed[0], snapshot)
        if left:
            rest.append(replace(candidate, text=left))
    return tuple(rest)


def _auto_closed(entry: _Entry, text: str, offset: int) -> str | None:
    """Closers an editor put behind the cursor since; ``None`` when the text after it changed."""
    for count in range(_MAX_AUTO_CLOSED + 1):
        closed = text[offset : offset + count]
        if len(closed) < count or closed.strip(_AUTO_CLOSED):
            return None
        end = offset + count + len(entry.after)
        if (len(entry.after) == _AFTER_CHARS or end == len(text)) and text.startswith(
            entry.after, offset + count
        ):
            return closed
    return None


def _up_to_closer(left: str, closer: str, snapshot: Snapshot) -> str:
    """The part of a remainder that belongs before a closer which is there already."""
    unopened = balance(left, snapshot.language).unopened
    if unopened:
        return left[: unopened[0].offset] if unopened[0].char == closer else ""
    at = left.find(closer) if closer in "'\"`" else -1
    return left[:at] if at >= 0 else ""


def _around(text: str, offset: int) -> tuple[str, str]:
    return text[max(0, offset - _BEFORE_CHARS) : offset], text[offset : offset + _AFTER_CHARS]

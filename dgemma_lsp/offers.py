"""The completions that were offered lately, by number: what they said and what became of them.

An offer that a person types into stays the same offer. Bounded; knows no clock, no file and no
editor.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from dgemma_lsp.infill.tokens import TextToken, tokens_of
from dgemma_lsp.infill.types import Candidate

MOST = 200
"""Offers that are remembered."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One completion.

    Attributes:
        number: What clients name it by.
        uri: The document.
        language: The language's name.
        offset: Where its text begins in the document, in characters.
        text: The text.
        tokens: The model's tokens, where they are known.
        typed: Characters that the person had typed of it before it was offered.
        time: Seconds since the epoch when it was first offered.
        latency_ms: What the answer took.
        shown: It was on the screen.
        ended: It was accepted or rejected.
        partly: Its beginning was taken.
    """

    number: int
    uri: str
    language: str
    offset: int
    text: str
    tokens: tuple[TextToken, ...]
    typed: int
    time: float
    latency_ms: float
    shown: bool = False
    ended: bool = False
    partly: bool = False


class Offers:
    """The last offers, the oldest of which is forgotten first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._next = 1
        self._known: OrderedDict[int, Offer] = OrderedDict()
        self._open: dict[tuple[str, int, str], int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(
        self,
        candidate: Candidate,
        *,
        uri: str,
        language: str,
        offset: int,
        typed: int,
        time: float,
        latency_ms: float,
    ) -> Offer:
        """Remember a candidate that is offered at an offset, of which ``typed`` is there already.

        The same candidate at the same hole is the same offer until something became of it.
        """
        key = (uri, offset - typed, candidate.raw)
        before = self._known.get(self._open.get(key, 0))
        if before is not None and not before.ended:
            made = replace(
                before,
                offset=offset,
                text=candidate.text,
                tokens=tokens_of(candidate, typed),
                typed=typed,
            )
        else:
            made = Offer(
                self._next,
                uri,
                language,
                offset,
                candidate.text,
                tokens_of(candidate, typed),
                typed,
                time,
                latency_ms,
            )
            self._next += 1
        self._known[made.number] = made
        self._open[key] = made.number
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        if len(self._open) > 2 * self._most:
            self._open = {k: n for k, n in self._open.items() if n in self._known}
        return made

    def get(self, number: int) -> Offer | None:
        """The offer of a number; ``None`` for one that is too old, or never was."""
        return self._known.get(number)

    def mark(
        self, number: int, *, shown: bool = False, ended: bool = False, partly: bool = False
    ) -> Offer | None:
        """Note what became of an offer; returns it as it was before."""
        before = self._known.get(number)
        if before is not None:
            self._known[number] = replace(
                before,
                shown=before.shown or shown,
                ended=before.ended or ended,
                partly=before.partly or partly,
            )
        return before

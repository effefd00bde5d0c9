"""Rewrites that were proposed and not decided on yet: their hunks, and where they are found again.

A document goes on changing while a person looks at a proposal, so it is kept by the text of its
lines and looked for in the document as it is now. Knows no LSP types and no runtime, and keeps a
bounded number of proposals for a bounded time.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dgemma_lsp.infill import hunks as core
from dgemma_lsp.infill.hunks import Hunk, TokenRange

MOST = 32
"""Proposals that are kept at once; the one that was not used for longest goes first."""

MOST_CHARS = 4_000_000
"""Characters of all of them together, old and new."""

LIFETIME_S = 3_600.0
"""How long a proposal is kept that nobody asks about."""

_MOST_EARLIER = 16
"""States of the text that a proposal is still recognised in."""


class HunkState(StrEnum):
    """What a person decided about a hunk."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(slots=True)
class Proposal:
    """One rewrite that was proposed.

    Attributes:
        id: Its name to the client.
        uri: The document.
        at: Where its lines began when they were last seen.
        old: These lines before anything was done, with their line breaks.
        hunks: In order of place; their new text changes when one is redone.
        instruction: In the model's own words.
        noise: Share of the old text that was made anew.
        seed: Of the random stream.
        redone: How often hunks were redone.
        states: By the hunks' ids.
        shown: The new texts that a hunk ever had.
    """

    id: int
    uri: str
    at: int
    old: str
    hunks: tuple[Hunk, ...]
    instruction: str
    noise: float
    seed: int
    redone: int = 0
    states: dict[int, HunkState] = field(default_factory=dict[int, HunkState])
    shown: dict[int, set[str]] = field(default_factory=dict[int, set[str]])
    _earlier: list[frozenset[int]] = field(default_factory=list[frozenset[int]])

    def __post_init__(self) -> None:
        """Open every hunk."""
        for hunk in self.hunks:
            self.states[hunk.id] = HunkState.OPEN
            self.shown[hunk.id] = {hunk.new}

    def ids(self, *states: HunkState) -> frozenset[int]:
        """The hunks in one of some states."""
        return frozenset(number for number, state in self.states.items() if state in states)

    @property
    def open(self) -> tuple[Hunk, ...]:
        """The hunks that nothing was decided about."""
        return tuple(each for each in self.hunks if self.states[each.id] is HunkState.OPEN)

    @property
    def made(self) -> frozenset[int]:
        """The hunks that the document is thought to hold."""
        return self.ids(HunkState.ACCEPTED)

    def text(self, ids: Collection[int]) -> str:
        """The lines with some hunks made."""
        return core.applied(self.old, self.hunks, ids)

    def place(self, hunk: Hunk, ids: Collection[int]) -> tuple[int, int]:
        """Offsets of a hunk in the document that holds the hunks of ``ids``."""
        start = self.at + core.place_of(hunk, self.hunks, ids)
        return start, start + len(hunk.new if hunk.id in ids else hunk.old)

    def locate(self, document: str) -> bool:
        """Find the lines in a document as it is now; whether they are there.

        A client may not have made an edit it was given, or may have undone one: then the hunks
        that the document does not hold are open again.
        """
        for ids in (self.made, *reversed(self._earlier)):
            at = core.find_lines(document, self.text(ids), self.at)
            if at is not None:
                self.at = at
                self._set_made(ids)
                return True
        return False

    def _set_made(self, ids: frozenset[int]) -> None:
        if ids == self.made:
            return
        self._remember()
        for number, state in self.states.items():
            if number in ids:
                self.states[number] = HunkState.ACCEPTED
            elif state is HunkState.ACCEPTED:
                self.states[number] = HunkState.OPEN

    def accept(self, ids: Iterable[int]) -> None:
        """Take hunks; the document is thought to hold them from now on."""
        self._remember()
        for number in ids:
            self.states[number] = HunkState.ACCEPTED

    def _remember(self) -> None:
        """Keep what is made now among the states to be recognised."""
        self._earlier = [each for each in self._earlier if each != self.made][-_MOST_EARLIER:]
        self._earlier.append(self.made)

    def reject(self, ids: Iterable[int]) -> None:
        """Leave the old text of hunks."""
        for number in ids:
            self.states[number] = HunkState.REJECTED

    def renew(self, number: int, text: str, tokens: tuple[TokenRange, ...]) -> None:
        """Put another text into an open hunk, which the document does not hold."""
        self.hunks = tuple(
            replace(each, new=text, tokens=tokens) if each.id == number else each
            for each in self.hunks
        )
        self.shown[number].add(text)

    @property
    def chars(self) -> int:
        """Characters it holds."""
        return len(self.old) + sum(len(text) for texts in self.shown.values() for text in texts)


class Proposals:
    """The proposals that can still be talked about.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[int, tuple[Proposal, float]] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._kept)

    def add(
        self,
        uri: str,
        at: int,
        old: str,
        hunks: tuple[Hunk, ...],
        instruction: str,
        *,
        noise: float,
        seed: int,
    ) -> Proposal | None:
        """Keep a proposal; ``None`` when it is too large to be kept."""
        proposal = Proposal(next(self._numbers), uri, at, old, hunks, instruction, noise, seed)
        if not hunks or proposal.chars > MOST_CHARS:
            return None
        self._kept[proposal.id] = proposal, self._clock()
        self._tidy()
        return proposal

    def get(self, number: int) -> Proposal | None:
        """A proposal, or ``None`` when it is not known any more."""
        self._tidy()
        found = self._kept.pop(number, None)
        if found is None:
            return None
        self._kept[number] = found[0], self._clock()  # now the last one to go
        return found[0]

    def forget(self, uri: str) -> None:
        """Forget what was proposed for a document."""
        self._kept = {n: kept for n, kept in self._kept.items() if kept[0].uri != uri}

    def _tidy(self) -> None:
        oldest = self._clock() - LIFETIME_S
        self._kept = {n: kept for n, kept in self._kept.items() if kept[1] >= oldest}
        chars = sum(proposal.chars for proposal, _ in self._kept.values())
        for number in list(self._kept):
            if len(self._kept) <= MOST and chars <= MOST_CHARS:
                break
            chars -= self._kept.pop(number)[0].chars

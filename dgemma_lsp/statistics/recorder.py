"""What a server's editor tells of its completions, turned into counts, and those into a file.

An accepted text is looked for again half a minute later: only then does it count as kept. Counts
are written together, seconds apart, on a thread; where that fails they wait for the next time, and
nobody is disturbed. Clock, timer and thread come in from outside.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from typing import Protocol

from dgemma_lsp import methods
from dgemma_lsp.infill.types import Candidate, Snapshot
from dgemma_lsp.offers import Offer, Offers
from dgemma_lsp.statistics.counts import NUMBERS, Days, Tallied
from dgemma_lsp.statistics.file import CountsFile

log = logging.getLogger(__name__)

KEPT_AFTER_S = 30.0
"""Seconds after which an accepted text must still be there."""

WRITE_EVERY_S = 5.0
"""Seconds that counts wait for others before they are written."""

_RETRY_S = 60.0
"""The same after a write that failed."""

_KEPT_SHARE = 0.9
"""How much of a text must be left of it; who renames one variable has kept it."""

_BLOCK = 4
"""Characters in a row that can be no chance."""

_NEAR = 2_000
"""Characters around the old place in which a text is looked for when it is not the same."""


class Later(Protocol):
    """Runs something after some seconds."""

    def __call__(self, seconds: float, work: Callable[[], None], /) -> object:
        """Plan it."""
        ...


class Apart(Protocol):
    """Runs something where it may block, and tells how it ended, back where it was called."""

    def __call__(self, work: Callable[[], None], ended: Callable[[bool], None], /) -> None:
        """Run it; ``ended`` is told whether it went well."""
        ...


@dataclass(frozen=True, slots=True)
class _Accepted:
    offer: Offer
    length: int


class Recorder:
    """Counts what becomes of offers.

    Args:
        file: Where the counts are kept.
        text_of: Returns the text of an open document, ``None`` for one that is closed.
        clock: Returns seconds since the epoch.
        later: Plans work.
        apart: Runs what blocks.
    """

    def __init__(
        self,
        file: CountsFile,
        text_of: Callable[[str], str | None],
        clock: Callable[[], float],
        later: Later,
        apart: Apart,
    ) -> None:
        self.offers = Offers()
        self.enabled = True
        self._file = file
        self._text_of = text_of
        self._clock = clock
        self._later = later
        self._apart = apart
        self._counts = Days()
        self._writing = Days()
        self._planned = False
        self._told_shown = False
        self._pending: list[_Accepted] = []

    # -- what happens -------------------------------------------------------------------------

    def requested(self, language: str) -> None:
        """Count a request that was not declined."""
        self._of(language).requests += 1

    def offered(
        self,
        candidates: Sequence[Candidate],
        snapshot: Snapshot,
        offset: int,
        typed: int,
        latency_ms: float,
    ) -> list[int]:
        """Give numbers to what is about to be offered, and count the first as it is due."""
        made: list[int] = []
        language = snapshot.language.name
        for candidate in candidates:
            offer = self.offers.add(
                candidate,
                uri=snapshot.uri,
                language=language,
                offset=offset,
                typed=typed,
                time=self._clock(),
                latency_ms=latency_ms,
            )
            made.append(offer.number)
        if made and not typed:
            self._of(language).took(latency_ms)
        if made and not self._told_shown:  # few clients say what they show
            self._show(made[0])
        return made

    def did_show(self, number: int) -> None:
        """An offer is on the screen."""
        self._told_shown = True
        self._show(number)

    def accepted(self, number: int) -> None:
        """An offer was taken."""
        before = self._show(number)
        if before is None or before.ended:
            return
        self.offers.mark(number, ended=True)
        self._of(before.language).accepted += 1
        accepted = _Accepted(before, len(before.text))
        self._pending.append(accepted)
        self._later(KEPT_AFTER_S, lambda: self._look(accepted))

    def partly_accepted(self, number: int, length: int) -> None:
        """The beginning of an offer was taken; counts once, however many words follow."""
        before = self._show(number)
        if before is None or before.ended or length <= 0:
            return
        self.offers.mark(number, partly=True)
        if not before.partly:
            self._of(before.language).partly_accepted += 1

    def rejected(self, number: int) -> None:
        """An offer was dismissed, or something else typed."""
        before = self._show(number)
        if before is None or before.ended:
            return
        self.offers.mark(number, ended=True)
        if not before.partly:
            self._of(before.language).rejected += 1

    def closing(self, uri: str) -> None:
        """A document is about to be closed: what was accepted in it is judged as it is."""
        for each in [one for one in self._pending if one.offer.uri == uri]:
            self._look(each)

    def close(self) -> None:
        """Judge and write what is left, at once."""
        for each in list(self._pending):
            self._look(each)
        counts, self._counts = self._counts, Days()
        if self.enabled and counts.days:
            self._write(counts)

    # -- what is asked ------------------------------------------------------------------------

    def statistics(self) -> methods.StatisticsResult:
        """Return everything counted on this machine."""
        try:
            days = self._file.read()
        except OSError as err:
            log.info("the statistics cannot be read: %s", err.strerror)
            days = Days()
        days.add(self._counts)
        days.add(self._writing)
        return methods.StatisticsResult(
            path=str(self._file.path),
            since=days.since(),
            total=_counts(days.total()),
            by_language={name: _counts(each) for name, each in days.by_language().items()},
        )

    def erase(self) -> None:
        """Forget all counts.

        Raises:
            OSError: The file cannot be removed.
        """
        self._counts = Days()
        self._writing.days.clear()  # also for the thread that is about to write them
        self._pending.clear()
        self._file.erase()

    # -- parts --------------------------------------------------------------------------------

    def _of(self, language: str) -> Tallied:
        """The counts of a language today, which are about to grow."""
        if not self.enabled:
            return Tallied()  # nobody reads it
        self._plan(WRITE_EVERY_S)
        return self._counts.of(self._today(), language)

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock()).date().isoformat()

    def _show(self, number: int) -> Offer | None:
        before = self.offers.mark(number, shown=True)
        if before is not None and not before.shown:
            self._of(before.language).shown += 1
        return before

    def _look(self, accepted: _Accepted) -> None:
        """Count an accepted text as kept if it is still there."""
        if accepted not in self._pending:
            return
        self._pending.remove(accepted)
        text = self._text_of(accepted.offer.uri)
        if text is not None and is_kept(text, accepted.offer.offset, accepted.offer.text):
            self._of(accepted.offer.language).kept += 1

    def _plan(self, seconds: float) -> None:
        if not self._planned and self.enabled:
            self._planned = True
            self._later(seconds, self._flush)

    def _flush(self) -> None:
        self._planned = False
        if not self.enabled:
            self._counts = Days()
            return
        counts, self._counts = self._counts, Days()
        self._writing = counts
        today = self._today()
        self._apart(lambda: self._file.add(counts, today), self._flushed)

    def _flushed(self, well: bool) -> None:
        counts, self._writing = self._writing, Days()
        if not well and counts.days:
            self._counts.add(counts)
            self._counts.forget_before(self._today())
            self._plan(_RETRY_S)

    def _write(self, counts: Days) -> None:
        try:
            self._file.add(counts, self._today())
        except OSError as err:
            log.info("the statistics cannot be written: %s", err.strerror)


def is_kept(document: str, offset: int, text: str) -> bool:
    """Whether a text that was put in at an offset is still there, or nearly all of it."""
    wanted = "".join(text.split())
    if not wanted:
        return True
    near = document[max(0, offset - _NEAR) : offset + len(text) + _NEAR]
    there = "".join(near.split())  # who formats the code has kept it
    if wanted in there:
        return True
    if len(wanted) > _NEAR:
        wanted = wanted[:_NEAR]
    blocks = SequenceMatcher(None, there, wanted, autojunk=False).get_matching_blocks()
    found = sum(block.size for block in blocks if block.size >= min(_BLOCK, len(wanted)))
    return found >= _KEPT_SHARE * len(wanted)


def _counts(tallied: Tallied) -> methods.Counts:
    return methods.Counts(
        **{name: getattr(tallied, name) for name in NUMBERS},
        latency_p50_ms=tallied.percentile(0.5),
        latency_p95_ms=tallied.percentile(0.95),
    )

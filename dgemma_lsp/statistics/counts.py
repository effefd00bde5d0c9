"""Counts per day and language: added up, cut to the last days, and summed for a person.

Numbers alone: no text, no file name, no time of day. Pure; knows no file and no clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

KEPT_DAYS = 90
"""Days that are remembered, the last one included."""

_FORMAT = 1
_STEP = 1.15
"""Latencies fall into steps of this factor, which is how exact their percentiles are."""
_MOST_STEP = 90
"""The last step: five minutes."""

Amount = Annotated[int, Meta(ge=0, le=2**53)]


class Tallied(msgspec.Struct):
    """The counts of one language on one day; ``latency`` counts answers by step."""

    requests: Amount = 0
    shown: Amount = 0
    accepted: Amount = 0
    partly_accepted: Amount = 0
    rejected: Amount = 0
    kept: Amount = 0
    latency: dict[Annotated[int, Meta(ge=0, le=_MOST_STEP)], Amount] = {}

    def add(self, other: Tallied) -> None:
        """Add the counts of another."""
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency = dict(Counter(self.latency) + Counter(other.latency))

    def took(self, milliseconds: float) -> None:
        """Count an answer's time."""
        step = 0 if milliseconds <= 1 else round(math.log(milliseconds) / math.log(_STEP))
        step = min(step, _MOST_STEP)
        self.latency[step] = self.latency.get(step, 0) + 1

    def percentile(self, share: float) -> float | None:
        """Milliseconds that a share of the answers took at most; ``None`` without any."""
        left = share * sum(self.latency.values())
        for step in sorted(self.latency):
            left -= self.latency[step]
            if left <= 0 and self.latency[step]:
                return _STEP**step
        return None


NUMBERS = ("requests", "shown", "accepted", "partly_accepted", "rejected", "kept")


class Days(msgspec.Struct):
    """Counts by day (ISO 8601) and language."""

    format: int = _FORMAT
    days: dict[str, dict[str, Tallied]] = {}

    def of(self, day: str, language: str) -> Tallied:
        """The counts of one language on one day, to add to."""
        return self.days.setdefault(day, {}).setdefault(language, Tallied())

    def add(self, other: Days) -> None:
        """Add all counts of another."""
        for day, languages in other.days.items():
            for language, tallied in languages.items():
                self.of(day, language).add(tallied)

    def forget_before(self, today: str) -> None:
        """Drop days that are too old, and what is no day."""
        first = (date.fromisoformat(today) - timedelta(days=KEPT_DAYS - 1)).isoformat()
        self.days = {day: kept for day, kept in self.days.items() if is_day(day) and day >= first}

    def since(self) -> str | None:
        """The first day that has a count."""
        return min(self.days, default=None)

    def total(self) -> Tallied:
        """All counts added up."""
        return added(each for languages in self.days.values() for each in languages.values())

    def by_language(self) -> dict[str, Tallied]:
        """The counts of each language, all days added up."""
        names = sorted({name for languages in self.days.values() for name in languages})
        return {
            name: added(languages[name] for languages in self.days.values() if name in languages)
            for name in names
        }


def added(every: Iterable[Tallied]) -> Tallied:
    """The sum of some counts."""
    total = Tallied()
    for each in every:
        total.add(each)
    return total


def is_day(text: str) -> bool:
    """Whether a text is a date as this module writes them."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def encode(days: Days) -> bytes:
    """Return counts as they are kept."""
    return msgspec.json.format(msgspec.json.encode(days), indent=1)


def decode(data: bytes) -> Days:
    """Read counts.

    Raises:
        ValueError: They are no counts of this format.
    """
    days = msgspec.json.decode(data, type=Days)  # its errors are ValueErrors
    if days.format != _FORMAT:
        raise ValueError(f"Format {days.format} is not known here.")
    return days

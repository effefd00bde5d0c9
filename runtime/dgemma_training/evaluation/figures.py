"""From scored answers to figures with intervals, by kind, language, length and what is left out.

Owns the shape of the results. Knows no files, no models and no pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from dgemma_training.evaluation.asking import Answer
from dgemma_training.evaluation.intervals import Interval, Spread, ratio, spread
from dgemma_training.evaluation.items import LENGTHS, Item
from dgemma_training.evaluation.judging import Judgement

FITTING = "rows that fit"
EVERY = "every row"
TOO_LONG = "rows too long"


@dataclass(frozen=True, slots=True)
class Score:
    """One answer of one system, judged."""

    system: str
    item: Item
    answer: Answer
    judgement: Judgement


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a system reaches on some rows; rates are shares of 1.

    Attributes:
        rows: How many rows were answered.
        exact: The text is what stood there.
        similarity: Mean edit similarity.
        parses: The file parses with the text.
        passed: The row's test succeeds.
        shown: The server would show the text.
        answered: The text is not empty.
        forwards: Mean passes after the prefix.
        tokens: Mean tokens of a text and its end.
        tokens_per_forward: The ratio of the two.
        steps_ms: Passes after the prefix.
        prefill_ms: The pass over the prefix.
        total_ms: From the cursor to the text.
        problems: Rows without a text, by reason.
    """

    rows: int
    exact: Interval | None
    similarity: Interval | None
    parses: Interval | None
    passed: Interval | None
    shown: Interval | None
    answered: Interval | None
    forwards: Interval | None
    tokens: Interval | None
    tokens_per_forward: Interval | None
    steps_ms: Spread | None
    prefill_ms: Spread | None
    total_ms: Spread | None
    problems: dict[str, int]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How much more of a rate ``first`` has than ``second`` on the same rows."""

    rows: str
    rate: str
    first: str
    second: str
    by_file: Interval
    by_package: Interval


class SystemFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one system.

    Attributes:
        groups: By the name of a group of rows; intervals are over files.
        by_package: The main group again, intervals over packages.
        kinds: By kind, of the rows that fit, as are the following.
        languages: By language.
        lengths: By length of what is missing.
        empty_parses: By whether the file parses with nothing in the hole ("yes", "no").
    """

    groups: dict[str, Figures]
    by_package: Figures | None
    kinds: dict[str, Figures]
    languages: dict[str, Figures]
    lengths: dict[str, Figures]
    empty_parses: dict[str, Figures]


Rate = Callable[[Score], float | None]

RATES: Mapping[str, Rate] = {
    "exact": lambda score: score.judgement.exact,
    "similarity": lambda score: score.judgement.similarity,
    "parses": lambda score: score.judgement.parses,
    "passed": lambda score: score.judgement.passed,
    "shown": lambda score: score.answer.shown,
    "answered": lambda score: bool(score.answer.text.strip()),
}
_COMPARED = ("exact", "similarity", "parses", "passed")


def by_file(item: Item) -> str:
    """Return the file a row is from."""
    return item.file


def by_package(item: Item) -> str:
    """Return the package a row is from."""
    return item.row.package


def figures_of(scores: Sequence[Score]) -> SystemFigures:
    """Return the figures of one system's scores."""
    fitting = [score for score in scores if score.item.fits]
    groups = {FITTING: make_figures(fitting)} if fitting else {}
    too_long = [score for score in scores if not score.item.fits]
    if too_long:
        groups |= {EVERY: make_figures(scores), TOO_LONG: make_figures(too_long)}
    return SystemFigures(
        groups=groups,
        by_package=make_figures(fitting, by_package) if fitting else None,
        kinds=_split(fitting, lambda item: item.row.kind),
        languages=_split(fitting, lambda item: item.row.language),
        lengths=_split(fitting, lambda item: item.length, LENGTHS),
        empty_parses=_split(fitting, lambda item: "yes" if item.row.empty_parses else "no"),
    )


def make_figures(scores: Sequence[Score], cluster: Callable[[Item], str] = by_file) -> Figures:
    """Return the figures of some scores of one system."""
    problems: dict[str, int] = {}
    for score in scores:
        if score.answer.problem:
            problems[score.answer.problem] = problems.get(score.answer.problem, 0) + 1
    worked = [score for score in scores if not score.answer.problem]
    clusters = [cluster(score.item) for score in worked]
    forwards = [float(score.answer.forwards) for score in worked]
    tokens = [float(score.answer.tokens) for score in worked]
    return Figures(
        rows=len(scores),
        **{name: _rate(scores, rate, cluster) for name, rate in RATES.items()},
        forwards=ratio(forwards, clusters),
        tokens=ratio(tokens, clusters),
        tokens_per_forward=ratio(tokens, clusters, forwards),
        steps_ms=spread([score.answer.steps_ms for score in worked]),
        prefill_ms=spread([score.answer.prefill_ms for score in worked]),
        total_ms=spread([score.answer.total_ms for score in worked]),
        problems=problems,
    )


def differences(first: Sequence[Score], second: Sequence[Score]) -> list[Difference]:
    """Compare two systems, row by row, in the rows that fit and in all."""
    if not first or not second:
        return []
    found: list[Difference] = []
    others = {score.item.row.id: score for score in second}
    pairs = [(one, others[one.item.row.id]) for one in first if one.item.row.id in others]
    fitting = [pair for pair in pairs if pair[0].item.fits]
    groups = {FITTING: fitting} if len(fitting) == len(pairs) else {FITTING: fitting, EVERY: pairs}
    for group, rows in groups.items():
        for name in _COMPARED:
            values = [(one.item, RATES[name](one), RATES[name](other)) for one, other in rows]
            known = [(item, a - b) for item, a, b in values if a is not None and b is not None]
            more = [value for _, value in known]
            files = ratio(more, [by_file(item) for item, _ in known])
            packages = ratio(more, [by_package(item) for item, _ in known])
            if files is not None and packages is not None:
                found.append(
                    Difference(
                        rows=group,
                        rate=name,
                        first=first[0].system,
                        second=second[0].system,
                        by_file=files,
                        by_package=packages,
                    )
                )
    return found


def _rate(scores: Sequence[Score], rate: Rate, cluster: Callable[[Item], str]) -> Interval | None:
    values = [(rate(score), cluster(score.item)) for score in scores]
    known = [(float(value), name) for value, name in values if value is not None]
    return ratio([value for value, _ in known], [name for _, name in known])


def _split(
    scores: Sequence[Score], part: Callable[[Item], str], order: Iterable[str] | None = None
) -> dict[str, Figures]:
    parts: dict[str, list[Score]] = {}
    for score in scores:
        parts.setdefault(part(score.item), []).append(score)
    names = sorted(parts) if order is None else [name for name in order if name in parts]
    return {name: make_figures(parts[name]) for name in names}

"""The order in which candidates are offered, and when none is; not how they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dgemma_lsp.infill.types import Candidate, Mended, RejectReason

_AGREEMENT = 0.2
"""What another candidate with the same first line is worth, in nats of the mean score."""


def order(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Accepted candidates first, whole ones before heads, then by weight or score and agreement.

    Weights decide where every candidate that may be shown has one: they are of whole texts, and of
    what follows. Texts that differ in blanks alone appear once.
    """
    every = list(candidates)
    said = Counter(_first_line(each) for each in every)
    weighed = all(each.weight is not None for each in every if each.verdict.accepted)

    def key(each: Candidate) -> tuple[bool, bool, float]:
        agreement = said[_first_line(each)] - 1
        worth = each.score + _AGREEMENT * agreement
        if weighed and each.weight is not None:
            worth = each.weight
        return not each.verdict.accepted, each.mended is Mended.HEAD, -worth

    seen: set[str] = set()
    kept: list[Candidate] = []
    for candidate in sorted(every, key=key):
        folded = "".join(candidate.text.split())
        if folded not in seen:
            seen.add(folded)
            kept.append(candidate)
    return tuple(kept)


def unsure(candidates: Sequence[Candidate], least: float | None) -> tuple[Candidate, ...]:
    """The candidates, of which those that scored below ``least`` are rejected."""
    if least is None:
        return tuple(candidates)
    return tuple(
        replace(each, verdict=replace(each.verdict, accepted=False, reason=RejectReason.UNSURE))
        if each.verdict.accepted and each.score < least
        else each
        for each in candidates
    )


def _first_line(candidate: Candidate) -> str:
    lines = candidate.text.strip().splitlines()
    return "".join(lines[0].split()) if lines else ""

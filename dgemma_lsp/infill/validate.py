"""Whether a candidate may be shown: trimmed, then judged in its place in the document.

How long it takes to ask again, or what to do with a rejected candidate, is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

from dgemma_lsp.infill.judging.judge import BUDGET_S, LONGEST_TEXT, judge, main_reason
from dgemma_lsp.infill.trim import Site, Trimmed, overlap_cuts, plain_cuts, site_of, trim
from dgemma_lsp.infill.types import Fault, Hole, RejectReason, Snapshot, Verdict
from dgemma_lsp.syntax.errors import count_errors

_MAX_CUTS = 6
"""Each cut that is tried costs a parse of the excerpt."""

_MAX_ROUNDS = 40
"""Every round shortens the text; more would be a text of nothing but repetitions."""


def check(
    snapshot: Snapshot,
    hole: Hole,
    raw_text: str,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[str, Verdict]:
    """Trim a model's text for ``hole`` and judge it.

    Returns:
        The text to insert and the verdict on it; a rejected text is returned for logs only.
    """
    site = site_of(snapshot, hole)
    trimmed = trim(raw_text, site)
    if snapshot.parsed.grammar is not None:
        trimmed = _without_overlap(snapshot, hole, trimmed, site, clock)
    text = trimmed.text
    found = judge(snapshot, hole, text, clock=clock)
    faults = found.faults
    if not text.strip() and raw_text.strip() and "suffix_repeated" in trimmed.rules:
        faults = (Fault(RejectReason.REPEATS_SUFFIX, 0, len(text)),)
    return text, Verdict(
        not faults,
        main_reason(faults),
        found.parser,
        found.errors_before,
        found.errors_after,
        trimmed.rules,
        faults,
    )


def _without_overlap(
    snapshot: Snapshot, hole: Hole, trimmed: Trimmed, site: Site, clock: Callable[[], float]
) -> Trimmed:
    """End a text before it says the rest of the line, where the parser likes that as well.

    The rules of ``trim`` cut only what is a repetition for certain. Whether a bracket is one can
    depend on what the hole itself opened; that is left to the parser. All the rest of the line is
    cut where that costs no error, a part of it where that saves one.
    """
    if not site.tail.strip() or len(trimmed.text) > LONGEST_TEXT:
        return trimmed
    excerpt = snapshot.parsed.excerpt(hole.offset)
    fewest: float | None = None

    until = clock() + BUDGET_S

    def errors(text: str) -> float:
        edited = excerpt.parsed.edited(excerpt.offset, excerpt.offset, text)
        return count_errors(edited) if edited.parse_while(lambda: clock() <= until) else inf

    for _ in range(_MAX_ROUNDS):
        plain = plain_cuts(trimmed.text, site)
        cuts = overlap_cuts(trimmed.text, site)[:_MAX_CUTS]
        if not plain and not cuts:
            break
        if fewest is None:
            fewest = errors(trimmed.text)
        if fewest == inf:
            break  # out of time
        best: Trimmed | None = None
        for cut in cuts if fewest else []:
            again = trim(cut, site)
            left = errors(again.text)
            if left < fewest and again.text.strip():
                best, fewest = again, left
        for cut in plain if best is None else []:
            again = trim(cut, site)
            if again.text.strip() and (left := errors(again.text)) <= fewest:
                best, fewest = again, left
                break
        if best is None:
            break
        rules = dict.fromkeys((*trimmed.rules, "suffix_overlap", *best.rules))
        trimmed = Trimmed(best.text, tuple(rules))
    return trimmed

"""The order in which candidates are offered; knows nothing of how they were made."""

from __future__ import annotations

from collections.abc import Iterable

from dgemma_lsp.infill.types import Candidate


def order(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Accepted candidates first, then by score; texts that differ in blanks alone appear once."""
    ranked = sorted(candidates, key=lambda each: (not each.verdict.accepted, -each.score))
    seen: set[str] = set()
    kept: list[Candidate] = []
    for candidate in ranked:
        folded = "".join(candidate.text.split())
        if folded not in seen:
            seen.add(folded)
            kept.append(candidate)
    return tuple(kept)

"""Comparing answers of an engine in tests."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dgemma_wire.messages import Candidate


def without_handles(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The candidates but for the handles of their drafts, which are never the same twice."""
    return tuple(msgspec.structs.replace(candidate, draft=0) for candidate in candidates)

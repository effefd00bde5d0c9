"""What became of a completion that was offered, and the statistics of it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dgemma_lsp.methods.shapes import Shape, TokenResult


class OfferParams(Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/confidence`` and ``dgemma/didShow``.

    ``id`` is the argument of the completion's command.
    """

    id: int


class ConfidenceResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/confidence``: empty for an offer too old to be remembered."""

    text: str
    tokens: tuple[TokenResult, ...]


class PartlyAcceptedParams(Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/didPartiallyAccept``."""

    id: int
    length: Annotated[int, Meta(description="Characters of the offer taken so far.", ge=0)]


class RejectedParams(Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/didReject``."""

    id: int
    why: Annotated[Literal["dismissed", "typed"], Meta(description="What the person did.")]


class Counts(Shape, frozen=True, kw_only=True):
    """What came of completions."""

    requests: int = 0
    shown: int = 0
    accepted: int = 0
    partly_accepted: int = 0
    rejected: int = 0
    kept: Annotated[int, Meta(description="Still in the document 30 seconds later.")] = 0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None


class StatisticsResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/statistics``."""

    path: Annotated[str, Meta(description="The file that holds them.")]
    since: Annotated[str | None, Meta(description="Day of the first count, ISO 8601.")]
    total: Counts
    by_language: dict[str, Counts]

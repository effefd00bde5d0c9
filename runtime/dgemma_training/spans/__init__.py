"""Which parts of a source file a model is trained and measured on.

``kinds`` names them, ``tables`` (by a grammar) and ``surface`` (without one) find the ``places`` of
one text where they can be, ``sampler`` draws.
"""

from __future__ import annotations

from dgemma_training.spans.kinds import Mix, Span, SpanKind
from dgemma_training.spans.sampler import SpanSampler, editor_id

__all__ = ["Mix", "Span", "SpanKind", "SpanSampler", "editor_id"]

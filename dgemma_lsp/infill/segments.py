"""A hole and its context as a canvas: known text and spans in their order.

Plain values that mirror what goes over the wire; the runtime client turns them into messages. The
shape allows several holes, of which a completion at the cursor uses one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from dgemma_lsp.infill.trigger import max_lines
from dgemma_lsp.infill.types import Context, Hole


@dataclass(frozen=True, slots=True)
class Known:
    """Text that is clamped."""

    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """Positions to denoise.

    ``tokens`` is their number, ``None`` leaving it to the model; ``max_lines`` bounds the text.
    With a ``start`` they begin as that text, of which the share ``noise`` is made anew.
    """

    max_lines: int | None = None
    tokens: int | None = None
    start: str | None = None
    noise: float = 1.0


Piece: TypeAlias = Known | Span


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What the canvas replaces, and the instruction by which."""

    instruction: str
    original: str


@dataclass(frozen=True, slots=True)
class Canvas:
    """The text before the canvas, and the canvas itself; ``rewriting`` when it replaces text.

    ``context`` are pieces of text from elsewhere, the most stable first.
    """

    prefix: str
    pieces: tuple[Piece, ...]
    rewriting: Rewriting | None = None
    context: tuple[str, ...] = ()


def lay_out(hole: Hole, context: Context) -> Canvas:
    """The canvas of one hole: a span, and the suffix clamped after it."""
    span = Span(max_lines(hole.kind))
    if not context.suffix:
        return Canvas(context.prefix, (span,))
    return Canvas(context.prefix, (span, Known(context.suffix)))

"""Work that asks for passes over canvases and is answered with logits.

Whatever wants a model - a denoise step, a probe of a length, the doubts of a draft - is a
generator: it yields the passes it wants next, all of which may run at once, and is sent their
logits. So one forward pass serves all candidates of a request, and those of several requests, and
nobody who asks needs to know who else does. Knows no canvas, no job and no clock.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from torch import Tensor

from dgemma_runtime.models.base import MOST_TOGETHER, CanvasPass, ModelAdapter, ReadsTogether

T = TypeVar("T")

Asks = Generator[list[CanvasPass], list[Tensor], T]
"""Yields passes, is sent the logits (rows, vocab) of each in the same order, and returns a ``T``.
What is sent may be written to."""


def predict(adapter: ModelAdapter, passes: Sequence[CanvasPass]) -> list[Tensor]:
    """Run passes, as many in one as the model and ``MOST_TOGETHER`` allow."""
    if len(passes) > 1 and isinstance(adapter, ReadsTogether):
        parts = [passes[at : at + MOST_TOGETHER] for at in range(0, len(passes), MOST_TOGETHER)]
        return [logits for part in parts for logits in adapter.denoise_together(part)]
    return [adapter.denoise(each.canvas, each.prefix, each.rows, each.feedback) for each in passes]


def answer(adapter: ModelAdapter, asks: Asks[T]) -> T:
    """Run one piece of work to its end."""
    logits: list[Tensor] | None = None
    while True:
        try:
            passes = next(asks) if logits is None else asks.send(logits)
        except StopIteration as end:
            return end.value
        logits = predict(adapter, passes)


def side_by_side(work: Sequence[Asks[T]]) -> Asks[list[T]]:
    """Do several pieces of work in step with each other; returns their results in order.

    When one of them raises, or this is closed, the others are closed.
    """
    results: dict[int, T] = {}
    waiting: dict[int, list[CanvasPass]] = {}

    def go_on(number: int, logits: list[Tensor] | None) -> None:
        asks = work[number]
        try:
            waiting[number] = next(asks) if logits is None else asks.send(logits)
        except StopIteration as end:
            results[number] = end.value
            waiting.pop(number, None)

    try:
        for number in range(len(work)):
            go_on(number, None)
        while waiting:
            logits = iter((yield [each for passes in waiting.values() for each in passes]))
            for number, passes in list(waiting.items()):
                go_on(number, [next(logits) for _ in passes])
    finally:
        for asks in work:
            asks.close()
    return [results[number] for number in range(len(work))]

"""A model that is a table: its logits are a function of the canvas alone. For loop tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from dgemma_runtime.models.base import PrefixState


class Prefix:
    def __init__(self, ids: tuple[int, ...] = ()) -> None:
        self.ids = ids

    @property
    def length(self) -> int:
        return len(self.ids)

    def crop(self, length: int) -> None:
        self.ids = self.ids[:length]

    def fork(self, length: int) -> Prefix:
        return Prefix(self.ids[:length])


class TableAdapter:
    """Implements ``ModelAdapter``; counts what it is asked."""

    def __init__(self, logits: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._logits = logits
        self.canvases: list[Tensor] = []
        self.encoded: list[tuple[int, ...]] = []

    def new_prefix(self) -> Prefix:
        return Prefix()

    def encode(self, ids: Sequence[int], prefix: PrefixState) -> None:
        assert isinstance(prefix, Prefix)
        self.encoded.append(tuple(ids))
        prefix.ids += tuple(ids)

    def denoise(
        self, canvas: Tensor, prefix: PrefixState, rows: Tensor, feedback: Tensor | None
    ) -> Tensor:
        self.canvases.append(canvas.clone())
        return self._logits(canvas, rows)

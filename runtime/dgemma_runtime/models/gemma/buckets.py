"""Which sizes a pass may have, so that a few recorded passes serve every request. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a pass; passes of one shape do the same work on the same memory.

    Attributes:
        prefixes: How many.
        canvases: Behind each of them.
        canvas_tokens: Rows of each canvas.
        prefix_tokens: Most tokens of a prefix.
        rows: To predict, over all canvases.
        fed: Some canvas has feedback.
    """

    prefixes: int
    canvases: int
    canvas_tokens: int
    prefix_tokens: int
    rows: int
    fed: bool

    @property
    def rows_of_prefix(self) -> int:
        """Rows of all canvases behind one prefix."""
        return self.canvases * self.canvas_tokens


@dataclass(frozen=True, slots=True)
class Buckets:
    """Sizes in ascending order; see ``fit``.

    Those of canvases and prefixes are multiples of 16, as attention kernels want the number of keys
    under a mask.
    """

    counts: tuple[int, ...]
    canvas_tokens: tuple[int, ...]
    prefix_tokens: tuple[int, ...]
    rows: tuple[int, ...]

    def fit(
        self,
        prefixes: Sequence[int],
        canvases: Sequence[Sequence[int]],
        rows: int,
        *,
        fed: bool,
    ) -> Shape:
        """Return the smallest shape that holds a pass.

        Args:
            prefixes: Tokens of each prefix.
            canvases: Tokens of each canvas behind each of them.
            rows: To predict, over all canvases.
            fed: Some canvas has feedback.
        """
        return Shape(
            prefixes=fit(len(prefixes), self.counts),
            canvases=fit(max(map(len, canvases)), self.counts),
            canvas_tokens=fit(max(map(max, canvases)), self.canvas_tokens),
            prefix_tokens=fit(max(prefixes), self.prefix_tokens),
            rows=fit(rows, self.rows),
            fed=fed,
        )

    def canvases_of_prefix(self, counts: Sequence[int]) -> int:
        """Return how many canvases to lay behind one copy of a prefix, for the smallest pass.

        Where prefixes have unequally many, a second copy of one costs less than empty canvases.

        Args:
            counts: Canvases of each prefix.
        """
        most = fit(max(counts), self.counts)

        def size(each: int) -> int:
            return fit(sum(-(-count // each) for count in counts), self.counts) * each

        some = [each for each in range(1, most + 1) if fit(each, self.counts) == each]
        return min(some, key=lambda each: (size(each), -each))


def fit(size: int, sizes: tuple[int, ...]) -> int:
    """Return the smallest of some ascending sizes that holds ``size``, or of the last's multiples.

    Without sizes every size is one.
    """
    if not sizes:
        return size
    last = sizes[-1]
    return next((each for each in sizes if each >= size), -(-size // last) * last)


FEW = Buckets(
    counts=(1, 2, 4, 8),
    canvas_tokens=(32, 64, 128, 256),
    prefix_tokens=(512, 1024, 2048, 4096),
    rows=(64, 128, 256),
)
"""A step streams nearly all weights whatever its size, so padding costs little of it."""

EXACT = Buckets((), (), (), ())
"""For passes that are not recorded."""

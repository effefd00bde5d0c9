"""How sure a figure is: bootstrap over clusters, since rows of one file err together.

Pure numbers; knows no rows and no systems.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

_RESAMPLES = 2000
_BATCH = 1 << 22
"""Numbers drawn at a time."""


class Interval(msgspec.Struct, frozen=True):
    """A figure and where it lies with 95 % confidence.

    Attributes:
        value: The figure.
        low: 2.5th percentile over resamples; ``None`` with fewer than two clusters.
        high: 97.5th percentile.
        n: Rows behind it.
        clusters: Groups of rows that were drawn together.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    clusters: int


class Spread(msgspec.Struct, frozen=True):
    """Middle and tail of some numbers."""

    p50: float
    p95: float
    n: int


def ratio(
    above: Sequence[float],
    clusters: Sequence[str],
    below: Sequence[float] | None = None,
    *,
    seed: int = 0,
) -> Interval | None:
    """Return a ratio of sums with its interval; ``None`` of nothing.

    Args:
        above: What is summed above the line, per row.
        clusters: The cluster of each row.
        below: The same below the line; ones give a mean.
        seed: Of the resamples.
    """
    if not above:
        return None
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    count = len(names)
    ones = np.ones(len(above))
    top = np.bincount(index, weights=np.asarray(above, dtype=float), minlength=count)
    base = np.bincount(
        index, weights=ones if below is None else np.asarray(below, dtype=float), minlength=count
    )
    if not base.sum():
        return None
    value = float(top.sum() / base.sum())
    if count < 2:
        return Interval(value, None, None, len(above), count)
    low, high = np.quantile(_resampled(top, base, seed), (0.025, 0.975))
    return Interval(value, float(low), float(high), len(above), count)


def spread(values: Sequence[float]) -> Spread | None:
    """Return median and 95th percentile; ``None`` of nothing."""
    if not values:
        return None
    middle, tail = np.quantile(np.asarray(values, dtype=float), (0.5, 0.95))
    return Spread(round(float(middle), 3), round(float(tail), 3), len(values))


def _resampled(top: np.ndarray, base: np.ndarray, seed: int) -> np.ndarray:
    """Return the ratio of each resample of the clusters (resamples,)."""
    rng = np.random.default_rng(seed)
    count = len(top)
    each = max(1, _BATCH // count)
    parts: list[np.ndarray] = []
    for done in range(0, _RESAMPLES, each):
        draws = rng.integers(0, count, (min(each, _RESAMPLES - done), count))
        sums = base[draws].sum(1)
        # Clusters of nothing but zeros below the line can be all that is drawn.
        parts.append(np.where(sums > 0, top[draws].sum(1) / np.maximum(sums, 1e-12), 0.0))
    return np.concatenate(parts)

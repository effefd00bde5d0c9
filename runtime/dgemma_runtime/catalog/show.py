"""How a pull's progress and a memory plan are written: for people, and as lines of JSON."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from dgemma_runtime.catalog.memory_plan import KEPT_PREFIXES, MemoryPlan
from dgemma_runtime.catalog.pull import PullProgress

_BAR = 24
_SPEED_S = 10.0
"""The span that a speed is the mean of."""
_JSON_S = 0.5
_LINE_S = 30.0


class ShowsProgress:
    """Writes a pull's progress: a bar on a terminal, else a line now and then, or JSON on stdout.

    Args:
        name: Of the model.
        as_json: Whether a program reads it.
        stream: Where a person reads it.
    """

    def __init__(self, name: str, *, as_json: bool, stream: TextIO | None = None) -> None:
        self._name = name
        self._json = as_json
        self._stream = sys.stderr if stream is None else stream
        self._seen: deque[tuple[float, int]] = deque()
        self._last = -_LINE_S
        self._open = False

    def __call__(self, progress: PullProgress) -> None:
        """Write one state, when it is time for it."""
        now = time.monotonic()
        self._seen.append((now, progress.done))
        while now - self._seen[0][0] > _SPEED_S and len(self._seen) > 2:
            self._seen.popleft()
        terminal = self._stream.isatty() and not self._json
        pause = 0.1 if terminal else _JSON_S if self._json else _LINE_S
        over = progress.files_done == progress.files
        if now - self._last < pause and not over:
            return
        self._last = now
        if self._json:
            write_json(
                event="progress",
                done=progress.done,
                total=progress.total,
                filesDone=progress.files_done,
                files=progress.files,
                bytesPerSecond=round(self.speed),
            )
        elif terminal:
            self._stream.write("\r\x1b[K" + self.line(progress))
            self._stream.flush()
            self._open = True
        else:
            self._stream.write(self.line(progress) + "\n")
            self._stream.flush()

    def end(self) -> None:
        """Leave the bar's line."""
        if self._open:
            self._stream.write("\n")
            self._open = False

    @property
    def speed(self) -> float:
        """Bytes per second over the last seconds."""
        (first, had), (last, has) = self._seen[0], self._seen[-1]
        return max(0.0, (has - had) / (last - first)) if last > first else 0.0

    def line(self, progress: PullProgress) -> str:
        """Return the state as one line."""
        share = progress.done / progress.total if progress.total else 1.0
        full = int(share * _BAR)
        parts = [
            f"{self._name} [{'#' * full}{'.' * (_BAR - full)}] {share:4.0%}",
            f"{size_text(progress.done)} of {size_text(progress.total)}",
        ]
        if progress.files_done:
            parts.append(f"{progress.files_done}/{progress.files} files")
        if self.speed > 0 and progress.done < progress.total:
            left = (progress.total - progress.done) / self.speed
            parts += [f"{size_text(self.speed)}/s", f"{_time_text(left)} left"]
        return "  ".join(parts)


def write_json(**members: Any) -> None:
    """Write one line of JSON to stdout."""
    print(json.dumps(members), flush=True)


def plan_lines(plans: Sequence[MemoryPlan], total: int | None) -> Iterator[str]:
    """Yield a table of plans for people; ``total`` is the device's memory."""
    names = [part.name for part in plans[0].parts]
    width = max(len(name) for name in [*names, f"up to {KEPT_PREFIXES - 1} more prefixes"])
    yield f"{'GB':<{width}}" + "".join(f"{plan.form:>11}" for plan in plans)
    for row, name in enumerate(names):
        yield f"{name:<{width}}" + "".join(f"{p.parts[row].bytes / 1e9:11.2f}" for p in plans)
    yield f"{'one prefix':<{width}}" + "".join(f"{p.prefix_bytes / 1e9:11.2f}" for p in plans)
    yield f"{'needed':<{width}}" + "".join(f"{p.least_bytes / 1e9:11.2f}" for p in plans)
    more = [(KEPT_PREFIXES - 1) * p.prefix_bytes / 1e9 for p in plans]
    yield f"{f'up to {KEPT_PREFIXES - 1} more prefixes':<{width}}" + "".join(
        f"{each:11.2f}" for each in more
    )
    if total is not None:
        fits = ["yes" if plan.prefixes_in(total) else "no" for plan in plans]
        yield f"{f'fits {total / 1e9:.1f} GB':<{width}}" + "".join(f"{each:>11}" for each in fits)
    loads = ["yes" if plan.loads else "no" for plan in plans]
    yield f"{'this release loads it':<{width}}" + "".join(f"{each:>11}" for each in loads)


def size_text(size: float) -> str:
    """Return bytes in the unit that fits."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size:.0f} B"


def _time_text(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""How long work tells a person how far it is."""

from __future__ import annotations

import sys
import time

_LINE_S = 20.0
"""Seconds between two lines of progress where the terminal cannot rewrite one."""


class Progress:
    """One line that is rewritten in a terminal, or now and then a line elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._said = 0.0

    def __call__(self, text: str, share: float | None = None) -> None:
        """Show a state; ``share`` 0 to 1 adds a bar."""
        if share is not None:
            text = f"[{'#' * round(20 * share):<20}] {share:4.0%}  {text}"
        if self._live:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._said >= _LINE_S:
            self._said = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._live:
            print(file=sys.stderr)

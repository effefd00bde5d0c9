"""What a loader of weights is given beside them. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

LoadReport: TypeAlias = Callable[[float, str], None]
"""Is told the share that is done, 0 to 1, and what is being done, in words."""


def untold(share: float, text: str) -> None:
    """Be a ``LoadReport`` that nobody reads."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How to load.

    Attributes:
        report: Is told how far it is, from the thread that loads.
        keep_in: Folder for what is made of the weights and can be made again; ``None`` keeps
            nothing.
    """

    report: LoadReport = untold
    keep_in: Path | None = None


QUIETLY = Loading()
"""Told to nobody, and nothing is kept."""

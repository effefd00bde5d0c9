"""Files of rows, as their makers write them."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import msgspec

from dgemma_training.rows import Row


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write JSON lines, gzipped if the name ends so."""
    data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)

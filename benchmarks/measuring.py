"""What the benchmarks share: holes to fill, the spread of what was measured, the hardware.

Needs the standard library alone, so that a machine with a GPU and little else can measure too.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import platform
import random
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Hole:
    """A text with a hole, and what stood there."""

    name: str
    language: str
    prefix: str
    middle: str
    suffix: str

    @property
    def position(self) -> tuple[int, int]:
        """Line and column, both from 0, in characters."""
        return self.prefix.count("\n"), len(self.prefix.rsplit("\n", 1)[-1])


def rows_from(path: Path) -> list[Hole]:
    """Read holes from a gzipped file of JSON lines with prefix, middle, suffix and lang."""
    names = {"py": "python", "ts": "typescript", "js": "javascript", "tsx": "typescriptreact"}
    holes: list[Hole] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            language = names.get(row["lang"]) or str(row["lang"])
            holes.append(
                Hole(f"row{number}", language, row["prefix"], row["middle"], row["suffix"])
            )
    return holes


def rows_from_sources(count: int, seed: int) -> list[Hole]:
    """Cut holes from this repository's own Python: the tails of lines of code."""
    rng = random.Random(seed)
    files = sorted(p for p in ROOT.glob("dgemma_lsp/**/*.py") if p.stat().st_size > 2000)
    holes: list[Hole] = []
    while len(holes) < count:
        path = rng.choice(files)
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines(keepends=True)
        number = rng.randrange(5, len(lines))
        line = lines[number].rstrip("\n")
        cut = len(line) - len(line.lstrip()) + 4
        if len(line) < cut + 4 or line.lstrip().startswith(("#", '"', "import", "from")):
            continue
        start = sum(len(each) for each in lines[:number]) + rng.randrange(cut, len(line) - 2)
        end = sum(len(each) for each in lines[:number]) + len(line)
        name = f"{path.name}:{number + 1}"
        holes.append(Hole(name, "python", text[:start], text[start:end], text[end:]))
    return holes


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return p50, p95 and the number of values."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0}
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return {"p50": round(statistics.median(ordered), 3), "p95": round(p95, 3), "n": len(ordered)}


def hardware() -> dict[str, Any]:
    """Return what the figures were measured on."""
    name = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.name == "posix" else []:
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return {"cpu": name, "cores": os.cpu_count(), "system": platform.platform()}

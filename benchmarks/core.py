"""Times the language server's core: edit, parse, capture, check and cache look-up.

Each round types one character into a generated file and asks for everything an inline completion
needs except the model. Prints the median and the 95th percentile in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from dgemma_lsp.documents import Change, DocumentStore, Position
from dgemma_lsp.infill.capture import capture
from dgemma_lsp.infill.reuse import CandidateCache
from dgemma_lsp.infill.trigger import find_hole
from dgemma_lsp.infill.types import Budget, Candidate, Hole, Snapshot
from dgemma_lsp.infill.validate import check

URI = "file:///bench"
BUDGET = Budget(prefix_chars=12_000, suffix_chars=400)
UNITS = {
    "python": "class C{0}:\n    def total(self, a, b):\n        rows = [a, b, {0}]\n"
    "        return sum(rows)\n\n",
    "typescript": "export function f{0}(a: number): number {{\n  const rows = [a, {0}];\n"
    "  return rows.length;\n}}\n\n",
}
PLACES = {"python": "sum(rows)", "typescript": "rows.length"}

T = TypeVar("T")


@dataclass
class Clock:
    """Collects the times of named steps."""

    times: dict[str, list[float]]

    def run(self, step: str, work: Callable[[], T]) -> T:
        """Time one call."""
        start = time.perf_counter()
        result = work()
        self.times.setdefault(step, []).append((time.perf_counter() - start) * 1000)
        return result


def measure(language: str, lines: int, rounds: int, *, whole: bool) -> dict[str, list[float]]:
    """Times per step, in milliseconds."""
    unit = UNITS[language]
    head = "# 漢字\n" if language == "python" else "// 漢字\n"
    text = "".join(unit.format(at) for at in range(lines // unit.count("\n")))
    clock = Clock({})
    for name, source in (("ascii", text), ("cjk", head + text)):
        _type_into(clock, name, language, source, rounds, whole=whole)
    return clock.times


def _type_into(
    clock: Clock, name: str, language: str, source: str, rounds: int, *, whole: bool
) -> None:
    rng = random.Random(7)
    store = DocumentStore()
    cache = CandidateCache()
    document = clock.run(f"{name} open", lambda: store.open(URI, language, 0, source))
    clock.run(f"{name} first parse", lambda: (document.parsed.lines, document.parsed.tree))
    for version in range(1, rounds + 1):
        before = store.get(URI)
        assert before is not None
        parsed = before.parsed
        at = parsed.text.index(PLACES[language], rng.randrange(max(1, len(parsed.text) - 400))) + 3
        place = Position(*parsed.position_at(at))
        change = Change("y", place, place)
        clock.run(f"{name} edit", partial(store.change, URI, version, [change], "utf-32"))
        snapshot = store.snapshot(URI)
        assert snapshot is not None
        _complete(clock, name, snapshot, at + 1, cache)
        if whole:
            clock.run(f"{name} whole tree", lambda now=snapshot: now.parsed.tree)


def _complete(clock: Clock, name: str, snapshot: Snapshot, at: int, cache: CandidateCache) -> None:
    line_end = snapshot.text.index("\n", at)
    clock.run(f"{name} find hole, line end", lambda: find_hole(snapshot, line_end))
    hole = clock.run(f"{name} find hole, mid line", lambda: find_hole(snapshot, at, invoked=True))
    assert isinstance(hole, Hole)
    clock.run(f"{name} capture", lambda: capture(snapshot, hole, BUDGET))
    text, verdict = clock.run(f"{name} check", lambda: check(snapshot, hole, "(a, b) + "))
    clock.run(f"{name} check, rejected", lambda: check(snapshot, hole, "(a, [b) + "))
    candidate = Candidate(text, text, -0.1, 0.9, 4, "settled", verdict)
    cache.store(snapshot, hole, [candidate])
    clock.run(f"{name} look-up, hit", lambda: cache.lookup(snapshot, at))
    clock.run(f"{name} look-up, miss", lambda: cache.lookup(snapshot, max(0, at - 200)))


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="edits per file (at least 200)")
    parser.add_argument("--lines", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--language", choices=sorted(UNITS), default="python")
    parser.add_argument(
        "--whole-tree", action="store_true", help="also parse the whole document after each edit"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    results: list[dict[str, object]] = []
    for lines in options.lines:
        times = measure(options.language, lines, max(200, options.rounds), whole=options.whole_tree)
        for step, values in times.items():
            p50, p95 = _percentile(values, 0.5), _percentile(values, 0.95)
            results.append(
                {
                    "language": options.language,
                    "lines": lines,
                    "step": step,
                    "count": len(values),
                    "p50_ms": round(p50, 3),
                    "p95_ms": round(p95, 3),
                }
            )
    if options.json:
        print(json.dumps(results, indent=1))
        return
    for row in results:
        print(
            f"{row['language']} {row['lines']:>6} lines  {row['step']:<28}"
            f"p50 {row['p50_ms']:>8} ms   p95 {row['p95_ms']:>8} ms   n={row['count']}"
        )


if __name__ == "__main__":
    main()

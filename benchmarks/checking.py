"""How long judging takes while a person types, and how long the event loop stands still.

Every round types one character into a generated file and judges a draft where it was typed, as the
server does it. Figures in milliseconds:

    didChange     the splice, with the line index and the marks for the next parse
    judge         an incremental parse of the surroundings, the draft in its place, every check
    both          the two together
    both, cpu     the processor time of that, which a busy machine does not stretch
    loop, idle    the longest the event loop stood still with nothing to do, which is the machine
    loop, opened  the longest the event loop stood still while the file was opened and read
    loop, typed   the same while every character was typed and judged

The loop's figures come from a task that wakes every millisecond; the time it slept itself is not
in them. Python's cyclic garbage collector runs as it does in the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lsprotocol import types

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.core import PLACES, UNITS
from benchmarks.latency import hardware
from dgemma_lsp.cli.lsp import release
from dgemma_lsp.features import documents
from dgemma_lsp.infill.judging.judge import judge
from dgemma_lsp.infill.types import Hole, HoleKind
from dgemma_lsp.session import Session

DRAFTS = {
    "python": ("(a, b) + ", "(a, [b) + ", "a\n        return total\n"),
    "typescript": ("(a, b) + ", "(a, [b) + ", "a;\n  const x = 1;\n  "),
}
_TICK_S = 0.001
_IDLE_S = 1.0


class Watch:
    """Measures how late a task wakes."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            self.worst = max(self.worst, time.perf_counter() - began - _TICK_S)

    async def stop(self) -> float:
        """Return the longest delay, in milliseconds."""
        await asyncio.sleep(2 * _TICK_S)
        self._task.cancel()
        return round(self.worst * 1000, 3)


def spread(values: list[float]) -> dict[str, float]:
    """Return p50, p95, the longest and the number of values."""
    ordered = sorted(values)
    return {
        "p50": round(ordered[len(ordered) // 2], 3),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 3),
        "max": round(ordered[-1], 3),
        "n": len(ordered),
    }


async def measure(language: str, lines: int, rounds: int, near: int) -> dict[str, Any]:
    """Open a file, type into it, judge; ``near`` characters in a row are typed at one place."""
    unit = UNITS[language]
    text = "".join(unit.format(at) for at in range(lines // unit.count("\n")))
    uri = f"file:///bench/{lines}"
    session = Session(release(), lambda _: None, lambda _: None)
    watch = Watch()
    await asyncio.sleep(_IDLE_S)
    idle_ms = await watch.stop()
    watch = Watch()
    opened = time.perf_counter()
    item = types.TextDocumentItem(uri, language, 0, text)
    documents.did_open(session, types.DidOpenTextDocumentParams(item))
    document = session.documents.get(uri)
    assert document is not None
    while document.parsed.rough_tree is None:  # noqa: ASYNC110 - the server does not wait either
        await asyncio.sleep(_TICK_S)
    parsed_ms = (time.perf_counter() - opened) * 1000
    opened_ms = await watch.stop()
    rng = random.Random(7)
    times: dict[str, list[float]] = {"didChange": [], "judge": [], "both": [], "both, cpu": []}
    watch = Watch()
    at = 0
    for version in range(1, rounds + 1):
        snapshot = session.documents.snapshot(uri)
        assert snapshot is not None
        if version % near == 1 or near == 1:
            share = rng.randrange(max(1, len(snapshot.text) - 400))
            # Every place is typed into once; from the last ones the search goes on at the top.
            found = snapshot.text.find(PLACES[language], share)
            at = (snapshot.text.index(PLACES[language]) if found < 0 else found) + 3
        line, column = snapshot.parsed.position_at(at)
        here = types.Position(line, column)
        spent = time.thread_time()
        began = time.perf_counter()
        documents.did_change(
            session,
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(version, uri),
                [types.TextDocumentContentChangePartial(types.Range(here, here), "y")],
            ),
        )
        changed = time.perf_counter()
        at += 1
        snapshot = session.documents.snapshot(uri)
        assert snapshot is not None
        draft = DRAFTS[language][version % 3]
        judge(snapshot, Hole(at, HoleKind.MID_LINE), draft)
        ended = time.perf_counter()
        times["both, cpu"].append((time.thread_time() - spent) * 1000)
        times["didChange"].append((changed - began) * 1000)
        times["judge"].append((ended - changed) * 1000)
        times["both"].append((ended - began) * 1000)
        await asyncio.sleep(_TICK_S)
    typed_ms = await watch.stop()
    await session.close()
    return {
        "language": language,
        "lines": lines,
        "typed in a row": near,
        **{name: spread(values) for name, values in times.items()},
        "first parse": round(parsed_ms, 1),
        "loop, idle": idle_ms,
        "loop, opened": opened_ms,
        "loop, typed": typed_ms,
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the results as a table."""
    print(f"{'':32}{'p50':>9}{'p95':>9}{'max':>9}{'n':>7}")
    for row in rows:
        print(f"{row['language']}, {row['lines']} lines, {row['typed in a row']} typed in a row")
        for name in ("didChange", "judge", "both", "both, cpu"):
            values = row[name]
            figures = "".join(f"{values[key]:>9}" for key in ("p50", "p95", "max"))
            print(f"  {name:30}{figures}{values['n']:>7}")
        for name in ("first parse", "loop, idle", "loop, opened", "loop, typed"):
            print(f"  {name:30}{'':18}{row[name]:>9}")


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1500, help="Characters (%(default)s).")
    parser.add_argument("--lines", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--languages", nargs="+", default=sorted(UNITS), choices=sorted(UNITS))
    parser.add_argument(
        "--near",
        type=int,
        nargs="+",
        default=[1, 8],
        help="Characters typed in a row at one place; 1 jumps after every key.",
    )
    parser.add_argument("--out", type=Path, help="Write the results here as JSON.")
    options = parser.parse_args()
    rows = [
        asyncio.run(measure(language, lines, options.rounds, near))
        for language in options.languages
        for lines in options.lines
        for near in options.near
    ]
    show(rows)
    if options.out is not None:
        results = {
            "date": datetime.now(UTC).date().isoformat(),
            "release": release(),
            "hardware": hardware(),
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "results": rows,
        }
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

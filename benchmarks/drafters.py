"""One drafter or two: fills by the canvas pass alone, and with the causal pass's opinion.

The same rows are filled both ways, one after the other, through a runtime of their own and the
language server's rules; nothing is mended and nothing held back by score. Rows come from a file, or
are cut from the held-out documents of a corpus.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measuring import hardware, spread

from dgemma_lsp.pipeline import Options, fill
from dgemma_training.documents import Split
from dgemma_training.evaluation.asking import private_directory, running, snapshot_of
from dgemma_training.evaluation.items import Item, from_corpus, from_file
from dgemma_training.evaluation.judging import similarity
from dgemma_training.evaluation.plan import span_of

WAYS = {"canvas": False, "both": True}
_DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Mark:
    """What came of a row one way."""

    row: str
    file: str
    way: str
    exact: bool
    similar: float
    shown: bool
    steps: int
    total_ms: float


async def measure(items: Sequence[Item], model: str, threads: int) -> list[Mark]:
    """Fill every row both ways."""
    marks: list[Mark] = []
    with private_directory() as directory:
        async with running(model, directory, threads=threads) as found:
            for number, item in enumerate(items):
                row = item.row
                # Each way is the first one every other time: its prefix is the cold one.
                for way in sorted(WAYS, reverse=bool(number % 2)):
                    options = Options(
                        document=f"{number} {way}",
                        invoked=True,
                        show_unsure=True,
                        mend=None,
                        second_opinion=WAYS[way],
                    )
                    outcome = await fill(snapshot_of(row), len(row.prefix), options, found.client)
                    best = outcome.candidates[0] if outcome.candidates else None
                    text = "" if best is None else best.text
                    marks.append(
                        Mark(
                            row=str(row.id),
                            file=item.file,
                            way=way,
                            exact=text.strip() == row.middle.strip(),
                            similar=similarity(text, row.middle),
                            shown=best is not None and best.verdict.accepted,
                            steps=0 if best is None else best.steps,
                            total_ms=outcome.times.total_ms,
                        )
                    )
                print(f"\r{number + 1} of {len(items)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return marks


def rates(marks: Sequence[Mark]) -> dict[str, Any]:
    """Return the figures of one way."""
    count = len(marks)
    return {
        "rows": count,
        "exact": round(100 * sum(mark.exact for mark in marks) / count, 1),
        "similar": round(100 * sum(mark.similar for mark in marks) / count, 1),
        "shown": round(100 * sum(mark.shown for mark in marks) / count, 1),
        "total_ms": spread(mark.total_ms for mark in marks),
    }


def gain(marks: Sequence[Mark]) -> dict[str, float]:
    """Return by how many points both are right more often, with an interval over files."""
    files: dict[str, list[int]] = {}
    for mark in marks:
        sign = 1 if WAYS[mark.way] else -1
        files.setdefault(mark.file, []).append(sign * mark.exact)
    groups = [(sum(signs), len(signs) / 2) for signs in files.values()]
    rng = random.Random(0)

    def points(drawn: Sequence[tuple[int, float]]) -> float:
        return 100 * sum(right for right, _ in drawn) / sum(rows for _, rows in drawn)

    draws = sorted(points(rng.choices(groups, k=len(groups))) for _ in range(_DRAWS))
    low, high = draws[int(0.025 * _DRAWS)], draws[int(0.975 * _DRAWS)]
    return {"points": round(points(groups), 1), "low": round(low, 1), "high": round(high, 1)}


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--rows", type=Path, help="A gzipped file of rows.")
    rows.add_argument("--corpus", type=Path, help="A corpus; rows are cut from one of its splits.")
    parser.add_argument("--split", choices=[str(split) for split in Split], default="test")
    parser.add_argument("--count", type=int, default=400, help="Rows at most (400).")
    parser.add_argument("--languages", nargs="+", default=["python"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--out", type=Path, help="Write the results here as JSON.")
    parser.add_argument("--marks", type=Path, help="Write what came of every row here.")
    arguments = parser.parse_args()
    span = span_of(arguments.model)
    if arguments.rows is not None:
        found = from_file(arguments.rows, span, arguments.count)
    else:
        found = from_corpus(
            arguments.corpus,
            Split(arguments.split),
            arguments.count,
            "headline",
            arguments.seed,
            span,
            arguments.languages,
        )
    items = [item for item in found.items if item.fits]
    marks = asyncio.run(measure(items, arguments.model, arguments.threads))
    by_way = {way: [mark for mark in marks if mark.way == way] for way in WAYS}
    kinds = sorted({mark.row.split("/")[1] for mark in marks if mark.row.count("/") >= 2})
    results = {
        "hardware": hardware(),
        "rows": {"name": found.name, "source": found.source, "sha256": found.sha256},
        "ways": {way: rates(mine) for way, mine in by_way.items()},
        "kinds": {
            kind: {
                way: rates([mark for mark in mine if mark.row.split("/")[1] == kind])
                for way, mine in by_way.items()
            }
            for kind in kinds
        },
        "gain": gain(marks),
    }
    print(json.dumps(results, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.marks is not None:
        arguments.marks.write_text(json.dumps([asdict(mark) for mark in marks], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

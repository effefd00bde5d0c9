"""From which score on an answer is worth showing: the threshold of a model's ``least_score``.

Fills holes of held-out documents as the server does, mending included, and compares what it would
show with what stood there. An answer is *useful* when its first line is right, or most of it: an
edit similarity of 0.7. Scores are put in order and made monotone (isotonic regression by pooling
adjacent violators); the threshold is the lowest score from which on at least ``--share`` of the
answers are useful. Rows for this must not be rows that anything else is reported on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dgemma_lsp.pipeline import Options, fill
from dgemma_training.documents import Split, read_documents
from dgemma_training.evaluation.asking import private_directory, running, snapshot_of
from dgemma_training.evaluation.judging import similarity
from dgemma_training.rows import Row, cut_rows
from dgemma_training.spans import Mix

_LIKE = 0.7


@dataclass(frozen=True, slots=True)
class Shown:
    """One answer that passed the validator."""

    score: float
    useful: bool


@dataclass(slots=True)
class _Pool:
    """Neighbours in the order of scores that share one estimate."""

    low: float
    useful: float
    count: int


def pooled(answers: Sequence[Shown]) -> list[tuple[float, float, int]]:
    """Share of useful answers by score, rising: (lowest score, share, answers) of every level."""
    pools: list[_Pool] = []
    for answer in sorted(answers, key=lambda each: each.score):
        pools.append(_Pool(answer.score, float(answer.useful), 1))
        while len(pools) > 1 and (
            pools[-2].useful * pools[-1].count >= pools[-1].useful * pools[-2].count
        ):
            last = pools.pop()
            pools[-1].useful += last.useful
            pools[-1].count += last.count
    return [(pool.low, pool.useful / pool.count, pool.count) for pool in pools]


def threshold(answers: Sequence[Shown], share: float) -> float | None:
    """The lowest score from which on the pooled share is reached; ``None`` if it never is."""
    return next((low for low, useful, _ in pooled(answers) if useful >= share), None)


def is_useful(text: str, truth: str) -> bool:
    """Whether a person would have kept it, by and large."""
    said, wanted = text.strip(), truth.strip()
    first = wanted.split("\n", 1)[0].strip()
    return said.split("\n", 1)[0].strip() == first or similarity(said, wanted) >= _LIKE


async def ask(rows: Sequence[Row], model: str) -> list[Shown]:
    """Fill every row and keep what would be shown."""
    shown: list[Shown] = []
    with private_directory() as directory:
        async with running(model, directory) as found:
            for number, row in enumerate(rows):
                options = Options(document=f"row{number}", invoked=True, show_unsure=True)
                outcome = await fill(snapshot_of(row), len(row.prefix), options, found.client)
                if outcome.shown:
                    best = outcome.shown[0]
                    shown.append(Shown(best.score, is_useful(best.text, row.middle)))
                print(f"\r{number + 1} of {len(rows)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return shown


def main() -> int:
    """Run the calibration; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("corpus", type=Path, help="A corpus; its validation documents are used.")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--languages", nargs="+", default=["python", "typescript"])
    parser.add_argument("--share", type=float, default=0.2, help="Of useful answers (0.2).")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Where results go, as JSON.")
    arguments = parser.parse_args()
    documents = read_documents(
        arguments.corpus, split=Split.VALIDATION, languages=arguments.languages
    )
    rows = cut_rows(
        list(documents),
        seed=arguments.seed,
        count=arguments.rows,
        mix=Mix.HEADLINE,
        fits=lambda text: len(text) < 120,
    )
    answers = asyncio.run(ask(rows, arguments.model))
    levels = pooled(answers)
    found = threshold(answers, arguments.share)
    kept = [answer for answer in answers if found is not None and answer.score >= found]
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "model": arguments.model,
        "rows": len(rows),
        "sound": len(answers),
        "useful": sum(answer.useful for answer in answers),
        "share": arguments.share,
        "least_score": found,
        "kept": len(kept),
        "useful_of_kept": sum(answer.useful for answer in kept),
        "levels": [
            {"score": round(low, 4), "useful": round(useful, 3), "answers": count}
            for low, useful, count in levels
        ],
    }
    print(json.dumps(results, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command ``dgemma eval``: flags to settings, and where the results go.

Everything that costs is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``eval``."""
    rows = parser.add_argument_group("rows")
    rows.add_argument(
        "--rows",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="Rows as JSON lines, gzipped or not; also HumanEval infilling.",
    )
    rows.add_argument("--limit", type=int, metavar="N", help="Only the first N rows of each file.")
    rows.add_argument("--corpus", type=Path, metavar="FOLDER", help="Cut rows from this corpus.")
    rows.add_argument(
        "--split",
        choices=["validation", "test"],
        default="validation",
        help="Which part of the corpus (default: %(default)s).",
    )
    rows.add_argument("--count", type=int, default=0, metavar="N", help="Rows to cut from it.")
    rows.add_argument("--languages", nargs="+", metavar="ID", help="Only these of the corpus.")
    rows.add_argument(
        "--mix",
        default="headline",
        help="headline, default, or a kind of span (default: %(default)s).",
    )
    rows.add_argument("--probes", action="store_true", help="Ask the twenty probes too.")
    rows.add_argument(
        "--rewrites",
        type=int,
        default=0,
        metavar="N",
        help="Rewrites of the corpus, N of each kind at most.",
    )
    rows.add_argument("--kinds", nargs="+", metavar="KIND", help="Only these kinds of rewrite.")
    rows.add_argument("--seed", type=int, default=0, help="Decides rows, rewrites and order.")
    who = parser.add_argument_group("systems")
    who.add_argument(
        "--systems",
        nargs="+",
        default=["product", "base"],
        metavar="NAME",
        help="product, left_to_right, parallel:THRESHOLD, base; all others are compared with the "
        "first (default: product base).",
    )
    who.add_argument("--model", default="embedded", help="As the setting `model` names it.")
    who.add_argument(
        "--adapter",
        nargs="+",
        default=[],
        metavar="FILE",
        help="Adapters in place of the model's own: FILE, NAME=FILE, or `shipped`.",
    )
    who.add_argument(
        "--sampler", type=_fields, default={}, metavar="JSON", help="Replace sampler fields."
    )
    who.add_argument("--max-span", type=int, metavar="N", help="Slots of the longest span.")
    who.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto).")
    who.add_argument("--dtype", default="auto", help="auto, bfloat16 or float32.")
    who.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores).")
    out = parser.add_argument_group("results")
    out.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="Write results.json, table.md and plot.svg. The same command goes on where an "
        "evaluation was stopped.",
    )
    out.add_argument(
        "--keep-fills", action="store_true", help="Write every fill to fills.jsonl as well."
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate; returns the exit status.

    Raises:
        DgemmaError: It cannot be done; the text says why.
    """
    from dgemma_training.documents import Split
    from dgemma_training.evaluation import items, report
    from dgemma_training.evaluation.evaluate import evaluate
    from dgemma_training.evaluation.journal import JOURNAL_FILE
    from dgemma_training.evaluation.plan import Settings, span_of
    from dgemma_training.progress import Progress

    if arguments.keep_fills and arguments.out is None:
        raise items.EvaluationError("--keep-fills needs --out, where they are written.")
    if arguments.count and arguments.corpus is None:
        raise items.EvaluationError("--count needs --corpus, which rows are cut from.")
    if min(arguments.count, arguments.rewrites, arguments.threads) < 0:
        raise items.EvaluationError("--count, --rewrites and --threads are not negative.")
    if arguments.limit is not None and arguments.limit < 1:
        raise items.EvaluationError("--limit is at least 1.")
    split = Split(arguments.split)
    progress = Progress()
    progress("Reading the rows.")
    span = span_of(arguments.model)
    sets = [items.from_file(path, span, arguments.limit) for path in arguments.rows]
    if arguments.count:
        sets.append(
            items.from_corpus(
                arguments.corpus,
                split,
                arguments.count,
                arguments.mix,
                arguments.seed,
                span,
                arguments.languages,
            )
        )
    settings = Settings(
        systems=arguments.systems,
        model=arguments.model,
        adapters=arguments.adapter,
        sampler=arguments.sampler,
        max_span=arguments.max_span,
        probes=arguments.probes,
        rewrites=arguments.rewrites,
        rewrite_kinds=arguments.kinds,
        rewrite_corpus=arguments.corpus,
        rewrite_split=split,
        device=arguments.device,
        dtype=arguments.dtype,
        threads=arguments.threads,
        seed=arguments.seed,
    )
    kept = None if arguments.out is None else arguments.out / JOURNAL_FILE
    results, fills = evaluate(sets, settings, progress, journal=kept)
    progress.end()
    print(report.summary(results))
    if arguments.out is not None:
        report.write(arguments.out, results, fills if arguments.keep_fills else None)
        print(f"Written to {arguments.out}.")
    if results.interrupted:
        later = (
            "the same command goes on from here" if kept else "with --out it could be gone on with"
        )
        print(
            f"dgemma eval: stopped; the figures are of what was measured; {later}.", file=sys.stderr
        )
        return INTERRUPTED
    return 0


def _fields(text: str) -> dict[str, Any]:
    """Read an object of JSON from the command line."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError('an object such as {"run_confidence": 0.8} is needed')
    return found

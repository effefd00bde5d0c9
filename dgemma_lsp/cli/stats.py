"""``dgemma stats``: what came of completions on this machine, from the file that servers share."""

from __future__ import annotations

import argparse
import json
import sys
import time

import msgspec

from dgemma_lsp import methods
from dgemma_lsp.cli.fill import EXIT_NOTHING
from dgemma_lsp.statistics.file import CountsFile
from dgemma_lsp.statistics.recorder import Recorder

_HEADS = ("", "requests", "shown", "accepted", "partly", "rejected", "kept", "p50 ms", "p95 ms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``dgemma stats``."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="Print everything known as one object.")
    how.add_argument("--erase", action="store_true", help="Forget all counts.")


def run(arguments: argparse.Namespace) -> int:
    """Run ``dgemma stats``; returns its exit status."""
    recorder = Recorder(
        CountsFile(),
        text_of=lambda _: None,
        clock=time.time,
        later=lambda _, __: None,
        apart=lambda _, __: None,
    )
    if arguments.erase:
        try:
            recorder.erase()
        except OSError as err:
            print(f"dgemma: the counts cannot be erased: {err.strerror or err}", file=sys.stderr)
            return EXIT_NOTHING
        print("All counts are erased.")
        return 0
    found = recorder.statistics()
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return 0
    if found.since is None:
        print("Nothing has been counted yet.")
        return 0
    print("\n".join(table(found)))
    return 0


def table(found: methods.StatisticsResult) -> list[str]:
    """Return the counts as lines for a terminal, the languages in order of use."""
    by_use = sorted(found.by_language.items(), key=lambda item: -item[1].requests)
    rows = [_HEADS, *(_row(name, counts) for name, counts in [*by_use, ("all", found.total)])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in rows
    ]
    total = found.total
    if total.shown:
        share = f"{total.accepted / total.shown:.0%} of those shown were accepted"
        if total.accepted:
            share += f", {total.kept / total.accepted:.0%} of these kept for 30 seconds"
        lines.append(share + ".")
    return [*lines, f"Since {found.since}, in {found.path}; it never leaves this machine."]


def _row(name: str, counts: methods.Counts) -> tuple[str, ...]:
    times = (counts.latency_p50_ms, counts.latency_p95_ms)
    return (
        name,
        str(counts.requests),
        str(counts.shown),
        str(counts.accepted),
        str(counts.partly_accepted),
        str(counts.rejected),
        str(counts.kept),
        *("-" if each is None else f"{each:.0f}" for each in times),
    )

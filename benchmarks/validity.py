"""How many drafts are sound: as they come, after trimming, and mended in several ways.

Real drafts are the model's own for rows with holes. Made-up faults are put into what stood in the
hole: a lexeme replaced, deleted or repeated, a bracket lost, the end cut off, the rest of the line
said again. Every way of mending starts from the same draft:

    trimmed    the rules alone; what is still faulty is not shown
    by hand    and a delimiter put in or taken out
    head       and, failing that, the sound first lines
    renoised   and parts denoised again, at most three rounds
    all        what the server does: by hand, then renoised, then the head
    re-roll    whole drafts drawn anew, for at least as many denoise steps as `all` took

Whether a text is sound is not asked of the validator under test: the whole file is parsed anew (by
Python's own parser for Python). Steps and milliseconds are those beyond the first draft's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dgemma_lsp.infill import capture, segments, trigger, validate
from dgemma_lsp.infill.types import Candidate, Declined, Hole, Snapshot
from dgemma_lsp.languages import by_id
from dgemma_lsp.pipeline import Options, to_ask
from dgemma_lsp.repairing import Means, Mending, to_candidate
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_training.documents import Split, read_documents
from dgemma_training.evaluation.asking import private_directory, running, snapshot_of
from dgemma_training.evaluation.intervals import ratio, spread
from dgemma_training.evaluation.judging import parses, similarity
from dgemma_training.rows import Row, cut_rows, read_rows
from dgemma_training.spans import Mix, SpanKind
from dgemma_wire.errors import DenoiseFailed
from dgemma_wire.messages import Denoise

WAYS = {
    "by hand": Means(rounds=0, head=False),
    "head": Means(by_hand=False, rounds=0),
    "renoised": Means(by_hand=False, head=False),
    "all": Means(),
}
_LEXEME = re.compile(r"\w+|[^\w\s]")
_BRACKET = re.compile(r"[()\[\]{}\"'`]")
_MOST_ROLLS = 8


@dataclass(frozen=True, slots=True)
class Case:
    """A hole, and the draft to mend; ``draft`` is ``None`` for the model's own."""

    row: Row
    fault: str = ""
    draft: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """What a way made of a case."""

    way: str
    case: Case
    shown: bool
    valid: bool
    similarity: float
    steps: int = 0
    ms: float = 0.0


# -- made-up faults -----------------------------------------------------------------------------


def faulty(row: Row, kind: str, rng: random.Random) -> str | None:
    """Put one fault into what stood in a hole; ``None`` where there is no place for it."""
    text = row.middle
    found = list((_BRACKET if kind == "bracket lost" else _LEXEME).finditer(text))
    if len(found) < 2:
        return None
    one, other = rng.choice(found), rng.choice(found)
    match kind:
        case "replaced":
            return text[: one.start()] + other.group() + text[one.end() :]
        case "deleted" | "bracket lost":
            return text[: one.start()] + text[one.end() :]
        case "repeated":
            return text[: one.end()] + one.group() + text[one.end() :]
        case "cut short":
            return text[: max(1, len(text) * 7 // 10)]
        case _:
            rest = row.suffix.lstrip("\n")
            return text + ("\n" if rest is not row.suffix else "") + rest[: rng.randrange(4, 24)]


FAULTS = ("replaced", "deleted", "repeated", "bracket lost", "cut short", "run over")


def faults_of(rows: Iterable[Row], seed: int) -> list[Case]:
    """One case per row: kinds of faults in turn, texts that differ from the truth."""
    rng = random.Random(seed)
    cases: list[Case] = []
    for number, row in enumerate(rows):
        kind = FAULTS[number % len(FAULTS)]
        text = faulty(row, kind, rng)
        if text is not None and text.strip() != row.middle.strip():
            cases.append(Case(row, kind, text))
    return cases


def rows_of_corpus(
    folder: Path, split: Split, each: int, languages: Sequence[str], seed: int
) -> list[Row]:
    """Cut rows from documents that nothing was trained on, as many in every language."""
    rows: list[Row] = []
    mix = Mix(
        {
            SpanKind(kind): 1.0
            for kind in ("line_tail", "whole_line", "middle", "arguments", "block")
        }
    )
    for language in languages:
        documents = list(read_documents(folder, split=split, languages=[language]))
        rows += cut_rows(
            documents, seed=seed, count=each, mix=mix, fits=lambda text: len(text) < 160
        )
    return rows


# -- one case -----------------------------------------------------------------------------------


async def marks_of(case: Case, client: RuntimeClient, number: int) -> list[Mark]:
    """Mend one case in every way."""
    snapshot = snapshot_of(case.row)
    hole = trigger.find_hole(snapshot, len(case.row.prefix), invoked=True)
    if isinstance(hole, Declined):
        return []
    welcome = await client.welcome()
    context = capture.capture(snapshot, hole, capture.budget_for(welcome.limits))
    ask = to_ask(segments.lay_out(hole, context), Options(document=f"row{number}", seed=number))
    first = await _first(case, snapshot, hole, ask, client)
    sound = _sound(case)
    blank = first.text if first.verdict.accepted else ""
    marks = [_mark("draft", case, first.raw, sound), _mark("trimmed", case, blank, sound)]
    if first.verdict.accepted:
        same = [replace(marks[-1], way=way) for way in (*WAYS, "re-roll")]
        return [*marks, *same]
    spent = 0
    for way, means in WAYS.items():
        mending = Mending(
            snapshot, hole, ask, client, most=welcome.limits.max_span_tokens, means=means
        )
        began = time.perf_counter()
        best = await mending.mend(first)
        ms = (time.perf_counter() - began) * 1000
        steps = len(mending.step_ms)
        spent = steps if way == "all" else spent
        text = best.text if best.verdict.accepted else ""
        marks.append(_mark(way, case, text, sound, steps, ms))
    return [*marks, await _rolled(case, snapshot, hole, ask, client, spent, sound)]


async def _first(
    case: Case, snapshot: Snapshot, hole: Hole, ask: Denoise, client: RuntimeClient
) -> Candidate:
    if case.draft is None:
        found = (await client.denoise(ask)).candidates[0]
        return to_candidate(found, *validate.check(snapshot, hole, found.texts[0]))
    text, verdict = validate.check(snapshot, hole, case.draft)
    return Candidate(text, case.draft, 0.0, 1.0, 0, "made up", verdict)


async def _rolled(
    case: Case,
    snapshot: Snapshot,
    hole: Hole,
    ask: Denoise,
    client: RuntimeClient,
    budget: int,
    sound: Callable[[str], bool],
) -> Mark:
    """Draw whole drafts until one passes or the steps are spent; the greedy one counts once."""
    began, steps, ms = time.perf_counter(), 0, 0.0
    for roll in range(_MOST_ROLLS):
        if steps >= budget:
            break
        done = await client.denoise(
            msgspec.structs.replace(ask, candidates=2, seed=ask.seed + 100 + roll)
        )
        greedy = max(done.candidates, key=lambda each: each.score)
        # The greedy draft is known already; only what the drawn one took is the re-roll's cost.
        steps += sum(each.steps for each in done.candidates) - greedy.steps
        ms = (time.perf_counter() - began) * 1000
        steps = max(steps, roll + 1)
        for found in done.candidates:
            text, verdict = validate.check(snapshot, hole, found.texts[0])
            if verdict.accepted:
                return _mark("re-roll", case, text, sound, steps, ms)
    return _mark("re-roll", case, "", sound, steps, ms)


def _sound(case: Case) -> Callable[[str], bool]:
    row = case.row
    whole = parses(row.prefix + row.middle + row.suffix, row.language)

    def sound(text: str) -> bool:
        if not text.strip():
            return False
        return not whole or parses(row.prefix + text + row.suffix, row.language)

    return sound


def _mark(
    way: str,
    case: Case,
    text: str,
    sound: Callable[[str], bool],
    steps: int = 0,
    ms: float = 0.0,
) -> Mark:
    alike = similarity(text.strip(), case.row.middle.strip()) if text.strip() else 0.0
    return Mark(way, case, bool(text.strip()), sound(text), alike, steps, ms)


# -- all cases ----------------------------------------------------------------------------------


def table(marks: Sequence[Mark]) -> list[dict[str, object]]:
    """Figures per way; shares of all rows with 95 % intervals over files."""
    rows: list[dict[str, object]] = []
    for way in ("draft", "trimmed", *WAYS, "re-roll"):
        of = [mark for mark in marks if mark.way == way]
        if not of:
            continue
        files = [f"{m.case.row.package}/{m.case.row.path}" for m in of]
        shown = [m for m in of if m.shown]
        asked = [m for m in of if m.steps]
        valid = ratio([float(m.valid) for m in of], files)
        alike = ratio([m.similarity for m in of], files)
        rows.append(
            {
                "way": way,
                "rows": len(of),
                "shown": _round(len(shown) / len(of)),
                "valid": _interval(valid),
                "valid_of_shown": _round(sum(m.valid for m in shown) / max(1, len(shown))),
                "similarity": _interval(alike),
                "similarity_of_shown": _round(
                    sum(m.similarity for m in shown) / max(1, len(shown))
                ),
                "asked_again": len(asked),
                "steps": None if not asked else spread_of([float(m.steps) for m in asked]),
                "ms": None if not asked else spread_of([m.ms for m in asked]),
            }
        )
    return rows


def spread_of(values: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    found = spread(values)
    assert found is not None
    return {"p50": found.p50, "p95": found.p95}


def _interval(found: object) -> list[float | None]:
    value, low, high = (getattr(found, name) for name in ("value", "low", "high"))
    return [None if each is None else _round(each) for each in (value, low, high)]


def _round(value: float) -> float:
    return round(value, 4)


def groups(marks: Sequence[Mark]) -> dict[str, list[Mark]]:
    """The marks of all, and of every part that is reported apart."""
    found: dict[str, list[Mark]] = {}
    for mark in marks:
        row, fault = mark.case.row, mark.case.fault
        if fault:
            names = ["made-up faults", f"made up: {fault}", f"made up, {row.language}"]
        else:
            parsing = "parses" if row.empty_parses else "does not parse"
            names = ["drafts", f"drafts, {row.language}", f"drafts, empty {parsing}"]
            names.append(f"drafts, {row.kind}")
        for name in names:
            found.setdefault(name, []).append(mark)
    return found


async def _run(arguments: argparse.Namespace) -> dict[str, object]:
    cases = [Case(row) for row in read_rows(arguments.rows)] if arguments.rows else []
    cases = cases[: arguments.limit or None]
    if arguments.corpus:
        languages = [name for name in arguments.languages if by_id(name).usable_grammar()]
        made = rows_of_corpus(
            arguments.corpus, Split(arguments.split), arguments.each, languages, arguments.seed
        )
        cases += [Case(row) for row in made] if arguments.drafts else []
        cases += faults_of(made, arguments.seed)
    marks: list[Mark] = []
    async with _runtime(arguments.model) as client:
        for number, case in enumerate(cases):
            try:
                marks += await marks_of(case, client, number)
            except DenoiseFailed as error:
                print(f"\n{case.row.id}: {error}", file=sys.stderr)
            print(f"\r{number + 1} of {len(cases)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "model": arguments.model,
        "seed": arguments.seed,
        "groups": {name: table(of) for name, of in groups(marks).items()},
    }


@asynccontextmanager
async def _runtime(model: str) -> AsyncIterator[RuntimeClient]:
    with private_directory() as directory:
        async with running(model, directory) as found:
            yield found.client


def as_text(results: dict[str, object]) -> str:
    """The results as Markdown tables."""
    lines: list[str] = []
    tables = results["groups"]
    assert isinstance(tables, dict)
    for name, rows in tables.items():
        lines += [
            f"### {name}",
            "",
            "| way | rows | shown | valid | valid of shown | similarity | of shown | steps p50/p95 "
            "| ms p50/p95 |",
            "| --- " * 9 + "|",
        ]
        for row in rows:
            valid, low, high = row["valid"]
            around = "" if low is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
            steps, ms = (
                "" if row[key] is None else f"{row[key]['p50']:.0f} / {row[key]['p95']:.0f}"
                for key in ("steps", "ms")
            )
            lines.append(
                f"| {row['way']} | {row['rows']} | {100 * row['shown']:.1f} % "
                f"| {100 * valid:.1f} %{around} | {100 * row['valid_of_shown']:.1f} % "
                f"| {row['similarity'][0]:.3f} | {row['similarity_of_shown']:.3f} "
                f"| {steps} | {ms} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=Path, help="JSON lines of rows with holes, gzipped or not.")
    parser.add_argument("--limit", type=int, default=0, help="Rows at most (default: all).")
    parser.add_argument("--corpus", type=Path, help="A corpus to make faults of.")
    parser.add_argument("--split", choices=[str(each) for each in Split], default="test")
    parser.add_argument(
        "--drafts", action="store_true", help="Ask the model for the corpus's rows as well."
    )
    parser.add_argument("--each", type=int, default=24, help="Faults per language.")
    parser.add_argument(
        "--languages",
        nargs="+",
        default=["python", "typescript", "javascript", "go", "rust", "c", "cpp", "java", "lua"],
    )
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Where results go, as JSON; Markdown beside it.")
    arguments = parser.parse_args()
    for path in (arguments.rows, arguments.corpus):
        if path is not None and not path.exists():
            print(f"There is no {path}.", file=sys.stderr)
            return 2
    results = asyncio.run(_run(arguments))
    print(as_text(results))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        arguments.out.with_suffix(".md").write_text(as_text(results) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

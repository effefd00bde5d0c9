"""What each device of the infill adds: the same rows, a device more or less at a time.

Two ladders. The first is of a model that cannot end a span, which the embedded one becomes when its
end token is taken away: a span of a fixed length, of a searched one, of the true one, and then the
end token it was taught. The second goes from what the runtime answers to what a person is shown:
the server's rules, mending, more candidates, a second drafter, a word begun anew, silence when
unsure. Every way has a runtime of its own, which reads it from the ``model.json`` of a copy of the
model's folder. Rows of a benchmark that brings tests count as passed when those pass.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measuring import hardware, spread

from dgemma_lsp.pipeline import Options, fill
from dgemma_runtime.models import embedded_folder
from dgemma_training.documents import Split
from dgemma_training.evaluation.asking import Running, private_directory, running, snapshot_of
from dgemma_training.evaluation.intervals import ratio
from dgemma_training.evaluation.items import Item, from_corpus, from_file
from dgemma_training.evaluation.judging import Judge
from dgemma_training.evaluation.plan import span_of
from dgemma_training.evaluation.sandbox import Sandbox
from dgemma_wire.messages import Clamped, Denoise, Free

_NO_END: Mapping[str, Any] = {"end_ids": [], "dims": {"fill": 16}}
_SEARCH: Mapping[str, Any] = {"grid": [*range(1, 9), 10, 12, 16, 20, 24], "patience": 24}


@dataclass(frozen=True, slots=True)
class Way:
    """One setting of the devices.

    Attributes:
        name: For tables.
        against: The way that it is compared with: itself less one device.
        model: What differs in ``model.json``; objects are merged.
        tokens: Positions of the span; -1 for the true number, ``None`` for what the model gives.
        options: How the server asks; ``None`` takes the runtime's first text as it is.
    """

    name: str
    against: str = ""
    model: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tokens: int | None = None
    options: Mapping[str, Any] | None = None


_SERVED: Mapping[str, Any] = {"mend": None, "second_opinion": False, "show_unsure": True}


def searched(**changes: Any) -> Mapping[str, Any]:
    """Return the model without an end token, its lengths searched for."""
    return {**_NO_END, "search": {**_SEARCH, **changes}}


_ALL: Mapping[str, Any] = {"show_unsure": True}
_ANEW: Mapping[str, Any] = {"heal_words": True}
_STEP: Mapping[str, Any] = {"sampler": {"run_confidence": 2.0}}

WAYS = (
    Way("8 positions", model=_NO_END, tokens=8),
    Way("24 positions", model=_NO_END, tokens=24),
    Way("lengths raced and judged", "8 positions", model=searched()),
    Way("raced, not judged", "lengths raced and judged", model=searched(suffix_tokens=0)),
    Way("judged as accepted", "lengths raced and judged", model=searched(leave_one_out=False)),
    Way("the true length", "8 positions", model=_NO_END, tokens=-1),
    Way("an end token, a token a step", "24 positions", model=_STEP),
    Way("confident runs", "an end token, a token a step"),
    Way("a word begun anew", "confident runs", model=_ANEW),
    Way("the server's rules", "confident runs", options=_SERVED),
    Way("rules and mending", "the server's rules", options={**_SERVED, "mend": "usual"}),
    Way("rules, three candidates", "the server's rules", options={**_SERVED, "candidates": 3}),
    Way("rules, two drafters", "the server's rules", options={**_SERVED, "second_opinion": True}),
    Way("rules, mending, two drafters", "the server's rules", options=_ALL),
    Way("all that ships", "rules, mending, two drafters", model=_ANEW, options=_ALL),
    Way("all, in 400 ms", "all that ships", model=_ANEW, options={**_ALL, "deadline_ms": 400}),
    Way("all, silent when unsure", "all that ships", model=_ANEW, options={}),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What came of a row one way; ``passed`` is ``None`` where there is no test."""

    row: str
    file: str
    exact: bool
    similar: float
    parses: bool | None
    passed: bool | None
    shown: bool
    steps: int
    total_ms: float


def folder_of(way: Way, home: Path) -> Path:
    """Make the folder of a way's model."""
    folder = home / way.name.replace(" ", "-").replace(",", "")
    shutil.copytree(embedded_folder(), folder)
    path = folder / "model.json"
    data = json.loads(path.read_text(encoding="utf-8")) | {"heal_words": False}
    for key, value in way.model.items():
        data[key] = {**data.get(key, {}), **value} if isinstance(value, Mapping) else value
    path.write_text(json.dumps(data), encoding="utf-8")
    return folder


async def answer(way: Way, item: Item, found: Running, number: int) -> tuple[str, bool, int, float]:
    """Fill a row; return the text, whether it would be shown, its steps and milliseconds."""
    row = item.row
    if way.options is None:
        tokens = max(1, item.tokens) if way.tokens == -1 else way.tokens
        ask = Denoise(
            document=f"{number}",
            prefix=row.prefix[-8000:],
            segments=(Free(tokens=tokens), Clamped(text=row.suffix[:2000])),
        )
        began = time.perf_counter()
        done = await found.client.denoise(ask)
        passed = (time.perf_counter() - began) * 1000
        (first, *_) = done.candidates
        return first.texts[0], True, len(done.timings.step_ms), passed
    given = dict(way.options)
    if given.get("mend") == "usual":
        del given["mend"]
    options = Options(document=f"{number}", invoked=True, **given)
    outcome = await fill(snapshot_of(row), len(row.prefix), options, found.client)
    took = outcome.times.runtime
    steps = 0 if took is None else len(took.step_ms)
    best = outcome.candidates[0] if outcome.candidates else None
    shown = best is not None and best.verdict.accepted
    text = best.text if best is not None and (shown or "show_unsure" in given) else ""
    return text, shown, steps, outcome.times.total_ms


async def run(
    ways: Sequence[Way], items: Sequence[Item], threads: int, home: Path
) -> dict[str, list[Mark]]:
    """Fill every row every way."""
    marks: dict[str, list[Mark]] = {}
    for way in ways:
        judge = Judge(Sandbox())
        made = marks.setdefault(way.name, [])
        with private_directory() as directory:
            async with running(str(folder_of(way, home)), directory, threads=threads) as found:
                for number, item in enumerate(items):
                    text, shown, steps, passed = await answer(way, item, found, number)
                    verdict = judge.judge(item, text)
                    made.append(
                        Mark(
                            row=str(item.row.id),
                            file=item.file,
                            exact=verdict.exact,
                            similar=verdict.similarity,
                            parses=verdict.parses,
                            passed=verdict.passed,
                            shown=shown,
                            steps=steps,
                            total_ms=passed,
                        )
                    )
                    done = f"{way.name}: {number + 1} of {len(items)}"
                    print(f"\r{done:60}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return marks


def share(values: Sequence[bool | float | None]) -> float | None:
    """Return a mean in percent over what is known; ``None`` of nothing."""
    known = [float(value) for value in values if value is not None]
    return round(100 * sum(known) / len(known), 1) if known else None


def figures(marks: Mapping[str, Sequence[Mark]], ways: Sequence[Way]) -> list[dict[str, Any]]:
    """Return the figures of every way, with what it gains over the one it is compared with."""
    table: list[dict[str, Any]] = []
    for way in ways:
        mine = marks[way.name]
        line: dict[str, Any] = {
            "way": way.name,
            "against": way.against,
            "exact": share([mark.exact for mark in mine]),
            "passed": share([mark.passed for mark in mine]),
            "similar": share([mark.similar for mark in mine]),
            "parses": share([mark.parses for mark in mine]),
            "shown": share([mark.shown for mark in mine]),
            "steps": round(sum(mark.steps for mark in mine) / len(mine), 1),
            "total_ms": spread(mark.total_ms for mark in mine),
        }
        for key in ("exact", "passed"):
            if way.against not in marks:
                continue
            pairs = [
                (float(getattr(one, key)) - float(getattr(other, key)), one.file)
                for one, other in zip(mine, marks[way.against], strict=True)
                if getattr(one, key) is not None
            ]
            found = ratio([gain for gain, _ in pairs], [file for _, file in pairs])
            if found is not None and found.low is not None and found.high is not None:
                line[f"{key}_gain"] = [
                    round(100 * each, 1) for each in (found.value, found.low, found.high)
                ]
        table.append(line)
    return table


def as_markdown(result: Mapping[str, Any]) -> str:
    """Return the tables for people."""
    parts: list[str] = []
    for rows in result["sets"]:
        parts.append(f"## {rows['name']}, {rows['rows']} rows\n")
        tested = any(line["passed"] is not None for line in rows["table"])
        passed = " passed | gained |" if tested else ""
        parts.append(
            f"| | exact | gained |{passed} similarity | parses | shown | steps | ms p50 / p95 |"
        )
        parts.append("|" + " --- |" * (10 if tested else 8))
        for line in rows["table"]:
            cells = [line["way"], f"{line['exact']}", _gain(line, "exact")]
            cells += [f"{line['passed']}", _gain(line, "passed")] if tested else []
            took = line["total_ms"]
            cells += [f"{line[key]}" for key in ("similar", "parses", "shown", "steps")]
            cells.append(f"{took['p50']:.0f} / {took['p95']:.0f}")
            parts.append("| " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


def _gain(line: Mapping[str, Any], key: str) -> str:
    gain = line.get(f"{key}_gain")
    return (
        "" if gain is None else f"{gain[0]:+} [{gain[1]:+}, {gain[2]:+}] over *{line['against']}*"
    )


def sets_of(arguments: argparse.Namespace) -> list[tuple[str, list[Item]]]:
    """Return the rows that are asked for, those that a span of the model can hold."""
    span = span_of("embedded")
    sets = [(path.name, from_file(path, span).items) for path in arguments.rows]
    if arguments.corpus is not None:
        found = from_corpus(
            arguments.corpus,
            Split(arguments.split),
            arguments.count,
            "headline",
            arguments.seed,
            span,
            arguments.languages,
        )
        sets.append((found.name, found.items))
    return [
        (name, [item for item in items if item.fits][: arguments.count]) for name, items in sets
    ]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, nargs="*", default=[], help="Files of rows.")
    parser.add_argument("--corpus", type=Path, help="A corpus; rows are cut from a split of it.")
    parser.add_argument("--split", choices=[str(split) for split in Split], default="validation")
    parser.add_argument("--languages", nargs="+", default=["python"])
    parser.add_argument("--count", type=int, default=400, help="Rows of a set at most (400).")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", nargs="*", help="Names of ways; all by default.")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Write results here as JSON, and beside as .md.")
    parser.add_argument("--marks", type=Path, help="Write what came of every row here.")
    arguments = parser.parse_args()
    ways = [way for way in WAYS if not arguments.ways or way.name in arguments.ways]
    result: dict[str, Any] = {"hardware": hardware(), "load": [os.getloadavg()], "sets": []}
    marks: dict[str, Any] = {}
    for name, items in sets_of(arguments):
        with tempfile.TemporaryDirectory() as home:
            made = asyncio.run(run(ways, items, arguments.threads, Path(home)))
        table = figures(made, ways)
        result["sets"].append({"name": name, "rows": len(items), "table": table})
        result["load"].append(os.getloadavg())
        marks[name] = {way: [asdict(mark) for mark in of] for way, of in made.items()}
        if arguments.marks is not None:
            arguments.marks.write_text(json.dumps(marks, indent=1), encoding="utf-8")
    print(as_markdown(result))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        arguments.out.with_suffix(".md").write_text(as_markdown(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

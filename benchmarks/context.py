"""Whether context from elsewhere pays: the same holes with more and more of it.

Packages of a corpus are laid out as workspaces on the disk, holes are cut from their files, and
every hole is filled once for each number of tokens, all from one runtime. The pieces take their
room from the model's prefix, as they do in an editor. Rows for which nothing can be gathered are
left out, since nothing would differ; their share is told.

Rows whose answer has a name that stands in the pieces (the most of them) and nowhere in what the
model sees of the file otherwise are a group of their own, `named in the pieces alone`.

    exact       the text is what stood there, blanks at both ends apart
    similarity  1 minus the edit distance over the longer text's length

``--typing`` asks no model: it types 25 lines into the middle of files, key by key, and counts how
often the pieces change, which makes a runtime read its prefix again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import cast

import msgspec

from dgemma_lsp.infill import capture
from dgemma_lsp.infill.types import Snapshot
from dgemma_lsp.languages import by_id
from dgemma_lsp.pipeline import Options, Outcome, fill
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_lsp.settings import IGNORED_BY_DEFAULT
from dgemma_lsp.surroundings import WORKSPACE, Surroundings
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_training.documents import Document, Split, read_documents
from dgemma_training.evaluation.asking import private_directory, running
from dgemma_training.evaluation.intervals import ratio, spread
from dgemma_training.evaluation.judging import similarity
from dgemma_training.rows import Row, cut_rows
from dgemma_training.spans import Mix, SpanKind
from dgemma_wire import PROTOCOL_VERSION
from dgemma_wire.messages import Capabilities, Denoise, Done, ModelLimits, Renoise, Welcome

_NAME = re.compile(r"[^\W\d]\w+")
ENDINGS = {"python": ".py", "typescript": ".ts", "typescriptreact": ".tsx", "javascript": ".js"}


@dataclass(frozen=True, slots=True)
class Hole:
    """A hole in a file of a workspace."""

    row: Row
    folder: Path
    snapshot: Snapshot
    offset: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What came of a hole with one number of tokens."""

    row: str
    file: str
    language: str
    kind: str
    named: bool
    tokens: int
    context_chars: int
    exact: bool
    similarity: float
    shown: bool
    score: float
    gather_ms: float
    prefill_ms: float
    total_ms: float


class Told:
    """A client whose model says that so many tokens of context are worth their room."""

    def __init__(self, client: RuntimeClient, tokens: int) -> None:
        """Take the client of the runtime that answers."""
        self._client = client
        self._tokens = tokens
        self.asked: Denoise | None = None

    async def welcome(self) -> Welcome:
        """See ``RuntimeClient``."""
        welcome = await self._client.welcome()
        capabilities = msgspec.structs.replace(
            welcome.capabilities, context_tokens=self._tokens, least_score=None
        )
        return msgspec.structs.replace(welcome, capabilities=capabilities)

    async def denoise(self, ask: Denoise, on_draft: object = None) -> Done:
        """See ``RuntimeClient``."""
        self.asked = ask
        return await self._client.denoise(ask)

    async def renoise(self, again: Renoise, on_draft: object = None) -> Done:
        """See ``RuntimeClient``."""
        return await self._client.renoise(again, cast("None", on_draft))


class Timed(Surroundings):
    """Surroundings that say how long the last answer took."""

    ms = 0.0

    async def around(self, *args: object, **more: object) -> object:  # type: ignore[override]
        """See ``Surroundings``."""
        began = time.perf_counter()
        found = await super().around(*args, **more)  # type: ignore[arg-type]
        self.ms = (time.perf_counter() - began) * 1000
        return found


def lay_out(documents: Iterable[Document], folder: Path) -> dict[str, Path]:
    """Write packages as workspaces; returns the folder of each."""
    folders: dict[str, Path] = {}
    for document in documents:
        root = folder / document.package.replace("/", "_")
        folders[document.package] = root
        path = (root / document.path).resolve()
        if path.is_relative_to(root.resolve()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(document.text, encoding="utf-8", newline="")
    return folders


def hole_of(row: Row, texts: dict[tuple[str, str], str], folders: dict[str, Path]) -> Hole | None:
    """Put a row back into its whole file."""
    text = texts[row.package, row.path]
    cut = row.prefix + row.middle + row.suffix
    at = text.find(cut)
    if at < 0 or text.find(cut, at + 1) >= 0:
        return None
    start = at + len(row.prefix)
    without = text[:start] + text[start + len(row.middle) :]
    language = by_id(row.language)
    folder = folders[row.package]
    uri = (folder / row.path).as_uri()
    parsed = ParsedText(without, language.usable_grammar())
    return Hole(row, folder, Snapshot(uri, 1, parsed, language), start)


async def mark_of(
    hole: Hole, tokens: int, client: RuntimeClient, seed: int, *, named: bool
) -> Mark:
    """Fill one hole with so many tokens of context."""
    surroundings = Timed(lambda: ())
    surroundings.configure(WORKSPACE if tokens else "off", IGNORED_BY_DEFAULT)
    surroundings.open_folder(hole.folder.as_uri())
    told = Told(client, tokens)
    options = Options(
        document=f"{hole.row.id}-{tokens}",
        invoked=True,
        seed=seed,
        mend=None,
        show_unsure=True,
        surroundings=surroundings,
    )
    outcome: Outcome = await fill(hole.snapshot, hole.offset, options, cast("RuntimeClient", told))
    surroundings.close()
    best = outcome.candidates[0] if outcome.candidates else None
    text = "" if best is None else best.text
    wanted = hole.row.middle.strip()
    runtime = outcome.times.runtime
    return Mark(
        row=hole.row.id,
        file=f"{hole.row.package}/{hole.row.path}",
        language=hole.row.language,
        kind=hole.row.kind,
        named=named,
        tokens=tokens,
        context_chars=0 if told.asked is None else sum(map(len, told.asked.context)),
        exact=text.strip() == wanted,
        similarity=similarity(text.strip(), wanted),
        shown=best is not None and best.verdict.accepted,
        score=0.0 if best is None else best.score,
        gather_ms=surroundings.ms,
        prefill_ms=0.0 if runtime is None else runtime.prefill_ms,
        total_ms=outcome.times.total_ms,
    )


async def names_of(hole: Hole, welcome: Welcome) -> set[str] | None:
    """The names of the answer that stand in the pieces alone; ``None`` without any pieces."""
    surroundings = Surroundings(lambda: ())
    surroundings.configure(WORKSPACE, IGNORED_BY_DEFAULT)
    surroundings.open_folder(hole.folder.as_uri())
    around = await surroundings.around(
        hole.snapshot, hole.offset, hole.offset, welcome, patient=True
    )
    surroundings.close()
    if not around.pieces:
        return None
    budget = capture.budget_for(welcome.limits)
    seen = capture.around(hole.snapshot.parsed, hole.offset, hole.offset, budget)
    pieces = set(_NAME.findall("".join(around.pieces)))
    wanted = set(_NAME.findall(hole.row.middle))
    return (wanted & pieces) - set(_NAME.findall(seen.prefix + " " + seen.suffix))


async def typed(hole: Hole, welcome: Welcome, lines: int) -> tuple[int, int, int, list[float]]:
    """Type lines that follow a hole's place; returns keys, line breaks, changes, milliseconds."""
    surroundings = Surroundings(lambda: ())
    surroundings.configure(WORKSPACE, IGNORED_BY_DEFAULT)
    surroundings.open_folder(hole.folder.as_uri())
    text, start = hole.snapshot.text, hole.snapshot.text.rfind("\n", 0, hole.offset) + 1
    new = "".join(text[start:].splitlines(keepends=True)[:lines])
    snapshot = replace(
        hole.snapshot,
        parsed=ParsedText(text[:start] + text[start + len(new) :], hole.snapshot.parsed.grammar),
    )
    before: tuple[str, ...] | None = None
    changes, times = 0, list[float]()
    for at, key in enumerate(new):
        parsed = snapshot.parsed.edited(start + at, start + at, key)
        snapshot = replace(snapshot, version=snapshot.version + 1, parsed=parsed)
        began = time.perf_counter()
        offset = start + at + 1
        around = await surroundings.around(snapshot, offset, offset, welcome, patient=True)
        times.append((time.perf_counter() - began) * 1000)
        changes += before is not None and around.pieces != before
        before = around.pieces
    surroundings.close()
    return len(new), new.count("\n"), changes, times[1:]


async def run_typing(arguments: argparse.Namespace) -> dict[str, object]:
    """Type into one hole of each of some files; returns how often the pieces changed."""
    documents = [
        document
        for document in read_documents(arguments.corpus, split=Split(arguments.split))
        if document.language in ENDINGS and len(document.text) < 200_000
    ]
    texts = {(each.package, each.path): each.text for each in documents}
    rows = cut_rows(
        documents,
        seed=arguments.seed,
        count=arguments.typing,
        mix=Mix.only(SpanKind.WHOLE_LINE),
        fits=lambda text: len(text) < arguments.most_chars,
        max_per_file=1,
    )
    limits = ModelLimits(
        prefix_tokens=512, canvas_tokens=256, span_tokens=24, max_span_tokens=96, chars_per_token=3
    )
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="dgemma-context-") as scratch:
        folders = lay_out(documents, Path(scratch))
        for tokens in filter(None, arguments.tokens):
            welcome = Welcome(
                protocol=PROTOCOL_VERSION,
                release="",
                pid=0,
                model="",
                limits=limits,
                capabilities=Capabilities(context_tokens=tokens),
            )
            counts, times = [0, 0, 0], list[float]()
            for row in rows:
                hole = hole_of(row, texts, folders)
                if hole is not None:
                    *found, ms = await typed(hole, welcome, 25)
                    counts = [a + b for a, b in zip(counts, found, strict=True)]
                    times += ms
            results[str(tokens)] = {
                **dict(zip(("keys", "line_breaks", "changes"), counts, strict=True)),
                "ms": _spread(times),
            }
    return results


async def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Fill the holes; returns the results."""
    documents = [
        document
        for document in read_documents(arguments.corpus, split=Split(arguments.split))
        if document.language in ENDINGS
    ]
    texts = {(each.package, each.path): each.text for each in documents}
    mix = Mix(dict.fromkeys(map(SpanKind, arguments.kinds), 1.0))
    cut = [
        cut_rows(
            [each for each in documents if each.language == language],
            seed=arguments.seed,
            count=arguments.each,
            mix=mix,
            fits=lambda text: len(text) < arguments.most_chars,
            max_package_share=0.25,
        )
        for language in arguments.languages
    ]
    # In turn, so that what was done by any time is of all languages.
    rows = [row for turn in zip_longest(*cut) for row in turn if row is not None]
    marks: list[Mark] = []
    looked = 0
    with tempfile.TemporaryDirectory(prefix="dgemma-context-") as scratch:
        folders = lay_out(documents, Path(scratch))
        with private_directory() as directory:
            async with running("embedded", directory, threads=arguments.threads) as found:
                for number, row in enumerate(rows):
                    hole = hole_of(row, texts, folders)
                    if hole is None:
                        continue
                    looked += 1
                    told = Told(found.client, max(arguments.tokens))
                    names = await names_of(hole, await told.welcome())
                    if names is None:
                        continue
                    # Another order for each row: what a busy machine costs falls on all alike.
                    turn = number % len(arguments.tokens)
                    for tokens in arguments.tokens[turn:] + arguments.tokens[:turn]:
                        mark = await mark_of(hole, tokens, found.client, number, named=bool(names))
                        marks.append(mark)
                    done = len(marks) // len(arguments.tokens)
                    print(f"\r{done} of {number + 1}", end="", file=sys.stderr, flush=True)
                    if arguments.out and done % 10 == 0:
                        save(arguments, marks, looked)
    print(file=sys.stderr)
    return save(arguments, marks, looked)


def save(arguments: argparse.Namespace, marks: Sequence[Mark], looked: int) -> dict[str, object]:
    """Write the results where they are wanted, and return them."""
    groups = {"all": list(marks)}
    groups["named in the pieces alone"] = [mark for mark in marks if mark.named]
    for name in ("language", "kind"):
        for mark in marks:
            groups.setdefault(getattr(mark, name), []).append(mark)
    results: dict[str, object] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {arguments.threads} threads used",
        "load": [round(each, 1) for each in os.getloadavg()],
        "model": "embedded",
        "split": arguments.split,
        "seed": arguments.seed,
        "holes": looked,
        "with_context": len({mark.row for mark in marks}),
        "groups": {name: table(of, arguments.tokens) for name, of in groups.items()},
        "marks": [asdict(mark) for mark in marks],
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        arguments.out.with_suffix(".md").write_text(as_text(results) + "\n", encoding="utf-8")
    return results


def table(marks: Sequence[Mark], every: Sequence[int]) -> list[dict[str, object]]:
    """Figures for each number of tokens; differences are paired, intervals are over files."""
    none = {mark.row: mark for mark in marks if mark.tokens == 0}
    rows: list[dict[str, object]] = []
    for tokens in every:
        of = [mark for mark in marks if mark.tokens == tokens]
        if not of:
            continue
        files = [mark.file for mark in of]
        exact = ratio([float(mark.exact) for mark in of], files)
        alike = ratio([mark.similarity for mark in of], files)
        pairs = [(mark, none[mark.row]) for mark in of if mark.row in none]
        gain = ratio([a.similarity - b.similarity for a, b in pairs], [a.file for a, _ in pairs])
        assert exact is not None
        assert alike is not None
        assert gain is not None
        rows.append(
            {
                "tokens": tokens,
                "rows": len(of),
                "exact": _rounded(exact.value, exact.low, exact.high),
                "similarity": _rounded(alike.value, alike.low, alike.high),
                "similarity_gained": _rounded(gain.value, gain.low, gain.high),
                "exact_gained": sum(a.exact and not b.exact for a, b in pairs),
                "exact_lost": sum(b.exact and not a.exact for a, b in pairs),
                "shown": round(sum(mark.shown for mark in of) / len(of), 4),
                "score": round(sum(mark.score for mark in of) / len(of), 4),
                "context_chars": _spread([float(mark.context_chars) for mark in of]),
                "gather_ms": _spread([mark.gather_ms for mark in of]),
                "prefill_ms": _spread([mark.prefill_ms for mark in of]),
                "total_ms": _spread([mark.total_ms for mark in of]),
            }
        )
    return rows


def _rounded(*values: float | None) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in values]


def _spread(values: Sequence[float]) -> list[float]:
    found = spread(values)
    assert found is not None
    return [round(found.p50, 1), round(found.p95, 1)]


def as_text(results: dict[str, object]) -> str:
    """The results as Markdown tables."""
    lines = [
        f"Context from elsewhere, {results['date']}: {results['model']}, "
        f"{results['machine']}, load {results['load']}; {results['with_context']} of "
        f"{results['holes']} holes of the {results['split']} packages have any. "
        "[ ] are 95 % intervals over files.",
        "",
    ]
    groups = cast("dict[str, list[dict[str, list[float]]]]", results["groups"])
    for name, rows in groups.items():
        lines += [
            f"### {name}",
            "",
            "| tokens | rows | exact % | similarity | gained | exact gained / lost | shown % "
            "| score | gather ms p50/p95 | prefill ms | total ms |",
            "| --- " * 11 + "|",
        ]
        for row in rows:
            gain, low, high = row["similarity_gained"]
            around = "" if low is None else f" [{low:+.3f}, {high:+.3f}]"
            times = " | ".join(
                f"{row[key][0]:.1f} / {row[key][1]:.0f}"
                for key in ("gather_ms", "prefill_ms", "total_ms")
            )
            lines.append(
                f"| {row['tokens']} | {row['rows']} | {100 * row['exact'][0]:.1f} "
                f"| {row['similarity'][0]:.3f} | {gain:+.3f}{around} "
                f"| {row['exact_gained']} / {row['exact_lost']} "
                f"| {100 * cast('float', row['shown']):.1f} | {row['score']:.3f} | {times} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--corpus", type=Path, required=True, help="Folder of a corpus.")
    parser.add_argument("--split", choices=[str(each) for each in Split], default="validation")
    parser.add_argument("--tokens", type=int, nargs="+", default=[0, 64, 128, 256])
    parser.add_argument("--each", type=int, default=120, help="Holes to cut per language.")
    parser.add_argument("--languages", nargs="+", default=["python", "typescript"])
    parser.add_argument("--kinds", nargs="+", default=["line_tail", "whole_line", "arguments"])
    parser.add_argument("--most-chars", type=int, default=120, help="Longest text to find.")
    parser.add_argument(
        "--typing", type=int, default=0, help="Count changes in so many files instead."
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Where results go, as JSON; Markdown beside it.")
    arguments = parser.parse_args()
    if 0 not in arguments.tokens:
        parser.error("--tokens must hold 0, which the others are compared with")
    if arguments.typing:
        print(json.dumps(asyncio.run(run_typing(arguments)), indent=1))
        return 0
    print(as_text(asyncio.run(run(arguments))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

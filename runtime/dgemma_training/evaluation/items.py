"""What is asked: rows from files or from a corpus, each with what the evaluation adds to it.

Owns reading, cutting and sorting into groups. Knows no system that answers.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dgemma_runtime.text import Codec
from dgemma_training.documents import Split, read_documents
from dgemma_training.rows import Row, cut_rows, parses_without, read_rows
from dgemma_training.spans import Mix, SpanKind
from dgemma_wire.errors import DgemmaError

LENGTHS = ("up to 5 tokens", "6 to 8 tokens", "more than 8 tokens")
"""Classes of what is missing, by the model's tokenizer."""

_END_SLOTS = 1
"""Slots of a span that its end takes."""


class EvaluationError(DgemmaError):
    """An evaluation cannot be made as asked."""


@dataclass(frozen=True, slots=True)
class PassTest:
    """How a fill is tried: ``program`` comes behind the file, and an exception is a failure."""

    program: str


@dataclass(frozen=True, slots=True)
class Item:
    """A row and what is known of it before anything answers.

    Attributes:
        row: The hole and what stood in it.
        tokens: Slots of a span that what stood there takes, its end apart.
        fits: Whether a span of the model can hold it.
        test: How to run it, where the row says so.
    """

    row: Row
    tokens: int
    fits: bool
    test: PassTest | None = None

    @property
    def length(self) -> str:
        """Which of ``LENGTHS``."""
        return LENGTHS[(self.tokens > 5) + (self.tokens > 8)]

    @property
    def file(self) -> str:
        """What its errors are correlated within: a file of a package."""
        return f"{self.row.package}/{self.row.path}"


@dataclass(frozen=True, slots=True)
class ItemSet:
    """Rows that are reported together.

    Attributes:
        name: For tables.
        source: How they came about, in words.
        sha256: Of the file of rows, or of the rows as cut.
        items: The rows.
    """

    name: str
    source: str
    sha256: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """What a model can hold: its tokenizer and the slots of one span."""

    codec: Codec
    tokens: int

    def size(self, prefix: str, middle: str) -> int:
        """Return the slots that ``middle`` takes behind ``prefix``, its end apart."""
        # The blank before a span belongs to it; see dgemma_runtime.text.
        return len(self.codec.encode((" " if prefix.endswith(" ") else "") + middle))

    def fits(self, middle: str) -> bool:
        """Whether a span holds ``middle`` and its end, whatever comes before it."""
        return max(self.size("", middle), self.size(" ", middle)) + _END_SLOTS <= self.tokens

    def item(self, row: Row, test: PassTest | None = None) -> Item:
        """Return a row with what can be told of it."""
        size = self.size(row.prefix, row.middle)
        return Item(row, size, size + _END_SLOTS <= self.tokens, test)


def from_file(path: Path, span: Span, limit: int | None = None) -> ItemSet:
    """Read rows, also those of HumanEval infilling; ``limit`` takes the first ones only.

    Raises:
        EvaluationError: The file cannot be read or holds something else.
    """
    try:
        data = path.read_bytes()
        first = _first_line(data)
        if "canonical_solution" in first:
            pairs = [_task(fields) for fields in _lines(data)]
        else:
            pairs = [(row, None) for row in read_rows(path)]
    except OSError as error:
        raise EvaluationError(f"The rows {path} cannot be read: {error.strerror}.") from error
    except (EOFError, KeyError, msgspec.MsgspecError, ValueError) as error:
        raise EvaluationError(f"{path} is no file of rows (JSON lines): {error!r}") from error
    if not pairs:
        raise EvaluationError(f"{path} holds no rows.")
    if len({row.id for row, _ in pairs}) < len(pairs):
        raise EvaluationError(f"{path} has rows with the same id, which cannot be told apart.")
    chosen = pairs[:limit]
    part = "" if len(chosen) == len(pairs) else f"the first {len(chosen)} of "
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    return ItemSet(
        name,
        f"{part}{len(pairs)} rows of {path.name}",
        hashlib.sha256(data).hexdigest(),
        tuple(span.item(row, test) for row, test in chosen),
    )


def from_corpus(
    folder: Path,
    split: Split,
    count: int,
    mix: str,
    seed: int,
    span: Span,
    languages: Sequence[str] | None = None,
) -> ItemSet:
    """Cut rows from a corpus, all of which fit into a span.

    Args:
        folder: The corpus.
        split: Which part of it.
        count: How many rows.
        mix: "headline", "default" or a kind of span.
        seed: The same corpus and seed give the same rows.
        span: What the model can hold.
        languages: Only these; ``None`` for all.

    Raises:
        EvaluationError: There is no such corpus or mix, or it gives no rows.
    """
    try:
        documents = list(read_documents(folder, split=split, languages=languages))
    except FileNotFoundError as error:
        raise EvaluationError(
            f"{folder} holds no corpus: make one with `dgemma train collect`."
        ) from error
    rows = cut_rows(documents, seed=seed, count=count, mix=mix_named(mix), fits=span.fits)
    if not rows:
        raise EvaluationError(f"The split {split} of {folder} gives no rows.")
    kept = "" if languages is None else f" ({', '.join(languages)})"
    source = (
        f"{len(rows)} rows cut from the {split} split of a corpus{kept}, mix {mix}, seed {seed}"
    )
    name = "-".join([split, mix, *(languages or ())])
    return from_rows(name, source, rows, span)


def from_rows(name: str, source: str, rows: Sequence[Row], span: Span) -> ItemSet:
    """Return rows that are at hand; ``source`` says in words how they came about."""
    digest = hashlib.sha256(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return ItemSet(name, source, digest.hexdigest(), tuple(span.item(row) for row in rows))


def mix_named(name: str) -> Mix:
    """Return a mix by its name, or the mix of one kind.

    Raises:
        EvaluationError: There is none.
    """
    if name in ("headline", "default"):
        return Mix.HEADLINE if name == "headline" else Mix.DEFAULT
    try:
        return Mix.only(SpanKind(name))
    except ValueError as error:
        kinds = ", ".join(SpanKind)
        raise EvaluationError(
            f"No mix is called {name!r}; there are headline, default, {kinds}."
        ) from error


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """Return the items in an order in which neighbours do not share a prefix.

    A stopped evaluation has then seen a fair sample, and no row is faster for its neighbour's
    cached prefix.
    """
    mixed = list(items)
    random.Random(seed).shuffle(mixed)  # noqa: S311 - the order must be the same each time
    return mixed


def _first_line(data: bytes) -> dict[str, Any]:
    return next(iter(_lines(data)), {})


def _lines(data: bytes) -> Iterable[dict[str, Any]]:
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    for line in data.splitlines():
        if line.strip():
            yield msgspec.json.decode(line, type=dict[str, Any])


def _task(fields: dict[str, Any]) -> tuple[Row, PassTest]:
    """Return a task of HumanEval infilling as a row."""
    name, prompt, suffix = (str(fields[key]) for key in ("task_id", "prompt", "suffix"))
    text = prompt + str(fields["canonical_solution"])
    problem = name.removesuffix("/" + name.rsplit("/", 1)[-1])
    row = Row(
        id=name,
        language="python",
        kind="humaneval",
        package=problem,
        version="",
        licence="",
        path="",
        prefix=prompt,
        middle=text[len(prompt) :],
        suffix=suffix,
        empty_parses=parses_without(text + suffix, len(prompt), len(text), "python"),
    )
    entry = str(fields["entry_point"])
    if not entry.isidentifier():
        raise ValueError(f"{json.dumps(entry)} is no name of a function")
    return row, PassTest(f"\n{fields['test']}\ncheck({entry})\n")

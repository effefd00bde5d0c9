"""Rows of evaluation: one hole in one file, with what stood in it.

Cuts rows from documents, and reads them from files, also those of makers that name the same things
differently. Knows no model; what is too long for one is asked of the caller.
"""

from __future__ import annotations

import ast
import gzip
import math
import random
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from dgemma_lsp.languages import GENERIC, Language, by_id
from dgemma_lsp.syntax.brackets import balance
from dgemma_lsp.syntax.errors import count_errors
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_training.documents import Document
from dgemma_training.spans import Mix, Span, SpanKind, SpanSampler, editor_id

PREFIX_CHARS = 6_000
SUFFIX_CHARS = 3_000

_DRAWS = 16
"""Draws of one kind from one file before the next file is looked at."""

_FILES = 32
"""Files of one package that are looked at for one row."""

_OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {"lang": "language", "license": "licence", "file": "path"}
)


class Row(msgspec.Struct, frozen=True):
    """One hole to fill.

    Attributes:
        id: Unique within its file of rows.
        language: A language id of the editor protocol.
        kind: A ``SpanKind``, or whatever another maker calls it.
        package: Name in its registry.
        version: The version fetched.
        licence: What the licence filter read.
        path: Path inside the package.
        prefix: What comes before the hole.
        middle: What stood in it.
        suffix: What comes after.
        empty_parses: Whether the file would parse with nothing in the hole.
    """

    id: str
    language: str
    kind: str
    package: str
    version: str
    licence: str
    path: str
    prefix: str
    middle: str
    suffix: str
    empty_parses: bool


@dataclass(slots=True)
class _Source:
    """A document and the spans already cut from it."""

    document: Document
    taken: list[Span] = field(default_factory=list)


def cut_rows(
    documents: Iterable[Document],
    *,
    seed: int,
    count: int,
    mix: Mix,
    fits: Callable[[str], bool],
    max_per_file: int = 3,
    max_package_share: float = 0.1,
) -> list[Row]:
    """Cut rows from code, spread evenly over the packages.

    Every kind gets its exact share of ``count`` whatever is harder to find. Documents that do not
    parse, or that repeat another one, give no rows.

    Args:
        documents: Where to cut from; all of them are held in memory.
        seed: The same documents and seed give the same rows.
        count: How many rows.
        mix: Share of each kind.
        fits: Whether a middle is short enough.
        max_per_file: The most rows of one file, which never overlap.
        max_package_share: The most rows of one package, as a share of ``count``; at least one.

    Returns:
        The rows in random order; fewer than ``count`` where the documents hold no more.
    """
    rng = random.Random(seed)  # noqa: S311 - rows must be the same each time
    packages = _by_package(documents, rng)
    ring = deque(packages)
    room = dict.fromkeys(packages, max(1, math.floor(count * max_package_share)))
    rows: list[Row] = []
    given_up: set[SpanKind] = set()
    for kind in _kinds(mix, count, rng):
        if kind in given_up:
            continue
        for _ in range(len(ring)):
            package = ring.popleft()
            row = _next_row(packages[package], kind, len(rows), fits, max_per_file, rng)
            room[package] -= row is not None
            if room[package] and packages[package]:
                ring.append(package)
            if row is not None:
                rows.append(row)
                break
        else:
            # Going through every package once more costs minutes and finds little.
            given_up.add(kind)
    return rows


def read_rows(path: Path) -> list[Row]:
    """Read JSON lines, gzipped or not, of this module or with other makers' field names.

    Raises:
        OSError: The file cannot be read.
        msgspec.ValidationError: A line lacks a field.
        msgspec.DecodeError: A line is no JSON.
    """
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    rows: list[Row] = []
    for line in data.splitlines():
        if line.strip():
            fields = msgspec.json.decode(line, type=dict[str, Any])
            fields = {_OTHER_NAMES.get(name, name): value for name, value in fields.items()}
            row = msgspec.convert(fields, Row)
            rows.append(msgspec.structs.replace(row, language=editor_id(row.language)))
    return rows


def parses_without(text: str, start: int, end: int, language_id: str) -> bool:
    """Whether a text that parses would still do so without a part of it.

    Without a grammar, all that can be told is whether the part's brackets and quotes match.
    """
    language = by_id(editor_id(language_id))
    if language.usable_grammar() is None:
        left = balance(text[start:end], GENERIC)
        return not (left.unclosed or left.unopened or left.mismatched) and left.open_string < 0
    return _parses(text[:start] + text[end:], language)


def _parses(text: str, language: Language) -> bool:
    """Whether nothing is wrong with a text; true without a grammar."""
    if language.name != "python":
        return count_errors(ParsedText(text, language.usable_grammar())) == 0
    # The grammar takes a lot that Python does not, such as a body of nothing.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            # A null character is a ValueError, too deep a nesting one of the last two.
            return False
    return True


def _by_package(documents: Iterable[Document], rng: random.Random) -> dict[str, deque[_Source]]:
    """The documents worth cutting, both packages and their files in random order."""
    found: defaultdict[str, list[_Source]] = defaultdict(list)
    seen: set[str] = set()
    for document in documents:
        # Tokenizers and servers here know one line end only.
        if document.text not in seen and "\r" not in document.text:
            seen.add(document.text)
            found[document.package].append(_Source(document))
    names = sorted(found)
    rng.shuffle(names)
    packages: dict[str, deque[_Source]] = {}
    for name in names:
        rng.shuffle(found[name])
        packages[name] = deque(found[name])
    return packages


def _kinds(mix: Mix, count: int, rng: random.Random) -> list[SpanKind]:
    """``count`` kinds with the shares of the mix, by largest remainder, in random order."""
    total = sum(mix.shares.values())
    exact = {kind: count * share / total for kind, share in mix.shares.items()}
    whole = {kind: math.floor(value) for kind, value in exact.items()}
    by_rest = sorted(exact, key=lambda kind: whole[kind] - exact[kind])
    for kind in by_rest[: count - sum(whole.values())]:
        whole[kind] += 1
    kinds = [kind for kind, times in whole.items() for _ in range(times)]
    rng.shuffle(kinds)
    return kinds


def _next_row(
    sources: deque[_Source],
    kind: SpanKind,
    number: int,
    fits: Callable[[str], bool],
    max_per_file: int,
    rng: random.Random,
) -> Row | None:
    """A row from the first file that has one; files move to the end, or out once used up."""
    for _ in range(min(_FILES, len(sources))):
        source = sources.popleft()
        document = source.document
        # A sampler is made anew each time: those of all files would not fit into memory.
        sampler = SpanSampler(document.text, document.language)
        if not sampler.clean or not _parses(document.text, by_id(editor_id(document.language))):
            continue
        spans = _candidates(sampler, source, kind, rng)
        span = next((span for span in spans if fits(document.text[span.start : span.end])), None)
        if span is not None:
            source.taken.append(span)
        if len(source.taken) < max_per_file:
            sources.append(source)
        if span is not None:
            return _row(document, span, number)
    return None


def _candidates(
    sampler: SpanSampler, source: _Source, kind: SpanKind, rng: random.Random
) -> Iterator[Span]:
    mix = Mix.only(kind)
    for _ in range(_DRAWS):
        span = sampler.sample(rng, 0, len(sampler.text), mix)
        if span is None:
            return
        free = all(span.end < old.start or old.end < span.start for old in source.taken)
        if free and sampler.is_code(span):
            yield span


def _row(document: Document, span: Span, number: int) -> Row:
    text = document.text
    low = max(0, span.start - PREFIX_CHARS)
    high = min(len(text), span.end + SUFFIX_CHARS)
    # Context is cut at line borders, as an editor's is, unless a single line is longer than it.
    if low:
        low = text.find("\n", low - 1, span.start) + 1 or low
    if high < len(text):
        last = text.rfind("\n", span.end, high)
        high = last + 1 if last >= 0 else high
    return Row(
        id=f"{document.language}/{span.kind}/{number:05d}",
        language=document.language,
        kind=span.kind.value,
        package=document.package,
        version=document.version,
        licence=document.licence,
        path=document.path,
        prefix=text[low : span.start],
        middle=text[span.start : span.end],
        suffix=text[span.end : high],
        empty_parses=parses_without(text, span.start, span.end, document.language),
    )

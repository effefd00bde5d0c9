"""Keeping what is measured out of what is trained on, by shingles of tokens.

A text is cut into words and signs, so line breaks, indentation and blanks cannot hide a copy, and
every run of so many tokens is hashed. A document that shares one run with protected text is
contaminated as a whole.

The lengths were measured on a corpus of 49,000 files. Rows are protected by runs of 16 tokens,
about two lines of code, which costs 1.6 % of the files, nearly all of them for a common idiom; 13
would cost 9 %, 24 finds no more than whole copies. Rows shorter than that are protected by runs of
10. Documents that are held out as a whole are many more tokens, so they are protected by runs of
40, about five lines (0.2 %; 30 would cost 1.5 %).

Left out on both sides is what half of all files share, and what dropping them for would protect
nothing: comments and imports, licence texts wherever they stand, and the length of ruler lines.
Knows neither where protected text comes from nor what is done with contaminated documents.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

ROW_RUN = 16
SHORT_ROW_RUN = 10
DOCUMENT_RUN = 40
MIN_FIELD = 80
"""Characters from which a string of a protected row counts."""

_TOKEN = re.compile(r"\w+|([^\w\s])\1{3,}|[^\w\s]")
_LEFT_OUT = re.compile(
    r"^[ \t]*+(?:(?:#|//|\*|import\b|from\s+\S+\s+import\b|use\s|export\s+\*).*$"
    r"|/\*(?:[^*]|\*(?!/))*+\*/)",
    re.MULTILINE,
)
_LICENCE_TEXTS = (
    ("Licensed under the Apache License", "under the License."),
    ("Permission is hereby granted, free of charge", "THE SOFTWARE."),
)
"""How the texts begin and end that files carry in full."""
_BASE = np.uint64(0x9E3779B97F4A7C15)
_GZIP_MAGIC = b"\x1f\x8b"

_Hashes = npt.NDArray[np.uint64]


class Protected(StrEnum):
    """What kind of text is kept out of training."""

    EVALUATION_ROW = "evaluation_row"
    HELD_OUT = "held_out"


class _TokenHashes(dict[str, int]):
    """Token to 64-bit hash, worked out once for each token."""

    def __missing__(self, token: str) -> int:
        value = self[token] = hash(token) & 0xFFFF_FFFF_FFFF_FFFF
        return value


class Shingles:
    """Protected runs of tokens, and the question whether a text has one of them."""

    def __init__(self) -> None:
        self._tokens = _TokenHashes()
        self._pending: dict[tuple[Protected, int], list[_Hashes]] = {}
        self._index: dict[tuple[Protected, int], _Hashes] = {}

    def protect_row(self, text: str) -> None:
        """Protect a text of an evaluation row."""
        tokens = self._hashed(text)
        size = ROW_RUN if len(tokens) >= ROW_RUN else SHORT_ROW_RUN
        self._protect(Protected.EVALUATION_ROW, tokens, size)

    def protect_document(self, text: str) -> None:
        """Protect a document that is held out as a whole."""
        self._protect(Protected.HELD_OUT, self._hashed(text), DOCUMENT_RUN)

    def touched(self, text: str) -> Protected | None:
        """What a text shares a run with, or ``None`` when it may be trained on."""
        tokens = self._hashed(text)
        for key, pending in self._pending.items():
            kind, size = key
            if key not in self._index:
                self._index[key] = np.unique(np.concatenate(pending))
            if _any_in(_runs(tokens, size), self._index[key]):
                return kind
        return None

    def _protect(self, kind: Protected, tokens: _Hashes, size: int) -> None:
        runs = _runs(tokens, size)
        if len(runs):
            self._pending.setdefault((kind, size), []).append(runs)
            self._index.pop((kind, size), None)

    def _hashed(self, text: str) -> _Hashes:
        text = _LEFT_OUT.sub("", _without_licences(text))
        words = [match.group() for match in _TOKEN.finditer(text)]
        hashes = map(self._tokens.__getitem__, words)
        return np.fromiter(hashes, dtype=np.uint64, count=len(words))


def read_protected(path: Path) -> Iterator[str]:
    """Every string of at least ``MIN_FIELD`` characters in a file of JSON lines, gzipped or not.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is not JSON.
    """
    with path.open("rb") as raw:
        zipped = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        raw.seek(0)
        with io.BufferedReader(gzip.GzipFile(fileobj=raw)) if zipped else raw as file:
            for line in file:
                if line.strip():
                    yield from _strings(json.loads(line))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) >= MIN_FIELD:
            yield value
    elif isinstance(value, dict):
        for child in cast("dict[str, object]", value).values():
            yield from _strings(child)
    elif isinstance(value, list):
        for child in cast("list[object]", value):
            yield from _strings(child)


def _without_licences(text: str) -> str:
    for start, end in _LICENCE_TEXTS:
        before, found, rest = text.partition(start)
        if found and end in rest:
            text = before + rest[rest.index(end) + len(end) :]
    return text


def _runs(tokens: _Hashes, size: int) -> _Hashes:
    """One hash for every run of ``size`` tokens; uint64 arithmetic wraps, as it should."""
    count = max(0, len(tokens) - size + 1)
    value = np.zeros(count, dtype=np.uint64)
    if count:
        for offset in range(size):
            value *= _BASE
            value += tokens[offset : offset + count]
    return value


def _any_in(values: _Hashes, index: _Hashes) -> bool:
    """Whether any value is in a sorted index that is not empty."""
    places = np.searchsorted(index, values)
    places[places == len(index)] = 0
    return bool(np.any(index[places] == values))

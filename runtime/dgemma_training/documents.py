"""The unit of training and evaluation data: one source file with where it came from.

A corpus is one gzipped file of JSON lines. Knows nothing of how it is collected or used.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

CORPUS_FILE = "documents.jsonl.gz"


class Split(StrEnum):
    """What a document may be used for; a package is in one split as a whole."""

    TRAIN = "train"
    VALIDATION = "validation"
    """For choosing recipes and thresholds."""
    TEST = "test"
    """For the figures that are reported; nothing is chosen by it."""


class Document(msgspec.Struct, frozen=True):
    """One source file.

    Attributes:
        text: Its content, with ``\\n`` line ends.
        language: A language id of the editor protocol ("python", "typescript", ...).
        package: Name in its registry.
        version: The version fetched.
        licence: What the licence filter read.
        path: Path inside the package.
        split: What it may be used for.
    """

    text: str
    language: str
    package: str
    version: str
    licence: str
    path: str
    split: Split


def write_documents(folder: Path, documents: Iterable[Document]) -> Path:
    """Write a corpus in one go; an older one stays whole until the new one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / CORPUS_FILE
    scratch = target.with_suffix(".part")
    encoder = msgspec.json.Encoder()
    with gzip.open(scratch, "wb", compresslevel=4) as file:
        for document in documents:
            file.write(encoder.encode(document) + b"\n")
    os.replace(scratch, target)
    return target


def read_documents(
    folder: Path, *, split: Split | None = None, languages: Collection[str] | None = None
) -> Iterator[Document]:
    """Yield the documents of a corpus in their stored order, filtered.

    Raises:
        FileNotFoundError: The folder holds no corpus.
    """
    decoder = msgspec.json.Decoder(Document)
    with gzip.open(folder / CORPUS_FILE, "rb") as file:
        for line in file:
            document = decoder.decode(line)
            if split is not None and document.split != split:
                continue
            if languages is None or document.language in languages:
                yield document

"""``dgemma mend FILE[:LINE[:COL]]``: mend syntax errors, the whole way an editor goes.

Without a place every error of the file is tried, one after the other, each on the text that the
one before it left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from lsprotocol import types

from dgemma_lsp import methods
from dgemma_lsp.cli.client import EditorClient, editor
from dgemma_lsp.cli.fill import (
    EXIT_NOTHING,
    Target,
    add_model_options,
    language_id,
    place_at,
    read_file,
    settings_of,
    write,
)
from dgemma_lsp.cli.render import print_diff
from dgemma_lsp.documents import Document
from dgemma_lsp.infill.repairs.broken import fault_ranges
from dgemma_lsp.syntax.lines import Encoding

_MOST_MENDS = 100
"""Errors of one file that are tried; a file with more is not a program with a mistake in it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A file and, unless all of it is to be mended, a range of offsets in it."""

    target: Target
    place: tuple[int, int] | None


@dataclass(slots=True)
class Mending:
    """What came of a file so far: its text, and each answer with the line it was about."""

    text: str
    version: int = 1
    made: list[tuple[int, methods.MendResult]] = field(
        default_factory=list[tuple[int, methods.MendResult]]
    )
    failed: list[tuple[int, methods.MendResult]] = field(
        default_factory=list[tuple[int, methods.MendResult]]
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``dgemma mend``."""
    parser.add_argument(
        "place",
        metavar="FILE[:LINE[:COL]]",
        help="What to mend: every syntax error of the file, those a line has, or the one at a "
        "place; LINE and COL count from 1, COL counts characters.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--diff", action="store_true", help="Print a unified diff (the default).")
    how.add_argument("--json", action="store_true", help="Print everything known as one object.")
    how.add_argument("--write", action="store_true", help="Write the mended text into the file.")
    parser.add_argument(
        "--candidates", type=int, metavar="N", help="How many answers to ask for in a round."
    )
    parser.add_argument("--deadline-ms", type=int, metavar="MS", help="Time one error may take.")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="Random seed.")
    add_model_options(parser)


def read_asked(named: str) -> Asked:
    """Read the file that FILE[:LINE[:COL]] names, and find the place in it.

    Raises:
        PlaceError: The file cannot be read, or there is no such place; the text says which.
    """
    match = re.fullmatch(r"(.+?):(\d+)(?::(\d+))?", named)
    if match is None or Path(named).exists():  # a file may have such a name
        text = read_file(Path(named))
        return Asked(Target(Path(named), place_at(named, text, 1, 1)), None)
    path = Path(match[1])
    text = read_file(path)
    place = place_at(str(path), text, int(match[2]), int(match[3] or 1))
    end = place.offset
    if match[3] is None:
        found = re.compile(r"\r\n|\n|\r").search(text, place.offset)
        end = len(text) if found is None else found.start()
    return Asked(Target(path, place), (place.offset, end))


def run(arguments: argparse.Namespace) -> int:
    """Run ``dgemma mend``; returns its exit status."""
    return asyncio.run(_run(arguments, read_asked(arguments.place)))


async def _run(arguments: argparse.Namespace, asked: Asked) -> int:
    async with editor(settings_of(arguments), [], _quiet) as client:
        found = await mend_file(client, asked, arguments)
    return report(arguments, asked, found)


def _quiet(message: str, share: float | None) -> None:
    """Loading is not shown: what is printed is for pipes."""


async def mend_file(client: EditorClient, asked: Asked, arguments: argparse.Namespace) -> Mending:
    """Open the file and mend it; the file itself is not written."""
    path = asked.target.path
    language = language_id(path)
    found = Mending(asked.target.place.text)
    uri = client.open(path, found.text, language)
    if asked.place is not None:
        await _mend_range(client, uri, language, found, asked.place, arguments)
        return found
    behind = 0
    while len(found.made) + len(found.failed) < _MOST_MENDS:
        document = Document.opened(uri, language, found.version, found.text)
        ranges = fault_ranges(document.snapshot())
        # Errors that could not be mended stay: what comes behind them is next.
        left = [each for each in ranges if each[0] >= behind]
        if not left:
            break
        if not await _mend_range(client, uri, language, found, left[0], arguments):
            behind = left[0][0] + 1
            if found.failed[-1][1].reason in ("off", "ignored_file", "no_runtime"):
                break  # so it would be for every other one
    return found


async def _mend_range(
    client: EditorClient,
    uri: str,
    language: str,
    found: Mending,
    place: tuple[int, int],
    arguments: argparse.Namespace,
) -> bool:
    """Mend what a range of offsets touches; returns whether that changed the text."""
    document = Document.opened(uri, language, found.version, found.text)
    start, end = (
        methods.Position(line=line, character=character)
        for line, character in (
            document.parsed.position_at(offset, Encoding.UTF32) for offset in place
        )
    )
    params = methods.MendParams(
        text_document=methods.DocumentId(uri=uri, version=found.version),
        range=methods.Range(start=start, end=end),
        candidates=arguments.candidates,
        deadline_ms=arguments.deadline_ms,
        seed=arguments.seed,
    )
    answer = await client.request(methods.MEND, msgspec.to_builtins(params))
    result = msgspec.convert(answer, type=methods.MendResult)
    if result.edit is None:
        found.failed.append((start.line + 1, result))
        return False
    change = result.edit.document_changes[0].edits[0]
    low, high = (
        document.parsed.offset_at(at.line, at.character, Encoding.UTF32)
        for at in (change.range.start, change.range.end)
    )
    found.made.append((change.range.start.line + 1, result))
    found.text = found.text[:low] + change.new_text + found.text[high:]
    found.version += 1
    client.language_client.text_document_did_change(
        types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(found.version, uri),
            [types.TextDocumentContentChangeWholeDocument(found.text)],
        )
    )
    return True


def report(arguments: argparse.Namespace, asked: Asked, found: Mending) -> int:
    """Show what came of a file in the form that was asked for; returns the exit status."""
    place = asked.target.place
    status = EXIT_NOTHING if found.failed else 0
    if arguments.json:
        print(json.dumps(as_json(asked, found), indent=2, ensure_ascii=False))
        return status
    if arguments.write:
        if found.made:
            write(asked.target, found.text)
    else:
        print_diff(place, found.text)
    for line, result in found.failed:
        why = (result.message or result.reason or "").removeprefix("could not mend: ")
        print(f"dgemma: {place.name}:{line}: could not mend: {why}", file=sys.stderr)
    if not found.made and not found.failed:
        print(f"dgemma: {place.name} has no syntax errors.", file=sys.stderr)
    return status


def as_json(asked: Asked, found: Mending) -> dict[str, Any]:
    """Return the object that ``--json`` prints: the text as it would be, and every answer."""

    def told(answers: list[tuple[int, methods.MendResult]]) -> list[dict[str, Any]]:
        return [{"line": line, **msgspec.to_builtins(result)} for line, result in answers]

    return {
        "file": asked.target.place.name,
        "text": found.text if found.made else None,
        "mended": told(found.made),
        "notMended": told(found.failed),
    }

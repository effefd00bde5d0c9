"""``dgemma holes FILE``: the marked holes of a file, or those at given places, filled together."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from dgemma_lsp import methods
from dgemma_lsp.cli.client import EditorClient, editor
from dgemma_lsp.cli.fill import (
    EXIT_NOTHING,
    PlaceError,
    Target,
    add_model_options,
    language_id,
    place_at,
    read_file,
    settings_of,
    write,
)
from dgemma_lsp.cli.render import print_diff


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``dgemma holes``."""
    parser.add_argument("file", metavar="FILE", type=Path, help="The file whose holes to fill.")
    parser.add_argument(
        "--at",
        action="append",
        metavar="LINE:COL",
        help="Fill here instead of at the marks; may be given several times. LINE and COL count "
        "from 1, COL counts characters.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--list", action="store_true", help="Only list the marked holes.")
    how.add_argument("--diff", action="store_true", help="Print a unified diff.")
    how.add_argument("--json", action="store_true", help="Print everything known as one object.")
    how.add_argument("--write", action="store_true", help="Write the texts into the file.")
    parser.add_argument("--deadline-ms", type=int, metavar="MS", help="Time all of it may take.")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="Random seed.")
    add_model_options(parser)


def read_asked(arguments: argparse.Namespace) -> tuple[Target, tuple[methods.Range, ...] | None]:
    """Read the file, and the places in it that were named.

    Raises:
        PlaceError: The file cannot be read, or there is no such place; the text says which.
    """
    path: Path = arguments.file
    text = read_file(path)
    target = Target(path, place_at(str(path), text, 1, 1))
    if not arguments.at:
        return target, None
    ranges: list[methods.Range] = []
    for named in arguments.at:
        line, _, column = named.partition(":")
        if not (line.isdigit() and column.isdigit()):
            raise PlaceError(f"{named} is not of the form LINE:COL, such as 12:5.")
        place = place_at(str(path), text, int(line), int(column))
        at = methods.Position(line=place.line - 1, character=place.column - 1)
        ranges.append(methods.Range(start=at, end=at))
    return target, tuple(ranges)


def run(arguments: argparse.Namespace) -> int:
    """Run ``dgemma holes``; returns its exit status."""
    target, places = read_asked(arguments)
    return asyncio.run(_run(arguments, target, places))


async def _run(
    arguments: argparse.Namespace, target: Target, places: tuple[methods.Range, ...] | None
) -> int:
    async with editor(settings_of(arguments), [], _quiet) as client:
        uri = client.open(target.path, target.place.text, language_id(target.path))
        document = methods.DocumentId(uri=uri, version=1)
        if arguments.list:
            return report_list(target, await _list(client, document))
        result = await _fill(client, document, places, arguments)
    return report(arguments, target, result)


def _quiet(message: str, share: float | None) -> None:
    """Loading is not shown: what is printed is for pipes."""


async def _list(client: EditorClient, document: methods.DocumentId) -> methods.HolesResult:
    params = methods.HolesParams(text_document=document)
    answer = await client.request(methods.HOLES, msgspec.to_builtins(params))
    return msgspec.convert(answer, type=methods.HolesResult)


async def _fill(
    client: EditorClient,
    document: methods.DocumentId,
    places: tuple[methods.Range, ...] | None,
    arguments: argparse.Namespace,
) -> methods.FillHolesResult:
    params = methods.FillHolesParams(
        text_document=document,
        holes=places,
        deadline_ms=arguments.deadline_ms,
        seed=arguments.seed,
    )
    answer = await client.request(methods.FILL_HOLES, msgspec.to_builtins(params))
    return msgspec.convert(answer, type=methods.FillHolesResult)


def report_list(target: Target, found: methods.HolesResult) -> int:
    """Print the marked holes, one a line; returns the exit status."""
    for hole in found.holes:
        at = hole.range.start
        print(f"{target.place.name}:{at.line + 1}:{at.character + 1}: {hole.mark}")
    if not found.holes:
        print(f"dgemma: {found.message}", file=sys.stderr)
        return EXIT_NOTHING
    return 0


def report(arguments: argparse.Namespace, target: Target, result: methods.FillHolesResult) -> int:
    """Show a result in the form that was asked for; returns the exit status.

    It is 0 only when every hole has a text.
    """
    filled = apply(target, result)
    status = 0 if result.edit and all(h.text is not None for h in result.holes) else EXIT_NOTHING
    if arguments.json:
        print(json.dumps(as_json(target, result), indent=2, ensure_ascii=False))
        return status
    place = target.place
    if arguments.diff:
        print_diff(place, filled)
    elif arguments.write:
        if result.edit is not None:
            write(target, filled)
    else:
        for hole in result.holes:
            if hole.text is not None:
                print(f"{_where(target, hole)}: {hole.text.strip()}")
    for hole in result.holes:
        if hole.text is None:
            print(f"dgemma: {_where(target, hole)}: no text: {hole.reason}", file=sys.stderr)
    if not result.holes:
        print(f"dgemma: {result.message or result.reason}", file=sys.stderr)
    return status


def _where(target: Target, hole: methods.FilledHole) -> str:
    at = hole.range.start
    return f"{target.place.name}:{at.line + 1}:{at.character + 1}"


def apply(target: Target, result: methods.FillHolesResult) -> str:
    """Return the file's text with all texts in it; columns count characters here."""
    place = target.place
    text = place.text
    edits = () if result.edit is None else result.edit.document_changes[0].edits
    for change in reversed(edits):
        start, end = (
            place_at(place.name, place.text, at.line + 1, at.character + 1).offset
            for at in (change.range.start, change.range.end)
        )
        text = text[:start] + change.new_text + text[end:]
    return text


def as_json(target: Target, result: methods.FillHolesResult) -> dict[str, Any]:
    """Return the object that ``--json`` prints: the text as it would be, and the answer."""
    text = apply(target, result) if result.edit is not None else None
    return {"file": target.place.name, "text": text, **msgspec.to_builtins(result)}

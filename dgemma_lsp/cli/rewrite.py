"""``dgemma rewrite FILE --lines A-B INSTRUCTION``: one rewrite, the whole way an editor goes."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Lines:
    """A file and some of its lines, counted from 1, the last one included; some of them stay."""

    target: Target
    first: int
    last: int
    pinned: tuple[tuple[int, int], ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``dgemma rewrite``."""
    parser.add_argument("file", metavar="FILE", type=Path)
    instruction = parser.add_argument(
        "instruction",
        metavar="INSTRUCTION",
        help="One of those that --list shows, with its {places} filled in; of some models any.",
    )
    # Not nargs="?": argparse would take it for left out as soon as a flag follows FILE.
    instruction.required = False
    instruction.default = None
    parser.add_argument(
        "--lines",
        metavar="A-B",
        help="Lines to rewrite, counted from 1; more than the model takes at once are rewritten "
        "block by block.",
    )
    parser.add_argument(
        "--pin",
        metavar="A-B",
        action="append",
        default=[],
        help="Lines among these that stay as they are; can be given several times.",
    )
    parser.add_argument(
        "--noise",
        type=_share,
        default=1.0,
        metavar="SHARE",
        help="How much of the old text is made anew, over 0 up to 1: 1 writes everything again, "
        "less stays closer to it (default: 1).",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--list", action="store_true", help="Show what the model can do in FILE.")
    how.add_argument("--json", action="store_true", help="Print everything known as one object.")
    how.add_argument("--diff", action="store_true", help="Print a unified diff.")
    how.add_argument("--write", action="store_true", help="Write the lines into the file.")
    parser.add_argument("--candidates", type=int, metavar="N", help="How many answers to ask for.")
    parser.add_argument("--deadline-ms", type=int, metavar="MS", help="Time it may take.")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="Random seed.")
    add_model_options(parser)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number over 0 up to 1")
    return share


def read_lines(path: Path, named: str, pinned: Iterable[str] = ()) -> Lines:
    """Read a file and the lines that A-B or A names, and which of them stay.

    Raises:
        PlaceError: One is not of that form, or there are no such lines; the text says which.
    """
    first, last = _line_range(named)
    text = read_file(path)
    place_at(str(path), text, last, 1)  # refuses a line that is not there
    place = place_at(str(path), text, first, 1)
    kept = tuple(map(_line_range, pinned))
    for low, high in kept:
        if low < first or high > last:
            raise PlaceError(f"Lines {low}-{high} to pin are not among {first}-{last}.")
    return Lines(Target(path, place), first, last, kept)


def _line_range(named: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", named)
    if match is None:
        raise PlaceError(f"{named} is not of the form A-B, such as 3-8.")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise PlaceError(f"Line {last} comes before line {first}.")
    return first, last


def run(arguments: argparse.Namespace) -> int:
    """Run ``dgemma rewrite``; returns its exit status."""
    if arguments.list:
        return asyncio.run(_list(arguments))
    if arguments.lines is None or arguments.instruction is None:
        raise PlaceError("Say which --lines to rewrite, and the instruction; --list shows some.")
    lines = read_lines(arguments.file, arguments.lines, arguments.pin)
    return asyncio.run(_run(arguments, lines))


async def _list(arguments: argparse.Namespace) -> int:
    async with editor(settings_of(arguments), [], _quiet) as client:
        params = methods.RewritesParams(language=language_id(arguments.file))
        answer = await client.request(methods.REWRITES, msgspec.to_builtins(params))
        found = msgspec.convert(answer, type=methods.RewritesResult)
    for offer in found.rewrites:
        print(f"{offer.success:4.0%}  {offer.instruction}")
    if not found.rewrites:
        print(f"dgemma: {found.message}", file=sys.stderr)
        return EXIT_NOTHING
    return 0


async def _run(arguments: argparse.Namespace, lines: Lines) -> int:
    async with editor(settings_of(arguments), [], _quiet) as client:
        result = await rewrite_lines(client, lines, arguments)
        return report(arguments, lines, result)


def _quiet(message: str, share: float | None) -> None:
    """Loading is not shown: what is printed is for pipes."""


async def rewrite_lines(
    client: EditorClient, lines: Lines, arguments: argparse.Namespace
) -> methods.RewriteResult:
    """Open the file and rewrite the lines."""
    path = lines.target.path
    uri = client.open(path, lines.target.place.text, language_id(path))
    live = sys.stderr.isatty()
    params = methods.RewriteParams(
        text_document=methods.DocumentId(uri=uri, version=1),
        range=_whole_lines(lines.first, lines.last),
        instruction=arguments.instruction,
        candidates=arguments.candidates,
        deadline_ms=arguments.deadline_ms,
        seed=arguments.seed,
        pinned=tuple(_whole_lines(*each) for each in lines.pinned),
        noise=arguments.noise,
        preview_token=uri if live else None,
    )
    if live:
        client.listen(uri, _show_step)
    answer = await client.request(methods.REWRITE, msgspec.to_builtins(params))
    if live:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return msgspec.convert(answer, type=methods.RewriteResult)


def _whole_lines(first: int, last: int) -> methods.Range:
    """Up to the start of the line behind the last one: how editors select whole lines."""
    start, end = (methods.Position(line=line, character=0) for line in (first - 1, last))
    return methods.Range(start=start, end=end)


def _show_step(preview: methods.PreviewParams) -> None:
    told = f"block {preview.canvas + 1}, step {preview.step} of at most {preview.max_steps}"
    print(f"\r\x1b[K{told}", end="", file=sys.stderr, flush=True)


def report(arguments: argparse.Namespace, lines: Lines, result: methods.RewriteResult) -> int:
    """Show a result in the form that was asked for; returns the exit status."""
    if arguments.json:
        print(json.dumps(as_json(lines, result), indent=2, ensure_ascii=False))
        return 0 if result.edit is not None else EXIT_NOTHING
    if result.edit is None:
        print(f"dgemma: no rewrite: {result.message or result.reason}", file=sys.stderr)
        return EXIT_NOTHING
    if result.canvases > 1 or result.message:
        told = f"rewritten in {result.canvases} block{'s' if result.canvases > 1 else ''}."
        print(f"dgemma: {told} {result.message or ''}".rstrip(), file=sys.stderr)
    place = lines.target.place
    rewritten = apply(lines, result.edit)
    if arguments.diff:
        print_diff(place, rewritten)
    elif arguments.write:
        write(lines.target, rewritten)
    else:
        print(_change(result.edit).new_text)
    return 0


def apply(lines: Lines, edit: methods.VersionedEdit) -> str:
    """Return the file's text with an edit made; columns count characters here."""
    place, change = lines.target.place, _change(edit)
    start, end = (
        place_at(place.name, place.text, at.line + 1, at.character + 1).offset
        for at in (change.range.start, change.range.end)
    )
    return place.text[:start] + change.new_text + place.text[end:]


def _change(edit: methods.VersionedEdit) -> methods.TextEdit:
    return edit.document_changes[0].edits[0]


def as_json(lines: Lines, result: methods.RewriteResult) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    text = None if result.edit is None else _change(result.edit).new_text
    plain: dict[str, Any] = msgspec.to_builtins(result)
    where = {"file": lines.target.place.name, "lines": [lines.first, lines.last]}
    return {**where, "text": text, **plain}

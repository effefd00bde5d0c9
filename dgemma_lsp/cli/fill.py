"""``dgemma fill FILE:LINE:COL``: one hole, the whole way an editor goes."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dgemma_lsp import methods
from dgemma_lsp.cli.client import EditorClient, editor
from dgemma_lsp.cli.render import Canvas, Place, print_diff
from dgemma_lsp.languages import by_extension
from dgemma_wire.errors import DgemmaError

EXIT_NOTHING = 1
"""Exit status when there was nothing good to insert."""


class PlaceError(DgemmaError):
    """FILE:LINE:COL names no place."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file's text and a hole in it."""

    path: Path
    place: Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``dgemma fill``."""
    parser.add_argument(
        "place",
        metavar="FILE:LINE:COL",
        help="Where to fill; LINE and COL count from 1, COL counts characters.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="Print everything known as one object.")
    how.add_argument("--diff", action="store_true", help="Print a unified diff.")
    how.add_argument("--write", action="store_true", help="Write the text into the file.")
    how.add_argument("--watch", action="store_true", help="Draw the canvas while it denoises.")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how a fill is made."""
    parser.add_argument("--candidates", type=int, metavar="N", help="How many answers to ask for.")
    parser.add_argument("--max-steps", type=int, metavar="N", help="Bound on denoise steps.")
    parser.add_argument("--deadline-ms", type=int, metavar="MS", help="Time it may take.")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="Random seed.")
    add_model_options(parser)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which model answers, with which weights."""
    add_runtime_options(parser)
    parser.add_argument("--adapter", help="auto, off, or the id of an adapter (default: auto).")


def add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which runtime answers."""
    parser.add_argument("--model", help="`embedded`, or the folder of a checkpoint.")
    parser.add_argument("--device", help="auto, cpu or cuda[:N].")
    parser.add_argument(
        "--runtime-address",
        metavar="ADDRESS",
        help="A runtime on another machine: tcp://127.0.0.1:PORT or unix:///PATH.",
    )
    parser.add_argument("--runtime-token-file", metavar="FILE", help="File with its token.")


def settings_of(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the settings that the flags of a model, or of a runtime alone, stand for."""
    runtime = {
        name: value
        for name in ("model", "device")
        if (value := getattr(arguments, name)) is not None
    }
    settings: dict[str, object] = {"runtime": runtime} if runtime else {}
    for name, flag in (
        ("adapter", "adapter"),
        ("runtimeAddress", "runtime_address"),
        ("runtimeTokenFile", "runtime_token_file"),
    ):
        if (value := getattr(arguments, flag, None)) is not None:
            settings[name] = value
    return settings


def read_target(place: str) -> Target:
    """Read the file that FILE:LINE:COL names.

    Raises:
        PlaceError: It is not of that form, or there is no such place; the text says which.
    """
    match = re.fullmatch(r"(.+?):(\d+):(\d+)", place)
    if match is None:
        raise PlaceError(f"{place} is not of the form FILE:LINE:COL, such as src/app.py:12:5.")
    path, line, column = Path(match[1]), int(match[2]), int(match[3])
    return Target(path, place_at(str(path), read_file(path), line, column))


def read_file(path: Path) -> str:
    """Return a file's text with the line ends it has.

    Raises:
        PlaceError: It cannot be read, or is no UTF-8 text.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except OSError as err:
        raise PlaceError(f"{path} cannot be read: {err.strerror or err}.") from err
    except UnicodeDecodeError as err:
        raise PlaceError(f"{path} is not UTF-8 text (byte {err.start}).") from err


def language_id(path: Path) -> str:
    """Return the LSP language identifier of a file, by its name."""
    language = by_extension(path)
    return language.ids[0] if language.ids else "plaintext"


def place_at(name: str, text: str, line: int, column: int) -> Place:
    """Return a place in a text.

    Raises:
        PlaceError: The line or column is not there.
    """
    lines = re.split(r"\r\n|\n|\r", text)
    if not 1 <= line <= len(lines):
        raise PlaceError(f"{name} has {len(lines)} lines; there is no line {line}.")
    if not 1 <= column <= len(lines[line - 1]) + 1:
        raise PlaceError(
            f"Line {line} of {name} has {len(lines[line - 1])} characters; "
            f"columns 1 to {len(lines[line - 1]) + 1} are there, not {column}."
        )
    breaks = list(re.finditer(r"\r\n|\n|\r", text))
    start = breaks[line - 2].end() if line > 1 else 0
    return Place(name, text, start + column - 1, line, column)


async def fill_place(
    client: EditorClient,
    target: Target,
    arguments: argparse.Namespace,
    canvas: Canvas | None = None,
) -> methods.FillResult:
    """Open the file and fill the hole, drawing it on a canvas when there is a live one."""
    drawn = canvas is not None and canvas.live  # elsewhere only the result is shown
    params = open_place(client, target, arguments, preview=drawn)
    return await client.fill(params, canvas.preview if canvas is not None else None)


def open_place(
    client: EditorClient, target: Target, arguments: argparse.Namespace, *, preview: bool
) -> methods.FillParams:
    """Open the file at the server and return what to ask it."""
    place = target.place
    uri = client.open(target.path, place.text, language_id(target.path))
    return methods.FillParams(
        text_document=methods.DocumentId(uri=uri, version=1),
        position=methods.Position(line=place.line - 1, character=place.column - 1),
        candidates=arguments.candidates,
        max_steps=arguments.max_steps,
        deadline_ms=arguments.deadline_ms,
        seed=arguments.seed,
        preview_token=place.name if preview else None,
        preview_every_ms=0,
    )


def run(arguments: argparse.Namespace) -> int:
    """Run ``dgemma fill``; returns its exit status."""
    target = read_target(arguments.place)
    return asyncio.run(_run(arguments, target))


async def _run(arguments: argparse.Namespace, target: Target) -> int:
    live = bool(arguments.watch and sys.stdout.isatty())
    canvas = Canvas(sys.stdout, live, target.place) if arguments.watch else None

    def on_progress(message: str, share: float | None) -> None:
        if canvas is not None:
            canvas.loading(message, share)

    async with editor(settings_of(arguments), [], on_progress) as client:
        result = await fill_place(client, target, arguments, canvas)
        return report(arguments, target, result, canvas)


def report(
    arguments: argparse.Namespace,
    target: Target,
    result: methods.FillResult,
    canvas: Canvas | None,
) -> int:
    """Show a result in the form that was asked for; returns the exit status."""
    if arguments.json:
        print(json.dumps(as_json(target, result), indent=2, ensure_ascii=False))
        return 0 if result.text is not None else EXIT_NOTHING
    if canvas is not None:
        canvas.done(result)
        return 0 if result.text is not None else EXIT_NOTHING
    if result.text is None:
        print(f"dgemma: no text: {result.message or result.reason}", file=sys.stderr)
        return EXIT_NOTHING
    place = target.place
    filled = place.text[: place.offset] + result.text + place.text[place.offset :]
    if arguments.diff:
        print_diff(place, filled)
    elif arguments.write:
        write(target, filled)
    else:
        print(result.text)
    return 0


def write(target: Target, text: str) -> None:
    """Write a file in one step, unless it changed since it was read.

    Raises:
        PlaceError: It changed meanwhile, or cannot be written; it is then as it was.
    """
    path = target.path
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if file.read() != target.place.text:
                raise PlaceError(f"{path} changed while it was being filled; nothing was written.")
        real = path.resolve()  # a link stays a link
        handle, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(real.stat().st_mode & 0o7777)
            Path(name).replace(real)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as err:
        raise PlaceError(
            f"{path} cannot be written: {err.strerror or err}. It is as it was."
        ) from err


def as_json(target: Target, result: methods.FillResult) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    chosen = next((c for c in result.candidates if c.verdict.accepted), None)
    plain: dict[str, Any] = msgspec.to_builtins(result)
    return {
        "file": target.place.name,
        "line": target.place.line,
        "column": target.place.column,
        **plain,
        "verdict": None if chosen is None else msgspec.to_builtins(chosen.verdict),
        "steps": None if chosen is None else chosen.steps,
    }

"""Fill the holes of examples/ and show the canvas denoising: server, socket, runtime, model.

Starts ``dgemma-lsp`` as an editor would and speaks LSP to it; nothing here is canned. On a
terminal the canvas is drawn live; elsewhere the result of each hole is printed plainly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dgemma_lsp.cli.client import EditorClient, editor
from dgemma_lsp.cli.fill import (
    Target,
    add_options,
    fill_place,
    place_at,
    read_target,
    settings_of,
)
from dgemma_lsp.cli.render import Canvas
from dgemma_lsp.methods import FillResult
from dgemma_wire.errors import DgemmaError

EXAMPLES = Path(__file__).parent.parent / "examples"
PAUSE_S = 0.8
"""How long a finished hole stands before the next one begins, for people who watch."""


@dataclass(frozen=True)
class Hole:
    """One entry of examples/holes.json: the cursor stands behind ``after`` on ``line``."""

    file: str
    line: int
    after: str
    about: str

    def target(self) -> Target:
        """Return the file and the place in it."""
        path = EXAMPLES / self.file
        whole = read_target(f"{path}:{self.line}:1")
        text = whole.place.text.splitlines()[self.line - 1]
        if not text.startswith(self.after):
            raise DgemmaError(
                f"Line {self.line} of {path} is {text!r} and does not begin with {self.after!r}."
            )
        name = f"examples/{self.file}"
        return Target(path, place_at(name, whole.place.text, self.line, len(self.after) + 1))


def holes() -> list[Hole]:
    """Return the holes of the demo."""
    return [Hole(**entry) for entry in json.loads((EXAMPLES / "holes.json").read_text())]


async def show(
    client: EditorClient, hole: Hole, canvas: Canvas, arguments: argparse.Namespace
) -> FillResult:
    """Fill one hole on a canvas."""
    result = await fill_place(client, hole.target(), arguments, canvas)
    canvas.done(result)
    return result


async def demo(arguments: argparse.Namespace) -> int:
    """Run the demo; returns its exit status."""
    live = sys.stdout.isatty() and not arguments.plain
    canvas: Canvas | None = None

    def on_progress(message: str, share: float | None) -> None:
        if canvas is not None:
            canvas.loading(message, share)

    began = time.monotonic()
    results: list[FillResult] = []
    async with editor(settings_of(arguments), [], on_progress) as client:
        for number, hole in enumerate(holes(), 1):
            place = hole.target().place
            print(f"\n{number}. {hole.about} ({place.name}:{place.line}:{place.column})")
            canvas = Canvas(sys.stdout, live, place)
            results.append(await show(client, hole, canvas, arguments))
            if live:
                await asyncio.sleep(PAUSE_S)
        problem = (await client.status()).problem
    took = time.monotonic() - began
    filled = [result for result in results if result.text is not None]
    model = next((result.model for result in results if result.model), None)
    if model is None:
        print(f"\nNo hole reached a model: {problem}", file=sys.stderr)
        return 1
    middle = statistics.median(result.timings.total_ms for result in results[1:])
    print(
        f"\n{len(filled)} of {len(results)} holes filled by {model}; "
        f"median {middle:.0f} ms once loaded, {took:.1f} s in all. "
        "What is not filled was judged not good enough to show."
    )
    # A small model may be silent here and there; silent everywhere means that something is broken.
    return 0 if len(filled) * 2 >= len(results) else 1


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Fill the holes of examples/ live.")
    parser.add_argument("--plain", action="store_true", help="No live drawing, no colour.")
    add_options(parser)
    try:
        return asyncio.run(demo(parser.parse_args()))
    except DgemmaError as err:
        print(f"demo: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

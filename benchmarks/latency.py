"""Latency of a fill by phase, through the real server, socket, runtime and model.

Speaks LSP to ``dgemma-lsp`` over stdio as an editor does. Phases of a fill, in milliseconds:

    capture    hole and context, in the server
    wire       the socket, both ways, with encoding and decoding
    queue      waiting for the device
    prefill    the causal pass over what the prefix cache does not hold
    step       one denoise step
    validate   trimming, parsing in place, ranking
    editor     what the client waited beyond the server's own total: JSON-RPC over stdio
    total      as the client saw it

Then the three aims that do not depend on the model: ``outside`` is everything outside the model on
a file of 5 000 lines; ``cached`` is a repeated or typed-through request; ``cancel`` is how long
after a cancel another request gets its first step.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from lsprotocol import types
from measuring import Hole, hardware, rows_from, rows_from_sources, spread

from dgemma_lsp import methods
from dgemma_lsp.cli.client import EditorClient, editor
from dgemma_lsp.cli.fill import add_runtime_options, settings_of
from dgemma_lsp.cli.lsp import release

MIN_HOLES = 50


async def measure_fills(client: EditorClient, holes: list[Hole]) -> dict[str, Any]:
    """Fill every hole once and return the spread of each phase."""
    phases: dict[str, list[float]] = {
        name: []
        for name in (
            [
                "capture",
                "wire",
                "queue",
                "layout",
                "prefill",
                "step",
                "validate",
                "outside",
                "editor",
                "total",
            ]
        )
    }
    steps: list[float] = []
    outcomes: dict[str, int] = {}
    for number, hole in enumerate(holes):
        uri = client.open(Path(f"/bench/{number}.txt"), hole.prefix + hole.suffix, hole.language)
        line, column = hole.position
        params = methods.FillParams(
            text_document=methods.DocumentId(uri=uri),
            position=methods.Position(line=line, character=column),
            candidates=1,
        )
        await client.status()  # the document is parsed before the clock starts, as in an editor
        began = time.perf_counter()
        result = await client.fill(params)
        total = (time.perf_counter() - began) * 1000
        outcomes[result.reason or "shown"] = outcomes.get(result.reason or "shown", 0) + 1
        times = result.timings
        if times.runtime is None:
            continue
        model = times.runtime.prefill_ms + sum(times.runtime.step_ms)
        phases["capture"].append(times.capture_ms)
        phases["wire"].append(times.wire_ms)
        phases["queue"].append(times.runtime.queue_ms)
        phases["layout"].append(times.runtime.layout_ms)
        phases["prefill"].append(times.runtime.prefill_ms)
        phases["step"] += times.runtime.step_ms
        phases["validate"].append(times.validate_ms)
        phases["outside"].append(total - model)
        phases["editor"].append(total - times.total_ms)
        phases["total"].append(total)
        steps.append(len(times.runtime.step_ms))
    made: dict[str, Any] = {name: spread(values) for name, values in phases.items()}
    return made | {"steps a fill": spread(steps), "outcomes": outcomes}


class Typist:
    """A document in the editor that can be typed into."""

    def __init__(self, client: EditorClient, text: str, name: str = "typed") -> None:
        self.client = client
        self.uri = client.open(Path(f"/bench/{name}.py"), text, "python")
        self.version = 1

    def insert(self, line: int, column: int, text: str) -> None:
        """Type at a place."""
        self.version += 1
        here = types.Position(line, column)
        self.client.language_client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(self.version, self.uri),
                [types.TextDocumentContentChangePartial(types.Range(here, here), text)],
            )
        )

    async def complete(self, line: int, column: int) -> list[types.InlineCompletionItem]:
        """Ask as an editor does while a person types."""
        answer = await self.client.language_client.text_document_inline_completion_async(
            types.InlineCompletionParams(
                context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic),
                text_document=types.TextDocumentIdentifier(self.uri),
                position=types.Position(line, column),
            )
        )
        assert isinstance(answer, types.InlineCompletionList)
        return list(answer.items)


def long_file(lines: int) -> tuple[str, int]:
    """Return Python source of about so many lines, and the line of a hole in its middle."""
    unit = "def add_{0}(left, right):\n    total = left + right\n    return total\n\n\n"
    units = lines // 5
    head = "".join(unit.format(n) for n in range(units // 2))
    tail = "".join(unit.format(n) for n in range(units // 2, units))
    hole = "def multiply(left, right):\n    return \n\n\n"
    return head + hole + tail, head.count("\n") + 1


async def measure_long(client: EditorClient, lines: int, rounds: int) -> dict[str, Any]:
    """Measure what the model does not take on a long file: a key, then a fill."""
    text, line = long_file(lines)
    typist = Typist(client, text, f"long{lines}")
    await client.status()
    outside: list[float] = []
    for number in range(rounds):
        typist.insert(0, 0, f"# {number}\n")
        line += 1
        params = methods.FillParams(
            text_document=methods.DocumentId(uri=typist.uri),
            position=methods.Position(line=line, character=len("    return ")),
            candidates=1,
        )
        began = time.perf_counter()
        result = await client.fill(params)
        total = (time.perf_counter() - began) * 1000
        assert result.timings.runtime is not None, result.message
        times = result.timings.runtime
        outside.append(total - times.prefill_ms - sum(times.step_ms))
    return {"outside": spread(outside), "lines": lines}


async def measure_cached(client: EditorClient, lines: int, rounds: int) -> dict[str, Any]:
    """Measure repeated requests, and requests while the candidate is typed."""
    text, line = long_file(lines)
    typist = Typist(client, text, f"cached{lines}")
    column = len("    return ")
    items = await typist.complete(line, column)
    assert items, "the model had nothing for the simplest of holes"
    candidate = str(items[0].insert_text)
    repeated: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        assert await typist.complete(line, column)
        repeated.append((time.perf_counter() - began) * 1000)
    typed: list[float] = []
    for at, char in enumerate(candidate[:-1]):
        typist.insert(line, column + at, char)
        began = time.perf_counter()
        (item,) = await typist.complete(line, column + at + 1)
        typed.append((time.perf_counter() - began) * 1000)
        assert item.insert_text == candidate[at + 1 :]
    return {"repeated": spread(repeated), "typed through": spread(typed), "lines": lines}


async def measure_cancel(client: EditorClient, rounds: int) -> dict[str, Any]:
    """Measure from a cancel to the start of another document's first step, on a busy device."""
    text, line = long_file(200)
    busy, other = Typist(client, text, "busy"), Typist(client, text, "other")
    waits: list[float] = []
    steps: list[float] = []
    for number in range(rounds):
        busy.insert(0, 0, f"# {number}\n")
        other.insert(0, 0, f"# {number}\n")
        params = methods.FillParams(
            text_document=methods.DocumentId(uri=busy.uri),
            position=methods.Position(line=line + number + 1, character=len("    return ")),
            candidates=8,
            preview_token=f"busy{number}",
            preview_every_ms=0,
        )
        begun = asyncio.Event()
        protocol = client.language_client.protocol
        client.listen(f"busy{number}", lambda _, begun=begun: begun.set())
        asked = protocol.send_request(
            methods.FILL, msgspec.to_builtins(params), msg_id=f"cancel{number}"
        )
        await begun.wait()
        client.language_client.cancel_request(types.CancelParams(f"cancel{number}"))
        result = await client.fill(
            for_document(params, other.uri),
        )
        asked.cancel()
        assert result.timings.runtime is not None
        waits.append(result.timings.runtime.queue_ms)
        steps += result.timings.runtime.step_ms
    return {"wait for the device": spread(waits), "one step": spread(steps)}


def for_document(params: methods.FillParams, uri: str) -> methods.FillParams:
    """Return the parameters for another document, without previews."""
    return msgspec.structs.replace(
        params,
        text_document=methods.DocumentId(uri=uri),
        candidates=1,
        preview_token=None,
    )


async def run(arguments: argparse.Namespace, holes: list[Hole]) -> dict[str, Any]:
    """Run every part and return the results."""
    async with editor(
        {"debounceMs": 0, "deadlineMs": 60000, **settings_of(arguments)}, [], lambda *_: None
    ) as client:
        await measure_fills(client, holes[:3])  # the model is loaded and warm after these
        results = {
            "fills": await measure_fills(client, holes),
            "long file": await measure_long(client, 5000, arguments.rounds),
            "cached": await measure_cached(client, 5000, 10 * arguments.rounds),
            "cancel": await measure_cancel(client, arguments.rounds),
        }
        status = (await client.status()).runtime
    assert status is not None
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "release": release(),
        "python": platform.python_version(),
        "hardware": hardware(),
        "model": status.model,
        "device": status.device,
        "dtype": status.dtype,
        "why": status.device_reason,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **results,
    }


def show(results: dict[str, Any], holes: str) -> None:
    """Print the results as a table."""
    print(f"{results['model']} on {results['device']} in {results['dtype']}: {results['why']}")
    print(f"{results['hardware']['cpu']}, {results['hardware']['cores']} cores; {holes}\n")
    print(f"{'':24}{'p50':>10}{'p95':>10}{'n':>7}")
    rows = dict(results["fills"])
    outcomes = rows.pop("outcomes")
    long, cached, cancel = results["long file"], results["cached"], results["cancel"]
    rows |= {
        f"outside, {long['lines']} lines": long["outside"],
        "cached, repeated": cached["repeated"],
        "cached, typed through": cached["typed through"],
        "cancel: device wait": cancel["wait for the device"],
        "cancel: one step": cancel["one step"],
    }
    for name, values in rows.items():
        print(f"{name:24}{values.get('p50', ''):>10}{values.get('p95', ''):>10}{values['n']:>7}")
    print("\noutcomes: " + ", ".join(f"{k} {v}" for k, v in sorted(outcomes.items())))


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=Path, help="Gzipped JSON lines with prefix, middle, suffix and lang."
    )
    parser.add_argument("--holes", type=int, default=60, help="How many (default: %(default)s).")
    parser.add_argument("--rounds", type=int, default=20, help="Repeats of the other parts.")
    parser.add_argument("--seed", type=int, default=1, help="Which holes.")
    parser.add_argument("--out", type=Path, help="Write the results here as JSON.")
    add_runtime_options(parser)
    arguments = parser.parse_args()
    if arguments.holes < MIN_HOLES:
        parser.error(f"--holes must be at least {MIN_HOLES}: fewer say nothing of a p95")
    if arguments.rows is None:
        holes = rows_from_sources(arguments.holes, arguments.seed)
        source = f"{len(holes)} holes cut from this repository's own Python (no --rows given)"
    elif not arguments.rows.exists():
        parser.error(f"{arguments.rows} is not there; leave --rows away to use own sources")
    else:
        rows = rows_from(arguments.rows)
        holes = random.Random(arguments.seed).sample(rows, min(arguments.holes, len(rows)))
        source = f"{len(holes)} of the {len(rows)} holes of {arguments.rows.name}"
    results = asyncio.run(run(arguments, holes)) | {"holes": source}
    show(results, source)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Memory of the runtime over many requests, each with a prefix of another length.

Speaks LSP to ``dgemma-lsp`` and reads the runtime's resident memory from its status. What grows
with the number of requests shows here; a model, its caches and a library's workspaces do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

from latency import ROOT, hardware

from dgemma_lsp import methods
from dgemma_lsp.cli.client import editor
from dgemma_lsp.cli.fill import add_runtime_options, settings_of


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the requests and return the memory after every tenth of them."""
    rng = random.Random(1)
    text = (ROOT / "dgemma_lsp/session.py").read_text(encoding="utf-8")
    seen: list[tuple[int, int]] = []
    async with editor(settings_of(arguments), [], lambda *_: None) as client:
        for number in range(1, arguments.requests + 1):
            lines = text[rng.randrange(len(text) // 2) :].splitlines()[: rng.randrange(3, 120)]
            uri = client.open(Path(f"/bench/{number}.py"), "\n".join([*lines, "x = "]), "python")
            await client.fill(
                methods.FillParams(
                    text_document=methods.DocumentId(uri=uri),
                    position=methods.Position(line=len(lines), character=4),
                    candidates=1,
                    max_steps=arguments.steps,
                )
            )
            if number == 20 or number % max(1, arguments.requests // 10) == 0:
                status = (await client.status()).runtime
                assert status is not None
                seen.append((number, status.resident_mb))
                print(f"{number:>6} requests  {status.resident_mb:>6} MiB", flush=True)
    return {"hardware": hardware(), "steps": arguments.steps, "resident_mb": seen}


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=300, help="How many.")
    parser.add_argument("--steps", type=int, default=2, help="Denoise steps of each.")
    parser.add_argument("--out", type=Path, help="Write the results here as JSON.")
    add_runtime_options(parser)
    arguments = parser.parse_args()
    results = asyncio.run(run(arguments))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

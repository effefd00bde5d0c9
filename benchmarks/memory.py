"""Memory of the runtime over many requests of every kind, each with a prefix of another length.

Speaks to a runtime of its own over its socket: fills, several candidates, parts of an earlier
draft denoised again, drafts from the left, texts weighed, requests that are cancelled under way and
requests that a newer one supersedes. Reads resident memory from the runtime's status. What grows
with the number of requests shows here; a model, its caches and a library's workspaces do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measuring import ROOT, hardware

from dgemma_lsp.cli.lsp import release
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire.errors import DenoiseFailed
from dgemma_wire.messages import Candidate, Clamped, Denoise, Free, Renoise, Weigh
from dgemma_wire.settings import RuntimeSettings

FLAT_MB = 16
"""Growth from the second third of the requests to the last that still counts as none, in MiB."""


@dataclass(slots=True)
class Caller:
    """Makes requests of every kind and counts how they end."""

    client: RuntimeClient
    text: str
    steps: int
    rng: random.Random
    ended: Counter[str] = field(default_factory=Counter)
    last: Candidate | None = None

    def _ask(self, **more: Any) -> Denoise:
        lines = self.text[self.rng.randrange(len(self.text) // 2) :].splitlines()
        prefix = "\n".join([*lines[: self.rng.randrange(3, 25)], "x = "])
        fields: dict[str, Any] = {
            "document": f"bench{self.rng.randrange(8)}",
            "prefix": prefix,
            "segments": (Free(max_lines=1), Clamped(text="\n")),
            "max_steps": self.steps,
            "seed": self.rng.randrange(1000),
        }
        return Denoise(**fields | more)

    async def _fill(self) -> None:
        found = (await self.client.denoise(self._ask())).candidates
        self.last = found[0] if found else None

    async def _candidates(self) -> None:
        await self.client.denoise(self._ask(candidates=2))

    async def _again(self) -> None:
        """Denoise all of the last draft's span again behind its first token."""
        await self._fill()
        if self.last is None or not self.last.draft:
            return
        spans = ((Clamped(text="a"), Free(tokens=4)),)
        await self.client.renoise(
            Renoise(document="again", draft=self.last.draft, spans=spans, max_steps=self.steps)
        )

    async def _causal(self) -> None:
        ask = self._ask(causal=True, guess="f(x)")
        await self.client.denoise(ask)

    async def _weigh(self) -> None:
        ask = self._ask()
        await self.client.weigh(
            Weigh(document="weigh", prefix=ask.prefix, texts=("f(x)", "None"), suffix="\n")
        )

    async def _cancelled(self) -> None:
        task = asyncio.create_task(self.client.denoise(self._ask(candidates=4, max_steps=16)))
        await asyncio.sleep(self.rng.uniform(0.0, 0.15))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _superseded(self) -> None:
        asks = [self._ask(document="same") for _ in range(2)]
        both = (self.client.denoise(ask) for ask in asks)
        for each in await asyncio.gather(*both, return_exceptions=True):
            if isinstance(each, Exception) and not isinstance(each, DenoiseFailed):
                raise each

    @property
    def kinds(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        """Every kind by name."""
        return (
            ("fill", self._fill),
            ("candidates", self._candidates),
            ("renoise", self._again),
            ("causal", self._causal),
            ("weigh", self._weigh),
            ("cancelled", self._cancelled),
            ("superseded", self._superseded),
        )

    async def one(self, number: int) -> None:
        """Make one request, of the kind whose turn it is."""
        name, make = self.kinds[number % len(self.kinds)]
        try:
            await make()
        except DenoiseFailed as error:
            name += f": {error.code}"
        self.ended[name] += 1


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the requests; return the memory at every twentieth part of them."""
    text = (ROOT / "dgemma_lsp/session.py").read_text(encoding="utf-8")
    seen: list[tuple[int, int]] = []
    began = time.monotonic()
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="dg-") as home:
        directory = Path(home)
        os.environ["DGEMMA_RUNTIME_DIR"] = home  # for the runtime that is started
        settings = RuntimeSettings(model=arguments.model, device=arguments.device)
        client = RuntimeClient(settings, (), directory, release(), "the memory benchmark")
        try:
            welcome = await client.welcome()
            caller = Caller(client, text, arguments.steps, random.Random(1))
            for number in range(1, arguments.requests + 1):
                await caller.one(number)
                if number == 20 or number % max(1, arguments.requests // 20) == 0:
                    status = await client.status()
                    assert status is not None
                    seen.append((number, status.resident_mb))
                    print(f"{number:>6} requests  {status.resident_mb:>6} MiB", flush=True)
                if time.monotonic() - began > 60 * arguments.minutes:
                    break
        finally:
            await client.stop_runtime()
            await client.close()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "model": welcome.model,
        "steps": arguments.steps,
        "requests": seen[-1][0],
        "seconds": round(time.monotonic() - began),
        "load": [load, os.getloadavg()],
        "ended": dict(caller.ended),
        "resident_mb": seen,
        **growth(seen),
    }


def growth(seen: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return by how many MiB the last third of the requests is above the one before, and a verdict.

    Medians of both: what a single request takes for a while is no growth.
    """
    last = seen[-1][0]
    second = [mb for number, mb in seen if last / 3 < number <= 2 * last / 3]
    third = [mb for number, mb in seen if number > 2 * last / 3]
    if not second or not third:
        return {"growth_mb": None, "verdict": "too few requests to tell"}
    grown = statistics.median(third) - statistics.median(second)
    verdict = f"{'reached' if grown <= FLAT_MB else 'missed'}: at most {FLAT_MB} MiB"
    return {"growth_mb": grown, "verdict": verdict}


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1000, help="How many (%(default)s).")
    parser.add_argument("--steps", type=int, default=2, help="Denoise steps of each.")
    parser.add_argument("--minutes", type=float, default=60, help="Stop after so many.")
    parser.add_argument("--model", default="embedded", help="`embedded`, or a folder.")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda[:N].")
    parser.add_argument("--out", type=Path, help="Write the results here as JSON.")
    arguments = parser.parse_args()
    results = asyncio.run(run(arguments))
    print(f"growth {results['growth_mb']} MiB: {results['verdict']}; ended: {results['ended']}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

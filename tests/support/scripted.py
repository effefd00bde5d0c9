"""A scripted engine and a runtime process around it, for tests alone.

Run as a program it takes the flags of ``dgemma-runtime`` and serves answers read from the JSON
file that ``DGEMMA_TEST_SCRIPT`` names: ``{"load_ms": 0, "rules": [{"when": "text in the prefix",
"text": "answer", "steps": 3, "step_ms": 5, "crash": false, "code": null}]}``. The first rule
whose ``when`` is in the prefix answers; without one the answer is empty. A rule with an
``instruction`` is for rewrites by that instruction, one with an ``adapter`` for requests that name
it; ``rewrites`` are what the engine offers, ``adapters`` those it can use.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from dgemma_runtime import cli, process
from dgemma_runtime.engine.base import Answer, Device, LoadProgress
from dgemma_runtime.job import Job
from dgemma_wire import endpoint
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError
from dgemma_wire.messages import (
    Candidate,
    Capabilities,
    Draft,
    DraftToken,
    Free,
    ModelLimits,
    RuntimeState,
    Timings,
    TokenState,
)

LIMITS = ModelLimits(
    prefix_tokens=1024, canvas_tokens=256, span_tokens=64, max_span_tokens=96, chars_per_token=3.5
)


class ScriptedEngine:
    """Answers by rule, with real steps, drafts, deadlines and cancellation."""

    model = "scripted"
    limits = LIMITS

    def __init__(self, script: dict[str, Any]) -> None:
        self.script = script
        self.capabilities = msgspec.convert(
            {"rewrites": script.get("rewrites", [])}, type=Capabilities
        )
        self.loads = 0

    def files(self) -> dict[str, str]:
        return {}

    def fetch(self, report: Callable[[LoadProgress], None]) -> None:
        report(LoadProgress(RuntimeState.FETCHING, "nothing to fetch", 1.0))

    def load(self, report: Callable[[LoadProgress], None]) -> Device:
        self.loads += 1
        if message := self.script.get("load_error"):
            raise ModelError(message)
        steps = 4
        for step in range(steps):
            report(LoadProgress(RuntimeState.LOADING, "Loading the script", step / steps))
            time.sleep(self.script.get("load_ms", 0) / 1000 / steps)
        return Device("cpu", "the script runs anywhere", "float32")

    def unload(self) -> None:
        pass

    def denoise(self, job: Job, on_draft: Callable[[Draft], None]) -> Answer:
        request = job.request
        rules = self.script.get("rules", [])
        if request.adapter and request.adapter not in self.script.get("adapters", []):
            raise DenoiseFailed(FailureCode.ADAPTER_UNAVAILABLE, f"no {request.adapter} here")
        asked = None if request.rewrite is None else request.rewrite.instruction
        rule = next(
            (
                r
                for r in rules
                if r.get("when", "") in request.prefix
                and r.get("instruction") == asked
                and r.get("adapter", request.adapter) == request.adapter
            ),
            {},
        )
        if rule.get("crash"):
            os._exit(9)
        if rule.get("raise"):
            raise RuntimeError(request.prefix)
        if code := rule.get("code"):
            raise DenoiseFailed(FailureCode(code), rule.get("message", code))
        text = rule.get("text", "")
        texts = [text, *rule.get("others", [])][: request.candidates]
        steps = rule.get("steps", 2)
        spans = sum(isinstance(segment, Free) for segment in request.segments)
        timings: list[float] = []
        for step in range(1, steps + 1):
            job.check()
            began = time.perf_counter()
            time.sleep(rule.get("step_ms", 1) / 1000)
            timings.append((time.perf_counter() - began) * 1000)
            if request.draft_every_ms is not None:
                shown = len(text) * step // steps
                tokens = tuple(
                    DraftToken(c, TokenState.SETTLED if i < shown else TokenState.NOISE)
                    for i, c in enumerate(text)
                )
                on_draft(
                    Draft(
                        id=request.id,
                        candidate=0,
                        step=step,
                        max_steps=steps,
                        spans=(tokens,) * spans,
                    )
                )
        return Answer(
            tuple(
                Candidate(
                    texts=(answer,) * spans,
                    score=-0.1 - 0.1 * i,
                    lowest=rule.get("lowest", 0.9),
                    steps=steps,
                    stopped=rule.get("stopped", "settled"),
                    complete=rule.get("complete", True),
                )
                for i, answer in enumerate(texts)
            ),
            Timings(
                queue_ms=((job.started or job.received) - job.received) * 1000,
                layout_ms=0.0,
                prefill_ms=0.0,
                step_ms=tuple(timings),
                total_ms=sum(timings),
                prefix_tokens=len(request.prefix) // 4,
                cached_tokens=0,
            ),
        )


def main() -> int:
    arguments = cli.parser().parse_args()
    script = json.loads(Path(os.environ["DGEMMA_TEST_SCRIPT"]).read_text())
    settings = cli.settings_of(arguments)
    release = script.get("release", cli.release())
    try:
        process.serve(
            ScriptedEngine(script),
            settings,
            endpoint.runtime_directory(),
            release,
            arguments.transport,
        )
    except process.AlreadyRunning:
        return endpoint.EXIT_ALREADY_RUNNING
    return 0


if __name__ == "__main__":
    sys.exit(main())

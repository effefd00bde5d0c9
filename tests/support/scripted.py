"""A scripted engine and a runtime process around it, for tests alone.

Run as a program it takes the flags of ``dgemma-runtime`` and serves answers read from the JSON
file that ``DGEMMA_TEST_SCRIPT`` names: ``{"load_ms": 0, "rules": [{"when": "text in the prefix",
"text": "answer", "steps": 3, "step_ms": 5, "crash": false, "code": null}]}``. The first rule
whose ``when`` is in the prefix answers; without one the answer is empty. A rule with an
``instruction`` is for rewrites by that instruction, of exactly the ``original`` if it names one,
with ``instructions`` in the script any are taken; one with an ``adapter`` for requests that name
it; ``rewrites`` are what the engine offers, ``adapters`` those it can use, ``least_score`` the
score that it is to be trusted from (its first candidates have -0.1). A rule with a ``context`` is
for requests that bring such text from elsewhere, of which ``context_tokens`` are worth their room.

A ``Renoise`` is answered by the rule of its draft: ``"renoise": ["second", ["third", "other"]]``
are the whole texts of one round after another, a list where there are several candidates; after
the last round its texts come again, and without any those of the draft. Pieces are checked as the
real engine does, and otherwise not looked at. ``"tokens": "words"`` makes a token of every word
with the blanks before it instead of every character. ``"probabilities": {"answer": [0.9, 0.2]}``
are those of a text's tokens, ``"doubts"`` likewise what is told when doubts are asked for; what is
not listed is 0.9, and -2.0. ``"draft_gone": true`` in a rule keeps none of its drafts, but names
them as if it did. ``"spans": ["one", "other"]`` are the texts of a first answer with several spans.

With ``"together": 4`` in the script four jobs take their steps at once, and others join between two
steps; a round takes as long as its longest step. A rule with ``"dies": true`` ends the whole group
by an error after its first step; ``"unload_ms"`` is how long unloading takes.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from dgemma_runtime import cli, process
from dgemma_runtime.engine.asked import check_pieces
from dgemma_runtime.engine.base import Answer, Device, JobDraftSink, LoadProgress, MoreJobs, Outcome
from dgemma_runtime.job import Job
from dgemma_wire import endpoint
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError
from dgemma_wire.messages import (
    Candidate,
    Capabilities,
    Denoise,
    Draft,
    DraftToken,
    Free,
    ModelLimits,
    Renoise,
    RuntimeState,
    SpanToken,
    Timings,
    TokenState,
    Weigh,
)

LIMITS = ModelLimits(
    prefix_tokens=1024, canvas_tokens=256, span_tokens=64, max_span_tokens=96, chars_per_token=3.5
)


NO_TIME = Timings(
    queue_ms=0, layout_ms=0, prefill_ms=0, step_ms=(), total_ms=0, prefix_tokens=0, cached_tokens=0
)

Rule = dict[str, Any]


class Death(Exception):
    """Ends the engine's whole group, not only the job that raised it."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft that a peer may go on from; ``round`` counts those that led to it."""

    peer: int
    rule: Rule
    round: int
    texts: tuple[str, ...]
    prefix: str


class ScriptedEngine:
    """Answers by rule, with real steps, drafts, deadlines and cancellation."""

    model = "scripted"
    limits = LIMITS

    def __init__(self, script: dict[str, Any]) -> None:
        self.script = script
        self.capabilities = msgspec.convert(
            {
                "rewrites": script.get("rewrites", []),
                "leastScore": script.get("least_score"),
                "instructions": script.get("instructions", False),
                "contextTokens": script.get("context_tokens", 0),
                "spans": script.get("spans", 16),
                "weighs": script.get("weighs", False),
            },
            type=Capabilities,
        )
        self.loads = 0
        self.unloaded = False
        self.drafts: dict[int, Drafted] = {}
        self.handles = itertools.count(1)

    def files(self) -> dict[str, str]:
        return {}

    def fetch(self, report: Callable[[LoadProgress], None]) -> None:
        report(LoadProgress(RuntimeState.FETCHING, "nothing to fetch", 1.0))

    def load(self, report: Callable[[LoadProgress], None]) -> Device:
        self.loads += 1
        self.unloaded = False
        if message := self.script.get("load_error"):
            raise ModelError(message)
        steps = 4
        for step in range(steps):
            report(LoadProgress(RuntimeState.LOADING, "Loading the script", step / steps))
            time.sleep(self.script.get("load_ms", 0) / 1000 / steps)
        return Device("cpu", "the script runs anywhere", "float32")

    def unload(self) -> None:
        time.sleep(self.script.get("unload_ms", 0) / 1000)
        self.drafts.clear()
        self.unloaded = True

    @property
    def together(self) -> int:
        return self.script.get("together", 1)

    def denoise(self, job: Job, on_draft: Callable[[Draft], None]) -> Answer:
        ((_, outcome),) = self.denoise_together(
            [job], lambda _, draft: on_draft(draft), lambda _: ()
        )
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def denoise_together(
        self, jobs: Sequence[Job], on_draft: JobDraftSink, more: MoreJobs
    ) -> Iterator[tuple[Job, Outcome]]:
        assert len(jobs) <= self.together
        under_way: dict[Job, Generator[float, None, Answer]] = {}
        coming = jobs
        while coming or under_way:
            for job in coming:
                under_way[job] = self.work(job, partial(on_draft, job))
            longest = 0.0
            for job, steps in list(under_way.items()):
                try:
                    longest = max(longest, next(steps))
                    continue
                except Death:
                    raise
                except StopIteration as end:
                    outcome: Outcome = end.value
                except Exception as error:
                    outcome = error
                del under_way[job]
                yield job, outcome
            time.sleep(longest / 1000)
            coming = more(self.together - len(under_way))

    def work(self, job: Job, on_draft: Callable[[Draft], None]) -> Generator[float, None, Answer]:
        """Denoise one job, yielding the milliseconds of each step before it is taken."""
        if self.unloaded:
            raise DenoiseFailed(FailureCode.MODEL_UNAVAILABLE, "the script is unloaded")
        request = job.request
        if isinstance(request, Weigh):
            known = self.script.get("weights", {})
            return Answer((), NO_TIME, tuple(known.get(text, 0.0) for text in request.texts))
        if isinstance(request, Renoise):
            before = self.draft(job.peer, request)
            rule, spans, prefix = before.rule, len(before.texts), before.prefix
            rounds = rule.get("renoise") or [before.texts[0]]
            found = rounds[min(before.round, len(rounds) - 1)]
            texts = found if isinstance(found, list) else [found]
            number = before.round + 1
        else:
            if request.adapter and request.adapter not in self.script.get("adapters", []):
                raise DenoiseFailed(FailureCode.ADAPTER_UNAVAILABLE, f"no {request.adapter} here")
            rule, prefix, number = self.rule(request), request.prefix, 0
            spans = sum(isinstance(segment, Free) for segment in request.segments)
            texts = [rule.get("text", ""), *rule.get("others", [])]
            if request.causal and (code := rule.get("causal_code")):
                raise DenoiseFailed(FailureCode(code), code)
            if request.causal:
                texts = [rule.get("causal", texts[0])]
        if rule.get("crash"):
            os._exit(9)
        if rule.get("raise"):
            raise RuntimeError(prefix)
        if code := rule.get("code"):
            raise DenoiseFailed(FailureCode(code), rule.get("message", code))
        texts = texts[: request.candidates]
        text = texts[0]
        steps = rule.get("steps", 2)
        timings: list[float] = []
        for step in range(1, steps + 1):
            job.check()
            began = time.perf_counter()
            yield rule.get("step_ms", 1)
            if rule.get("dies"):
                raise Death(prefix)
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
                    texts=spread(rule, answer, spans),
                    score=-0.1 - 0.1 * i,
                    lowest=rule.get("lowest", 0.9),
                    steps=steps,
                    stopped=rule.get("stopped", "settled"),
                    complete=rule.get("complete", True),
                    draft=self.keep(
                        Drafted(job.peer, rule, number, spread(rule, answer, spans), prefix)
                    ),
                    tokens=tuple(
                        tokens_of(rule, text, doubt=request.doubt)
                        for text in spread(rule, answer, spans)
                    ),
                )
                for i, answer in enumerate(texts)
            ),
            Timings(
                queue_ms=((job.started or job.received) - job.received) * 1000,
                layout_ms=0.0,
                prefill_ms=0.0,
                step_ms=tuple(timings),
                total_ms=sum(timings),
                prefix_tokens=len(prefix) // 4,
                cached_tokens=0,
            ),
        )

    def rule(self, request: Denoise) -> Rule:
        """The first rule that fits a request."""
        asked = None if request.rewrite is None else request.rewrite.instruction
        original = "" if request.rewrite is None else request.rewrite.original
        return next(
            (
                r
                for r in self.script.get("rules", [])
                if r.get("when", "") in request.prefix
                and r.get("context", "") in "".join(request.context)
                and r.get("instruction") == asked
                and r.get("original", original) == original
                and r.get("adapter", request.adapter) == request.adapter
            ),
            {},
        )

    def keep(self, draft: Drafted) -> int:
        handle = next(self.handles)
        if not draft.rule.get("draft_gone"):
            self.drafts[handle] = draft
        return handle

    def draft(self, peer: int, request: Renoise) -> Drafted:
        """The draft that a request goes on from, its pieces checked."""
        draft = self.drafts.get(request.draft)
        if draft is None or draft.peer != peer:
            raise DenoiseFailed(FailureCode.DRAFT_GONE, f"no draft {request.draft} here")
        check_pieces(request.spans, [len(tokens_of(draft.rule, text)) for text in draft.texts])
        return draft


def spread(rule: Rule, answer: str, spans: int) -> tuple[str, ...]:
    """The texts of an answer's spans: the same everywhere unless a rule names them."""
    named = rule.get("spans", [])
    return tuple(named) if spans > 1 and len(named) == spans else (answer,) * spans


def tokens_of(rule: Rule, text: str, *, doubt: bool = False) -> tuple[SpanToken, ...]:
    """A text's tokens as a rule has them."""
    words = rule.get("tokens") == "words"
    parts: list[str] = re.findall(r"\s*\w+|\s*[^\w\s]|\s+", text) if words else list(text)
    sure = rule.get("probabilities", {}).get(text, [])
    doubts = rule.get("doubts", {}).get(text, [])
    return tuple(
        SpanToken(
            len(part),
            sure[i] if i < len(sure) else 0.9,
            (doubts[i] if i < len(doubts) else -2.0) if doubt else None,
        )
        for i, part in enumerate(parts)
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
            cli.listen_of(arguments),
        )
    except process.AlreadyRunning:
        return endpoint.EXIT_ALREADY_RUNNING
    return 0


if __name__ == "__main__":
    sys.exit(main())

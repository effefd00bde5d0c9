"""One evaluation: every system on the same rows, one after another, and what came of it.

Owns order, progress and what an interruption leaves. How answers are made, judged, summed up and
shown is known elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dgemma_runtime.models import resolve_spec
from dgemma_training.evaluation import models
from dgemma_training.evaluation.asking import (
    Answer,
    Running,
    RuntimeSystem,
    System,
    is_raw,
    private_directory,
    running,
)
from dgemma_training.evaluation.figures import Score, differences, figures_of
from dgemma_training.evaluation.items import ItemSet
from dgemma_training.evaluation.journal import Filled, Journal, Opened, Probed, Rewrote
from dgemma_training.evaluation.plan import Plan, Report, Settings, digest, make_plan, span_of
from dgemma_training.evaluation.probes import ProbeResult, ask_probes
from dgemma_training.evaluation.results import Fill, Results, SetResult, SystemInfo, machine
from dgemma_training.evaluation.rewriting import RewriteOutcome, ask_rewrite, results_of
from dgemma_wire.adapters import WEIGHTS_FILE


@dataclass(slots=True)
class Found:
    """What has been measured so far."""

    systems: list[SystemInfo] = field(default_factory=list)
    scores: dict[tuple[str, str], list[Score]] = field(default_factory=dict)
    probes: list[ProbeResult] = field(default_factory=list)
    rewrites: list[RewriteOutcome] = field(default_factory=list)
    interrupted: bool = False


def evaluate(
    sets: Sequence[ItemSet], settings: Settings, report: Report, *, journal: Path | None = None
) -> tuple[Results, list[Fill]]:
    """Ask every system for every row; an interruption ends it with what there is.

    Args:
        sets: The rows.
        settings: Systems and all else.
        report: Is told how far it is.
        journal: File of answers while they come in; the same evaluation goes on from it.

    Raises:
        EvaluationError: It cannot be made as asked.
        DgemmaError: A model or a runtime cannot be had.
    """
    plan = make_plan(sets, settings, report)
    found = Found()
    known = Journal(journal, digest(plan))
    complete = False
    try:
        asyncio.run(_measure(plan, found, known, report))
        complete = True
    except KeyboardInterrupt:
        found.interrupted = True
    finally:
        known.close(complete=complete)
    results = Results(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        release=importlib.metadata.version("dgemma"),
        machine=machine(),
        interrupted=found.interrupted,
        resumed=known.resumed,
        sandboxed=plan.sandboxed,
        seed=settings.seed,
        systems=found.systems,
        sets=[_result(each, found) for each in sets],
        probes=found.probes,
        rewrites=results_of(found.rewrites),
    )
    return results, [
        _fill(name, score) for (name, _), all_ in found.scores.items() for score in all_
    ]


async def _measure(plan: Plan, found: Found, known: Journal, report: Report) -> None:
    with private_directory() as directory:
        adapters = models.kept(plan.adapters, directory)
        entries = list(dict.fromkeys(models.combinations(plan.choices, adapters)))
        progress = _Progress(plan.rows * len(entries) - len(known.fills), report)
        for number, (choice, adapter, name) in enumerate(entries):
            async with contextlib.AsyncExitStack() as stack:
                ready, system = None, None
                if _is_asked(plan, known, name, choice):
                    report(f"{name}: loading", progress.share)
                    if choice.base:
                        system, info = _open_base(plan.settings)
                    else:
                        folder = directory / f"model{number}"
                        model = _model_of(plan.settings, choice, adapter, folder)
                        ready = await _open_runtime(plan.settings, model, directory, stack)
                        system = RuntimeSystem(name, ready.client, ready.span)
                        info = _info(name, model, ready)
                    known.add(Opened(info))
                found.systems.append(known.systems[name])
                if plan.settings.probes:
                    await _probe(plan, system, name, found, known)
                await _ask(plan, system, name, found, known, progress)
                if not choice.base:
                    await _rewrite(plan, ready, name, found, known, report)


def _is_asked(plan: Plan, known: Journal, name: str, choice: models.Choice) -> bool:
    """Whether anything is left to ask a system."""
    rows = (
        (name, each.name, item.row.id) in known.fills for each, items in plan.sets for item in items
    )
    tasks = (
        (name, number) in known.rewrites
        for number in range(1, 1 + len(plan.tasks) * (not choice.base))
    )
    probed = name in known.probes or not plan.settings.probes
    return not (name in known.systems and probed and all(rows) and all(tasks))


def _model_of(
    settings: Settings, choice: models.Choice, adapter: models.Adapter, folder: Path
) -> str:
    """Return the model of a system, made in ``folder`` where it is not the one named."""
    sampler = dict(settings.sampler)
    if choice.run_confidence is not None:
        sampler["run_confidence"] = choice.run_confidence
    if not sampler and adapter.file is None and settings.max_span is None:
        return settings.model
    return str(
        models.make_folder(
            settings.model,
            folder,
            adapter=adapter.file,
            sampler=sampler,
            max_span=settings.max_span,
        )
    )


async def _open_runtime(
    settings: Settings, model: str, directory: Path, stack: contextlib.AsyncExitStack
) -> Running:
    return await stack.enter_async_context(
        running(
            model,
            directory,
            device=settings.device,
            dtype=settings.dtype,
            threads=settings.threads,
        )
    )


def _info(name: str, model: str, ready: Running) -> SystemInfo:
    spec = resolve_spec(model)
    return SystemInfo(
        name=name,
        model=spec.name,
        adapter_sha256=models.sha256_of(spec.folder / WEIGHTS_FILE),
        sampler=msgspec.to_builtins(spec.sampler),
        device=ready.status.device,
        dtype=ready.status.dtype,
    )


def _open_base(settings: Settings) -> tuple[System, SystemInfo]:
    # Here, not above: torch takes seconds to import, and only the base needs it in this process.
    from dgemma_training.evaluation.base import load_base_system

    system = load_base_system(
        settings.model, device=settings.device, dtype=settings.dtype, threads=settings.threads
    )
    return system, SystemInfo(
        name=models.BASE,
        model=f"the base of {resolve_spec(settings.model).name}",
        adapter_sha256="",
        sampler={},
        device=system.device,
        dtype=system.dtype,
    )


async def _probe(
    plan: Plan, system: System | None, name: str, found: Found, known: Journal
) -> None:
    if name not in known.probes:
        assert system is not None
        results = await ask_probes(system, span_of(plan.settings.model))
        known.add(Probed(name, results))
    found.probes += known.probes[name]


async def _ask(
    plan: Plan,
    system: System | None,
    name: str,
    found: Found,
    known: Journal,
    progress: _Progress,
) -> None:
    for each, items in plan.sets:
        for item in items:
            answers: Mapping[str, Answer] | None = known.fills.get((name, each.name, item.row.id))
            asked = answers is None
            if answers is None:
                assert system is not None
                answers = await system.answer(item)
                known.add(Filled(name, each.name, item.row.id, dict(answers)))
            for reading, answer in answers.items():
                score = Score(reading, item, answer, plan.judge.judge(item, answer.text))
                found.scores.setdefault((each.name, reading), []).append(score)
            if asked:
                progress.done(f"{name} on {each.name}")


async def _rewrite(
    plan: Plan, ready: Running | None, name: str, found: Found, known: Journal, report: Report
) -> None:
    for number, task in enumerate(plan.tasks, 1):
        if (name, number) not in known.rewrites:
            assert ready is not None
            made = await ask_rewrite(name, ready.client, task, number)
            known.add(Rewrote(name, number, made.done, made.shown, made.declined))
            report(f"{name} on rewrites, {number} of {len(plan.tasks)}", number / len(plan.tasks))
        was = known.rewrites[name, number]
        found.rewrites.append(RewriteOutcome(name, task, was.done, was.shown, was.declined))


class _Progress:
    """Counts rows and guesses the time left."""

    def __init__(self, total: int, report: Report) -> None:
        self._total = total
        self._report = report
        self._began = time.monotonic()
        self._done = 0

    @property
    def share(self) -> float:
        """What is done, 0 to 1."""
        return self._done / self._total if self._total else 0.0

    def done(self, doing: str) -> None:
        """One row more."""
        self._done += 1
        left = (time.monotonic() - self._began) * (self._total / self._done - 1)
        minutes, seconds = divmod(round(left), 60)
        text = f"{doing}, {self._done} of {self._total}, {minutes}:{seconds:02d} left"
        self._report(text, self.share)


def _result(each: ItemSet, found: Found) -> SetResult:
    mine = {system: scores for (name, system), scores in found.scores.items() if name == each.name}
    return SetResult(
        name=each.name,
        source=each.source,
        sha256=each.sha256,
        rows=len(each.items),
        fitting=sum(item.fits for item in each.items),
        systems={system: figures_of(scores) for system, scores in mine.items()},
        differences=[
            difference
            for first, second in _compared(list(mine))
            for difference in differences(mine[first], mine[second])
        ],
    )


def _compared(systems: Sequence[str]) -> list[tuple[str, str]]:
    """Return which systems are compared: all with the first, and with what is to be beaten."""
    pairs = [(systems[0], other) for other in systems[1:]]
    if models.BASE_CUT in systems:
        pairs += [
            (system, models.BASE_CUT)
            for system in systems[1:]
            if not is_raw(system) and not system.startswith(models.BASE)
        ]
    return pairs


def _fill(name: str, score: Score) -> Fill:
    answer: Answer = score.answer
    return Fill(
        set=name,
        system=score.system,
        row=score.item.row.id,
        fill=answer.text,
        exact=score.judgement.exact,
        similarity=round(score.judgement.similarity, 4),
        parses=score.judgement.parses,
        passed=score.judgement.passed,
        shown=answer.shown,
        fits=score.item.fits,
        forwards=answer.forwards,
        tokens=answer.tokens,
        problem=answer.problem,
    )

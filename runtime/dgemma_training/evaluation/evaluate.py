"""One evaluation: every system on the same rows, one after another, and what came of it.

Owns order, progress and what an interruption leaves. How answers are made, judged, summed up and
shown is known elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dgemma_runtime.models import resolve_spec
from dgemma_runtime.text import load_codec
from dgemma_training.documents import Split
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
from dgemma_training.evaluation.items import (
    EvaluationError,
    Item,
    ItemSet,
    Span,
    shuffled,
)
from dgemma_training.evaluation.judging import Judge
from dgemma_training.evaluation.probes import ProbeResult, ask_probes
from dgemma_training.evaluation.results import Fill, Results, SetResult, SystemInfo, machine
from dgemma_training.evaluation.rewriting import (
    RewriteOutcome,
    Task,
    ask_rewrites,
    find_tasks,
    results_of,
)
from dgemma_training.evaluation.sandbox import Sandbox

Report = Callable[[str, float | None], None]
"""Is told a line of progress and the share that is done."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is compared, and on what.

    Attributes:
        systems: ``product``, ``left_to_right``, ``parallel:THRESHOLD`` or ``base``; all others are
            compared with the first one.
        model: As the setting ``model`` names it.
        adapters: ``FILE``, ``NAME=FILE`` or ``shipped``: in place of the model's own.
        sampler: Fields of ``model.json``'s sampler to replace, in all systems but the base.
        max_span: Slots of the longest span, for rewrites by models that do not say.
        probes: Ask the twenty probes too.
        rewrites: Rewrites of each kind at most; 0 for none.
        rewrite_corpus: Where rewrites are made from.
        rewrite_split: Which part of it.
        device: As the runtime's setting, as are the following two.
        dtype: Number format.
        threads: CPU threads; 0 for one per core.
        seed: Decides the order of rows and the rewrites.
    """

    systems: Sequence[str] = ("product", "base")
    model: str = "embedded"
    adapters: Sequence[str] = ()
    sampler: Mapping[str, object] = field(default_factory=dict)
    max_span: int | None = None
    probes: bool = False
    rewrites: int = 0
    rewrite_corpus: Path | None = None
    rewrite_split: Split = Split.VALIDATION
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    seed: int = 0


@dataclass(slots=True)
class Found:
    """What has been measured so far."""

    systems: list[SystemInfo] = field(default_factory=list)
    scores: dict[tuple[str, str], list[Score]] = field(default_factory=dict)
    probes: list[ProbeResult] = field(default_factory=list)
    rewrites: list[RewriteOutcome] = field(default_factory=list)
    interrupted: bool = False


def span_of(model: str) -> Span:
    """Return what one span of a model holds.

    Raises:
        ModelError: There is no such model.
    """
    spec = resolve_spec(model)
    return Span(load_codec(spec.folder / "tokenizer.json"), spec.layout.span_tokens)


def evaluate(
    sets: Sequence[ItemSet], settings: Settings, report: Report
) -> tuple[Results, list[Fill]]:
    """Ask every system for every row; an interruption ends it with what there is.

    Raises:
        EvaluationError: It cannot be made as asked.
        DgemmaError: A model or a runtime cannot be had.
    """
    plan = _plan(sets, settings, report)
    found = Found()
    try:
        asyncio.run(_measure(plan, found, report))
    except KeyboardInterrupt:
        found.interrupted = True
    results = Results(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        release=importlib.metadata.version("dgemma"),
        machine=machine(),
        interrupted=found.interrupted,
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


@dataclass(frozen=True, slots=True)
class _Plan:
    """An evaluation that has been looked through for mistakes."""

    settings: Settings
    sets: Sequence[tuple[ItemSet, list[Item]]]
    choices: Sequence[models.Choice]
    adapters: Sequence[models.Adapter]
    tasks: Sequence[Task]
    judge: Judge

    @property
    def sandboxed(self) -> str:
        """How programs were kept apart."""
        box = self.judge.sandbox
        if box is None:
            return "nothing was run"
        return "limits, own network and processes" if box.isolated else "limits only"

    @property
    def rows(self) -> int:
        """Rows of all sets."""
        return sum(len(items) for _, items in self.sets)


def _plan(sets: Sequence[ItemSet], settings: Settings, report: Report) -> _Plan:
    choices = [models.choice_named(text) for text in dict.fromkeys(settings.systems)]
    adapters = models.adapters_named(settings.adapters)
    names = [each.name for each in sets]
    if len(set(names)) < len(names):
        raise EvaluationError(f"Two sets of rows are called alike ({', '.join(names)}).")
    tasks: Sequence[Task] = ()
    if settings.rewrites:
        if settings.rewrite_corpus is None:
            raise EvaluationError("Rewrites are made from a corpus: give --corpus.")
        report("Making rewrites.", None)
        tasks = find_tasks(
            settings.rewrite_corpus, settings.rewrite_split, settings.rewrites, settings.seed
        )
    if not sets and not tasks and not settings.probes:
        raise EvaluationError("Nothing to measure: give --rows, --corpus, --probes or --rewrites.")
    tested = any(item.test is not None for each in sets for item in each.items)
    return _Plan(
        settings,
        [(each, shuffled(each.items, settings.seed)) for each in sets],
        choices,
        adapters,
        tasks,
        Judge(Sandbox() if tested else None),
    )


async def _measure(plan: _Plan, found: Found, report: Report) -> None:
    with private_directory() as directory:
        adapters = models.kept(plan.adapters, directory)
        entries = list(dict.fromkeys(models.combinations(plan.choices, adapters)))
        progress = _Progress(plan.rows * len(entries), report)
        for number, (choice, adapter, name) in enumerate(entries):
            report(f"{name}: loading", progress.share)
            async with contextlib.AsyncExitStack() as stack:
                if choice.base:
                    ready = None
                    system, info = _open_base(plan.settings)
                else:
                    folder = directory / f"model{number}"
                    model = _model_of(plan.settings, choice, adapter, folder)
                    ready = await _open_runtime(plan.settings, model, directory, stack)
                    system = RuntimeSystem(name, ready.client, ready.span)
                    info = _info(name, model, ready)
                found.systems.append(info)
                if plan.settings.probes:
                    found.probes += await ask_probes(system, span_of(plan.settings.model))
                await _ask(plan, system, name, found, progress)
                if ready is not None and plan.tasks:
                    await ask_rewrites(name, ready.client, plan.tasks, found.rewrites, report)


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
        adapter_sha256=models.sha256_of(spec.folder / models.ADAPTER_FILE),
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


async def _ask(plan: _Plan, system: System, name: str, found: Found, progress: _Progress) -> None:
    for each, items in plan.sets:
        for item in items:
            answers = await system.answer(item)
            for reading, answer in answers.items():
                score = Score(reading, item, answer, plan.judge.judge(item, answer.text))
                found.scores.setdefault((each.name, reading), []).append(score)
            progress.done(f"{name} on {each.name}")


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

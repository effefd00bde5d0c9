"""What is to be measured: settings, looked through for mistakes before anything is started.

Owns what makes two evaluations the same one. Asks nobody.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dgemma_runtime.models import resolve_spec
from dgemma_runtime.text import load_codec
from dgemma_training.documents import Split
from dgemma_training.evaluation import models
from dgemma_training.evaluation.items import EvaluationError, Item, ItemSet, Span, shuffled
from dgemma_training.evaluation.judging import Judge
from dgemma_training.evaluation.probes import PROBES
from dgemma_training.evaluation.rewriting import Task, find_tasks
from dgemma_training.evaluation.sandbox import Sandbox
from dgemma_wire.adapters import WEIGHTS_FILE

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
        rewrite_kinds: Names of the only kinds; ``None`` for all.
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
    rewrite_kinds: Sequence[str] | None = None
    rewrite_corpus: Path | None = None
    rewrite_split: Split = Split.VALIDATION
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    seed: int = 0


def span_of(model: str) -> Span:
    """Return what one span of a model holds.

    Raises:
        ModelError: There is no such model.
    """
    spec = resolve_spec(model)
    return Span(load_codec(spec.folder / "tokenizer.json"), spec.layout.span_tokens)


@dataclass(frozen=True, slots=True)
class Plan:
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


def make_plan(sets: Sequence[ItemSet], settings: Settings, report: Report) -> Plan:
    """Look an evaluation through for mistakes, and find the rewrites it asks for.

    Raises:
        EvaluationError: It cannot be made as asked.
    """
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
            settings.rewrite_corpus,
            settings.rewrite_split,
            settings.rewrites,
            settings.seed,
            settings.rewrite_kinds,
        )
    if not sets and not tasks and not settings.probes:
        raise EvaluationError("Nothing to measure: give --rows, --corpus, --probes or --rewrites.")
    tested = any(item.test is not None for each in sets for item in each.items)
    return Plan(
        settings,
        [(each, shuffled(each.items, settings.seed)) for each in sets],
        choices,
        adapters,
        tasks,
        Judge(Sandbox() if tested else None),
    )


def digest(plan: Plan) -> str:
    """Return what tells this evaluation from every other one."""
    folder = resolve_spec(plan.settings.model).folder
    adapters = [each.file for each in plan.adapters if each.file is not None]
    files = [folder / "model.json", folder / WEIGHTS_FILE, *adapters]
    asked = {
        "release": importlib.metadata.version("dgemma"),
        "settings": dataclasses.asdict(plan.settings),
        "files": [models.sha256_of(path) for path in files],
        "sets": [(each.name, each.sha256, len(items)) for each, items in plan.sets],
        "probes": [(probe.prefix, probe.expected, probe.suffix) for probe in PROBES],
        "rewrites": [
            (task.document.package, task.document.path, task.rewrite.kind, task.rewrite.start)
            for task in plan.tasks
        ],
    }
    return hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()

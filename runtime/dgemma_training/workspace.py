"""``dgemma train --on PATH``: a canvas adapter for one folder's code, kept if it fills better.

Owns the split into learned and held-out files, the comparison, and the adapter's place on disk.
Everything stays on this machine, in files of the user's alone.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dgemma_runtime.engine.shelf import AdapterCard
from dgemma_runtime.models.base import ModelSpec
from dgemma_training import session
from dgemma_training.batches import Batch, BatchMaker
from dgemma_training.documents import Document, Split
from dgemma_training.evaluation.evaluate import evaluate
from dgemma_training.evaluation.figures import FITTING
from dgemma_training.evaluation.items import ItemSet, Span
from dgemma_training.evaluation.plan import Settings, span_of
from dgemma_training.evaluation.results import Results
from dgemma_training.folders import FolderError, read_folder
from dgemma_training.recipe import (
    PROFILES,
    Base,
    batch_maker,
    new_lora,
    shapes,
    validation_batches,
)
from dgemma_training.rows import cut_rows
from dgemma_training.spans import Mix
from dgemma_training.trainer import RunSettings, train
from dgemma_wire.adapters import (
    CARD_FILE,
    WEIGHTS_FILE,
    adapter_folder,
    adapter_id,
    make_adapter_folder,
)

Report = Callable[[str, float | None], None]

_HELD_SHARE = 0.15
_MIN_FILES = 4
_BEFORE, _AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """The numbers of a fine-tuning.

    Attributes:
        minutes: Of training.
        rows: Held-out spans that are compared on.
        keep: "better", "always" or "never".
        seed: Decides every draw.
        threads: CPU threads; ``None`` for all.
        model: As the setting ``model`` names it.
        rate: Learning rate, lower than from scratch: little data, and much to lose.
        steps: Optimizer steps at most.
    """

    minutes: float = 10.0
    rows: int = 60
    keep: str = "better"
    seed: int = 0
    threads: int | None = None
    model: str = "embedded"
    rate: float = 3e-4
    steps: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Compared:
    """How often held-out spans were filled exactly, before and after, and how alike the rest."""

    rows: int
    exact: tuple[float, float]
    similarity: tuple[float, float]

    @property
    def better(self) -> bool:
        """Whether the adapter fills at least as well; likeness decides when exact fills tie."""
        return (self.exact[1], self.similarity[1]) >= (self.exact[0], self.similarity[0])


def split_files(documents: Sequence[Document], seed: int) -> list[Document]:
    """Mark some files as held out, at least one, and never more than are left to learn from.

    Raises:
        FolderError: There are too few files to hold any out.
    """
    if len(documents) < _MIN_FILES:
        raise FolderError(
            f"There are {len(documents)} usable source files; {_MIN_FILES} are needed, since "
            "some are held out to see whether the result is any better."
        )
    held = max(1, round(len(documents) * _HELD_SHARE))
    chosen = set(random.Random(seed).sample(range(len(documents)), held))  # noqa: S311
    return [
        msgspec.structs.replace(document, split=Split.TEST if i in chosen else Split.TRAIN)
        for i, document in enumerate(documents)
    ]


def tune(root: Path, settings: TuneSettings, report: Report, home: Path | None = None) -> str:
    """Fine-tune on a folder's code; returns the report in words.

    ``home`` is the directory of adapters unless it is the user's.

    Raises:
        FolderError: The folder does not hold enough code.
        DgemmaError: The model cannot be had, or training failed.
    """
    root = root.expanduser().resolve()
    report(f"Reading {root}", None)
    documents = split_files(read_folder(root), settings.seed)
    learned = [d for d in documents if d.split is Split.TRAIN]
    held = [d for d in documents if d.split is Split.TEST]
    rows = _held_rows(held, settings, span_of(settings.model))

    base = session.open_base(
        settings.model, "auto", "auto", settings.threads, lambda text: report(text, None)
    )
    shipped = base.spec.folder / WEIGHTS_FILE
    lora = new_lora(base, _rank(shipped), settings.seed, shipped)
    weights = shapes(PROFILES["tiny"], long=0.1, rewrites=0.0)
    languages = {document.language: 1.0 for document in learned}
    scratch = Path(tempfile.mkdtemp(prefix="dgemma-tune-"))
    try:
        batches = batch_maker(base, learned, weights, seed=settings.seed, languages=languages)
        run = RunSettings(
            rank=lora.rank,
            learning_rate=settings.rate,
            warmup=10,
            distill=0.2,
            seed=settings.seed,
            minutes=settings.minutes,
            steps=settings.steps,
        )
        state = train(
            scratch,
            base.trunk,
            lora,
            base.special,
            batches,
            _checks(held, batches, base, settings.seed),
            run,
            lambda text: report(text, None),
        )
        del base, lora, batches  # the comparison's runtime needs the memory
        compared = _compare(rows, scratch / WEIGHTS_FILE, settings, report)
        kept = settings.keep == "always" or (settings.keep == "better" and compared.better)
        if kept:
            _install(root, scratch / WEIGHTS_FILE, settings.model, home)
    except ValueError as error:
        raise FolderError(f"{root} is not enough to learn from: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return _words(root, len(learned), len(held), state.step, compared, kept, home)


def remove(root: Path, home: Path | None = None) -> str:
    """Delete a folder's adapter; returns what was done in words."""
    folder = adapter_folder(adapter_id(root), home)
    if not folder.exists():
        return f"{root} has no adapter."
    shutil.rmtree(folder)
    return f"The adapter of {root} is deleted ({folder})."


def _rank(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as stored:
        return stored.get_slice("layers.0.qkv.lora_a").get_shape()[0]


def _held_rows(held: Sequence[Document], settings: TuneSettings, span: Span) -> ItemSet:
    rows = cut_rows(
        held,
        seed=settings.seed,
        count=settings.rows,
        mix=Mix.HEADLINE,
        fits=span.fits,
        max_per_file=settings.rows,
        max_package_share=1.0,
    )
    if not rows:
        raise FolderError("The held-out files have no line of code that could be asked for.")
    return ItemSet("held out", "held-out files", "", tuple(span.item(row) for row in rows))


def _checks(held: Sequence[Document], batches: BatchMaker, base: Base, seed: int) -> list[Batch]:
    fills = {shape: 1.0 for shape in batches.shapes if shape.name == "fill"}
    languages = {document.language: 1.0 for document in held}
    try:
        maker = batch_maker(base, held, fills, seed=seed, languages=languages)
        return validation_batches(maker, 2)
    except ValueError:
        return []  # short files give rows to compare on, but no window of a batch


def _compare(rows: ItemSet, made: Path, settings: TuneSettings, report: Report) -> Compared:
    results, _ = evaluate(
        [rows],
        Settings(
            systems=("product",),
            model=settings.model,
            adapters=(f"{_BEFORE}=shipped", f"{_AFTER}={made}"),
            threads=settings.threads or 0,
            seed=settings.seed,
        ),
        report,
    )
    if results.interrupted:
        raise KeyboardInterrupt
    return _read(results)


def _read(results: Results) -> Compared:
    systems = results.sets[0].systems
    before, after = (systems[f"product@{name}"].groups[FITTING] for name in (_BEFORE, _AFTER))

    def pair(rate: str) -> tuple[float, float]:
        one, other = getattr(before, rate), getattr(after, rate)
        return (one.value if one else 0.0, other.value if other else 0.0)

    return Compared(before.rows, pair("exact"), pair("similarity"))


def _install(root: Path, made: Path, model: str, home: Path | None) -> None:
    """Put weights and card into place, the weights last: without them there is no adapter."""
    from dgemma_runtime.models import resolve_spec

    spec: ModelSpec = resolve_spec(model)
    folder = make_adapter_folder(adapter_id(root), home)
    card = AdapterCard(
        base_sha256=spec.base_sha256,
        name=root.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        parent=spec.name,
    )
    _write(folder / CARD_FILE, msgspec.json.format(msgspec.json.encode(card)))
    _write(folder / WEIGHTS_FILE, made.read_bytes())


def _write(path: Path, data: bytes) -> None:
    scratch = path.with_name(f"{path.name}.part")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    scratch.replace(path)


def _words(
    root: Path,
    learned: int,
    held: int,
    steps: int,
    compared: Compared,
    kept: bool,
    home: Path | None,
) -> str:
    exact, alike = compared.exact, compared.similarity
    lines = [
        f"{root}: learned from {learned} files in {steps} steps, {held} held out.",
        f"On {compared.rows} held-out spans, exact fills went from {exact[0]:.0%} to "
        f"{exact[1]:.0%}, similarity from {alike[0]:.2f} to {alike[1]:.2f}.",
    ]
    if kept:
        lines.append(
            f"Kept in {adapter_folder(adapter_id(root), home)}; the language server uses it in "
            "this workspace (setting `dgemma.adapter`). `dgemma train --on PATH --remove` undoes "
            "that."
        )
    else:
        lines.append("Not kept, so nothing has changed; more code or more minutes may help.")
    return "\n".join(lines)

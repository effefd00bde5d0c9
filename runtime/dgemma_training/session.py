"""One training run from its files: base, corpus and start in, a run folder out; and its export.

Owns where things come from. The loop is ``trainer``'s, the sizes are ``recipe``'s.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dgemma_runtime.engine import device as devices
from dgemma_runtime.engine.files import locate_weights
from dgemma_runtime.models import resolve_spec
from dgemma_runtime.models.base import ModelSpec
from dgemma_training.checkpoint import RunState
from dgemma_training.documents import Split, read_documents
from dgemma_training.noise import StateMix
from dgemma_training.recipe import (
    PROFILES,
    Base,
    batch_maker,
    load_base,
    new_lora,
    shapes,
    validation_batches,
)
from dgemma_training.trainer import (
    RunSettings,
    TrainingError,
    read_parameters,
    train,
    write_adapter,
)
from dgemma_wire.adapters import WEIGHTS_FILE

Report = Callable[[str], None]
_VALIDATION_SEED = 99
_FEWEST_ASKED = 4
"""Times a rewrite must have been asked for before its success says anything."""


@dataclass(frozen=True, slots=True)
class Session:
    """Where a run's pieces come from.

    Attributes:
        corpus: Folder of a corpus.
        model: Whose base is trained on, as the setting ``model`` names it.
        start: "none", "shipped" or the path of an adapter file.
        profile: Key of ``PROFILES``.
        device: As the runtime's setting.
        dtype: As the runtime's setting.
        threads: CPU threads; ``None`` for all cores.
        long: Share of batches with long spans.
        rewrites: Share of batches with rewrites.
        languages: Only these; ``None`` for all.
        rewrite_kinds: Names of the only kinds of rewrite; ``None`` for all.
        validations: Batches of a validation.
    """

    corpus: Path
    model: str = "embedded"
    start: str = "none"
    profile: str = "cpu"
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    long: float = 0.08
    rewrites: float = 0.10
    languages: Sequence[str] | None = None
    rewrite_kinds: Sequence[str] | None = None
    validations: int = 6


def open_base(model: str, device: str, dtype: str, threads: int | None, report: Report) -> Base:
    """Load the base of a model, fetching it first when it is missing.

    Raises:
        ModelError: It cannot be had.
    """
    spec = resolve_spec(model)
    place, number, _ = devices.choose_device(device, dtype)
    devices.set_threads(threads or 0)
    path = locate_weights(spec, lambda progress: report(progress.message), offline=False)
    return load_base(spec, path, place, number)


def start_file(spec: ModelSpec, start: str) -> Path | None:
    """Return the adapter a run begins with.

    Raises:
        TrainingError: There is no such file.
    """
    if start == "none":
        return None
    path = spec.folder / WEIGHTS_FILE if start == "shipped" else Path(start).expanduser()
    if not path.is_file():
        raise TrainingError(f"There is no adapter {path} to start from.")
    return path


def run(folder: Path, session: Session, settings: RunSettings, report: Report) -> RunState:
    """Train, or go on training, the run of ``folder``.

    Raises:
        TrainingError: Something does not fit; the text says what.
        ModelError: The base cannot be had.
    """
    base = open_base(session.model, session.device, session.dtype, session.threads, report)
    lora = new_lora(base, settings.rank, settings.seed, start_file(base.spec, session.start))
    report("Reading the corpus.")
    try:
        documents = list(read_documents(session.corpus, languages=session.languages))
    except FileNotFoundError as error:
        raise TrainingError(
            f"{session.corpus} holds no corpus: make one with `dgemma train collect`."
        ) from error
    weights = shapes(PROFILES[session.profile], long=session.long, rewrites=session.rewrites)
    fills = {shape: 1.0 for shape in weights if shape.name == "fill"}
    learned = [document for document in documents if document.split is Split.TRAIN]
    held = [document for document in documents if document.split is Split.VALIDATION]
    try:
        batches = batch_maker(
            base,
            learned,
            weights,
            seed=settings.seed,
            # Without second passes drafts are never learned well enough to be fed back.
            states=StateMix() if settings.second_share > 0 else StateMix(mend=0.0),
            rewrite_kinds=session.rewrite_kinds,
        )
        checks = batch_maker(base, held, fills, seed=_VALIDATION_SEED) if held else None
        validation = [] if checks is None else validation_batches(checks, session.validations)
        workers = PROFILES[session.profile].workers
        return train(
            folder,
            base.trunk,
            lora,
            base.special,
            batches,
            validation,
            settings,
            report,
            workers=workers,
        )
    except ValueError as error:
        raise TrainingError(f"{session.corpus} is not enough to train on: {error}") from error


def offers_of(results: Path, least: float) -> list[dict[str, object]]:
    """Return the kinds of rewrite that an evaluation found to succeed in a share of at least.

    Raises:
        TrainingError: The file holds no results of an evaluation with rewrites.
    """
    from dgemma_training.evaluation.results import Results

    try:
        found = msgspec.json.decode(results.read_bytes(), type=Results).rewrites
    except (OSError, msgspec.MsgspecError) as error:
        raise TrainingError(f"{results} holds no results of `dgemma eval`: {error}") from error
    offers = [
        {
            "kind": each.kind,
            "instruction": each.instruction,
            "languages": each.languages,
            "success": round(each.success.value, 2),
        }
        for each in found
        if each.success is not None and each.asked >= _FEWEST_ASKED and each.success.value >= least
    ]
    return sorted(offers, key=lambda offer: (-float(str(offer["success"])), str(offer["kind"])))


def export(
    run_folder: Path,
    to: Path,
    model: str,
    name: str | None,
    numbers: str,
    offers: list[dict[str, object]] | None = None,
) -> Path:
    """Make a model folder of a run's parameters; returns it.

    Args:
        run_folder: The run.
        to: Made when missing; an adapter in it is replaced.
        model: Whose ``model.json`` and tokenizer go with the adapter.
        name: The model's name; ``None`` keeps it.
        numbers: "int8" or "bfloat16".
        offers: Kinds of rewrite it is to offer; ``None`` keeps what the model offers.

    Raises:
        TrainingError: The run has no checkpoint.
    """
    spec = resolve_spec(model)
    tensors, state = read_parameters(run_folder)
    to.mkdir(parents=True, exist_ok=True)
    if to.resolve() != spec.folder.resolve():
        shutil.copyfile(spec.folder / "tokenizer.json", to / "tokenizer.json")
    card = json.loads((spec.folder / "model.json").read_text(encoding="utf-8"))
    card["name"] = name or card["name"]
    rewriter = card.get("rewrite_adapter", "")
    if offers is not None:
        # They were measured with the run's own adapter.
        card["rewrites"] = offers
        card.pop("rewrite_adapter", None)
    elif rewriter and to.resolve() != spec.folder.resolve():
        shutil.copyfile(spec.folder / rewriter, to / rewriter)
    (to / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    write_adapter(to / WEIGHTS_FILE, tensors, state, numbers)
    return to

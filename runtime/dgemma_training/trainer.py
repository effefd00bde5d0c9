"""The training loop: steps, schedule, validation, checkpoints, log, and a line of progress.

Knows nothing of how a batch is made or a loss computed. A run is a folder; starting it again goes
on where it stopped.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import torch

from dgemma_runtime.models.canvas_weights import DRAFT_ROW, Trunk
from dgemma_runtime.models.causal_canvas import Special
from dgemma_training.adapter import (
    CanvasLora,
    balance,
    file_tensors,
    quantise,
    save_adapter,
)
from dgemma_training.batches import Batch, BatchMaker
from dgemma_training.checkpoint import (
    RunState,
    load_checkpoint,
    load_parameters,
    read_state,
    save_checkpoint,
)
from dgemma_training.step import StepResult, run_step
from dgemma_wire.adapters import WEIGHTS_FILE
from dgemma_wire.errors import DgemmaError

LOG_FILE = "log.jsonl"
_CHECKPOINT = "checkpoint"
_MEAN_STEPS = 50  # the loss shown is a mean over about so many steps


class TrainingError(DgemmaError):
    """A run cannot start or go on; the text says what to do."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The numbers of a run; it ends at ``steps`` or after ``minutes``, whichever comes first.

    Attributes:
        rank: Of the low-rank factors.
        learning_rate: Its height after the warm-up.
        warmup: Steps until it is reached.
        decay_from: Share of the run after which it falls in a line to 2 % of its height.
        distill: Share of the causal model's distribution in the targets at the start; falls in a
            line to nothing at the end.
        second_share: Share of the canvases that get a second pass.
        clip: Largest norm of a gradient.
        seed: Decides every draw.
        steps: Optimizer steps at most.
        minutes: Minutes of training at most.
        checkpoint_minutes: Between two checkpoints.
        validate_minutes: Between two validations.
    """

    rank: int = 48
    learning_rate: float = 8e-4
    warmup: int = 40
    decay_from: float = 0.4
    distill: float = 0.5
    second_share: float = 1.0
    clip: float = 1.0
    seed: int = 0
    steps: int = 1_000_000
    minutes: float = 1_000_000.0
    checkpoint_minutes: float = 3.0
    validate_minutes: float = 6.0


Report = Callable[[str], None]


def train(
    folder: Path,
    trunk: Trunk,
    lora: CanvasLora,
    special: Special,
    batches: BatchMaker,
    validation: list[Batch],
    settings: RunSettings,
    report: Report,
    *,
    workers: int = 1,
) -> RunState:
    """Train ``lora`` in place until the settings' end; resumes the run of ``folder``.

    Leaves ``adapter.safetensors`` (int8), ``log.jsonl`` and the checkpoint in ``folder``. An
    interrupt saves a checkpoint before it goes on its way.

    Raises:
        TrainingError: The folder holds a run with other settings, or the loss is no number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(
        lora.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    state = _begin(folder, lora, optimizer, settings)
    mean = _Mean()
    saved = validated = state.seconds
    began, already = time.monotonic(), state.seconds
    with (
        (folder / LOG_FILE).open("a", encoding="utf-8") as log,
        _Ahead(batches, state.step, workers) as coming,
    ):

        def check(rate: float) -> None:
            """Validate and log it; without batches there is nothing to say."""
            if validation:
                found = validate(trunk, lora, special, validation)
                _log(log, "validation", state, "", found, rate)

        try:
            while not _is_over(state, settings):
                batch = next(coming)
                rate = schedule(state.step, _share_done(state, settings), settings)
                result = _learn(trunk, lora, special, optimizer, batch, state, settings, rate)
                state.step += 1
                state.canvases += len(batch.examples)
                state.seconds = already + time.monotonic() - began
                _log(log, "step", state, batch.shape.name, result, rate)
                report(_progress(state, settings, mean.add(result.mean)))
                if state.seconds - validated >= settings.validate_minutes * 60:
                    validated = state.seconds
                    check(rate)
                if state.seconds - saved >= settings.checkpoint_minutes * 60:
                    saved = state.seconds
                    _save(folder, lora, optimizer, state)
            check(0.0)
        finally:
            _save(folder, lora, optimizer, state)
    return state


def _learn(
    trunk: Trunk,
    lora: CanvasLora,
    special: Special,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    state: RunState,
    settings: RunSettings,
    rate: float,
) -> StepResult:
    """Do one optimizer step at ``rate``.

    Raises:
        TrainingError: The loss is no number; the parameters are as they were before.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    result = run_step(
        trunk,
        lora,
        batch,
        special,
        random.Random(f"{settings.seed}/{state.step}/second"),  # noqa: S311 - not a secret
        distill=settings.distill * (1 - _share_done(state, settings)),
        second_share=settings.second_share,
        learn=True,
    )
    if not math.isfinite(result.mean):
        raise TrainingError(f"The loss of step {state.step} is {result.mean}: lower --rate.")
    torch.nn.utils.clip_grad_norm_(lora.parameters(), settings.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return result


@dataclass(slots=True)
class _Mean:
    """The loss that is shown: a mean of the last steps of this process, the newest most."""

    value: float = 0.0
    steps: int = 0

    def add(self, loss: float) -> float:
        """Take in a step's loss; returns the mean."""
        # Steps of an earlier process do not count: their losses are not known any more.
        self.steps += 1
        self.value += (loss - self.value) / min(self.steps, _MEAN_STEPS)
        return self.value


def schedule(step: int, share: float, settings: RunSettings) -> float:
    """Return the learning rate of a step when ``share`` of the run is done."""
    warm = min(1.0, (step + 1) / settings.warmup)
    if share <= settings.decay_from:
        return settings.learning_rate * warm
    left = (1 - share) / (1 - settings.decay_from)
    return settings.learning_rate * warm * max(0.02, left)


@torch.no_grad()
def validate(trunk: Trunk, lora: CanvasLora, special: Special, batches: list[Batch]) -> StepResult:
    """Return the losses on fixed batches, in fixed states."""
    total = StepResult()
    for i, batch in enumerate(batches):
        rng = random.Random(f"validation/{i}")  # noqa: S311 - not a secret
        total.add(
            run_step(trunk, lora, batch, special, rng, distill=0.0, second_share=1.0, learn=False)
        )
    return total


def read_parameters(folder: Path) -> tuple[dict[str, torch.Tensor], RunState]:
    """Return what a run has learned, under the names of the adapter file, and where it stands.

    Raises:
        TrainingError: The folder holds no run.
    """
    state = read_state(folder / _CHECKPOINT)
    if state is None:
        raise TrainingError(f"{folder} holds no checkpoint of a run.")
    return file_tensors(load_parameters(folder / _CHECKPOINT)), state


class _Ahead:
    """Makes batches ahead in threads; they arrive in order."""

    def __init__(self, batches: BatchMaker, step: int, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers)
        self._make = batches.make
        self._next = step
        self._waiting: list[Future[Batch]] = []
        self._room = workers + 1

    def __enter__(self) -> Iterator[Batch]:
        return self._run()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> Iterator[Batch]:
        while True:
            while len(self._waiting) < self._room:
                self._waiting.append(self._pool.submit(self._make, self._next))
                self._next += 1
            yield self._waiting.pop(0).result()


def _begin(
    folder: Path, lora: CanvasLora, optimizer: torch.optim.Optimizer, settings: RunSettings
) -> RunState:
    found = read_state(folder / _CHECKPOINT)
    if found is None:
        return RunState(0, 0.0, 0, asdict(settings))
    kept = ("rank", "seed")
    differing = [name for name in kept if found.settings.get(name) != getattr(settings, name)]
    if differing:
        raise TrainingError(
            f"{folder} holds a run with another {' and '.join(differing)}: "
            "give the same, or another folder."
        )
    state = load_checkpoint(folder / _CHECKPOINT, lora, optimizer)
    state.settings = asdict(settings)
    return state


def write_adapter(
    path: Path, tensors: dict[str, torch.Tensor], state: RunState, numbers: str = "int8"
) -> None:
    """Write what a run has learned as an adapter file.

    Args:
        path: The file; replaced in one go.
        tensors: Under the names of the file, in float32.
        state: Where the run stands. Without a second pass it never learned from drafts, and the
            row that adds them is left out: the runtime feeds drafts back where it finds one.
        numbers: "int8" or "bfloat16".
    """
    if state.settings.get("second_share") == 0:
        tensors = {name: tensor for name, tensor in tensors.items() if name != DRAFT_ROW}
    if numbers == "int8":
        stored = quantise(balance(tensors))
    else:
        stored = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
    metadata = {"steps": str(state.step), "minutes": f"{state.seconds / 60:.1f}"}
    save_adapter(path, stored, metadata)


def _is_over(state: RunState, settings: RunSettings) -> bool:
    return state.step >= settings.steps or state.seconds >= settings.minutes * 60


def _share_done(state: RunState, settings: RunSettings) -> float:
    return min(1.0, max(state.step / settings.steps, state.seconds / (settings.minutes * 60)))


def _save(
    folder: Path, lora: CanvasLora, optimizer: torch.optim.Optimizer, state: RunState
) -> None:
    save_checkpoint(folder / _CHECKPOINT, lora, optimizer, state)
    write_adapter(folder / WEIGHTS_FILE, lora.tensors(), state)


def _log(
    log: TextIO, what: str, state: RunState, shape: str, result: StepResult, rate: float
) -> None:
    entry = {
        "what": what,
        "step": state.step,
        "seconds": round(state.seconds, 1),
        "canvases": state.canvases,
        "shape": shape,
        "loss": round(result.mean, 4),
        "second": round(result.second_mean, 4),
        "right": result.right,
        "asked": result.asked,
        "rate": round(rate, 7),
    }
    log.write(json.dumps(entry) + "\n")
    log.flush()


def _progress(state: RunState, settings: RunSettings, loss: float) -> str:
    share = _share_done(state, settings)
    left = state.seconds * (1 - share) / share if share > 0 else 0.0
    return (
        f"step {state.step}  loss {loss:.3f}  {state.canvases} canvases  "
        f"{state.canvases / max(state.seconds, 1e-9):.1f}/s  "
        f"{state.seconds / 60:.1f} min done, {left / 60:.0f} min left"
    )

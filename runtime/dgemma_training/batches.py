"""Batches by number: step N of a seed is always the same batch, whatever ran before it.

So a run resumes where it stopped, and workers may make batches ahead in any order. Owns the
choice of shape, language and document. Knows nothing of the model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dgemma_training.canvases import CanvasCutter, Example, Shape, Window
from dgemma_training.documents import Document
from dgemma_training.noise import Noised, StateMix, noise

_TRIES = 200


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's windows and canvases; tensors on the CPU.

    Attributes:
        shape: Its sizes.
        ids: (windows, tokens), padded at the right.
        examples: Canvases, window after window.
        states: The state each is in at the first pass.
    """

    shape: Shape
    ids: Tensor
    examples: tuple[Example, ...]
    states: tuple[Noised, ...]


@dataclass(frozen=True, slots=True)
class BatchMaker:
    """Makes batches.

    Attributes:
        documents: By language.
        languages: Weight of each language.
        shapes: Weight of each shape.
        cutter: Lays out canvases.
        states: Shares of the canvas states.
        fill: The fill token.
        seed: Of the run.
    """

    documents: Mapping[str, Sequence[Document]]
    languages: Mapping[str, float]
    shapes: Mapping[Shape, float]
    cutter: CanvasCutter
    states: StateMix
    fill: int
    seed: int
    _choices: tuple[list[str], list[float]] = field(init=False)

    def __post_init__(self) -> None:
        present = [name for name in self.languages if self.documents.get(name)]
        if not present:
            raise ValueError("There is no document in any of the languages asked for.")
        weights = [self.languages[name] for name in present]
        object.__setattr__(self, "_choices", (present, weights))

    def make(self, step: int) -> Batch:
        """Return the batch of ``step``.

        Raises:
            ValueError: The documents yield no canvas of the step's shape.
        """
        rng = random.Random(f"{self.seed}/{step}")  # noqa: S311 - not a secret
        shape = rng.choices(list(self.shapes), list(self.shapes.values()))[0]
        windows = [self._window(shape, rng) for _ in range(shape.windows)]
        examples = tuple(example for window in windows for example in window.examples)
        states = tuple(noise(e, shape, self.states, self.fill, rng) for e in examples)
        ids = torch.zeros(shape.windows, max(len(w.ids) for w in windows), dtype=torch.long)
        for row, window in enumerate(windows):
            ids[row, : len(window.ids)] = torch.tensor(window.ids)
        return Batch(shape, ids, examples, states)

    def _window(self, shape: Shape, rng: random.Random) -> Window:
        names, weights = self._choices
        for _ in range(_TRIES):
            document = rng.choice(self.documents[rng.choices(names, weights)[0]])
            window = (
                self.cutter.rewrite_window(document, shape, rng)
                if shape.rewrite
                else self.cutter.fill_window(document, shape, rng)
            )
            if window is not None:
                return window
        raise ValueError(f"{_TRIES} documents in a row gave no canvas of the shape {shape.name}.")


@dataclass(frozen=True, slots=True)
class CanvasInput:
    """Canvases in one state, as tensors.

    Attributes:
        ids: (canvases, length) the truth, with padding 0 behind the last row.
        undecided: (canvases, length) true at slots that hold the mask.
        start: (canvases,) position of the first row.
        rows: (canvases,) rows that are not padding.
        places: (targets,) flat index of the row that predicts each target.
        tokens: (targets,) the truth.
        weights: (targets,)
        teacher: (targets,) flat index into the window pass of the row that predicts the same
            token causally; -1 where there is none.
        hidden_places: (undecided slots,) flat index of the row that predicts each of them.
        draft: (undecided slots,) token that each carries; -1 for none.
    """

    ids: Tensor
    undecided: Tensor
    start: Tensor
    rows: Tensor
    places: Tensor
    tokens: Tensor
    weights: Tensor
    teacher: Tensor
    hidden_places: Tensor
    draft: Tensor


def lay_out(batch: Batch, states: Sequence[Noised | None], fill: int) -> CanvasInput:
    """Write the canvases of a batch in the given states; those in no state ask for nothing."""
    shape = batch.shape
    count, length, tokens = len(batch.examples), shape.length, batch.ids.shape[1]
    ids = torch.zeros(count, length, dtype=torch.long)
    undecided = torch.zeros(count, length, dtype=torch.bool)
    start, rows = torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.long)
    places, truth, weights, teacher, hidden, draft = [], [], [], [], [], []
    for i, (example, state) in enumerate(zip(batch.examples, states, strict=True)):
        padding = [fill] * (shape.slots - len(example.middle))
        row = [*example.head, *example.middle, *padding, *example.tail]
        ids[i, : len(row)] = torch.tensor(row)
        start[i], rows[i] = example.start, len(row)
        if state is None:
            continue
        first = i * length + len(example.head)
        undecided.view(-1)[[first + slot for slot in state.undecided]] = True
        hidden += [first + slot - 1 for slot in state.undecided]
        draft += [-1 if state.draft is None else state.draft[slot] for slot in state.undecided]
        # The window's row that predicts slot s stands where the canvas's row before slot s does.
        causal = i // shape.canvases * tokens + example.start + len(example.head) - 1
        for target in state.targets:
            places.append(first + target.slot - 1)
            truth.append(target.token)
            weights.append(target.weight)
            teacher.append(causal + target.slot if target.slot < example.aligned else -1)
    return CanvasInput(
        ids,
        undecided,
        start,
        rows,
        torch.tensor(places, dtype=torch.long),
        torch.tensor(truth, dtype=torch.long),
        torch.tensor(weights),
        torch.tensor(teacher, dtype=torch.long),
        torch.tensor(hidden, dtype=torch.long),
        torch.tensor(draft, dtype=torch.long),
    )

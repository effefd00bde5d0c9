"""The states a canvas is trained in: which slots are undecided, and what draft they carry.

They are the states the denoise loop passes through: everything undecided, a run from the left
decided, scattered positions decided (several holes, pinned tokens, repair), and a draft to mend.
Works on token ids; knows nothing of tensors or models.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from dgemma_training.canvases import Example, Shape


@dataclass(frozen=True, slots=True)
class StateMix:
    """Shares of the states, adding up to one; what is left of one goes to ``full``."""

    left_to_right: float = 0.47
    scattered: float = 0.15
    mend: float = 0.10


@dataclass(frozen=True, slots=True)
class Target:
    """One prediction that is asked of a canvas.

    Attributes:
        slot: Slot of the canvas, counted from the span's start.
        token: The truth.
        weight: Its share in the loss.
    """

    slot: int
    token: int
    weight: float


@dataclass(frozen=True, slots=True)
class Noised:
    """A canvas in one state.

    Attributes:
        undecided: Slots that hold the mask.
        draft: A token per slot for the undecided ones to carry; ``None`` before the first step.
        targets: What is asked, at undecided slots.
    """

    undecided: tuple[int, ...]
    draft: tuple[int, ...] | None
    targets: tuple[Target, ...]


_FAR = 0.35  # least weight of a slot far behind the last decided one
_DECAY = 0.85  # per undecided slot between
_EXTRA_FILL = 0.5  # weight of a fill that does not decide where the span ends
_EXTRA_FILL_SHARE = 0.12  # and the share of those that are asked at all


def noise(example: Example, shape: Shape, mix: StateMix, fill: int, rng: random.Random) -> Noised:
    """Put one canvas into a random state."""
    content = len(example.middle)
    draw = rng.random()
    slots = range(shape.slots)
    if draw < mix.left_to_right:
        # The end itself is decided once a fill; ask for it more often than once per length.
        known = content if rng.random() < 0.12 else rng.randrange(content + 1)
        return _asked(example, list(slots[known:]), None, fill, rng)
    draw -= mix.left_to_right
    if draw < mix.scattered:
        share = rng.uniform(0.3, 1.0)
        undecided = [slot for slot in slots if rng.random() < share] or [0]
        return _asked(example, undecided, None, fill, rng)
    draw -= mix.scattered
    if draw < mix.mend:
        draft = corrupt(example.middle, rng)
        padded = [*draft, *[fill] * shape.slots][: shape.slots]
        known = _common(draft, example.middle) if rng.random() < 0.5 else 0
        return _asked(example, list(slots[known:]), padded, fill, rng)
    return _asked(example, list(slots), None, fill, rng)


def advance(
    example: Example, before: Noised, predicted: Sequence[int], fill: int, rng: random.Random
) -> Noised | None:
    """Return the state after one denoise step that accepted what was right.

    The leftmost undecided slot is decided by the truth, and so is the run of right predictions
    behind it, cut at random since a run is also cut where confidence ends. The other undecided
    slots stay so, and carry what was predicted.

    Args:
        example: The canvas.
        before: Its state.
        predicted: The likeliest token of every undecided slot, in order.
        fill: The fill token.
        rng: Draws the cut.

    Returns:
        ``None`` when nothing is left undecided but the padding behind the end.
    """
    content = len(example.middle)
    run = 0
    for slot, token in zip(before.undecided, predicted, strict=True):
        if slot != before.undecided[0] + run or token != _truth(example, slot, fill):
            break
        run += 1
    keep = 1 if run <= 1 else rng.randrange(1, run + 1)
    if before.undecided[0] + keep > content:
        return None
    draft = [fill] * (max(before.undecided) + 1)
    for slot, token in zip(before.undecided, predicted, strict=True):
        draft[slot] = token
    left = list(before.undecided[keep:])
    return _asked(example, left, draft, fill, rng)


def corrupt(tokens: Sequence[int], rng: random.Random) -> list[int]:
    """Return a draft with one or two faults of the kinds drafts have.

    A token taken from elsewhere in the span or changed for its neighbour, one lost, one said
    twice, the end cut off, or the span run over by its own tokens.
    """
    draft = list(tokens)
    for _ in range(rng.choice((1, 1, 2))):
        if not draft:
            break
        at = rng.randrange(len(draft))
        fault = rng.randrange(5)
        if fault == 0:
            draft[at] = rng.choice(draft)
        elif fault == 1:
            del draft[at]
        elif fault == 2:
            draft.insert(at, draft[at])
        elif fault == 3:
            del draft[max(1, at) :]
        else:
            draft.extend(draft[at : at + rng.randrange(1, 5)])
    return draft


def _asked(
    example: Example,
    undecided: list[int],
    draft: Sequence[int] | None,
    fill: int,
    rng: random.Random,
) -> Noised:
    """Weigh the undecided slots: near a decided one most, extra fills least."""
    content = len(example.middle)
    targets = []
    hidden = set(undecided)
    distance = 0
    for slot in undecided:
        distance = distance + 1 if slot - 1 in hidden else 0
        near = max(_FAR, _DECAY**distance)
        if slot <= content:
            targets.append(Target(slot, _truth(example, slot, fill), near))
        elif rng.random() < _EXTRA_FILL_SHARE:
            targets.append(Target(slot, fill, _EXTRA_FILL * near))
    carried = None if draft is None else tuple(draft)
    return Noised(tuple(undecided), carried, tuple(targets))


def _truth(example: Example, slot: int, fill: int) -> int:
    return example.middle[slot] if slot < len(example.middle) else fill


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many first tokens two sequences share."""
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return min(len(one), len(other))

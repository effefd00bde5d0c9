"""The states a canvas is trained in."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_training.canvases import Example, Shape
from dgemma_training.noise import Noised, StateMix, Target, advance, corrupt, noise

FILL = 16
SHAPE = Shape("fill", 1, 1, 64, 8, 20)

middles = st.lists(st.integers(20, 99), max_size=7).map(tuple)
seeds = st.integers(0, 10**6)


def example(middle: tuple[int, ...]) -> Example:
    return Example(5, (40,), middle, (50, 51), 0)


@given(middles, seeds)
def test_only_undecided_slots_are_asked_for_and_only_the_truth(
    middle: tuple[int, ...], seed: int
) -> None:
    state = noise(example(middle), SHAPE, StateMix(), FILL, random.Random(seed))
    truth = [*middle, *[FILL] * SHAPE.slots]
    assert state.undecided
    assert list(state.undecided) == sorted(set(state.undecided))
    assert all(0 <= slot < SHAPE.slots for slot in state.undecided)
    for target in state.targets:
        assert target.slot in state.undecided
        assert target.token == truth[target.slot]
        assert 0 < target.weight <= 1


@given(middles, seeds)
def test_the_end_of_the_span_is_asked_wherever_it_is_undecided(
    middle: tuple[int, ...], seed: int
) -> None:
    state = noise(example(middle), SHAPE, StateMix(), FILL, random.Random(seed))
    asked = {target.slot for target in state.targets}
    assert {slot for slot in state.undecided if slot <= len(middle)} <= asked


def test_slots_behind_a_decided_one_count_most() -> None:
    state = noise(
        example((30, 31, 32)),
        SHAPE,
        StateMix(left_to_right=0, scattered=0, mend=0),
        FILL,
        random.Random(0),
    )
    weights = [target.weight for target in state.targets if target.slot <= 3]
    assert weights[0] == 1.0
    assert weights == sorted(weights, reverse=True)


def test_every_state_occurs_with_about_its_share() -> None:
    rng = random.Random(1)
    mix = StateMix(left_to_right=0.4, scattered=0.2, mend=0.1)
    shape = Shape("fill", 1, 1, 64, 24, 54)
    counts: Counter[str] = Counter()
    for _ in range(2000):
        state = noise(example((30, 31, 32, 33)), shape, mix, FILL, rng)
        first = state.undecided[0]
        if state.draft is not None:
            counts["mend"] += 1
        elif state.undecided != tuple(range(first, shape.slots)):
            counts["scattered"] += 1
        else:
            counts["left_to_right" if first else "full"] += 1
    # A decided run of no token, one in five of the lengths drawn, is everything undecided.
    none = 0.4 * 0.88 / 5
    expected = {"left_to_right": 0.4 - none, "scattered": 0.2, "mend": 0.1, "full": 0.3 + none}
    for name, share in expected.items():
        assert counts[name] / 2000 == pytest.approx(share, abs=0.04), name


def full(middle: tuple[int, ...]) -> Noised:
    slots = tuple(range(SHAPE.slots))
    return Noised(slots, None, tuple(Target(s, FILL, 1.0) for s in slots))


def test_a_step_later_the_right_run_may_be_decided_and_the_rest_is_a_draft() -> None:
    middle = (30, 31, 32, 33)
    predicted = [30, 31, 99, 33, FILL, FILL, FILL, FILL]
    seen = set()
    for seed in range(40):
        after = advance(example(middle), full(middle), predicted, FILL, random.Random(seed))
        assert after is not None
        first = after.undecided[0]
        seen.add(first)
        assert after.undecided == tuple(range(first, SHAPE.slots))
        assert after.draft is not None
        assert [after.draft[slot] for slot in after.undecided] == predicted[first:]
    assert seen == {1, 2}


def test_a_wrong_first_token_is_set_right_so_that_the_next_state_is_one_of_the_truth() -> None:
    after = advance(example((30, 31)), full((30, 31)), [99] * 8, FILL, random.Random(0))
    assert after is not None
    assert after.undecided[0] == 1


def test_nothing_follows_once_the_end_is_decided() -> None:
    assert advance(example(()), full(()), [FILL] * 8, FILL, random.Random(0)) is None


@given(st.lists(st.integers(20, 99), min_size=2, max_size=12), seeds)
def test_faults_are_made_of_the_spans_own_tokens(tokens: list[int], seed: int) -> None:
    draft = corrupt(tokens, random.Random(seed))
    assert set(draft) <= set(tokens)
    assert len(draft) <= len(tokens) + 8


def test_faults_are_of_every_kind() -> None:
    tokens = list(range(20, 32))
    drafts = [corrupt(tokens, random.Random(seed)) for seed in range(300)]
    assert any(len(draft) < 10 for draft in drafts)
    assert any(len(draft) > 12 for draft in drafts)
    assert any(len(draft) == 12 and draft != tokens for draft in drafts)

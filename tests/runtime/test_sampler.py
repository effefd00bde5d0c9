from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from scripted_adapter import Prefix, TableAdapter  # noqa: E402

from dgemma_runtime.canvas import (  # noqa: E402
    NO_TOKEN,
    ClampedIds,
    FreeSlots,
    Layout,
    PartSpan,
    lay_out,
    read_span,
)
from dgemma_runtime.engine import loop, sampler, stopping  # noqa: E402
from dgemma_runtime.engine.state import Lines, Problem, State  # noqa: E402
from dgemma_runtime.models.base import (  # noqa: E402
    Acceptance,
    Noise,
    NoiseKind,
    SamplerConfig,
)

pytestmark = pytest.mark.torch

VOCAB = 40
END, MASK = 1, 0
LAYOUT = Layout(head_rows=0, span_tokens=4, tail_tokens=8, canvas_tokens=64)


def random_logits(seed: int, sharpness: float = 3.0) -> TableAdapter:
    """Logits depend on the canvas, so that what stands elsewhere matters, as in a model."""
    table = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(seed)) * sharpness

    def logits(canvas: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        made = table[canvas[rows - 1]] + table[canvas.sum() % VOCAB]
        made[:, MASK] = -torch.inf
        return made

    return TableAdapter(logits)


free = st.integers(1, 5).map(FreeSlots)
clamped = st.lists(st.integers(2, VOCAB - 1), min_size=1, max_size=5).map(
    lambda ids: ClampedIds(tuple(ids))
)
part_spans = st.lists(st.one_of(free, clamped), max_size=3).map(
    lambda pieces: PartSpan((*pieces, FreeSlots(2)))
)
segments = st.lists(st.one_of(free, clamped, part_spans), min_size=1, max_size=5).filter(
    lambda parts: any(not isinstance(part, ClampedIds) for part in parts)
)

configs = st.builds(
    SamplerConfig,
    acceptance=st.sampled_from(Acceptance),
    max_steps=st.just(8),
    t_min=st.just(0.4),
    t_max=st.sampled_from([0.4, 0.8]),
    entropy_bound=st.floats(0.01, 5.0),
    run_confidence=st.floats(0.0, 1.0),
    stable_steps=st.integers(0, 2),
    settled_entropy=st.floats(0.001, 5.0),
)


def run(
    parts: list[ClampedIds | FreeSlots | PartSpan],
    kind: NoiseKind,
    config: SamplerConfig,
    sample: bool,
    seed: int,
) -> tuple[Problem, list[State], TableAdapter]:
    adapter = random_logits(seed % 7)
    _, canvas = lay_out([], [ClampedIds((2,)), *parts], LAYOUT)
    problem = loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=64,
        sample=sample,
        end_ids=(END,),
        needed=lambda span, earlier, ids: None,
    )
    noise = Noise(kind, VOCAB, MASK)
    generator = torch.Generator().manual_seed(seed)
    states = [loop.begin(problem, noise, generator)]
    while not states[-1].settled and states[-1].steps < problem.max_steps:
        states.append(loop.step(adapter, Prefix(), problem, states[-1], noise, config, generator))
    return problem, states, adapter


@settings(max_examples=60, deadline=None)
@given(segments, st.sampled_from(NoiseKind), configs, st.booleans(), st.integers(0, 2**31))
def test_clamped_positions_never_change(
    parts: list[ClampedIds | FreeSlots | PartSpan],
    kind: NoiseKind,
    config: SamplerConfig,
    sample: bool,
    seed: int,
) -> None:
    problem, states, adapter = run(parts, kind, config, sample, seed)
    clamped = ~problem.free
    for canvas in (
        *adapter.canvases,
        *(state.tokens for state in states),
        *(state.best for state in states),
    ):
        assert torch.equal(canvas[clamped], problem.known[clamped])


@settings(max_examples=30, deadline=None)
@given(segments, st.sampled_from(NoiseKind), configs, st.booleans(), st.integers(0, 2**31))
def test_the_same_seed_gives_the_same_states(
    parts: list[ClampedIds | FreeSlots | PartSpan],
    kind: NoiseKind,
    config: SamplerConfig,
    sample: bool,
    seed: int,
) -> None:
    _, first, _ = run(parts, kind, config, sample, seed)
    torch.manual_seed(seed + 1)
    torch.randn(3)
    _, second, _ = run(parts, kind, config, sample, seed)
    assert len(first) == len(second)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(first, second, strict=True))
    assert torch.equal(first[-1].log_probability, second[-1].log_probability)


@settings(max_examples=30, deadline=None)
@given(segments, configs, st.booleans(), st.integers(0, 2**31))
def test_with_a_mask_token_decided_positions_stay_and_every_step_decides(
    parts: list[ClampedIds | FreeSlots | PartSpan], config: SamplerConfig, sample: bool, seed: int
) -> None:
    problem, states, _ = run(parts, NoiseKind.MASK, config, sample, seed)
    for before, after in pairwise(states):
        # Nothing takes a decided token back but the end of its span, decided left of it.
        ended = torch.isin(after.tokens, torch.tensor(problem.end_ids))
        kept = before.decided & ~ended
        assert torch.equal(before.tokens[kept], after.tokens[kept])
        assert after.decided.sum() > before.decided.sum()
    assert states[-1].settled
    assert (states[-1].best[problem.free] != MASK).all()
    assert torch.equal(states[-1].best, states[-1].tokens)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.0, 5.0), min_size=1, max_size=20),
    st.floats(0.001, 5.0),
)
def test_the_entropy_bound_is_kept(values: list[float], bound: float) -> None:
    entropy = torch.tensor(values)
    accepted = sampler.accept_entropy_bound(entropy, bound)
    taken = entropy[accepted].double()
    assert accepted[entropy.argmin()] or (entropy[accepted] == entropy.min()).any()
    assert taken.sum() - taken.max() <= bound + 1e-4
    left = entropy[~accepted]
    if len(left):
        assert left.min() >= taken.max()
        assert taken.sum() > bound - 1e-4


def test_the_leading_run_ends_at_doubt_and_at_its_span() -> None:
    probability = torch.tensor([0.1, 0.95, 0.99, 0.5, 0.99])
    one = torch.zeros(5, dtype=torch.long)
    assert sampler.accept_leading_run(probability, one, 0.9).tolist() == [1, 1, 1, 0, 0]
    two = torch.tensor([0, 0, 1, 1, 1])
    assert sampler.accept_leading_run(probability, two, 0.9).tolist() == [1, 1, 0, 0, 0]


def test_entropy_is_that_of_the_distribution_also_with_banned_tokens() -> None:
    logits = torch.randn(5, 30)
    logits[:, :4] = -torch.inf
    expected = torch.distributions.Categorical(logits=logits).entropy()
    assert torch.equal(sampler.entropies(logits), expected)


def test_temperature_falls_to_its_least_value() -> None:
    assert sampler.temperature_at(8, 8, 0.4, 0.8).item() == pytest.approx(0.8)
    assert sampler.temperature_at(1, 8, 0.4, 0.8).item() == pytest.approx(0.45)


def test_an_end_token_closes_its_span_and_no_other() -> None:
    """The table always predicts 5 after 2, END after 5, 7 after anything else."""
    follow = {2: 5, 5: END}

    def logits(canvas: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        made = torch.zeros(len(rows), VOCAB)
        for i, row in enumerate(rows.tolist()):
            made[i, follow.get(int(canvas[row - 1]), 7)] = 20.0
        return made

    _, canvas = lay_out(
        [], [ClampedIds((2,)), FreeSlots(4), ClampedIds((9,)), FreeSlots(2)], LAYOUT
    )
    problem = loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=9,
        sample=False,
        end_ids=(END,),
        needed=lambda span, earlier, ids: None,
    )
    noise = Noise(NoiseKind.MASK, VOCAB, MASK)
    config = SamplerConfig(acceptance=Acceptance.LEADING_RUN, max_steps=None, run_confidence=2.0)
    generator = torch.Generator()
    state = loop.begin(problem, noise, generator)
    adapter = TableAdapter(logits)
    while not state.settled:
        state = loop.step(adapter, Prefix(), problem, state, noise, config, generator)
    assert state.tokens.tolist() == [2, 5, END, END, END, 9, 7, 7]
    assert state.steps == 4


def test_a_span_closes_once_its_lines_are_there() -> None:
    adapter = random_logits(1)
    _, canvas = lay_out([], [ClampedIds((2,)), FreeSlots(10)], LAYOUT)
    problem = loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=10,
        sample=False,
        end_ids=(END,),
        needed=lambda span, earlier, ids: 3 if len(ids) >= 3 else None,
    )
    noise = Noise(NoiseKind.MASK, VOCAB, MASK)
    config = SamplerConfig(acceptance=Acceptance.LEADING_RUN, max_steps=None, run_confidence=2.0)
    state = loop.begin(problem, noise, torch.Generator())
    while not state.settled:
        state = loop.step(adapter, Prefix(), problem, state, noise, config, torch.Generator())
    assert state.steps <= 3
    assert (state.tokens[4:] == END).all()


NEWLINE = 9


def line_ends(span: int, earlier: Sequence[int], ids: Sequence[int]) -> int | None:
    """Two newlines at most, those of earlier pieces counted in, as the engine counts them."""
    left = max(1, 2 - list(earlier).count(NEWLINE))
    at = [i + 1 for i, token in enumerate(ids) if token == NEWLINE]
    return at[left - 1] if len(at) >= left else None


@pytest.mark.parametrize(
    ("follow", "filled"),
    [
        ({2: 5, 5: END}, [2, 5, END, END, 3, 7, 7, 4]),  # an end token, and no end
        ({2: NEWLINE, NEWLINE: NEWLINE}, [2, NEWLINE, NEWLINE, END, 3, 7, 7, 4]),
        # A newline in each: the second one uses them up.
        ({2: 7, 7: NEWLINE, NEWLINE: 8, 3: NEWLINE}, [2, 7, NEWLINE, 8, 3, NEWLINE, END, 4]),
    ],
)
def test_a_free_piece_closes_and_what_follows_it_stays(
    follow: dict[int, int], filled: list[int]
) -> None:
    def logits(canvas: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        made = torch.zeros(len(rows), VOCAB)
        for i, row in enumerate(rows.tolist()):
            made[i, follow.get(int(canvas[row - 1]), 7)] = 20.0
        return made

    span = PartSpan((FreeSlots(3), ClampedIds((3,)), FreeSlots(2), ClampedIds((4,))))
    _, canvas = lay_out([], [ClampedIds((2,)), span], LAYOUT)
    problem = loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=9,
        sample=False,
        end_ids=(END,),
        needed=line_ends,
    )
    noise = Noise(NoiseKind.MASK, VOCAB, MASK)
    config = SamplerConfig(acceptance=Acceptance.LEADING_RUN, max_steps=None, run_confidence=2.0)
    state = loop.begin(problem, noise, torch.Generator())
    adapter = TableAdapter(logits)
    while not state.settled:
        state = loop.step(adapter, Prefix(), problem, state, noise, config, torch.Generator())
    assert state.tokens.tolist() == filled
    assert not loop.reading_rows(problem, state.best)[[0, 4, 7]].any()  # clamped


@given(
    tokens=st.lists(st.sampled_from([END, NEWLINE, 7, 8]), min_size=13, max_size=13),
    most=st.none() | st.integers(1, 3),
)
def test_a_device_finds_the_rows_that_are_read(tokens: list[int], most: int | None) -> None:
    def needed(span: int, earlier: Sequence[int], ids: Sequence[int]) -> int | None:
        if most is None:
            return None
        left = max(1, most - list(earlier).count(NEWLINE))
        at = [i + 1 for i, token in enumerate(ids) if token == NEWLINE]
        return at[left - 1] if len(at) >= left else None

    span = PartSpan((FreeSlots(3), ClampedIds((3,)), FreeSlots(2), ClampedIds((4,))))
    _, canvas = lay_out([], [ClampedIds((2,)), span, ClampedIds((6,)), FreeSlots(4)], LAYOUT)
    breaks = torch.zeros(VOCAB, dtype=torch.long)
    breaks[NEWLINE] = 1
    problem = loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=9,
        sample=False,
        end_ids=(END,),
        needed=needed,
        lines=Lines(breaks, (most, most)),
    )
    ids = [a if b == NO_TOKEN else b for a, b in zip(tokens, canvas.ids, strict=True)]
    wanted = set()
    for number in range(2):
        found = read_span(canvas, number, ids, (END,), needed)
        wanted |= {place for part in found.parts for place in range(*part)} | set(found.ends)
    read = loop.reading_rows(problem, torch.tensor(ids))
    assert set(read.nonzero().flatten().tolist()) == {i for i in wanted if canvas.free[i]}


def test_confidence_is_the_mean_of_the_rows_that_count() -> None:
    entropy = torch.tensor([1.0, 0.1, 9.0])
    assert stopping.is_confident(entropy, torch.tensor([True, True, False]), 0.56)
    assert not stopping.is_confident(entropy, torch.tensor([True, True, False]), 0.54)
    assert not stopping.is_confident(entropy, torch.tensor([False, False, False]), 0.56)


def test_stability_needs_as_many_equal_steps_as_asked() -> None:
    rows = torch.tensor([True, False])
    a, b = torch.tensor([1, 2]), torch.tensor([1, 3])
    assert not stopping.is_stable((), a, rows, 1)
    assert stopping.is_stable((b,), a, rows, 1)
    assert not stopping.is_stable((torch.tensor([2, 2]), b), a, rows, 2)
    assert stopping.is_stable((), a, rows, 0)
    assert stopping.remember((a,), b, 1) == (b,)
    assert stopping.remember((), b, 0) == ()

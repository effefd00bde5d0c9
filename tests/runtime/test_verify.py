"""Accepting what canvas pass and causal pass agree on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from tiny_canvas import DIMS, tiny_base, tiny_canvas  # noqa: E402

from dgemma_runtime.canvas import ClampedIds, FreeSlots, Layout, lay_out  # noqa: E402
from dgemma_runtime.engine import loop  # noqa: E402
from dgemma_runtime.engine.state import Problem, State  # noqa: E402
from dgemma_runtime.engine.verify import verify  # noqa: E402
from dgemma_runtime.models.base import (  # noqa: E402
    Acceptance,
    Noise,
    NoiseKind,
    ReadsCausally,
    SamplerConfig,
)

pytestmark = pytest.mark.torch

VOCAB, END, MASK, SUFFIX = 40, 16, 7, 30
NOISE = Noise(NoiseKind.MASK, VOCAB, MASK)
CONFIG = SamplerConfig(
    Acceptance.LEADING_RUN, None, verify_run=0.6, verify_weight=1.0, verify_tokens=4
)


class Scripted:
    """A model whose two passes say what they are told to."""

    def __init__(self, canvas: dict[int, int], causal: dict[tuple[int, ...], int], sure: float):
        self.canvas, self.causal, self.sure = canvas, causal, sure
        self.asked: list[list[int]] = []

    def denoise(self, canvas, prefix, rows, feedback):
        logits = torch.zeros(len(rows), VOCAB)
        for i, row in enumerate(rows.tolist()):
            logits[i, self.canvas[row]] = self.sure
        return logits

    def causal_logits(self, ids: Sequence[int], prefix: object, count: int):
        self.asked.append(list(ids))
        logits = torch.zeros(count, VOCAB)
        for i in range(count):
            seen = tuple(ids[: len(ids) - count + 1 + i])
            if seen in self.causal:
                logits[i, self.causal[seen]] = 9.0
        return logits


def problem(segments, *, sample: bool = False) -> Problem:
    layout = Layout(head_rows=1, span_tokens=4, tail_tokens=8, canvas_tokens=64)
    _, canvas = lay_out((20, 21), segments, layout)
    return loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=4,
        sample=sample,
        end_ids=(END,),
        needed=lambda span, earlier, ids: None,
    )


def ask(model: Scripted, segments, config: SamplerConfig = CONFIG):
    posed = problem(segments)
    generator = torch.Generator().manual_seed(0)
    state = loop.begin(posed, NOISE, generator)
    rows = (posed.free & ~state.decided).nonzero().squeeze(-1)
    logits = model.denoise(state.tokens, None, rows, None)
    return verify(model, None, posed, state, rows, logits, config, generator)  # type: ignore[arg-type]


ONE = (FreeSlots(), ClampedIds((SUFFIX, 31)))


def test_a_run_that_both_passes_agree_on_is_accepted_whole() -> None:
    model = Scripted(
        {1: 24, 2: 25, 3: 26, 4: 27},
        {(21,): 24, (21, 24): 25, (21, 24, 25): 26, (21, 24, 25, 26): 27},
        sure=3.0,
    )
    seen = ask(model, ONE)
    assert seen.chosen.tolist() == [24, 25, 26, 27]
    assert seen.accepted.tolist() == [True] * 4
    assert model.asked == [[21, 24, 25, 26]]


def test_behind_a_token_that_is_changed_nothing_is_accepted() -> None:
    model = Scripted(
        {1: 24, 2: 25, 3: 26, 4: 27}, {(21,): 24, (21, 24): 28, (21, 24, 25): 26}, sure=3.0
    )
    seen = ask(model, ONE)
    assert seen.chosen.tolist()[:2] == [24, 28]
    assert seen.accepted.tolist() == [True, True, False, False]


def test_the_first_token_is_accepted_however_unsure() -> None:
    seen = ask(Scripted({1: 24, 2: 25, 3: 26, 4: 27}, {}, sure=0.1), ONE)
    assert seen.accepted.tolist() == [True, False, False, False]


def test_the_causal_pass_gives_the_end_what_it_gives_the_suffix() -> None:
    """It expects the suffix behind the first token, so the span ends there."""
    model = Scripted({1: 24, 2: END, 3: END, 4: END}, {(21,): 24, (21, 24): SUFFIX}, sure=1.0)
    seen = ask(model, ONE)
    assert seen.chosen.tolist() == [24, END]
    other = Scripted({1: 24, 2: END, 3: END, 4: END}, {(21,): 24, (21, 24): 28}, sure=1.0)
    assert ask(other, ONE).chosen.tolist() == [24, 28]


def test_without_a_suffix_the_end_is_the_canvas_passs_own_choice() -> None:
    model = Scripted({1: 24, 2: END, 3: END, 4: END}, {(21,): 24, (21, 24): 28}, sure=1.0)
    assert ask(model, (FreeSlots(),)).chosen.tolist() == [24, END]


def test_a_later_span_is_read_behind_the_text_before_it_without_padding() -> None:
    posed = problem((FreeSlots(), ClampedIds((33,)), FreeSlots(), ClampedIds((SUFFIX,))))
    model = Scripted({6: 24, 7: 25, 8: 26, 9: 27}, {}, sure=3.0)
    generator = torch.Generator()
    state = loop.begin(posed, NOISE, generator)
    tokens, decided = state.tokens.clone(), state.decided.clone()
    tokens[1:5] = torch.tensor([22, END, END, END])
    decided[1:5] = True
    state = State(tokens, decided, state.accepted, tokens, state.log_probability)
    rows = torch.tensor([6, 7, 8, 9])
    verify(
        model, None, posed, state, rows, model.denoise(None, None, rows, None), CONFIG, generator
    )  # type: ignore[arg-type]
    assert model.asked == [[21, 22, 33, 24, 25, 26]]


def test_a_pinned_token_inside_a_span_ends_the_draft() -> None:
    posed = problem(ONE)
    model = Scripted({1: 24, 3: 26, 4: 27}, {}, sure=3.0)
    generator = torch.Generator()
    state = loop.begin(posed, NOISE, generator)
    rows = torch.tensor([1, 3, 4])
    seen = verify(
        model, None, posed, state, rows, model.denoise(None, None, rows, None), CONFIG, generator
    )  # type: ignore[arg-type]
    assert len(seen.chosen) == 1


def test_a_span_is_filled_to_its_end_by_the_loop() -> None:
    model = Scripted(
        {1: 24, 2: 25, 3: END, 4: END},
        {(21,): 24, (21, 24): 25, (21, 24, 25): SUFFIX},
        sure=3.0,
    )
    posed = problem(ONE)
    generator = torch.Generator().manual_seed(0)
    state = loop.begin(posed, NOISE, generator)
    state = loop.step(model, None, posed, state, NOISE, CONFIG, generator)  # type: ignore[arg-type]
    assert state.settled
    assert state.tokens[1:5].tolist() == [24, 25, END, END]
    assert state.steps == 1


def test_drawn_candidates_differ_and_repeat_with_their_seed() -> None:
    model = Scripted({1: 24, 2: 25, 3: 26, 4: 27}, {}, sure=0.2)
    posed = problem(ONE, sample=True)

    def run(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        state = loop.begin(posed, NOISE, generator)
        while not state.settled:
            state = loop.step(model, None, posed, state, NOISE, CONFIG, generator)  # type: ignore[arg-type]
        return state.tokens.tolist()

    assert run(1) == run(1)
    assert len({tuple(run(seed)) for seed in range(8)}) > 4


def test_what_the_canvas_pass_is_sure_of_needs_no_second_opinion() -> None:
    model = Scripted({1: 24, 2: 25, 3: END, 4: END}, {(21,): 30}, sure=12.0)
    config = replace(CONFIG, verify_below=0.9)
    posed = problem(ONE)
    generator = torch.Generator().manual_seed(0)
    state = loop.begin(posed, NOISE, generator)
    state = loop.step(model, None, posed, state, NOISE, config, generator)  # type: ignore[arg-type]
    assert model.asked == []
    assert state.tokens[1:5].tolist() == [24, 25, END, END]


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_the_causal_pass_is_the_base_models_and_leaves_the_prefix_alone(kind: str) -> None:
    base = tiny_base(kind)
    model = tiny_canvas(base=base)
    assert isinstance(model, ReadsCausally)
    ids = torch.randint(20, 400, (30,), generator=torch.Generator().manual_seed(1)).tolist()
    prefix = model.new_prefix()
    model.encode(ids[:20], prefix)
    with torch.inference_mode():
        ours = model.causal_logits(ids[20:], prefix, 6)
        again = model.causal_logits(ids[20:], prefix, 6)
        theirs = base(torch.tensor([ids])).logits[0, -6:]
    assert prefix.length == 20
    assert torch.equal(ours, again)
    torch.testing.assert_close(ours[:, 16:], theirs[:, 16:], atol=2e-4, rtol=2e-4)
    assert torch.isinf(ours[:, :16]).all()
    assert DIMS.max_positions > 30

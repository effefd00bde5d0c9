"""The doubt of a finished draft: every token predicted from all the others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from scripted_adapter import Prefix, TableAdapter  # noqa: E402

from dgemma_runtime.canvas import ClampedIds, FreeSlots, Layout, PartSpan, lay_out  # noqa: E402
from dgemma_runtime.engine import doubt, loop  # noqa: E402
from dgemma_runtime.engine.passes import answer  # noqa: E402
from dgemma_runtime.models.base import Noise, NoiseKind  # noqa: E402

pytestmark = pytest.mark.torch

VOCAB, MASK, END = 40, 1, 0
LAYOUT = Layout(head_rows=1, span_tokens=4, tail_tokens=8, canvas_tokens=32, empty_head_id=2)


def follows_on(canvas: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Every token is likely, by 3 nats over 1 nat, to be one more than the one before it."""
    logits = torch.zeros(len(rows), VOCAB)
    for i, row in enumerate(rows.tolist()):
        logits[i, int(canvas[row - 1]) + 1] = 3.0
        logits[i, 30] = 1.0
    return logits


def measured(
    kind: NoiseKind, tokens: list[int], go_on: int = 99
) -> tuple[dict[int, float], TableAdapter]:
    """The doubts of a span that begins with a kept token, and what the model was asked."""
    span = PartSpan((ClampedIds((tokens[0],)), FreeSlots(len(tokens) - 1)))
    _, canvas = lay_out([4], [span, ClampedIds((9, 9))], LAYOUT)
    problem = loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=1,
        sample=False,
        end_ids=(END,),
        needed=lambda span, earlier, ids: None,
    )
    noise = Noise(kind, VOCAB, MASK)
    generator = torch.Generator().manual_seed(0)
    state = loop.begin(problem, noise, generator)
    state.best[1 : 1 + len(tokens)] = torch.tensor(tokens)
    adapter = TableAdapter(follows_on)
    left = iter(range(go_on))
    asks = doubt.measure(
        Prefix(), problem, state, noise, generator, lambda: next(left, None) is not None
    )
    return dict(answer(adapter, asks)), adapter


def test_the_token_that_does_not_follow_is_doubted() -> None:
    found, adapter = measured(NoiseKind.MASK, [5, 6, 20, 21, 22, 23, END, 7])
    assert sorted(found) == [1, 2, 3, 4, 5, 6]  # the end and what lies behind it are no text
    assert found[1] == pytest.approx(-2.0)  # 3 nats less than the next likely one's 1
    assert found[3] == pytest.approx(3.0)
    assert found[4] == pytest.approx(-2.0)
    assert len(adapter.canvases) == doubt.PASSES
    assert [int((canvas == MASK).sum()) for canvas in adapter.canvases] == [2, 2, 1, 1]
    assert all(canvas[-2:].tolist() == [9, 9] for canvas in adapter.canvases)


def test_uniform_models_see_fresh_noise_there() -> None:
    found, adapter = measured(NoiseKind.UNIFORM, [5, 6, 7])
    assert sorted(found) == [1, 2, 3]
    assert len(adapter.canvases) == 3
    changed = [(canvas[1:4] != torch.tensor([5, 6, 7])).sum() for canvas in adapter.canvases]
    assert all(count <= 1 for count in changed)
    assert any(count == 1 for count in changed)


def test_what_there_is_no_time_for_stays_unsaid() -> None:
    found, adapter = measured(NoiseKind.MASK, [5, 6, 7, 8, 9, 10], go_on=2)
    assert sorted(found) == [1, 2, 5, 6]
    assert len(adapter.canvases) == 2


def test_a_token_that_is_never_predicted_is_doubted_within_bounds() -> None:
    adapter = TableAdapter(
        lambda canvas, rows: torch.full((len(rows), VOCAB), -torch.inf).index_fill(
            1, torch.tensor([30]), 0.0
        )
    )
    _, canvas = lay_out([4], [FreeSlots(2)], LAYOUT)
    problem = loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=1,
        sample=False,
        end_ids=(END,),
        needed=lambda span, earlier, ids: None,
    )
    noise = Noise(NoiseKind.MASK, VOCAB, MASK)
    state = loop.begin(problem, noise, torch.Generator())
    state.best[1:3] = torch.tensor([5, 30])
    asks = doubt.measure(Prefix(), problem, state, noise, torch.Generator(), lambda: True)
    found = answer(adapter, asks)
    assert found == {1: doubt.MOST, 2: -doubt.MOST}

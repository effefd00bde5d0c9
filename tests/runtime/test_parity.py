"""Our loop over the DiffusionGemma adapter against ``transformers``' own ``generate``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from tiny_gemma import CANVAS, VOCAB, WINDOW, calm_gemma, tiny_gemma  # noqa: E402
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (  # noqa: E402
    EntropyBoundSamplerConfig,
)

from dgemma_runtime.canvas import ClampedIds, FreeSlots, Layout, lay_out  # noqa: E402
from dgemma_runtime.engine import loop  # noqa: E402
from dgemma_runtime.engine.prefix_cache import PrefixCache  # noqa: E402
from dgemma_runtime.engine.state import Problem, State  # noqa: E402
from dgemma_runtime.models.base import (  # noqa: E402
    Acceptance,
    Noise,
    NoiseKind,
    SamplerConfig,
)
from dgemma_runtime.models.diffusion_gemma import DiffusionGemma  # noqa: E402

pytestmark = pytest.mark.torch

STEPS = 8
NOISE = Noise(NoiseKind.UNIFORM, VOCAB)
LAYOUT = Layout(head_rows=0, span_tokens=CANVAS, tail_tokens=CANVAS, canvas_tokens=CANVAS)


@pytest.fixture(scope="module")
def adapter() -> DiffusionGemma:
    return DiffusionGemma(tiny_gemma())


def config(bound: float, settled: float) -> SamplerConfig:
    return SamplerConfig(
        acceptance=Acceptance.ENTROPY_BOUND,
        max_steps=STEPS,
        t_min=0.4,
        t_max=0.8,
        greedy_first=False,
        entropy_bound=bound,
        settled_entropy=settled,
    )


def tokens(count: int, seed: int) -> list[int]:
    return torch.randint(3, VOCAB, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def run(
    adapter: DiffusionGemma,
    prompt: list[int],
    segments: list[ClampedIds | FreeSlots],
    sampling: SamplerConfig,
    seed: int,
) -> tuple[Problem, list[State]]:
    with torch.inference_mode():
        prefix = adapter.new_prefix()
        adapter.encode(prompt, prefix)
        _, canvas = lay_out(prompt, segments, LAYOUT)
        problem = loop.make_problem(
            canvas,
            torch.device("cpu"),
            max_steps=STEPS,
            sample=True,
            end_ids=(),
            needed=lambda span, earlier, ids: None,
        )
        generator = torch.Generator().manual_seed(seed)
        states = [loop.begin(problem, NOISE, generator)]
        while states[-1].steps < STEPS and not states[-1].settled:
            states.append(
                loop.step(adapter, prefix, problem, states[-1], NOISE, sampling, generator)
            )
    return problem, states


def assert_parity(
    adapter: DiffusionGemma, prompt_tokens: int, bound: float, settled: float, seed: int
) -> int:
    """Compare one run with ``generate``; return the steps it took."""
    prompt = tokens(prompt_tokens, 100 + seed)
    _, states = run(adapter, prompt, [FreeSlots()], config(bound, settled), seed)
    torch.manual_seed(seed)
    theirs = adapter.model.generate(
        torch.tensor([prompt]),
        max_denoising_steps=STEPS,
        max_new_tokens=CANVAS,
        t_min=0.4,
        t_max=0.8,
        sampler_config=EntropyBoundSamplerConfig(entropy_bound=bound),
        stability_threshold=1,
        confidence_threshold=settled,
        eos_token_id=None,
        pad_token_id=None,
    )
    assert states[-1].best.tolist() == theirs.sequences[0, prompt_tokens:].tolist()
    assert states[-1].steps == round(CANVAS / float(theirs.tokens_per_forward))
    return states[-1].steps


@pytest.mark.parametrize("prompt_tokens", [WINDOW // 2, WINDOW * 3])
@pytest.mark.parametrize("bound", [0.1, 2.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_clamped_draws_what_generate_draws(
    adapter: DiffusionGemma, prompt_tokens: int, bound: float, seed: int
) -> None:
    assert_parity(adapter, prompt_tokens, bound, 0.005, seed)


def test_runs_that_settle_early_stop_where_generate_stops() -> None:
    calm = DiffusionGemma(calm_gemma())
    steps = {
        assert_parity(calm, WINDOW * 2, bound, 9.0, seed)
        for bound in (2.0, 1000.0)
        for seed in range(4)
    }
    assert len(steps) > 2
    assert min(steps) < STEPS


@pytest.mark.parametrize("seed", range(4))
def test_clamps_on_both_sides_hold_at_every_step(adapter: DiffusionGemma, seed: int) -> None:
    head, tail = tuple(tokens(4, 200 + seed)), tuple(tokens(6, 300 + seed))
    segments = [ClampedIds(head), FreeSlots(6), ClampedIds(tail)]
    problem, states = run(adapter, tokens(40, seed), segments, config(0.5, 0.005), seed)
    assert len(states) > 2
    for state in states:
        for canvas in (state.tokens, state.best):
            assert tuple(canvas[:4].tolist()) == head
            assert tuple(canvas[10:].tolist()) == tail
    assert problem.free.sum() == 6


def test_the_suffix_matters(adapter: DiffusionGemma) -> None:
    fills = {
        tuple(
            run(
                adapter,
                tokens(40, 5),
                [FreeSlots(8), ClampedIds(tuple(tokens(8, suffix)))],
                config(0.5, 0.005),
                seed=3,
            )[1][-1]
            .best[:8]
            .tolist()
        )
        for suffix in (1, 2, 3)
    }
    assert len(fills) > 1


def logits_after(adapter: DiffusionGemma, prefix: object) -> torch.Tensor:
    canvas = torch.tensor(tokens(CANVAS, 9))
    return adapter.denoise(canvas, prefix, torch.arange(CANVAS), None)  # type: ignore[arg-type]


def test_rewinding_over_the_window_is_exact_however_often(adapter: DiffusionGemma) -> None:
    """Several windows back and forth; the stock layer fails or errs at the second crop."""
    ids = tokens(200, 7)
    with torch.inference_mode():
        prefix = adapter.new_prefix()
        adapter.encode(ids[:200], prefix)
        for kept, until in ((190, 195), (170, 200), (90, 110), (WINDOW, 60), (10, 40), (3, 200)):
            prefix.crop(kept)
            adapter.encode(ids[kept:until], prefix)
            fresh = adapter.new_prefix()
            adapter.encode(ids[:until], fresh)
            found, expected = logits_after(adapter, prefix), logits_after(adapter, fresh)
            assert prefix.length == until
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
            assert torch.equal(found.argmax(-1), expected.argmax(-1))


def test_forks_are_independent(adapter: DiffusionGemma) -> None:
    ids = tokens(80, 8)
    with torch.inference_mode():
        prefix = adapter.new_prefix()
        adapter.encode(ids, prefix)
        before = logits_after(adapter, prefix)
        fork = prefix.fork(30)
        adapter.encode(ids[50:], fork)
        assert torch.equal(logits_after(adapter, prefix), before)
        fresh = adapter.new_prefix()
        adapter.encode(ids[:30] + ids[50:], fresh)
        torch.testing.assert_close(
            logits_after(adapter, fork), logits_after(adapter, fresh), atol=2e-5, rtol=0
        )


def test_the_cache_changes_no_token(adapter: DiffusionGemma) -> None:
    sampling = config(0.5, 0.005)
    cache = PrefixCache(adapter, entries=2)
    document = tokens(90, 11)
    other = document[:10] + tokens(60, 12)
    for ids in (document[:70], document, other, document[:40] + tokens(5, 13), other):
        with torch.inference_mode():
            prefix, _ = cache.encode(ids, lambda: None)
            _, canvas = lay_out(ids, [FreeSlots(8), ClampedIds(tuple(tokens(4, 14)))], LAYOUT)
            problem = loop.make_problem(
                canvas,
                torch.device("cpu"),
                max_steps=STEPS,
                sample=True,
                end_ids=(),
                needed=lambda span, earlier, ids: None,
            )
            generator = torch.Generator().manual_seed(1)
            state = loop.begin(problem, NOISE, generator)
            while state.steps < STEPS and not state.settled:
                state = loop.step(adapter, prefix, problem, state, NOISE, sampling, generator)
        segments = [FreeSlots(8), ClampedIds(tuple(tokens(4, 14)))]
        _, fresh = run(adapter, ids, segments, sampling, seed=1)
        assert torch.equal(state.best, fresh[-1].best)

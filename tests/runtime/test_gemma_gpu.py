"""DiffusionGemma's recorded steps on a CUDA device: what they predict, and that nothing waits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))
from tiny_gemma import VOCAB, WINDOW, packable_gemma  # noqa: E402

from dgemma_runtime.models.base import CanvasPass  # noqa: E402
from dgemma_runtime.models.diffusion_gemma import DiffusionGemma  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


class Repeats:
    """Runs the same passes of fixed shapes without recording them."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        run()
        return run


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def passes(adapter: DiffusionGemma, seed: int, *, fed: bool) -> list[CanvasPass]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for length in (WINDOW * 3 + seed, 9):
        prefix = adapter.new_prefix()
        adapter.encode(torch.randint(3, VOCAB, (length,), generator=generator).tolist(), prefix)
        for canvas in (7, 16):
            ids = torch.randint(3, VOCAB, (canvas,), generator=generator).cuda()
            logits = torch.randn(4, VOCAB, generator=generator).cuda()
            rows = torch.arange(4, device="cuda")
            made.append(CanvasPass(ids, prefix, rows, logits if fed else None))
    return made


@pytest.mark.parametrize("fed", [False, True])
def test_replays_predict_what_the_same_pass_predicts_and_never_wait(fed: bool) -> None:
    recorded = DiffusionGemma(packable_gemma().bfloat16().cuda())
    if recorded.step_path != "CUDA graphs":
        pytest.skip(recorded.step_path)
    repeated = DiffusionGemma(packable_gemma().bfloat16().cuda(), recorder=Repeats())
    recorded.denoise_together(passes(recorded, 0, fed=fed))
    assert recorded.step_path == "CUDA graphs"
    for seed in (1, 2):
        asked = passes(recorded, seed, fed=fed)
        recorded.denoise_together(asked)  # the prefixes are copied in
        torch.cuda.set_sync_debug_mode("error")
        try:
            found = recorded.denoise_together(asked)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        expected = repeated.denoise_together(passes(repeated, seed, fed=fed))
        for one, two in zip(found, expected, strict=True):
            torch.testing.assert_close(one, two, atol=0.05, rtol=0.02)


def test_the_kernel_for_plain_experts_multiplies_in_bfloat16() -> None:
    pytest.importorskip("triton")
    from dgemma_runtime.models.gemma import kernel
    from dgemma_runtime.models.packed.grouping import group

    for rows, experts, outputs, inputs in ((512, 128, 1408, 2816), (37, 5, 70, 88), (1, 1, 64, 32)):
        x = torch.randn(rows, inputs, device="cuda", dtype=torch.bfloat16)
        weights = torch.randn(experts, outputs, inputs, device="cuda", dtype=torch.bfloat16)
        chosen = torch.randint(0, experts, (rows,), device="cuda")
        found = kernel.multiply(x, weights, group(chosen, experts)).float()
        expected = torch.stack(
            [weights[e].float() @ r.float() for r, e in zip(x, chosen, strict=True)]
        )
        torch.testing.assert_close(found, expected, atol=0.05 * inputs**0.5, rtol=0.02)

"""The kernel for plain experts, in Triton's interpreter (no bfloat16 there)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.torch

HERE = Path(__file__).parent

KERNEL = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from tiny_gemma import VOCAB, packable_gemma
from dgemma_runtime.models.diffusion_gemma import DiffusionGemma
from dgemma_runtime.models.gemma import experts, kernel
from dgemma_runtime.models.packed.grouping import group
torch.manual_seed(0)
sizes = ((37, 5, 96, 64), (3, 8, 40, 96), (1, 1, 64, 32), (70, 2, 70, 88))
for rows, count, outputs, inputs in sizes:
    x, weights = torch.randn(rows, inputs), torch.randn(count, outputs, inputs)
    chosen = torch.randint(0, count, (rows,))
    out = kernel.multiply(x, weights, group(chosen, count))
    assert torch.allclose(out, torch.einsum("ri,roi->ro", x, weights[chosen]), atol=1e-3)
found = []
for way in ("grouped_mm", experts.BY_KERNEL):
    model = packable_gemma()
    model.set_experts_implementation(way)
    assert model.config.text_config._experts_implementation == way
    adapter = DiffusionGemma(model)
    with torch.inference_mode():
        prefix = adapter.new_prefix()
        adapter.encode(list(range(5, 35)), prefix)
        found.append(adapter.denoise(torch.arange(9), prefix, torch.arange(9), None))
assert torch.allclose(*found, atol=1e-3)
print("same")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Triton has no wheels elsewhere")
def test_the_kernel_does_what_transformers_does() -> None:
    if importlib.util.find_spec("triton") is None:
        why = "needs triton: pip install 'dgemma[kernels]'"
        pytest.fail(why) if os.environ.get("DGEMMA_REQUIRE_ALL") == "1" else pytest.skip(why)
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", KERNEL, str(HERE)], env=environment, capture_output=True, text=True
    )
    assert ran.stdout == "same\n", ran.stderr[-2000:]

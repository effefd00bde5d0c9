"""A denoise step with uniform noise asks the device for one word: whether it may stop."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from scripted_adapter import Prefix, TableAdapter  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from dgemma_runtime.canvas import ClampedIds, FreeSlots, Layout, PartSpan, lay_out  # noqa: E402
from dgemma_runtime.engine import loop  # noqa: E402
from dgemma_runtime.engine.state import Lines  # noqa: E402
from dgemma_runtime.models.base import Acceptance, Noise, NoiseKind, SamplerConfig  # noqa: E402

pytestmark = pytest.mark.torch

VOCAB, END = 40, 1
WAITS = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "unique", "item", "is_nonzero")


class Watch(TorchDispatchMode):
    """Counts the operations whose result the host needs before it can go on."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: object,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        name = str(func).split(".")[1]
        if name.startswith(WAITS) or (
            name.startswith("index") and any(_is_mask(each) for each in args[1:2])
        ):
            self.waits[name] += 1
        return func(*args, **(kwargs or {}))  # type: ignore[operator]


def _is_mask(indices: object) -> bool:
    listed = indices if isinstance(indices, list | tuple) else [indices]
    return any(isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in listed)


@pytest.mark.parametrize("sample", [True, False])
def test_a_step_waits_for_the_stop_flag_alone(sample: bool) -> None:
    layout = Layout(head_rows=0, span_tokens=4, tail_tokens=8, canvas_tokens=64)
    span = PartSpan((FreeSlots(3), ClampedIds((3,)), FreeSlots(2)))
    _, canvas = lay_out([], [ClampedIds((2,)), span, ClampedIds((6,)), FreeSlots(4)], layout)
    problem = loop.make_problem(
        canvas,
        torch.device("cpu"),
        max_steps=9,
        sample=sample,
        end_ids=(END,),
        needed=lambda span, earlier, ids: None,
        lines=Lines(torch.zeros(VOCAB, dtype=torch.long), (2, None)),
        first=(5, 6, 7),
    )
    config = SamplerConfig(acceptance=Acceptance.ENTROPY_BOUND, max_steps=9, t_min=0.4, t_max=0.8)
    noise = Noise(NoiseKind.UNIFORM, VOCAB)
    adapter = TableAdapter(lambda canvas, rows: torch.randn(len(rows), VOCAB))
    generator = torch.Generator().manual_seed(0)
    state = loop.begin(problem, noise, generator)
    for _ in range(3):
        each = loop.pass_of(problem, state, Prefix(), noise)
        logits = adapter.denoise(each.canvas, Prefix(), each.rows, None)
        watch = Watch()
        with watch:
            state = loop.advance(
                adapter, Prefix(), problem, state, logits, noise, config, generator
            )
        # One is the temperature's, a tensor of the host.
        assert watch.waits == {"_local_scalar_dense": 2}
        assert state.best[canvas.spans[0][0]] in torch.tensor((5, 6, 7))

"""Denoise steps of fixed shapes: what they read from the device, what a recording of them keeps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))
import hypothesis.strategies as st  # noqa: E402
from hypothesis import given  # noqa: E402
from tape import NotRecordable, TapeRecorder, run_away_from_the_host  # noqa: E402
from tiny_gemma import VOCAB, WINDOW, tiny_gemma  # noqa: E402
from transformers.models.diffusion_gemma import DiffusionGemmaForBlockDiffusion  # noqa: E402

from dgemma_runtime.models.base import CanvasPass  # noqa: E402
from dgemma_runtime.models.diffusion_gemma import DiffusionGemma  # noqa: E402
from dgemma_runtime.models.gemma.buckets import EXACT, FEW, Shape, fit  # noqa: E402
from dgemma_runtime.models.gemma.graphs import KEPT, Recordings  # noqa: E402
from dgemma_runtime.models.gemma.prefix import GemmaPrefix  # noqa: E402
from dgemma_runtime.models.gemma.seats import Seats  # noqa: E402
from dgemma_runtime.models.gemma.step import Exchange, FixedPass  # noqa: E402
from dgemma_runtime.models.packed.grouping import group  # noqa: E402

pytestmark = pytest.mark.torch

MODEL = tiny_gemma()


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def tokens(count: int, seed: int) -> torch.Tensor:
    return torch.randint(3, VOCAB, (count,), generator=torch.Generator().manual_seed(seed))


def encoded(adapter: DiffusionGemma, length: int, seed: int = 0) -> GemmaPrefix:
    prefix = adapter.new_prefix()
    adapter.encode(tokens(length, seed).tolist(), prefix)
    return prefix


def canvas_pass(
    prefix: GemmaPrefix, length: int, seed: int = 0, *, fed: bool = False
) -> CanvasPass:
    rows = torch.arange(0, length, 2)
    generator = torch.Generator().manual_seed(seed)
    feedback = torch.randn(len(rows), VOCAB, generator=generator) if fed else None
    return CanvasPass(tokens(length, seed + 1), prefix, rows, feedback)


# -- shapes ---------------------------------------------------------------------------------------


@given(st.integers(0, 20000), st.sampled_from([FEW.counts, FEW.canvas_tokens, FEW.rows]))
def test_a_bucket_holds_what_it_is_for(size: int, sizes: tuple[int, ...]) -> None:
    found = fit(size, sizes)
    assert found >= size
    assert found in sizes or (found % sizes[-1] == 0 and found - size < sizes[-1])
    assert fit(found, sizes) == found
    assert fit(size, ()) == size


def test_shapes_are_few() -> None:
    shapes = {
        FEW.fit([prefix], [[canvas] * count], canvas * count, fed=fed)
        for prefix in range(0, 4097, 64)
        for canvas in (8, 24, 40, 64)
        for count in (1, 2, 3, 4)
        for fed in (False, True)
    }
    assert len(shapes) <= KEPT
    assert EXACT.fit([3, 7], [[5], [2, 9]], 11, fed=True) == Shape(2, 2, 9, 7, 11, True)


@pytest.mark.parametrize(
    ("counts", "each"), [([1], 1), ([4], 4), ([3], 4), ([4, 1, 1], 2), ([4, 4], 4), ([1, 1, 1], 1)]
)
def test_unequal_groups_are_cut(counts: list[int], each: int) -> None:
    assert FEW.canvases_of_prefix(counts) == each
    assert EXACT.canvases_of_prefix([3, 1]) == 1
    assert EXACT.canvases_of_prefix([3, 3]) == 3


# -- what a step asks the host ---------------------------------------------------------------------


def elsewhere() -> DiffusionGemmaForBlockDiffusion:
    """One in bfloat16, as on a GPU, on a device that is not the host."""
    with torch.device("meta"):
        model = DiffusionGemmaForBlockDiffusion(MODEL.config).bfloat16().eval()
    DiffusionGemma(model)  # takes its attention over
    return model


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize(("prefixes", "canvases"), [(1, 1), (1, 4), (2, 2)])
def test_a_step_asks_the_host_nothing(prefixes: int, canvases: int, fed: bool) -> None:
    shape = Shape(prefixes, canvases, 32, 64, 16, fed)
    model = elsewhere()
    seats = Seats(model, prefixes, 64, 256)
    step = FixedPass(model, shape, seats, Exchange(model, 16))
    run_away_from_the_host(step.run)


@pytest.mark.parametrize(
    "asks",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: x.repeat_interleave(x.long()),
        lambda x: x + torch.tensor(2.0),
        lambda x: x.copy_(torch.zeros(4)),
        lambda x: x.to("cpu"),
    ],
)
def test_what_asks_the_host_would_be_noticed(asks: Callable[[torch.Tensor], object]) -> None:
    held = torch.ones(4, device="meta")

    def run() -> None:
        asks(held + 1)

    with pytest.raises((NotRecordable, NotImplementedError)):
        run_away_from_the_host(run)


def test_sorting_rows_by_their_packed_experts_asks_nothing() -> None:
    experts = torch.zeros(48, dtype=torch.long, device="meta")

    def run() -> None:
        group(experts, 4)

    run_away_from_the_host(run)


def test_the_experts_of_a_step_are_those_that_ask_nothing() -> None:
    """The loop over experts that were hit is what a recording cannot have."""
    model = elsewhere()
    model.set_experts_implementation("eager")
    step = FixedPass(
        model, Shape(1, 1, 32, 64, 16, False), Seats(model, 1, 64, 32), Exchange(model, 16)
    )
    with pytest.raises((NotRecordable, NotImplementedError)):
        run_away_from_the_host(step.run)


# -- recordings ------------------------------------------------------------------------------------


def test_a_recording_that_froze_a_value_would_be_noticed() -> None:
    """The recorder of these tests keeps operations, not code: this is what it must not hide."""
    place, out, told = torch.zeros(1), torch.zeros(1), {"frozen": 1.0}

    def run() -> None:
        out.copy_(place + told["frozen"])

    def ask() -> None:
        out.fill_(place.item())

    replay = TapeRecorder().record(run)
    place.fill_(5.0)
    told["frozen"] = 100.0
    replay()
    assert out.item() == 6.0
    with pytest.raises(NotRecordable):
        TapeRecorder().record(ask)


def test_one_recording_serves_other_prefixes_canvases_and_rows() -> None:
    recorder = TapeRecorder()
    taped = DiffusionGemma(tiny_gemma(), recorder=recorder)
    plain = DiffusionGemma(MODEL)
    for seed, (prefix, canvas) in enumerate(
        [(300, 32), (5, 17), (WINDOW, 1), (301, 20), (299, 31)]
    ):
        found = taped.denoise_together([canvas_pass(encoded(taped, prefix, seed), canvas, seed)])
        asked = canvas_pass(encoded(plain, prefix, seed), canvas, seed)
        expected = plain.denoise(asked.canvas, asked.prefix, asked.rows, None)
        torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=0)
    assert recorder.made == 1


def test_what_comes_out_is_the_callers() -> None:
    taped = DiffusionGemma(tiny_gemma(), recorder=TapeRecorder())
    prefix = encoded(taped, 30)
    first = taped.denoise_together([canvas_pass(prefix, 12, 1)])[0]
    kept = first.clone()
    taped.denoise_together([canvas_pass(prefix, 12, 2)])
    assert torch.equal(first, kept)
    first.fill_(torch.nan)
    again = taped.denoise_together([canvas_pass(prefix, 12, 1)])[0]
    assert torch.equal(again, kept)


def test_feedback_that_is_no_number_stays_with_its_canvas() -> None:
    taped = DiffusionGemma(tiny_gemma(), recorder=TapeRecorder())
    prefix = encoded(taped, 30)
    fed, unfed = canvas_pass(prefix, 12, 1, fed=True), canvas_pass(prefix, 12, 2)
    expected = taped.denoise_together([fed, unfed])
    assert fed.feedback is not None
    broken = CanvasPass(fed.canvas, prefix, fed.rows, torch.full_like(fed.feedback, torch.nan))
    taped.denoise_together([broken])
    taped.denoise_together([unfed, broken])
    for one, two in zip(expected, taped.denoise_together([fed, unfed]), strict=True):
        assert torch.equal(one, two)


def test_a_prefix_is_copied_once_and_again_when_it_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    taped = DiffusionGemma(tiny_gemma(), recorder=TapeRecorder())
    copied: list[int] = []
    put = Seats._put
    monkeypatch.setattr(
        Seats,
        "_put",
        lambda self, seat, prefix: copied.append(prefix.length) or put(self, seat, prefix),
    )
    plain = DiffusionGemma(MODEL)
    one, other = encoded(taped, 40), encoded(taped, 50, seed=1)
    for _ in range(3):
        taped.denoise_together([canvas_pass(one, 8), canvas_pass(other, 8)])
        taped.denoise_together([canvas_pass(other, 8), canvas_pass(one, 8)])
    assert sorted(copied) == [40, 50]
    one.crop(20)
    taped.encode(tokens(20, 9).tolist(), one)
    found, _ = taped.denoise_together([canvas_pass(one, 8), canvas_pass(other, 8)])
    assert copied[2:] == [40]
    fresh = plain.new_prefix()
    plain.encode([*tokens(40, 0)[:20].tolist(), *tokens(20, 9).tolist()], fresh)
    asked = canvas_pass(fresh, 8)
    expected = plain.denoise(asked.canvas, fresh, asked.rows, None)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_longer_prefix_than_expected_moves_in_with_new_recordings() -> None:
    recorder = TapeRecorder()
    taped = DiffusionGemma(tiny_gemma(), recorder=recorder, prefix_tokens=64)
    plain = DiffusionGemma(MODEL)
    short = taped.denoise_together([canvas_pass(encoded(taped, 30), 8)])[0]
    made = recorder.made
    ids = tokens(505, 4).tolist()  # in pieces: the model has 512 positions
    for adapter in (taped, plain):
        prefix = adapter.new_prefix()
        adapter.encode(ids[:300], prefix)
        adapter.encode(ids[300:], prefix)
        for count in (1, 40):  # more canvases than there was room for
            found = adapter.denoise_together(
                [canvas_pass(prefix, 7, seed) for seed in range(count)]
            )
        if adapter is taped:
            kept = found
    for one, two in zip(kept, found, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=0)
    assert recorder.made > made
    again = taped.denoise_together([canvas_pass(encoded(taped, 30), 8)])[0]
    torch.testing.assert_close(again, short, atol=1e-4, rtol=0)


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        self.asked += 1
        run()
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operation not permitted when stream is capturing\nmore"),
        torch.OutOfMemoryError(),
    ],
)
def test_what_cannot_be_recorded_runs_all_the_same(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Failing(error)
    taped, plain = DiffusionGemma(tiny_gemma(), recorder=recorder), DiffusionGemma(MODEL)
    assert taped.step_path == "CUDA graphs"
    for _ in range(3):
        found = taped.denoise_together([canvas_pass(encoded(taped, 30), 8, fed=True)])[0]
        asked = canvas_pass(encoded(plain, 30), 8, fed=True)
        expected = plain.denoise(asked.canvas, asked.prefix, asked.rows, asked.feedback)
        assert torch.equal(found, expected)
    assert recorder.asked == 1
    assert taped.step_path.startswith("eager: recording failed: ")
    assert "\n" not in taped.step_path
    told = [record for record in caplog.records if "CUDA graphs" in record.message]
    assert len(told) == 1


class Small:
    """Has memory for passes of one prefix only."""

    def __init__(self) -> None:
        self.tape = TapeRecorder()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        step: FixedPass = getattr(run, "__self__")  # noqa: B009 - a method of it
        if step.shape.prefixes > 1:
            raise torch.OutOfMemoryError
        return self.tape.record(run)


def test_prefixes_that_do_not_fit_together_take_turns() -> None:
    small = Small()
    taped, plain = DiffusionGemma(tiny_gemma(), recorder=small), DiffusionGemma(MODEL)
    expected = []
    for number in range(5):
        asked = canvas_pass(encoded(plain, 20 + number, number), 8, number)
        expected.append(plain.denoise(asked.canvas, asked.prefix, asked.rows, None))
    passes = [canvas_pass(encoded(taped, 20 + number, number), 8, number) for number in range(5)]
    for _ in range(2):
        for one, two in zip(taped.denoise_together(passes), expected, strict=True):
            torch.testing.assert_close(one, two, atol=1e-4, rtol=0)
    assert taped.step_path == "CUDA graphs"
    assert small.tape.made == 1


def test_without_a_gpu_steps_are_not_recorded() -> None:
    adapter = DiffusionGemma(MODEL)
    assert adapter.step_path == "eager: cpu records no steps"
    reports: list[tuple[float, str]] = []
    adapter.warm_up(lambda share, text: reports.append((share, text)))
    assert reports == []


def test_warming_up_records_what_requests_want() -> None:
    recorder = TapeRecorder()
    taped = DiffusionGemma(tiny_gemma(), recorder=recorder, prefix_tokens=1000)
    reports: list[tuple[float, str]] = []
    taped.warm_up(lambda share, text: reports.append((share, text)))
    shares = [share for share, _ in reports]
    assert shares == sorted(shares)
    assert (shares[0], reports[-1]) == (0.0, (1.0, "Denoise steps run as CUDA graphs."))
    made = recorder.made
    assert made == len(reports) - 1
    for fed in (False, True):
        for count in (1, 3, 4):
            prefix = encoded(taped, 300)
            passes = [canvas_pass(prefix, 12 + n, n, fed=fed) for n in range(count)]
            plain = DiffusionGemma(MODEL)
            same = encoded(plain, 300)
            found = taped.denoise_together(passes)
            for one, two in zip(passes, found, strict=True):
                expected = plain.denoise(one.canvas, same, one.rows, one.feedback)
                torch.testing.assert_close(two, expected, atol=1e-4, rtol=0)
    assert recorder.made <= made + 4  # a few rows want a shape of their own


def test_a_warm_up_that_fails_says_so() -> None:
    taped = DiffusionGemma(tiny_gemma(), recorder=Failing(RuntimeError("no")))
    reports: list[tuple[float, str]] = []
    taped.warm_up(lambda share, text: reports.append((share, text)))
    assert reports[-1] == (1.0, "Denoise steps run as eager: recording failed: no.")


def test_memory_given_up_is_taken_again() -> None:
    recorder = TapeRecorder()
    taped = DiffusionGemma(tiny_gemma(), recorder=recorder)
    asked = canvas_pass(encoded(taped, 30), 8, fed=True)
    first = taped.denoise_together([asked])[0]
    taped.release()
    assert torch.equal(taped.denoise_together([asked])[0], first)
    assert recorder.made == 2


def test_recordings_are_bounded() -> None:
    recordings = Recordings(TapeRecorder())
    out = torch.zeros(1)

    def run() -> None:
        out.add_(1)

    for shape in range(KEPT * 2):
        assert recordings.run(shape, run)
        assert recordings.run(0, run)
    assert len(recordings) == KEPT

"""The engine as the worker sees it, over a model of random weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from support.answers import without_handles  # noqa: E402
from tiny_canvas import tiny_folder  # noqa: E402

from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.engine.asked import candidate_seed  # noqa: E402
from dgemma_runtime.engine.base import Engine, LoadProgress  # noqa: E402
from dgemma_runtime.job import Job, JobCancelled  # noqa: E402
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError  # noqa: E402
from dgemma_wire.messages import (  # noqa: E402
    Clamped,
    Denoise,
    Draft,
    Free,
    Rewrite,
    RuntimeState,
    TokenState,
)
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch


class Clock:
    """Time that passes by a fixed amount at every look."""

    def __init__(self) -> None:
        self.now = 100.0
        self.tick = 0.0

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Engine:
    folder = tiny_folder(tmp_path_factory.mktemp("tiny"))
    engine = make_engine(
        RuntimeSettings(model=str(folder), device="cpu", dtype="float32"), clock=clock
    )
    engine.load(lambda progress: None)
    return engine


@pytest.fixture
def engine(loaded: Engine, clock: Clock) -> Iterator[Engine]:
    yield loaded
    clock.tick = 0.0


def job(received: float = 100.0, **changes: object) -> Job:
    fields: dict[str, object] = {
        "id": 1,
        "document": "d",
        "prefix": "def f(a):\n    return ",
        "segments": (Free(), Clamped(text="\n\nprint(f(1))\n")),
    }
    return Job(0, Denoise(**(fields | changes)), received)  # type: ignore[arg-type]


def no_draft(draft: Draft) -> None:
    pytest.fail("a draft was made that nobody asked for")


def test_an_answer_has_texts_scores_and_times(engine: Engine, clock: Clock) -> None:
    asked = job(received=clock.now)
    asked.started = clock.now + 0.25
    answer = engine.denoise(asked, no_draft)
    (candidate,) = answer.candidates
    assert len(candidate.texts) == 1
    assert candidate.score <= 0
    assert 0 <= candidate.lowest <= 1
    assert candidate.stopped == "settled"
    assert candidate.steps == len(answer.timings.step_ms) <= 6
    assert answer.timings.queue_ms == pytest.approx(250)


def test_the_same_request_gives_the_same_answer_with_and_without_cache(engine: Engine) -> None:
    first = engine.denoise(job(candidates=3, seed=7), no_draft)
    again = engine.denoise(job(candidates=3, seed=7), no_draft)
    assert without_handles(first.candidates) == without_handles(again.candidates)
    assert again.timings.cached_tokens == again.timings.prefix_tokens > 0


def test_candidates_differ_and_come_best_first(engine: Engine) -> None:
    answer = engine.denoise(job(candidates=4, seed=3), no_draft)
    texts = [candidate.texts for candidate in answer.candidates]
    scores = [candidate.score for candidate in answer.candidates]
    assert len(set(texts)) == len(texts) > 1
    assert scores == sorted(scores, reverse=True)
    greedy = engine.denoise(job(seed=99), no_draft).candidates[0]
    assert greedy.texts in texts


def test_candidates_have_random_streams_of_their_own() -> None:
    seeds = {candidate_seed(seed, number) for seed in (0, 1, 2**62) for number in range(8)}
    assert len(seeds) == 24
    assert candidate_seed(5, 0) == 5


def test_every_step_is_drafted_when_asked_for(engine: Engine) -> None:
    drafts: list[Draft] = []
    answer = engine.denoise(job(draft_every_ms=0), drafts.append)
    assert [draft.step for draft in drafts] == list(range(1, answer.candidates[0].steps + 1))
    assert all(draft.id == 1 and draft.candidate == 0 for draft in drafts)
    states = {token.state for draft in drafts for span in draft.spans for token in span}
    assert TokenState.SETTLED in states
    last = drafts[-1].spans[0]
    assert "".join(token.text for token in last) == answer.candidates[0].texts[0]


def test_drafts_keep_their_distance(engine: Engine, clock: Clock) -> None:
    drafts: list[Draft] = []
    engine.denoise(job(draft_every_ms=60_000), drafts.append)
    assert len(drafts) == 1


def test_two_spans_two_texts(engine: Engine) -> None:
    segments = (Free(tokens=3), Clamped(text=" = "), Free(tokens=2), Clamped(text="\n"))
    answer = engine.denoise(job(segments=segments), no_draft)
    assert len(answer.candidates[0].texts) == 2


def test_max_steps_ends_the_loop_with_a_whole_draft(engine: Engine) -> None:
    (candidate,) = engine.denoise(job(max_steps=1), no_draft).candidates
    assert candidate.steps == 1
    assert candidate.stopped in ("steps", "settled")


def test_a_cancelled_job_stops_within_one_step(engine: Engine) -> None:
    asked = job(draft_every_ms=0)
    steps = 0

    def cancel(draft: Draft) -> None:
        nonlocal steps
        steps += 1
        asked.cancelled.set()

    with pytest.raises(JobCancelled):
        engine.denoise(asked, cancel)
    assert steps == 1


def test_no_step_is_started_after_the_deadline(engine: Engine, clock: Clock) -> None:
    clock.tick = 0.001
    asked = job(received=clock.now, deadline_ms=8)
    (candidate,) = engine.denoise(asked, no_draft).candidates
    assert candidate.stopped == "deadline"
    assert 1 <= candidate.steps < 6


def test_without_time_for_a_step_the_deadline_is_the_answer(engine: Engine, clock: Clock) -> None:
    with pytest.raises(DenoiseFailed) as caught:
        engine.denoise(job(received=clock.now - 5, deadline_ms=1000), no_draft)
    assert caught.value.code is FailureCode.DEADLINE
    clock.tick = 0.001
    with pytest.raises(DenoiseFailed) as caught:
        engine.denoise(job(received=clock.now, deadline_ms=3), no_draft)
    assert caught.value.code is FailureCode.DEADLINE


@pytest.mark.parametrize(
    "changes",
    [
        {"segments": ()},
        {"segments": (Clamped(text="x"),)},
        {"segments": (Free(tokens=0),)},
        {"segments": (Free(max_lines=0),)},
        {"candidates": 0},
        {"candidates": 99},
        {"max_steps": 0},
    ],
)
def test_bad_requests_are_told_so(engine: Engine, changes: dict[str, object]) -> None:
    with pytest.raises(DenoiseFailed) as caught:
        engine.denoise(job(**changes), no_draft)
    assert caught.value.code is FailureCode.BAD_REQUEST


def test_spans_too_long_for_the_canvas_are_told_so(engine: Engine) -> None:
    with pytest.raises(DenoiseFailed) as caught:
        engine.denoise(job(segments=(Free(tokens=400),)), no_draft)
    assert caught.value.code is FailureCode.CONTEXT_TOO_LONG


def test_a_span_may_be_longer_than_usual_up_to_the_models_bound(engine: Engine) -> None:
    assert engine.limits.span_tokens == 6
    assert engine.limits.max_span_tokens == 12
    answer = engine.denoise(job(segments=(Free(tokens=12), Clamped(text="\n"))), no_draft)
    assert answer.candidates[0].steps > 1
    with pytest.raises(DenoiseFailed, match=r"13 positions.*12 at most") as caught:
        engine.denoise(job(segments=(Free(tokens=13), Clamped(text="\n"))), no_draft)
    assert caught.value.code is FailureCode.CONTEXT_TOO_LONG


def test_without_a_bound_of_its_own_the_usual_length_is_the_bound(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path)
    edited(lambda data: data["layout"].pop("max_span_tokens"))(folder)
    engine = make_engine(RuntimeSettings(model=str(folder), device="cpu"))
    assert engine.limits.max_span_tokens == engine.limits.span_tokens == 6


def test_a_rewrite_is_asked_for_as_the_layout_says(engine: Engine) -> None:
    """The answer is that of the same text written out by hand."""
    rewrite = Rewrite(instruction="rename a to b", original="    a = 1")
    segments = (Free(), Clamped(text="\n    return b\n"))
    asked = job(prefix="def f():\n", rewrite=rewrite, segments=segments)
    text = "def f():\n<<<<<<< rename a to b\n    a = 1\n=======\n"
    by_hand = engine.denoise(job(prefix=text, segments=segments), no_draft)
    answer = engine.denoise(asked, no_draft)
    assert without_handles(answer.candidates) == without_handles(by_hand.candidates)
    assert answer.timings.cached_tokens == answer.timings.prefix_tokens
    plain = engine.denoise(job(prefix="def f():\n", segments=segments), no_draft)
    assert without_handles(plain.candidates) != without_handles(answer.candidates)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"prefix": "x = "}, FailureCode.BAD_REQUEST),
        ({"rewrite": Rewrite(instruction="a\nb", original="x")}, FailureCode.BAD_REQUEST),
        (
            {"rewrite": Rewrite(instruction="a", original="x = 1\n" * 400 + "y")},
            FailureCode.CONTEXT_TOO_LONG,
        ),
    ],
)
def test_rewrites_that_cannot_be_asked_for_are_told_so(
    engine: Engine, fields: dict[str, object], code: FailureCode
) -> None:
    fields = {"prefix": "", "rewrite": Rewrite(instruction="a", original="x")} | fields
    with pytest.raises(DenoiseFailed) as caught:
        engine.denoise(job(**fields), no_draft)
    assert caught.value.code is code


def test_an_answer_says_whether_its_texts_ended(engine: Engine) -> None:
    """One position cannot hold a token and its end; one line ends where its newline comes."""
    (short,) = engine.denoise(job(segments=(Free(tokens=1),)), no_draft).candidates
    assert short.complete == (short.texts == ("",))
    answers = [
        engine.denoise(job(prefix=f"x{i} = ", segments=(Free(tokens=2),)), no_draft)
        for i in range(8)
    ]
    assert not all(answer.candidates[0].complete for answer in answers)


def test_a_model_says_what_rewrites_it_was_trained_for(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path)
    offer = {"kind": "rename", "instruction": "rename {a} to {b}", "success": 0.7}
    edited(lambda data: data.update(rewrites=[offer]))(folder)
    engine = make_engine(RuntimeSettings(model=str(folder), device="cpu"))
    (one,) = engine.capabilities.rewrites
    assert (one.kind, one.success, one.languages) == ("rename", 0.7, ())


def test_out_of_memory_is_answered_and_the_next_request_works(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgemma_runtime.models import causal_canvas

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(causal_canvas.CausalCanvas, "denoise", full)
        with pytest.raises(DenoiseFailed, match="out of memory") as caught:
            engine.denoise(job(), no_draft)
        assert caught.value.code is FailureCode.OUT_OF_MEMORY
    answer = engine.denoise(job(), no_draft)
    assert answer.timings.cached_tokens == 0


def test_other_errors_pass_through(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from dgemma_runtime.models import causal_canvas

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("shape")

    with monkeypatch.context() as patch:
        patch.setattr(causal_canvas.CausalCanvas, "denoise", broken)
        with pytest.raises(RuntimeError, match="shape"):
            engine.denoise(job(), no_draft)


def test_unloaded_it_says_so_and_can_be_loaded_again(tmp_path: Path) -> None:
    engine = make_engine(RuntimeSettings(model=str(tiny_folder(tmp_path)), device="cpu"))
    with pytest.raises(DenoiseFailed) as caught:
        engine.denoise(job(), no_draft)
    assert caught.value.code is FailureCode.MODEL_UNAVAILABLE
    seen: list[LoadProgress] = []
    for _ in range(2):
        device = engine.load(seen.append)
        assert device.name == "cpu"
        assert device.reason
        engine.denoise(job(), no_draft)
        engine.unload()
    assert seen[-1].state is RuntimeState.READY


def test_no_torch_before_load() -> None:
    code = (
        "import sys\n"
        "from dgemma_runtime.engine import make_engine\n"
        "from dgemma_wire.settings import RuntimeSettings\n"
        "engine = make_engine(RuntimeSettings())\n"
        "assert engine.model and engine.limits.span_tokens\n"
        "engine.files()\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    path = Path(__file__).parents[2] / "runtime"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(path)})


def test_cuda_without_a_device_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    engine = make_engine(RuntimeSettings(model=str(tiny_folder(tmp_path)), device="cuda"))
    with pytest.raises(ModelError, match="`auto` or `cpu`"):
        engine.load(lambda progress: None)


@pytest.mark.parametrize(
    ("found", "dtype"),
    [({"avx512_bf16": True}, "bfloat16"), ({"avx512_bf16": False, "avx2": True}, "float32")],
)
def test_a_cpu_without_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, bool], dtype: str
) -> None:
    from dgemma_runtime.engine import device

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    chosen = device.choose(RuntimeSettings(device="cpu"))
    assert chosen.dtype == dtype
    assert "this CPU" in chosen.reason


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        data = json.loads((folder / "model.json").read_text())
        change(data)
        (folder / "model.json").write_text(json.dumps(data))

    return edit


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (edited(lambda data: data.update(architecture="other")), "other"),
        (edited(lambda data: data.pop("noise")), "noise"),
        (edited(lambda data: data.update(prompt="chat")), "chat"),
        (edited(lambda data: data.update(rewrites=[{"kind": "x"}])), "instruction"),
        (
            edited(lambda d: d.update(rewrites=[{"kind": "", "instruction": "", "success": 2}])),
            "success",
        ),
        (lambda folder: (folder / "model.json").write_text("{"), r"model\.json"),
        (lambda folder: (folder / "adapter.safetensors").write_bytes(b"x" * 99), "adapter"),
        (lambda folder: (folder / "base.safetensors").unlink(), "fit|cannot be read|lack"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer"),
    ],
)
def test_damaged_folders_are_refused_by_name(
    tmp_path: Path, damage: Callable[[Path], None], named: str
) -> None:
    folder = tiny_folder(tmp_path / "m")
    damage(folder)
    with pytest.raises(ModelError, match=named):
        make_engine(RuntimeSettings(model=str(folder), device="cpu")).load(lambda progress: None)


def test_an_unknown_model_is_told_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="`embedded`"):
        make_engine(RuntimeSettings(model=str(tmp_path / "nothing")))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="llama"):
        make_engine(RuntimeSettings(model=str(tmp_path)))


@pytest.mark.parametrize("form", ["fp8", "int4"])
def test_packed_weights_answer_too_and_say_so(form: str, tmp_path: Path) -> None:
    from tiny_gemma import gemma_folder

    from dgemma_runtime.models import embedded_folder

    folder = gemma_folder(tmp_path / "g", embedded_folder() / "tokenizer.json", wide=True)
    engine = make_engine(RuntimeSettings(model=str(folder), device="cpu", dtype=form))  # type: ignore[arg-type]
    device = engine.load(lambda progress: None)
    assert device.dtype == form
    assert "the setting asks for it" in device.reason
    asked = job(segments=(Free(tokens=6), Clamped(text="\n")), max_steps=3)
    assert engine.denoise(asked, no_draft).candidates[0].steps == 3


def test_only_diffusion_gemma_is_packed() -> None:
    engine = make_engine(RuntimeSettings(device="cpu", dtype="int4", offline=True))
    with pytest.raises(ModelError, match="only DiffusionGemma"):
        engine.load(lambda progress: None)


def test_a_diffusion_gemma_folder_answers(tmp_path: Path) -> None:
    from tiny_gemma import CANVAS, gemma_folder

    from dgemma_runtime.models import embedded_folder

    folder = gemma_folder(tmp_path / "g", embedded_folder() / "tokenizer.json")
    engine = make_engine(RuntimeSettings(model=str(folder), device="cpu", dtype="float32"))
    assert engine.limits.canvas_tokens == CANVAS
    engine.load(lambda progress: None)
    asked = job(segments=(Free(tokens=6), Clamped(text="\n")), max_steps=3, draft_every_ms=0)
    drafts: list[Draft] = []
    answer = engine.denoise(asked, drafts.append)
    assert answer.candidates[0].steps == 3
    assert len(drafts) == 3
    again = engine.denoise(asked, drafts.append)
    assert without_handles(again.candidates) == without_handles(answer.candidates)
    two = engine.denoise(job(segments=(Free(tokens=6),), max_steps=3, candidates=2), no_draft)
    assert len(two.candidates) == 2

"""The causal pass as a drafter and as a judge: against transformers, and on the real model."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from tiny_canvas import SPECIAL, tiny_base, tiny_canvas  # noqa: E402

from dgemma_runtime.canvas import ClampedIds, FreeSlots, Layout, lay_out  # noqa: E402
from dgemma_runtime.engine import causal, make_engine  # noqa: E402
from dgemma_runtime.engine.base import Engine  # noqa: E402
from dgemma_runtime.engine.prefix_cache import PrefixCache  # noqa: E402
from dgemma_runtime.job import Job, JobCancelled  # noqa: E402
from dgemma_runtime.models import embedded_folder  # noqa: E402
from dgemma_runtime.text import load_codec  # noqa: E402
from dgemma_wire.errors import DenoiseFailed, FailureCode  # noqa: E402
from dgemma_wire.messages import Clamped, Denoise, Free, Weigh  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = [pytest.mark.torch]

PREFIX = tuple(range(100, 140))
LAYOUT = Layout(head_rows=1, span_tokens=10, tail_tokens=8, canvas_tokens=64)


def nothing() -> None:
    pass


@torch.inference_mode()
def test_a_draft_is_what_the_base_writes_greedily() -> None:
    base = tiny_base()
    model = tiny_canvas(base=base)
    prefix_ids, canvas = lay_out(PREFIX, [FreeSlots(), ClampedIds((5, 6))], LAYOUT)
    prefix = model.new_prefix()
    model.encode(prefix_ids, prefix)
    made = causal.draft(model, prefix, canvas, (SPECIAL.fill_id,), lambda *_: None, nothing)
    ids = list(PREFIX)
    for _ in range(10):
        logits = base(torch.tensor([ids])).logits[0, -1]
        logits[: SPECIAL.banned] = -torch.inf
        ids.append(int(logits.argmax()))
    (start, end), *_ = canvas.spans
    assert list(made.filled.ids[start:end]) == ids[len(PREFIX) :]
    assert made.passes == 10
    assert prefix.length == len(prefix_ids)
    assert list(made.filled.ids[end:]) == [5, 6]


@torch.inference_mode()
@pytest.mark.parametrize("right", range(10))
def test_a_guess_changes_the_passes_and_nothing_else(right: int) -> None:
    model = tiny_canvas()
    prefix_ids, canvas = lay_out(PREFIX, [FreeSlots(), ClampedIds((5, 6))], LAYOUT)
    prefix = model.new_prefix()
    model.encode(prefix_ids, prefix)
    ends = (SPECIAL.fill_id,)
    plain = causal.draft(model, prefix, canvas, ends, lambda *_: None, nothing)
    (start, end), *_ = canvas.spans
    guess = [*plain.filled.ids[start : start + right], 77, 78]
    told = causal.draft(model, prefix, canvas, ends, lambda *_: None, nothing, guess)
    assert list(told.filled.ids) == list(plain.filled.ids)
    assert told.filled.log_probability == pytest.approx(plain.filled.log_probability, abs=1e-4)
    assert told.passes == max(1, 10 - right)
    assert prefix.length == len(prefix_ids)
    assert end - start == 10


@torch.inference_mode()
def test_a_draft_ends_where_its_lines_are_used_up() -> None:
    model = tiny_canvas()
    prefix_ids, canvas = lay_out(PREFIX, [FreeSlots(), ClampedIds((5, 6))], LAYOUT)
    prefix = model.new_prefix()
    model.encode(prefix_ids, prefix)
    made = causal.draft(
        model,
        prefix,
        canvas,
        (SPECIAL.fill_id,),
        lambda span, earlier, ids: 3 if len(ids) >= 3 else None,
        nothing,
    )
    (start, end), *_ = canvas.spans
    assert made.passes == 3
    assert list(made.filled.ids[start + 3 : end]) == [SPECIAL.fill_id] * 7


@torch.inference_mode()
def test_a_draft_that_is_given_up_leaves_the_prefix_as_it_was() -> None:
    model = tiny_canvas()
    prefix_ids, canvas = lay_out(PREFIX, [FreeSlots()], LAYOUT)
    prefix = model.new_prefix()
    model.encode(prefix_ids, prefix)
    calls = 0

    def between() -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        causal.draft(model, prefix, canvas, (SPECIAL.fill_id,), lambda *_: None, between)
    assert prefix.length == len(prefix_ids)


@torch.inference_mode()
def test_weights_are_the_bases_log_probabilities() -> None:
    base = tiny_base()
    model = tiny_canvas(base=base)
    codec = load_codec(embedded_folder() / "tokenizer.json")
    prefix, suffix = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"
    texts = ("a + b", "a", "")
    found = causal.weigh(
        model, PrefixCache(model), codec, prefix, codec.encode(prefix), texts, suffix, nothing
    )
    alone = codec.encode(prefix)
    wholes = [codec.encode(prefix + text + suffix) for text in texts]
    first = min(
        next((i for i, (a, b) in enumerate(zip(alone, w, strict=False)) if a != b), len(alone))
        for w in wholes
    )
    for text, whole, weight in zip(texts, wholes, found, strict=True):
        end = len(codec.encode(prefix + text)) + causal.SUFFIX_TOKENS
        ids = torch.tensor([whole[:end]])
        logits = base(ids).logits[0]
        logits[:, : SPECIAL.banned] = -torch.inf
        nats = logits[first - 1 : -1].log_softmax(-1).gather(-1, ids[0, first:, None])
        assert weight == pytest.approx(float(nats.sum()), abs=1e-3)


# -- the real model -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Engine:
    made = make_engine(RuntimeSettings(device="cpu", offline=True))
    made.load(lambda _: None)
    return made


def answer(engine: Engine, request: Denoise | Weigh):
    return engine.denoise(Job(0, request, time.monotonic()), lambda _: None)


@pytest.mark.model
def test_the_right_text_weighs_most(engine: Engine) -> None:
    weigh = Weigh(
        document="d",
        prefix="def load(path):\n    with open(path) as f:\n        return ",
        texts=("f.read()", "f.read", "f.read())", "path", "f.read()\n    return 1"),
        suffix="\n\n\ndef save(path, text):\n    with open(path, 'w') as f:\n        f.write(1)\n",
    )
    weights = answer(engine, weigh).weights
    assert len(weights) == 5
    assert max(weights) == weights[0]


@pytest.mark.model
def test_weighing_and_drafting_do_not_disturb_the_prefix_cache(engine: Engine) -> None:
    prefix = "import os\n\n\ndef names(path):\n    return "
    fill = Denoise(
        document="d", prefix=prefix, segments=(Free(max_lines=1), Clamped(text="\n\nx = 1\n"))
    )
    before = answer(engine, fill).candidates[0]
    causal_fill = Denoise(document="d", prefix=prefix, segments=fill.segments, causal=True)
    drafted = answer(engine, causal_fill).candidates
    assert len(drafted) == 1
    assert drafted[0].texts[0]
    assert "\n" not in drafted[0].texts[0]
    assert drafted[0].steps >= 1
    answer(engine, Weigh(document="d", prefix=prefix, texts=("a", "b"), suffix="\n"))
    after = answer(engine, fill)
    assert after.candidates[0].texts == before.texts
    assert after.candidates[0].score == pytest.approx(before.score, abs=0.02)
    assert after.timings.cached_tokens >= after.timings.prefix_tokens - 2


@pytest.mark.model
@pytest.mark.parametrize(
    "prefix", ["", "x", "# \N{CJK UNIFIED IDEOGRAPH-6F22} \N{GRINNING FACE} = "]
)
def test_short_prefixes_can_be_weighed(engine: Engine, prefix: str) -> None:
    weights = answer(engine, Weigh(document="d", prefix=prefix, texts=("a", ""), suffix="")).weights
    assert len(weights) == 2
    assert all(weight <= 0 for weight in weights)


@pytest.mark.model
def test_what_cannot_be_asked_is_refused(engine: Engine) -> None:
    with pytest.raises(DenoiseFailed, match="no texts") as failed:
        answer(engine, Weigh(document="d", prefix="a", texts=(), suffix=""))
    assert failed.value.code is FailureCode.BAD_REQUEST
    two = (Free(tokens=2), Clamped(text=" + "), Free(tokens=2))
    with pytest.raises(DenoiseFailed, match="one free segment"):
        answer(engine, Denoise(document="d", prefix="a = ", segments=two, causal=True))

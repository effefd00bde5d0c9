"""The model that ships with dgemma, with its real weights."""

from __future__ import annotations

import time

import pytest

torch = pytest.importorskip("torch")

from support.answers import without_handles  # noqa: E402

from dgemma_runtime.embedded.base import base_path  # noqa: E402
from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.engine.base import Engine  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models import resolve_spec  # noqa: E402
from dgemma_runtime.models.causal_canvas import KeyValues, load_adapter  # noqa: E402
from dgemma_wire.messages import (  # noqa: E402
    Candidate,
    Clamped,
    Denoise,
    Draft,
    Free,
    Kept,
    Piece,
    Renoise,
    Rewrite,
)
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.model]

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def engine() -> Engine:
    made = make_engine(RuntimeSettings(device="cpu", offline=True))
    made.load(lambda progress: None)
    return made


def no_draft(draft: Draft) -> None:
    pytest.fail("a draft nobody asked for")


def fill(engine: Engine, prefix: str, suffix: str, **fields: object) -> Candidate:
    segments = (Free(max_lines=1), Clamped(text=suffix))
    request = Denoise(id=1, document="d", prefix=prefix, segments=segments, **fields)  # type: ignore[arg-type]
    return engine.denoise(Job(0, request, time.monotonic()), no_draft).candidates[0]


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        ("def add(a, b):\n    return ", "\n\nprint(add(1, 2))", "a + b"),
        (
            "import json\n\ndef load(path):\n    with open(path) as f:\n        return ",
            "\n\ndef save(path, data):\n    with open(path, 'w') as f:\n"
            "        json.dump(data, f)\n",
            "json.load(f)",
        ),
        (
            "class Point:\n    def __init__(self, x, y):\n        self.x = x\n        ",
            "\n\n    def norm(self):\n        return (self.x ** 2 + self.y ** 2) ** 0.5\n",
            "self.y = y",
        ),
    ],
)
def test_plain_holes_are_filled_as_anyone_would(
    engine: Engine, prefix: str, suffix: str, expected: str
) -> None:
    candidate = fill(engine, prefix, suffix)
    assert candidate.texts == (expected,)
    assert candidate.stopped == "settled"
    assert candidate.steps < 12


def test_the_same_seed_gives_the_same_candidates(engine: Engine) -> None:
    segments = (Free(max_lines=1), Clamped(text="\n"))
    request = Denoise(
        id=1,
        document="d",
        prefix="import os\nfor name in ",
        segments=segments,
        candidates=3,
        seed=5,
    )
    answers = [engine.denoise(Job(0, request, time.monotonic()), no_draft) for _ in range(2)]
    assert without_handles(answers[0].candidates) == without_handles(answers[1].candidates)


def again(engine: Engine, draft: int, *pieces: Piece, **fields: object) -> Candidate:
    request = Renoise(id=1, document="d", draft=draft, spans=(pieces,), **fields)  # type: ignore[arg-type]
    return engine.denoise(Job(0, request, time.monotonic()), no_draft).candidates[0]


PREFIX = "def add(a, b):\n    return "
SUFFIX = "\n\nprint(add(1, 2))"


def test_a_hole_in_a_draft_is_filled_like_one_in_a_file(engine: Engine) -> None:
    draft = fill(engine, PREFIX, SUFFIX)
    assert draft.texts == ("a + b",)
    assert [token.chars for token in draft.tokens[0]] == [1, 2, 2]
    kept = again(engine, draft.draft, Kept(start=0, end=2), Free(tokens=1))
    assert kept.texts == draft.texts
    pieces = (Clamped(text="max(a"), Free(tokens=1), Kept(start=2, end=3), Clamped(text=")"))
    mended = again(engine, draft.draft, *pieces)
    assert mended.texts == ("max(a, b)",)
    last = again(engine, mended.draft, Kept(start=0, end=2), Free(tokens=8))
    assert last.texts[0].startswith("max(")
    assert last.complete


def test_a_draft_that_is_free_again_is_filled_as_at_first(engine: Engine) -> None:
    for fields in ({}, {"candidates": 3, "seed": 5}):
        draft = fill(engine, PREFIX, SUFFIX, **fields)
        whole = again(engine, draft.draft, Free(tokens=24), **fields)
        assert without_handles([whole]) == without_handles([draft])


def test_a_wrong_token_is_doubted_more_than_right_ones(engine: Engine) -> None:
    draft = fill(engine, PREFIX, SUFFIX, doubt=True)
    assert all((token.doubt or 0.0) < 0 for token in draft.tokens[0])
    wrong = again(engine, draft.draft, Clamped(text="a + import"), Free(tokens=1), doubt=True)
    doubts = [token.doubt or 0.0 for token in wrong.tokens[0]]
    assert max(range(len(doubts)), key=doubts.__getitem__) == 2
    assert doubts[2] > 0


def test_the_adapter_file_fits_the_base_and_reads_as_the_spec_says() -> None:
    spec = resolve_spec("embedded")
    assert spec.base is not None
    with torch.inference_mode():
        adapter = load_adapter(spec, base_path(spec.base), CPU, torch.float32)
        prefix: KeyValues = adapter.new_prefix()
        adapter.encode([504, 253, 3], prefix)
        canvas = torch.tensor([198, 7, 7, 198])
        logits = adapter.denoise(canvas, prefix, torch.tensor([1, 2]), None)
    assert logits.shape == (2, spec.noise.vocab_size)
    assert torch.isneginf(logits[:, :16]).all()


def test_bfloat16_and_float32_agree_on_a_plain_hole() -> None:
    texts = set()
    for dtype in ("float32", "bfloat16"):
        engine = make_engine(RuntimeSettings(device="cpu", dtype=dtype, offline=True))
        engine.load(lambda progress: None)
        texts.add(fill(engine, "def add(a, b):\n    return ", "\n\nprint(add(1, 2))").texts)
    assert texts == {("a + b",)}


@pytest.mark.parametrize(
    ("instruction", "original", "expected"),
    [
        ("compare to None with is", "    if value == None:", "    if value is None:"),
        ("use an augmented assignment", "    count = count + value", "    count += value"),
    ],
)
def test_what_it_offers_it_can_do(
    engine: Engine, instruction: str, original: str, expected: str
) -> None:
    offers = {offer.instruction for offer in engine.capabilities.rewrites}
    assert instruction in offers
    prefix = "def find(items, name):\n    value = items.get(name)\n    count = 0\n"
    candidate = fill(
        engine,
        prefix,
        "\n    return count\n",
        rewrite=Rewrite(instruction=instruction, original=original),
    )
    assert candidate.texts[0].rstrip("\n") == expected
    # The adapter for rewrites is not the one for fills.
    assert fill(engine, "def add(a, b):\n    return ", "\n\nprint(add(1, 2))").texts == ("a + b",)


def test_it_says_from_which_score_on_it_is_to_be_trusted(engine: Engine) -> None:
    least = engine.capabilities.least_score
    assert least is not None
    sure = fill(engine, "def add(a, b):\n    return ", "\n\nprint(add(1, 2))")
    unsure = fill(engine, "zq = ", "\n")
    assert unsure.score < least < sure.score

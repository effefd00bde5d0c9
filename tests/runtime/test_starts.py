"""Spans that begin as a text: what is noise at first, and that the rest stays. Random weights."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from support.answers import without_handles  # noqa: E402
from tiny_canvas import tiny_folder  # noqa: E402

from dgemma_runtime.canvas import NO_TOKEN, ClampedIds, FreeSlots, PartSpan  # noqa: E402
from dgemma_runtime.encoding import StartSlots  # noqa: E402
from dgemma_runtime.engine import loop, make_engine  # noqa: E402
from dgemma_runtime.engine.diffusion import DiffusionEngine  # noqa: E402
from dgemma_runtime.engine.starts import draw_starts  # noqa: E402
from dgemma_runtime.engine.state import Problem, State  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models import embedded_folder, resolve_spec  # noqa: E402
from dgemma_runtime.text import Codec, SpanText, load_codec  # noqa: E402
from dgemma_wire.errors import DenoiseFailed, FailureCode  # noqa: E402
from dgemma_wire.messages import Candidate, Clamped, Denoise, Free, Kept, Renoise  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch

PEER = 3
START = "total = 0\nfor item in items:"
Step = tuple[Problem, State, State]


def made(folder: Path) -> DiffusionEngine:
    settings = RuntimeSettings(model=str(folder), device="cpu", dtype="float32")
    engine = make_engine(settings, clock=lambda: 100.0)
    assert isinstance(engine, DiffusionEngine)
    engine.load(lambda progress: None)
    return engine


@pytest.fixture(scope="module")
def masking(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    """A model whose noise is a mask token; a span has 12 free positions at most."""
    return made(tiny_folder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def uniform(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    """A DiffusionGemma, whose noise is uniform; its canvas has 16 positions."""
    from tiny_gemma import gemma_folder

    return made(
        gemma_folder(tmp_path_factory.mktemp("gemma"), embedded_folder() / "tokenizer.json")
    )


@pytest.fixture(params=["masking", "uniform"])
def either(request: pytest.FixtureRequest) -> DiffusionEngine:
    return request.getfixturevalue(request.param)


CODEC = load_codec(embedded_folder() / "tokenizer.json")


@pytest.fixture
def codec() -> Codec:
    return CODEC


def ask(engine: DiffusionEngine, span: Free, **changes: object) -> tuple[Candidate, ...]:
    fields: dict[str, object] = {
        "id": 1,
        "document": "d",
        "prefix": "def f(items):\n    ",
        "segments": (span, Clamped(text="\n")),
        "max_steps": 6,
    }
    request = Denoise(**(fields | changes))  # type: ignore[arg-type]
    return engine.denoise(Job(PEER, request, 100.0), lambda draft: None).candidates


def watched(engine: DiffusionEngine, span: Free, **changes: object) -> tuple[Candidate, list[Step]]:
    """Ask, and note what every step began and ended with."""
    steps: list[Step] = []
    real = loop.advance

    def step(*arguments: object) -> State:
        after = real(*arguments)  # type: ignore[arg-type]
        steps.append((arguments[2], arguments[3], after))  # type: ignore[arg-type]
        return after

    with mock.patch.object(loop, "advance", step):
        return ask(engine, span, **changes)[0], steps


def is_subsequence(inner: Sequence[int], outer: Sequence[int]) -> bool:
    rest = iter(outer)
    return all(token in rest for token in inner)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.sampled_from(["x", "a + b", START, "s = '漢字🦜'\r\n\ty", "    \n"]),
    noise=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**40),
)
def test_what_is_not_noise_stays_through_every_step(
    masking: DiffusionEngine, text: str, noise: float, seed: int
) -> None:
    own = CODEC.encode(" " + text)  # with the blank before the span
    noisy = max(1, round(len(own) * noise))
    most = masking.limits.max_span_tokens
    if noisy > most:
        with pytest.raises(DenoiseFailed, match=f"this model fills {most} at most"):
            watched(masking, Free(start=text, noise=noise), seed=seed)
        return
    candidate, steps = watched(masking, Free(start=text, noise=noise), seed=seed)
    start, end = steps[0][0].canvas.spans[0]
    for problem, before, after in steps:
        known = ~problem.free
        assert torch.equal(before.tokens[known], problem.known[known])
        assert torch.equal(after.tokens[known], problem.known[known])
        assert before.decided[known].all()
    if noisy < len(own):
        kept = steps[0][0].known[start:end][~steps[0][0].free[start:end]].tolist()
        assert len(kept) == len(own) - noisy
        assert is_subsequence(kept, own)
        held = masking._kept.get(PEER, candidate.draft).spans[0]
        assert is_subsequence(kept, held.ids)
        sure = [token.probability for token in candidate.tokens[0]]
        assert sure.count(1.0) >= len(kept) - 1  # the first may be the blank alone
    assert sum(token.chars for token in candidate.tokens[0]) == len(candidate.texts[0])


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_the_same_seed_gives_the_same_answer(either: DiffusionEngine, noise: float) -> None:
    span = Free(start="a = b + c", noise=noise)
    answers = [ask(either, span, candidates=3, seed=9) for _ in range(2)]
    assert without_handles(answers[0]) == without_handles(answers[1])


def test_seeds_and_candidates_draw_different_noise(masking: DiffusionEngine) -> None:
    free = set()
    for seed in range(4):
        _, steps = watched(masking, Free(start=START, noise=0.3), candidates=3, seed=seed)
        free |= {problem.canvas.free for problem, _, _ in steps}
    assert len(free) > 6


def test_the_least_noise_is_one_token(masking: DiffusionEngine, codec: Codec) -> None:
    own = codec.encode(" " + START)
    candidate, steps = watched(masking, Free(start=START, noise=1e-9, tokens=len(own)))
    assert sum(steps[0][0].canvas.free) == 1
    held = masking._kept.get(PEER, candidate.draft).spans[0].ids
    assert sum(a != b for a, b in zip(own, held, strict=True)) <= 1


def test_noise_alone_is_a_plain_span(either: DiffusionEngine, codec: Codec) -> None:
    own = len(codec.encode(" a = b"))
    for candidates in (1, 3):
        begun = ask(either, Free(start="a = b", noise=1.0), candidates=candidates, seed=4)
        plain = ask(either, Free(tokens=own + 4), candidates=candidates, seed=4)
        assert without_handles(begun) == without_handles(plain)
    named = ask(either, Free(start="a = b", tokens=own), seed=4)
    assert without_handles(named) == without_handles(ask(either, Free(tokens=own), seed=4))


def test_an_empty_start_is_none(either: DiffusionEngine) -> None:
    empty = ask(either, Free(start="", noise=0.2), seed=1)
    assert without_handles(empty) == without_handles(ask(either, Free(), seed=1))


def test_uniform_noise_begins_as_the_text_and_then_the_end(
    uniform: DiffusionEngine, codec: Codec
) -> None:
    own = codec.encode(" a = b + c")
    _, steps = watched(uniform, Free(start="a = b + c", noise=0.4))
    problem, before, after = steps[0]
    start, end = problem.canvas.spans[0]
    begins = problem.canvas.begins[start:end]
    noisy = [i for i, token in enumerate(begins) if token == NO_TOKEN]
    assert len(noisy) == round(len(own) * 0.4)
    assert max(noisy) < len(own)
    for i, token in enumerate(before.tokens[start:end].tolist()):
        if i not in noisy:
            assert token == (own[i] if i < len(own) else uniform._spec.end_ids[0])
    assert problem.free[start:end].all()
    assert not torch.equal(before.tokens[start:end], after.tokens[start:end])


@pytest.mark.parametrize("noise", [0.0, -0.5, 1.01, math.nan, math.inf])
def test_a_share_that_is_none_is_refused(either: DiffusionEngine, noise: float) -> None:
    with pytest.raises(DenoiseFailed, match="over 0 and up to 1") as caught:
        ask(either, Free(start="x", noise=noise))
    assert caught.value.code is FailureCode.BAD_REQUEST


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (Free(start="a = b + c", tokens=3, noise=0.5), r"takes 5 tokens.*have 3"),
        (Free(start="a = b + c\n" * 8, noise=1.0), "at most|canvas"),
        (Free(start="x" * 100_000, noise=0.1), "100000 characters"),
        (Free(start="漢" * 400, noise=0.1), "at most|canvas"),
    ],
)
def test_a_start_of_too_many_tokens_is_refused(
    either: DiffusionEngine, span: Free, message: str
) -> None:
    with pytest.raises(DenoiseFailed, match=message) as caught:
        ask(either, span)
    assert caught.value.code is FailureCode.CONTEXT_TOO_LONG


def test_a_long_start_with_little_noise_has_room(masking: DiffusionEngine, codec: Codec) -> None:
    """What is bounded is what is free."""
    text = "value = compute(1)\n" * 10
    assert len(codec.encode(text)) > 50
    candidate, steps = watched(masking, Free(start=text, noise=0.05), prefix="")
    assert sum(steps[0][0].canvas.free) <= 12
    assert candidate.texts[0].count("value = ") >= 5


def test_a_start_keeps_to_the_lines_of_its_span(masking: DiffusionEngine) -> None:
    for seed in range(6):
        span = Free(start=START, noise=0.5, max_lines=2)
        (candidate,) = ask(masking, span, seed=seed)
        assert candidate.texts[0].count("\n") <= 1
    with pytest.raises(DenoiseFailed, match=r"2 lines.*is 1") as caught:
        ask(masking, Free(start=START, noise=0.5, max_lines=1))
    assert caught.value.code is FailureCode.BAD_REQUEST


def test_several_spans_begin_as_texts(either: DiffusionEngine) -> None:
    segments = (Free(start="a", noise=0.5), Clamped(text=" = "), Free(start="b", noise=1.0))
    request = Denoise(id=1, document="d", prefix="x\n", segments=segments, max_steps=4)
    (candidate,) = either.denoise(Job(PEER, request, 100.0), lambda draft: None).candidates
    assert len(candidate.texts) == len(candidate.tokens) == 2


def test_a_draft_that_began_as_a_text_can_be_gone_on_from(masking: DiffusionEngine) -> None:
    (draft,) = ask(masking, Free(start="a = b + c", noise=0.2), seed=2)
    held = masking._kept.get(PEER, draft.draft).spans[0].ids
    pieces = (Kept(start=0, end=2), Free(tokens=2))
    request = Renoise(id=2, document="d", draft=draft.draft, spans=(pieces,), max_steps=4)
    (again,) = masking.denoise(Job(PEER, request, 100.0), lambda draft: None).candidates
    assert masking._kept.get(PEER, again.draft).spans[0].ids[:2] == held[:2]
    begun = (Kept(start=0, end=2), Free(tokens=2, start="x"))
    request = Renoise(id=3, document="d", draft=draft.draft, spans=(begun,))
    with pytest.raises(DenoiseFailed, match="cannot begin") as caught:
        masking.denoise(Job(PEER, request, 100.0), lambda draft: None)
    assert caught.value.code is FailureCode.BAD_REQUEST


def test_runs_of_noise_are_pieces_and_room_is_behind_the_text_only(codec: Codec) -> None:
    spec = resolve_spec("embedded")
    ids = tuple(range(100, 120))
    segments, _ = draw_starts(
        [StartSlots(ids, 0.3)], [SpanText("", None)], codec=codec, spec=spec, seed=1
    )
    (span,) = segments
    assert isinstance(span, PartSpan)
    sizes = [
        piece.tokens if isinstance(piece, FreeSlots) else len(piece.ids) for piece in span.pieces
    ]
    assert sum(size or 0 for size in sizes) == 25
    known = [token for piece in span.pieces if isinstance(piece, ClampedIds) for token in piece.ids]
    assert len(known) == 14
    assert known == sorted(known)
    assert isinstance(span.pieces[-1], FreeSlots)
    assert (span.pieces[-1].tokens or 0) >= 5

"""Going on from a draft: what is kept comes back, the rest is denoised as ever. Random weights."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from support.answers import without_handles  # noqa: E402
from tiny_canvas import tiny_folder  # noqa: E402

from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.engine.diffusion import DiffusionEngine  # noqa: E402
from dgemma_runtime.engine.kept_drafts import ROOM, SECONDS, DraftSpan  # noqa: E402
from dgemma_runtime.job import Job, JobCancelled  # noqa: E402
from dgemma_runtime.models import embedded_folder  # noqa: E402
from dgemma_runtime.text import Codec, load_codec  # noqa: E402
from dgemma_wire.errors import DenoiseFailed, FailureCode  # noqa: E402
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
    TokenState,
)
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch


class Clock:
    """Time that passes by a fixed amount at every look."""

    now = 100.0
    tick = 0.0

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


CLOCK = Clock()
PEER = 3


def made(folder: Path, dtype: str = "float32") -> DiffusionEngine:
    engine = make_engine(RuntimeSettings(model=str(folder), device="cpu", dtype=dtype), clock=CLOCK)
    assert isinstance(engine, DiffusionEngine)
    engine.load(lambda progress: None)
    return engine


@pytest.fixture(scope="module")
def masking(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    """A model whose noise is a mask token."""
    return made(tiny_folder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def uniform(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    """A DiffusionGemma, whose noise is uniform; its canvas has 16 positions."""
    from tiny_gemma import gemma_folder

    return made(
        gemma_folder(tmp_path_factory.mktemp("gemma"), embedded_folder() / "tokenizer.json")
    )


@pytest.fixture
def engine(masking: DiffusionEngine) -> Iterator[DiffusionEngine]:
    yield masking
    CLOCK.tick = 0.0


@pytest.fixture(params=["masking", "uniform"])
def either(request: pytest.FixtureRequest) -> DiffusionEngine:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec(embedded_folder() / "tokenizer.json")


def no_draft(draft: Draft) -> None:
    pytest.fail("a draft was made that nobody asked for")


def first(engine: DiffusionEngine, peer: int = PEER, **changes: object) -> tuple[Candidate, ...]:
    fields: dict[str, object] = {
        "id": 1,
        "document": "d",
        "prefix": "def f(a):\n    return",
        "segments": (Free(tokens=6), Clamped(text="\n\nprint(f(1))\n")),
        "max_steps": 4,
    }
    request = Denoise(**(fields | changes))  # type: ignore[arg-type]
    return engine.denoise(Job(peer, request, CLOCK.now), no_draft).candidates


def job(draft: int, *spans: Sequence[Piece], peer: int = PEER, **changes: object) -> Job:
    fields: dict[str, object] = {
        "id": 2,
        "document": "d",
        "draft": draft,
        "spans": tuple(tuple(pieces) for pieces in spans),
        "max_steps": 4,
    }
    return Job(peer, Renoise(**(fields | changes)), CLOCK.now)  # type: ignore[arg-type]


def again(
    engine: DiffusionEngine, draft: int, *spans: Sequence[Piece], **changes: object
) -> Candidate:
    return engine.denoise(job(draft, *spans, **changes), no_draft).candidates[0]  # type: ignore[arg-type]


def held(engine: DiffusionEngine, candidate: Candidate) -> DraftSpan:
    """What the engine keeps of a candidate's first span."""
    return engine._kept.get(PEER, candidate.draft).spans[0]


def adds_up(candidate: Candidate) -> bool:
    return [sum(token.chars for token in tokens) for tokens in candidate.tokens] == [
        len(text) for text in candidate.texts
    ]


def fits(made: Sequence[int], parts: Sequence[tuple[int, ...] | int]) -> bool:
    """Whether tokens are the parts one after another; a number stands for up to as many."""
    if not parts:
        return not made
    part, *others = parts
    if isinstance(part, int):
        return any(fits(made[n:], others) for n in range(min(part, len(made)) + 1))
    return tuple(made[: len(part)]) == part and fits(made[len(part) :], others)


@st.composite
def cuts(draw: st.DrawFn) -> list[Piece]:
    """Pieces over a span of six tokens, one of them free."""
    pieces: list[Piece] = []
    at = 0
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from("kkcf"))
        if kind == "k":
            start = draw(st.integers(at, 6))
            at = draw(st.integers(start, 6))
            pieces.append(Kept(start=start, end=at))
        elif kind == "c":
            pieces.append(Clamped(text=draw(st.sampled_from(["", "x", " = 漢字", "🦜\t", "é\r"]))))
        else:
            pieces.append(Free(tokens=draw(st.integers(1, 2))))
    pieces.insert(draw(st.integers(0, len(pieces))), Free(tokens=draw(st.integers(1, 2))))
    return pieces


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=cuts(), seed=st.integers(0, 2**31))
def test_kept_tokens_come_back_as_they_were(
    either: DiffusionEngine, codec: Codec, pieces: list[Piece], seed: int
) -> None:
    segments = (Free(tokens=6), Clamped(text="\n"))
    draft = first(either, seed=seed, prefix="x =", segments=segments, max_steps=1)[0]
    old = held(either, draft)
    pieces = [
        Kept(start=min(p.start, len(old.ids)), end=min(p.end, len(old.ids)))
        if isinstance(p, Kept)
        else p
        for p in pieces
    ]
    new = again(either, draft.draft, pieces, seed=seed + 1, max_steps=2)
    parts: list[tuple[int, ...] | int] = []
    for piece in pieces:
        match piece:
            case Kept(start=start, end=end):
                parts.append(old.ids[start:end])
            case Clamped(text=text):
                parts.append(tuple(codec.encode(text)))
            case Free(tokens=tokens):
                parts.append(tokens or 0)
    made = held(either, new)
    assert fits(made.ids, parts)
    assert new.texts == (codec.decode(made.ids),)
    assert adds_up(draft)
    assert adds_up(new)
    assert len(new.tokens[0]) == len(made.ids)


def test_kept_tokens_keep_their_probabilities_and_clamped_text_is_certain(
    either: DiffusionEngine, codec: Codec
) -> None:
    draft = first(either)[0]
    old = draft.tokens[0]
    pieces = (Kept(start=0, end=2), Clamped(text="(x)"), Free(tokens=1), Kept(start=4, end=6))
    new = again(either, draft.draft, pieces)
    tokens = new.tokens[0]
    assert [t.probability for t in tokens[:2]] == [t.probability for t in old[:2]]
    assert [t.probability for t in tokens[-2:]] == [t.probability for t in old[4:]]
    inserted = tokens[2 : 2 + len(codec.encode("(x)"))]
    assert {token.probability for token in inserted} == {1.0}
    assert min(t.probability for t in tokens) >= new.lowest
    assert new.score < 0


@pytest.mark.parametrize(
    "changes",
    [
        {"prefix": "def f(a):\n    return "},  # a healed blank
        {"prefix": ""},
        {"segments": (Free(tokens=6, max_lines=1), Clamped(text="\n"))},
        {"prefix": "x = 1\n", "rewrite": Rewrite(instruction="a", original="y = 2")},
        {"seed": 11, "candidates": 3},
    ],
)
def test_a_span_that_is_free_again_is_what_it_was_at_first(
    either: DiffusionEngine, changes: dict[str, object]
) -> None:
    before = first(either, **changes)
    same = {name: changes[name] for name in ("seed", "candidates") if name in changes}
    asked = job(before[0].draft, [Free(tokens=6)], **same)  # type: ignore[arg-type]
    answer = either.denoise(asked, no_draft)
    assert without_handles(answer.candidates) == without_handles(before)
    assert {c.draft for c in answer.candidates}.isdisjoint(c.draft for c in before)
    assert answer.timings.cached_tokens == answer.timings.prefix_tokens


def test_two_spans_go_on_each_by_itself(engine: DiffusionEngine) -> None:
    segments = (Free(tokens=3), Clamped(text=" = "), Free(tokens=2), Clamped(text="\n"))
    draft = first(engine, segments=segments)[0]
    left = again(
        engine, draft.draft, [Kept(start=0, end=1), Free(tokens=2)], [Kept(start=0, end=2)]
    )
    assert left.texts[1] == draft.texts[1]
    assert left.tokens[0][0] == draft.tokens[0][0]
    one = again(engine, draft.draft, [], [Free(tokens=2)])
    assert one.texts[0] == ""
    assert one.tokens[0] == ()


def test_the_same_seed_gives_the_same_answer(either: DiffusionEngine) -> None:
    draft = first(either)[0]
    pieces = (Kept(start=0, end=3), Free(tokens=2), Kept(start=5, end=6))
    answers = [
        either.denoise(job(draft.draft, pieces, candidates=2, seed=4), no_draft) for _ in range(2)
    ]
    assert without_handles(answers[0].candidates) == without_handles(answers[1].candidates)


def test_rounds_are_chained_and_the_first_draft_stays(either: DiffusionEngine) -> None:
    draft = first(either)[0]
    latest = draft
    for number in range(5):
        tokens = len(latest.tokens[0])
        pieces = (Kept(start=0, end=number), Free(tokens=1), Kept(start=number + 1, end=tokens))
        new = again(either, latest.draft, pieces, seed=number)
        assert held(either, new).ids[:number] == held(either, latest).ids[:number]
        latest = new
    assert len(latest.tokens[0]) <= 6
    assert without_handles([again(either, draft.draft, [Free(tokens=6)])]) == without_handles(
        [draft]
    )


def test_a_prefix_that_was_evicted_is_read_again(engine: DiffusionEngine) -> None:
    draft = first(engine)[0]
    pieces = (Kept(start=0, end=3), Free(tokens=3))
    warm = again(engine, draft.draft, pieces)
    assert engine._loaded is not None
    engine._loaded.cache.clear()
    answer = engine.denoise(job(draft.draft, pieces), no_draft)
    assert answer.timings.cached_tokens == 0
    assert without_handles(answer.candidates) == without_handles([warm])


def test_the_blank_before_the_span_is_never_doubled(engine: DiffusionEngine, codec: Codec) -> None:
    """The prefix ends in a blank that the span's tokens bring along."""
    draft = first(engine, prefix="def f():\n    return ")[0]
    for pieces, text in (
        ((Clamped(text="foo"), Free(tokens=1)), "foo"),
        ((Clamped(text=" foo"), Free(tokens=1)), " foo"),
        ((Clamped(text=""), Clamped(text="foo"), Free(tokens=1)), "foo"),
    ):
        new = again(engine, draft.draft, pieces)
        assert new.texts[0].startswith(text)
        assert codec.decode(held(engine, new).ids) == " " + new.texts[0]
        assert adds_up(new)
    named = again(engine, draft.draft, [Clamped(text="foo bar"), Free(tokens=1)])
    kept = again(engine, named.draft, [Kept(start=0, end=2), Free(tokens=1)])
    assert kept.texts[0].startswith("foo bar")
    assert kept.tokens[0][0].chars == 3
    moved = again(engine, named.draft, [Clamped(text="("), Kept(start=0, end=2), Free(tokens=1)])
    assert moved.texts[0].startswith("(foo bar")
    assert adds_up(moved)


def test_a_character_in_two_is_one_again(engine: DiffusionEngine) -> None:
    draft = first(engine)[0]
    bird = again(engine, draft.draft, [Clamped(text="🦜"), Free(tokens=1)])
    parts = [token.chars for token in bird.tokens[0]]
    count = parts.index(1) + 1
    assert count > 1
    split = (Kept(start=0, end=1), Kept(start=1, end=count), Free(tokens=1))
    assert again(engine, bird.draft, split).texts[0].startswith("🦜")
    half = again(engine, bird.draft, [Kept(start=0, end=1), Free(tokens=1)])
    assert adds_up(half)
    assert held(engine, half).ids[0] == held(engine, bird).ids[0]


def test_an_answer_is_whole_when_its_end_is(engine: DiffusionEngine) -> None:
    """A piece in the middle may use all its positions; the text still ends where it did."""
    draft = next(c for i in range(9) if not (c := first(engine, prefix=f"x{i} ="))[0].complete)[0]
    middle, end = [Kept(start=0, end=2), Free(tokens=1)], Kept(start=3, end=6)
    assert not again(engine, draft.draft, [*middle, end]).complete
    assert again(engine, draft.draft, [*middle, Kept(start=3, end=5)]).complete
    assert again(engine, draft.draft, [*middle, end, Clamped(text=")")]).complete


def test_every_step_is_drafted_with_what_is_kept(either: DiffusionEngine) -> None:
    draft = first(either)[0]
    drafts: list[Draft] = []
    pieces = (Kept(start=0, end=2), Free(tokens=2), Kept(start=4, end=6))
    answer = either.denoise(job(draft.draft, pieces, draft_every_ms=0), drafts.append)
    assert len(drafts) == answer.candidates[0].steps
    for one in drafts:
        states = [token.state for token in one.spans[0]]
        assert states[:2] == states[-2:] == [TokenState.SETTLED] * 2


def test_a_cancelled_job_stops_within_one_step(engine: DiffusionEngine) -> None:
    draft = first(engine)[0]
    asked = job(draft.draft, [Free(tokens=6)], draft_every_ms=0)
    seen: list[Draft] = []

    def cancel(one: Draft) -> None:
        seen.append(one)
        asked.cancelled.set()

    with pytest.raises(JobCancelled):
        engine.denoise(asked, cancel)
    assert len(seen) == 1


def test_no_step_is_started_after_the_deadline(engine: DiffusionEngine) -> None:
    draft = first(engine)[0]
    CLOCK.tick = 0.001
    late = job(draft.draft, [Free(tokens=6)], deadline_ms=12, max_steps=None)
    (candidate,) = engine.denoise(late, no_draft).candidates
    assert candidate.stopped == "deadline"
    with pytest.raises(DenoiseFailed) as caught:
        engine.denoise(job(draft.draft, [Free(tokens=6)], deadline_ms=0), no_draft)
    assert caught.value.code is FailureCode.DEADLINE


def gone(engine: DiffusionEngine, draft: int, peer: int = PEER) -> bool:
    try:
        again(engine, draft, [Free(tokens=1)], peer=peer)
    except DenoiseFailed as error:
        return error.code is FailureCode.DRAFT_GONE and str(draft) in str(error)
    return False


def test_a_draft_is_its_peers_alone(engine: DiffusionEngine) -> None:
    draft = first(engine)[0].draft
    assert draft > 0
    assert gone(engine, draft, peer=PEER + 1)
    assert not gone(engine, draft)
    assert all(gone(engine, number) for number in (0, -1, 10**30))


def test_a_draft_is_kept_for_a_while(engine: DiffusionEngine) -> None:
    draft = first(engine)[0].draft
    for _ in range(3):  # going on from it keeps it
        CLOCK.now += SECONDS - 1
        assert not gone(engine, draft)
    CLOCK.now += SECONDS + 1
    assert gone(engine, draft)


def test_only_so_many_drafts_are_kept(engine: DiffusionEngine) -> None:
    oldest, *_ = [first(engine, max_steps=1)[0].draft for _ in range(2)]
    for _ in range(ROOM - 1):
        first(engine, segments=(Free(tokens=1),), max_steps=1)
    assert gone(engine, oldest)
    assert len(engine._kept) <= ROOM


def test_unloading_forgets_drafts_and_so_does_running_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgemma_runtime.models import causal_canvas

    engine = made(tiny_folder(tmp_path))
    draft = first(engine)[0].draft
    engine.unload()
    engine.load(lambda progress: None)
    assert gone(engine, draft)
    draft = first(engine)[0].draft

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(causal_canvas.CausalCanvas, "denoise", full)
        with pytest.raises(DenoiseFailed, match="out of memory"):
            again(engine, draft, [Free(tokens=1)])
    assert gone(engine, draft)


BAD = FailureCode.BAD_REQUEST
LONG = FailureCode.CONTEXT_TOO_LONG


@pytest.mark.parametrize(
    ("spans", "changes", "code"),
    [
        ([], {}, BAD),
        ([[]], {}, BAD),
        ([[Free(tokens=1)], [Free(tokens=1)]], {}, BAD),
        ([[Kept(start=0, end=6)]], {}, BAD),
        ([[Free()]], {}, BAD),
        ([[Free(tokens=0)]], {}, BAD),
        ([[Free(tokens=-3)]], {}, BAD),
        ([[Kept(start=0, end=7), Free(tokens=1)]], {}, BAD),
        ([[Kept(start=-1, end=2), Free(tokens=1)]], {}, BAD),
        ([[Kept(start=3, end=2), Free(tokens=1)]], {}, BAD),
        ([[Kept(start=0, end=3), Free(tokens=1), Kept(start=2, end=4)]], {}, BAD),
        ([[Kept(start=3, end=4), Kept(start=0, end=1), Free(tokens=1)]], {}, BAD),
        ([[Clamped(text="a\nb"), Free(tokens=1)]], {}, BAD),  # the span may have one line
        ([[Free(tokens=1)]], {"candidates": 0}, BAD),
        ([[Free(tokens=1)]], {"candidates": 9}, BAD),
        ([[Free(tokens=1)]], {"max_steps": 0}, BAD),
        ([[Free(tokens=13)]], {}, LONG),
        ([[Free(tokens=7), Free(tokens=6)]], {}, LONG),
        ([[Free(tokens=10**12)]], {}, LONG),
        ([[Free(tokens=1)] * 5000], {}, LONG),
        ([[Clamped(text="x = 1; " * 200), Free(tokens=1)]], {}, LONG),
        ([[Clamped(text="x" * 10**6), Free(tokens=1)]], {}, LONG),
    ],
)
def test_what_does_not_fit_the_draft_is_told_so(
    engine: DiffusionEngine,
    spans: list[list[Piece]],
    changes: dict[str, object],
    code: FailureCode,
) -> None:
    draft = first(engine, segments=(Free(tokens=6, max_lines=1), Clamped(text="\n")))[0]
    assert len(draft.tokens[0]) == 6
    with pytest.raises(DenoiseFailed) as caught:
        again(engine, draft.draft, *spans, **changes)
    assert caught.value.code is code
    assert not gone(engine, draft.draft)


def test_a_canvas_of_a_uniform_model_is_bounded_too(uniform: DiffusionEngine) -> None:
    draft = first(uniform)[0]
    for pieces in ([Free(tokens=10**12)], [Free(tokens=1)] * 5000, [Free(tokens=17)]):
        with pytest.raises(DenoiseFailed) as caught:
            again(uniform, draft.draft, pieces)
        assert caught.value.code is LONG


def test_doubts_are_measured_when_asked_for(either: DiffusionEngine) -> None:
    plain = first(either, candidates=2)
    doubting = first(either, candidates=2, doubt=True)
    assert [c.texts for c in plain] == [c.texts for c in doubting]
    for before, after in zip(plain, doubting, strict=True):
        told = zip(before.tokens[0], after.tokens[0], strict=True)
        assert all(a.doubt is None and isinstance(b.doubt, float) for a, b in told)
        assert before.steps == after.steps
    pieces = (Kept(start=0, end=4), Free(tokens=1))
    new = again(either, doubting[0].draft, pieces, doubt=True)
    assert all(isinstance(token.doubt, float) for token in new.tokens[0])


def test_doubts_take_no_time_behind_the_deadline(engine: DiffusionEngine) -> None:
    CLOCK.tick = 0.001
    late = first(engine, deadline_ms=14, max_steps=None, doubt=True)[0]
    assert late.stopped == "deadline"
    assert {token.doubt for token in late.tokens[0]} == {None}

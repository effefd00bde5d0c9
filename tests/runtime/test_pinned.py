"""Rewrites with pinned lines: known text at the head of a canvas and between its spans."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from tiny_canvas import tiny_folder  # noqa: E402

from dgemma_runtime.canvas import ClampedIds, FreeSlots, lay_out  # noqa: E402
from dgemma_runtime.encoding import EncodedRequest, encode_request  # noqa: E402
from dgemma_runtime.engine import loop, make_engine  # noqa: E402
from dgemma_runtime.engine.base import Answer  # noqa: E402
from dgemma_runtime.engine.diffusion import DiffusionEngine  # noqa: E402
from dgemma_runtime.engine.state import Problem, State  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models import embedded_folder, resolve_spec  # noqa: E402
from dgemma_runtime.prompt import RAW  # noqa: E402
from dgemma_runtime.text import load_codec  # noqa: E402
from dgemma_wire.errors import DenoiseFailed, FailureCode  # noqa: E402
from dgemma_wire.messages import Clamped, Denoise, Free, Rewrite, Segment  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch

CODEC = load_codec(embedded_folder() / "tokenizer.json")
PREFIX = "def find(items, name):\n    value = items.get(name)\n"
REWRITE = Rewrite(
    instruction="compare to None with is",
    original="    first = 1\n    if value == None:\n        return None\n    last = 2",
)
REST = "\n    return value\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    return made(str(tiny_folder(tmp_path_factory.mktemp("tiny"))))


def made(model: str) -> DiffusionEngine:
    settings = RuntimeSettings(model=model, device="cpu", dtype="float32", offline=True)
    engine = make_engine(settings, clock=lambda: 100.0)
    assert isinstance(engine, DiffusionEngine)
    engine.load(lambda progress: None)
    return engine


def ask(engine: DiffusionEngine, *segments: Segment, **changes: object) -> Answer:
    fields: dict[str, object] = {
        "id": 1,
        "document": "d",
        "prefix": PREFIX,
        "segments": segments,
        "rewrite": REWRITE,
    }
    request = Denoise(**(fields | changes))  # type: ignore[arg-type]
    return engine.denoise(Job(0, request, 100.0), lambda draft: None)


def encode(prefix: str, rewrite: Rewrite | None, *segments: Segment) -> EncodedRequest:
    return encode_request(
        CODEC, RAW.lay_out(prefix, rewrite), segments, prefix_tokens=512, tail_tokens=29
    )


LINES = st.lists(
    st.sampled_from(
        ["", "    x = 1", "\tif a:", "漢字 = '🦜'", "    ", "</div>", "a\r", "=======", "  y = 2 "]
    ),
    max_size=4,
).map(lambda lines: "".join(line + "\n" for line in lines))


@settings(max_examples=80, deadline=None)
@given(prefix=LINES, first=LINES, between=LINES, rest=LINES, rewrites=st.booleans())
def test_clamped_text_comes_out_byte_for_byte(
    prefix: str, first: str, between: str, rest: str, rewrites: bool
) -> None:
    """Before, between and behind the spans; a blank that a span was given counts as there."""
    rewrite = REWRITE if rewrites else None
    segments = (Clamped(text=first), Free(), Clamped(text="\n" + between), Free())
    request = encode(prefix, rewrite, *segments, Clamped(text="\n" + rest))
    before = RAW.lay_out(prefix, rewrite).text + first
    blanks = [span.given for span in request.spans]
    assert CODEC.decode(request.prefix_ids) + blanks[0] == before
    clamped = [s for s in request.segments if isinstance(s, ClampedIds)]
    assert CODEC.decode(clamped[0].ids) + blanks[1] == "\n" + between
    tail = CODEC.decode(clamped[1].ids).rstrip("\N{REPLACEMENT CHARACTER}")
    assert ("\n" + rest).startswith(tail)
    spec = resolve_spec("embedded")
    plain = [s for s in request.segments if isinstance(s, ClampedIds | FreeSlots)]
    head, canvas = lay_out(request.prefix_ids, plain, spec.layout)
    start = canvas.spans[0][0]
    shown = [*head, *canvas.ids[:start]] if request.prefix_ids else []
    assert CODEC.decode(shown) + blanks[0] == before


def test_pinned_lines_stay_through_every_step(tiny: DiffusionEngine) -> None:
    seen: list[tuple[Problem, State]] = []
    real = loop.advance

    def step(*arguments: object) -> State:
        after = real(*arguments)  # type: ignore[arg-type]
        seen.append((arguments[2], after))  # type: ignore[arg-type]
        return after

    segments = (
        Clamped(text="    first = 1\n"),
        Free(tokens=5),
        Clamped(text="\n        return None\n"),
        Free(tokens=4),
        Clamped(text="\n    last = 2" + REST),
    )
    with mock.patch.object(loop, "advance", step):
        (candidate,) = ask(tiny, *segments, max_steps=5).candidates
    assert len(candidate.texts) == 2
    assert seen
    for problem, after in seen:
        canvas = problem.canvas
        between = after.tokens[canvas.spans[0][1] : canvas.spans[1][0]].tolist()
        behind = after.tokens[canvas.spans[1][1] :].tolist()
        assert CODEC.decode(between) == "\n        return None\n"
        assert CODEC.decode(behind) == "\n    last = 2" + REST


def test_pinned_lines_at_the_head_cost_prefix_and_not_canvas(tiny: DiffusionEngine) -> None:
    plain = ask(tiny, Free(tokens=5), Clamped(text=REST), max_steps=1)
    pin = "    first = 1\n"
    pinned = ask(tiny, Clamped(text=pin), Free(tokens=5), Clamped(text=REST), max_steps=1)
    more = pinned.timings.prefix_tokens - plain.timings.prefix_tokens
    assert more == len(CODEC.encode("=======\n" + pin)) - len(CODEC.encode("=======\n"))


def test_pinned_lines_are_never_cut(tiny: DiffusionEngine) -> None:
    pin = "    pinned = 1\n" * 200
    with pytest.raises(DenoiseFailed, match="Select fewer lines") as caught:
        ask(tiny, Clamped(text=pin), Free(tokens=5), Clamped(text=REST))
    assert caught.value.code is FailureCode.CONTEXT_TOO_LONG


@pytest.mark.model
def test_the_embedded_model_writes_the_lines_between_pinned_ones() -> None:
    engine = made("embedded")
    behind = "\n        return None\n    last = 2" + REST
    answer = ask(engine, Clamped(text="    first = 1\n"), Free(max_lines=1), Clamped(text=behind))
    assert answer.candidates[0].texts == ("    if value is None:",)
    # One hunk begins as what stands there, and little of it is noise.
    begun = ask(
        engine,
        Clamped(text="    first = 1\n    if value is None:\n"),
        Free(start="        return None", noise=0.2, max_lines=1),
        Clamped(text="\n    last = 2" + REST),
    )
    assert begun.candidates[0].texts == ("        return None",)

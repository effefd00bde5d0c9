"""Canvases, the training passes against the runtime's, batches, checkpoints, int8."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from dgemma_runtime.canvas import ClampedIds, FreeSlots, lay_out  # noqa: E402
from dgemma_runtime.encoding import encode_request  # noqa: E402
from dgemma_runtime.models.canvas_weights import LINEARS, whole  # noqa: E402
from dgemma_runtime.prompt import Prompt  # noqa: E402
from dgemma_runtime.text import load_codec  # noqa: E402
from dgemma_training import adapter as adapters  # noqa: E402
from dgemma_training import batches as batching  # noqa: E402
from dgemma_training import step as stepping  # noqa: E402
from dgemma_training.batches import BatchMaker  # noqa: E402
from dgemma_training.canvases import CanvasCutter, Shape  # noqa: E402
from dgemma_training.checkpoint import RunState, load_checkpoint, save_checkpoint  # noqa: E402
from dgemma_training.documents import Document, Split  # noqa: E402
from dgemma_training.noise import StateMix  # noqa: E402
from dgemma_training.recipe import (  # noqa: E402
    PROFILES,
    batch_maker,
    new_lora,
    shapes,
)
from dgemma_training.spans import Mix  # noqa: E402
from dgemma_wire.messages import Clamped, Free  # noqa: E402
from tests.runtime.tiny_canvas import DIMS, SPECIAL, tiny_base, tiny_canvas  # noqa: E402
from tests.training.own_sources import documents  # noqa: E402
from tests.training.tiny_training import (  # noqa: E402
    SPEC,
    TOKENIZER,
    maker,
    random_lora,
    tiny,
)

pytestmark = pytest.mark.torch

SHAPE = Shape("fill", 2, 4, 128, 24, 54)
TOLERANCE = {"atol": 2e-4, "rtol": 2e-4}


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("drafted", [False, True])
def test_training_and_runtime_compute_the_same(kind: str, tied: bool, drafted: bool) -> None:
    base = tiny(kind, tied=tied)
    lora = random_lora(base)
    cutter = CanvasCutter(TOKENIZER, Mix.DEFAULT)
    states = StateMix(left_to_right=0.5, scattered=0.5, mend=0.0)
    batch = BatchMaker(
        {"python": documents()}, {"python": 1.0}, {SHAPE: 1.0}, cutter, states, 16, 1
    ).make(0)
    given = batching.lay_out(batch, batch.states, 16)
    model = tiny_canvas(adapter=lora.tensors(), base=tiny_base(kind, tied=tied))

    logits = torch.randn(
        len(given.hidden_places), 49152, generator=torch.Generator().manual_seed(2)
    )
    draft = None
    if drafted:
        shares, tokens = stepping.expected_tokens(logits)
        rows = base.trunk.embedding[tokens]
        rows = torch.where((tokens == 16)[..., None], lora.row("input.fill"), rows)
        draft = lora.row("input.draft") + (rows * shares[..., None]).sum(1)
    windows = stepping.read_windows(base.trunk, batch.ids)
    hidden = stepping._canvas_pass(
        base.trunk, lora, lora.factors(torch.float32), windows, batch, given, base.special, draft
    )
    ours = stepping.logits_of(base.trunk, lora, hidden[given.hidden_places], base.special)

    at = 0
    for i, (example, state) in enumerate(zip(batch.examples, batch.states, strict=True)):
        prefix = model.new_prefix()
        model.encode(batch.ids[i // SHAPE.canvases, : example.start].tolist(), prefix)
        canvas = given.ids[i, : int(given.rows[i])].clone()
        first = len(example.head)
        rows = torch.tensor([first + slot for slot in state.undecided])
        canvas[rows] = SPECIAL.mask_id
        mine = logits[at : at + len(rows)] if drafted else None
        theirs = model.denoise(canvas, prefix, rows, mine)
        torch.testing.assert_close(ours[at : at + len(rows), 16:], theirs[:, 16:], **TOLERANCE)
        at += len(rows)
    assert at == len(given.hidden_places)


def test_canvases_are_laid_out_as_the_runtime_lays_them_out() -> None:
    """Cut at token borders, a training canvas is the canvas the same request makes."""
    codec = load_codec(SPEC.folder / "tokenizer.json")
    cutter = CanvasCutter(TOKENIZER, Mix.DEFAULT)
    compared = 0
    for number, document in enumerate(documents()[:12]):
        window = cutter.fill_window(document, SHAPE, random.Random(number))
        if window is None:
            continue
        for example in window.examples:
            before = TOKENIZER.decode(window.ids[: example.start + 1])
            if len(example.head) > 1 or codec.encode(before) != list(
                window.ids[: example.start + 1]
            ):
                continue  # the cursor cuts a token in two, or the window does
            if TOKENIZER.decode(example.middle).startswith(" "):
                before += " "  # the cursor stood behind the blank that the span was given
            after = TOKENIZER.decode(example.tail)
            request = encode_request(
                codec,
                Prompt(before),
                [Free(), Clamped(text=after)],
                prefix_tokens=512,
                tail_tokens=29,
            )
            ids, canvas = lay_out(request.prefix_ids, request.segments, SPEC.layout)
            assert ids == window.ids[: example.start]
            assert canvas.ids[: len(example.head)] == example.head
            assert canvas.ids[len(example.head) + 24 :][:8] == example.tail[:8]
            compared += 1
    assert compared > 20


def test_a_span_takes_the_blank_before_it() -> None:
    cutter = CanvasCutter(TOKENIZER, Mix.DEFAULT)
    glued = 0
    for number, document in enumerate(documents()):
        window = cutter.fill_window(document, SHAPE, random.Random(number))
        for example in window.examples if window else ():
            blank = TOKENIZER.decode(example.middle).startswith(" ")
            assert blank or not TOKENIZER.decode(example.head).endswith(" ")
            glued += blank
    assert glued > 10


def test_aligned_tokens_are_those_of_the_window() -> None:
    cutter = CanvasCutter(TOKENIZER, Mix.DEFAULT)
    some = 0
    for number, document in enumerate(documents()[:12]):
        window = cutter.fill_window(document, SHAPE, random.Random(number))
        for example in window.examples if window else ():
            at = example.start + len(example.head)
            assert example.middle[: example.aligned] == window.ids[at : at + example.aligned]
            some += example.aligned
    assert some > 50


def test_a_rewrite_window_ends_in_its_instruction() -> None:
    batch = maker(long=0.0, rewrites=1.0).make(0)
    for i, example in enumerate(batch.examples):
        text = TOKENIZER.decode(batch.ids[i, : example.start + 1].tolist())
        assert "\n<<<<<<< " in f"\n{text}"
        assert text.endswith("\n=======\n")
        assert example.middle


def test_a_batch_depends_on_its_number_alone() -> None:
    one, other = maker(), maker()
    later = [one.make(step) for step in (4, 2, 0)]
    for step, batch in zip((4, 2, 0), later, strict=True):
        assert _same(other.make(step), batch)
    assert not _same(one.make(1), one.make(2))
    assert not _same(maker(seed=4).make(1), one.make(1))


def _same(one: batching.Batch, other: batching.Batch) -> bool:
    return (
        one.shape == other.shape
        and torch.equal(one.ids, other.ids)
        and one.examples == other.examples
        and one.states == other.states
    )


def test_documents_without_a_usable_line_are_an_error_not_an_endless_loop() -> None:
    empty = [Document("x = 1\n", "python", "p", "0", "MIT", "a.py", Split.TRAIN)]
    made = batch_maker(tiny(), empty, shapes(PROFILES["tiny"], long=0, rewrites=0), seed=0)
    with pytest.raises(ValueError, match="no canvas"):
        made.make(0)
    with pytest.raises(ValueError, match="languages"):
        batch_maker(tiny(), [], {SHAPE: 1.0}, seed=0)


def test_checkpoints_survive_a_cut_between_their_two_renames(tmp_path: Path) -> None:
    lora = random_lora(tiny())
    optimizer = torch.optim.AdamW(lora.parameters())
    folder = tmp_path / "checkpoint"
    save_checkpoint(folder, lora, optimizer, RunState(7, 1.5, 80, {"rank": 4}))
    folder.rename(tmp_path / "checkpoint.old")
    fresh = new_lora(tiny(), 4, 0, None)
    state = load_checkpoint(folder, fresh, torch.optim.AdamW(fresh.parameters()))
    assert (state.step, state.canvases) == (7, 80)
    for name, tensor in lora.tensors().items():
        assert torch.equal(tensor, fresh.tensors()[name])


def test_int8_changes_the_products_little_and_balanced_ones_less() -> None:
    lora = random_lora(tiny())
    with torch.no_grad():  # as training leaves them: ranks of very different lengths
        for name, parameter in lora.named_parameters():
            if name.startswith("first"):
                parameter.mul_(torch.logspace(-2, 2, parameter.shape[0])[:, None])
            elif name.startswith("second"):
                parameter.mul_(torch.logspace(1, -2, parameter.shape[1])[None])
    tensors = lora.tensors()

    def error(stored: dict[str, torch.Tensor]) -> float:
        total = scale = 0.0
        for layer in range(DIMS.layers):
            for name in LINEARS:
                key = f"layers.{layer}.{name}.lora_"
                exact = tensors[f"{key}b"] @ tensors[f"{key}a"]
                one, other = (
                    whole(stored, f"{key}{x}", tuple(tensors[f"{key}{x}"].shape)) for x in "ab"
                )
                kept = other @ one
                total += float((kept - exact).square().sum())
                scale += float(exact.square().sum())
        return (total / scale) ** 0.5

    plain = error(adapters.quantise(tensors))
    even = error(adapters.quantise(adapters.balance(tensors)))
    assert even < 0.02
    assert even < plain


def test_free_slots_of_the_recipe_are_the_runtimes() -> None:
    from dgemma_training.recipe import LENGTH, SLOTS

    _, canvas = lay_out((1, 2, 3), [FreeSlots(), ClampedIds(tuple(range(100)))], SPEC.layout)
    assert canvas.free.count(True) == SLOTS
    assert len(canvas.ids) == LENGTH

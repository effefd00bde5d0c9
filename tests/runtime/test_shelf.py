"""Adapters of workspaces: loaded when asked for, told apart, few at a time, refused by name."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from safetensors.torch import save_file  # noqa: E402
from scripted_adapter import TableAdapter  # noqa: E402
from tiny_canvas import tiny_adapter, tiny_canvas, tiny_folder  # noqa: E402

from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.engine.base import Engine  # noqa: E402
from dgemma_runtime.engine.shelf import AdapterShelf  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models.causal_canvas import CausalCanvas  # noqa: E402
from dgemma_wire.adapters import CARD_FILE, WEIGHTS_FILE, make_adapter_folder  # noqa: E402
from dgemma_wire.errors import DenoiseFailed, FailureCode  # noqa: E402
from dgemma_wire.messages import Clamped, Denoise, Free  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch


def write(directory: Path, name: str, *, seed: int = 5, base: str = "") -> Path:
    folder = make_adapter_folder(name, directory)
    save_file(tiny_adapter(seed, scale=0.6), folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).chmod(0o600)  # the library leaves it to the umask
    card = {"base_sha256": base, "name": name, "created": "2027-01-01", "samples": 12}
    (folder / CARD_FILE).write_text(json.dumps(card))
    return folder


@pytest.fixture
def shelf(tmp_path: Path) -> AdapterShelf:
    for seed, name in enumerate(("a", "b", "c"), 5):
        write(tmp_path, name, seed=seed)
    return AdapterShelf(tiny_canvas(), "", tmp_path)


def canvas_of(shelf: AdapterShelf, name: str) -> CausalCanvas:
    found = shelf.get(name)
    assert isinstance(found, CausalCanvas)
    return found


def test_all_but_the_canvas_trunk_is_shared(shelf: AdapterShelf) -> None:
    own, one = canvas_of(shelf, "").weights, canvas_of(shelf, "a").weights
    assert one.embedding is own.embedding
    assert one.head is own.head
    assert one.prefix is own.prefix
    expected = tiny_canvas(adapter=tiny_adapter(5, scale=0.6)).weights
    for mine, theirs in zip(one.canvas, expected.canvas, strict=True):
        assert mine.norm_mlp.data_ptr() != theirs.norm_mlp.data_ptr()
        torch.testing.assert_close(mine.qkv, theirs.qkv, atol=0, rtol=0)
        torch.testing.assert_close(mine.down, theirs.down, atol=0, rtol=0)
        assert not torch.equal(mine.qkv, own.canvas[0].qkv)
    assert torch.equal(one.fill_head, expected.fill_head)


def test_two_stay_and_the_least_recently_used_goes(shelf: AdapterShelf) -> None:
    first, second = shelf.get("a"), shelf.get("b")
    assert shelf.get("a") is first
    shelf.get("c")
    assert len(shelf) == 2
    assert shelf.get("a") is first
    assert shelf.get("b") is not second
    shelf.clear()
    assert shelf.get("a") is not first
    assert shelf.get("") is shelf.get("")


def test_a_file_that_was_replaced_is_read_again(shelf: AdapterShelf, tmp_path: Path) -> None:
    first = canvas_of(shelf, "a")
    write(tmp_path, "a", seed=9)
    os.utime(tmp_path / "a" / WEIGHTS_FILE, ns=(1, 1))
    second = canvas_of(shelf, "a")
    assert not torch.equal(first.weights.canvas[0].qkv, second.weights.canvas[0].qkv)
    assert len(shelf) == 1


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()


def other_base(folder: Path) -> None:
    write(folder.parent, folder.name, base="f" * 64)


def no_card(folder: Path) -> None:
    (folder / CARD_FILE).unlink()


def torn_card(folder: Path) -> None:
    (folder / CARD_FILE).write_text('{"base_sha256"')


def torn_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).write_bytes(b"x" * 50)


def lacking(folder: Path) -> None:
    tensors = tiny_adapter()
    del tensors["layers.2.down.lora_b"]
    save_file(tensors, folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).chmod(0o600)


def misshapen(name: str, *shape: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        save_file(tiny_adapter() | {name: torch.zeros(shape)}, folder / WEIGHTS_FILE)
        (folder / WEIGHTS_FILE).chmod(0o600)

    return damage


def open_to_others(folder: Path) -> None:
    (folder / WEIGHTS_FILE).chmod(0o666)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (no_weights, "No such file"),
        (other_base, "other base weights"),
        (no_card, r"adapter\.json"),
        (torn_card, r"adapter\.json"),
        (torn_weights, r"adapter\.safetensors"),
        (lacking, r"layers\.2\.down\.lora_b"),
        (misshapen("layers.0.qkv.lora_a", 4, 23), "does not fit"),
        (misshapen("layers.0.qkv.lora_b", 1, 4), "does not fit"),
        (misshapen("input.mask", 1), "does not fit"),
        pytest.param(
            open_to_others,
            "user's alone",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions"),
        ),
    ],
)
def test_what_cannot_be_used_is_told(
    shelf: AdapterShelf, tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(tmp_path / "a")
    with pytest.raises(DenoiseFailed, match=says) as caught:
        shelf.get("a")
    assert caught.value.code is FailureCode.ADAPTER_UNAVAILABLE
    assert shelf.get("b") is shelf.get("b")


def test_an_unknown_one_and_what_is_no_id(shelf: AdapterShelf) -> None:
    with pytest.raises(DenoiseFailed) as caught:
        shelf.get("nobody")
    assert caught.value.code is FailureCode.ADAPTER_UNAVAILABLE
    with pytest.raises(DenoiseFailed) as caught:
        shelf.get("../a")
    assert caught.value.code is FailureCode.BAD_REQUEST


def test_a_model_that_takes_none_says_so(tmp_path: Path) -> None:
    write(tmp_path, "a")
    table = AdapterShelf(TableAdapter(lambda canvas, rows: torch.zeros(1)), "", tmp_path)
    with pytest.raises(DenoiseFailed, match="takes none") as caught:
        table.get("a")
    assert caught.value.code is FailureCode.ADAPTER_UNAVAILABLE


# -- through the engine -------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    write(tmp_path / "adapters", "mine")
    made = make_engine(
        RuntimeSettings(model=str(tiny_folder(tmp_path / "m")), device="cpu", dtype="float32"),
        adapters_dir=tmp_path / "adapters",
    )
    made.load(lambda progress: None)
    return made


def ask(engine: Engine, adapter: str) -> tuple[tuple[str, ...], int]:
    request = Denoise(
        id=1,
        document="d",
        prefix="def f(a):\n    return ",
        segments=(Free(tokens=12), Clamped(text="\nprint(f(1))\n")),
        adapter=adapter,
    )
    answer = engine.denoise(Job(0, request, time.monotonic()), lambda draft: None)
    return answer.candidates[0].texts, answer.timings.cached_tokens


def test_an_adapter_changes_the_answer_and_shares_the_prefix(engine: Engine) -> None:
    own, _ = ask(engine, "")
    mine, cached = ask(engine, "mine")
    assert mine != own
    assert cached > 0
    assert ask(engine, "")[0] == own
    assert ask(engine, "mine")[0] == mine


def test_a_refused_adapter_leaves_the_engine_as_it_was(engine: Engine) -> None:
    own, _ = ask(engine, "")
    with pytest.raises(DenoiseFailed) as caught:
        ask(engine, "nobody")
    assert caught.value.code is FailureCode.ADAPTER_UNAVAILABLE
    assert ask(engine, "")[0] == own


def test_no_memory_for_an_adapter_is_told_as_that(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    ask(engine, "")
    with monkeypatch.context() as patch:
        patch.setattr(CausalCanvas, "with_canvas_adapter", full)
        with pytest.raises(DenoiseFailed) as caught:
            ask(engine, "mine")
    assert caught.value.code is FailureCode.OUT_OF_MEMORY
    assert ask(engine, "mine")[1] == 0  # what could be made again was given up


def test_rewrites_have_an_adapter_of_the_models_own(tmp_path: Path) -> None:
    write(tmp_path, "a")
    save_file(tiny_adapter(7, scale=0.6), tmp_path / "rewrites.safetensors")
    shelf = AdapterShelf(tiny_canvas(), "", tmp_path, rewrites=tmp_path / "rewrites.safetensors")
    rewriter = shelf.for_rewrites("")
    assert isinstance(rewriter, CausalCanvas)
    assert rewriter is shelf.for_rewrites("a")  # a workspace's adapter is for its fills
    expected = tiny_canvas(adapter=tiny_adapter(7, scale=0.6)).weights
    assert torch.equal(rewriter.weights.canvas[0].qkv, expected.canvas[0].qkv)
    assert not torch.equal(
        rewriter.weights.canvas[0].qkv, canvas_of(shelf, "").weights.canvas[0].qkv
    )
    shelf.clear()
    assert shelf.for_rewrites("") is not rewriter


def test_without_one_rewrites_take_what_fills_take(shelf: AdapterShelf) -> None:
    assert shelf.for_rewrites("a") is shelf.get("a")
    assert shelf.for_rewrites("") is shelf.get("")


def test_a_damaged_adapter_for_rewrites_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "rewrites.safetensors").write_bytes(b"no tensors")
    shelf = AdapterShelf(tiny_canvas(), "", tmp_path, rewrites=tmp_path / "rewrites.safetensors")
    with pytest.raises(DenoiseFailed, match=r"rewrites\.safetensors") as failed:
        shelf.for_rewrites("")
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE

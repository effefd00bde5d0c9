"""Memory that runs out above some size: said clearly, given back, and less of it works next time.

The passes here ask the machine for memory that it does not have, so what fails is an allocation.
"""

from __future__ import annotations

import gc
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from support.answers import without_handles  # noqa: E402
from tiny_canvas import tiny_folder  # noqa: E402
from tiny_gemma import gemma_folder  # noqa: E402

from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.engine.base import Answer, Engine  # noqa: E402
from dgemma_runtime.engine.device import is_out_of_memory  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models import embedded_folder  # noqa: E402
from dgemma_runtime.models.base import CanvasPass  # noqa: E402
from dgemma_runtime.models.causal_canvas import CausalCanvas  # noqa: E402
from dgemma_runtime.models.diffusion_gemma import DiffusionGemma  # noqa: E402
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError  # noqa: E402
from dgemma_wire.messages import Clamped, Denoise, Draft, Free  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch

TOO_MUCH = 2**55
"""Bytes that no machine has."""
SMALL, LARGE = 4, 8
"""Free positions of the two requests."""

Refs = list["weakref.ref[Any]"]


def gemma(folder: Path) -> Path:
    return gemma_folder(folder, embedded_folder() / "tokenizer.json")


@pytest.fixture(scope="module", params=["causal canvas", "diffusion gemma"])
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Engine, type[Any]]:
    home = tmp_path_factory.mktemp("tiny")
    canvas = request.param == "causal canvas"
    folder = tiny_folder(home) if canvas else gemma(home)
    engine = make_engine(RuntimeSettings(model=str(folder), device="cpu", dtype="float32"))
    engine.load(lambda _: None)
    return engine, CausalCanvas if canvas else DiffusionGemma


def ask(engine: Engine, tokens: int, **changes: Any) -> Answer:
    fields: dict[str, Any] = {
        "id": 1,
        "document": "d",
        "prefix": "def f(a):\n    return ",
        "segments": (Free(tokens=tokens), Clamped(text="\n")),
        "max_steps": 3,
    }
    request = Denoise(**(fields | changes))
    return engine.denoise(Job(0, request, time.monotonic()), no_draft)


def no_draft(_: Draft) -> None:
    pytest.fail("a draft was made that nobody asked for")


def take(rows: int, limit: int, seen: Refs) -> None:
    """Take memory for some rows; above the limit there is none."""
    scratch = torch.ones(rows, 1000)
    seen.append(weakref.ref(scratch))
    if rows > limit:
        torch.empty(TOO_MUCH, dtype=torch.uint8)


def short_in_passes(patch: pytest.MonkeyPatch, adapter: type[Any], limit: int) -> Refs:
    """Have canvas passes fail above ``limit`` predicted rows; returns what they took before."""
    seen: Refs = []
    real: Callable[..., Any] = adapter.denoise_together

    def denoise_together(self: Any, passes: Sequence[CanvasPass]) -> Any:
        take(sum(len(each.rows) for each in passes), limit, seen)
        return real(self, passes)

    patch.setattr(adapter, "denoise_together", denoise_together)
    return seen


def test_what_fails_here_is_an_allocation() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(TOO_MUCH, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_a_request_that_is_too_large_is_refused_and_a_smaller_one_works(
    loaded: tuple[Engine, type[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, adapter = loaded
    wanted = ask(engine, SMALL)
    seen = short_in_passes(monkeypatch, adapter, SMALL)
    for _ in range(2):  # the same again is the same, and no worse
        with pytest.raises(DenoiseFailed, match="ran out of memory") as caught:
            ask(engine, LARGE)
        assert caught.value.code is FailureCode.OUT_OF_MEMORY
        assert "fewer tokens" in str(caught.value)
        assert seen
        assert all(ref() is None for ref in seen)
        seen.clear()
        answer = ask(engine, SMALL)
        assert answer.timings.cached_tokens == 0  # the prefixes were given up too
        assert without_handles(answer.candidates) == without_handles(wanted.candidates)


def test_candidates_that_do_not_fit_side_by_side_are_made_one_by_one(
    loaded: tuple[Engine, type[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, adapter = loaded
    monkeypatch.setattr(engine, "_width", 3)  # as it is on GPUs
    wanted = ask(engine, LARGE, candidates=3, seed=5)
    taken = short_in_passes(monkeypatch, adapter, LARGE)
    found = ask(engine, LARGE, candidates=3, seed=5)
    assert len(taken) > 3  # a pass of three, and then three of one
    assert all(ref() is None for ref in taken)
    texts = [candidate.texts for candidate in found.candidates]
    assert sorted(texts) == sorted(candidate.texts for candidate in wanted.candidates)
    assert len(texts) > 1


def test_a_prefix_that_is_too_long_is_refused_and_a_shorter_one_works(
    loaded: tuple[Engine, type[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, adapter = loaded
    wanted = ask(engine, SMALL)
    seen: Refs = []
    real: Callable[..., Any] = adapter.encode

    def encode(self: Any, ids: Sequence[int], prefix: Any) -> None:
        take(prefix.length + len(ids), 40, seen)
        real(self, ids, prefix)

    monkeypatch.setattr(adapter, "encode", encode)
    with pytest.raises(DenoiseFailed, match="ran out of memory") as caught:
        ask(engine, SMALL, prefix="x = f(1)\n" * 20)
    assert caught.value.code is FailureCode.OUT_OF_MEMORY
    assert all(ref() is None for ref in seen)
    answer = ask(engine, SMALL)
    assert without_handles(answer.candidates) == without_handles(wanted.candidates)


def test_errors_again_and_again_leave_no_tensors_behind(
    loaded: tuple[Engine, type[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, adapter = loaded
    short_in_passes(monkeypatch, adapter, SMALL)

    def fail_and_work() -> int:
        with pytest.raises(DenoiseFailed):
            ask(engine, LARGE)
        ask(engine, SMALL)
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    counts = [fail_and_work() for _ in range(6)]
    assert counts[-1] <= counts[1]


def test_a_model_that_does_not_fit_is_not_half_there_and_can_be_loaded_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgemma_runtime.engine import diffusion

    seen: Refs = []
    engine = make_engine(RuntimeSettings(model=str(tiny_folder(tmp_path)), device="cpu"))
    with monkeypatch.context() as patch:
        patch.setattr(diffusion, "adapter_loader", lambda _: lambda *_: take(2, 1, seen))
        with pytest.raises(ModelError, match="does not fit into the memory of cpu"):
            engine.load(lambda _: None)
    assert all(ref() is None for ref in seen)
    with pytest.raises(DenoiseFailed) as caught:
        ask(engine, SMALL)
    assert caught.value.code is FailureCode.MODEL_UNAVAILABLE
    engine.load(lambda _: None)
    assert ask(engine, SMALL).candidates

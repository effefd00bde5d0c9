"""The rival: the untouched base model completing the prefix greedily, which never sees the suffix.

It is given what helps it without training: the stop at the line's end where one line is missing,
and a rule that cuts what repeats the rest of the line. Knows no runtime process.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from dgemma_lsp.infill.capture import budget_for, capture
from dgemma_lsp.infill.trigger import find_hole
from dgemma_lsp.infill.types import Hole, HoleKind
from dgemma_lsp.infill.validate import check
from dgemma_runtime.encoding import encode_request
from dgemma_runtime.engine import device as devices
from dgemma_runtime.engine.files import locate_weights
from dgemma_runtime.models import resolve_spec
from dgemma_runtime.models.base import BaseFolder, ModelSpec
from dgemma_runtime.models.canvas_weights import read_tensors
from dgemma_runtime.prompt import Prompt
from dgemma_runtime.text import Codec, load_codec, read_text
from dgemma_training.evaluation.asking import Answer, snapshot_of
from dgemma_training.evaluation.items import EvaluationError, Item
from dgemma_training.evaluation.judging import cut_at_tail
from dgemma_training.evaluation.models import BASE, BASE_CUT
from dgemma_wire.messages import Free

BASE_TRIMMED = "base_trimmed"


@dataclass(frozen=True, slots=True)
class _Completion:
    ids: list[int]
    ended: bool
    forwards: int
    prefill_ms: float
    steps_ms: float


class BaseSystem:
    """The base of a canvas model in this process.

    Readings: ``base`` is its text, ``base_cut`` the text cut where it says the rest of the line,
    and ``base_trimmed`` the text after the language server's rules, which are made for the canvas.
    """

    def __init__(self, spec: ModelSpec, codec: Codec, model: Any) -> None:
        """Take a causal model with the interface of ``transformers``."""
        self._spec = spec
        self._codec = codec
        self._model = model
        banned = int(dict(spec.dims).get("banned", 0))
        self._ends = {*range(banned), *spec.end_ids}

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(self._model.device)

    @property
    def dtype(self) -> str:
        """What it computes in."""
        return str(self._model.dtype).removeprefix("torch.")

    async def answer(self, item: Item) -> Mapping[str, Answer]:
        """See ``asking.System``."""
        spec, row = self._spec, item.row
        began = time.perf_counter()
        snapshot = snapshot_of(row)
        hole = find_hole(snapshot, len(row.prefix), invoked=True)
        if not isinstance(hole, Hole):
            nothing = Answer("", problem=str(hole.reason))
            return dict.fromkeys((BASE, BASE_CUT, BASE_TRIMMED), nothing)
        context = capture(snapshot, hole, budget_for(spec.limits))
        # The rival is told how many lines are missing; the product has to find out.
        lines = None if "\n" in row.middle.strip() else 1
        request = encode_request(
            self._codec,
            Prompt(context.prefix),
            (Free(max_lines=lines),),
            prefix_tokens=spec.limits.prefix_tokens,
            tail_tokens=0,
            start_ids=spec.start_ids,
        )
        ids = list(request.prefix_ids) or [spec.layout.empty_head_id]
        made = self._complete(ids, lines)
        text = read_text(self._codec, made.ids, request.spans[0])
        total_ms = (time.perf_counter() - began) * 1000
        tail = row.suffix.split("\n", 1)[0] if hole.kind is HoleKind.MID_LINE else ""
        trimmed, verdict = check(snapshot, hole, text)

        def answer(text: str, shown: bool | None = None, rules: tuple[str, ...] = ()) -> Answer:
            return Answer(
                text=text,
                tokens=len(made.ids) + made.ended,
                forwards=made.forwards,
                prefill_ms=made.prefill_ms,
                steps_ms=made.steps_ms,
                total_ms=total_ms,
                shown=shown,
                rules=rules,
            )

        return {
            BASE: answer(text),
            BASE_CUT: answer(cut_at_tail(text, tail)),
            BASE_TRIMMED: answer(trimmed, verdict.accepted, verdict.trimmed),
        }

    @torch.inference_mode()
    def _complete(self, ids: list[int], lines: int | None) -> _Completion:
        """Return the likeliest tokens one after another, without the one that ends them."""
        began = time.perf_counter()
        place = self._model.device
        passed = self._model(torch.tensor([ids], device=place), use_cache=True, logits_to_keep=1)
        made: list[int] = []
        token = _likeliest(passed.logits)
        prefilled = time.perf_counter()
        forwards = 0
        while token not in self._ends:
            made.append(token)
            if len(made) == self._spec.layout.span_tokens:
                break
            if lines is not None and self._codec.decode(made).count("\n") >= lines:
                break
            step = torch.tensor([[token]], device=place)
            passed = self._model(step, past_key_values=passed.past_key_values, use_cache=True)
            token = _likeliest(passed.logits)
            forwards += 1
        ended = time.perf_counter()
        return _Completion(
            made,
            token in self._ends,
            forwards,
            (prefilled - began) * 1000,
            (ended - prefilled) * 1000,
        )


def _likeliest(logits: Tensor) -> int:
    return int(logits[0, -1].argmax())


def load_base_system(
    model: str, *, device: str = "auto", dtype: str = "auto", threads: int = 0
) -> BaseSystem:
    """Load the base under a canvas model, onto the device and in the numbers of the runtime.

    Raises:
        EvaluationError: The model has no base of its own to compare with.
        ModelError: The weights cannot be had.
    """
    spec = resolve_spec(model)
    if spec.base is None:
        raise EvaluationError(f"{spec.name} is no adapter over a base, so there is no `base`.")
    place, number, _ = devices.choose_device(device, dtype)
    devices.set_threads(threads)
    path = locate_weights(spec, lambda _: None, offline=False)
    if isinstance(spec.base, BaseFolder):
        made = AutoModelForCausalLM.from_pretrained(path, dtype=number)
    else:
        made = _from_file(path, dict(spec.dims), number)
    # The stubs of `to` know nothing of devices.
    ready = cast(torch.nn.Module, made).to(place).eval()
    system = BaseSystem(spec, load_codec(spec.folder / "tokenizer.json"), ready)
    system._complete([spec.layout.empty_head_id], 1)  # the first pass of all is slow
    return system


def _from_file(path: Path, dims: dict[str, float], dtype: torch.dtype) -> LlamaForCausalLM:
    """Make Llama of one converted file and the numbers of a ``model.json``."""
    tensors = read_tensors(path)
    vocab, hidden = tensors["model.embed_tokens.weight"].shape
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=tensors["model.layers.0.mlp.gate_proj.weight"].shape[0],
        num_hidden_layers=int(dims["layers"]),
        num_attention_heads=int(dims["heads"]),
        num_key_value_heads=int(dims["kv_heads"]),
        head_dim=int(dims["head_dim"]),
        rope_parameters={"rope_type": "default", "rope_theta": dims["rope_theta"]},
        rms_norm_eps=dims["norm_eps"],
        max_position_embeddings=int(dims["max_positions"]),
        tie_word_embeddings="lm_head.weight" not in tensors,
    )
    made = LlamaForCausalLM(config)
    missing, unexpected = made.load_state_dict(tensors, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise EvaluationError(f"{path.name} is no Llama: {[*missing, *unexpected][:3]}")
    made.tie_weights()
    cast(torch.nn.Module, made).to(dtype)
    return made

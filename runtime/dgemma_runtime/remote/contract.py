"""What is said to a vLLM server and what it says back, as values: bodies out, answers in.

The contract is that of vLLM's request validation for diffusion models and its example of structured
reads; docs/decisions/0013-vllm.md names the files, and what is assumed. Knows tokens, no texts and
no connections.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dgemma_runtime.canvas import NO_TOKEN, Canvas
from dgemma_wire.errors import DenoiseFailed, FailureCode

NO_PASS_NATS = -100.0
"""Stands for a probability that JSON cannot carry, such as that of a token with none."""

SAMPLE = "def area(width, height):\n\treturn width * height  # größe 面積 🙂\n"
"""What the two tokenizers are compared by; never anybody's source."""

_CANVAS = re.compile(r"must hold exactly (\d+) ids")


class _Logprobs(msgspec.Struct):
    tokens: list[str] = []
    token_logprobs: list[float | None] = []


class _Choice(msgspec.Struct):
    token_ids: list[int] | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens_details: _CachedTokens | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


class _Tokens(msgspec.Struct):
    tokens: list[int]


class _Error(msgspec.Struct):
    message: str = ""


class _Refusal(msgspec.Struct):
    error: _Error | str | None = None
    message: str | None = None
    detail: Any = None


@dataclass(frozen=True, slots=True)
class FilledIds:
    """A canvas that came back: token ids and their log-probabilities (nats), both (canvas,)."""

    ids: tuple[int, ...]
    log_probability: tuple[float, ...]
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Served:
    """A model that a server names; ``max_tokens`` of prompt and canvas, if it says."""

    name: str
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class Probed:
    """What a server made of a request that every fitting one refuses.

    Attributes:
        canvas_tokens: Width of its canvas; 0 when it was started without naming one.
        fits: It knows seeded canvases and pinned positions.
    """

    canvas_tokens: int
    fits: bool


def seed_canvas(canvas: Canvas, vocab_size: int, seed: int) -> list[int]:
    """Return what a canvas begins as: known tokens, and noise of our own drawing elsewhere."""
    stream = random.Random(seed)  # noqa: S311 - nothing is kept secret by it
    return [
        stream.randrange(vocab_size) if token == NO_TOKEN else token
        for token in (
            begin if free else known
            for free, known, begin in zip(canvas.free, canvas.ids, canvas.begins, strict=True)
        )
    ]


def completion(
    model: str,
    prompt: Sequence[int],
    seeds: Sequence[int],
    pinned: Sequence[int],
    *,
    max_steps: int,
    salt: str,
) -> dict[str, Any]:
    """Return the body that has one canvas denoised.

    Args:
        model: As the server names it.
        prompt: Tokens before the canvas.
        seeds: What every position begins as (canvas,).
        pinned: Positions that stay so, ascending.
        max_steps: Bound on denoise steps.
        salt: Keeps the server's prefix cache apart from other users'.
    """
    return {
        "model": model,
        "prompt": list(prompt),
        "add_special_tokens": False,
        # One canvas is the whole answer, and an end token inside it is no end.
        "max_tokens": len(seeds),
        "ignore_eos": True,
        "skip_special_tokens": False,
        "stream": False,
        "logprobs": 0,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "cache_salt": salt,
        # No temperature and no seed: vLLM refuses both for diffusion models.
        "vllm_xargs": {
            "diffusion_seed_canvas": list(seeds),
            "diffusion_pinned": list(pinned),
            "diffusion_max_steps": max_steps,
            "diffusion_canvas_length": len(seeds),
        },
    }


def probe(model: str, start: Sequence[int]) -> dict[str, Any]:
    """Return the body that a fitting server refuses, naming the width of its canvas.

    The canvas is too short for any server, and no steps are none for all: whichever is complained
    of tells the two apart. A server that knows neither ignores them, and generates one token.
    """
    return {
        "model": model,
        "prompt": list(start) or [0],
        "max_tokens": 1,
        "vllm_xargs": {
            "diffusion_seed_canvas": [0],
            "diffusion_pinned": [0],
            "diffusion_max_steps": 0,
        },
    }


def read_probe(status: int, refusal: str) -> Probed:
    """Read the answer to ``probe``."""
    if status != 400:
        return Probed(0, fits=False)
    width = _CANVAS.search(refusal)
    if width is not None:
        return Probed(int(width[1]), fits=True)
    return Probed(0, fits="diffusion_max_steps" in refusal)


def read_completion(body: bytes, width: int) -> FilledIds:
    """Read a denoised canvas.

    Raises:
        DenoiseFailed: ``engine_fault``: it is not one, or of another width.
    """
    answer = _decode(body, _Completion)
    if answer is None or len(answer.choices) != 1:
        raise DenoiseFailed(FailureCode.ENGINE_FAULT, "The server's answer is no completion.")
    choice = answer.choices[0]
    told = choice.logprobs or _Logprobs()
    ids = choice.token_ids if choice.token_ids is not None else _ids(told.tokens)
    if len(ids) != width or len(told.token_logprobs) != width:
        raise DenoiseFailed(
            FailureCode.ENGINE_FAULT,
            f"The server answered a canvas of {width} positions with {len(ids)} tokens and "
            f"{len(told.token_logprobs)} probabilities ({choice.finish_reason}).",
        )
    details = answer.usage.prompt_tokens_details if answer.usage else None
    return FilledIds(
        tuple(ids),
        tuple(
            min(0.0, nats) if nats is not None and math.isfinite(nats) else NO_PASS_NATS
            for nats in told.token_logprobs
        ),
        (details.cached_tokens if details else None) or 0,
    )


def _ids(tokens: Sequence[str]) -> list[int]:
    """Read ``token_id:N``, which servers say that know no ``token_ids`` yet."""
    numbers = [token.removeprefix("token_id:") for token in tokens]
    return [int(number) for number in numbers if number.isdecimal()]


def read_models(body: bytes) -> list[Served] | None:
    """Read the list of served models; ``None`` when it is none."""
    found = _decode(body, _Models)
    return None if found is None else [Served(one.id, one.max_model_len) for one in found.data]


def read_tokens(body: bytes) -> list[int] | None:
    """Read the answer of ``/tokenize``; ``None`` when it is none."""
    found = _decode(body, _Tokens)
    return None if found is None else found.tokens


def read_refusal(body: bytes) -> str:
    """Return the first words of an error's own text; empty when it has none that can be read."""
    found = _decode(body, _Refusal)
    if found is None:
        return ""
    text = found.error.message if isinstance(found.error, _Error) else found.error
    if not text:
        text = found.message or (found.detail if isinstance(found.detail, str) else "")
    return " ".join((text or "").split())[:300]


def _decode(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None

"""Train a DiffusionGemma of 0.7 million weights on the language of ``language.py``, on a CPU.

The class is that of ``transformers``, with all its parts: causal encoder and bidirectional decoder
of the same weights, sliding and full layers, experts, self-conditioning, uniform noise. The
objective is the published one: tokens of a canvas become random ones, flat cross-entropy over all
of the canvas, a causal loss of the encoder, and every other batch conditions itself on a first pass
without gradient. What differs is the mix of noise, of which most is shaped like a hole; see
``_noisy``.

    python benchmarks/toy/train.py --out build/toy --minutes 22

Stops at ``--steps`` or ``--minutes``, writes a checkpoint every ``--save-minutes``, goes on from
the last one when called again with the same ``--out``, and at the end writes the folder that
``models.read_diffusion_gemma_spec`` reads, in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import language
import torch
from language import BOS, CANVAS, EOS, PAD, SPECIAL
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache
from transformers.models.diffusion_gemma import (
    DiffusionGemmaConfig,
    DiffusionGemmaForBlockDiffusion,
    DiffusionGemmaTextConfig,
)
from transformers.models.gemma4 import Gemma4VisionConfig

WINDOW = 48
SORTED = 8
"""Batches drawn together and sorted by length, so that little of a batch is padding."""


def make_model(seed: int) -> DiffusionGemmaForBlockDiffusion:
    """Make the model with random weights, of a size that lets few of them learn fast."""
    hidden = 96
    sizes: dict[str, Any] = {"global_head_dim": 32, "num_global_key_value_heads": 2}
    text = DiffusionGemmaTextConfig(
        vocab_size=len(language.vocabulary()),
        hidden_size=hidden,
        intermediate_size=160,
        num_hidden_layers=4,
        layer_types=[*["sliding_attention"] * 3, "full_attention"],
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1024,
        sliding_window=WINDOW,
        num_experts=4,
        top_k_experts=2,
        moe_intermediate_size=64,
        initializer_range=hidden**-0.5,
        pad_token_id=SPECIAL.index(PAD),
        eos_token_id=SPECIAL.index(EOS),
        bos_token_id=SPECIAL.index(BOS),
        **sizes,
    )
    vision = Gemma4VisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
        position_embedding_size=16,
    )
    config = DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=CANVAS)
    torch.manual_seed(seed)
    model = DiffusionGemmaForBlockDiffusion(config).float()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # Attention is not scaled by the class: at 1 its softmax would begin as an argmax.
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                weight.fill_(32**-0.25)
            # Normed outputs are as large as what they are added to, however little they know.
            elif "post_" in name and name.endswith("layernorm.weight"):
                weight.fill_(0.5)
        for layer in model.model.decoder.layers:
            _look_for_the_same(layer.self_attn)
    return model


def _look_for_the_same(attention: Any) -> None:
    """Let the first group of heads begin as one that finds what is alike and copies it.

    That is what half of the language is, and random heads take most of the training to find it
    (mimetic initialisation, arXiv:2305.09828).
    """
    key, size = attention.k_proj.weight, attention.head_dim
    value = key if attention.v_proj is None else attention.v_proj.weight
    for head in range(attention.num_key_value_groups):
        rows = slice(head * size, (head + 1) * size)
        attention.q_proj.weight[rows] = key[:size]
        attention.o_proj.weight[:, rows] = value[:size].T


@dataclass(frozen=True, slots=True)
class Example:
    """A prefix, the canvas behind it, and the same canvas with noise in it."""

    prefix: list[int]
    clean: list[int]
    noisy: list[int]


def _noisy(clean: list[int], span: int, stream: random.Random, share: float | None) -> list[int]:
    """Put noise into a canvas.

    Args:
        clean: Its tokens.
        span: Tokens at its start that are a hole; 0 for none.
        stream: Randomness.
        share: Which of the kinds below, 0 to 1; ``None`` draws.

    The kinds: none of the others, noise anywhere, at a rate drawn evenly (as published); a hole of
    noise before clean text; a hole that is noise in part, as in a warm start or between steps; a
    hole and a head of what follows, as where a draft is written on into the suffix.
    """
    vocab = len(language.vocabulary())
    kind = stream.random() if share is None else share
    if not span or kind < 0.2:
        end, rate = len(clean), stream.random()
    elif kind < 0.7:
        end, rate = span, 1.0
    elif kind < 0.9:
        end, rate = span, stream.random()
    else:
        end = min(len(clean), span + stream.randint(1, CANVAS))
        rate = 1.0 if stream.random() < 0.5 else stream.uniform(0.3, 1.0)
    return [
        stream.randrange(vocab) if at < end and stream.random() < rate else token
        for at, token in enumerate(clean)
    ]


def draw_example(stream: random.Random, ids: dict[str, int]) -> Example:
    """Draw a program, a place in it and its noise."""
    program = language.draw_program(stream, held_out=False)
    tokens = [ids[token.text] for token in program.tokens]
    hole = program.hole(stream) if stream.random() < 0.9 else None
    start, end = hole if hole is not None else (stream.randrange(len(tokens)),) * 2
    clean = tokens[start : start + CANVAS]
    if stream.random() < 0.5:
        clean += [ids[EOS]] * stream.randint(1, stream.choice((4, 4, 4, CANVAS)))
    room = CANVAS
    if stream.random() < 0.3:  # other canvases are as long as the program or the room
        room = stream.randint(min(CANVAS, end - start + 4), CANVAS)
    clean = clean[:room]
    noisy = _noisy(clean, end - start, stream, None)
    return Example([ids[BOS], *tokens[:start]], clean, noisy)


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples as tensors: prefixes end at the same column, canvases start at the same.

    Attributes:
        prefix: Token ids (batch, prefix), padded on the left.
        is_prefix: Which of them are none of the padding.
        clean: Token ids (batch, canvas), padded on the right.
        noisy: The same with noise.
        is_canvas: Which of them are none of the padding.
    """

    prefix: Tensor
    is_prefix: Tensor
    clean: Tensor
    noisy: Tensor
    is_canvas: Tensor


def make_batch(examples: list[Example]) -> Batch:
    """Make tensors of examples."""
    width = max(len(each.prefix) for each in examples)
    length = max(len(each.clean) for each in examples)
    left = [[0] * (width - len(each.prefix)) for each in examples]
    right = [[0] * (length - len(each.clean)) for each in examples]
    columns = torch.arange(width)[None]
    starts = torch.tensor([[len(pad)] for pad in left])
    ends = torch.tensor([[len(each.clean)] for each in examples])
    return Batch(
        prefix=torch.tensor([p + e.prefix for p, e in zip(left, examples, strict=True)]),
        is_prefix=columns >= starts,
        clean=torch.tensor([e.clean + p for p, e in zip(right, examples, strict=True)]),
        noisy=torch.tensor([e.noisy + p for p, e in zip(right, examples, strict=True)]),
        is_canvas=torch.arange(length)[None] < ends,
    )


def encoder_masks(is_prefix: Tensor) -> dict[str, Tensor]:
    """Return which keys every prefix row sees (batch, 1, prefix, prefix), by kind of layer."""
    width = is_prefix.shape[1]
    behind = torch.arange(width)[:, None] - torch.arange(width)[None]
    full = (behind >= 0) & is_prefix[:, None, :]
    full |= torch.eye(width, dtype=torch.bool)  # a row of padding must see something
    return {
        "full_attention": full[:, None],
        "sliding_attention": (full & (behind < WINDOW))[:, None],
    }


def decoder_masks(is_prefix: Tensor, is_canvas: Tensor) -> dict[str, Tensor]:
    """Return which keys every canvas row sees (batch, 1, canvas, keys), by kind of layer."""
    length = is_canvas.shape[1]
    near = is_prefix[:, -(WINDOW - 1) :]  # all that a sliding layer's cache holds
    return {
        kind: torch.cat([seen, is_canvas], 1)[:, None, None].expand(-1, -1, length, -1)
        for kind, seen in (("full_attention", is_prefix), ("sliding_attention", near))
    }


def losses(
    model: DiffusionGemmaForBlockDiffusion, batch: Batch, *, conditioned: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss over the canvas, that of the encoder, and the share of noise undone."""
    inner, text = model.model, model.config.get_text_config(decoder=True)
    widths = batch.is_prefix.sum(1, keepdim=True)
    positions = (torch.arange(batch.prefix.shape[1])[None] - batch.prefix.shape[1]) + widths
    cache = DynamicCache(config=text)
    hidden = inner.encoder(
        input_ids=batch.prefix,
        attention_mask=encoder_masks(batch.is_prefix),
        position_ids=positions.clamp(min=0),
        past_key_values=cache,
    ).last_hidden_state
    cap = model.final_logit_softcapping
    following = torch.cat([batch.prefix[:, 1:], batch.clean[:, :1]], 1)[batch.is_prefix]
    causal = cap * torch.tanh(model.lm_head(hidden[batch.is_prefix]) / cap)

    def denoise(feedback: Tensor | None) -> Tensor:
        return model(
            decoder_input_ids=batch.noisy,
            past_key_values=cache,
            self_conditioning_logits=feedback,
            decoder_position_ids=widths + torch.arange(batch.noisy.shape[1])[None],
            decoder_attention_mask=decoder_masks(batch.is_prefix, batch.is_canvas),
        ).logits

    feedback = None
    if conditioned:
        with torch.no_grad():
            feedback = denoise(None)
    logits = denoise(feedback)[batch.is_canvas]
    clean = batch.clean[batch.is_canvas]
    was_noise = clean != batch.noisy[batch.is_canvas]
    right = (logits.argmax(-1) == clean)[was_noise].float().mean()
    return (
        nn.functional.cross_entropy(logits, clean),
        nn.functional.cross_entropy(causal, following),
        right,
    )


def batches(seed: int, start: int, size: int) -> Any:
    """Draw batches for ever, from number ``start`` on."""
    ids = {text: i for i, text in enumerate(language.vocabulary())}
    number = start
    while True:
        group = number // SORTED
        stream = language.programs(seed * 1_000_003 + group, held_out=False)
        drawn = [draw_example(stream, ids) for _ in range(size * SORTED)]
        drawn.sort(key=lambda each: len(each.prefix) + 2 * len(each.clean))
        parts = [drawn[at : at + size] for at in range(0, len(drawn), size)]
        stream.shuffle(parts)
        for part in parts[number % SORTED :]:
            yield make_batch(part)
            number += 1


def save(model: DiffusionGemmaForBlockDiffusion, folder: Path) -> None:
    """Write the folder of a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    half = make_model(0)
    half.load_state_dict(model.state_dict())
    half.bfloat16().save_pretrained(folder)
    language.save_tokenizer(folder)
    told = {
        "bos_token_id": SPECIAL.index(BOS),
        "confidence_threshold": 0.005,
        "eos_token_id": [SPECIAL.index(EOS)],
        "max_denoising_steps": 48,
        "max_new_tokens": CANVAS,
        "pad_token_id": SPECIAL.index(PAD),
        "sampler_config": {"_cls_name": "EntropyBoundSamplerConfig", "entropy_bound": 0.1},
        "stability_threshold": 1,
        "t_max": 0.8,
        "t_min": 0.4,
    }
    (folder / "generation_config.json").write_text(json.dumps(told, indent=2) + "\n", "utf-8")


def rate_at(step: int, done: float, highest: float) -> float:
    """Return the learning rate: a short rise, then half a cosine down to a twentieth."""
    fall = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return highest * min(1.0, (step + 1) / 100) * fall


def train(arguments: argparse.Namespace) -> None:
    """Train, and write checkpoints."""
    torch.set_num_threads(arguments.threads)
    model = make_model(arguments.seed).train()
    matrices = [w for w in model.parameters() if w.dim() > 1]
    others = [w for w in model.parameters() if w.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "training.pt"
    step, spent = 0, 0.0
    if kept.is_file():
        state = torch.load(kept, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["seconds"]
    log = (out / "log.jsonl").open("a", encoding="utf-8")
    began = saved = time.monotonic() - spent
    drawn = batches(arguments.seed, step, arguments.batch)
    coin = language.programs(arguments.seed + step, held_out=False)
    sums = [0.0] * 3
    while True:
        now = time.monotonic()
        done = max(step / arguments.steps, (now - began) / 60 / arguments.minutes)
        if now - saved > arguments.save_minutes * 60 or done >= 1:
            kept_state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(kept_state | {"step": step, "seconds": now - began}, kept)
            save(model, out / "checkpoint")
            saved = now
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, done, arguments.rate)
        canvas, causal, right = losses(model, next(drawn), conditioned=coin.random() < 0.5)
        (canvas + arguments.causal * causal).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        for i, value in enumerate((canvas, causal, right)):
            sums[i] += float(value.detach()) / arguments.report
        if step % arguments.report == 0:
            told = dict(
                zip(("canvas", "causal", "right"), (round(s, 4) for s in sums), strict=True)
            )
            line = json.dumps({"step": step, "seconds": round(time.monotonic() - began)} | told)
            print(line, flush=True)
            print(line, file=log, flush=True)
            sums = [0.0] * 3


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=22.0)
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--causal", type=float, default=0.3, help="weight of the encoder's loss")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--report", type=int, default=50)
    train(parser.parse_args())


if __name__ == "__main__":
    main()

"""What the untouched causal pass of a model can do beside reading prefixes: draft, and weigh.

It sees no suffix, so its drafts run on where the canvas would end; but it is the pass that most
training went into, and what it says of a text *and of what follows it* is the likelihood of the
whole. Drafts of both passes, trimmed and then weighed together, are right more often than those of
either (benchmarks/drafters.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from dgemma_runtime.canvas import Canvas, NeededTokens
from dgemma_runtime.engine import sampler
from dgemma_runtime.engine.prefix_cache import PrefixCache
from dgemma_runtime.engine.reading import Filled
from dgemma_runtime.models.base import PrefixState, ReadsCausally
from dgemma_runtime.text import Codec

SUFFIX_TOKENS = 24
"""Tokens of what follows that count for a text: where it goes on wrongly, the first ones tell."""

Between = Callable[[], None]
"""Called between two passes; may raise to leave."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """A canvas whose only free piece the causal pass filled, and the passes that took."""

    filled: Filled
    passes: int


def draft(
    adapter: ReadsCausally,
    prefix: PrefixState,
    canvas: Canvas,
    end_ids: tuple[int, ...],
    needed: NeededTokens,
    between: Between,
    guess: Sequence[int] = (),
    first: Sequence[int] | None = None,
) -> Drafted:
    """Fill the one free piece of a canvas from the left, each token the likeliest.

    A good guess saves passes and changes nothing else: its tokens are read together, and those up
    to the first that is not the likeliest are what would have been written (Leviathan et al.,
    2023).

    Args:
        adapter: Reads causally.
        prefix: What stands before the canvas; as it was when this returns or raises.
        canvas: Has one free piece.
        end_ids: Tokens that end a free piece; the first one fills what is left of it.
        needed: Where its lines are used up.
        between: Called before every pass.
        guess: Tokens it may well hold.
        first: Tokens of which one must be the first; ``None`` for any.
    """
    ((piece,),) = canvas.pieces
    start, end = piece
    room = end - start
    length = prefix.length
    made: list[int] = []
    nats: list[float] = []
    fresh, guessed = list(canvas.ids[:start]), list(guess[: room - 1])
    passes = 0
    ended = needed(0, (), made) is not None
    try:
        while not ended and len(made) < room:
            between()
            read = [*fresh, *guessed]
            logits = adapter.causal_logits(read, prefix, len(guessed) + 1, keep=True)
            passes += 1
            if first is not None and not made:
                sampler.allow(logits[0], first)
            best, tokens = logits.log_softmax(-1).max(-1)
            agreed = 0
            for token, score in zip(tokens.tolist(), best.tolist(), strict=True):
                if token in end_ids:
                    ended = True
                    break
                made.append(token)
                nats.append(score)
                ended = needed(0, (), made) is not None
                if ended or agreed == len(guessed) or token != guessed[agreed]:
                    break
                agreed += 1
            # What was read beyond the agreement is no part of the text.
            prefix.crop(prefix.length - (len(guessed) - agreed))
            fresh, guessed = made[-1:], []
    finally:
        prefix.crop(length)
    rest = room - len(made)
    ids = [*canvas.ids[:start], *made, *[end_ids[0]] * rest, *canvas.ids[end:]]
    scores = [*[0.0] * start, *nats, *[0.0] * (rest + len(canvas.ids) - end)]
    return Drafted(Filled(canvas, ids, scores, end_ids, needed), passes)


def weigh(
    adapter: ReadsCausally,
    cache: PrefixCache,
    codec: Codec,
    prefix: str,
    prefix_ids: Sequence[int],
    texts: Sequence[str],
    suffix: str,
    between: Between,
) -> tuple[float, ...]:
    """Return how likely the causal pass finds each text and the head of what follows it, in nats.

    Texts are tokenised in their place, and all are scored from the same token on: a text that joins
    the prefix's last token into a longer one changes that token as well.

    Args:
        adapter: Reads causally.
        cache: Prefixes read before.
        codec: The model's tokenizer.
        prefix: The text before them.
        prefix_ids: Its tokens as they stand before a canvas, of which the first may be left out.
        texts: What may stand there.
        suffix: What follows all of them.
        between: Called between two passes.
    """
    alone = codec.encode(prefix)
    wholes = [codec.encode(prefix + text + suffix) for text in texts]
    shared = min(_common(alone, whole) for whole in wholes)
    # Something must stand before the first token that is scored.
    joined = min(len(alone) - shared, len(prefix_ids) - 1)
    first = len(alone) - joined
    before = list(prefix_ids[: len(prefix_ids) - joined])
    state, _ = cache.encode(before[:-1], between)
    scored: list[list[int]] = []
    for text, whole in zip(texts, wholes, strict=True):
        own = max(0, len(codec.encode(prefix + text)) - first)
        scored.append(whole[first : first + own + SUFFIX_TOKENS])
    return tuple(weigh_tokens(adapter, state, before[-1], scored, between))


def weigh_tokens(
    adapter: ReadsCausally,
    prefix: PrefixState,
    last: int,
    drafts: Sequence[Sequence[int]],
    between: Between,
) -> list[float]:
    """Return how likely the causal pass finds each of some token sequences, in nats.

    Args:
        adapter: Reads causally.
        prefix: What stands before them, but for its last token; left as it was.
        last: That token.
        drafts: What may follow; no tokens weigh nothing.
        between: Called before every pass; may raise to leave.
    """
    found: list[float] = []
    for draft in drafts:
        between()
        if not draft:
            found.append(0.0)
            continue
        logits = adapter.causal_logits([last, *draft[:-1]], prefix, len(draft))
        ids = torch.tensor(draft, device=logits.device)[:, None]
        found.append(float(logits.log_softmax(-1).gather(-1, ids).sum()))
    return found


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many leading items agree."""
    bound = min(len(first), len(second))
    return next((i for i in range(bound) if first[i] != second[i]), bound)

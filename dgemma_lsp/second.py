"""A second drafter, and a judge between the two.

The canvas pass sees both sides and guesses many tokens at once; the causal pass of the same weights
sees the left side alone and is the better writer. Where a model has both, each makes a draft, both
are trimmed and checked like any other, and the causal pass then weighs every sound text together
with what follows it. Figures: benchmarks/drafters.py, docs/log.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from dgemma_lsp.infill.types import Candidate
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire import messages as wire
from dgemma_wire.errors import DenoiseFailed, LocalProtocolError, RuntimeUnavailable

log = logging.getLogger(__name__)

Check = Callable[[wire.Candidate], Candidate]


async def opinion(
    ask: wire.Denoise,
    first: Sequence[Candidate],
    check: Check,
    client: RuntimeClient,
    *,
    left_ms: Callable[[], int | None],
) -> tuple[Candidate, ...]:
    """Return the candidates and the causal pass's own, each with its weight where it has one.

    Whatever becomes of the second opinion, the first one stands.

    Args:
        ask: The request that the first candidates came from, one span and what follows it.
        first: Those candidates.
        check: Makes a candidate of what the runtime answers.
        client: The runtime.
        left_ms: Milliseconds that are left; ``None`` for no bound.
    """
    every = tuple(first)
    try:
        left = left_ms()
        if left is not None and left <= 0:
            return every
        causal = msgspec.structs.replace(
            ask,
            causal=True,
            guess=first[0].raw if first else "",
            candidates=1,
            deadline_ms=left,
            draft_every_ms=None,
        )
        done = await client.denoise(causal)
        every = (*every, *(check(each) for each in done.candidates))
        texts = tuple(dict.fromkeys(each.text for each in every if each.verdict.accepted))
        left = left_ms()
        if len(texts) < 2 or (left is not None and left <= 0):
            return every
        weights = await client.weigh(
            wire.Weigh(
                document=ask.document,
                prefix=ask.prefix,
                texts=texts,
                suffix="".join(s.text for s in ask.segments if isinstance(s, wire.Clamped)),
                deadline_ms=left,
                context=ask.context,
            )
        )
    except (DenoiseFailed, LocalProtocolError, RuntimeUnavailable) as err:
        log.info("no second opinion: %s", err)
        return every
    found = dict(zip(texts, weights, strict=True))
    return tuple(replace(each, weight=found.get(each.text)) for each in every)

"""How long a span is to be, for models that fill every position they are given.

Length is most of what decides an infill: the same model is right half as often with a span of a
fixed length as with one of the true length (arXiv:2602.01326, table 2). A model that was taught an
end token gives positions back by itself; for one that was not, lengths are

1. proposed: by *probes*, one pass over a canvas of nothing but noise for every length of a grid,
   whose sureness is compared after what sureness loses with length alone (arXiv:2602.07546), and by
   a *write-through*, a draft that goes on beyond the span with nothing clamped, in which the text
   that follows is looked for;
2. denoised, the best few of them side by side over one prefix, all else clamped;
3. judged: by the tokens of the span, each as likely as it is without itself in the canvas, and by
   the first tokens of what follows, which are taken out for one pass. A span of the wrong length is
   followed by something else.

Every part is a layout of a canvas and some passes. Knows no request beyond its layout, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator

from dgemma_runtime.canvas import Canvas
from dgemma_runtime.engine import loop, sampler
from dgemma_runtime.engine.passes import Asks
from dgemma_runtime.engine.state import Problem, State
from dgemma_runtime.models.base import CanvasPass, Noise, NoiseKind, PrefixState

_LEAVE_OUT_PASSES = 4


@dataclass(frozen=True, slots=True)
class Probe:
    """What one pass says of a length.

    Attributes:
        tokens: The length.
        sureness: Mean negative entropy of the span's positions, in nats; at most 0.
    """

    tokens: int
    sureness: float


def probe(
    problems: Sequence[Problem], prefix: PrefixState, noise: Noise, generator: Generator
) -> Asks[list[Probe]]:
    """Read every canvas once with its span all noise, all at once.

    Args:
        problems: The same canvas with spans of several lengths.
        prefix: What stands before them.
        noise: What undecided positions hold.
        generator: Draws it, where it is drawn.
    """
    begun = [loop.begin(problem, noise, generator) for problem in problems]
    passes = [
        loop.pass_of(problem, state, prefix, noise)
        for problem, state in zip(problems, begun, strict=True)
    ]
    every = yield passes
    sure = torch.stack([-sampler.entropies(logits).mean() for logits in every]).tolist()
    return [Probe(len(problem.rows), value) for problem, value in zip(problems, sure, strict=True)]


def ranked(probes: Sequence[Probe], slope: float) -> list[int]:
    """Return the probed lengths, the likeliest first.

    Args:
        probes: One of each length.
        slope: Nats of sureness that come with each unit of the logarithm of the length, whatever
            the text; taken off before comparing. Ties go to the shorter.
    """
    worth = {each.tokens: each.sureness - slope * math.log(each.tokens) for each in probes}
    return sorted(worth, key=lambda tokens: (-worth[tokens], tokens))


def spread(best: Sequence[int], most: int, keep: int) -> list[int]:
    """Return ``keep`` lengths to denoise: the best ones, and their neighbours when there is room.

    A span that is too short loses more than one that is too long, so the longer neighbour is first.
    """
    chosen: list[int] = []
    for tokens in [*best[:keep], *(near for length in best for near in (length + 1, length - 1))]:
        if 1 <= tokens <= most and tokens not in chosen:
            chosen.append(tokens)
    return chosen[:keep]


def reentry(draft: str, suffix: str, least: int = 8) -> int | None:
    """Return where a draft goes over into the text that follows, as an offset into the draft.

    Blanks do not count, neither in the match nor in how much of it there must be; a suffix that
    begins with a line break must be met at a line's start.

    Args:
        draft: A text that may go on beyond its span.
        suffix: The text that follows the span.
        least: Characters, blanks apart, that must agree; fewer when there are no more.
    """
    head = suffix.lstrip()
    wanted = "".join(head[: 4 * least].split())[:least]
    if len(wanted) < min(least, 3):
        return None
    places = [i for i, char in enumerate(draft) if not char.isspace()]
    dense = "".join(draft[i] for i in places)
    lead = suffix[: len(suffix) - len(head)]
    at = dense.find(wanted)
    while at >= 0:
        start = places[at]
        before = draft[:start]
        _, broken, blank = before.rpartition("\n")
        if "\n" not in lead or (broken and not blank.strip()):
            blanks = len(before) - len(before.rstrip())
            # As many of the blanks before it as the suffix brings along are the suffix's.
            return start - min(blanks, len(lead))
        at = dense.find(wanted, at + 1)
    return None


def judge(
    drafts: Sequence[tuple[Problem, State]],
    prefix: PrefixState,
    noise: Noise,
    generator: Generator,
    suffix_tokens: int,
    *,
    leave_one_out: bool,
) -> Asks[list[float]]:
    """Score finished drafts of several lengths, so that they can be compared (nats, mean).

    Args:
        drafts: Canvases of one span, and the states they ended in.
        prefix: What stands before them.
        noise: What stands at the positions that are taken out.
        generator: Draws it, where it is drawn.
        suffix_tokens: Tokens behind the span that count.
        leave_one_out: Score the span's tokens without themselves in the canvas, as models need
            whose every token votes for itself; else as they were when they were accepted.

    Returns:
        For each draft the mean log-probability of its span and of the head of what follows.
    """
    passes: list[CanvasPass] = []
    owners: list[int] = []
    for number, (problem, state) in enumerate(drafts):
        groups = [behind(problem.canvas, suffix_tokens)]
        if leave_one_out:
            places = problem.rows.tolist()
            groups += [places[first::_LEAVE_OUT_PASSES] for first in range(_LEAVE_OUT_PASSES)]
        for out in groups:
            if out:
                passes.append(_without(out, prefix, state, noise, generator))
                owners.append(number)
    every = yield passes
    nats = [0.0] * len(drafts)
    counts = [0] * len(drafts)
    for number, each, logits in zip(owners, passes, every, strict=True):
        tokens = drafts[number][1].best[each.rows][:, None]
        found = logits.log_softmax(-1).gather(-1, tokens)
        nats[number] += float(found.sum())
        counts[number] += len(tokens)
    if not leave_one_out:
        for number, (problem, state) in enumerate(drafts):
            nats[number] += float(state.log_probability[problem.rows].sum())
            counts[number] += len(problem.rows)
    return [total / max(1, count) for total, count in zip(nats, counts, strict=True)]


def behind(canvas: Canvas, count: int) -> list[int]:
    """Return the first clamped positions behind the last span, at most ``count`` of them."""
    end = canvas.spans[-1][1]
    return list(range(end, min(len(canvas.ids), end + count)))


def _without(
    out: Sequence[int], prefix: PrefixState, state: State, noise: Noise, generator: Generator
) -> CanvasPass:
    """Return the pass that predicts some positions of a canvas from all the others."""
    rows = torch.tensor(out, device=state.best.device)  # (rows,)
    if noise.kind is NoiseKind.UNIFORM:
        fresh = sampler.uniform_noise(len(rows), noise.vocab_size, generator)
    else:
        fresh = torch.full_like(rows, noise.mask_id)
    return CanvasPass(state.best.index_copy(0, rows, fresh), prefix, rows)

"""How long a span is to be, for models that fill every position they are given.

Length is most of what decides an infill: the same model is right half as often with a span of a
fixed length as with one of the true length (arXiv:2602.01326, table 2). A model that was taught an
end token gives positions back by itself; for one that was not, lengths are

1. *raced*: canvases of many lengths are denoised in step with each other over one prefix, all else
   clamped, and after each of the first steps those that the model is least sure of leave. Sureness
   is compared after what it loses with length alone (arXiv:2602.07546). What is left goes on from
   where it is, so that no pass is wasted;
2. *judged*: by the tokens of the span, each as likely as it is without itself in the canvas, and by
   the first tokens of what follows, which are taken out for one pass. A span of the wrong length is
   followed by something else.

A draft that *writes through*, with nothing clamped, into the text that follows can tell a length of
its own. Every part is a layout of a canvas and some passes. Knows no request and no clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Generator, Tensor

from dgemma_runtime.canvas import Canvas
from dgemma_runtime.engine import loop, sampler
from dgemma_runtime.engine.passes import Asks
from dgemma_runtime.engine.state import Problem, State
from dgemma_runtime.models.base import (
    CanvasPass,
    LengthSearch,
    ModelAdapter,
    Noise,
    PrefixState,
    SamplerConfig,
)

_LEAVE_OUT_PASSES = 4

_AROUND = 3


@dataclass(slots=True)
class Runner:
    """A canvas of one length, as far as it has come.

    ``sureness`` is the mean negative entropy of its positions at its last step, in nats.
    """

    problem: Problem
    state: State
    generator: Generator
    sureness: float = 0.0

    @property
    def tokens(self) -> int:
        """The length of its span."""
        return len(self.problem.rows)


def start(problem: Problem, noise: Noise, generator: Generator) -> Runner:
    """Return a canvas before its first step."""
    return Runner(problem, loop.begin(problem, noise, generator), generator)


def race(
    adapter: ModelAdapter,
    prefix: PrefixState,
    runners: Sequence[Runner],
    noise: Noise,
    config: SamplerConfig,
    search: LengthSearch,
    go_on: Callable[[Sequence[Runner]], bool],
    in_time: Callable[[], bool],
    wide: int,
) -> Asks[list[Runner]]:
    """Denoise canvases of several lengths in step, the least sure ones leaving early.

    The rest is done when all of them are, or ``search.patience`` steps after the first one is:
    canvases of a wrong length settle late.

    Args:
        adapter: For a second opinion between two passes; the passes themselves are asked for.
        prefix: What stands before all of them; left as it was.
        runners: One of each length; at least one.
        noise: What an undecided position holds.
        config: The numbers of the loop.
        search: How many stay after each of the first steps.
        go_on: Asked before every step with those that are still in it; may raise to leave.
        in_time: Asked between two passes of a step; may raise to leave. Those that have had theirs
            when it says no are what is left.
        wide: Canvases of one pass.

    Returns:
        Those that are left, the surest first.
    """
    left = list(runners)
    over: int | None = None
    steps = 0
    while go_on(left):
        open_ = [
            each
            for each in left
            if not each.state.settled and each.state.steps < each.problem.max_steps
        ]
        if not open_ or steps == over:
            break
        every: list[Tensor] = []
        for first in range(0, len(open_), wide):
            if first and not in_time():
                break
            some = open_[first : first + wide]
            asked = [loop.pass_of(each.problem, each.state, prefix, noise) for each in some]
            every += yield asked
        cut, open_ = len(every) < len(open_), open_[: len(every)]
        entropies = [sampler.entropies(logits).mean() for logits in every]
        for each, logits in zip(open_, every, strict=True):
            each.state = loop.advance(
                adapter, prefix, each.problem, each.state, logits, noise, config, each.generator
            )
        for each, sure in zip(open_, torch.stack(entropies).tolist(), strict=True):
            each.sureness = -sure
        if cut:
            return ranked([each for each in left if each.state.steps], search.slopes[-1])
        if steps < len(search.keeps):
            left = ranked(left, search.slopes[steps])[: search.keeps[steps]]
        steps += 1
        if over is None and any(each.state.settled for each in left):
            over = steps + search.patience
    return ranked(left, search.slopes[-1])


def ranked(runners: Sequence[Runner], slope: float) -> list[Runner]:
    """Return canvases of several lengths, the likeliest length first.

    Args:
        runners: One of each length.
        slope: Nats of sureness that come with each unit of the logarithm of the length, whatever
            the text; taken off before comparing. Ties go to the shorter.
    """
    return sorted(
        runners, key=lambda each: (slope * math.log(each.tokens) - each.sureness, each.tokens)
    )


def neighbours(best: int, tried: Sequence[int], most: int) -> list[int]:
    """Return the lengths around a good one that were not tried, where the grid is coarse."""
    near = range(best - _AROUND, best + _AROUND + 1)
    return [tokens for tokens in near if 1 <= tokens <= most and tokens not in tried]


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
        For each draft the middle of two means: the log-probability of its span's tokens, and of the
        head of what follows. Each counts as much, whatever the span's length.
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
                passes.append(loop.without(out, prefix, state, noise, generator))
                owners.append(number)
    every = yield passes
    spans: list[list[float]] = [[] for _ in drafts]
    heads: list[list[float]] = [[] for _ in drafts]
    for number, each, logits in zip(owners, passes, every, strict=True):
        problem, state = drafts[number]
        tokens = state.best[each.rows][:, None]
        found = logits.log_softmax(-1).gather(-1, tokens).squeeze(-1).tolist()
        inside = problem.canvas.free[int(each.rows[0])]
        (spans if inside else heads)[number] += found
    if not leave_one_out:
        for number, (problem, state) in enumerate(drafts):
            spans[number] = state.log_probability[problem.rows].tolist()
    return [
        fmean(fmean(part) for part in (span, head) if part)
        for span, head in zip(spans, heads, strict=True)
    ]


def behind(canvas: Canvas, count: int) -> list[int]:
    """Return the first clamped positions behind the last span, at most ``count`` of them."""
    end = canvas.spans[-1][1]
    return list(range(end, min(len(canvas.ids), end + count)))

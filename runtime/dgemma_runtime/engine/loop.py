"""The denoise loop: one pure step over explicit state, and the run of steps to a candidate.

One step, for every model:

1. predict the undecided rows of the canvas,
2. temper the logits,
3. choose a token per row (argmax, or a draw),
4. accept some of them,
5. renoise the others,
6. close free pieces that have reached their end,
7. clamp: known tokens go back to their positions,
8. stop when the rows that will be read out are settled.

What noise is differs by model (``Noise``): with uniform noise every free row is predicted again at
every step, with a mask token accepted rows are decided for good. Statistics are over free rows
only. Knows no tokenizer, no request and no clock: where lines end comes in as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor

from dgemma_runtime.canvas import NO_TOKEN, Canvas, NeededTokens
from dgemma_runtime.engine import sampler, stopping
from dgemma_runtime.engine.passes import Asks, predict
from dgemma_runtime.engine.state import Lines, Problem, State
from dgemma_runtime.engine.verify import verify, wants_verifying
from dgemma_runtime.models.base import (
    Acceptance,
    CanvasPass,
    ModelAdapter,
    Noise,
    NoiseKind,
    PrefixState,
    ReadsCausally,
    SamplerConfig,
)


def make_problem(
    canvas: Canvas,
    device: torch.device,
    *,
    max_steps: int,
    sample: bool,
    end_ids: tuple[int, ...],
    needed: NeededTokens,
    lines: Lines | None = None,
    first: Sequence[int] | None = None,
) -> Problem:
    """Put a canvas onto the device.

    Args:
        canvas: The layout.
        device: Where.
        max_steps: Length of the schedule.
        sample: Draw tokens instead of taking the argmax.
        end_ids: Tokens that end a free piece.
        needed: Where a piece's lines are used up.
        lines: The same rule as tensors, for models whose steps never wait for the host; without it
            no piece ends by its lines there.
        first: Tokens of which one must stand at the first free position; ``None`` for any.
    """
    piece_of = torch.full((len(canvas.ids),), -1, dtype=torch.long)
    every = (piece for pieces in canvas.pieces for piece in pieces)
    for number, (start, end) in enumerate(every):
        piece_of[start:end] = number
    free = torch.tensor(canvas.free, dtype=torch.bool)
    return Problem(
        canvas=canvas,
        known=torch.tensor(canvas.ids, dtype=torch.long, device=device),
        free=free.to(device),
        rows=free.nonzero().squeeze(-1).to(device),
        ends=torch.tensor(end_ids, dtype=torch.long, device=device),
        piece_of=piece_of.to(device),
        max_steps=max_steps,
        sample=sample,
        end_ids=end_ids,
        needed=needed,
        lines=lines,
        first=None if first is None else torch.tensor(first, dtype=torch.long, device=device),
    )


def begin(problem: Problem, noise: Noise, generator: Generator) -> State:
    """Return the state before the first step: noise at the free positions that begin as nothing."""
    if noise.kind is NoiseKind.UNIFORM:
        fresh = sampler.uniform_noise(len(problem.rows), noise.vocab_size, generator)
        start = problem.known.index_copy(0, problem.rows, fresh)
    else:
        start = torch.full_like(problem.known, noise.mask_id)
    begins = torch.tensor(problem.canvas.begins, device=start.device)
    start = torch.where(begins == NO_TOKEN, start, begins)
    tokens = sampler.clamp(start, problem.known, problem.free)
    return State(
        tokens=tokens,
        decided=~problem.free,
        accepted=torch.zeros_like(problem.free),
        best=tokens,
        log_probability=torch.tensor(problem.canvas.log_probability, device=tokens.device),
    )


def denoise(
    adapter: ModelAdapter,
    prefix: PrefixState,
    problem: Problem,
    noise: Noise,
    config: SamplerConfig,
    generator: Generator,
    go_on: Callable[[State], bool] | None = None,
) -> Asks[State]:
    """Take steps until the canvas is settled, the schedule ends, or ``go_on`` says no.

    Args:
        adapter: For a second opinion between two passes; the passes themselves are asked for.
        prefix: What stands before the canvas; left as it was.
        problem: The canvas.
        noise: What an undecided position holds.
        config: The numbers of the loop.
        generator: The candidate's own random stream.
        go_on: Asked before every step; may raise to leave.
    """
    state = begin(problem, noise, generator)
    while state.steps < problem.max_steps and not state.settled:
        if go_on is not None and not go_on(state):
            break
        (logits,) = yield [pass_of(problem, state, prefix, noise)]
        state = advance(adapter, prefix, problem, state, logits, noise, config, generator)
    return state


def step(
    adapter: ModelAdapter,
    prefix: PrefixState,
    problem: Problem,
    state: State,
    noise: Noise,
    config: SamplerConfig,
    generator: Generator,
) -> State:
    """Take one denoise step; the numbers are those of the module's docstring."""
    (logits,) = predict(adapter, [pass_of(problem, state, prefix, noise)])
    return advance(adapter, prefix, problem, state, logits, noise, config, generator)


def pass_of(problem: Problem, state: State, prefix: PrefixState, noise: Noise) -> CanvasPass:
    """Return what the next step asks of the model (1)."""
    return CanvasPass(state.tokens, prefix, open_rows(problem, state, noise), state.feedback)


def without(
    out: Sequence[int], prefix: PrefixState, state: State, noise: Noise, generator: Generator
) -> CanvasPass:
    """Return the pass that predicts some positions of the best draft from all the others.

    Args:
        out: Positions that are taken out.
        prefix: What stands before the canvas.
        state: Holds the draft.
        noise: What stands at those positions instead.
        generator: Draws it, where it is drawn.
    """
    rows = torch.tensor(out, device=state.best.device)  # (rows,)
    if noise.kind is NoiseKind.UNIFORM:
        fresh = sampler.uniform_noise(len(rows), noise.vocab_size, generator)
    else:
        fresh = torch.full_like(rows, noise.mask_id)
    return CanvasPass(state.best.index_copy(0, rows, fresh), prefix, rows)


def open_rows(problem: Problem, state: State, noise: Noise) -> Tensor:
    """Return the positions that the next step predicts (rows,)."""
    if noise.kind is NoiseKind.UNIFORM:
        return problem.rows
    return (problem.free & ~state.decided).nonzero().squeeze(-1)


def advance(
    adapter: ModelAdapter,
    prefix: PrefixState,
    problem: Problem,
    state: State,
    logits: Tensor,
    noise: Noise,
    config: SamplerConfig,
    generator: Generator,
) -> State:
    """Do with the logits (rows, vocab) of a pass what a step does with them, (2) to (8)."""
    uniform = noise.kind is NoiseKind.UNIFORM
    rows = open_rows(problem, state, noise)
    open_ = problem.free if uniform else problem.free & ~state.decided  # (canvas,)
    if problem.first is not None and (uniform or not state.decided[problem.rows[0]]):
        sampler.allow(logits[0], problem.first)
    # (2) temper
    tempered = logits
    if config.t_max != config.t_min:
        left = problem.max_steps - state.steps
        temperature = sampler.temperature_at(left, problem.max_steps, config.t_min, config.t_max)
        tempered = sampler.temper(logits, temperature.item())  # a tensor of the host
    elif problem.sample:
        tempered = sampler.temper(logits, config.sample_temperature)
    # (3) choose
    argmax = tempered.argmax(-1)  # (rows,)
    chosen = argmax
    if problem.sample:
        chosen = sampler.draw(tempered, generator, config.sample_top_k)
    # (4) accept
    total = logits.logsumexp(-1)  # (rows,)
    entropy = None
    second = None
    if config.acceptance is Acceptance.ENTROPY_BOUND:
        entropy = sampler.entropies(tempered)
        accepted = sampler.accept_entropy_bound(entropy, config.entropy_bound)
    elif isinstance(adapter, ReadsCausally) and wants_verifying(logits, config):
        second = verify(adapter, prefix, problem, state, rows, logits, config, generator)
        leading = len(second.chosen)
        chosen = torch.cat([second.chosen, argmax[leading:]])
        accepted = torch.zeros_like(chosen, dtype=torch.bool)
        accepted[:leading] = second.accepted
    else:
        probability = sampler.log_probabilities_of(logits, chosen, total).exp()
        accepted = sampler.accept_leading_run(
            probability, problem.piece_of[rows], config.run_confidence
        )
    # (5) renoise
    if uniform:
        fresh = sampler.uniform_noise(len(rows), noise.vocab_size, generator)
    else:
        fresh = torch.full_like(chosen, noise.mask_id)
    tokens = state.tokens.index_copy(0, rows, sampler.renoise(chosen, accepted, fresh))
    taken = argmax if uniform else torch.where(accepted, chosen, argmax)
    score = sampler.log_probabilities_of(logits, taken, total)
    if second is not None:
        score[: len(second.chosen)] = second.log_probability
    best = state.best.index_copy(0, rows, taken)
    after = replace(
        state,
        tokens=tokens,
        accepted=(state.accepted & ~open_).index_copy(0, rows, accepted),
        decided=state.decided if uniform else state.decided.index_copy(0, rows, accepted),
        best=best,
        log_probability=state.log_probability.index_copy(0, rows, score),
        history=stopping.remember(state.history, best, config.stable_steps),
        feedback=tempered if uniform else None,
        steps=state.steps + 1,
    )
    # (6) close
    if not uniform:
        after = close_pieces(problem, after)
        after = replace(after, feedback=logits[~after.decided[rows]])
    # (7) clamp
    after = replace(
        after,
        tokens=sampler.clamp(after.tokens, problem.known, problem.free),
        best=sampler.clamp(after.best, problem.known, problem.free),
    )
    # (8) stop
    if uniform:
        if entropy is None:
            entropy = sampler.entropies(tempered)
        read = reading_rows(problem, best)
        settled = stopping.is_stable(
            state.history, best, read, config.stable_steps
        ) & stopping.is_confident(entropy, read[rows], config.settled_entropy)
        return replace(after, settled=bool(settled))  # the only word the host waits for
    return replace(after, settled=bool(after.decided.all()))


def close_pieces(problem: Problem, state: State) -> State:
    """Decide the rest of every free piece whose decided head holds its end: a token, or its lines.

    The positions right of the end become end tokens.
    """
    if not problem.end_ids:
        return state
    tokens, decided, best = state.tokens, state.decided, state.best
    for number, pieces in enumerate(problem.canvas.pieces):
        earlier: list[int] | None = []  # none while a piece on the left is open: lines are unknown
        for start, end in pieces:
            flags = decided[start:end].tolist()
            head = flags.index(False) if False in flags else len(flags)
            ids = tokens[start : start + head].tolist()
            at = next((i for i, token in enumerate(ids) if token in problem.end_ids), None)
            if at is None and earlier is not None:
                at = problem.needed(number, earlier, ids)
            if at is not None and (at < head or head < len(flags)):
                tokens, decided, best = tokens.clone(), decided.clone(), best.clone()
                tokens[start + at : end] = problem.end_ids[0]
                best[start + at : end] = problem.end_ids[0]
                decided[start + at : end] = True
            closed = at is not None or head == len(flags)
            earlier = [*earlier, *ids[:at]] if closed and earlier is not None else None
    return replace(state, tokens=tokens, decided=decided, best=best)


def reading_rows(problem: Problem, best: Tensor) -> Tensor:
    """Return which free positions (canvas,) make up what will be read out of ``best``.

    What ``read_span`` finds, with the token that ends a piece, and without asking the device.
    """
    read = torch.zeros_like(problem.free)
    is_end = torch.isin(best, problem.ends)  # (canvas,)
    breaks = None if problem.lines is None else problem.lines.breaks[best]
    for number, pieces in enumerate(problem.canvas.pieces):
        most = None if problem.lines is None else problem.lines.most[number]
        used = torch.zeros((), dtype=torch.long, device=best.device)
        for start, end in pieces:
            places = torch.arange(end - start, device=best.device)
            beyond = torch.full_like(places, end - start)
            stops = is_end[start:end]
            if breaks is not None and most is not None:
                left = (most - used).clamp(min=1)
                stops = stops | (breaks[start:end].cumsum(0) >= left)
            last = torch.where(stops, places, beyond).amin()
            inside = places <= last
            read[start:end] = inside
            if breaks is not None:
                used = used + (breaks[start:end] * inside).sum()
    return read

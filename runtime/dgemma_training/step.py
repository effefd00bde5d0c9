"""One training step: the loss of a batch, over two passes of the canvas.

The first pass predicts from the state the batch brings; the second from the state one denoise
step later, with the first's predictions as the draft (self-conditioning, arXiv:2208.04202, on the
sampler's own states). Both ask for the truth and, less and less, for what the untouched causal
model says where it has read the true text before the token: a soft target that costs only the
output head, since the causal pass has been run for the prefix anyway.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dgemma_runtime.models.canvas_weights import DRAFT_ROW, Trunk
from dgemma_runtime.models.causal_canvas import Special, expected_tokens
from dgemma_training.adapter import CanvasLora
from dgemma_training.batches import Batch, CanvasInput, lay_out
from dgemma_training.noise import Noised, advance
from dgemma_training.trunk import WindowPass, read_canvases, read_windows


@dataclass(slots=True)
class StepResult:
    """What a step measured; weighted sums, so that they can be added up.

    ``right`` counts the slots right behind a decided one whose likeliest token is the truth, of
    ``asked`` such slots.
    """

    loss: float = 0.0
    weight: float = 0.0
    right: int = 0
    asked: int = 0
    second_loss: float = 0.0
    second_weight: float = 0.0

    @property
    def mean(self) -> float:
        """Loss of the first pass in nats per unit of weight."""
        return self.loss / max(self.weight, 1e-9)

    @property
    def second_mean(self) -> float:
        """The same of the second pass; 0 without one."""
        return self.second_loss / max(self.second_weight, 1e-9)

    def add(self, other: StepResult) -> None:
        """Add up."""
        self.loss += other.loss
        self.weight += other.weight
        self.right += other.right
        self.asked += other.asked
        self.second_loss += other.second_loss
        self.second_weight += other.second_weight


def embed(
    trunk: Trunk, lora: CanvasLora, given: CanvasInput, special: Special, draft: Tensor | None
) -> Tensor:
    """Return the embedded canvases (canvases, length, hidden).

    Args:
        trunk: The frozen weights.
        lora: Holds the rows of mask, fill and draft.
        given: The canvases.
        special: Names the fill token.
        draft: (undecided slots, hidden) what the undecided slots carry; ``None`` for the mask.
    """
    dtype = trunk.embedding.dtype
    x = trunk.embedding[given.ids]
    x = torch.where((given.ids == special.fill_id)[..., None], lora.row("input.fill").to(dtype), x)
    if draft is None:
        return torch.where(given.undecided[..., None], lora.row("input.mask").to(dtype), x)
    flat = x.reshape(-1, x.shape[-1])
    flat = flat.index_put((given.undecided.view(-1).nonzero()[:, 0],), draft.to(dtype))
    return flat.view(x.shape)


def draft_of_tokens(
    trunk: Trunk, lora: CanvasLora, given: CanvasInput, special: Special
) -> Tensor | None:
    """Return what undecided slots carry, some of them a token; ``None`` if none does."""
    if not bool((given.draft >= 0).any()):
        return None
    dtype = trunk.embedding.dtype
    token = trunk.embedding[given.draft.clamp_min(0)]
    token = torch.where(
        (given.draft == special.fill_id)[:, None], lora.row("input.fill").to(dtype), token
    )
    carried = lora.row(DRAFT_ROW).to(dtype) + token
    return torch.where((given.draft >= 0)[:, None], carried, lora.row("input.mask").to(dtype))


def logits_of(trunk: Trunk, lora: CanvasLora, hidden: Tensor, special: Special) -> Tensor:
    """Return logits (rows, vocab) in float32 with the fill token's own output row."""
    logits = F.linear(hidden, trunk.head)
    end = F.linear(hidden, lora.row("output.fill").to(trunk.embedding.dtype)[None])
    logits = torch.cat([logits[:, : special.fill_id], end, logits[:, special.fill_id + 1 :]], -1)
    logits = logits.float()
    logits[:, : special.banned] = -1e4
    return logits


def run_step(
    trunk: Trunk,
    lora: CanvasLora,
    batch: Batch,
    special: Special,
    rng: random.Random,
    *,
    distill: float,
    second_share: float,
    learn: bool,
) -> StepResult:
    """Compute both passes; with ``learn`` leave gradients of their mean loss in ``lora``.

    Args:
        trunk: The frozen weights.
        lora: The parameters.
        batch: Windows and canvases.
        special: Token ids.
        rng: Draws which canvases get a second pass.
        distill: Share of the causal model's distribution in the targets that have one.
        second_share: Share of the canvases that go on to a second pass.
        learn: Whether gradients are wanted.
    """
    windows = read_windows(trunk, batch.ids.to(trunk.embedding.device))
    result = StepResult()
    with torch.set_grad_enabled(learn):
        factors = lora.factors(trunk.embedding.dtype)
        given = _to(lay_out(batch, batch.states, special.fill_id), trunk.embedding.device)
        draft = draft_of_tokens(trunk, lora, given, special)
        hidden = _canvas_pass(trunk, lora, factors, windows, batch, given, special, draft)
        total, count = _loss(trunk, lora, windows, given, hidden, special, distill)
        result.loss, result.weight = float(total.detach()), float(count)
        result.right, result.asked = _near_right(trunk, lora, given, hidden, special)
        states, carried = _next_states(
            trunk, lora, batch, given, hidden, special, rng, second_share
        )
        # Divided by what both passes will weigh, about; exact is not worth a second graph.
        scale = count * (1 + second_share)
        if learn:
            (total / scale).backward()
            factors = lora.factors(trunk.embedding.dtype)
        if any(state is not None for state in states):
            given = _to(lay_out(batch, states, special.fill_id), trunk.embedding.device)
            draft = lora.row(DRAFT_ROW).to(trunk.embedding.dtype) + carried
            hidden = _canvas_pass(trunk, lora, factors, windows, batch, given, special, draft)
            total, second = _loss(trunk, lora, windows, given, hidden, special, distill)
            result.second_loss, result.second_weight = float(total.detach()), float(second)
            if learn:
                (total / scale).backward()
    return result


def _canvas_pass(
    trunk: Trunk,
    lora: CanvasLora,
    factors: list[dict[str, tuple[Tensor, Tensor]]],
    windows: WindowPass,
    batch: Batch,
    given: CanvasInput,
    special: Special,
    draft: Tensor | None,
) -> Tensor:
    """Return hidden states (canvases * length, hidden)."""
    shape = batch.shape
    grid = (shape.windows, shape.canvases)
    x = embed(trunk, lora, given, special, draft).view(*grid, shape.length, -1)
    start, rows = given.start.view(grid), given.rows.view(grid)
    return read_canvases(trunk, factors, x, windows, start, rows).reshape(-1, x.shape[-1])


def _loss(
    trunk: Trunk,
    lora: CanvasLora,
    windows: WindowPass,
    given: CanvasInput,
    hidden: Tensor,
    special: Special,
    distill: float,
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of the losses in nats, and the sum of the weights."""
    logits = logits_of(trunk, lora, hidden[given.places], special)
    losses = F.cross_entropy(logits, given.tokens, reduction="none")
    taught = (given.teacher >= 0).nonzero()[:, 0]
    if distill > 0 and len(taught):
        with torch.no_grad():
            seen = windows.hidden.reshape(-1, hidden.shape[-1])[given.teacher[taught]]
            causal = F.linear(seen, trunk.head).float()
            causal[:, : special.fill_id + 1] = -1e4
            causal = causal.softmax(-1)
        soft = -(causal * logits[taught].log_softmax(-1)).sum(-1)
        losses = losses.index_put((taught,), (1 - distill) * losses[taught] + distill * soft)
    return (losses * given.weights).sum(), given.weights.sum()


@torch.no_grad()
def _near_right(
    trunk: Trunk, lora: CanvasLora, given: CanvasInput, hidden: Tensor, special: Special
) -> tuple[int, int]:
    """Return how many slots right behind a decided one are predicted right, of how many."""
    near = (given.weights >= 1.0).nonzero()[:, 0]
    if not len(near):
        return 0, 0
    likeliest = logits_of(trunk, lora, hidden[given.places[near]], special).argmax(-1)
    return int((likeliest == given.tokens[near]).sum()), len(near)


@torch.no_grad()
def _next_states(
    trunk: Trunk,
    lora: CanvasLora,
    batch: Batch,
    given: CanvasInput,
    hidden: Tensor,
    special: Special,
    rng: random.Random,
    share: float,
) -> tuple[list[Noised | None], Tensor]:
    """Return the states one denoise step later, and what their undecided slots carry."""
    chosen = [rng.random() < share for _ in batch.examples]
    owner = given.hidden_places // batch.shape.length
    wanted = torch.tensor(chosen, device=owner.device)[owner].nonzero()[:, 0]
    states: list[Noised | None] = [None] * len(chosen)
    if not len(wanted):
        return states, hidden[:0]
    logits = logits_of(trunk, lora, hidden[given.hidden_places[wanted]], special)
    shares, tokens = expected_tokens(logits)
    rows = trunk.embedding[tokens]
    fill = lora.row("input.fill").to(trunk.embedding.dtype)
    rows = torch.where((tokens == special.fill_id)[..., None], fill, rows)
    carried = (rows * shares[..., None].to(trunk.embedding.dtype)).sum(1)

    likeliest, of = tokens[:, 0].tolist(), owner[wanted].tolist()
    kept: list[int] = []
    at = 0
    for i, (example, before) in enumerate(zip(batch.examples, batch.states, strict=True)):
        if not chosen[i]:
            continue
        count = len(before.undecided)
        assert of[at] == of[at + count - 1] == i
        state = advance(example, before, likeliest[at : at + count], special.fill_id, rng)
        states[i] = state
        if state is not None:
            kept += range(at + count - len(state.undecided), at + count)
        at += count
    return states, carried[torch.tensor(kept, dtype=torch.long, device=carried.device)]


def _to(given: CanvasInput, device: torch.device) -> CanvasInput:
    moved = {name: getattr(given, name).to(device) for name in CanvasInput.__slots__}
    return CanvasInput(**moved)

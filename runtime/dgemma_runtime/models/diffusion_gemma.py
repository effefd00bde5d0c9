"""Adapter: DiffusionGemma through ``transformers``' ``DiffusionGemmaForBlockDiffusion``.

Its causal encoder as it is; its decoder's modules, canvases of several prefixes in one pass; its
output head on the wanted rows only. Where passes can be recorded they run in a few fixed shapes and
are replayed. Knows no sampling: ``generate`` is not used, but the loop over this adapter draws the
same tokens (tested). What each part does is in ``gemma``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import (
    DiffusionGemmaForBlockDiffusion,
)

from dgemma_runtime.models.base import MOST_TOGETHER, CanvasPass, ModelSpec, PrefixState
from dgemma_runtime.models.gemma import attention
from dgemma_runtime.models.gemma.buckets import EXACT, FEW, Buckets, Shape, fit
from dgemma_runtime.models.gemma.decoder import Feedback, Inputs, head, predict
from dgemma_runtime.models.gemma.experts import choose_experts, why_not_recorded
from dgemma_runtime.models.gemma.graphs import CudaGraphs, Recorder, Recordings
from dgemma_runtime.models.gemma.prefix import GemmaPrefix, empty_prefix
from dgemma_runtime.models.gemma.seats import Seats, layer_windows
from dgemma_runtime.models.gemma.step import Exchange, FixedPass
from dgemma_runtime.models.loading import QUIETLY, Loading
from dgemma_runtime.models.packed.forms import WeightForm
from dgemma_runtime.models.packed.load import load

log = logging.getLogger(__name__)

__all__ = ["DiffusionGemma", "GemmaPrefix", "load_adapter"]


@dataclass(frozen=True, slots=True)
class _Group:
    """Passes behind one prefix, and their numbers among those that were asked for."""

    prefix: GemmaPrefix
    passes: list[CanvasPass]
    numbers: list[int]


class DiffusionGemma:
    """The adapter; implements ``ReadsTogether``.

    Args:
        model: The model, on its device.
        prefix_tokens: Most tokens of a prefix that are expected; longer ones work, more slowly.
        canvas_rows: Likewise the tokens of all canvases behind one prefix.
        recorder: Records passes; ``None`` is CUDA graphs where the model's device has them.
    """

    def __init__(
        self,
        model: DiffusionGemmaForBlockDiffusion,
        *,
        prefix_tokens: int = 0,
        canvas_rows: int = 0,
        recorder: Recorder | None = None,
    ) -> None:
        self.model = model
        model.set_attn_implementation({"text_config": attention.NAME})
        choose_experts(model)
        reason = "" if recorder is not None else why_not_recorded(model)
        if recorder is None and not reason:
            recorder = CudaGraphs(model.device)
        self._recordings = Recordings(recorder, reason)
        self._windows = layer_windows(model)
        self._prefix_tokens, self._canvas_rows = prefix_tokens, canvas_rows
        self._most_prefixes = FEW.counts[-1]
        self._seats: dict[int, Seats] = {}
        self._exchanges: dict[int, Exchange] = {}
        self._passes: dict[Shape, FixedPass] = {}

    @property
    def step_path(self) -> str:
        """How denoise steps run, in words: ``CUDA graphs``, or ``eager:`` and why."""
        return self._recordings.path

    def new_prefix(self) -> GemmaPrefix:
        """Return the state of an empty prefix."""
        return empty_prefix(self._windows)

    def encode(self, ids: Sequence[int], prefix: PrefixState) -> None:
        """Append ``ids`` to ``prefix`` by the causal encoder."""
        if ids:
            self._read(ids, _own(prefix))

    def causal_logits(
        self, ids: Sequence[int], prefix: PrefixState, count: int, *, keep: bool = False
    ) -> Tensor:
        """Predict what follows each of the last ``count`` of ``ids``; see ``ReadsCausally``.

        The encoder is trained as a language model too, under the decoder's output head.
        """
        state = _own(prefix)
        length = state.length
        hidden = self._read(ids, state)[-count:]
        if not keep:
            state.crop(length)
        return head(self.model, hidden)

    def _read(self, ids: Sequence[int], state: GemmaPrefix) -> Tensor:
        """Append ``ids`` to a prefix; return the last hidden state of each (ids, hidden)."""
        device = self.model.device
        positions = torch.arange(state.length, state.length + len(ids), device=device)
        output = self.model.model.encoder(
            input_ids=torch.tensor([list(ids)], device=device),
            past_key_values=state.cache,
            position_ids=positions[None],
        )
        state.extend(len(ids))
        return output.last_hidden_state[0]

    def denoise(
        self, canvas: Tensor, prefix: PrefixState, rows: Tensor, feedback: Tensor | None
    ) -> Tensor:
        """Predict the tokens at ``rows`` (rows,) of ``canvas`` (canvas,); see ``ModelAdapter``."""
        return self.denoise_together([CanvasPass(canvas, prefix, rows, feedback)])[0]

    def denoise_together(self, passes: Sequence[CanvasPass]) -> list[Tensor]:
        """Predict positions of several canvases in one pass; see ``ReadsTogether``."""
        if not passes:
            return []
        groups = _by_prefix(passes)
        if self._recordings.records:
            found = self._recorded(groups)
            if found is not None:
                return _in_order(found)
            self.release()
        if len(groups) == 1:
            return self._in_place(passes)
        fixed = self._fixed(groups, EXACT, record=False)
        self._passes.clear()
        self._exchanges.clear()
        return _in_order(fixed or {})

    def warm_up(self, report: Callable[[float, str], None], room: int | None = None) -> None:
        """Record the passes that requests mostly want; see ``WarmsUp``."""
        if not self._recordings.records:
            return
        shapes = self._usual_shapes()
        wanted = self.recorded_bytes(shapes[0])
        if room is not None and wanted > room:
            self._recordings.stop(
                f"recorded steps take {wanted / 1e9:.1f} GB, and {max(0, room) / 1e9:.1f} are left"
            )
            return
        for number, shape in enumerate(shapes):
            report(number / len(shapes), f"Recording denoise steps ({number + 1}/{len(shapes)}).")
            try:
                recorded = self._recordings.run(shape, self._pass_of(shape).run)
            except torch.OutOfMemoryError as error:
                self._recordings.give_up(error)
                recorded = False
            if not recorded:
                self.release()
                break
        report(1.0, f"Denoise steps run as {self.step_path}.")

    def recorded_bytes(self, shape: Shape) -> int:
        """Return what recorded passes up to some shape take, their scratch by estimate."""
        weight: Any = self.model.model.decoder.embed_tokens.weight
        seat = Seats.size_of(
            self.model, shape.prefix_tokens, max(shape.rows_of_prefix, self._canvas_rows)
        )
        exchange = shape.rows * weight.shape[0] * (weight.itemsize + 4)
        return round(1.25 * (seat + exchange))

    def release(self) -> None:
        """Give up all memory but the weights; recordings are made again when they are needed."""
        self._recordings.forget()
        self._passes.clear()
        self._seats.clear()
        self._exchanges.clear()

    def _usual_shapes(self) -> list[Shape]:
        """Return shapes of one request: one canvas or several behind a prefix of any length."""
        longest = max(self._prefix_tokens, FEW.prefix_tokens[0])
        prefixes = [size for size in FEW.prefix_tokens if size < longest]
        prefixes.append(fit(longest, FEW.prefix_tokens))
        return [
            Shape(1, canvases, canvas, prefix, rows, fed)
            # The largest first: it makes the room. The one of many canvases is that of a race.
            for canvases, rows, canvas in (
                (MOST_TOGETHER, 256, 64),
                (4, 128, 256),
                (4, 128, 64),
                (1, 64, 256),
                (1, 64, 64),
            )
            for prefix in reversed(prefixes)
            for fed in (False, True)
        ]

    def _recorded(self, groups: Sequence[_Group]) -> dict[int, Tensor] | None:
        """Run canvases as passes that are recorded; ``None`` when they cannot be, now or ever."""
        found: dict[int, Tensor] = {}
        while groups:
            some = groups[: self._most_prefixes]
            try:
                part = self._fixed(some, FEW, record=True)
            except torch.OutOfMemoryError as error:
                if len(some) == 1:
                    self._recordings.give_up(error)
                    return None
                self.release()
                self._most_prefixes = len(some) // 2
                log.warning("the device has room for %d prefixes at once", self._most_prefixes)
                continue
            if part is None:
                return None
            found |= part
            groups = groups[len(some) :]
        return found

    def _fixed(
        self, groups: Sequence[_Group], buckets: Buckets, *, record: bool
    ) -> dict[int, Tensor] | None:
        """Run canvases as one pass of a fixed shape; ``None`` when it cannot be recorded.

        Returns:
            Logits by the passes' numbers.
        """
        parts = _spread(groups, buckets)
        shape = _shape_of(parts, buckets)
        fixed = self._pass_of(shape)
        seats = fixed.seats.take([part.prefix for part in parts])
        seated = dict(zip(seats, parts, strict=True))
        fixed.fill(
            {seat: part.passes for seat, part in seated.items()},
            {seat: part.prefix.length for seat, part in seated.items()},
        )
        if not record:
            fixed.run()
        elif not self._recordings.run(shape, fixed.run):
            return None
        every = [seated[seat] for seat in sorted(seated)]
        counts = [len(one.rows) for part in every for one in part.passes]
        numbers = [number for part in every for number in part.numbers]
        return dict(zip(numbers, fixed.read(counts), strict=True))

    def _pass_of(self, shape: Shape) -> FixedPass:
        """Return the pass of a shape, its memory made or made larger."""
        known = self._passes.get(shape)
        if known is not None:
            return known
        tokens, rows = shape.prefix_tokens, shape.rows_of_prefix
        seats = self._seats.get(shape.prefixes)
        if seats is None or seats.prefix_tokens < tokens or seats.canvas_rows < rows:
            if seats is not None:
                tokens, rows = max(tokens, seats.prefix_tokens), max(rows, seats.canvas_rows)
            if shape.prefixes == 1:
                expected = fit(self._prefix_tokens, FEW.prefix_tokens)
                tokens, rows = max(tokens, expected), max(rows, self._canvas_rows)
            seats = None  # before the new ones are made
            self._forget_seats(shape.prefixes)
            seats = Seats(self.model, shape.prefixes, tokens, rows)
            self._seats[shape.prefixes] = seats
        if shape.rows not in self._exchanges:
            self._exchanges[shape.rows] = Exchange(self.model, shape.rows)
        made = FixedPass(self.model, shape, seats, self._exchanges[shape.rows])
        self._passes[shape] = made
        return made

    def _forget_seats(self, prefixes: int) -> None:
        """Give up what works on the seats of so many prefixes."""
        self._seats.pop(prefixes, None)
        self._recordings.forget(lambda each: isinstance(each, Shape) and each.prefixes == prefixes)
        for shape in [each for each in self._passes if each.prefixes == prefixes]:
            del self._passes[shape]

    def _in_place(self, group: Sequence[CanvasPass]) -> list[Tensor]:
        """Run canvases behind one prefix, which is read where it lies."""
        prefix, device = _own(group[0].prefix), self.model.device
        weight: Any = self.model.model.decoder.embed_tokens.weight
        lengths = [len(one.canvas) for one in group]
        longest, count = max(lengths), len(group)
        tokens = pad_sequence([one.canvas for one in group], batch_first=True).view(1, -1)
        at = torch.arange(prefix.length, prefix.length + longest, device=device).repeat(count)[None]
        offsets = [one.rows + number * longest for number, one in enumerate(group)]
        fed = [(rows, one) for rows, one in zip(offsets, group, strict=True) if _is_fed(one)]
        feedback = None
        if fed:
            told = [one.feedback.to(weight.dtype) for _, one in fed if one.feedback is not None]
            which = torch.tensor([_is_fed(one) for one in group], device=device)
            feedback = Feedback(
                torch.cat([rows for rows, _ in fed]),
                torch.cat(told),
                None if len(fed) == count else which.repeat_interleave(longest)[None],
            )
        inputs = Inputs(tokens, at, torch.cat(offsets), feedback)
        seen = attention.InPlace(prefix, lengths, weight.dtype, device)
        return list(predict(self.model, inputs, seen).split([len(one.rows) for one in group]))


def _by_prefix(passes: Sequence[CanvasPass]) -> list[_Group]:
    groups: dict[int, _Group] = {}
    for number, one in enumerate(passes):
        group = groups.setdefault(id(one.prefix), _Group(_own(one.prefix), [], []))
        group.passes.append(one)
        group.numbers.append(number)
    return list(groups.values())


def _spread(groups: Sequence[_Group], buckets: Buckets) -> list[_Group]:
    """Cut groups so that the pass gets small; a prefix may come several times then."""
    each = buckets.canvases_of_prefix([len(group.passes) for group in groups])
    return [
        _Group(group.prefix, group.passes[at : at + each], group.numbers[at : at + each])
        for group in groups
        for at in range(0, len(group.passes), each)
    ]


def _in_order(found: dict[int, Tensor]) -> list[Tensor]:
    return [found[number] for number in range(len(found))]


def _shape_of(groups: Sequence[_Group], buckets: Buckets) -> Shape:
    every = [one for group in groups for one in group.passes]
    return buckets.fit(
        prefixes=[group.prefix.length for group in groups],
        canvases=[[len(one.canvas) for one in group.passes] for group in groups],
        rows=sum(len(one.rows) for one in every),
        fed=any(_is_fed(one) for one in every),
    )


def _is_fed(one: CanvasPass) -> bool:
    return one.feedback is not None


def _own(prefix: PrefixState) -> GemmaPrefix:
    assert isinstance(prefix, GemmaPrefix)
    return prefix


def load_adapter(
    spec: ModelSpec,
    base: Path,
    device: torch.device,
    dtype: torch.dtype,
    loading: Loading = QUIETLY,
) -> DiffusionGemma:
    """Read the text part of a checkpoint from the folder ``base``; the vision tower stays there.

    Packed weights are kept where ``loading`` says, and the next time read from there.

    Raises:
        ModelError: A file or a weight is missing, broken, or does not fit the class.
    """
    form = WeightForm(spec.weight_form or WeightForm.PLAIN)
    return DiffusionGemma(
        load(base, form, device, dtype, loading),
        prefix_tokens=spec.limits.prefix_tokens,
        canvas_rows=4 * spec.limits.canvas_tokens,
    )
